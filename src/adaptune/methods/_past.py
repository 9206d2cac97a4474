"""Attention that reads learned keys and values before those of the text. Knows no one method.

transformers takes a function that computes attention by its name in a model's config. This one puts a module's prefix
in front and hands on to scaled dot product attention. It adds no positions: masks and relative distances of the text
stay as they are, and a prefix is seen from everywhere.
"""

from __future__ import annotations

from typing import Any

from adaptune.core.errors import Unsupported
from adaptune.core.lazy import peft, torch, transformers
from adaptune.core.method import PeftFiles, State
from adaptune.methods._folded import go_on_from, prepare_fold, unfolded

NAME = "prefix"
"""Within an attention module, (2, P, K): keys and values of P rows, those of all heads beside each other."""
SHARED = "prefix_mlp"
_FUNCTION = "adaptune_prefix"


def let_attention_read(trunk: torch.nn.Module) -> None:
    """Have every attention of this trunk look for a prefix. Raises Unsupported for other ways to compute attention."""
    configs: dict[int, Any] = {
        id(module.config): module.config for module in trunk.modules() if hasattr(module, "config")
    }
    for config in configs.values():
        if config._attn_implementation != "sdpa":
            raise Unsupported(
                f"a prefix needs attention computed by sdpa, and this model computes it by "
                f"{config._attn_implementation!r}; set model.attention=sdpa"
            )
    transformers.AttentionInterface.register(_FUNCTION, _attend)
    transformers.AttentionMaskInterface.register(_FUNCTION, transformers.masking_utils.sdpa_mask)
    for config in configs.values():
        config._attn_implementation = _FUNCTION


def reparameterise(attention: torch.nn.Module, shared: Any, width: int) -> None:
    """Give an attention module a prefix that a network computes: `shared` is its part that all layers have together."""
    length, bottleneck = shared["rows"].num_embeddings, shared["down"].out_features
    attention.add_module(f"{NAME}_up", torch.nn.Linear(bottleneck, 2 * width))
    attention.__dict__[SHARED] = shared  # not a part of each layer
    prepare_fold(attention, NAME, 2, length, width)


def replace_pairs(attention: Any, pairs: torch.Tensor) -> None:
    """Let a reparameterised prefix be these pairs, and what its network learns from here on.

    Raises KeyError for a module without one, ValueError for a shape that differs.
    """
    if SHARED not in attention.__dict__:
        raise KeyError(f"{type(attention).__name__} has no {NAME}")
    go_on_from(attention, NAME, pairs, _computed(attention))


def pairs_of(attention: Any) -> torch.Tensor | None:
    """(2, P, K) the keys and values before those of the text; None for a module without."""
    if (direct := attention._parameters.get(NAME)) is not None:
        return direct  # type: ignore[no-any-return]  # the module's own dictionary is untyped here
    if SHARED not in attention.__dict__:
        return None
    return unfolded(attention, NAME, _computed(attention))


def peft_prefix(trunk: Any, pairs: list[torch.Tensor]) -> PeftFiles | None:
    """The (2, P, K) of every layer, in their order, as one of peft's prefix tuning.

    peft hands a prefix over as past keys, which decoders alone take, and which moves the text on by P positions. Where
    positions are rotations (Su et al. 2021, equation 16) only their differences count, so that the keys are moved on as
    well; models with positions of another kind read the text differently with peft, so that None is given.
    """
    heads, length = _key_heads(trunk), pairs[0].shape[1]
    if heads is None:
        return None
    width = pairs[0].shape[2]
    layers = [one for keys, values in pairs for one in (_rotated(trunk, keys, length), values)]
    config = peft.PrefixTuningConfig(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=length,
        token_dim=width,
        num_transformer_submodules=1,
        num_layers=len(pairs),
        num_attention_heads=heads,
        encoder_hidden_size=width,
        inference_mode=True,
    )
    return PeftFiles(config, {"prompt_embeddings": torch.cat(layers, dim=1)})


