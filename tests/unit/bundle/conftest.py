"""Assemblies with weights as training would leave them: everything that learns is away from its start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.bundle.manifest import Manifest
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels, Scores
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS

LABELS = Labels(("bad", "good", "neither"))
TAGS = Labels(("O", "B-place", "I-place"))
Trained = Callable[..., Assembly]
Saved = Callable[..., Path]


@pytest.fixture(scope="session")
def bert(tiny_bert: Path) -> Backbone:
    return load_backbone(ModelConfig(name=str(tiny_bert)))


@pytest.fixture
def trained(bert: Backbone) -> Trained:
    """trained("lora", "classify", LABELS, rank=4): an assembly whose method and head have learned something."""

    def make(method: str, head: str = "classify", labels: Labels = LABELS, **settings: Any) -> Assembly:
        on = settings.pop("backbone", bert)
        of_head = {"name": head} | ({"pooling": settings.pop("pooling")} if "pooling" in settings else {})
        return moved(Assembly(on, METHODS.make({"name": method, **settings}), HEADS.make(of_head), labels, seed=1))

    return make


@pytest.fixture
def saved(trained: Trained, tmp_path: Path) -> Saved:
    """saved("lora"): the folder of a bundle."""

    def make(method: str, head: str = "classify", labels: Labels = LABELS, **settings: Any) -> Path:
        folder = tmp_path / settings.pop("name", "bundle-under-test")
        save(folder, trained(method, head, labels, **settings))
        return folder

    return make


def save(folder: Path, assembly: Assembly, **more: Any) -> Manifest:
    """Save with everyday settings."""
    tasks = {"tag": "tag", "crf": "tag", "relate": "relate"}
    task = TASKS.make({"name": tasks.get(assembly.head.name, "classify")})
    settings: dict[str, Any] = {
        "columns": {"text": "review"},
        "max_length": 64,
        "scores": {"test": Scores({"accuracy": 0.5})},
    }
    return save_bundle(folder, assembly, task, **settings | more)


@torch.no_grad()
def moved(assembly: Assembly) -> Assembly:
    """Every weight that learns moved by seeded noise, large enough that answers show it."""
    generator = torch.Generator().manual_seed(7)
    for parameter in assembly.parameters():
        if parameter.requires_grad:
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return assembly
