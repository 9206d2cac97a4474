"""What a frozen model's head would read of labelled rows: features and targets, nothing trained. Knows no folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptune.bundle.answers import encoder_of
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead
from adaptune.core.log import Progress
from adaptune.core.task import Task
from adaptune.core.types import Example, Labels
from adaptune.data.batches import by_rows, collate
from adaptune.evaluate.predict import budget_of
from adaptune.heads import HEADS
from adaptune.methods.head_only import HeadOnly
from adaptune.models.assembly import Assembly
from adaptune.models.load import load_backbone
from adaptune.recipe import Recipe

AT_ONCE = 1024
"""Rows that are tokenised together."""


@dataclass(frozen=True, slots=True)
class Items:
    """Every labelled item of some rows: a row, or of rows whose words are tagged a word."""

    features: Tensor
    """(N, F)"""
    targets: Tensor
    """(N,) labels, or (N, C) of 0 and 1 where a row has several."""
    rows: NDArray[np.int64]
    """(N,) index of each item's row, in order."""
    words: NDArray[np.int64] | None
    """(N,) which word of its row; None where rows are labelled whole."""
    link: Literal["softmax", "sigmoid"]
    """Whether one of an item's labels is right, or each is by itself."""


def frozen(recipe: Recipe, task: Task, labels: Labels) -> Assembly:
    """The recipe's model as it comes under the head that the task has by itself.

    Raises Unsupported where that is no linear layer over labels.
    """
    own = recipe.head.name == task.default_head
    head = (recipe.head if own else HEADS.make({"name": task.default_head})).for_task(task)
    backbone = load_backbone(recipe.model, words=head.reads_words)
    assembly = Assembly(backbone, HeadOnly(), head, labels, seed=recipe.seed).eval()
    linear = assembly.head.linear(assembly.layer)
    if not isinstance(assembly.head, LogitHead) or linear is None or linear.out_features != len(labels):
        raise Unsupported(f"head {head.name!r} of task {task.name!r} gives no probability of every label")
    return assembly


@torch.inference_mode()
def read_items(assembly: Assembly, examples: Sequence[Example]) -> Items:
    """The items of labelled examples, those of a row together, in the order of rows and words."""
    head, encoder = assembly.head, encoder_of(assembly)
    assert isinstance(head, LogitHead), "a frozen model has one"
    device, pad = next(assembly.parameters()).device, assembly.backbone.tokenizer.pad_token_id
    features, targets, places = [], [], []
    with Progress("read", len(examples), unit="rows") as progress:
        for start in range(0, len(examples), AT_ONCE):
            encoded = encoder(examples[start : start + AT_ONCE])
            for indices in by_rows(encoded, budget_of(assembly, None)):
                batch = collate([encoded[index] for index in indices], pad).to(device)
                found = assembly.features(batch)
                assert found is not None, "a head with a linear layer reads features"
                features.append(found.cpu())
                targets.append(head.targets(batch).cpu())
                places.append(_places(batch, of_words=head.labels_items) + np.array([[start], [0]]))
            progress.advance(len(examples[start : start + AT_ONCE]))
    rows, words = np.concatenate(places, axis=1)
    order = np.lexsort((words, rows))
    place = torch.from_numpy(order)
    return Items(
        torch.cat(features)[place],
        torch.cat(targets)[place],
        rows[order],
        words[order] if head.labels_items else None,
        head.link,
    )


def _places(batch: Batch, *, of_words: bool) -> NDArray[np.int64]:
    """(2, N) row and word of every item of a batch."""
    if not of_words:
        rows = torch.unique_consecutive(batch.rows).cpu().numpy()
        return np.stack([rows, np.zeros_like(rows)])
    if batch.sequence_of is None or batch.items is None:  # no word has a token
        return np.zeros((2, 0), dtype=np.int64)
    return np.stack([batch.rows[batch.sequence_of].cpu().numpy(), batch.items.cpu().numpy()])
