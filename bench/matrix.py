"""The support matrix of both READMEs, made from the catalogues.

python bench/matrix.py           writes it
python bench/matrix.py --check   ends with 1 where it is not up to date
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from adaptune.core.method import Method
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = {
    "README.md": ("method", "merges into the base", "plain peft loads it", "mixes with others in one batch"),
    "README.zh-CN.md": ("方法", "可并入底座", "普通 peft 可加载", "可与其他适配器同批计算"),
}
BLOCK = re.compile(r"(?s)(<!-- matrix -->\n).*?(<!-- end -->)")


def main() -> None:
    """Write the matrix, or check it."""
    stale = []
    for name, headings in HEADINGS.items():
        file = ROOT / name
        text = file.read_text(encoding="utf-8")
        new = BLOCK.sub(lambda found, headings=headings: found[1] + matrix(headings) + found[2], text)
        if new != text:
            stale.append(name)
            if "--check" not in sys.argv:
                file.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"not up to date: {', '.join(stale)}; run python bench/matrix.py")


def matrix(headings: tuple[str, ...]) -> str:
    """A row a method, a column a task, then what else the method can."""
    first, *abilities = headings
    names = [first, *(f"`{task}`" for task in TASKS.names()), *abilities]
    rows = [names, ["---", *[":-:"] * (len(names) - 1)], *(row(METHODS.get(name)) for name in METHODS.names())]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)


def row(method: type[Method]) -> list[str]:
    """Methods know no task: every method meets every task, unless neither it nor the task's head would learn."""
    can = (
        method.merged is not Method.merged,
        method.peft_format,
        method.mixed is not Method.mixed,
    )
    meets = (
        method.changes_trunk or HEADS.make({"name": TASKS.get(task)().default_head}).owns_weights
        for task in TASKS.names()
    )
    return [f"`{method.name}`", *("✓" if met else "–" for met in meets), *("✓" if able else "–" for able in can)]


if __name__ == "__main__":
    main()
