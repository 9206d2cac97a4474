"""What every row of the table of layer roles must keep, against a tiny model of the family built from a config."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, DynamicCache, EncoderDecoderCache

from adaptune.core.backbone import Roles, Stack
from adaptune.core.batch import Batch
from adaptune.core.errors import ModelError
from adaptune.models.below import Below
from adaptune.models.families import FAMILIES, fitted, layers_of, roles_of
from adaptune.models.remembered import Remembered

_ENCODER = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_DECODER = _ENCODER | {"num_key_value_heads": 1, "head_dim": 8}
_T5 = {
    "vocab_size": 60,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 3,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
_BART = {"vocab_size": 60, "d_model": 16, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 40}
_HEADS = {"encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
_DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "distilbert": {
        "vocab_size": 60,
        "dim": 16,
        "n_layers": 3,
        "n_heads": 2,
        "hidden_dim": 24,
        "max_position_embeddings": 40,
    },
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
    "deberta-v2": _ENCODER | _DEBERTA | {"norm_rel_ebd": "layer_norm", "position_buckets": 8, "share_att_key": True},
    "electra": _ENCODER | {"embedding_size": 12},
    "albert": _ENCODER | {"embedding_size": 12},
    "mpnet": _ENCODER,
    "modernbert": _ENCODER | {"cls_token_id": 0, "sep_token_id": 2},
    "llama": _DECODER,
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "gemma": _DECODER,
    "gemma2": _DECODER,
    "gemma3_text": _DECODER,
    "gpt2": {"vocab_size": 60, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40, "eos_token_id": 2},
    "t5": _T5,
    "bart": _BART | _HEADS,
}
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "a DeBERTa with a convolution": ("deberta-v2", {"conv_kernel_size": 3, "conv_act": "gelu"}),
    "a DeBERTa without relative positions": (
        "deberta-v2",
        {"relative_attention": False, "position_biased_input": True},
    ),
    "a DeBERTa with narrow embeddings": ("deberta-v2", {"embedding_size": 12, "type_vocab_size": 2}),
    "an ELECTRA without projection": ("electra", {"embedding_size": 16}),
    "a gated T5": ("t5", {"feed_forward_proj": "gated-gelu"}),
    "a RoBERTa with one type": ("roberta", {"type_vocab_size": 1}),
}

every_family = pytest.mark.parametrize("family", FAMILIES)


def tiny(family: str, **changes: Any) -> Any:
    """A model of 3 layers, hidden size 16, 60 words, seed 0."""
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(family, **(CONFIGS[family] | changes))).eval()


def tiny_roles(model: Any) -> Roles:
    return fitted(roles_of(model.config.to_dict()), model)


def layer(model: nn.Module, stack: Stack, index: int = 0) -> nn.Module:
    return model.get_submodule(f"{stack.layers}.{index}")


def sizes(matrix: nn.Module) -> tuple[int, int]:
    """What it reads and what it returns; GPT-2's matrices are stored the other way round."""
    rows, columns = matrix.weight.shape  # type: ignore[union-attr,misc]
    return (rows, columns) if type(matrix).__name__ == "Conv1D" else (columns, rows)


