"""The frozen layers below the lowest one that learns: what they give is computed once a sequence. Knows no files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.core.types import Reading
from adaptune.models.forwards import Forward, replaced
from adaptune.models.remembered import Remembered


class Below:
    """The first layers of a trunk of one stack, and what they gave for sequences that were seen.

    Passes from there up run the whole trunk with these layers standing still, so that masks, positions and whatever
    else a family hands its layers are made by transformers itself.
    """

    def __init__(self, trunk: nn.Module, roles: Roles, depth: int, store: Remembered) -> None:
        """`depth`: how many layers, as `frozen_layers` gives it."""
        self.depth, self.store = depth, store
        self._layers = list(trunk.get_submodule(roles.main.layers).children())[:depth]
        self._beside: tuple[Any, ...] | None = None
        """What the layers give beside their hidden states; None: nothing, not even in a tuple."""

    def of(self, trunk: nn.Module, roles: Roles) -> Below:
        """The same layers of another trunk on the same base, with what was kept."""
        found = Below(trunk, roles, self.depth, self.store)
        found._beside = self._beside
        return found

    @torch.no_grad()
    def keep(self, batch: Batch, run: Callable[[Batch], object]) -> None:
        """Keep what the layers give for a batch; `run` is a pass of the trunk, which ends here."""
        handle = self._layers[-1].register_forward_hook(_stop)
        try:
            run(batch)
        except _Reached as reached:
            output = reached.output
        finally:
            handle.remove()
        states, self._beside = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
        if any(isinstance(one, Tensor) for one in self._beside or ()):
            raise Unsupported(
                f"a {type(self._layers[-1]).__name__} gives more than hidden states, so that what it gives cannot be "
                "kept; set train.trunk_cache=off"
            )
        self.store.put(batch, states)

    def standing(self, states: Tensor) -> AbstractContextManager[None]:
        """Let the layers give these states, (B, T, D), in a pass within, whatever they are given."""
        given = states if self._beside is None else (states, *self._beside)
        return replaced(self._layers, lambda _: partial(_gives, given))


class _Reached(Exception):
    """The pass has come to the layer whose output is wanted."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _stop(_layer: nn.Module, _given: Any, output: Any) -> None:
    raise _Reached(output)


def _gives(given: Any, *_: Any, **__: Any) -> Any:
    return given


def without_gradients(layers: Sequence[nn.Module]) -> AbstractContextManager[None]:
    """Let layers of passes within take no part in a graph: their weights get no gradient, and nothing below them."""
    return replaced(layers, lambda forward: partial(_without_gradients, forward))


def _without_gradients(forward: Forward, *given: Any, **named: Any) -> Any:
    with torch.no_grad():
        return forward(*given, **named)


def frozen_layers(
    trunk: nn.Module, roles: Roles, method: Method, head: Head, *, dropout: bool, reading: Reading | None, still: int
) -> int:
    """How many layers give the same for a sequence in every pass. Raises Unsupported where none do, saying why.

    `still`: the first layers that learn no more, though a method changes them.
    """
    first = None if len(roles.stacks) > 1 or roles.shares_layers else method.first_layer(trunk, roles)
    if dropout:
        why = "train.dropout is true, so that frozen layers give something else in every pass"
    elif head.own_tokens:
        why = f"head {head.name!r} has tokens of its own among the embeddings, which learn"
    elif reading is not None and reading.mask is not None:
        why = f"head {head.name!r} hides other tokens of a text in every pass"
    elif first is None and len(roles.stacks) > 1:
        why = f"models of the family {roles.family!r} have two stacks, and the second reads the first in all its layers"
    elif first is None and roles.shares_layers:
        why = f"models of the family {roles.family!r} use one set of weights at every depth"
    elif first is None:
        why = f"method {method.name!r} changes what the first layer reads, or reads every layer"
    elif first == 0 and not still:
        why = f"method {method.name!r} changes the first layer; leave it and more as they are by method.skip_layers"
    else:
        _check_frozen(trunk, roles, first)
        return max(first, still)
    raise Unsupported(why)


def _check_frozen(trunk: nn.Module, roles: Roles, first: int) -> None:
    """What a method says of its first layer must be true: kept states would else be wrong, and nobody would know."""
    stack = roles.main
    layers = list(trunk.get_submodule(stack.layers).children())[:first]
    below = [*layers, *(trunk.get_submodule(path) for path in stack.embeddings)]
    learns = [name for module in below for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert not learns, f"layers below {first} were said to be frozen, and {learns[0]} learns"
