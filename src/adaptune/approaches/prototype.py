"""Few labelled rows, or none: a text has the label whose mean vector, or whose name's vector, is nearest to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from adaptune.approaches._layers import Kinds, Layer, discriminant
from adaptune.approaches._naming import NAME, as_classes, with_a_place
from adaptune.core.approach import Approach, Start, Taken
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.head import Head
from adaptune.core.lazy import torch
from adaptune.core.method import Method
from adaptune.core.phrases import spoken
from adaptune.core.task import Task
from adaptune.core.types import Labels, OfLabels, OfMarked, OfRow, OfSequence, OfWords

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 19))
"""Cosines that are tried where a label is given by itself."""
UNKNOWN = 0.3
"""The one that is taken without validation rows."""
YES = ("1", "true", "yes", "match", "duplicate", "paraphrase")
"""Usual names of the label of pairs that match."""
SHIFTS = tuple(round(0.05 * step, 2) for step in range(-6, 7))
"""What is tried of how much nearer words outside of entities are, in units of `scale`."""
OF_NAMES = ("classes", "templates", "threshold")
"""Settings that are of no use to words of tag."""
HEADS = {OfSequence: "classify", OfMarked: "relate", OfLabels: "multilabel", OfRow: "similarity", OfWords: "tag"}
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

    distance: Literal["auto", "cosine", "euclidean", "mahalanobis"] = "auto"
    """What is least to the nearest mean; auto: mahalanobis for the words of tag, else cosine. mahalanobis: under one
    covariance, that of words around the means of their types."""
    shrinkage: float = Field(default=0.3, gt=0, le=1)
    """mahalanobis: the share of a sphere in the covariance, of which few words say little."""
    classes: dict[str, str] = Field(default={})
    """The labels and what each means: a list of names, or a mapping of names to descriptions, in any language that the
    model reads; none: those of the training rows, by their names."""
    name_weight: float = Field(default=1.0, ge=0)
    """As how many rows the name or the description of a label counts: means of few rows are drawn towards it. Names of
    entities' types, which are near no words of theirs, count nothing."""
    templates: tuple[str, ...] = ("{}", "This text is about {}.", "这段文字是关于{}的。")
    """Texts that names and descriptions are put into; of several the best on validation rows, without any the first."""
    scale: float = Field(default=20.0, gt=0)
    """What cosines are multiplied by before the softmax: how sure answers are."""
    threshold: float | None = Field(default=None, gt=-1, lt=1)
    """multilabel, match: the cosine from which on a label is given, or a pair matches; none: the best on validation
    rows, 0.3 without any."""
    positive: str | None = None
    """match: the label of pairs that match; none: the label called 1, true or yes."""

    _classes = field_validator("classes", mode="before")(as_classes)
    _places = field_validator("templates")(with_a_place)

    def heads(self, task: Task) -> tuple[str, ...]:
        return (HEADS[task.target],) if task.target in HEADS else ()

    def check(self, task: Task, method: Method, head: Head) -> None:
        if task.target not in HEADS or (task.target is OfRow and task.metric != "accuracy"):
            raise Unsupported(
                f"{self.name!r} finds the nearest label, and task {task.name!r} has other answers; use finetune"
            )
        if task.name == "match" and task.target is not OfRow:
            raise Unsupported(f"{self.name!r} compares texts that are read each by itself; set task.encoder=bi")
        if task.target is OfLabels and self.distance not in ("auto", "cosine"):
            raise Unsupported(
                f"distance is {self.distance!r}, which has no threshold for a label by itself; use cosine"
            )
        if task.target is OfWords and any(getattr(self, one) != getattr(Prototype(), one) for one in OF_NAMES):
            raise Unsupported(
                "words of tag are compared with the words of tagged rows, and names of types are near none of theirs "
                f"(WNUT17: F1 0.01); leave {', '.join(f'approach.{one}' for one in OF_NAMES)} out"
            )
        if task.target is not OfWords and self.distance == "mahalanobis":
            raise Unsupported(
                "distance is 'mahalanobis', for which there must be many vectors of few rows, as words of tag are; use "
                "cosine"
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
        usual = "mahalanobis" if start.head.target is OfWords else "cosine"
        settled = self if self.distance != "auto" else self.model_copy(update={"distance": usual})
        start.choose(settled._ways(start))
        yield from ()

    def _ways(self, start: Start) -> list[Callable[[], None]]:
        """To set the head's layer: by every template and threshold that is tried."""
        thresholds = self._thresholds(start)
        if start.head.target is OfRow:
            return [partial(self._match, start, threshold or 0.0) for threshold in thresholds]
        if start.head.target is OfWords:
            kinds, found = self._of_kinds(start)
            shifts = SHIFTS if start.rows("valid") else (0.0,)
            return [partial(self._put, start, kinds.layer(found, self.scale * shift)) for shift in shifts]
        layers = list(self._of_templates(start))
        return [
            partial(self._put, start, Layer(found.weight, found.bias - self.scale * (threshold or 0.0)))
            for found in layers
            for threshold in thresholds
        ]

    def _thresholds(self, start: Start) -> tuple[float | None, ...]:
        """None where one label is chosen."""
        if start.head.target in (OfSequence, OfMarked):
            return (None,)
        if self.threshold is not None:
            return (self.threshold,)
        return THRESHOLDS if start.rows("valid") else (UNKNOWN,)

    def _of_templates(self, start: Start) -> Iterator[Layer]:
        """For each template that is tried, the outputs of the nearest mean."""
        rows = start.features("train") if start.rows("train") else None
        if not self.name_weight:
            yield self._nearest(rows, None, len(start.labels))
            return
        texts = [self.classes.get(name) or spoken(name) for name in start.labels.names]
        for template in self.templates if start.rows("valid") else self.templates[:1]:
            names = start.features_of([template.replace(NAME, text) for text in texts])
            yield self._nearest(rows, names, len(start.labels))

    def _of_kinds(self, start: Start) -> tuple[Kinds, Layer]:
        """The same of what is outside and of every type of entity. Raises Unsupported without rows."""
        if not start.rows("train"):
            raise Unsupported(
                f"{self.name!r} tags words by the means of tagged rows, and there are none: names of types are near no "
                "words of theirs (WNUT17: F1 0.01); name some rows, and set data.shots to 1 or more"
            )
        kinds, (features, targets) = Kinds.of(start.labels), start.features("train")
        rows = features, kinds.of_tags.to(targets.device)[targets]
        return kinds, self._nearest(rows, None, len(kinds.names))

    def _nearest(
        self, rows: tuple[torch.Tensor, torch.Tensor] | None, names: torch.Tensor | None, labels: int
    ) -> Layer:
        """The layer whose largest output is the nearest mean. Raises DataError for a label without any vector."""
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
        means = self._unit(sums / counts)
        if self.distance == "mahalanobis":
            assert rows is not None, "texts, which there may be none of, are compared otherwise"
            return discriminant(means, counts[:, 0], rows, shrinkage=self.shrinkage)
        if self.distance == "cosine":
            # x / |x| . m, the length of x taken to be the usual one, which changes no order.
            return Layer(means * (self.scale / usual), torch.zeros(labels, device=means.device))
        # -|x - m|^2 without |x|^2, in units of the usual length.
        return Layer(2 * means * (self.scale / usual**2), -means.square().sum(dim=1) * (self.scale / usual**2))

    def _unit(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, dim=1) if self.distance == "cosine" else vectors

    def _put(self, start: Start, found: Layer) -> None:
        linear = start.head.linear(start.layer)
        assert linear is not None, "such heads have a linear layer"
        with torch.no_grad():
            linear.weight.copy_(found.weight)
            linear.bias.copy_(found.bias)

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
