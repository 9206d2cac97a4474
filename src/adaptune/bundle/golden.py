"""Golden examples: inputs with the answers that a rightly loaded bundle gives. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from adaptune.bundle.answers import answer, encoded_for
from adaptune.bundle.inputs import text_columns
from adaptune.bundle.manifest import Golden, Preprocessing, golden, plain
from adaptune.core.backbone import Backbone
from adaptune.core.calibration import Calibration
from adaptune.core.errors import BundleError, DataError
from adaptune.core.log import warn
from adaptune.core.task import Task
from adaptune.core.types import Answer, Example, Row
from adaptune.models.assembly import Assembly

SENTENCES = (
    "The train from the coast came in two hours late, and nobody at the station knew why.",
    "Good morning!",
    "Last week Maria Keller moved from Lisbon to a small town near the river to work for Northwind Foods.",
    "I would like to know how I can change the address on my account, please.",
    "昨天下午我们在公园里看到了很多人。",
)
"""Made up for this purpose: rows of no data set."""
SHORTER = (40, 12, 4)
"""Characters that are kept of each text where whole ones are more than the model reads."""
FP32, LOWER = 1e-4, 5e-2
"""How far a probability may lie from the recorded one, in fp32 and in lower precision."""


def make_golden(
    assembly: Assembly, task: Task, preprocessing: Preprocessing, *, texts: Sequence[str], columns: Mapping[str, str]
) -> tuple[Golden, ...]:
    """One record a text, with the assembly's answers; `columns` are the training files' names by the task's.

    Texts that are more than the model reads are made shorter; one that cannot be read at all has no record.
    """
    rows = _fitting(assembly, task, preprocessing.max_length, texts=texts or SENTENCES, columns=columns)
    if texts and len(rows) < len(texts):
        warn(f"the bundle keeps {len(rows)} of the {len(texts)} texts of bundle.examples: the others cannot be read")
    answers = answer(assembly, [task.example(row) for row in rows], max_length=preprocessing.max_length)
    return tuple(golden(row.values, found) for row, found in zip(rows, answers, strict=True))


def golden_examples(task: Task, recorded: Sequence[Golden]) -> list[Example]:
    """The inputs as examples of the task."""
    return [
        task.example(Row("golden example", number, record.values)) for number, record in enumerate(recorded, start=1)
    ]


def dtype_of(backbone: Backbone) -> str:
    """Of the frozen weights, `float32`."""
    return str(next(backbone.trunk.parameters()).dtype).removeprefix("torch.")


def check_golden(
    recorded: Sequence[Golden], answers: Sequence[Answer], *, exact: bool, by: Calibration | None = None
) -> None:
    """Compare answers with the recorded ones; `exact` where both were computed in fp32. Raises BundleError.

    `by`: the calibration that the answers were given by. A verdict may fall the other way where what it is on lies on
    the threshold, within the tolerance.
    """
    tolerance = FP32 if exact else LOWER
    for number, (record, found) in enumerate(zip(recorded, answers, strict=True), start=1):
        fault = _difference(record, found, tolerance, exact=exact) or _other_verdict(record, found, by, tolerance)
        if fault is not None:
            raise BundleError(
                f"golden example {number} ({_shown(record.values)}) gave {fault}; the base model, its tokenizer or the "
                "libraries differ from those the bundle was made with, so its answers cannot be trusted here: use the "
                "versions that its manifest names, or train it again"
            )


def _difference(record: Golden, found: Answer, tolerance: float, *, exact: bool) -> str | None:
    """What differs, as words, or None."""
    if record.probability is None or found.probability is None:
        return _other_number(record.answer, found.value, tolerance)
    # In lower precision two answers that are nearly as likely may change places; above one half there is only one.
    if not exact and isinstance(record.answer, str) and not record.probabilities and found.value != record.answer:
        return None  # a written text that took another turn at one token
    certain = exact or record.probability > (1 + tolerance) / 2
    if certain and not _same(plain(found.value), record.answer, tolerance):
        return f"the answer {_shown(plain(found.value))}, expected {_shown(record.answer)}"
    expected = (record.probability, *record.probabilities)
    actual = (found.probability, *found.probabilities)
    if len(expected) != len(actual):
        return f"{len(actual) - 1} probabilities, expected {len(expected) - 1}"
    worst = max(zip(expected, actual, strict=True), key=lambda pair: _distance(*pair))
    if not _distance(*worst) <= tolerance:
        return f"the probability {worst[1]:.6f}, expected {worst[0]:.6f} within {tolerance:g}"
    return None


def _other_verdict(record: Golden, found: Answer, by: Calibration | None, tolerance: float) -> str | None:
    """What a threshold says otherwise, as words, or None."""
    below = None if by is None or by.abstain is None else by.abstain.below
    above = None if by is None or by.scope is None else by.scope.above
    verdicts = (
        ("abstained", record.abstained, found.abstained, found.probability, below),
        ("out_of_scope", record.out_of_scope, found.out_of_scope, found.scope, above),
    )
    for name, expected, actual, number, threshold in verdicts:
        if expected is None or actual is expected:
            continue
        if number is None or threshold is None or _other_number(threshold, number, tolerance) is not None:
            return f"the verdict {name} {actual}, expected {expected}"
    return None


def _same(actual: Any, expected: Any, tolerance: float) -> bool:
    """Numbers within the tolerance, everything else exactly; ranked texts in any order, each with its score."""
    if _ranked(expected) and _ranked(actual):
        scores = dict(actual)
        return len(actual) == len(expected) and all(
            text in scores and _other_number(score, scores[text], tolerance) is None for text, score in expected
        )
    if not isinstance(expected, list) or not all(isinstance(value, float) for value in expected):
        return bool(actual == expected)
    return len(actual) == len(expected) and not any(map(partial(_other_number, tolerance=tolerance), expected, actual))


def _ranked(value: Any) -> bool:
    pairs = isinstance(value, list) and bool(value) and all(isinstance(one, list) and len(one) == 2 for one in value)
    return pairs and all(isinstance(text, str) and isinstance(score, float) for text, score in value)


def _other_number(expected: Any, actual: Any, tolerance: float) -> str | None:
    """What differs, as words, or None; the tolerance is a share of numbers above 1."""
    if _distance(float(expected), float(actual)) <= tolerance * max(1.0, abs(float(expected))):
        return None
    return f"the number {actual:.6g}, expected {expected:.6g} within {tolerance:g}"


def _distance(one: float, other: float) -> float:
    """Infinite where a number is none at all."""
    return abs(one - other) if one == one and other == other else float("inf")


def _fitting(
    assembly: Assembly, task: Task, max_length: int, *, texts: Sequence[str], columns: Mapping[str, str]
) -> list[Row]:
    """A row for every text that can be read, whole where that fits."""
    found = []
    for number in range(len(texts)):
        for most in (None, *SHORTER):
            row = _row(task, columns, [text[:most] for text in texts], number)
            if _fits(assembly, task, row, max_length):
                found.append(row)
                break
    return found


def _fits(assembly: Assembly, task: Task, row: Row, max_length: int) -> bool:
    try:
        encoded_for(assembly, [task.example(row)], max_length=max_length)
    except DataError:
        return False
    return True


def _row(task: Task, columns: Mapping[str, str], texts: Sequence[str], number: int) -> Row:
    """A row with a text in every column that inputs fill; no labels."""
    names = text_columns(task, columns)
    values = {name: texts[(number + place) % len(texts)] for place, name in enumerate(names)}
    return Row("golden example", number + 1, task.sample(values))


def _shown(value: Any, longest: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
