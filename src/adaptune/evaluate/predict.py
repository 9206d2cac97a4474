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

MOST_SEQUENCES = 1024
"""Most sequences of a batch, however short."""
AHEAD = 4096
"""Rows that a stream reads before it answers: enough to fill batches with rows of like length."""

WRITTEN_AHEAD = 256
"""The same where texts are written, which takes long: they reach the disk in parts of so many."""


def predict(assembly: Assembly, encoded: Sequence[Encoded], *, batch_tokens: int, rows: int) -> list[Answer]:
    """One answer a row; `rows` is how many there are, and each has at least one sequence."""
    asked = [sequence for sequence in encoded if sequence.row != CORPUS]
    corpus = [sequence for sequence in encoded if sequence.row == CORPUS]
    answers = _answers(assembly, asked, batch_tokens, _indexed(assembly, corpus, batch_tokens))
    missing = [row for row in range(rows) if row not in answers]
    if missing or len(answers) > rows:
        raise ValueError(f"expected sequences of rows 0 to {rows - 1}; got {len(answers)} rows, without {missing[:5]}")
    return [answers[row] for row in range(rows)]


def stream(
    assembly: Assembly, encoded: Iterable[Encoded], *, batch_tokens: int, ahead: int = AHEAD
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


def budget_of(assembly: Assembly, batch_tokens: int) -> Budget:
    """What a batch holds. Every text to be written takes as many tokens as it may have."""
    most = 1 if assembly.writing is None else assembly.writing.most
    rows = max(1, min(MOST_SEQUENCES, batch_tokens // most))
    return Budget(tokens=batch_tokens, rows=rows, folded=assembly.folds)


def _answers(
    assembly: Assembly, encoded: Sequence[Encoded], batch_tokens: int, index: Index | None
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


def _indexed(assembly: Assembly, corpus: Sequence[Encoded], batch_tokens: int) -> Index | None:
    """The vector of every text of a corpus, computed once; the assembly is in evaluation mode meanwhile."""
    if not corpus:
        return None
    device = next(assembly.parameters()).device
    pad = assembly.backbone.tokenizer.pad_token_id
    lengths = np.array([sequence.length for sequence in corpus], dtype=np.int64)
    order = lengths.argsort(kind="stable")
    training = assembly.training
    assembly.eval()
    try:
        parts = [
            assembly.vectors(collate([corpus[place] for place in places], pad).to(device))
            for places in cut(order, lengths, Budget(tokens=batch_tokens, rows=MOST_SEQUENCES))
        ]
    finally:
        assembly.train(training)
    texts = tuple(corpus[place].text or "" for place in order.tolist())
    return Index(texts, torch.cat(parts))
