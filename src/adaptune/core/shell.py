"""A transformers model without its trunk: what stands on top of it. Imports torch: reach it by core.lazy."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPoolingAndCrossAttentions,
    Seq2SeqModelOutput,
)

from adaptune.core.errors import Unsupported


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
        self.beside = () if _below(model) else tuple(name for name, _ in trunk_of(model).named_children())
        """T5's class has no trunk of its own: its stacks stand beside the output layer, under these names."""
        if self.beside:
            decoder = Given(model, None)
            decoder.two_stacks = False
            for name in self.beside:
                model = with_module(model, name, decoder if name == "decoder" else None)
            self.model = model
        else:
            self.model = without_trunk(model)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, V) logits"""
        if self.beside:
            encoded = BaseModelOutput(last_hidden_state=hidden)
            output = self.model(encoder_outputs=encoded, decoder_inputs_embeds=hidden)
        else:
            output = self.model(inputs_embeds=hidden)
        logits: torch.Tensor = output.logits
        return logits

    def on(self, trunk: nn.Module) -> Any:
        """The whole model with this trunk, sharing all modules: for `generate`. Raises Unsupported."""
        if not self.beside:
            return with_module(self.model, self.model.base_model_prefix, trunk)
        if trunk._forward_hooks or trunk._forward_pre_hooks:
            raise Unsupported(
                "the method changes what goes into or comes out of a T5 as a whole, and generation calls its encoder "
                "and decoder one by one; use another method, or a model of another family"
            )
        whole = self.model
        for name in self.beside:
            whole = with_module(whole, name, trunk.get_submodule(name))
        return whole


class Borrowed(nn.Module):
    """A head's layer that is the base model's own output layer: nothing of it learns or is saved."""

    def __init__(self, words: nn.Module) -> None:
        super().__init__()
        self.words = words

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, V) logits"""
        logits: torch.Tensor = self.words(hidden[None])[0]
        return logits

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Any, *_: Any, **__: Any) -> Any:
        """Raises KeyError for tensors, which have no place here."""
        if state_dict:
            raise KeyError(f"{next(iter(state_dict))}: the output layer is the base model's own")


class Answering(Borrowed):
    """The base model's output layer with what a head has beside it: that alone learns and is saved."""

    def __init__(self, words: nn.Module, prior: torch.Tensor | None, soft: torch.Tensor | None) -> None:
        """`prior`: (C,) what answers lose; `soft`: (K, E) embeddings of own tokens, which learn."""
        super().__init__(words)
        self._own = tuple(name for name, one in (("prior", prior), ("soft", soft)) if one is not None)
        if prior is not None:
            self.register_buffer("prior", prior)
        if soft is not None:
            self.soft = nn.Parameter(soft)

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """What it has of its own."""
        return {name: getattr(self, name).detach() for name in self._own}

    def load_state_dict(self, state_dict: Any, *_: Any, **__: Any) -> Any:
        """Raises KeyError for other tensors, RuntimeError for another shape."""
        if wrong := sorted(set(state_dict) ^ set(self._own)):
            raise KeyError(f"{wrong[0]}: expected {', '.join(self._own) or 'nothing'}")
        with torch.no_grad():
            for name in self._own:
                if state_dict[name].shape != getattr(self, name).shape:
                    raise RuntimeError(f"{name} has another shape: {tuple(state_dict[name].shape)}")
                getattr(self, name).copy_(state_dict[name])


def trunk_of(model: Any) -> Any:
    """A whole model's base model; of a T5, whose class keeps none, one made of its stacks."""
    if _below(model):
        return model.base_model
    with torch.device("meta"):
        trunk = AutoModel.from_config(model.config)
    for name in trunk._modules:
        trunk._modules[name] = model.get_submodule(name)
    return trunk.train(model.training)


def _below(model: Any) -> bool:
    """Whether a whole model keeps its base model as one module, or is that itself."""
    return hasattr(model, model.base_model_prefix) or not hasattr(model, "lm_head")


def with_module(model: nn.Module, path: str, module: nn.Module | None) -> nn.Module:
    """The model with another module at a path, sharing all the rest; the model itself stays as it is."""
    first, _, rest = path.partition(".")
    changed = copy(model)
    changed.__dict__["_modules"] = dict(model._modules)
    below = with_module(model.get_submodule(first), rest, module) if rest else module
    changed._modules[first] = below
    changed.__dict__.pop(first, None)  # a layer that a model was loaded without stands there as None, and would win
    return changed


def without_trunk(model: Any, pooler: str | None = None) -> Any:
    """A transformers model for a job whose base model is a `Given`; the model itself stays as it is."""
    base = getattr(model, model.base_model_prefix)
    return with_module(model, model.base_model_prefix, Given(base, pooler))
