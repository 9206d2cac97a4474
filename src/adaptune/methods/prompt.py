"""Prompt tuning: embeddings in front of the input learn, the trunk stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.lazy import torch
from adaptune.core.method import Method, PeftFiles, State
from adaptune.core.space import Among, Values
from adaptune.methods._in_front import NAME, PROMPT_SHAPE, from_peft_prompt, peft_prompt, put_in_front, words


class Prompt(Method):
    """The trunk reads [P; X]: P, (length, D), learns and stands in front of the embedded input X (section 2).

    A model of two stacks reads it in its encoder. Heads see the hidden states of X alone.
    """

    paper: ClassVar[str] = (
        "Lester, Al-Rfou and Constant (2021), The power of scale for parameter-efficient prompt tuning"
    )
    learning_rate: ClassVar[float] = 1e-2
    searched: ClassVar[Mapping[str, Values]] = {"length": Among((5, 10, 20, 40))}
    peft_type: ClassVar[str | None] = "PROMPT_TUNING"
    peft_fields: ClassVar[Mapping[str, str]] = {"length": "num_virtual_tokens"}
    peft_silent: ClassVar[frozenset[str]] = PROMPT_SHAPE | {
        "prompt_tuning_init",
        "prompt_tuning_init_text",
        "tokenizer_name_or_path",
        "tokenizer_kwargs",
    }
    identity: ClassVar[bool] = False
    adds_positions: ClassVar[bool] = True
    peft_format: ClassVar[bool] = True

    length: int = Field(default=20, ge=1)
    """How many embeddings stand in front; so many tokens fewer of a text fit."""
    initialisation: Literal["vocabulary", "random"] = "vocabulary"
    """vocabulary: the embeddings of words that the run's seed draws. random: uniform in [-0.5, 0.5]."""

    @property
    def positions(self) -> int:
        return self.length

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        first = words(trunk, self.length)
        if self.initialisation == "random":
            first = torch.rand(first.shape) - 0.5
        trunk.register_parameter(NAME, torch.nn.Parameter(first))
        put_in_front(trunk, two_stacks=len(roles.stacks) == 2)
        return trunk

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles | None:
        return peft_prompt(trunk)

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        return from_peft_prompt(trunk, tensors, self.length)
