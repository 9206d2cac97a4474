"""A file of millions of rows: seconds until the first optimizer step, and the most memory that the run held.

    python bench/large.py --model MODEL [--rows 2000000] [--steps 50] [--format csv]

Writes the file into a temporary folder, carries out `adaptune train` on it as a process of its own, and prints one
JSON. Texts are put together at random from words of reviews, 5 to 15 to a row beside the two that make its class, so
that a model has something to learn; one in ten has a comma and stands in quotes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

GOOD = "great lovely fast helpful bright clean happy wonderful reliable warm".split()
BAD = "slow broken rude dirty sad awful late noisy cold terrible".split()
THINGS = "phone train hotel film book card service delivery screen battery room dinner ticket app driver coffee".split()
OTHERS = """the a my our this that was is very quite really with from for after before on in at when they we it and but
so again today yesterday morning evening city street price order number people""".split()


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--model", required=True, help="a model's name or folder")
    given.add_argument("--rows", type=int, default=2_000_000)
    given.add_argument("--steps", type=int, default=50)
    given.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / f"rows.{options.format}", Path(folder) / "run"
        write(data, options.rows)
        (Path(folder) / "recipe.yaml").write_text(
            f"task: classify\nmodel: {options.model}\ndata: {{train: {data}}}\nmethod: lora\n"
            f"train: {{max_steps: {options.steps}}}\nout: {out}\n"
        )
        first, processor, total = run(Path(folder) / "recipe.yaml", out)
        report = json.loads((out / "report.json").read_text())
        figures = {
            "rows": options.rows,
            "megabytes": round(data.stat().st_size / 1e6),
            "seconds_to_first_step": round(first, 1),
            "processor_seconds_to_first_step": processor and round(processor, 1),
            "seconds": round(total, 1),
            "peak_memory_mb": round(report["peak_memory_mb"]),
            "steps": report["training"]["steps"],
            "examples": report["examples"],
            "test": report["test"]["accuracy"],
            "stages": {name: round(seconds, 1) for name, seconds in report["seconds"].items()},
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        }
    print(json.dumps(figures, indent=2))


def write(path: Path, rows: int) -> None:
    """The file of rows, the same for the same number of them."""
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("text,label\n")
        for text, label in made(rows):
            if path.suffix == ".csv":
                quoted = f'"{text}"' if "," in text else text
                file.write(f"{quoted},{label}\n")
            else:
                file.write(json.dumps({"text": text, "label": label}) + "\n")


def made(rows: int) -> Iterator[tuple[str, str]]:
    """Texts and their labels."""
    generator = random.Random(5)
    for _ in range(rows):
        good = generator.random() < 0.5
        words = generator.choices(OTHERS, k=generator.randint(5, 15))
        words.insert(generator.randrange(len(words)), generator.choice(GOOD if good else BAD))
        words.insert(generator.randrange(len(words)), generator.choice(THINGS))
        text = " ".join(words)
        if generator.random() < 0.1:
            text = text.replace(" ", ", ", 1)
        yield text, "positive" if good else "negative"


def run(recipe: Path, out: Path) -> tuple[float, float | None, float]:
    """Seconds until the first step's end, those that processors worked for it, and seconds until the run's end."""
    environment = os.environ | {"ADAPTUNE_CACHE": str(recipe.parent / "cache")}
    started, first, processor = time.monotonic(), 0.0, None
    process = subprocess.Popen([sys.executable, "-m", "adaptune", "train", str(recipe)], env=environment)
    while process.poll() is None:
        if not first and (out / "steps.jsonl").exists():
            first, processor = time.monotonic() - started, processor_seconds(process.pid)
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    return first, processor, time.monotonic() - started


def processor_seconds(process: int) -> float | None:
    """Of all its threads so far: on a busy machine these say more than a clock. None where the system does not tell."""
    file = Path(f"/proc/{process}/stat")
    if not file.exists():
        return None
    fields = file.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