def from_peft_prefix(trunk: Any, tensors: State, like: State) -> State:
    """The pairs of every layer out of peft's one tensor, named as in `like`; the inverse of `peft_prefix`.

    Raises Unsupported for a model whose positions peft moves otherwise, another shape, or other tensors.
    """
    if _key_heads(trunk) is None:
        raise Unsupported(
            f"peft's prefix moves the positions of the text on, which models of the family {trunk.config.model_type!r} "
            "read differently; only prefixes of decoders with rotary positions (such as llama, qwen3) can be imported"
        )
    length, width = next(iter(like.values())).shape[1:]
    expected = (length, 2 * len(like) * width)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != {"prompt_embeddings": expected}:
        raise Unsupported(
            f"the adapter has tensors {found}, expected 'prompt_embeddings' of shape {expected}; name the model that "
            "it was made on, or copy the whole folder again"
        )
    layers = tensors["prompt_embeddings"].reshape(length, len(like), 2, width).permute(1, 2, 0, 3)
    return {
        name: torch.stack([_rotated(trunk, keys, -length), values])
        for name, (keys, values) in zip(like, layers, strict=True)
    }


def _key_heads(trunk: Any) -> int | None:
    """How many heads keys have, where positions are rotations of whole heads in one stack; else None."""
    settled = getattr(trunk.config, "rope_parameters", None) or {}
    rotary = getattr(trunk, "rotary_emb", None)
    if rotary is None or trunk.config.is_encoder_decoder or settled.get("rope_type") != "default":
        return None
    size = getattr(trunk.config, "head_dim", None) or trunk.config.hidden_size // trunk.config.num_attention_heads
    whole = 2 * len(rotary.inv_freq) == size
    return int(trunk.config.num_key_value_heads) if whole else None


def _rotated(trunk: Any, keys: torch.Tensor, by: int) -> torch.Tensor:
    """(P, K) keys moved on by so many positions, or back."""
    by_head = keys.reshape(len(keys), trunk.config.num_key_value_heads, -1)
    cos, sin = trunk.rotary_emb(keys, torch.full((1, 1), by, device=keys.device))
    first, second = by_head.chunk(2, dim=-1)
    turned: torch.Tensor = by_head * cos[0] + torch.cat([-second, first], dim=-1) * sin[0]
    return turned.reshape(keys.shape)


def _computed(attention: Any) -> torch.Tensor:
    shared = attention.__dict__[SHARED]
    rows = shared["rows"].weight
    with torch.autocast(rows.device.type, enabled=False):
        found: torch.Tensor = attention.prefix_up(torch.tanh(shared["down"](rows)))
    return found.reshape(len(rows), 2, -1).transpose(0, 1)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> Any:
    """(B, H, T, d) queries, keys and values -> what sdpa gives with the module's prefix in front."""
    pairs = pairs_of(module)
    if pairs is not None:
        length = pairs.shape[1]
        if attention_mask is None and query.shape[2] > 1 and _is_causal(module, more):
            attention_mask = _causal(query.shape[2], key.shape[2], query.device)
        keys, values = (_of_heads(one, key) for one in pairs)
        key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        if attention_mask is not None:
            seen = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = torch.nn.functional.pad(attention_mask, (length, 0), value=seen)
        if more.get("position_bias") is not None:
            more["position_bias"] = torch.nn.functional.pad(more["position_bias"], (length, 0))
        more["is_causal"] = False
    sdpa = transformers.integrations.sdpa_attention.sdpa_attention_forward
    return sdpa(module, query, key, value, attention_mask, **more)


def _is_causal(module: torch.nn.Module, more: dict[str, Any]) -> bool:
    asked = more.get("is_causal")
    return bool(getattr(module, "is_causal", True) if asked is None else asked)


def _causal(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """(1, 1, T, T) the mask that sdpa else makes by itself; the last query is that of the last key."""
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _of_heads(one: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(P, K) -> (B, H, P, d)"""
    rows, heads, _, size = like.shape
    return one.to(like.dtype).reshape(len(one), heads, size).transpose(0, 1).expand(rows, -1, -1, -1)
