"""Prompts and prefixes as folders of the library peft: what it computes with them, and where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from adaptune.methods import METHODS
from adaptune.models.families import roles_of
from adaptune.models.share import share

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES | {"pad_token_id": 0},
    "llama": GROUPED,
    "qwen3": GROUPED,
    "gpt2": {"vocab_size": 60, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
    "t5": {"vocab_size": 60, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
}
IDS = torch.tensor([[5, 8, 13, 21, 34, 6], [4, 7, 11, 18, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
PROMPTS = [(family, method) for family in ("bert", "llama", "gpt2") for method in ("prompt", "ptuning")]
PREFIXES = [("llama", "prefix"), ("qwen3", "prefix"), ("llama", "reparameterised")]


def _changed(family: str, method: str) -> tuple[Any, Any, Any]:
    """A tiny base, the method, and the base's trunk changed by it as if it had learned."""
    torch.manual_seed(0)
    base = AutoModel.from_config(AutoConfig.for_model(family, **CONFIGS[family])).eval().requires_grad_(False)
    more = {"reparameterised": True, "bottleneck": 8} if method == "reparameterised" else {}
    settled = METHODS.get("prefix" if more else method).model_validate({"length": 3} | more)
    trunk = settled.apply(share(base), roles_of(base.config.to_dict())).eval()
    for parameter in trunk.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return base, settled, trunk


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize(("family", "method"), PROMPTS + PREFIXES)
def test_plain_peft_loads_the_folder_and_computes_the_same(family: str, method: str, tmp_path: Path) -> None:
    base, settled, trunk = _changed(family, method)
    config, tensors = settled.peft_files(trunk)
    config.save_pretrained(str(tmp_path))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "adapter_model.safetensors")
    loaded = peft.PeftModel.from_pretrained(share(base), str(tmp_path)).eval()
    real = MASK.bool()
    with torch.no_grad():
        ours, theirs, plain = (
            model(input_ids=IDS, attention_mask=MASK).last_hidden_state[:, -6:][real] for model in (trunk, loaded, base)
        )
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert (ours - plain).abs().max() > 0.1


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_prefix_that_peft_would_compute_otherwise_has_no_folder(family: str) -> None:
    _, settled, trunk = _changed(family, "prefix")
    assert settled.peft_files(trunk) is None


@pytest.mark.parametrize("method", ["prompt", "ptuning"])
def test_a_prompt_of_a_two_stack_model_has_no_folder(method: str) -> None:
    _, settled, trunk = _changed("t5", method)
    assert settled.peft_files(trunk) is None
