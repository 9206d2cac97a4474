"""The family's own classification head, as transformers builds it: what merges into one transformers model."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead, LossSum, Whole, divide
from adaptune.core.lazy import shell, torch, transformers
from adaptune.core.types import Answer, Labels
from adaptune.heads.classify import ClassifyHead, choose, cross_entropy


class AsTransformers(LogitHead):
    """One label a sequence, by the layers of the family's own ForSequenceClassification class."""

    tells_scope = True

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all labels."""
    class_weights: Literal["none", "balanced"] | dict[str, PositiveFloat] = "none"
    """balanced: rows / (labels x rows of the label); or a weight by label name (1 for those not named)."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        weights = ClassifyHead(class_weights=self.class_weights).settled(backbone, labels).class_weights
        return self.model_copy(update={"class_weights": weights})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        """The family's classification model without its trunk; a pooler starts from the stored one, if there is one."""
        roles = backbone.roles
        if len(roles.stacks) == 2:
            raise Unsupported(
                f"head 'as_transformers' fits encoders and decoders, and {roles.family!r} has two stacks, "
                "whose own classifier reads shifted inputs; use head classify"
            )
        config = _config(backbone, labels)
        with torch.device("meta"):
            whole = transformers.AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        layer = shell.without_trunk(whole, roles.pooler).to_empty(device="cpu")
        layer.initialize_weights()
        if (pooler := _given(layer).moved()) is not None and backbone.pooler:
            pooler.load_state_dict(backbone.pooler)
        if isinstance(self.class_weights, dict):
            weights = torch.tensor([self.class_weights.get(name, 1.0) for name in labels.names])
            layer.register_buffer("class_weights", weights, persistent=False)
        return layer  # type: ignore[no-any-return]  # transformers has no types

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        logits = logits_of(layer, hidden, batch)
        return cross_entropy(logits, batch.labels, getattr(layer, "class_weights", None), self.label_smoothing)

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        return logits_of(layer, hidden, batch)

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        return choose(logits, batch, labels, temperature)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, F)"""
        return logits_of(shell.with_module(layer, last_linear(layer), torch.nn.Identity()), hidden, batch)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        found = layer.get_submodule(last_linear(layer))
        # Decoders' own heads have no bias, which the optimum would need.
        return found if isinstance(found, torch.nn.Linear) and found.bias is not None else None

    def divide(self, layer: torch.nn.Module, temperature: float) -> None:
        divide(layer.get_submodule(last_linear(layer)), temperature)

    def whole(self, layer: torch.nn.Module, trunk: torch.nn.Module, labels: Labels) -> Whole:
        return Whole(whole_model(layer, trunk), "AutoModelForSequenceClassification")


def logits_of(layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(B, T, D) -> (B, C)"""
    logits: torch.Tensor = layer(
        input_ids=_ids(layer, batch), attention_mask=batch.mask, inputs_embeds=hidden.float()
    ).logits
    return logits


def last_linear(layer: torch.nn.Module) -> str:
    """The path of the layer that gives the logits: in every family the last one."""
    names: list[str] = [name for name, module in layer.named_modules() if isinstance(module, torch.nn.Linear)]
    return names[-1]


def whole_model(layer: Any, trunk: torch.nn.Module) -> Any:
    """A transformers model of a trunk and this head's layer, with equal logits; shares both, changes neither."""
    given = _given(layer)
    if given.pooler_name is not None:
        trunk = shell.with_module(trunk, given.pooler_name, given.moved())
    return shell.with_module(layer, layer.base_model_prefix, trunk)


def _config(backbone: Backbone, labels: Labels) -> Any:
    config: Any = deepcopy(backbone.whole.config)
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels.names))
    config.label2id = {name: index for index, name in enumerate(labels.names)}
    config.problem_type = "single_label_classification"
    return config


def _given(layer: Any) -> shell.Given:
    given = getattr(layer, layer.base_model_prefix)
    assert isinstance(given, shell.Given)
    return given


def _ids(layer: Any, batch: Batch) -> torch.Tensor:
    """Token ids, by which decoders' classes find the last token; made of the mask where embeddings stand for them."""
    if batch.ids is not None:
        return batch.ids
    padding = layer.config.get_text_config().pad_token_id
    return torch.where(batch.mask.bool(), 0 if padding else 1, padding)
