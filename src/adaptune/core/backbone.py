"""A pretrained model as the rooms see it: the whole transformers object, its trunk, and the roles of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from adaptune.core.lazy import torch


@dataclass(frozen=True, slots=True)
class Stack:
    """Where one stack of layers (encoder or decoder) keeps its parts, by paths from the trunk or within one layer."""

    layers: str
    """Path from the trunk to the ModuleList of layers, `encoder.layer`."""
    embeddings: tuple[str, ...]
    """Paths from the trunk to every weight that is read before the first layer, or beside it in all layers."""
    query: str
    key: str
    value: str
    """Paths within a layer. Where one matrix holds all three (GPT-2), the three are equal."""
    attention_output: str
    feed_forward: tuple[str, ...]
    """Matrices of the feed-forward part in the order they are used; the last returns to the hidden size."""
    norms: tuple[str, ...]
    """Layer norms within a layer."""
    final_norm: str | None = None
    """Path from the trunk to a norm after the last layer."""
    attention: str = ""
    """Path within a layer to the module that holds query, key and value and computes self-attention."""
    cross: tuple[str, ...] = ()
    """Query, key, value, output matrices of cross-attention, for decoders of two-stack models."""
    causal: bool = False


@dataclass(frozen=True, slots=True)
class Roles:
    """The row of a model family in the table of layer roles."""

    family: str
    """transformers' `model_type`."""
    stacks: tuple[Stack, ...]
    """One stack, or encoder and decoder."""
    segments: bool = False
    """Whether the trunk takes token_type_ids."""
    shares_layers: bool = False
    """One set of weights used at every depth (ALBERT)."""
    takes_past: bool = False
    """Whether the trunk takes past keys and values for self-attention of its main stack (prefixes)."""
    offset_positions: bool = False
    """Whether positions count from pad_token_id + 1 (RoBERTa), so that fewer tokens fit than there are positions."""
    pooler: str | None = None
    """Path from the trunk to a pooling layer that hidden states do not pass through."""

    @property
    def main(self) -> Stack:
        """The stack whose hidden states heads read: the only one, or the decoder."""
        return self.stacks[-1]


Pooling = Literal["mean", "first", "last"]


@dataclass(slots=True)
class Backbone:
    """A loaded pretrained model; frozen, and shared by every adapter on it."""

    whole: torch.nn.Module
    """The transformers object: AutoModel, or a class for causal, masked or sequence-to-sequence words if asked for."""
    trunk: torch.nn.Module
    """Its base model."""
    vocabulary: torch.nn.Module | None
    """Its frozen output layer over words, (B, T, D) -> (B, T, V), if it was asked for."""
    roles: Roles
    tokenizer: Any
    """A transformers fast tokenizer."""
    name: str
    """As the recipe names it: hub id or folder."""
    revision: str | None
    fingerprint: str
    """SHA-256 of the trunk's tensors as stored."""
    pooling: Pooling
    """How this model's sentence vectors are meant to be made."""
    max_length: int
    """Tokens the model can read."""
    pooler: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Stored weights of the pooling layer that the trunk was loaded without, by their names within it."""
    classifier: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Stored weights of the classifier over whole texts that the trunk was loaded without, by their names in its own
    transformers class."""
    weights: Literal["float", "int8", "nf4"] = "float"
    """How the matrices of its layers are held."""

    @property
    def hidden_size(self) -> int:
        """D"""
        return int(self.whole.config.hidden_size)  # type: ignore[union-attr,arg-type]

    @property
    def depth(self) -> int:
        """How many layers a token passes in the main stack."""
        if self.roles.shares_layers:
            return int(self.whole.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
        return len(list(self.trunk.get_submodule(self.roles.main.layers).children()))
