"""Learned embeddings in front of what a trunk reads, gone again from what it gives. Knows no one method."""

from __future__ import annotations

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
    """Let every pass read the trunk's prompt before the input, by hooks."""
    trunk.register_forward_pre_hook(_lengthen, with_kwargs=True)
    if not two_stacks:  # of two stacks the encoder alone reads the prompt, and the decoder's states are what heads see
        trunk.register_forward_hook(_shorten)


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


def _lengthen(trunk: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Inputs of a pass with the prompt before them; it has the first positions, is not masked and of the first type."""
    if given or named.get("past_key_values") is not None:
        raise Unsupported(
            "a trunk with a prompt in front reads whole inputs by name, without past keys and values; "
            "pass input_ids=..., and use_cache=False"
        )
    named = dict(named)
    ids, embeddings = named.pop("input_ids", None), named.pop("inputs_embeds", None)
    embedded = trunk.get_input_embeddings()(ids) if embeddings is None else embeddings
    prompt = prompt_of(trunk).to(embedded.dtype).expand(len(embedded), -1, -1)
    named["inputs_embeds"] = torch.cat([prompt, embedded], dim=1)
    for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
        if named.get(name) is not None:
            front = named[name].new_full(prompt.shape[:2], value)
            named[name] = torch.cat([front, named[name]], dim=1)
    return (), named


def _shorten(trunk: Any, _given: tuple[Any, ...], output: Any) -> Any:
    length = len(trunk.prompt_offset if _NETWORK in trunk._modules else trunk.prompt)
    output.last_hidden_state = output.last_hidden_state[:, length:]
    return output


def _computed(trunk: Any) -> torch.Tensor:
    network = trunk.get_submodule(_NETWORK)
    x = network["rows"].weight
    with torch.autocast(x.device.type, enabled=False):
        if "lstm" in network:
            x = network["lstm"](x)[0]
        found: torch.Tensor = network["mlp"](x)
    return found
