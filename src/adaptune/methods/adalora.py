"""AdaLoRA on peft: low-rank changes in the form of a singular value decomposition, their ranks on a falling budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch
from adaptune.core.lazy import peft, torch
from adaptune.core.method import PeftFiles, State
from adaptune.core.space import Among, Values
from adaptune.methods._peft import (
    ADAPTER,
    OnPeft,
    Targets,
    by_layer,
    inject,
    is_transposed,
    peft_config,
    peft_tensors,
    tuner_layers,
)
from adaptune.methods._stacked import Change

PARTS = ("lora_A", "lora_E", "lora_B")
"""peft's names of Q, the diagonal of Lambda, and P."""


@dataclass(slots=True)
class Budget:
    """What the allocation remembers between steps, by tensor or path of the matrix."""

    sensitivity: State = field(default_factory=dict)
    """I-bar: running means of |weight x gradient|."""
    uncertainty: State = field(default_factory=dict)
    """U-bar: running means of the distance of |weight x gradient| from I-bar."""
    kept: State = field(default_factory=dict)
    """(initial_rank, 1) whether a component stays, from the last allocation on."""


class Adalora(OnPeft):
    """Beside each chosen matrix W learns (alpha / initial_rank) P Lambda Q, less and less of whose Lambda is not zero.

    Equations and letters are those of the paper. All matrices share one budget: some keep more components than others.
    """

    paper: ClassVar[str] = "Zhang et al. (2023), Adaptive budget allocation for parameter-efficient fine-tuning, ICLR"
    learning_rate: ClassVar[float] = 2e-3
    searched: ClassVar[Mapping[str, Values]] = {"rank": Among((2, 4, 8)), "targets": Among(("attention", "all"))}
    peft_type: ClassVar[str | None] = "ADALORA"
    peft_fields: ClassVar[Mapping[str, str]] = {
        "rank": "target_r",
        "initial_rank": "init_r",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "interval": "deltaT",
        "orthogonality": "orth_reg_weight",
        "sensitivity_decay": "beta1",
        "uncertainty_decay": "beta2",
    }
    peft_silent: ClassVar[frozenset[str]] = frozenset({"r", "rank_pattern", "tinit", "tfinal", "total_step"})

    rank: int = Field(default=8, ge=1)
    """The mean rank of a change when training ends."""
    initial_rank: int = Field(default=12, ge=1)
    """The rank of every change when training starts; the paper takes 1.5 times the final one."""
    alpha: float = Field(default=16, gt=0)
    """Scale: the change is multiplied by alpha / initial_rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the input of Q, in training."""
    targets: Targets = "attention"
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps before the budget starts to fall."""
    final: float = Field(default=0.3, ge=0, lt=1)
    """Share of the steps that the ranks, once fallen, are trained further."""
    interval: int = Field(default=10, ge=1)
    """Steps from one allocation to the next, Delta T, while the budget falls."""
    orthogonality: float = Field(default=0.1, ge=0)
    """gamma, the weight of the penalty that keeps P and Q orthogonal."""
    sensitivity_decay: float = Field(default=0.85, gt=0, lt=1)
    """beta 1, of the running mean of a weight's importance."""
    uncertainty_decay: float = Field(default=0.85, gt=0, lt=1)
    """beta 2, of the running mean of its uncertainty."""
    learning_rate_ratio: float = Field(default=8.0, ge=1)
    """The learning rate of Lambda divided by that of P and Q, which stay orthonormal: a change is as large as Lambda,
    which starts at zero (WNUT17, entity F1 on validation rows after one epoch of two: 0.42 at 1 with twice the rate,
    0.52 at 8)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.initial_rank < self.rank:
            raise ValueError(f"initial_rank is {self.initial_rank}, expected at least the final rank, {self.rank}")
        if self.warmup + self.final >= 1:
            raise ValueError(
                f"warmup {self.warmup:g} and final {self.final:g} leave no steps in which the budget falls; "
                "their sum must be less than 1"
            )
        return self

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config = peft.AdaLoraConfig(
            init_r=self.initial_rank,
            target_r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            beta1=self.sensitivity_decay,
            beta2=self.uncertainty_decay,
            deltaT=self.interval,
            orth_reg_weight=self.orthogonality,
            total_step=2,  # peft's own allocator is not used: it fails while the budget is whole
            target_modules=self.target_modules(trunk, roles, self.targets),
            fan_in_fan_out=is_transposed(trunk, roles),
        )
        inject(trunk, config)
        for layer in tuner_layers(trunk).values():  # without a penalty to begin with; peft draws small normal numbers
            torch.nn.init.orthogonal_(layer.lora_A[ADAPTER])
            torch.nn.init.orthogonal_(layer.lora_B[ADAPTER])
        trunk.budget = Budget()  # type: ignore[assignment]  # no tensor: it lives as long as the trunk
        return trunk

    def prepare(self, trunk: torch.nn.Module, batches: Iterable[Batch], total: int) -> None:
        """Lets peft's configuration, which a bundle keeps, tell the true number of steps."""
        settings: Any = trunk.peft_config
        settings[ADAPTER].total_step = total

    def groups(self, trunk: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        learning = [(name, p) for name, p in trunk.named_parameters() if p.requires_grad]
        bases = [p for name, p in learning if ".lora_E." not in name]
        values = [p for name, p in learning if ".lora_E." in name]
        return [
            {"params": bases, "lr": learning_rate},
            {"params": values, "lr": learning_rate * self.learning_rate_ratio},
        ]

    def penalty(self, trunk: torch.nn.Module) -> torch.Tensor | None:
        """() gamma times the mean over matrices of R(P, Q) = |P^T P - I|^2 + |Q Q^T - I|^2, equation 4.

        The paper sums over the matrices; with the mean, as in the authors' code, gamma does not depend on their number.
        """
        if self.orthogonality == 0:
            return None
        layers = tuner_layers(trunk).values()
        found = [_distance(layer.lora_B[ADAPTER].T) + _distance(layer.lora_A[ADAPTER]) for layer in layers]
        return self.orthogonality * torch.stack(found).mean()

    def after_step(self, trunk: torch.nn.Module, step: int, total: int) -> None:
        budget: Any = trunk.budget
        layers = tuner_layers(trunk)
        start, end = self.phases(total)
        with torch.no_grad():
            if step <= end and _finite(layers):
                for path, layer in layers.items():
                    self._observe(budget, path, layer)
            allocates = step == end or (start < step < end and (step - start) % self.interval == 0)
            if allocates:
                budget.kept = _most_important(budget, layers, self.components(step, total, len(layers)))
            if step == end:
                budget.sensitivity, budget.uncertainty = {}, {}
            if allocates or step > end:
                for path, layer in layers.items():
                    layer.lora_E[ADAPTER].masked_fill_(~budget.kept[path], 0.0)

    def settled(self, trunk: torch.nn.Module) -> bool:
        """Not while more components are in use than there may be in the end; at the start there are none."""
        layers = tuner_layers(trunk).values()
        return sum(int(layer.lora_E[ADAPTER].count_nonzero()) for layer in layers) <= self.rank * len(layers)

    def phases(self, total: int) -> tuple[int, int]:
        """The last step with the whole budget, and the step at which it has fallen to the final one."""
        return round(self.warmup * total), total - round(self.final * total)

    def components(self, step: int, total: int, matrices: int) -> int:
        """b(t), how many components all matrices together may keep after a step: equation 12."""
        start, end = self.phases(total)
        first, last = self.initial_rank * matrices, self.rank * matrices
        if step >= end:
            return last
        if step <= start:
            return first
        return last + round((first - last) * (1 - (step - start) / (end - start)) ** 3)

    def memory(self, trunk: torch.nn.Module) -> State:
        budget: Any = trunk.budget
        return {f"{part}.{name}": t for part in Budget.__slots__ for name, t in getattr(budget, part).items()}

    def recall(self, trunk: torch.nn.Module, memory: State) -> None:
        budget = Budget()
        device = next(trunk.parameters()).device
        for name, tensor in memory.items():
            part, _, rest = name.partition(".")
            getattr(budget, part)[rest] = tensor.to(device)
        trunk.budget = budget  # type: ignore[assignment]  # no tensor: it lives as long as the trunk

    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        changes = {}
        for path, tensors in by_layer(state).items():
            kept = tensors["lora_E"].flatten() != 0
            down = (tensors["lora_E"] * tensors["lora_A"])[kept]
            changes[path] = Change(down=down, up=self._scale * tensors["lora_B"][:, kept])
        return changes

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles:
        """With all components, the pruned ones as zeros: peft then needs no pattern of ranks."""
        return PeftFiles(peft_config(trunk), peft_tensors(self.state(trunk)))

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        """peft leaves pruned components out of its files and keeps the scale; here they stand as zeros at the end."""
        whole = {}
        for name, tensor in tensors.items():
            inner = ".lora_B" in name
            missing = max(0, self.initial_rank - tensor.shape[1 if inner else 0])
            whole[name] = torch.nn.functional.pad(tensor, (0, missing) if inner else (0, 0, 0, missing))
        return super().from_peft(trunk, settings, whole)

    @property
    def _scale(self) -> float:
        # The small number is peft's, which guards layers without any component.
        return self.alpha / (self.initial_rank + 1e-5)

    def _observe(self, budget: Budget, path: str, layer: Any) -> None:
        """Equations 8 to 10: importance I = |w dL/dw|, its running mean I-bar, and its uncertainty U-bar."""
        beta1, beta2 = self.sensitivity_decay, self.uncertainty_decay
        for part in PARTS:
            weight, name = getattr(layer, part)[ADAPTER], f"{path}.{part}"
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            importance = (weight * gradient).abs()
            nothing = torch.zeros_like(weight)
            mean = beta1 * budget.sensitivity.get(name, nothing) + (1 - beta1) * importance
            distance = (importance - mean).abs()
            budget.sensitivity[name] = mean
            budget.uncertainty[name] = beta2 * budget.uncertainty.get(name, nothing) + (1 - beta2) * distance


def _finite(layers: dict[str, Any]) -> bool:
    """False for a step that fp16 skipped because its gradients overflowed."""
    gradients = [getattr(layer, part)[ADAPTER].grad for layer in layers.values() for part in PARTS]
    return all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)


