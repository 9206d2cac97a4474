"""Words that rows speak for: found by the model's own predictions on few training rows. Knows no templates."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator

from adaptune.core.approach import Approach, Trial
from adaptune.core.lazy import torch
from adaptune.core.types import Example

A_LABEL = 16
"""Training rows that are looked at of each label."""
LIKELY = 1000
"""Words that come into question: those that the model finds likeliest there, on average over labels."""
SIZES = (1, 3)
"""Words a label, each number tried."""

Verbalizer = dict[str, tuple[str, ...]]


def spoken_for(approach: Approach, trial: Trial) -> Iterator[Verbalizer]:
    """A verbalizer of each size; the best words by PETAL's likelihood ratio (Schick et al., 2020, section 3.2).

    A word's score for a label is its mean log-probability on rows of the label less that on all other rows; a word
    stands for the label alone for which its score is highest.
    """
    rows = sorted(_some(trial).items())
    words = trial.vocabulary()
    means = torch.stack([trial.next_words(approach, of).mean(dim=0) for _, of in rows])
    known = torch.tensor([word is not None for word in words], device=means.device)
    likely = torch.zeros_like(known)
    overall = means.mean(dim=0).masked_fill(~known, float("-inf"))
    likely[overall.topk(min(LIKELY, int(known.sum()))).indices] = True
    others = (means.sum(dim=0) - means) / max(1, len(means) - 1)
    ratio = (means - others).masked_fill(~likely, float("-inf"))
    owner = ratio.argmax(dim=0)
    for size in SIZES:
        found: Verbalizer = {}
        for place, (label, _) in enumerate(rows):
            own = ratio[place].masked_fill(owner != place, float("-inf"))
            best = own.topk(size)
            pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
            found[label] = tuple(str(words[token]) for value, token in pairs if value > float("-inf"))
        if all(found.values()):
            yield {label: found[label] for label in trial.labels.names}


def _some(trial: Trial) -> dict[str, list[Example]]:
    """A few training rows of every label, drawn by the seed."""
    examples = trial.examples("train")
    order = list(range(len(examples)))
    random.Random(trial.seed).shuffle(order)
    found: dict[str, list[Example]] = defaultdict(list)
    for place in order:
        example = examples[place]
        if example.expected is not None and len(found[example.expected]) < A_LABEL:
            found[example.expected].append(example)
    return found
