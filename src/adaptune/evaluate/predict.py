"""A model's answers for encoded rows, in their order. Knows no task and no metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice

import numpy as np
import torch

from adaptune.core.batch import CORPUS, Encoded, Index
from adaptune.core.types import Answer
from adaptune.data.batches import Budget, by_rows, collate, cut
from adaptune.models.assembly import Assembly

PROCESSOR_TOKENS, MOST_TOKENS = 1024, 8192
"""In one batch, where nothing is asked for."""
MOST_SEQUENCES = 1024
"""Most sequences of a batch, however short."""
AHEAD = 4096
"""Rows that a stream reads before it answers: enough to fill batches with rows of like length."""

WRITTEN_AHEAD = 256
"""The same where texts are written, which takes long: they reach the disk in parts of so many."""


def batch_tokens_of(assembly: Assembly, asked: int | None, *, writes: bool = False) -> int:
    """Most tokens in one batch: what was asked for, else what suits the device and what is computed.

    A processor passes 512 to 1,024 tokens fastest (all-MiniLM-L6-v2, one core: 2,850 tokens a second, 2,150 in batches
    of 4,096), since what a layer gives for them stays in its caches. Writing reads all weights for one token a row, so
    that many rows are better.
    """
    if asked is not None:
        return asked
    return PROCESSOR_TOKENS if next(assembly.parameters()).device.type == "cpu" and not writes else MOST_TOKENS


def predict(assembly: Assembly, encoded: Sequence[Encoded], *, batch_tokens: int | None, rows: int) -> list[Answer]:
    """One answer a row; `rows` is how many there are, and each has at least one sequence."""
    asked = [sequence for sequence in encoded if sequence.row != CORPUS]
    corpus = [sequence for sequence in encoded if sequence.row == CORPUS]
    answers = _answers(assembly, asked, batch_tokens, _indexed(assembly, corpus, batch_tokens))
    missing = [row for row in range(rows) if row not in answers]
    if missing or len(answers) > rows:
        raise ValueError(f"expected sequences of rows 0 to {rows - 1}; got {len(answers)} rows, without {missing[:5]}")
    return [answers[row] for row in range(rows)]


def stream(
    assembly: Assembly, encoded: Iterable[Encoded], *, batch_tokens: int | None, ahead: int = AHEAD
) -> Iterator[tuple[int, Answer]]:
    """(row, answer) in the order in which rows come, any number of them; sequences of one row come together.

    A corpus comes before them.
    """
    of_row = groupby(encoded, key=lambda sequence: sequence.row)
    rows: Iterator[list[Encoded]] = (list(sequences) for _, sequences in of_row)
    first = next(rows, [])
    corpus = first if first and first[0].row == CORPUS else []
    index = _indexed(assembly, corpus, batch_tokens)
    if first and not corpus:
        rows = chain([first], rows)
    while part := list(islice(rows, ahead)):
        answers = _answers(assembly, list(chain.from_iterable(part)), batch_tokens, index)
        for sequences in part:
            yield sequences[0].row, answers[sequences[0].row]


def budget_of(assembly: Assembly, asked: int | None) -> Budget:
    """What a batch holds. Every text to be written takes as many tokens as it may have."""
    most = 1 if assembly.writing is None else assembly.writing.most
    tokens = batch_tokens_of(assembly, asked, writes=assembly.writing is not None)
    return Budget(tokens=tokens, rows=max(1, min(MOST_SEQUENCES, tokens // most)), folded=assembly.folds)


def _answers(
    assembly: Assembly, encoded: Sequence[Encoded], batch_tokens: int | None, index: Index | None
) -> dict[int, Answer]:
    """Answers by row; the assembly is in evaluation mode meanwhile."""
    device = next(assembly.parameters()).device
    pad = assembly.backbone.tokenizer.pad_token_id
    training = assembly.training
    assembly.eval()
    answers: dict[int, Answer] = {}
    try:
        for indices in by_rows(encoded, budget_of(assembly, batch_tokens)):
            batch = collate([encoded[place] for place in indices], pad).to(device)
            answers |= assembly.answers(batch) if index is None else assembly.search(batch, index)
    finally:
        assembly.train(training)
    return answers


def _indexed(assembly: Assembly, corpus: Sequence[Encoded], batch_tokens: int | None) -> Index | None:
    """The vector of every text of a corpus, computed once; the assembly is in evaluation mode meanwhile."""
    if not corpus:
        return None
    device = next(assembly.parameters()).device
    pad = assembly.backbone.tokenizer.pad_token_id
    lengths = np.array([sequence.length for sequence in corpus], dtype=np.int64)
    order = lengths.argsort(kind="stable")
    budget = Budget(tokens=batch_tokens_of(assembly, batch_tokens), rows=MOST_SEQUENCES)
    training = assembly.training
    assembly.eval()
    try:
        parts = [
            assembly.vectors(collate([corpus[place] for place in places], pad).to(device))
            for places in cut(order, lengths, budget)
        ]
    finally:
        assembly.train(training)
    texts = tuple(corpus[place].text or "" for place in order.tolist())
    return Index(texts, torch.cat(parts))
