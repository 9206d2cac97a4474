"""Distillation: a large model's probabilities for unlabelled rows teach a small one, beside the labelled rows.

Hinton et al. (2015), Distilling the knowledge in a neural network. Teacher and student share labels, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from adaptune.approaches.finetune import Finetune
from adaptune.bundle.growing import Growing
from adaptune.bundle.load import Bundle
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.files import json_line
from adaptune.core.log import Progress, notice
from adaptune.core.run_folder import read_json_lines
from adaptune.core.types import Example
from adaptune.labels.pool import Pool, check_one_label, read_pool, with_shares
from adaptune.prepare import Prepared, labels_of
from adaptune.recipe import Recipe
from adaptune.run import Run, cook

AT_ONCE = 256
"""Rows whose answers reach the disk together."""


def distil(
    teach: Callable[[], Bundle],
    recipe: Recipe,
    prepared: Prepared,
    unlabelled: str,
    *,
    temperature: float = 2.0,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Carry out a recipe with the rows of a file beside its own, as a teacher answers them.

    The loss of such a row is T^2 KL between what teacher and student say at the temperature T; labelled rows keep
    theirs. The teacher's answers are kept beside the run folder, and used again. Raises AdaptuneError.
    """
    check_student(recipe, prepared)
    pool, teacher = read_pool(unlabelled, recipe, prepared), teach()
    names = labels_of(recipe, prepared.splits).names
    check_teacher(teacher, recipe, names)
    digest = hashlib.sha256((identity(teacher) + pool.fingerprint).encode()).hexdigest()
    answers = recipe.out.with_name(f"{recipe.out.name}-teacher-{digest[:8]}.jsonl")
    shares = taught(teacher, pool, answers)
    del teacher  # its memory is the student's now
    head = recipe.head.model_copy(update={"soft_temperature": temperature})
    student = recipe.model_copy(update={"head": head})
    splits = prepared.splits
    rows = [with_shares(example, [(example.expected, 1.0)]) for example in splits.train]
    rows += [with_shares(example, share) for example, share in zip(pool.examples, shares, strict=True)]
    said = f"{prepared.fingerprint}{digest}{temperature}"
    with_pool = replace(
        prepared,
        splits=replace(splits, train=tuple(rows)),
        fingerprint=hashlib.sha256(said.encode()).hexdigest(),
    )
    return cook(student, prepared=with_pool, resume=resume, overwrite=overwrite)


def check_student(recipe: Recipe, prepared: Prepared) -> None:
    """Refuse what cannot learn from probabilities. Raises Unsupported, DataError."""
    check_one_label(recipe, prepared, "distil")
    if not recipe.head.learns_shares or not isinstance(recipe.approach, Finetune):
        raise Unsupported(
            f"head {recipe.head.name!r} with approach {recipe.approach.name!r} does not learn from the probabilities "
            "of another model; heads classify and relate with approach finetune do"
        )
    if recipe.evaluate.out_of_scope == "mahalanobis":
        raise Unsupported(
            "evaluate.out_of_scope is 'mahalanobis', which needs one label of every training row; use energy or "
            "probability"
        )


def check_teacher(teacher: Bundle, recipe: Recipe, names: Sequence[str]) -> None:
    """Refuse a teacher of another task, or of other labels. Raises Unsupported."""
    if teacher.task.name != recipe.task.name:
        raise Unsupported(
            f"the teacher {teacher.name!r} was trained for task {teacher.task.name!r}, the recipe's is "
            f"{recipe.task.name!r}; name a bundle of the same task"
        )
    known = teacher.assembly.labels.names
    if set(known) != set(names):
        lacks, more = sorted(set(names) - set(known)), sorted(set(known) - set(names))
        said = [f"does not know {lacks}"] * bool(lacks) + [f"knows {more}, of which no training row is"] * bool(more)
        raise Unsupported(f"the teacher {teacher.name!r} {' and '.join(said)}; both must tell the same labels apart")


def identity(teacher: Bundle) -> str:
    """Of what decides its answers: base, method, head, labels, approach and weights, whatever it was scored on."""
    beside = {"adaptune", "created", "columns", "scores", "golden", "lineage"}
    return teacher.manifest.model_dump_json(exclude=dict.fromkeys(beside, True) | {"base": {"name", "revision"}})


def taught(teacher: Bundle, pool: Pool, out: Path) -> list[list[tuple[str, float]]]:
    """What the teacher says of each row: labels with their probabilities; written row by row, and read where it is.

    Raises DataError for rows that it cannot read, Unsupported where it gives no probabilities.
    """
    names = teacher.assembly.labels.names
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        examples = [teacher.task.example(example.row) for example in pool.examples]
        with Growing(out, {"bundle": identity(teacher), "input": pool.fingerprint}) as growing:
            _answer(teacher, examples, growing)
            growing.finish()
    else:
        notice(f"the teacher's answers are there: {out}")
    found = [[(name, record["probabilities"][name]) for name in names] for record in read_json_lines(out)]
    if len(found) != len(pool.examples):
        raise DataError(f"{out} has {len(found)} lines, and the pool {len(pool.examples)} rows; remove it")
    return found


def _answer(teacher: Bundle, examples: Sequence[Example], growing: Growing) -> None:
    names = teacher.assembly.labels.names
    with Progress("teacher", len(examples), unit="rows") as progress:
        progress.start_at(growing.lines)
        for start in range(growing.lines, len(examples), AT_ONCE):
            answers = teacher.answers(examples[start : start + AT_ONCE])
            if any(len(found.probabilities) != len(names) for found in answers):
                raise Unsupported(f"the teacher {teacher.name!r} gives no probability of every label")
            records = [dict(zip(names, found.probabilities, strict=True)) for found in answers]
            growing.write([json_line({"probabilities": record}) for record in records])
            progress.advance(len(answers))
