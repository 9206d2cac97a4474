"""How near written texts are to their references: BLEU, chrF, ROUGE, all from 0 to 1. Knows no rows.

A reference is one text, or several of which any will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from adaptune.core.lazy import rouge_scorer, sacrebleu
from adaptune.core.types import Array
from adaptune.core.words import split, unspaced

Reference = str | tuple[str, ...]
Tokenizer = Literal["auto", "13a", "intl", "zh", "char", "none"]

ORDERS = 4
"""BLEU counts runs of one to four words."""
ROUGES = ("rouge1", "rouge2", "rougeL")


def references(expected: Reference) -> list[str]:
    """Every text that would do."""
    return [expected] if isinstance(expected, str) else list(expected)


def bleu_counts(written: Sequence[str], expected: Sequence[Reference], tokenizer: Tokenizer) -> Array:
    """(R, 10) lengths of text and nearest reference, then for each order the runs that are right, and all runs."""
    metric = sacrebleu.BLEU(tokenize=_tokenizer_for(expected, tokenizer), effective_order=True)
    rows = []
    for text, wanted in zip(written, expected, strict=True):
        found = metric.sentence_score(text, references(wanted))
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return np.array(rows, dtype=np.int64).reshape(-1, 2 + 2 * ORDERS)


def bleu_of(totals: Array) -> Array:
    """(..., 10) sums of counts -> (...) BLEU of a corpus, smoothed as sacreBLEU does: Papineni et al. (2002), 2.3."""
    length, reference = totals[..., 0], totals[..., 1]
    right, runs = totals[..., 2 : 2 + ORDERS], totals[..., 2 + ORDERS :]
    # The k-th order without a right run counts as 1 / 2^k of one.
    missing = np.cumsum(right == 0, axis=-1)
    smoothed = np.where(right == 0, 0.5**missing, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.log(smoothed / runs).mean(axis=-1)
        penalty = np.minimum(0.0, 1 - reference / length)
        value = np.exp(penalty + mean)
    return np.where((right == 0).all(axis=-1) | (runs == 0).any(axis=-1), 0.0, value)


def chrf(written: Sequence[str], expected: Sequence[Reference]) -> float:
    """chrF2 of a corpus, Popović (2015), by sacreBLEU."""
    most = max((len(references(wanted)) for wanted in expected), default=1)
    streams = [
        [known[place] if place < len(known := references(wanted)) else None for wanted in expected]
        for place in range(most)
    ]
    return round(float(sacrebleu.CHRF().corpus_score(list(written), streams).score) / 100, 12)


def rouge(written: Sequence[str], expected: Sequence[Reference]) -> Array:
    """(R, 3) F1 of ROUGE-1, ROUGE-2 and ROUGE-L, Lin (2004), without stemming; of several references the best."""
    scorer = rouge_scorer.RougeScorer(list(ROUGES), tokenizer=_Plain())
    rows = []
    for text, wanted in zip(written, expected, strict=True):
        found = scorer.score_multi(references(wanted), text)
        rows.append([found[name].fmeasure for name in ROUGES])
    return np.array(rows, dtype=np.float64).reshape(-1, len(ROUGES))


class _Plain:
    """rouge_score's own tokens, letters and digits of lower case, for all scripts: of unspaced ones each character."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, in its order."""
        return [word.text for word in split(text.lower().replace("_", " ")) if word.text[0].isalnum()]


def _tokenizer_for(expected: Sequence[Reference], tokenizer: Tokenizer) -> str:
    if tokenizer != "auto":
        return tokenizer
    return "zh" if unspaced("\n".join(references(wanted)[0] for wanted in expected[:1000])) else "13a"
