"""A first recipe for a file of rows, with comments that say what else can be set. Reads no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptune.core.errors import AdaptuneError
from adaptune.core.files import write_atomically
from adaptune.data.guess import Guess
from adaptune.recipe.source import write_text

MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_RECIPE = """\
# Written by `adaptune init {data}`.
{reasons}
#
#   adaptune doctor {data} --task {task_name}     what is odd about the rows
#   adaptune train {recipe}
#   adaptune train {recipe} train.epochs=3 out=runs/second     the same with other values
#
# Every key with its help: adaptune schema. Every name: adaptune list methods (tasks, heads, models).

{task}
data:
{files}\
  # Rows that choose the best weights, and rows that are scored once, at the end. Without files of their own, each are a
  # tenth of the training rows, cut by the seed.
  # valid: valid.csv
  # test: test.csv

# A hub id, a folder or a GGUF file. For other languages than English: intfloat/multilingual-e5-small.
{model}
# What learns inside the model; everything else in it stays as it is.
method:
  name: lora
  rank: 8

train:
  epochs: 5
  # Stop earlier, with the best weights so far:
  # max_seconds: 600

# Decides the cuts, the order of rows and every initial weight.
seed: 1
"""


def write_starter(guess: Guess, data: str, path: Path, *, model: str = MODEL) -> None:
    """Write a recipe that learns what `guess` says of the file `data`. Raises AdaptuneError where `path` exists."""
    if path.exists():
        raise AdaptuneError(f"{path} exists and is not overwritten; remove it, or name another file with --out")
    files: dict[str, Any] = {"train": data, "format": guess.format, "columns": guess.columns}
    if not guess.header:
        files["header"] = False
    text = _RECIPE.format(
        data=data,
        reasons="\n".join(f"# {reason}" for reason in guess.reasons),
        recipe=path,
        task_name=guess.task,
        task=write_text({"task": guess.task}),
        files="".join(f"  {line}\n" for line in write_text(files).splitlines()),
        model=write_text({"model": model}),
    )
    write_atomically(path, text)
