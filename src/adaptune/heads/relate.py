"""A linear layer over the states at the marks of two entities: relations between them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead, LossSum
from adaptune.core.lazy import torch
from adaptune.core.task import Task
from adaptune.core.types import Answer, Labels, OfMarked
from adaptune.heads.classify import choose, cross_entropy, mean_of_shares, pool

_OWN = ("[E1]", "[/E1]", "[E2]", "[/E2]")
"""In the order of a sequence's items: the opening and closing marker of the first entity, then those of the second."""


class RelateHead(LogitHead):
    """One label a pair of marked entities, read at their markers (entity start; Baldini Soares et al., 2019)."""

    target = OfMarked
    tells_scope = True
    learns_shares = True

    reads: Literal["auto", "opening", "closing"] = "auto"
    """At which marker an entity is read; auto: the closing one where tokens see only those before them."""
    context: bool = True
    """Whether the vector of the whole text is read as well."""
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become that vector: their mean, the first, or the last real one; auto follows the model."""
    markers: Literal["signs", "tokens"] = "signs"
    """What the model reads around the entities. signs: those of task.markers, as its vocabulary has them. tokens: in
    their place four tokens of the bundle's own, whose embeddings start from those of the signs and learn."""
    signs: tuple[str, str] = ("@", "#")
    """Always those of task.markers, which tell it; need not be given."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On what is read, in training."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all labels."""
    soft_temperature: float = Field(default=1.0, gt=0, exclude_if=lambda temperature: temperature == 1)
    """Of rows that another model answered (`adaptune distil`): what its logits and one's own are divided by."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        reads = ("closing" if backbone.roles.main.causal else "opening") if self.reads == "auto" else self.reads
        pooling = backbone.pooling if self.pooling == "auto" else self.pooling
        return self.model_copy(update={"reads": reads, "pooling": pooling})

    @property
    def own_tokens(self) -> tuple[str, ...]:
        return _OWN if self.markers == "tokens" else ()

    def own_embeddings(self, layer: torch.nn.Module) -> torch.Tensor | None:
        return layer.get_parameter("markers") if self.markers == "tokens" else None

    def for_task(self, task: Task) -> Self:
        if "signs" in self.model_fields_set and self.signs != task.signs:
            raise Unsupported(
                f"head.signs is {self.signs}, and the task writes {task.signs} (task.markers); leave head.signs out"
            )
        return self.model_copy(update={"signs": task.signs})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        layer = torch.nn.Linear(backbone.hidden_size * (3 if self.context else 2), len(labels))
        if self.markers == "tokens":
            first, second = (_embedded(sign, backbone) for sign in self.signs)
            # Beside the weight and the bias, so that a bundle whose markers are signs holds these two alone, as ever.
            layer.register_parameter("markers", torch.nn.Parameter(torch.stack([first, first, second, second])))
        return layer

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        return cross_entropy(layer(features), batch.labels, None, self.label_smoothing, self.soft_temperature)

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = layer(self.features(layer, hidden, batch))
        return logits

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        return choose(logits, batch, labels, temperature)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, 2 D), or (B, 3 D) with the whole text's vector"""
        assert batch.sequence_of is not None and batch.token_of is not None, "every sequence has marked entities"
        # Of each sequence the opening and closing marker of the first entity, then those of the second.
        at = hidden[batch.sequence_of, batch.token_of].float().reshape(len(hidden), 2, 2, -1)
        entities = at[:, :, 0 if self.reads == "opening" else 1].flatten(1)
        return torch.cat([entities, pool(hidden, batch.mask, self.pooling)], dim=1) if self.context else entities

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if not targets.is_floating_point():
            return super().convex_loss(layer, outputs, targets)
        return mean_of_shares(outputs, targets, None, self.soft_temperature)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None


def _embedded(sign: str, backbone: Backbone) -> torch.Tensor:
    """(E) what the trunk reads for a sign. Raises Unsupported for one that is several tokens."""
    before, trunk = "a ", backbone.trunk
    found = backbone.tokenizer(f"{before}{sign} a", add_special_tokens=False, return_offsets_mapping=True)
    place, end = len(before), len(before) + len(sign)
    pairs = zip(found["input_ids"], found["offset_mapping"], strict=True)
    ids = [one for one, (start, stop) in pairs if start < end and place < stop and start < stop]
    if len(ids) != 1:
        raise Unsupported(
            f"head.markers is 'tokens', which stand in the place of one token each, and the vocabulary has {len(ids)} "
            f"for the sign {sign!r}; set task.markers to signs of one token, such as @ and #"
        )
    table: Any = trunk.get_input_embeddings()  # type: ignore[operator]  # of a transformers model
    with torch.no_grad():
        embedded: torch.Tensor = table(torch.tensor(ids, device=next(trunk.parameters()).device))
    return embedded[0].float()
