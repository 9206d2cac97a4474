"""What systems that train nothing in the model answer for test rows: a comparison's yardsticks. Knows no verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptune.bundle.answers import encoded_for
from adaptune.core.batch import Batch
from adaptune.core.head import LogitHead
from adaptune.core.log import notice
from adaptune.core.types import Answer, Example, Labels, OfSequence, Row
from adaptune.core.types import Sequence as Text
from adaptune.data.batches import collate
from adaptune.data.samples import BASELINES
from adaptune.engine.warm_start import collect
from adaptune.models.assembly import Assembly
from adaptune.run import Kitchen

MOST_ITEMS = 20_000
"""Labelled items of training rows that neighbours are looked for among, spread evenly over more."""
SURE = 20.0
"""What a cosine is multiplied by to become a logit: probabilities of baselines are not reported."""

Featured = Sequence[tuple[Batch, Tensor]]
"""Batches, each with the (N, F) features of its labelled items, of length 1."""


def baseline_answers(kitchen: Kitchen) -> dict[str, list[Any]]:
    """What each answers for the test rows, by name; `kitchen`: one whose model is as it was before training.

    Beside the task's own plain models: nearest_neighbour, the label of the training item whose frozen features have the
    largest cosine; label_names, the label whose name, read as a text, is nearest (no training row is read: zero-shot);
    unadapted, what a model that answers in words said before training.
    """
    recipe, test = kitchen.recipe, kitchen.examples("test")
    found: dict[str, list[Any]] = {}
    if kitchen.examples("train"):
        some = kitchen.sample(BASELINES, recipe.evaluate.plain_rows).of(kitchen.examples("train"))
        found = {name: list(answers) for name, answers in recipe.task.baselines(some, test).items()}
    if kitchen.assembly.head.reads_words:
        answers = {"unadapted": kitchen.predict("test")}
    else:
        answers = dict(_of_features(kitchen))
    return found | {name: [answer.value for answer in of] for name, of in answers.items()}


def _of_features(kitchen: Kitchen) -> Iterator[tuple[str, list[Answer]]]:
    assembly = kitchen.assembly
    head, labels = assembly.head, assembly.labels
    linear = head.linear(assembly.layer)
    if not isinstance(head, LogitHead) or not head.gives_labels(labels):
        return
    if linear is None or linear.out_features != len(labels):
        return
    assembly.eval()
    test = _featured(assembly, kitchen.in_order("test"))
    rows = len(kitchen.examples("test"))
    if kitchen.examples("train"):
        yield "nearest_neighbour", _nearest(assembly, head, kitchen.in_order("train"), test, rows)
    if head.target is OfSequence and head.plain and all(any(map(str.isalpha, name)) for name in labels.names):
        yield "label_names", _by_names(assembly, head, test, rows)


@torch.inference_mode()
def _featured(assembly: Assembly, batches: Iterable[Batch]) -> Featured:
    device = next(assembly.parameters()).device
    found = []
    for batch in batches:
        placed = batch.to(device)
        features = assembly.features(placed)
        assert features is not None, "a head with a linear layer over features gives these"
        found.append((placed, nn.functional.normalize(features, dim=1)))
    return found


@torch.inference_mode()
def _nearest(assembly: Assembly, head: LogitHead, train: Iterable[Batch], test: Featured, rows: int) -> list[Answer]:
    features, targets = collect(assembly, train)
    if len(features) > MOST_ITEMS:
        notice(f"neighbours are looked for among {MOST_ITEMS:,} of {len(features):,} labelled items")
        chosen = torch.from_numpy(np.linspace(0, len(features) - 1, MOST_ITEMS).astype(np.int64)).to(features.device)
        features, targets = features[chosen], targets[chosen]
    known = nn.functional.normalize(features, dim=1)
    logits = [_as_logits(targets[(own @ known.T).argmax(dim=1)], len(assembly.labels)) for _, own in test]
    return _read(head, test, logits, assembly.labels, rows)


@torch.inference_mode()
def _by_names(assembly: Assembly, head: LogitHead, test: Featured, rows: int) -> list[Answer]:
    texts = [name.replace("_", " ") for name in assembly.labels.names]
    examples = [Example(Row("labels", place + 1, {}), (Text(text),)) for place, text in enumerate(texts)]
    encoded = encoded_for(assembly, examples, max_length=assembly.max_length)
    firsts = {one.row: one for one in reversed(encoded)}  # of a long name the first window
    pad = assembly.backbone.tokenizer.pad_token_id
    [(_, names)] = _featured(assembly, [collate([firsts[row] for row in range(len(texts))], pad)])
    return _read(head, test, [SURE * own @ names.T for _, own in test], assembly.labels, rows)


def _as_logits(targets: Tensor, classes: int) -> Tensor:
    """(N,) labels or (N, C) 0 and 1 -> (N, C) logits that say the same."""
    chosen = nn.functional.one_hot(targets, classes) if targets.dim() == 1 else targets
    return SURE * (2 * chosen.float() - 1)


def _read(head: LogitHead, test: Featured, logits: Sequence[Tensor], labels: Labels, rows: int) -> list[Answer]:
    answers: dict[int, Answer] = {}
    for (batch, _), of in zip(test, logits, strict=True):
        answers |= head.read(of, batch, labels)
    return [answers[row] for row in range(rows)]
