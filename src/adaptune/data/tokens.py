"""The tokens of a part, made at once where its rows are in memory, else when asked for; cached where it pays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

import adaptune
from adaptune.approaches.finetune import Finetune
from adaptune.core.approach import Approach, as_put
from adaptune.core.batch import Encoded
from adaptune.core.catalogue import section
from adaptune.core.log import Progress
from adaptune.core.types import Example, Labels, Reading, Writing
from adaptune.data import token_cache
from adaptune.data.encode import encode
from adaptune.data.packed import pack, unpack
from adaptune.data.spool import Spool
from adaptune.data.stored import Stored

PAYS_FROM = 5_000
"""Rows of a part whose tokens are cached: of fewer they are made as quickly as they are found."""
AT_ONCE = 4096
"""Rows that are tokenised together."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """How the rows of a run become tokens: put to the model by the approach, then as the arguments of `encode` say."""

    tokenizer: Any
    labels: Labels
    max_length: int
    segments: bool
    writing: Writing | None = None
    reading: Reading | None = None
    approach: Approach = field(default_factory=Finetune)

    def __call__(self, examples: Sequence[Example]) -> list[Encoded]:
        """Every example as one or more token sequences, `Encoded.row` its index."""
        return encode(
            as_put(self.approach, examples, self.labels, self.tokenizer),
            self.tokenizer,
            self.labels,
            max_length=self.max_length,
            segments=self.segments,
            writing=self.writing,
            reading=self.reading,
        )

    def key(self, examples: Sequence[Example]) -> str:
        """Equal where the same tokens come out: of the content of rows, not of their files' names and line numbers."""
        digest = hashlib.sha256()
        for part in (token_cache.FORMAT, adaptune.__version__, *self._settings(), *_contents(examples)):
            content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()

    def _settings(self) -> Iterator[object]:
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # The tokenizer's own state, as its last call left it.
        yield json.dumps({name: value for name, value in backend.items() if name not in ("truncation", "padding")})
        yield sorted((name, str(token)) for name, token in self.tokenizer.special_tokens_map.items())
        yield getattr(self.tokenizer, "chat_template", None)
        if self.approach.rewrites:
            yield json.dumps(section(self.approach))
        yield from (self.labels.names, self.max_length, self.segments, self.writing, self.reading)


def _contents(examples: Sequence[Example]) -> Iterator[object]:
    if isinstance(examples, Stored):
        yield type(examples.rows.task).__qualname__, examples.rows.task
        yield from examples.content()
    else:
        yield from (example.sequences for example in examples)


def encoded_all(examples: Sequence[Example], encoder: Encoder, *, cache: bool) -> list[Encoded]:
    """The token sequences of all rows, as `encoder` gives them, out of the cache where it has them."""
    if not cache or len(examples) < PAYS_FROM:
        return encoder(examples)
    if (found := _found(examples, encoder)) is not None:
        return [sequence for row in range(len(found)) for sequence in unpack(found[row], row)]
    encoded = encoder(examples)
    contents = [b""] * len(examples)
    for row, sequences in groupby(encoded, key=lambda sequence: sequence.row):
        contents[row] = pack(list(sequences))
    token_cache.keep(encoder.key(examples), contents, np.array([len(content) for content in contents], dtype=np.int64))
    return encoded


def _found(examples: Sequence[Example], encoder: Encoder) -> token_cache.Cached | None:
    rows = len(examples)
    return token_cache.find(encoder.key(examples), rows) if token_cache.may_have(rows) else None


class Tokens:
    """The token sequences of stored examples, each row's made when it is first asked for, and kept in a spool.

    Once there are all, they are written into the cache; where it has them, none is made.
    """

    def __init__(self, examples: Stored, encoder: Encoder, *, cache: bool) -> None:
        self.examples, self.encoder = examples, encoder
        self._keeps = cache and len(examples) >= PAYS_FROM
        self._cached = _found(examples, encoder) if self._keeps else None
        self._made = Spool()
        self._place = np.full(0 if self._cached is not None else len(examples), -1, dtype=np.int64)

    def __len__(self) -> int:
        """Rows."""
        return len(self.examples)

    def of(self, rows: NDArray[np.int64]) -> list[Encoded]:
        """The sequences of some rows, in the order asked for, `Encoded.row` their index in the part."""
        if self._cached is None:
            self._make(rows)
        return [sequence for row in rows.tolist() for sequence in unpack(self._content(row), row)]

    def make_all(self) -> None:
        """Every row's tokens, now: what is wrong with any is then known."""
        if self._cached is not None:
            return
        with Progress("tokenise", len(self), unit="rows") as progress:
            for start in range(0, len(self), AT_ONCE):
                rows = np.arange(start, min(start + AT_ONCE, len(self)))
                self._make(rows)
                progress.advance(len(rows))

    def _content(self, row: int) -> bytes | memoryview:
        return self._made[self._place[row]] if self._cached is None else self._cached[row]

    def _make(self, rows: NDArray[np.int64]) -> None:
        missing = np.unique(rows[self._place[rows] < 0])
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            contents = [b""] * len(some)
            for index, sequences in groupby(self.encoder(tuple(self.examples.some(some))), key=lambda one: one.row):
                contents[index] = pack(list(sequences))
            self._place[some] = np.arange(len(self._made), len(self._made) + len(some))
            self._made.extend(contents)
        if self._keeps and len(missing) and len(self._made) == len(self):
            all_rows, sizes = self._made.each(self._place), self._made.sizes(self._place)
            token_cache.keep(self.encoder.key(self.examples), all_rows, sizes)