def words(model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    both = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return both | ({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})


IDS = torch.tensor([[5, 8, 13, 21, 34], [4, 7, 11, 18, 29]])


def test_every_row_is_held_against_a_model() -> None:
    assert set(CONFIGS) == set(FAMILIES)


def test_every_row_stands_under_its_own_name() -> None:
    assert [roles.family for roles in FAMILIES.values()] == list(FAMILIES)


@every_family
def test_layers_are_a_list_of_modules_as_long_as_the_config_says(family: str) -> None:
    model = tiny(family)
    roles = tiny_roles(model)
    for stack in roles.stacks:
        layers = model.get_submodule(stack.layers)
        assert isinstance(layers, nn.ModuleList)
        assert len(layers) == (1 if roles.shares_layers else 3)
    assert layers_of(model.config.to_dict()) == 3


@every_family
def test_matrices_read_and_return_what_their_role_says(family: str) -> None:
    model = tiny(family)
    for stack in tiny_roles(model).stacks:
        first = layer(model, stack)
        for path in {stack.query, stack.key, stack.value}:
            assert sizes(first.get_submodule(path))[0] == 16
        assert sizes(first.get_submodule(stack.attention_output)) == (16, 16)
        reading, returning = stack.feed_forward[:-1], stack.feed_forward[-1]
        assert reading
        assert {sizes(first.get_submodule(path))[0] for path in reading} == {16}
        assert sizes(first.get_submodule(returning))[1] == 16
        assert [sizes(first.get_submodule(path)) for path in stack.cross] == [(16, 16)] * len(stack.cross)


@every_family
def test_a_matrix_that_holds_all_three_is_as_wide_as_three(family: str) -> None:
    model = tiny(family)
    for stack in tiny_roles(model).stacks:
        together = {stack.query, stack.key, stack.value}
        assert len(together) in (1, 3)
        assert sizes(layer(model, stack).get_submodule(stack.query))[1] == (48 if len(together) == 1 else 16)


@every_family
def test_roles_name_every_matrix_of_a_layer(family: str) -> None:
    model = tiny(family)
    for stack in tiny_roles(model).stacks:
        named = {stack.query, stack.key, stack.value, stack.attention_output, *stack.feed_forward, *stack.cross}
        kinds = ("Linear", "Conv1D")
        assert named == {name for name, module in layer(model, stack).named_modules() if type(module).__name__ in kinds}


@every_family
def test_roles_name_every_norm_of_a_layer(family: str) -> None:
    model = tiny(family)
    for stack in tiny_roles(model).stacks:
        depth = len(model.get_submodule(stack.layers)) - 1
        modules = layer(model, stack, depth).named_modules()
        assert set(stack.norms) == {name for name, module in modules if type(module).__name__.endswith("Norm")}


@every_family
def test_the_attention_module_holds_query_key_and_value(family: str) -> None:
    model = tiny(family)
    for stack in tiny_roles(model).stacks:
        layer(model, stack).get_submodule(stack.attention)
        assert all(path.startswith(f"{stack.attention}.") for path in (stack.query, stack.key, stack.value))


@every_family
def test_feed_forward_matrices_stand_in_the_order_of_their_use(family: str) -> None:
    model = tiny(family)
    stack = tiny_roles(model).main
    used: list[str] = []
    for path in stack.feed_forward:
        module = layer(model, stack).get_submodule(path)
        module.register_forward_hook(lambda *_, path=path: used.append(path))
    with torch.no_grad():
        model(**words(model, IDS))
    assert tuple(used[: len(stack.feed_forward)]) == stack.feed_forward


@every_family
def test_every_weight_belongs_to_embeddings_layers_or_the_last_norm(family: str) -> None:
    model = tiny(family)
    roles = tiny_roles(model)
    outside = set(dict(model.named_parameters()))
    for stack in roles.stacks:
        for path in (stack.layers, *stack.embeddings, stack.final_norm or "nothing"):
            outside = {name for name in outside if not name.startswith(f"{path}.")}
    assert all(roles.pooler is not None and name.startswith(f"{roles.pooler}.") for name in outside)


@every_family
def test_the_hidden_states_come_from_the_last_norm_or_else_the_last_layer(family: str) -> None:
    model = tiny(family)
    stack = tiny_roles(model).main
    seen: list[torch.Tensor] = []
    last = model.get_submodule(stack.final_norm) if stack.final_norm else model.get_submodule(stack.layers)[-1]
    last.register_forward_hook(
        lambda _, __, output: seen.append(output if isinstance(output, torch.Tensor) else output[0])
    )
    with torch.no_grad():
        hidden = model(**words(model, IDS)).last_hidden_state
    assert hidden.shape == (2, 5, 16)
    assert torch.equal(hidden, seen[-1])


@every_family
def test_a_causal_stack_does_not_see_what_follows(family: str) -> None:
    model = tiny(family)
    changed = IDS.clone()
    changed[:, -1] = 50
    with torch.no_grad():
        before = model(**words(model, IDS)).last_hidden_state
        inputs = words(model, IDS)
        inputs["decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"] = changed
        after = model(**inputs).last_hidden_state
    assert torch.equal(before[:, 0], after[:, 0]) == tiny_roles(model).main.causal


@every_family
def test_segments_are_what_the_model_has_embeddings_for(family: str) -> None:
    model = tiny(family)
    has = any("token_type_embeddings" in name for name, _ in model.named_parameters())
    assert tiny_roles(model).segments == has
    if has:
        assert "token_type_ids" in inspect.signature(model.forward).parameters
        with torch.no_grad():
            first = model(**words(model, IDS), token_type_ids=torch.zeros_like(IDS)).last_hidden_state
            second = model(**words(model, IDS), token_type_ids=torch.ones_like(IDS)).last_hidden_state
        assert not torch.allclose(first, second)


@every_family
def test_a_family_takes_past_keys_and_values_where_its_row_says_so(family: str) -> None:
    model = tiny(family)
    if not FAMILIES[family].takes_past:
        assert "past_key_values" not in inspect.signature(model.forward).parameters
        return
    with torch.no_grad():
        seen = [model(**_with_past(model, scale)).last_hidden_state for scale in (1.0, 3.0)]
        same = model(**_with_past(model, 1.0)).last_hidden_state
    assert seen[0].shape == (2, 5, 16)
    assert torch.equal(seen[0], same)
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)


