"""Learned embeddings in front of what a trunk reads, gone again from what it gives. Knows no one method."""

from __future__ import annotations

from functools import partial
from typing import Any

from adaptune.core.errors import Unsupported
from adaptune.core.lazy import peft, torch
from adaptune.core.method import PeftFiles, State
from adaptune.methods._folded import go_on_from, prepare_fold, unfolded

NAME = "prompt"
"""Name within the trunk of the embeddings in front, (P, E)."""
_NETWORK = "prompt_network"
_PEFT_NAME = "prompt_embeddings"
PROMPT_SHAPE = frozenset(
    {"token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers", "modules_to_save"}
)
"""What peft's configurations of prompts say of the model: the tensor itself is checked against it."""


def words(trunk: Any, count: int) -> torch.Tensor:
    """(P, E) the embeddings of words that torch's generator draws, in fp32."""
    table = trunk.get_input_embeddings()
    ids = torch.randint(int(trunk.config.vocab_size), (count,))
    with torch.no_grad():
        found: torch.Tensor = table(ids.to(next(table.parameters()).device))
    return found.float().clone()


def put_in_front(trunk: torch.nn.Module, *, two_stacks: bool) -> None:
    """Let every text be read behind the trunk's prompt, by hooks; of a cached text, whose prompt was read, only the
    positions and the mask know of it.

    Of two stacks the encoder alone reads the prompt, and each of them may be called by itself.
    """
    if not two_stacks:
        trunk.register_forward_pre_hook(partial(_lengthen, trunk), with_kwargs=True)
        trunk.register_forward_hook(_shorten, with_kwargs=True)
        return
    encoder, decoder = trunk.get_submodule("encoder"), trunk.get_submodule("decoder")
    encoder.register_forward_pre_hook(partial(_lengthen, trunk), with_kwargs=True)
    decoder.register_forward_pre_hook(partial(_look_back, trunk), with_kwargs=True)


def prompt_of(trunk: Any) -> torch.Tensor:
    """(P, E) the embeddings in front."""
    if _NETWORK not in trunk._modules:
        direct: torch.Tensor = trunk.prompt
        return direct
    return unfolded(trunk, NAME, _computed(trunk))


def compute_prompt(trunk: torch.nn.Module, network: torch.nn.ModuleDict) -> None:
    """Let a network give the prompt: `mlp` of (`lstm` of) the weights of `rows`, (P, E) -> (P, E)."""
    trunk.add_module(_NETWORK, network)
    prepare_fold(trunk, NAME, *_computed(trunk).shape)


def replace_prompt(trunk: torch.nn.Module, prompt: torch.Tensor) -> None:
    """Let the prompt that a network gives be this one. Raises ValueError for a shape that differs."""
    with torch.no_grad():  # as in every later pass without gradients: an LSTM has other kernels with them
        go_on_from(trunk, NAME, prompt, _computed(trunk))


def peft_prompt(trunk: Any) -> PeftFiles | None:
    """The prompt as one of peft's prompt tuning; None for two stacks, each of which peft prompts."""
    if trunk.config.is_encoder_decoder:
        return None
    prompt = prompt_of(trunk).detach()
    config = peft.PromptTuningConfig(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=len(prompt),
        token_dim=prompt.shape[1],
        num_transformer_submodules=1,
        num_layers=trunk.config.num_hidden_layers,
        num_attention_heads=trunk.config.num_attention_heads,
        inference_mode=True,
    )
    return PeftFiles(config, {"prompt_embeddings": prompt})


def from_peft_prompt(trunk: Any, tensors: State, length: int) -> State:
    """A state out of peft's one tensor. Raises Unsupported for another shape or other tensors."""
    expected = (length, int(trunk.get_input_embeddings().embedding_dim))
    for name, tensor in tensors.items():
        if name != _PEFT_NAME or tuple(tensor.shape) != expected:
            raise Unsupported(
                f"the adapter has a tensor {name!r} of shape {tuple(tensor.shape)}, expected {_PEFT_NAME!r} of shape "
                f"{expected}; name the model that it was made on, and know that of two stacks the encoder alone is read"
            )
    if not tensors:
        raise Unsupported(f"the adapter lacks the tensor {_PEFT_NAME!r}; copy the whole folder again")
    return {NAME: tensors[_PEFT_NAME]}


def _lengthen(
    trunk: Any, _module: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs of a pass with the prompt before them; it has the first positions, is not masked and of the first type."""
    if len(given) > 1:
        raise Unsupported("a trunk with a prompt in front takes its inputs by name; pass input_ids=...")
    named, length = {**dict(zip(("input_ids",), given, strict=False)), **named}, _length(trunk)
    if named.get("position_ids") is not None:
        named["position_ids"] = named["position_ids"] + length
    if _seen(named.get("past_key_values")):
        _widen(named, "attention_mask", length, 1)
        return (), named
    ids, embeddings = named.pop("input_ids", None), named.pop("inputs_embeds", None)
    embedded = trunk.get_input_embeddings()(ids) if embeddings is None else embeddings
    prompt = prompt_of(trunk).to(embedded.dtype).expand(len(embedded), -1, -1)
    named["inputs_embeds"] = torch.cat([prompt, embedded], dim=1)
    _widen(named, "attention_mask", length, 1)
    _widen(named, "token_type_ids", length, 0)
    if (positions := named.get("position_ids")) is not None:
        front = torch.arange(length, device=positions.device).expand(len(positions), -1)
        named["position_ids"] = torch.cat([front.to(positions.dtype), positions], dim=1)
    return (), named


def _look_back(
    trunk: Any, _module: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs of a decoder, which sees the prompt in what the encoder gave."""
    named = dict(named)
    _widen(named, "encoder_attention_mask", _length(trunk), 1)
    return given, named


def _widen(named: dict[str, Any], name: str, length: int, value: int) -> None:
    """Put columns of one value before a (B, T) tensor, where there is one."""
    if (tensor := named.get(name)) is not None:
        named[name] = torch.cat([tensor.new_full((len(tensor), length), value), tensor], dim=1)


def _seen(past: Any) -> int:
    """How many positions a cache holds."""
    return 0 if past is None else int(past.get_seq_length())


def _length(trunk: Any) -> int:
    return len(trunk.prompt_offset if _NETWORK in trunk._modules else trunk.prompt)


def _shorten(trunk: Any, _given: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
    """Without the prompt's own states, in the pass that read it: the one whose states are all that a cache holds."""
    states = output.last_hidden_state
    if _seen(named.get("past_key_values")) in (0, states.shape[1]):
        output.last_hidden_state = states[:, _length(trunk) :]
    return output


def _computed(trunk: Any) -> torch.Tensor:
    network = trunk.get_submodule(_NETWORK)
    x = network["rows"].weight
    with torch.autocast(x.device.type, enabled=False):
        if "lstm" in network:
            x = network["lstm"](x)[0]
        found: torch.Tensor = network["mlp"](x)
    return found
