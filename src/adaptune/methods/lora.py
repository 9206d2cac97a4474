"""LoRA on peft: a low-rank change beside frozen matrices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from math import sqrt
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import peft, torch
from adaptune.core.method import PeftFiles, State, replace_parameters
from adaptune.core.space import Among, Values
from adaptune.methods._initial import explained, orthonormal, principal
from adaptune.methods._one_product import one_product
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

ORIGIN = "origin"
"""peft's name of the frozen second change, minus the first values of the one that learns."""


class Lora(OnPeft):
    """Beside each chosen matrix W learns a low-rank change: W x + (alpha / rank) B A x."""

    paper: ClassVar[str] = "Hu et al. (2022), LoRA: low-rank adaptation of large language models, ICLR"
    learning_rate: ClassVar[float] = 2e-3
    searched: ClassVar[Mapping[str, Values]] = {
        "rank": Among((2, 4, 8, 16, 32)),
        "targets": Among(("attention", "all")),
    }
    peft_type: ClassVar[str | None] = "LORA"
    peft_fields: ClassVar[Mapping[str, str]] = {
        "rank": "r",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "rank_stabilised": "use_rslora",
        "dora": "use_dora",
    }
    peft_silent: ClassVar[frozenset[str]] = frozenset({"eva_config", "qalora_group_size"})

    rank: int = Field(default=8, ge=1)
    """r, the rank of the change."""
    alpha: float = Field(default=16, gt=0)
    """Scale: the change is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the input of A, in training."""
    targets: Targets = "attention"
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""
    rank_stabilised: bool = False
    """rsLoRA (Kalajdzievski 2023): multiply by alpha / sqrt(rank) instead, so that larger ranks learn as fast."""
    dora: bool = False
    """DoRA (Liu et al. 2024, equation 5): the length of every row of the changed matrix learns by itself."""
    initialisation: Literal["default", "gaussian", "pissa", "olora", "eva"] = "default"
    """default, gaussian: A at random, B zero. pissa, olora: the largest singular components of W, or the first of its
    QR decomposition, less their first values. eva: A from the directions in which inputs vary most, B zero."""
    learning_rate_ratio: float = Field(default=1.0, gt=0)
    """LoRA+ (Hayou et al. 2024): B learns this many times faster than A; they recommend 16."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.dora and self._has_origin:
            raise ValueError(
                f"dora needs a change that starts from zero, which initialisation {self.initialisation!r} does not; "
                "use default, gaussian or eva with it"
            )
        return self

    @property
    def scale(self) -> float:
        """What the product B A is multiplied by."""
        return self.alpha / (sqrt(self.rank) if self.rank_stabilised else self.rank)

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rank_stabilised,
            use_dora=self.dora,
            init_lora_weights="gaussian" if self.initialisation == "gaussian" else True,
            target_modules=self.target_modules(trunk, roles, self.targets),
            fan_in_fan_out=is_transposed(trunk, roles),
        )
        inject(trunk, config)
        self._check_rank(trunk)
        if self._has_origin:
            _add_origin(trunk, config)
        else:
            one_product(tuner_layers(trunk))
        return trunk

    def prepare(self, trunk: torch.nn.Module, batches: Iterable[Batch], total: int) -> None:
        """First values from weights or data, here and not in `apply`, so that bundles load without this work."""
        layers = tuner_layers(trunk)
        if any(layer.lora_B[ADAPTER].weight.any() for layer in layers.values()):
            return  # resumed, or started from a bundle
        with torch.no_grad():
            if self.initialisation == "eva":
                for path, directions in explained(trunk, layers, batches, self.rank).items():
                    layers[path].lora_A[ADAPTER].weight.copy_(directions)
            elif self._has_origin:
                for layer in layers.values():
                    self._start_from_weights(layer)

    def state(self, trunk: torch.nn.Module) -> State:
        """With pissa and olora, the difference to the base: an ordinary LoRA of rank 2r, [A; A0] and [B, -B0].

        (W - s B0 A0) x + s B A x = W x + s [B, -B0] [A; A0] x, so there is never a residual matrix to keep.
        """
        state = super().state(trunk)
        if not self._has_origin:
            return state
        origin = {name: p.detach() for name, p in trunk.named_parameters() if f".{ORIGIN}." in name}
        return {
            name: torch.cat([tensor, origin[name.replace(f".{ADAPTER}.", f".{ORIGIN}.")]], dim=_rank_dim(name))
            for name, tensor in state.items()
        }

    def load(self, trunk: torch.nn.Module, state: State) -> None:
        if self._has_origin:
            halves = {name: tensor.tensor_split(2, dim=_rank_dim(name)) for name, tensor in state.items()}
            state = {name: learned for name, (learned, _) in halves.items()}
            state |= {name.replace(f".{ADAPTER}.", f".{ORIGIN}."): first for name, (_, first) in halves.items()}
        replace_parameters(trunk, state)

    def groups(self, trunk: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        """LoRA+: the rate of B is lambda times that of A. With pissa and olora no decay, which would undo the base."""
        learning = [(name, p) for name, p in trunk.named_parameters() if p.requires_grad]
        slow = [p for name, p in learning if ".lora_B." not in name]
        fast = [p for name, p in learning if ".lora_B." in name]
        decay = {"weight_decay": 0.0} if self._has_origin else {}
        rates = ((slow, learning_rate), (fast, learning_rate * self.learning_rate_ratio))
        return [{"params": parameters, "lr": rate, **decay} for parameters, rate in rates]

    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        changes = {}
        for path, tensors in by_layer(state).items():
            change = Change(down=tensors["lora_A"], up=self.scale * tensors["lora_B"])
            magnitude = tensors.get("lora_magnitude_vector")
            layer = trunk.get_submodule(path)
            changes[path] = change if magnitude is None else _of_length(layer, change, magnitude)
        return changes

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles:
        config = peft_config(trunk)
        config.init_lora_weights = True
        if self._has_origin:
            config.r, config.lora_alpha, config.use_rslora = 2 * self.rank, 2 * self.rank * self.scale, False
        return PeftFiles(config, peft_tensors(self.state(trunk)))

    @property
    def _has_origin(self) -> bool:
        return self.initialisation in ("pissa", "olora")

    def _check_rank(self, trunk: torch.nn.Module) -> None:
        """Refuse more directions than a matrix has. Raises Unsupported."""
        if self.initialisation in ("default", "gaussian"):
            return
        for path, layer in tuner_layers(trunk).items():
            most = min(layer.in_features, layer.out_features)
            if self.rank > most:
                raise Unsupported(
                    f"method.rank is {self.rank}, and initialisation {self.initialisation!r} finds at most {most} "
                    f"directions in {path}; use rank {most} or less, or initialisation default"
                )

    def _start_from_weights(self, layer: Any) -> None:
        weight = matrix(layer)
        a, b = (
            principal(weight, self.rank, self.scale)
            if self.initialisation == "pissa"
            else orthonormal(weight, self.rank)
        )
        layer.lora_A[ADAPTER].weight.copy_(a)
        layer.lora_B[ADAPTER].weight.copy_(b)
        layer.lora_A[ORIGIN].weight.copy_(a)
        layer.lora_B[ORIGIN].weight.copy_(-b)


def _add_origin(trunk: torch.nn.Module, config: Any) -> None:
    """A second change of the same rank beside the first, frozen and zero for now; the matrices stay as they are."""
    config = copy(config)
    config.lora_dropout = 0.0
    for layer in tuner_layers(trunk).values():
        layer.update_layer(ORIGIN, config.r, lora_alpha=config.lora_alpha, config=config)
        layer.set_adapter([ADAPTER, ORIGIN])
        for part in (layer.lora_A[ORIGIN], layer.lora_B[ORIGIN]):
            part.float().requires_grad_(False)
            part.weight.zero_()


def _rank_dim(name: str) -> int:
    return 0 if ".lora_A." in name else 1


def _of_length(layer: torch.nn.Module, change: Change, magnitude: torch.Tensor) -> Change:
    """DoRA: m (W + change) / |W + change|, rows of length m; the bias stays outside."""
    assert change.down is not None and change.up is not None
    weight = matrix(layer)
    changed = weight + change.up.to(weight) @ change.down.to(weight)
    gain = magnitude.to(weight) / torch.linalg.vector_norm(changed, dim=1)
    bias = getattr(layer, "bias", None)
    return Change(change.down, change.up, gain=gain, shift=None if bias is None else (1 - gain) * bias.detach())
