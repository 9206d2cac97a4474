"""VeRA on peft: one random low-rank pair for all matrices, of which only scaling vectors learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.lazy import peft, torch
from adaptune.core.method import PeftFiles, State, replace_parameters
from adaptune.core.space import Among, Values
from adaptune.methods._peft import (
    ADAPTER,
    OnPeft,
    Targets,
    by_layer,
    inject,
    is_transposed,
    matrix,
    peft_config,
    peft_tensors,
    tuner_layers,
)
from adaptune.methods._stacked import Change

PROJECTIONS = ("vera_A", "vera_B")


class Vera(OnPeft):
    """Beside each chosen matrix W learns W x + b (B (d (A x))), equation 2: the vectors b and d learn.

    A and B are random, frozen and the same for all matrices; each uses as many of their columns and rows as it needs.
    A bundle holds A and B too, so that it does not depend on how another machine draws random numbers.
    """

    paper: ClassVar[str] = "Kopiczko, Blankevoort and Asano (2024), VeRA: vector-based random matrix adaptation, ICLR"
    learning_rate: ClassVar[float] = 1e-2
    searched: ClassVar[Mapping[str, Values]] = {"rank": Among((64, 128, 256)), "targets": Among(("attention", "all"))}
    peft_type: ClassVar[str | None] = "VERA"
    peft_fields: ClassVar[Mapping[str, str]] = {"rank": "r", "dropout": "vera_dropout", "start_scale": "d_initial"}
    peft_silent: ClassVar[frozenset[str]] = frozenset({"projection_prng_key", "save_projection"})

    rank: int = Field(default=256, ge=1)
    """r, the rank of the change; ranks are larger than LoRA's, since each adds only one number a matrix."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the input of A, in training."""
    start_scale: float = Field(default=0.1, gt=0)
    """First value of every entry of d."""
    targets: Targets = "attention"
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config = peft.VeraConfig(
            r=self.rank,
            vera_dropout=self.dropout,
            d_initial=self.start_scale,
            projection_prng_key=int(torch.randint(2**31, ())),  # so that the run's seed decides
            save_projection=True,
            target_modules=self.target_modules(trunk, roles, self.targets),
            fan_in_fan_out=is_transposed(trunk, roles),
        )
        return inject(trunk, config)

    def state(self, trunk: torch.nn.Module) -> State:
        return super().state(trunk) | {name: shared[ADAPTER] for name, shared in _projections(trunk).items()}

    def load(self, trunk: torch.nn.Module, state: State) -> None:
        replace_parameters(trunk, {name: tensor for name, tensor in state.items() if name not in PROJECTIONS})
        for name, shared in _projections(trunk).items():
            old, new = shared[ADAPTER], state[name]
            if old.shape != new.shape:
                raise ValueError(f"{name} has shape {tuple(new.shape)}, expected {tuple(old.shape)}")
            shared[ADAPTER] = new.to(old.device, old.dtype, copy=True)

    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        a, b = (state[name] for name in PROJECTIONS)
        vectors = by_layer({name: tensor for name, tensor in state.items() if name not in PROJECTIONS})
        changes = {}
        for path, tensors in vectors.items():
            weight = matrix(trunk.get_submodule(path))
            down = tensors["vera_lambda_d"][:, None] * a[:, : weight.shape[1]]
            changes[path] = Change(down=down, up=tensors["vera_lambda_b"][:, None] * b[: weight.shape[0]])
        return changes

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles:
        state = self.state(trunk)
        shared = {f"base_model.{name}": state.pop(name) for name in PROJECTIONS}
        return PeftFiles(peft_config(trunk), peft_tensors(state) | shared)

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        """Projections that a file leaves out (save_projection=False) are drawn again, as peft draws them."""
        generator = torch.Generator().manual_seed(int(settings.get("projection_prng_key", 0)))
        own = self.state(trunk)
        draw = peft.tuners.vera.model._kaiming_init
        drawn = {name: draw(tuple(own[name].shape), generator=generator) for name in PROJECTIONS}
        return super().from_peft(trunk, settings, drawn | tensors)


def _projections(trunk: torch.nn.Module) -> dict[str, Any]:
    """peft's dictionaries of A and B, which all layers hold together."""
    layer = next(iter(tuner_layers(trunk).values()))
    return {name: getattr(layer, name) for name in PROJECTIONS}