def _with_past(model: Any, scale: float) -> dict[str, Any]:
    """Inputs behind three positions of keys and values, in every layer."""
    config = model.config.get_text_config(decoder=True)
    generator = torch.Generator().manual_seed(0)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    past: Any = DynamicCache(config=config)
    for depth in range(3):
        keys, values = (scale * torch.randn(2, heads, 3, 8, generator=generator) for _ in range(2))
        past.update(keys, values, depth)
    mask = torch.ones(2, 8)
    if model.config.is_encoder_decoder:
        past = EncoderDecoderCache(past, DynamicCache(config=config))
        return words(model, IDS) | {"decoder_attention_mask": mask, "past_key_values": past, "use_cache": False}
    return {"input_ids": IDS, "attention_mask": mask, "past_key_values": past, "use_cache": False}


@every_family
def test_a_pooler_can_be_left_out_and_changes_no_hidden_state(family: str) -> None:
    model = tiny(family)
    roles = FAMILIES[family]
    poolers = [name for name, _ in model.named_children() if "pooler" in name and name != "pooler_activation"]
    assert poolers == ([roles.pooler] if roles.pooler else [])
    if roles.pooler:
        bare = AutoModel.from_config(model.config, add_pooling_layer=False).eval()
        bare.load_state_dict(model.state_dict(), strict=False)
        assert getattr(bare, roles.pooler) is None
        with torch.no_grad():
            whole, less = (either(**words(either, IDS)).last_hidden_state for either in (model, bare))
        assert torch.equal(whole, less)


@every_family
def test_as_many_tokens_fit_as_there_are_positions_less_the_offset(family: str) -> None:
    model = tiny(family)
    if (positions := getattr(model.config, "max_position_embeddings", None)) is None:
        assert family == "t5"
        return
    offset = model.config.pad_token_id + 1 if FAMILIES[family].offset_positions else 0
    ids = torch.full((1, positions - offset), 7)
    with torch.no_grad():
        assert model(**words(model, ids)).last_hidden_state.shape[1] == positions - offset
    if offset:
        with pytest.raises((IndexError, RuntimeError)):
            model(**words(model, torch.full((1, positions - offset + 1), 7)))


@pytest.mark.parametrize("size", SIZES)
def test_other_sizes_of_a_family_fit_its_row(size: str) -> None:
    family, changes = SIZES[size]
    model = tiny(family, **changes)
    roles = tiny_roles(model)
    for stack in roles.stacks:
        for path in stack.embeddings:
            model.get_submodule(path)
        for path in (*stack.feed_forward, *stack.norms):
            layer(model, stack).get_submodule(path)
    assert len(roles.main.feed_forward) == (3 if size == "a gated T5" else 2)
    assert roles.segments == any(
        name.endswith("token_type_embeddings.weight") and len(weight) > 1 for name, weight in model.named_parameters()
    )


def test_an_unknown_family_is_refused_with_the_place_where_it_belongs() -> None:
    with pytest.raises(
        ModelError, match=r"'mamba' is not in the table .* add a row for it to FAMILIES in .*families\.py"
    ):
        roles_of({"model_type": "mamba"})


def test_a_misspelt_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match="did you mean 'deberta-v2'"):
        roles_of({"model_type": "deberta_v2"})


def test_a_weight_that_no_role_covers_is_refused_by_name() -> None:
    model = tiny("bert")
    model.surplus = nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"'surplus\.weight' of this bert model has no place"):
        tiny_roles(model)


ONE_STACK = [name for name, roles in FAMILIES.items() if len(roles.stacks) == 1 and not roles.shares_layers]


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("family", [*ONE_STACK, "a DeBERTa with a convolution"])
def test_a_trunk_whose_first_layers_stand_still_gives_what_it_gives_as_a_whole(family: str, depth: int) -> None:
    name, changes = SIZES.get(family, (family, {}))
    model = tiny(name, **changes)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    batch = Batch(torch.arange(2), mask, ids=IDS)
    below = Below(model, tiny_roles(model), depth, Remembered())

    def hidden(batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            states: torch.Tensor = model(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        return states * batch.mask[:, :, None]

    whole = hidden(batch)
    below.keep(batch, hidden)
    other = Batch(torch.arange(2), mask.flip(0), ids=IDS.flip(0))
    kept = below.store.get(other)
    assert kept is not None
    with below.standing(kept):
        assert torch.allclose(hidden(other), whole.flip(0), atol=1e-6)
        assert not torch.allclose(hidden(batch), whole, atol=1e-3), "the first layers were to stand still"
    assert torch.equal(hidden(batch), whole)
