"""Few labelled rows, or none: a text has the label whose mean vector, or whose name's vector, is nearest to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from adaptune.core.approach import Approach, Start, Taken
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.head import Head
from adaptune.core.lazy import torch
from adaptune.core.method import Method
from adaptune.core.phrases import spoken
from adaptune.core.task import Task
from adaptune.core.types import Labels, OfLabels, OfMarked, OfRow, OfSequence

NAME = "{}"
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 19))
"""Cosines that are tried where a label is given by itself."""
UNKNOWN = 0.3
"""The one that is taken without validation rows."""
YES = ("1", "true", "yes", "match", "duplicate", "paraphrase")
"""Usual names of the label of pairs that match."""
HEADS = {OfSequence: "classify", OfMarked: "relate", OfLabels: "multilabel", OfRow: "similarity"}
"""By what a task's targets are."""


class Prototype(Approach):
    """A text has the label whose mean vector is nearest: for few rows, or for none but the labels' names (zero-shot).

    Nothing is trained unless epochs are asked for, which then begin from here.
    """

    paper: ClassVar[str] = "Snell et al. (2017), Prototypical networks for few-shot learning"
    default_method = "none"
    default_epochs = 0.0
    needs_rows = False
    fits_head = True

    distance: Literal["cosine", "euclidean"] = "cosine"
    """What is least to the nearest mean."""
    classes: dict[str, str] = Field(default={})
    """The labels and what each means: a list of names, or a mapping of names to descriptions, in any language that the
    model reads; none: those of the training rows, by their names."""
    name_weight: float = Field(default=1.0, ge=0)
    """As how many rows the name or the description of a label counts: means of few rows are drawn towards it."""
    templates: tuple[str, ...] = ("{}", "This text is about {}.", "这段文字是关于{}的。")
    """Texts that names and descriptions are put into; of several the best on validation rows, without any the first."""
    scale: float = Field(default=20.0, gt=0)
    """What cosines are multiplied by before the softmax: how sure answers are."""
    threshold: float | None = Field(default=None, gt=-1, lt=1)
    """multilabel, match: the cosine from which on a label is given, or a pair matches; none: the best on validation
    rows, 0.3 without any."""
    positive: str | None = None
    """match: the label of pairs that match; none: the label called 1, true or yes."""

    @field_validator("classes", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        """`[a, b]` are labels that their names describe."""
        return {str(name): "" for name in value} if isinstance(value, list) else value

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [template for template in value if template.count(NAME) != 1]
        if wrong or not value:
            raise ValueError(
                f"{wrong[0] if wrong else value!r} must hold {NAME} once, where the name of a label stands"
            )
        return value

    def heads(self, task: Task) -> tuple[str, ...]:
        return (HEADS[task.target],) if task.target in HEADS else ()

    def check(self, task: Task, method: Method, head: Head) -> None:
        if task.target not in HEADS or (task.target is OfRow and task.metric != "accuracy"):
            raise Unsupported(
                f"{self.name!r} finds the nearest label, and task {task.name!r} has other answers; use finetune"
            )
        if task.name == "match" and task.target is not OfRow:
            raise Unsupported(f"{self.name!r} compares texts that are read each by itself; set task.encoder=bi")
        if task.target is OfLabels and self.distance != "cosine":
            raise Unsupported(
                f"distance is {self.distance!r}, which has no threshold for a label by itself; use cosine"
            )
        if task.target is OfMarked and (self.classes or self.name_weight):
            raise Unsupported(
                "names of relations are no texts with marked entities; set approach.name_weight=0, without classes: "
                "means of rows are then compared"
            )

    @property
    def known_labels(self) -> tuple[str, ...]:
        return tuple(self.classes)

    def before(self, start: Start) -> Iterator[Taken]:
        start.choose(self._ways(start))
        yield from ()

    def _ways(self, start: Start) -> list[Callable[[], None]]:
        """To set the head's layer: by every template and threshold that is tried."""
        thresholds = self._thresholds(start)
        if start.head.target is OfRow:
            return [partial(self._match, start, threshold or 0.0) for threshold in thresholds]
        means = list(self._of_templates(start))
        return [
            partial(self._put, start, found, usual, threshold) for found, usual in means for threshold in thresholds
        ]

    def _thresholds(self, start: Start) -> tuple[float | None, ...]:
        """None where one label is chosen."""
        if start.head.target in (OfSequence, OfMarked):
            return (None,)
        if self.threshold is not None:
            return (self.threshold,)
        return THRESHOLDS if start.rows("valid") else (UNKNOWN,)

    def _of_templates(self, start: Start) -> Iterator[tuple[torch.Tensor, float]]:
        """For each template that is tried, what `_means` gives."""
        rows = start.features("train") if start.rows("train") else None
        if not self.name_weight:
            yield self._means(rows, None, len(start.labels))
            return
        texts = [self.classes.get(name) or spoken(name) for name in start.labels.names]
        for template in self.templates if start.rows("valid") else self.templates[:1]:
            names = start.features_of([template.replace(NAME, text) for text in texts])
            yield self._means(rows, names, len(start.labels))

    def _means(
        self, rows: tuple[torch.Tensor, torch.Tensor] | None, names: torch.Tensor | None, labels: int
    ) -> tuple[torch.Tensor, float]:
        """(C, F) the mean vector of each label, of length 1 by cosine, and the mean length of what they are of.

        Raises DataError for a label with neither rows nor a name.
        """
        seen = [part for part in (rows[0] if rows else None, names) if part is not None]
        if not seen:
            raise DataError("there are no rows, and approach.name_weight is 0: no label has a vector; set it to 1")
        usual = float(torch.cat(seen).norm(dim=1).mean())
        sums = torch.zeros(labels, seen[0].shape[1], device=seen[0].device)
        counts = torch.zeros(labels, 1, device=sums.device)
        if rows is not None:
            members = _members(rows[1], labels).to(sums.dtype)
            sums, counts = sums + members.T @ self._unit(rows[0]), counts + members.sum(dim=0)[:, None]
        if names is not None:
            sums, counts = sums + self.name_weight * self._unit(names), counts + self.name_weight
        if not bool((counts > 0).all()):
            raise DataError("a label has no training row, and approach.name_weight is 0; set it to 1")
        return self._unit(sums / counts), usual

    def _unit(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, dim=1) if self.distance == "cosine" else vectors

    def _put(self, start: Start, means: torch.Tensor, usual: float, threshold: float | None) -> None:
        """The layer whose largest output is the nearest mean; with a threshold, outputs are above 0 from there on."""
        linear = start.head.linear(start.layer)
        assert linear is not None, "such heads have a linear layer"
        with torch.no_grad():
            if self.distance == "cosine":
                # x / |x| . m, the length of x taken to be the usual one, which changes no order.
                weight, bias = means * (self.scale / usual), torch.zeros(len(means))
            else:
                # -|x - m|^2 without |x|^2, in units of the usual length.
                weight = 2 * means * (self.scale / usual**2)
                bias = -means.square().sum(dim=1) * (self.scale / usual**2)
            linear.weight.copy_(weight)
            linear.bias.copy_(bias - (self.scale * threshold if threshold is not None else 0.0))

    def _match(self, start: Start, threshold: float) -> None:
        """The layer over one cosine that says from which on two texts match."""
        linear, positive = start.head.linear(start.layer), _positive(self.positive, start.labels)
        assert linear is not None, "such heads have a linear layer"
        with torch.no_grad():
            for place, name in enumerate(start.labels.names):
                sign = 0.5 if name == positive else -0.5
                linear.weight[place] = sign * self.scale
                linear.bias[place] = -sign * self.scale * threshold


def _members(targets: torch.Tensor, labels: int) -> torch.Tensor:
    """(N,) or (N, C) -> (N, C) 1 where a row has a label."""
    return targets if targets.ndim == 2 else torch.nn.functional.one_hot(targets, labels)


def _positive(named: str | None, labels: Labels) -> str:
    """The label of pairs that match. Raises Unsupported."""
    usual = [name for name in labels.names if name.casefold() in YES]
    found = named if named is not None else next(iter(usual), None)
    if found is None or found not in labels or len(labels) != 2:
        raise Unsupported(
            f"approach.positive is {named!r}, expected the label of pairs that match, one of two (there are: "
            f"{', '.join(labels.names)})"
        )
    return found
