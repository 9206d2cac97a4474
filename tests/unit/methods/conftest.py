"""Tiny trunks with random weights, one a family, and what the tests of methods ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    T5Config,
    T5Model,
)

from adaptune.core.backbone import Roles
from adaptune.core.method import Method, State
from adaptune.methods import METHODS
from adaptune.models.families import fitted, roles_of
from adaptune.models.share import share

SMALL: dict[str, Any] = {"vocab_size": 50, "pad_token_id": 0}
BUILD: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: BertModel(
        BertConfig(
            **SMALL,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            hidden_dropout_prob=0,
        ),
        add_pooling_layer=False,
    ),
    "llama": lambda: LlamaModel(
        LlamaConfig(
            **SMALL,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
        )
    ),
    "gpt2": lambda: GPT2Model(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=16)),
    "t5": lambda: T5Model(T5Config(**SMALL, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)),
    "bart": lambda: BartModel(
        BartConfig(
            **SMALL,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=16,
        )
    ),
}


@dataclass(frozen=True)
class Tiny:
    """A frozen trunk that adapters share."""

    base: nn.Module
    roles: Roles

    def changed(self, method: Method, *, seed: int = 0) -> nn.Module:
        """A trunk of its own modules on the shared tensors, with a fresh adapter."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return method.apply(share(self.base), self.roles).eval()

    def hidden(self, trunk: nn.Module) -> Tensor:
        """(4, 9, 32) the last hidden states of four rows; the last two rows are padded."""
        ids = torch.arange(36).reshape(4, 9) % 47 + 1
        mask = torch.ones_like(ids)
        mask[2:, 6:] = 0
        inputs = {"input_ids": ids, "attention_mask": mask}
        if len(self.roles.stacks) == 2:
            inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
        states: Tensor = trunk(**inputs).last_hidden_state
        return states * mask[:, :, None]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Tiny]:
    """tiny("bert"): 2 layers, hidden size 32, seed 0; tiny("bert", torch.bfloat16)."""
    made: dict[tuple[str, torch.dtype], Tiny] = {}

    def make(family: str, dtype: torch.dtype = torch.float32) -> Tiny:
        if (family, dtype) not in made:
            torch.manual_seed(0)
            base = BUILD[family]().eval().requires_grad_(False).to(dtype)
            settings = base.config.to_dict()  # type: ignore[operator, union-attr]
            made[family, dtype] = Tiny(base, fitted(roles_of(settings), base))
        return made[family, dtype]

    return make


@pytest.fixture(scope="session")
def make() -> Callable[..., Any]:
    """make("lora", rank=4): a method by name."""
    return lambda name, **settings: METHODS.make({"name": name, **settings})


@pytest.fixture(scope="session")
def moved() -> Callable[..., State]:
    """moved(method, trunk, seed=3): a state as after training, loaded into the trunk: no tensor is at its start."""

    def move(method: Method, trunk: nn.Module, seed: int = 3) -> State:
        generator = torch.Generator().manual_seed(seed)
        state = {
            name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in method.state(trunk).items()
        }
        method.load(trunk, state)
        return state

    return move
