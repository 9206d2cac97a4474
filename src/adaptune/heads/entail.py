"""The classifier that an inference model came with, read for entailment: how well what a label says follows a text."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone, Roles
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.head import LogitHead, LossSum, divide
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfHypothesis, Target
from adaptune.heads._of_row import NONE, by_row, row_numbers
from adaptune.heads.as_transformers import AsTransformers, last_linear, logits_of
from adaptune.heads.classify import choose, cross_entropy
from adaptune.heads.multilabel import each_by_itself

ENTAILS = ("entail",)
"""How the class begins that says that a hypothesis follows, in any case of letters."""
CONTRADICTS = ("contra", "not")
"""How the class begins that says that it does not."""


class EntailHead(LogitHead):
    """The base's own frozen classifier over a text and a hypothesis for each label; always that of approach entail.

    One label: softmax over the labels of the logits for entailment. Any number: for each label the softmax of
    entailment and contradiction (Yin et al., 2019). The bundle keeps the classifier: bases may be loaded without.
    """

    target: ClassVar[type[Target]] = OfHypothesis
    whole_rows: ClassVar[bool] = True
    owns_weights: ClassVar[bool] = False
    confident: ClassVar[bool] = False

    each: bool = False
    """Whether any number of labels may hold; always as the task says."""
    entailment: str | None = None
    """The class of the model for hypotheses that follow; none: the one whose name begins with `entail`."""
    contradiction: str | None = None
    """multilabel: the class for those that do not; none: the one whose name begins with `contra` or `not`."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """multilabel: a label with a higher probability is given."""
    classes: tuple[str, ...] = ()
    """The classes of the model in their order; always filled by the run."""

    @property
    def link(self) -> Literal["softmax", "sigmoid"]:  # type: ignore[override]  # it depends on the task here
        return "sigmoid" if self.each else "softmax"

    def check(self, roles: Roles) -> None:
        if len(roles.stacks) == 2:
            raise Unsupported(
                f"head {self.name!r} reads the classifier of models of one stack, and that of the family "
                f"{roles.family!r} reads shifted inputs; use one on an encoder (roberta, bert, deberta-v2)"
            )

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        """With the classes that the model's configuration names; a bundle knows them already. Raises Unsupported."""
        if self.classes:
            return self
        # A base without weights has no fingerprint, and shows how rows are read.
        if backbone.fingerprint and not backbone.classifier:
            raise Unsupported(
                f"the files of {backbone.name!r} hold no classifier over texts, and head {self.name!r} reads that of a "
                "model for natural language inference; name such a model, or use approach=prototype"
            )
        config: Any = backbone.whole.config
        classes = tuple(str(name) for _, name in sorted((config.id2label or {}).items()))
        found = {"classes": classes, "entailment": _class("entailment", self.entailment, classes, ENTAILS)}
        if self.each:
            found["contradiction"] = _class("contradiction", self.contradiction, classes, CONTRADICTS)
        return self.model_copy(update=found)

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        """The classifier, frozen; of a base without one its shape, for a bundle to fill."""
        self.check(backbone.roles)
        layer: Any = AsTransformers().build(backbone, Labels(self.classes))
        if backbone.classifier:
            own = {name for name in layer.state_dict() if not name.startswith(f"{layer.base_model_prefix}.")}
            if missing := own - backbone.classifier.keys():
                raise Unsupported(f"the classifier of {backbone.name!r} lacks {min(missing)!r}; download it again")
            layer.load_state_dict({name: backbone.classifier[name] for name in own}, strict=False)
        for module in layer.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # it is frozen, however long the trunk is trained
        return layer.requires_grad_(False)  # type: ignore[no-any-return]  # transformers has no types

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        logits, targets = self.logits(layer, hidden, batch), self.targets(batch)
        if not self.each:
            return cross_entropy(logits, targets, None, 0.0)
        total = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        return LossSum(total, torch.tensor(len(logits), device=logits.device))

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        assert self.entailment is not None, "a head is settled before it reads"
        found = logits_of(layer, hidden, batch).float()
        holds = found[:, self.classes.index(self.entailment)]
        if self.each:
            assert self.contradiction is not None, "a head is settled before it reads"
            holds = holds - found[:, self.classes.index(self.contradiction)]
        return by_row(holds, batch.rows, NONE)

    def targets(self, batch: Batch) -> torch.Tensor:
        assert batch.labels is not None, "targets are those of labelled rows"
        holds = by_row(batch.labels[:, 0], batch.labels[:, 1], 0.0)
        return holds if self.each else holds.argmax(dim=1)

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        rows = row_numbers(batch)
        if self.each:
            return each_by_itself(logits, rows, labels, threshold=self.threshold, temperature=temperature)
        return choose(logits, batch, labels, temperature, rows=rows)

    def divide(self, layer: torch.nn.Module, temperature: float) -> None:
        divide(layer.get_submodule(last_linear(layer)), temperature)


def _class(what: str, named: str | None, classes: tuple[str, ...], begins: tuple[str, ...]) -> str:
    """The one that is named, else the only one that begins so. Raises Unsupported."""
    there = f"the model's classes are: {', '.join(classes) or 'none'}"
    if named is not None and named not in classes:
        raise Unsupported(f"head.{what} is {named!r}, which is no class{nearest(named, classes)} ({there})")
    found = [name for name in classes if name.casefold().startswith(begins)] if named is None else [named]
    if len(found) != 1:
        raise Unsupported(
            f"head 'entail' needs the class for {what}, and {len(found)} begin with {' or '.join(begins)!r} ({there}); "
            f"name it: head.{what}, or use a model for natural language inference"
        )
    return found[0]
