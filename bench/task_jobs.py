"""What the group `tasks` of bench/evidence.py runs: one recipe a task, shrunk to an hour of two cores. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A recipe and what shrinks it."""

    recipe: str
    model: str
    """The folder of its base beside the others, `minilm`."""
    shrunk_by: tuple[str, ...]


GENERATION = (
    "data.valid_rows=40",
    "data.test_rows=200",
    "train.epochs=1",
    "train.batch_tokens=512",
    "train.max_seconds=900",
    "head.long_target=cut",
)
"""Of what is written: two hundred texts by the adapted model, and as many by the model as it was before."""


def task_runs() -> Iterator[TaskRun]:
    """Every row of the table of tasks that needs a run of its own; tagging has those of the group `main`.

    A cut is of rows and of passes, so that the learning rate's schedule ends within `train.max_seconds`, a safety net.
    """
    yield TaskRun(
        "semeval2010-task8",
        "minilm",
        ("data.train_rows=2000", "data.valid_rows=300", "train.epochs=4", "train.max_seconds=300"),
    )
    yield TaskRun("xquad-en", "e5", ("data.valid_rows=60", "train.epochs=1", "train.max_seconds=900"))
    yield TaskRun(
        "cmrc2018",
        "e5",
        (
            "data.train_rows=450",
            "data.valid_rows=50",
            "data.test_rows=300",
            "train.epochs=1",
            "train.max_seconds=900",
        ),
    )
    for kind in ("match", "regress"):
        shrunk = ("data.train_rows=3000", "data.valid_rows=500", "train.epochs=2", "train.max_seconds=240")
        yield TaskRun(f"stsb-en-{kind}", "minilm", shrunk)
        shrunk = ("data.train_rows=2000", "data.valid_rows=300", "train.epochs=1", "train.max_seconds=300")
        yield TaskRun(f"stsb-zh-{kind}", "e5", shrunk)
    yield TaskRun("banking77-retrieval", "minilm", ("train.epochs=1", "train.max_seconds=300"))
    yield TaskRun("nlu-plus-plus", "minilm", ("train.max_seconds=240",))
    yield TaskRun("multi30k-de-en", "smollm2", (*GENERATION, "data.train_rows=500", "head.max_new_tokens=32"))
    short = ("model.max_length=128", "data.train_rows=150", "head.max_new_tokens=32")
    yield TaskRun("scitldr", "smollm2", (*GENERATION, *short))
    yield TaskRun("e2e-nlg", "smollm2", (*GENERATION, "data.train_rows=300", "head.max_new_tokens=48"))
    chat = ("model.max_length=256", "data.train_rows=150", "head.max_new_tokens=48", "train.epochs=2")
    yield TaskRun("crosswoz-chat", "smollm2", (*GENERATION, *chat, "train.max_seconds=1500"))
    yield TaskRun("pretrain-stock", "splade", ("data.train_rows=4000", "train.max_seconds=240"))
