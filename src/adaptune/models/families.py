"""The table of layer roles: how each family of models names its parts. Loads nothing, needs no torch.

A new family is one more row; tests/laws/test_families.py holds every row against a model built from a config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from adaptune.core.backbone import Roles, Stack
from adaptune.core.errors import ModelError, nearest

if TYPE_CHECKING:
    from torch import nn

_BERT = Stack(
    layers="encoder.layer",
    embeddings=("embeddings",),
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    feed_forward=("intermediate.dense", "output.dense"),
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    attention="attention.self",
)
_DISTILBERT = Stack(
    layers="transformer.layer",
    embeddings=("embeddings",),
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    feed_forward=("ffn.lin1", "ffn.lin2"),
    norms=("sa_layer_norm", "output_layer_norm"),
    attention="attention",
)
_DEBERTA = replace(
    _BERT,
    # The convolution of the larger models stands beside the first layer; relative positions are read in every layer.
    embeddings=("embeddings", "encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"),
    query="attention.self.query_proj",
    key="attention.self.key_proj",
    value="attention.self.value_proj",
)
_ALBERT = Stack(
    layers="encoder.albert_layer_groups",
    embeddings=("embeddings", "encoder.embedding_hidden_mapping_in"),
    query="albert_layers.0.attention.query",
    key="albert_layers.0.attention.key",
    value="albert_layers.0.attention.value",
    attention_output="albert_layers.0.attention.dense",
    feed_forward=("albert_layers.0.ffn", "albert_layers.0.ffn_output"),
    norms=("albert_layers.0.attention.LayerNorm", "albert_layers.0.full_layer_layer_norm"),
    attention="albert_layers.0.attention",
)
_MPNET = Stack(
    layers="encoder.layer",
    embeddings=("embeddings", "encoder.relative_attention_bias"),
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_output="attention.attn.o",
    feed_forward=("intermediate.dense", "output.dense"),
    norms=("attention.LayerNorm", "output.LayerNorm"),
    attention="attention.attn",
)
_MODERNBERT = Stack(
    layers="layers",
    embeddings=("embeddings",),
    query="attn.Wqkv",
    key="attn.Wqkv",
    value="attn.Wqkv",
    attention_output="attn.Wo",
    feed_forward=("mlp.Wi", "mlp.Wo"),
    norms=("attn_norm", "mlp_norm"),
    final_norm="final_norm",
    attention="attn",
)
_LLAMA = Stack(
    layers="layers",
    embeddings=("embed_tokens",),
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.o_proj",
    feed_forward=("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    norms=("input_layernorm", "post_attention_layernorm"),
    final_norm="norm",
    attention="self_attn",
    causal=True,
)
_QWEN3 = replace(_LLAMA, norms=(*_LLAMA.norms, "self_attn.q_norm", "self_attn.k_norm"))
_GEMMA2 = replace(_LLAMA, norms=(*_LLAMA.norms, "pre_feedforward_layernorm", "post_feedforward_layernorm"))
_GEMMA3 = replace(_GEMMA2, norms=(*_GEMMA2.norms, "self_attn.q_norm", "self_attn.k_norm"))
_GPT2 = Stack(
    layers="h",
    embeddings=("wte", "wpe"),
    query="attn.c_attn",
    key="attn.c_attn",
    value="attn.c_attn",
    attention_output="attn.c_proj",
    feed_forward=("mlp.c_fc", "mlp.c_proj"),
    norms=("ln_1", "ln_2"),
    final_norm="ln_f",
    attention="attn",
    causal=True,
)
_T5_ENCODER = Stack(
    layers="encoder.block",
    embeddings=("shared", "encoder.embed_tokens"),
    query="layer.0.SelfAttention.q",
    key="layer.0.SelfAttention.k",
    value="layer.0.SelfAttention.v",
    attention_output="layer.0.SelfAttention.o",
    # wi, or wi_0 and wi_1 where a gate multiplies them.
    feed_forward=tuple(f"layer.1.DenseReluDense.{name}" for name in ("wi", "wi_0", "wi_1", "wo")),
    norms=("layer.0.layer_norm", "layer.1.layer_norm"),
    final_norm="encoder.final_layer_norm",
    attention="layer.0.SelfAttention",
)
_T5_DECODER = replace(
    _T5_ENCODER,
    layers="decoder.block",
    embeddings=("shared", "decoder.embed_tokens"),
    feed_forward=tuple(f"layer.2.DenseReluDense.{name}" for name in ("wi", "wi_0", "wi_1", "wo")),
    norms=("layer.0.layer_norm", "layer.1.layer_norm", "layer.2.layer_norm"),
    final_norm="decoder.final_layer_norm",
    cross=tuple(f"layer.1.EncDecAttention.{name}" for name in "qkvo"),
    causal=True,
)
_BART_ENCODER = Stack(
    layers="encoder.layers",
    embeddings=("shared", "encoder.embed_tokens", "encoder.embed_positions", "encoder.layernorm_embedding"),
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.out_proj",
    feed_forward=("fc1", "fc2"),
    norms=("self_attn_layer_norm", "final_layer_norm"),
    attention="self_attn",
)
_BART_DECODER = replace(
    _BART_ENCODER,
    layers="decoder.layers",
    embeddings=("shared", "decoder.embed_tokens", "decoder.embed_positions", "decoder.layernorm_embedding"),
    norms=("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
    cross=tuple(f"encoder_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")),
    causal=True,
)

FAMILIES: Mapping[str, Roles] = {
    roles.family: roles
    for roles in (
        Roles("bert", (_BERT,), segments=True, takes_past=True, pooler="pooler"),
        Roles("distilbert", (_DISTILBERT,)),
        Roles("roberta", (_BERT,), segments=True, takes_past=True, pooler="pooler", offset_positions=True),
        Roles("xlm-roberta", (_BERT,), segments=True, takes_past=True, pooler="pooler", offset_positions=True),
        Roles("deberta-v2", (_DEBERTA,), segments=True),
        Roles(
            "electra",
            (replace(_BERT, embeddings=("embeddings", "embeddings_project")),),
            segments=True,
            takes_past=True,
        ),
        Roles("albert", (_ALBERT,), segments=True, shares_layers=True, pooler="pooler"),
        Roles("mpnet", (_MPNET,), pooler="pooler", offset_positions=True),
        Roles("modernbert", (_MODERNBERT,)),
        Roles("llama", (_LLAMA,), takes_past=True),
        Roles("qwen2", (_LLAMA,), takes_past=True),
        Roles("qwen3", (_QWEN3,), takes_past=True),
        Roles("gemma", (_LLAMA,), takes_past=True),
        Roles("gemma2", (_GEMMA2,), takes_past=True),
        Roles("gemma3_text", (_GEMMA3,), takes_past=True),
        Roles("gpt2", (_GPT2,), takes_past=True),
        Roles("t5", (_T5_ENCODER, _T5_DECODER), takes_past=True),
        Roles("bart", (_BART_ENCODER, _BART_DECODER), takes_past=True),
    )
}
"""One row a family, by transformers' `model_type`.

