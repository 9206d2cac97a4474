"""What one labelled row means: the abstract Task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from adaptune.core.config import Part
from adaptune.core.errors import Unsupported
from adaptune.core.types import Answer, Array, Example, Labels, OfSequence, Row, Scores, Target


@dataclass(frozen=True, slots=True)
class Column:
    """One column that a task reads."""

    name: str
    """The task's name for it, `text`."""
    help: str
    aliases: tuple[str, ...] = ()
    """Names that files commonly give it, best first; used to detect the column where a recipe maps none."""
    required: bool = True
    label: bool = False
    """Whether it holds the answer; such a column may be missing where rows are only predicted."""
    several: bool = False
    """Whether several columns of a file may stand for it, mapped as `a, b, c`: its value is then what each holds."""
    whole: bool = False
    """Whether it holds the answer, too: where it is there, no label column need be."""
    implied: bool = False
    """Of a label column: whether other columns may say the same, so that no file needs one."""


class Task(Part, ABC):
    """What one labelled row means."""

    metric: ClassVar[str]
    """What early stopping and comparisons watch by default; larger is better."""
    metrics: ClassVar[tuple[str, ...]]
    """Every metric that `score` gives; larger is better, 1 perfect."""
    errors: ClassVar[tuple[str, ...]] = ()
    """What `score` gives beside them: smaller is better, 0 perfect."""
    columns: ClassVar[tuple[Column, ...]]
    default_head: ClassVar[str]
    target: ClassVar[type[Target]] = OfSequence
    """What its rows' targets are: one of a whole sequence, or one of every word."""
    by_row: ClassVar[bool] = True
    """Whether an example and its tokens depend on one row alone: only such rows are streamed, their tokens cached."""
    likelihood: ClassVar[bool] = False
    """Where texts are written: whether the loss and the perplexity of the expected ones are among the scores."""
    unlabelled: ClassVar[str] = (
        "name the label column in data.columns, or use `adaptune predict` for rows without labels"
    )
    """What to do about a row that is to be learned or scored and has no label."""

    @property
    def pools(self) -> bool:
        """Whether rows that are scored are answered from the texts of all of them, or from a corpus."""
        return False

    @property
    def signs(self) -> tuple[str, ...]:
        """What it writes around the spans that it marks in a text, span by span."""
        return ()

    def gathered(self, rows: Several[Row]) -> Several[Row]:
        """Rows of a file, those that only together are an example as one row; pure."""
        return rows

    def pooled(self, examples: Several[Example], corpus: Several[str] | None) -> list[Example]:
        """Examples that are answered from one corpus; None: from the texts of all of them. Raises DataError."""
        raise Unsupported(f"task {self.name!r} answers each row by itself and reads no corpus; leave the corpus out")

    @abstractmethod
    def example(self, row: Row) -> Example:
        """The row as sequences and targets; pure. Unlabelled rows give targets None. Raises DataError."""

    @abstractmethod
    def labels(self, examples: Several[Example]) -> Labels:
        """The label inventory of labelled training examples, in a stable order; looks at `expected` alone.

        Raises DataError.
        """

    @abstractmethod
    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        """Every metric and error over answers' values; pure."""

    def score_probabilities(self, answers: Several[Answer], expected: Several[Any], labels: Labels) -> dict[str, float]:
        """What the answers' probabilities are worth, AUROC; nothing where the task measures no such thing."""
        return {}

    def measure(self, answers: Several[Answer], expected: Several[Any], labels: Labels) -> Scores:
        """`score` and `score_probabilities` together."""
        scores = self.score([answer.value for answer in answers], expected)
        return replace(scores, values={**scores.values, **self.score_probabilities(answers, expected, labels)})

    def is_right(self, predicted: Any, expected: Any) -> bool:
        """Whether a whole answer is the one that was expected."""
        return bool(predicted == expected)

    @abstractmethod
    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, K) per row, the counts whose sums over rows decide the default metric; what a bootstrap resamples."""

    @abstractmethod
    def metric_of(self, totals: Array) -> Array:
        """(..., K) sums of counts -> (...) the default metric."""

    @abstractmethod
    def strata(self, examples: Several[Example]) -> list[str]:
        """One stratum a row, for splits that keep class shares; looks at `expected` alone."""

    def sample(self, values: Mapping[str, str]) -> dict[str, Any]:
        """A row's values for texts that were made up, by column; a task whose rows hold more adds it."""
        return dict(values)

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        """What plain models fitted on the training rows answer for the test rows, by name."""
        return {}

    @abstractmethod
    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        """The answer as people read it and JSON holds it: a label, or entities with their words and offsets."""
