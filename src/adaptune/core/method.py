"""How a frozen trunk is changed so that it can learn: the abstract Method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch
from adaptune.core.config import Part
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch


class Method(Part, ABC):
    """Changes a trunk in place; never sees head, task, recipe or optimizer."""

    paper: ClassVar[str]
    """Where it comes from, or an empty string."""
    learning_rate: ClassVar[float]
    """A sensible peak learning rate with AdamW, where the recipe gives none."""
    identity: ClassVar[bool] = True
    """Whether the changed trunk first computes just what the trunk did."""
    touches_base: ClassVar[bool] = False
    """Whether it trains weights of the base itself (on copies of its own)."""
    adds_positions: ClassVar[bool] = False
    """Whether it adds positions to every sequence."""
    reads_layers: ClassVar[bool] = False
    """Whether it reads hidden states of every layer (side networks)."""
    peft_format: ClassVar[bool] = False
    """Whether its bundles are also a folder that peft loads."""

    start: str | None = Field(default=None)
    """A bundle of the same base and method to continue from."""

    def check(self, roles: Roles, layers: int) -> None:
        """Refuse a model family before its weights are loaded. Raises Unsupported."""

    @abstractmethod
    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        """Change a frozen trunk in place and mark what learns by requires_grad. Raises Unsupported if nothing would learn."""

    def prepare(self, trunk: torch.nn.Module, batches: Iterable[Batch], total: int) -> None:
        """Look at data and at the number of optimizer steps before training starts."""

    def state(self, trunk: torch.nn.Module) -> dict[str, torch.Tensor]:
        """What was learned, by name: every tensor that a bundle must hold. Default: the parameters that learn."""
        return {name: p.detach() for name, p in trunk.named_parameters() if p.requires_grad}

    def load(self, trunk: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
        """Put a state back into a changed trunk: replaces tensors, never writes into shared ones. Raises KeyError."""
        replace_parameters(trunk, state)

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        """The changed trunk as a plain one with equal outputs, in place. Raises Unsupported."""
        raise Unsupported(f"method {self.name!r} cannot be merged into the base model; serve its bundle as it is")

    def mixed(
        self, trunk: torch.nn.Module, states: Sequence[dict[str, torch.Tensor]], row_of: torch.Tensor
    ) -> torch.nn.Module:
        """A changed trunk in which row i uses states[row_of[i]]. Raises Unsupported: such bundles are served in groups."""
        raise Unsupported(f"method {self.name!r} cannot mix several bundles in one batch")

    def groups(self, trunk: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, weight decay aside."""
        return [{"params": [p for p in trunk.parameters() if p.requires_grad], "lr": learning_rate}]

    def penalty(self, trunk: torch.nn.Module) -> torch.Tensor | None:
        """() a term to add to the mean loss."""
        return None

    def after_step(self, trunk: torch.nn.Module, step: int, total: int) -> None:
        """Called after each optimizer step, before the gradients are cleared."""

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        """The lowest layer that must run anew in every epoch; its input may be cached. None: nothing may be cached."""
        return None

    def peft_config(self, base: str) -> Any:
        """peft's own configuration of a method whose bundles peft can load."""
        raise Unsupported(f"method {self.name!r} has no peft format")


def learning(parameters: Iterable[torch.nn.Parameter]) -> int:
    """How many numbers learn."""
    return sum(p.numel() for p in parameters if p.requires_grad)


def own_copies(trunk: torch.nn.Module, names: Iterable[str]) -> None:
    """Give the named parameters storage of their own and let them learn, so that a shared base stays as it is.

    A parameter that stands under several names (tied weights) stays tied.
    """
    copies: dict[int, torch.nn.Parameter] = {}
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module = trunk.get_submodule(owner)
        old = getattr(module, leaf)
        copies.setdefault(id(old), torch.nn.Parameter(old.detach().clone(), requires_grad=True))
        setattr(module, leaf, copies[id(old)])


def replace_parameters(trunk: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Replace parameters by name with new ones that hold the state's tensors, on the old device and in the old type.

    Raises KeyError for a name that the trunk lacks, ValueError for a shape that differs.
    """
    known = dict(trunk.named_parameters(remove_duplicate=False))
    for name, tensor in state.items():
        old = known[name]
        if old.shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(old.shape)}")
        owner, _, leaf = name.rpartition(".")
        new = torch.nn.Parameter(tensor.to(old.device, old.dtype, copy=True), requires_grad=old.requires_grad)
        setattr(trunk.get_submodule(owner), leaf, new)
