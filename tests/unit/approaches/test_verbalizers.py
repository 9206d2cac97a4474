"""Words that rows speak for, against PETAL's likelihood ratio counted word by word."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
import torch

from adaptune.approaches._verbalizers import spoken_for
from adaptune.approaches.finetune import Finetune
from adaptune.core.types import Example, Labels, OfSequence, Row, Sequence

WORDS = ("good", "fine", None, "bad", "poor", "late", "train", None, "meh")
LOGS = np.log(np.random.default_rng(2).dirichlet(np.ones(len(WORDS)), size=12)).astype(np.float32)
"""Of each row, of each word."""
ANSWERS = ("neg", "pos", "mid") * 4


class _Planted:
    """A `Trial` whose model says what is planted."""

    labels = Labels(("mid", "neg", "pos"))
    seed = 1

    def examples(self, part: str) -> list[Example]:
        assert part == "train", "validation rows judge words, and find none"
        return [
            Example(Row("rows", number, {}), (Sequence("a", None, OfSequence(answer)),), answer)
            for number, answer in enumerate(ANSWERS)
        ]

    def next_words(self, approach: object, examples: Several[Example]) -> torch.Tensor:
        return torch.from_numpy(LOGS[[example.row.number for example in examples]])

    def vocabulary(self) -> Several[str | None]:
        return WORDS


def test_a_label_is_said_by_words_that_its_rows_make_likelier_than_others_do() -> None:
    score: dict[str, dict[str, float]] = {}
    for label in ("mid", "neg", "pos"):
        own = [place for place, answer in enumerate(ANSWERS) if answer == label]
        of_others = [[place for place, answer in enumerate(ANSWERS) if answer == one] for one in {*ANSWERS} - {label}]
        score[label] = {}
        for place, word in enumerate(WORDS):
            if word is not None:
                others = np.mean([LOGS[rows, place].mean() for rows in of_others])
                score[label][word] = float(LOGS[own, place].mean() - others)
    best = {word: max(score, key=lambda label: score[label][word]) for word in score["mid"]}
    found = list(spoken_for(Finetune(), _Planted()))  # type: ignore[arg-type]  # as much as it asks
    assert len(found) == 2
    for size, verbalizer in zip((1, 3), found, strict=True):
        assert verbalizer == {
            label: tuple(sorted((w for w in of if best[w] == label), key=lambda w: -of[w])[:size])
            for label, of in score.items()
        }
