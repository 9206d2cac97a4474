"""P-tuning: a small network gives the embeddings in front of the input; the trunk stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.lazy import torch
from adaptune.core.method import Method, PeftFiles, State
from adaptune.core.space import Among, Values
from adaptune.methods._folded import memory_of, recall_into
from adaptune.methods._in_front import (
    NAME,
    PROMPT_SHAPE,
    compute_prompt,
    from_peft_prompt,
    peft_prompt,
    prompt_of,
    put_in_front,
    replace_prompt,
    words,
)


class Ptuning(Method):
    """h_i = MLP([LSTM forward (h_0:i): LSTM backward (h_i:m)]), equation 5, stand in front of the embedded input.

    Both networks learn; a bundle holds what they give alone, as one of prompt tuning does. A model of two stacks reads
    it in its encoder. Heads see the hidden states of the text alone.
    """

    paper: ClassVar[str] = "Liu et al. (2021), GPT understands, too"
    learning_rate: ClassVar[float] = 3e-3
    searched: ClassVar[Mapping[str, Values]] = {"length": Among((5, 10, 20, 40))}
    peft_type: ClassVar[str | None] = "P_TUNING"
    peft_fields: ClassVar[Mapping[str, str]] = {
        "length": "num_virtual_tokens",
        "encoder": "encoder_reparameterization_type",
    }
    peft_silent: ClassVar[frozenset[str]] = PROMPT_SHAPE | {
        "encoder_hidden_size",
        "encoder_num_layers",
        "encoder_dropout",
    }
    identity: ClassVar[bool] = False
    adds_positions: ClassVar[bool] = True
    peft_format: ClassVar[bool] = True

    length: int = Field(default=20, ge=1)
    """How many embeddings stand in front; so many tokens fewer of a text fit."""
    encoder: Literal["lstm", "mlp"] = "lstm"
    """lstm: two layers that read in both directions, before the MLP. mlp: the MLP alone."""

    @property
    def positions(self) -> int:
        return self.length

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        first = words(trunk, self.length)
        size = first.shape[1]
        read = 2 * (size // 2) if self.encoder == "lstm" else size
        layers = {
            "rows": torch.nn.Embedding(self.length, size, _weight=first),
            "mlp": torch.nn.Sequential(torch.nn.Linear(read, size), torch.nn.ReLU(), torch.nn.Linear(size, size)),
        }
        if self.encoder == "lstm":
            layers["lstm"] = torch.nn.LSTM(size, size // 2, num_layers=2, bidirectional=True)
        compute_prompt(trunk, torch.nn.ModuleDict(layers))
        put_in_front(trunk, two_stacks=len(roles.stacks) == 2)
        return trunk

    def state(self, trunk: torch.nn.Module) -> State:
        with torch.no_grad():
            return {NAME: prompt_of(trunk)}

    def load(self, trunk: torch.nn.Module, state: State) -> None:
        replace_prompt(trunk, state[NAME])

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        return from_peft_prompt(trunk, tensors, self.length)

    def memory(self, trunk: torch.nn.Module) -> State:
        return memory_of(trunk, NAME)

    def recall(self, trunk: torch.nn.Module, memory: State) -> None:
        recall_into(trunk, NAME, memory)

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles | None:
        return peft_prompt(trunk)
