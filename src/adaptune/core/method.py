"""How a frozen trunk is changed so that it can learn: the abstract Method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch
from adaptune.core.config import Part
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.space import Between, Values

State: TypeAlias = "dict[str, torch.Tensor]"
"""What a method learned, by name."""


RATES = 8.0
"""How far from the usual learning rate a search goes, as a factor: further away no method learned (results/rates)."""


class Member(NamedTuple):
    """One of several adapters that stand in one mixed trunk."""

    method: Method
    state: State


@dataclass(slots=True)
class Rows:
    """Which member of a mixed trunk each row of the next batch uses: set before every pass, read by every layer."""

    of: torch.Tensor | None = None
    """(B,) indices into the members."""
    stacks: dict[Any, Any] = field(default_factory=dict)
    """What the members have, side by side, by where it stands in the trunk; whoever mixes keeps it here."""
    keep: tuple[int, ...] = ()
    """Of the members in `stacks`, those that the next mixed trunk has before its new ones."""


class PeftFiles(NamedTuple):
    """What the library peft needs to load an adapter onto its base model."""

    config: Any
    """A PeftConfig; who writes it adds the base model's name."""
    tensors: State
    """By the names of adapter_model.safetensors."""


class Method(Part, ABC):
    """Changes a trunk in place; never sees head, task, recipe or optimizer."""

    paper: ClassVar[str]
    """Where it comes from, or an empty string."""
    learning_rate: ClassVar[float]
    """A sensible peak rate with AdamW for a hidden size of 768 and six layers, where the recipe gives none."""
    identity: ClassVar[bool] = True
    """Whether the changed trunk first computes just what the trunk did."""
    touches_base: ClassVar[bool] = False
    """Whether it trains weights of the base itself (on copies of its own)."""
    trains_matrices: ClassVar[bool] = False
    """Whether matrices of the base are among them, so that it must not be quantised."""
    adds_positions: ClassVar[bool] = False
    """Whether it adds positions to every sequence."""
    reads_layers: ClassVar[bool] = False
    """Whether it reads hidden states of every layer (side networks)."""
    steps: ClassVar[bool] = True
    """Whether anything, the head included, learns by steps of an optimizer; where not, train.epochs must be 0."""
    peft_format: ClassVar[bool] = False
    """Whether its bundles are also a folder that peft loads, on models that peft can change so."""
    peft_type: ClassVar[str | None] = None
    """peft's name of it, `LORA`, where adapters that peft made alone can become its bundles."""
    peft_fields: ClassVar[Mapping[str, str]] = {}
    """Its fields -> those of peft's configuration that say the same."""
    peft_silent: ClassVar[frozenset[str]] = frozenset()
    """Further fields of peft's configuration, which change nothing that a trained adapter computes."""

    searched: ClassVar[Mapping[str, Values]] = {}
    """What `adaptune tune` varies of its fields, beside the learning rate."""
    changes_trunk: ClassVar[bool] = True
    """Whether anything learns inside the trunk; where not, the head must."""

    start: str | None = Field(default=None)
    """A bundle of the same base and method to continue from."""

    @property
    def positions(self) -> int:
        """How many positions it adds in front of every sequence: truncation leaves them room."""
        return 0

    def check(self, roles: Roles, layers: int) -> None:
        """Refuse a model family before its weights are loaded. Raises Unsupported."""

    def check_weights(self, weights: str) -> None:
        """Refuse a base whose matrices are held as int8 or nf4 where they would learn. Raises Unsupported."""
        if self.trains_matrices and weights != "float":
            raise Unsupported(
                f"method {self.name!r} trains matrices of the base, and with model.weights={weights} they are "
                "quantised and cannot learn; use lora or another method that adds weights of its own, or "
                "model.weights=float"
            )

    def space(self, learning_rate: float) -> dict[str, Values]:
        """What a search varies, by paths in a recipe; `learning_rate`: the usual one on the model at hand."""
        rates = {"train.learning_rate": Between(learning_rate / RATES, learning_rate * RATES)} if self.steps else {}
        return rates | {f"method.{name}": values for name, values in self.searched.items()}

    @abstractmethod
    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        """Change a frozen trunk in place; what learns has requires_grad. Raises Unsupported if nothing would learn."""

    def prepare(self, trunk: torch.nn.Module, batches: Iterable[Batch], total: int) -> None:
        """Look at data and at the number of optimizer steps before training starts."""

    def state(self, trunk: torch.nn.Module) -> State:
        """What was learned, by name: every tensor that a bundle must hold. Default: the parameters that learn."""
        return {name: p.detach() for name, p in trunk.named_parameters() if p.requires_grad}

    def load(self, trunk: torch.nn.Module, state: State) -> None:
        """Put a state back into a changed trunk: replaces tensors, never writes into shared ones. Raises KeyError."""
        replace_parameters(trunk, state)

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        """The changed trunk as a plain one with equal outputs, in place. Raises Unsupported."""
        raise Unsupported(f"method {self.name!r} cannot be merged into the base model; serve its bundle as it is")

    def mixed(self, trunk: torch.nn.Module, members: Sequence[Member], rows: Rows) -> torch.nn.Module:
        """A fresh frozen trunk changed in place so that row i of a batch uses members[rows.of[i]], for inference alone.

        The members' methods may differ in their settings (rank, targets), and be others that mix with this one. Raises
        Unsupported for those that do not: their bundles are served in groups. What rows.keep names of rows.stacks comes
        before `members`.
        """
        raise Unsupported(f"method {self.name!r} cannot mix several bundles in one batch")

    def groups(self, trunk: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer; a group without a weight_decay of its own has the recipe's."""
        return [{"params": [p for p in trunk.parameters() if p.requires_grad], "lr": learning_rate}]

    def penalty(self, trunk: torch.nn.Module) -> torch.Tensor | None:
        """() a term to add to the mean loss."""
        return None

    def after_step(self, trunk: torch.nn.Module, step: int, total: int) -> None:
        """Called after each optimizer step, before the gradients are cleared."""

    def settled(self, trunk: torch.nn.Module) -> bool:
        """Whether the weights as they stand are what this method promises, so that they may be kept as the best."""
        return True

    def memory(self, trunk: torch.nn.Module) -> State:
        """What later steps depend on beside the state (running averages): kept in checkpoints, not in bundles."""
        return {}

    def recall(self, trunk: torch.nn.Module, memory: State) -> None:
        """Take up a memory again, after its state was loaded and before `prepare`."""

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        """The lowest layer that must run anew in every epoch; its input may be cached. None: nothing may be cached."""
        return None

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles | None:
        """What was learned as an adapter that peft loads onto the untouched base and that gives the same hidden states.

        None where peft cannot: for every model where `peft_format` is not set, for some where it is.
        """
        return None

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        """The state of a changed trunk out of an adapter_config.json and its tensors, their names without prefix.

        Raises Unsupported for tensors that are missing, of another shape, or have no place here.
        """
        raise Unsupported(f"method {self.name!r} reads no adapters that peft made")


def learning(parameters: Iterable[torch.nn.Parameter]) -> int:
    """How many numbers learn."""
    return sum(p.numel() for p in parameters if p.requires_grad)


def own_copies(trunk: torch.nn.Module, names: Iterable[str]) -> None:
    """Give the named parameters storage of their own and let them learn, so that a shared base stays as it is.

    A parameter that stands under several names (tied weights) stays tied.
    """
    shared = {name: trunk.get_parameter(name) for name in names}
    copies = {id(old): torch.nn.Parameter(old.detach().clone(), requires_grad=True) for old in shared.values()}
    for name, old in shared.items():
        owner, _, leaf = name.rpartition(".")
        setattr(trunk.get_submodule(owner), leaf, copies[id(old)])


def replace_parameters(trunk: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Replace parameters by name with new ones that hold the state's tensors, on the old device and in the old type.

    One that learns keeps its object, which an optimizer may hold, and has a new tensor. Raises KeyError for a name
    that the trunk lacks, ValueError for a shape that differs.
    """
    known = dict(trunk.named_parameters(remove_duplicate=False))
    places: dict[int, list[str]] = {}
    for name, parameter in known.items():
        places.setdefault(id(parameter), []).append(name)
    for name, tensor in state.items():
        old = known[name]
        if old.shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(old.shape)}")
        copy = tensor.detach().to(old.device, old.dtype, copy=True)
        if old.requires_grad:
            old.data = copy
            continue
        new = torch.nn.Parameter(copy, requires_grad=False)
        for place in places[id(old)]:  # tied weights stand in several
            owner, _, leaf = place.rpartition(".")
            setattr(trunk.get_submodule(owner), leaf, new)
