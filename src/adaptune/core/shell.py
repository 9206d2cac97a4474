"""A transformers model without its trunk: what stands on top of it. Imports torch: reach it by core.lazy."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions, Seq2SeqModelOutput


class Given(nn.Module):
    """Stands in for a base model: hands on `inputs_embeds` as the last hidden states, pooled where the base pools."""

    def __init__(self, base: nn.Module, pooler: str | None) -> None:
        """`pooler`: the name that the base gives its pooling layer; the layer moves here, under the same name."""
        super().__init__()
        self.two_stacks = bool(base.config.is_encoder_decoder)  # type: ignore[union-attr]  # a transformers model
        self.activation = getattr(base, "pooler_activation", None)
        moved = None if pooler is None else getattr(base, pooler)
        self.pooler_name = None if moved is None else pooler
        if moved is not None and pooler is not None:
            self.add_module(pooler, moved)

    def moved(self) -> nn.Module | None:
        """The base's pooling layer, if it has one."""
        return None if self.pooler_name is None else self.get_submodule(self.pooler_name)

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> Any:
        """(B, T, D) -> the output of a base model with these last hidden states."""
        if self.two_stacks:
            return Seq2SeqModelOutput(last_hidden_state=inputs_embeds)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=inputs_embeds, pooler_output=self._pooled(inputs_embeds)
        )

    def _pooled(self, hidden: torch.Tensor) -> torch.Tensor | None:
        pooler = self.moved()
        if pooler is None:
            return None
        # BERT's pooler takes the first token itself; ALBERT's is a plain matrix, its activation a part of the model.
        pooled: torch.Tensor = pooler(hidden if self.activation is None else hidden[:, 0])
        return pooled if self.activation is None else self.activation(pooled)


class Words(nn.Module):
    """What a masked, causal or sequence-to-sequence language model has on top of its trunk."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = without_trunk(model)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, V) logits"""
        logits: torch.Tensor = self.model(inputs_embeds=hidden).logits
        return logits


def with_module(model: nn.Module, path: str, module: nn.Module | None) -> nn.Module:
    """The model with another module at a path, sharing all the rest; the model itself stays as it is."""
    first, _, rest = path.partition(".")
    changed = copy(model)
    changed.__dict__["_modules"] = dict(model._modules)
    below = with_module(model.get_submodule(first), rest, module) if rest else module
    changed._modules[first] = below
    return changed


def without_trunk(model: Any, pooler: str | None = None) -> Any:
    """A transformers model for a job whose base model is a `Given`; the model itself stays as it is."""
    base = getattr(model, model.base_model_prefix)
    return with_module(model, model.base_model_prefix, Given(base, pooler))
