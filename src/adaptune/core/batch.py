"""Encoded sequences, and batches of them as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from adaptune.core.lazy import torch

CORPUS = -1
"""The row of sequences that belong to none, and that all rows are answered from."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One token sequence of one row."""

    row: int
    """Index of its row within the split, or CORPUS."""
    ids: NDArray[np.int32]
    """(T,) token ids, special tokens included."""
    segments: NDArray[np.int8] | None
    """(T,) 0 first part, 1 second part; None where the model knows no segments."""
    tokens: NDArray[np.int32]
    """(N,) position of the token that stands for each labelled item; empty where whole sequences are labelled."""
    items: NDArray[np.int32]
    """(N,) which item (word) of its row each of `tokens` is; every item stands in exactly one window of its row. Of
    spans: 0, which stands for no answer, then the row's pieces of text from 1, as many as stand in this window."""
    labels: NDArray[np.int64] | NDArray[np.float32] | None
    """(N,) label index of each item; or of the whole sequence (1,) a label index or a number, (1, C) 0 and 1 of
    several labels or the probability of each, (1, 2) which of this window's items start and end a span, or how right
    one of several sequences is and the index of their row. None where unlabelled."""
    decoder_ids: NDArray[np.int32] | None = None
    """(S,) what the decoder of a model of two stacks reads; `tokens` are then positions in it. None: `ids`, too."""
    text: str | None = None
    """What answers quote, whole: of two texts the second. None where they quote nothing."""
    offsets: NDArray[np.int32] | None = None
    """(N, 2) where each item stands in `text`: its first character and the one after its last."""
    end: int | None = None
    """The token that ends what is written after it; None: the tokenizer's own."""
    asked: NDArray[np.float32] | None = None
    """(N, 3) of the labelled items of a prompt: the token whose probability is read there, the place of the answer that
    it is a part of, and its weight in that. Items of one number are one word. A head's own tokens come first, all 0."""
    fresh: int | None = None
    """Tokens that a pass reads where it reads once what sequences of a row begin with alike; None: all of them."""

    @property
    def length(self) -> int:
        """Tokens that a pass reads, in both stacks."""
        return len(self.ids) + (0 if self.decoder_ids is None else len(self.decoder_ids))


@dataclass(frozen=True, slots=True)
class Branch:
    """Consecutive tokens of a folded batch, of one sequence or of several that go on from the same beginning."""

    start: int
    stop: int
    before: torch.Tensor | None
    """(A,) the tokens of that beginning; None where there is none."""
    mask: torch.Tensor | None
    """(stop - start, A + stop - start) which of these and of the branch each reads; None: all up to itself."""


@dataclass(frozen=True, slots=True)
class Folded:
    """Sequences of a batch as a tree, the tokens that they begin with alike at its root."""

    positions: torch.Tensor
    """(1, T') of each token in its sequences."""
    branches: tuple[Branch, ...]
    """Of all tokens, in their order."""
    places: torch.Tensor
    """(B, T) where each token of the padded batch stands among them; 0 for padding."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences padded to one length. All tensors are on one device; padding is on the right.

    A packed batch has one row of tensors in which its sequences stand one behind the other, without padding: `lengths`
    tells them apart, `rows` names each, and items stand at places of the one row.
    """

    rows: torch.Tensor
    """(B,) index of each sequence's row within the split."""
    mask: torch.Tensor
    """(B, T) 1 for a token, 0 for padding."""
    ids: torch.Tensor | None = None
    """(B, T) token ids; None where embeddings stand in for them."""
    segments: torch.Tensor | None = None
    """(B, T)"""
    embeddings: torch.Tensor | None = None
    """(B, T, D) input embeddings, for attribution."""
    sequence_of: torch.Tensor | None = None
    """(N,) the sequence of each labelled item; None where whole sequences are labelled."""
    token_of: torch.Tensor | None = None
    """(N,) its token."""
    items: torch.Tensor | None = None
    """(N,) which item of its row."""
    labels: torch.Tensor | None = None
    """(N,) or, for whole sequences, (B,) or (B, C), for spans and for one of several sequences (B, 2); None where
    unlabelled."""
    decoder_ids: torch.Tensor | None = None
    """(B, S) what the decoder of a model of two stacks reads; None: `ids`, too."""
    decoder_mask: torch.Tensor | None = None
    """(B, S)"""
    features: torch.Tensor | None = None
    """(B, F) numbers of the row that a head may read beside the text."""
    texts: tuple[str, ...] | None = None
    """(B) what answers quote."""
    offsets: torch.Tensor | None = None
    """(N, 2) where each item stands in its text, in characters."""
    weights: torch.Tensor | None = None
    """(B,) what the loss of each sequence is multiplied by; None: 1."""
    lengths: tuple[int, ...] | None = None
    """Of a packed batch: how many tokens each sequence has; None: a row of tensors is one sequence."""
    end: int | None = None
    """The token that ends what is written after the sequences; None: the tokenizer's own."""
    task: str | None = None
    """Where several tasks are trained together: which of them the rows belong to."""
    asked: torch.Tensor | None = None
    """(N, 3) of the labelled items of prompts, as in an Encoded."""
    folded: Folded | None = None
    """Where tokens that sequences begin with alike stand once, in one row of tensors: how. Items keep their sequence,
    and stand at places of the one row."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        plain = ("texts", "lengths", "end", "task", "folded")
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in plain}
        return replace(self, **{name: t.to(device) for name, t in tensors.items() if t is not None})

    @property
    def tokens(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.mask.sum()) + (0 if self.decoder_mask is None else int(self.decoder_mask.sum()))


@dataclass(frozen=True, slots=True)
class Index:
    """Texts that are searched, with their vectors."""

    texts: tuple[str, ...]
    vectors: torch.Tensor
    """(M, V) of length 1"""
