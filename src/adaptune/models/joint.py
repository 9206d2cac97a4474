"""Several tasks on one adapted trunk: each an assembly with a layer of its own. Knows no data and no mixing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from adaptune.core.approach import Approach
from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum
from adaptune.core.method import Method, learning
from adaptune.core.types import Labels
from adaptune.models.assembly import Assembly
from adaptune.models.quantise import numbers


@dataclass(frozen=True, slots=True)
class Output:
    """What one task adds to the trunk that all share."""

    head: Head
    labels: Labels
    approach: Approach | None = None
    """None: rows are put to the model as they are."""


class Joint(nn.Module):
    """One trunk that one method changed, and for each task an assembly on it.

    Whatever moves the trunk moves it for all of them; a batch is of one task, and goes to that task's layer alone.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        outputs: Mapping[str, Output],
        *,
        seed: int,
        dropout: bool = False,
    ) -> None:
        """`seed` decides the method's initial weights, and counted on from it each layer's. Raises Unsupported."""
        super().__init__()
        self.backbone, self.method, self.names = backbone, method, tuple(outputs)
        first: Assembly | None = None
        assemblies = []
        for place, output in enumerate(outputs.values()):
            assemblies.append(
                Assembly(
                    backbone,
                    method,
                    output.head,
                    output.labels,
                    seed=seed + place,
                    dropout=dropout,
                    approach=output.approach,
                    beside=first,
                )
            )
            first = assemblies[0]
        self._assemblies = nn.ModuleList(assemblies)

    @property
    def parts(self) -> tuple[Assembly, ...]:
        """The assemblies in the order of their tasks."""
        return tuple(part for part in self._assemblies if isinstance(part, Assembly))

    @property
    def of(self) -> dict[str, Assembly]:
        """The assemblies by the names of their tasks."""
        return dict(zip(self.names, self.parts, strict=True))

    @property
    def trunk(self) -> nn.Module:
        """The one that all share."""
        return self.parts[0].trunk

    @property
    def layer(self) -> nn.ModuleList:
        """Every task's."""
        return nn.ModuleList(part.layer for part in self.parts)

    @property
    def max_length(self) -> int:
        """Tokens of a text that fit beside the positions that the method adds."""
        return self.parts[0].max_length

    @property
    def recomputes(self) -> bool:
        """As an assembly's, for all of them."""
        return self.parts[0].recomputes

    @recomputes.setter
    def recomputes(self, value: bool) -> None:
        for part in self.parts:
            part.recomputes = value

    def forward(self, batch: Batch) -> LossSum:
        """The loss of the batch's task, as sum and count."""
        assert batch.task is not None, "a batch of several tasks' training names its own"
        loss: LossSum = self.of[batch.task](batch)
        return loss

    def state(self) -> dict[str, Tensor]:
        """Everything that was learned: `method.` tensors, and each task's as `head.NAME.`, by name."""
        learned = {f"method.{name}": tensor for name, tensor in self.method.state(self.trunk).items()}
        for name, part in self.of.items():
            learned |= {f"head.{name}.{key}": tensor.detach() for key, tensor in part.layer.state_dict().items()}
        return learned

    def load(self, state: dict[str, Tensor]) -> None:
        """Put a state back; raises KeyError, RuntimeError or ValueError for tensors that do not fit."""
        self.method.load(self.trunk, _below("method.", state))
        for name, part in self.of.items():
            part.layer.load_state_dict(_below(f"head.{name}.", state))

    def count_parameters(self) -> tuple[int, int]:
        """How many numbers learn, and how many there are."""
        own = {parameter.data_ptr() for parameter in self.trunk.parameters()}
        added = [p for p in self.layer.parameters() if p.data_ptr() not in own]
        return learning(self.parameters()), numbers(self.trunk) + sum(p.numel() for p in added)


Learner = Assembly | Joint
"""What is trained: of one task, or of several together."""


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