def _most_important(budget: Budget, layers: dict[str, Any], count: int) -> State:
    """By path, (initial_rank, 1) whether a component is among the `count` most important of all matrices.

    Equation 7: S = s(lambda) + means of s over its column of P and its row of Q. Equation 11: s = I-bar U-bar.
    """

    def score(path: str, part: str) -> torch.Tensor:
        nothing = torch.zeros_like(getattr(layers[path], part)[ADAPTER])
        mean, uncertainty = (kept.get(f"{path}.{part}", nothing) for kept in (budget.sensitivity, budget.uncertainty))
        return mean * uncertainty

    scores = {
        path: score(path, "lora_E").flatten() + score(path, "lora_A").mean(dim=1) + score(path, "lora_B").mean(dim=0)
        for path in layers
    }
    everywhere = torch.cat(list(scores.values()))
    kept = torch.zeros_like(everywhere, dtype=torch.bool)
    kept[everywhere.topk(count).indices] = True
    return dict(zip(scores, kept.reshape(len(scores), -1, 1), strict=True))


def _distance(rows: torch.Tensor) -> torch.Tensor:
    """(R, F) -> () the squared distance of R rows from orthonormal ones."""
    return (rows @ rows.T - torch.eye(len(rows), device=rows.device)).square().sum()
