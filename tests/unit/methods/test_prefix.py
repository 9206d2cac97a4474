"""Keys and values in front of every attention: what they compute, for every family, with padding and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, DynamicCache

from adaptune.core.errors import Unsupported
from adaptune.core.method import State
from adaptune.methods import METHODS
from adaptune.models.families import FAMILIES, fitted, roles_of
from adaptune.models.share import share

Make = Callable[..., Any]
WIDE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
GROUPED = WIDE | {"num_key_value_heads": 1, "head_dim": 8}
BART_SIZES = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": WIDE,
    "distilbert": {"vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "roberta": WIDE,
    "electra": WIDE | {"embedding_size": 12},
    "albert": WIDE | {"embedding_size": 12},
    "modernbert": WIDE | {"cls_token_id": 0, "sep_token_id": 2, "local_attention": 4},
    "llama": GROUPED,
    "qwen3": GROUPED,
    "gemma": GROUPED,
    "gemma3_text": GROUPED | {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt2": {"vocab_size": 60, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "eos_token_id": 2},
    "t5": {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
    "bart": {"vocab_size": 60, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, **BART_SIZES},
}
IDS = torch.tensor([[5, 8, 13, 21, 34, 6], [4, 7, 11, 18, 29, 9]])
SETTINGS: dict[str, Any] = {"name": "prefix", "length": 3}

every_family = pytest.mark.parametrize("family", CONFIGS)


def _base(family: str) -> Any:
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **CONFIGS[family]))
    return model.eval().requires_grad_(False)


def _changed(base: Any, **more: Any) -> tuple[Any, nn.Module]:
    """The method, and a trunk whose prefixes are far from their start."""
    method = METHODS.make(SETTINGS | more)
    trunk = method.apply(share(base), fitted(roles_of(base.config.to_dict()), base)).eval()
    _move(method, trunk)
    return method, trunk


def _move(method: Any, trunk: nn.Module, seed: int = 3) -> State:
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in method.state(trunk).items()}
    method.load(trunk, state)
    return state


def _hidden(trunk: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    inputs = {"input_ids": ids, "attention_mask": mask}
    if trunk.config.is_encoder_decoder:
        inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    states: Tensor = trunk(**inputs).last_hidden_state
    return states


def _loss(trunk: nn.Module) -> Tensor:
    """Not the length of the hidden states, which the last norm keeps."""
    return (_hidden(trunk, IDS) * torch.linspace(-1, 1, 16)).mean()


@every_family
def test_a_prefix_is_read_in_every_layer_and_padding_is_not(family: str) -> None:
    _, trunk = _changed(_base(family))
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    hidden = _hidden(trunk, IDS, mask)
    alone = _hidden(trunk, IDS[1:, :4], mask[1:, :4])
    assert hidden.shape == (2, 6, 16)
    assert torch.allclose(hidden[1, :4], alone[0], atol=1e-5)
    assert torch.allclose(_hidden(trunk, IDS[:1]), hidden[:1], atol=1e-5)
    _loss(trunk).backward()
    learns = [parameter for parameter in trunk.parameters() if parameter.requires_grad]
    assert len(learns) == {"t5": 4, "bart": 4, "albert": 1}.get(family, 2)
    assert all(parameter.grad is not None and parameter.grad[place].any() for parameter in learns for place in (0, 1))


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2", "t5", "bart"])
def test_behind_a_prefix_no_token_sees_those_after_it(family: str) -> None:
    _, trunk = _changed(_base(family))
    other = IDS.clone()
    other[:, 4:] = 17
    inputs = {"input_ids": IDS} if trunk.config.is_encoder_decoder else {}  # type: ignore[union-attr]
    name = "decoder_input_ids" if inputs else "input_ids"
    one, two = (trunk(**inputs, **{name: ids}).last_hidden_state for ids in (IDS, other))
    assert torch.allclose(one[:, :4], two[:, :4], atol=1e-6)
    assert not torch.allclose(one[:, 4:], two[:, 4:], atol=1e-3)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "llama", "qwen3", "gemma", "gpt2"])
def test_a_prefix_is_what_transformers_makes_of_past_keys_and_values(family: str) -> None:
    base = _base(family)
    method, trunk = _changed(base)
    past = DynamicCache(config=base.config)
    for layer, pairs in enumerate(method.state(trunk).values()):
        keys, values = (one.reshape(1, 3, -1, 8).transpose(1, 2).expand(2, -1, -1, -1) for one in pairs)
        past.update(keys, values, layer)
    # The text keeps the positions that it has without a prefix.
    positions = torch.arange(6) + (2 if family == "roberta" else 0)
    expected = base(
        input_ids=IDS,
        attention_mask=torch.ones(2, 9),
        position_ids=positions.expand(2, -1),
        past_key_values=past,
        use_cache=False,
    ).last_hidden_state
    assert torch.allclose(_hidden(trunk, IDS), expected, atol=1e-5)


def test_a_prefix_has_no_distance_to_the_words_of_t5() -> None:
    method, trunk = _changed(_base("t5"))
    attention: Any = trunk.get_submodule("encoder.block.0.layer.0.SelfAttention")
    keys, values = (
        method.state(trunk)["encoder.block.0.layer.0.SelfAttention.prefix"].reshape(2, 3, 2, 8).transpose(1, 2)
    )
    x = torch.randn(1, 4, 16)
    with torch.no_grad():
        query, key, value = (
            part(x).reshape(4, 2, 8).transpose(0, 1) for part in (attention.q, attention.k, attention.v)
        )
        bias = torch.cat([torch.zeros(2, 4, 3), attention.compute_bias(4, 4)[0]], dim=2)
        weights = (query @ torch.cat([keys, key], dim=1).mT + bias).softmax(dim=-1)
        expected = attention.o((weights @ torch.cat([values, value], dim=1)).transpose(0, 1).reshape(1, 4, 16))
        assert torch.allclose(attention(x)[0], expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("family", ["bert", "gpt2", "bart"])
def test_checkpointing_activations_gives_the_same_gradients(family: str) -> None:
    base = _base(family)
    gradients = []
    for checkpointing in (False, True):
        _, trunk = _changed(base)
        if checkpointing:
            trunk.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]  # transformers'
        for module in trunk.train().modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
        _loss(trunk).backward()
        gradients.append([parameter.grad for parameter in trunk.parameters() if parameter.requires_grad])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert plain is not None
        torch.testing.assert_close(plain, checkpointed)


def test_the_shared_base_computes_its_attention_as_before() -> None:
    base = _base("bert")
    before = _hidden(base, IDS)
    _changed(base)
    assert base.config._attn_implementation == "sdpa"
    assert torch.equal(_hidden(base, IDS), before)


@pytest.mark.parametrize("family", ["bert", "llama", "bart"])
def test_of_a_reparameterised_prefix_the_state_holds_the_result_alone(family: str) -> None:
    base = _base(family)
    method, trunk = _changed(base, reparameterised=True, bottleneck=5)
    _train(trunk)
    state, expected = method.state(trunk), _hidden(trunk, IDS)
    for settings in ({"reparameterised": True, "bottleneck": 5}, {}):
        other, fresh = _changed(base, **settings)
        assert state.keys() == other.state(fresh).keys()
        other.load(fresh, state)
        assert torch.equal(_hidden(fresh, IDS), expected)
        assert all(torch.equal(tensor, state[name]) for name, tensor in other.state(fresh).items())


def test_a_reparameterised_prefix_goes_on_bit_for_bit_from_state_and_memory() -> None:
    base = _base("bert")
    method, trunk = _changed(base, reparameterised=True, bottleneck=5)
    _train(trunk)
    before = {name: tensor.clone() for name, tensor in method.state(trunk).items()}
    memory = {name: tensor.clone() for name, tensor in method.memory(trunk).items()}
    _train(trunk)
    resumed = method.apply(share(base), fitted(roles_of(base.config.to_dict()), base)).eval()
    method.load(resumed, before)
    method.recall(resumed, memory)
    _train(resumed)
    after = method.state(trunk)
    assert all(torch.equal(tensor, after[name]) for name, tensor in method.state(resumed).items())
    assert not any(torch.equal(tensor, after[name]) for name, tensor in before.items())


def _train(trunk: nn.Module) -> None:
    learns = [parameter for parameter in trunk.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learns, lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        _loss(trunk).backward()
        optimizer.step()


def test_a_prefix_of_another_length_is_refused() -> None:
    base = _base("bert")
    method, trunk = _changed(base, reparameterised=True)
    longer, other = _changed(base, length=4)
    with pytest.raises(ValueError, match=r"a prefix has shape \(2, 4, 16\), expected \(2, 3, 16\)"):
        method.load(trunk, longer.state(other))


@pytest.mark.parametrize("family", ["deberta-v2", "mpnet", "gemma2"])
def test_families_with_an_attention_of_their_own_are_refused_by_name(make: Make, family: str) -> None:
    with pytest.raises(Unsupported, match=f"'prefix' adds keys .* the family '{family}' compute .* use prompt"):
        make("prefix").check(FAMILIES[family], 12)


def test_every_other_family_is_held_here(make: Make) -> None:
    refused = {"deberta-v2", "mpnet", "gemma2"}
    like = {"xlm-roberta": "roberta", "qwen2": "llama"}
    assert {like.get(family, family) for family in FAMILIES if family not in refused} == CONFIGS.keys()


def test_eager_attention_is_refused_with_the_remedy(make: Make) -> None:
    base = _base("bert")
    base.config._attn_implementation = "eager"
    with pytest.raises(Unsupported, match=r"computes it by 'eager'; set model.attention=sdpa"):
        make("prefix").apply(share(base), FAMILIES["bert"])
