"""No labelled rows: a label holds where an inference model finds that what the label says follows from the text."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator

from adaptune.approaches._naming import NAME, as_classes, with_a_place
from adaptune.core.approach import Approach, Trial
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.head import Head
from adaptune.core.log import notice
from adaptune.core.method import Method
from adaptune.core.phrases import spoken
from adaptune.core.task import Task
from adaptune.core.types import Example, Labels, OfHypothesis, OfLabels, OfSequence, Sequence


class Entail(Approach):
    """Every label is a hypothesis beside the text, and an inference model says which of them follow (zero-shot).

    The model is one that was trained for natural language inference, read by its own classifier. Nothing is trained
    unless a method and epochs are asked for, which then learn through the frozen classifier.
    """

    paper: ClassVar[str] = (
        "Yin et al. (2019), Benchmarking zero-shot text classification: datasets, evaluation and entailment approach"
    )
    default_method = "none"
    default_epochs = 0.0
    rewrites = True
    needs_rows = False

    classes: dict[str, str] = Field(default={})
    """The labels and what each means: a list of names, or a mapping of names to descriptions, in any language that the
    model reads; none: those of the training rows, by their names."""
    templates: tuple[str, ...] = ("This text is about {}.", "This example is {}.", "这段文字是关于{}的。")
    """Hypotheses, with {} for a label's name or description; of several the best on validation rows, without any the
    first."""
    tried: dict[str, float] = Field(default={})
    """The score of each on validation rows; always filled by the run."""

    _classes = field_validator("classes", mode="before")(as_classes)
    _places = field_validator("templates")(with_a_place)

    def heads(self, task: Task) -> tuple[str, ...]:
        return ("entail",)

    def for_head(self, head: Head, task: Task) -> Head:
        return head.model_copy(update={"each": task.target is OfLabels})

    def check(self, task: Task, method: Method, head: Head) -> None:
        if task.target not in (OfSequence, OfLabels):
            raise Unsupported(
                f"approach {self.name!r} asks which labels hold for a text (tasks classify and multilabel), and task "
                f"{task.name!r} asks for something else; use approach finetune"
            )

    @property
    def known_labels(self) -> tuple[str, ...]:
        return tuple(self.classes)

    def put(self, example: Example, labels: Labels, *, mask: str | None) -> Example:
        first = example.sequences[0]
        if first.second is not None:
            raise DataError(
                f"{example.row.where} has a second text, where approach {self.name!r} puts what a label says; leave "
                "its column out of data.columns, or use another approach"
            )
        hypotheses = [
            Sequence(first.first, self._hypothesis(name), _target(first, name), first.overflow) for name in labels.names
        ]
        return replace(example, sequences=tuple(hypotheses))

    def chosen(self, trial: Trial) -> Self:
        if len(self.templates) == 1 or not trial.examples("valid"):
            return self._with(self.templates[0], {})
        tried = {one: trial.score(self._with(one, {})) for one in self.templates}
        lines = "; ".join(f"{score:.3f} {one!r}" for one, score in tried.items())
        notice(f"approach {self.name!r} chose on {len(trial.examples('valid'))} validation rows: {lines}")
        return self._with(max(tried, key=lambda one: tried[one]), tried)

    def said(self) -> Mapping[str, Any]:
        return {"template": self.templates[0], "tried": dict(self.tried)}

    def _hypothesis(self, name: str) -> str:
        return self.templates[0].replace(NAME, self.classes.get(name) or spoken(name))

    def _with(self, template: str, tried: dict[str, float]) -> Self:
        return self.model_copy(update={"templates": (template,), "tried": tried})


def _target(sequence: Sequence, name: str) -> OfHypothesis | None:
    if sequence.target is None:
        return None
    assert isinstance(sequence.target, (OfSequence, OfLabels))
    values: Several[str] = sequence.target.values if isinstance(sequence.target, OfLabels) else (sequence.target.value,)
    return OfHypothesis(name in values)