Embeddings, norms and feed_forward may name parts that only some sizes have: `fitted` leaves out what a model lacks.
"""


def roles_of(settings: Mapping[str, Any]) -> Roles:
    """The row of the family that a model's config.json names, `segments` as this model has them. Raises ModelError."""
    family = str(settings.get("model_type"))
    if family not in FAMILIES:
        raise ModelError(
            f"the model family {family!r} is not in the table of layer roles{nearest(family, FAMILIES)} "
            f"(there are: {', '.join(FAMILIES)}); choose a model of one of these, "
            "or add a row for it to FAMILIES in adaptune/models/families.py"
        )
    roles = FAMILIES[family]
    # RoBERTas have one type of token, which says nothing; DeBERTas have none unless their config says so.
    types = settings.get("type_vocab_size", 0 if family == "deberta-v2" else 2)
    return replace(roles, segments=roles.segments and types > 1)


def layers_of(settings: Mapping[str, Any]) -> int:
    """How many layers the main stack of the model has, by its config.json."""
    names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "n_layers", "n_layer", "num_layers")
    found = [settings[name] for name in names if settings.get(name) is not None]
    if not found:
        raise ModelError(
            f"config.json says in none of {', '.join(names)} how many layers the model has; add num_hidden_layers"
        )
    return int(found[0])


def fitted(roles: Roles, trunk: nn.Module) -> Roles:
    """The row without the parts that this trunk lacks. Raises ModelError for a weight that no role covers."""
    there = {name for name, _ in trunk.named_modules()}
    stacks = tuple(_fitted_stack(stack, there) for stack in roles.stacks)
    covered = [path for stack in stacks for path in (stack.layers, *stack.embeddings, stack.final_norm or "")]
    covered.append(roles.pooler or "")
    for name, _ in trunk.named_parameters():
        if not any(path and name.startswith(f"{path}.") for path in covered):
            raise ModelError(
                f"the weight {name!r} of this {roles.family} model has no place in the table of layer roles; "
                "its row in adaptune/models/families.py needs the path under `embeddings`"
            )
    return replace(roles, stacks=stacks)


def _fitted_stack(stack: Stack, there: set[str]) -> Stack:
    def inside(paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(path for path in paths if f"{stack.layers}.0.{path}" in there)

    return replace(
        stack,
        embeddings=tuple(path for path in stack.embeddings if path in there),
        feed_forward=inside(stack.feed_forward),
        norms=inside(stack.norms),
    )
