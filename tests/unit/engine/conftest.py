"""A toy in an assembly's place: two linear layers, and a method that counts what the engine asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch
from adaptune.core.head import LossSum
from adaptune.core.method import Method
from adaptune.heads import HEADS


class Toy(Method):
    """Learns the whole trunk; notes what `after_step` sees."""

    paper: ClassVar[str] = ""
    learning_rate: ClassVar[float] = 0.1
    orthogonality: float = 0.0
    settles_after: int = 0

    def apply(self, trunk: nn.Module, roles: Roles) -> nn.Module:
        return trunk

    def penalty(self, trunk: nn.Module) -> Tensor | None:
        return self.orthogonality * trunk.weight.square().sum() if self.orthogonality else None

    def settled(self, trunk: nn.Module) -> bool:
        return len(trunk.seen) >= self.settles_after

    def after_step(self, trunk: nn.Module, step: int, total: int) -> None:
        trunk.seen.append((step, total, trunk.weight.grad is not None))


class Trunk(nn.Linear):
    """A linear layer with dropout that notes what type it computed in."""

    def __init__(self, dropout: float) -> None:
        super().__init__(4, 4)
        self.dropout = dropout
        self.seen: list[tuple[int, int, bool]] = []
        self.types: list[torch.dtype] = []

    def forward(self, vectors: Tensor) -> Tensor:
        hidden = super().forward(vectors)
        self.types.append(hidden.dtype)
        return nn.functional.dropout(hidden.float(), self.dropout, self.training)


class ToyAssembly(nn.Module):
    """Classifies the mean of given embeddings."""

    def __init__(self, method: Method, *, dropout: float, width: int, depth: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.method, self.trunk, self.layer = method, Trunk(dropout), nn.Linear(4, 2)
        self.head = HEADS.make({"name": "classify", "pooling": "mean"})
        self.backbone = SimpleNamespace(hidden_size=width, depth=depth)

    @property
    def parts(self) -> tuple[ToyAssembly, ...]:
        return (self,)

    def forward(self, batch: Batch) -> LossSum:
        assert batch.labels is not None
        features = self.head.features(self.layer, self.hidden(batch), batch)[: len(batch.labels)]
        total = nn.functional.cross_entropy(self.layer(features), batch.labels, reduction="sum")
        return LossSum(total, torch.tensor(len(batch.labels)))

    def hidden(self, batch: Batch) -> Tensor:
        assert batch.embeddings is not None
        hidden: Tensor = self.trunk(batch.embeddings)
        return hidden

    def remembering(self) -> AbstractContextManager[None]:
        return nullcontext()  # embeddings are given, which are always computed

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.load_state_dict(state)


class ToyBatches:
    """The same batches in every epoch."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return iter(self.batches[skip:])

    def per_epoch(self) -> int:
        return len(self.batches)


def toy_batch(first: int, rows: int, seed: int = 0, **changes: Any) -> Batch:
    """Rows whose label is the sign of the first number."""
    embeddings = torch.randn(rows, 3, 4, generator=torch.Generator().manual_seed(seed + first))
    fields = {
        "rows": torch.arange(first, first + rows),
        "mask": torch.ones(rows, 3, dtype=torch.long),
        "embeddings": embeddings,
        "labels": (embeddings.mean(dim=1)[:, 0] > 0).long(),
    }
    return Batch(**{**fields, **changes})


@pytest.fixture
def toy() -> Callable[..., ToyAssembly]:
    """toy(orthogonality=0.1, dropout=0.2); its learning rates are those of a model of the width 768 and six layers."""

    def make(*, dropout: float = 0.0, width: int = 768, depth: int = 6, **settings: Any) -> ToyAssembly:
        return ToyAssembly(Toy(**settings), dropout=dropout, width=width, depth=depth)

    Toy.name = "toy"
    return make


@pytest.fixture
def toy_batches() -> Callable[..., ToyBatches]:
    """toy_batches(4, 4, 2): batches of so many rows, numbered on."""

    def make(*sizes: int) -> ToyBatches:
        return ToyBatches([toy_batch(sum(sizes[:place]), size) for place, size in enumerate(sizes)])

    return make


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """batch(first, rows, labels=...)"""
    return toy_batch
