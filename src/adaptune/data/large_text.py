"""A text file too large for memory: what it is, found in one pass, and its lines, as often as they are asked for."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaptune.data.text import MARKS, PACKED, decode, faulty, unmarked_utf16

BLOCK = 1 << 22
"""Bytes that are looked at together."""
OVERLAP = 8
"""Characters of a block that are looked at again with the next: an escaped character is no longer."""


@dataclass(frozen=True, slots=True)
class LargeText:
    """A file whose character set is known, and which holds no other bytes."""

    path: Path
    encoding: str
    fingerprint: str
    """SHA-256 of the file."""
    notice: str
    """What to say about the character set; empty where it is UTF-8."""
    quoted: bool
    """Whether a double quote stands in it."""
    faulty: bool
    """Whether any part of it may have a fault, as `text.fault` finds them."""

    def lines(self, *, newline: str | None = "") -> Iterator[str]:
        """Its lines with their ends: as they are, or, where `newline` is None, all of them as "\\n"."""
        with self.path.open(encoding=self.encoding, newline=newline) as file:
            yield from file

    def start(self, characters: int) -> str:
        """Its first characters."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            return file.read(characters)

    def __contains__(self, text: str) -> bool:
        """Whether a text stands in it; of double quotes that is known."""
        return self.quoted if text == '"' else any(text in line for line in self.lines())


def scan(path: Path, encoding: str) -> LargeText | None:
    """One pass over a file; None where its character set must be guessed from all of it, or is not the one given.

    Raises DataError for a packed file, or one of UTF-16 without a mark.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if any(start.startswith(magic) for magic, _ in PACKED):
        decode(start, encoding, str(path))  # refuses it
    notice = ""
    if encoding == "auto":
        mark = next((name for sign, name in MARKS if start.startswith(sign)), None)
        if mark is None and unmarked_utf16(start) is not None:
            decode(start, encoding, str(path))
        if mark not in (None, "utf-8"):
            notice = f"{path} is read as {str(mark).upper()}, as its byte-order mark says"
        # These names take the mark off, utf-8-sig also where there is none.
        encoding = "utf-8-sig" if mark in (None, "utf-8") else str(mark)[:6]
    elif codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    try:
        return _looked_through(path, encoding, notice)
    except UnicodeDecodeError:
        return None


def _looked_through(path: Path, encoding: str, notice: str) -> LargeText:
    """Raises UnicodeDecodeError."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder(encoding)()
    quoted = at_fault = False
    tail = ""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            text = decoder.decode(block)
            quoted = quoted or '"' in text
            at_fault = at_fault or faulty(tail + text)
            tail = text[-OVERLAP:]
    decoder.decode(b"", final=True)
    return LargeText(path, encoding, digest.hexdigest(), notice, quoted, at_fault)


def numbered_lines(text: LargeText) -> Iterator[tuple[int, str, bool]]:
    """Number, line without its end, and whether it is a last one that has no end."""
    for number, line in enumerate(text.lines(newline=None), start=1):
        yield number, line.removesuffix("\n"), not line.endswith("\n")
