"""Few labelled rows on BANKING77 and CLINC150: ours and SetFit, on the same rows, one small JSON a run.

Both systems read the rows that `data.shots` and `data.draw` draw. Test rows and SetFit's steps are cut, so that the
whole group takes about 40 minutes with two workers of one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.load import load_splits
from adaptune.tasks import TASKS
from peers.rows import TASKS as SETS

ROOT = Path(__file__).resolve().parent.parent
HUB = "sentence-transformers/all-MiniLM-L6-v2"
SHOTS = (1, 2, 4, 8, 16)
TEST_ROWS, VALID_ROWS = 1000, 100
SETFIT_STEPS = 100
OUTSIDE = "oos"
"""Rows of CLINC150 that belong to none of its intents are left out."""
OURS = {
    "contrast": ("approach=contrast",),
    "contrast-without-names": ("approach={name: contrast, names: false}",),
    "head": ("approach={name: contrast, steps: 0}", "method=none"),
    "prototype": ("approach={name: prototype, templates: ['{}']}",),
    "lora": ("approach=finetune", "method=lora"),
}
SETFIT = {"setfit": 2e-5, "setfit-1e-4": 1e-4}
"""SetFit's own learning rate, and five times that: few steps go further."""
PARTS = (
    (1, ("setfit", "contrast", "lora")),
    (1, ("setfit-1e-4", "head", "prototype", "contrast-without-names")),
    (2, ("setfit", "contrast")),
)
"""Draws and the systems that see their rows, in the order of the runs: where time runs out, the last are missing."""
SHRUNK = (
    f"{TEST_ROWS:,} test rows and {VALID_ROWS} validation rows of each set; CLINC150 without its rows out of scope; "
    f"one draw of rows, a second one of {' and '.join(PARTS[2][1])}; SetFit takes {SETFIT_STEPS} steps of "
    "16 pairs, its learning rate falling to 0 by then: its own 20 pairs of each kind a sentence are 193 steps or more"
)


@dataclass(frozen=True, slots=True)
class FewRun:
    """One system on one draw of one number of shots."""

    recipe: str
    """The data set."""
    system: str
    shots: int
    draw: int
    environments: Path

    metric: ClassVar[str] = "accuracy"

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        return results / self.recipe / f"{self.system}-shots{self.shots}-draw{self.draw}.json"

    def run(self, out: Path, models: Path | None) -> None:
        """Write the rows, train in a process of its own, and keep what it came to."""
        model = str(models / "minilm") if models else HUB
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files = write_sets(self.recipe, folder)
            found = (self._peer if self.system in SETFIT else self._ours)(folder, files, model)
            if found is None:
                return
            head = {"system": self.system, "set": self.recipe, "shots": self.shots, "draw": self.draw}
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(head | found | {"shrunk": SHRUNK}) + "\n", encoding="utf-8")

    def settings(self, files: dict[str, str]) -> dict[str, Any]:
        """The data section."""
        rows = {"test_rows": TEST_ROWS, "valid_rows": VALID_ROWS}
        return {**files, "shots": self.shots, "draw": self.draw, **rows}

    def _ours(self, folder: Path, files: dict[str, str], model: str) -> dict[str, Any] | None:
        recipe = folder / "recipe.yaml"
        content = {"task": "classify", "model": model, "data": self.settings(files), "out": str(folder / "run")}
        recipe.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        command = [sys.executable, str(ROOT / "bench" / "few_ours.py"), str(recipe), *OURS[self.system]]
        if subprocess.run([*command, "evaluate.baselines=false"], cwd=ROOT, check=False).returncode:
            return None
        run = RunDir(folder / "run")
        report = json.loads(run.report.read_text(encoding="utf-8"))
        rows = read_json_lines(run.predictions)
        return {
            "accuracy": report["test"]["accuracy"],
            "rows": report["examples"]["train"],
            "seconds": report["seconds"]["train"],
            "busy_seconds": json.loads((run.path / "busy.json").read_text(encoding="utf-8")),
            "steps": len(list(read_json_lines(run.steps))) if run.steps.exists() else 0,
            "peak_memory_mb": report["peak_memory_mb"],
            "right": "".join(str(int(row["predicted"] == row["expected"])) for row in rows),
        }

    def _peer(self, folder: Path, files: dict[str, str], model: str) -> dict[str, Any] | None:
        """SetFit in an environment of its own; the very rows that ours are trained and tested on."""
        config = DataConfig.model_validate(self.settings(files))
        splits = load_splits(config, TASKS.make({"name": "classify"}), seed=1)
        order = {
            "model": model,
            "train": [_pair(one) for one in splits.train],
            "test": [_pair(one) for one in splits.test],
            "steps": SETFIT_STEPS,
            "learning_rate": SETFIT[self.system],
            "seed": 1,
            "out": str(folder / "answer.json"),
        }
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        python = self.environments / "setfit" / "bin" / "python"
        offline = {"HF_HUB_OFFLINE": "1"} if Path(model).is_dir() else {}
        environment = os.environ | offline | {"HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("PYTHONPATH", None)
        command = [str(python), "-m", "peers.setfit_few", str(folder / "order.json")]
        if subprocess.run(command, cwd=ROOT / "bench", env=environment, check=False).returncode:
            return None
        found: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        return found


def _pair(example: Example) -> tuple[str, str]:
    return str(example.sequences[0].first), example.expected


def write_sets(name: str, folder: Path) -> dict[str, str]:
    """A file for each part, by the part."""
    files = {}
    for part, rows in SETS[name].read(Path(os.environ["ADAPTUNE_DATA"])).items():
        file = folder / f"{part}.jsonl"
        kept = [{"text": row.text, "label": row.label} for row in rows if row.label != OUTSIDE]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        files[part] = str(file)
    return files


def few_jobs(environments: Path, *, smoke: bool = False) -> Iterator[FewRun]:
    """In the order of PARTS; `smoke`: one set, two sizes."""
    print(f"shrunk: {SHRUNK}", flush=True)
    for draw, systems in PARTS[:1] if smoke else PARTS:
        for shots in (1, 4) if smoke else SHOTS:
            for name in ("banking77",) if smoke else ("banking77", "clinc150"):
                made = partial(FewRun, name, shots=shots, draw=draw, environments=environments)
                yield from (made(system=system) for system in systems)
