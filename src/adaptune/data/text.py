"""Bytes of a file as text, its character set named where it is not UTF-8. Knows no formats."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from adaptune.core.errors import DataError

MIXED = 0.1
"""Share of broken sequences among the non-ASCII ones below which a file counts as UTF-8 with faults."""

MARKS = (  # UTF-32's little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PACKED = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip or Excel"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_HIGH = re.compile(rb"[\x80-\xff]")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(0000|[dD][89a-fA-F])")
# GB 2312's punctuation and first level of Chinese characters, those of everyday use.
_EVERYDAY_CHINESE = re.compile(rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]")
# The most frequent characters of written Chinese: no text in another script, read as Chinese, is rich in them.
_FREQUENT_CHINESE = re.compile(
    "[的一是不了人在有我他这大来上个国到说们为子中你地出就年得着那要下以时过自会后对生能而也好很没]"
)
# Letters of Western European languages, and the signs that word processors put in.
_WESTERN = re.compile("[À-ÖØ-öø-ÿŒœŠšŽžŸ‘’“”„‚–—…€£§°«»¿¡·©®™´`¨ºª²³½¼¾±×\xa0]")
_LONG_RUN = re.compile(r"[^\x00-\x7f]{4,}")


class Decoded(NamedTuple):
    """A file's text; a byte that is not of the character set is a lone surrogate in it."""

    text: str
    notice: str
    """What to say about the character set; empty where it is UTF-8."""


def decode(content: bytes, encoding: str, source: str) -> Decoded:
    """The text of a file. Raises DataError where its character set cannot be told, or is not the given one."""
    for magic, kind in PACKED:
        if content.startswith(magic):
            raise DataError(f"{source} is a {kind} file; unpack it, or save it as csv, jsonl or parquet")
    if encoding != "auto":
        return _decode_as(content, encoding, source)
    for mark, name in MARKS:
        if content.startswith(mark):
            return _after_mark(content[len(mark) :], name, source)
    if (wide := unmarked_utf16(content[:4096])) is not None:
        raise DataError(f"{source} seems to be {wide.upper()} without a byte-order mark; set data.encoding: {wide}")
    try:
        return Decoded(content.decode("utf-8"), "")
    except UnicodeDecodeError:
        return _guessed(content, source)


def fault(text: str) -> str:
    """What makes a text unusable: an embedded NUL, half a character, a byte that is none; else an empty string."""
    if "\0" in text:
        return f"holds a NUL character at position {text.index(chr(0)) + 1}; remove it"
    if found := _SURROGATE.search(text):
        code = ord(found.group())
        half = (
            f"the byte 0x{code - 0xDC00:02X}, which is not UTF-8,"
            if 0xDC80 <= code <= 0xDCFF
            else f"half a character, U+{code:X},"
        )
        return f"holds {half} at position {found.start() + 1}; correct or remove it"
    return ""


def faulty(text: str) -> bool:
    """Whether any part of a file's text may have a fault, escaped ones included; quick."""
    return "\0" in text or _SURROGATE.search(text) is not None or _ESCAPED.search(text) is not None


def _decode_as(content: bytes, encoding: str, source: str) -> Decoded:
    try:
        return Decoded(content.decode(encoding).removeprefix("\ufeff"), "")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise DataError(
            f"{source}, row {line}: byte 0x{byte:02X} is not {encoding}; correct the row, or set data.encoding: auto"
        ) from None


def _after_mark(content: bytes, name: str, source: str) -> Decoded:
    if name == "utf-8":
        return Decoded(content.decode("utf-8", errors="surrogateescape"), "")
    try:
        return Decoded(content.decode(name), f"{source} is read as {name.upper()}, as its byte-order mark says")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} begins with the byte-order mark of {name.upper()} but is not whole: {error.reason} "
            f"at byte {error.start}; save it again as UTF-8"
        ) from None


def unmarked_utf16(start: bytes) -> str | None:
    """The kind of UTF-16 that a file with a NUL in nearly every other place is."""
    half = len(start) // 2
    for name, offset in (("utf-16-le", 1), ("utf-16-be", 0)):
        if half and start[offset::2].count(0) > 0.5 * half and start[1 - offset :: 2].count(0) < 0.1 * half:
            return name
    return None


def _guessed(content: bytes, source: str) -> Decoded:
    """The text of a file that is not UTF-8 and has no mark."""
    high = len(_HIGH.findall(content))
    whole = sum(len(found) for found in _MULTIBYTE.findall(content))
    if high - whole <= MIXED * high:
        return Decoded(content.decode("utf-8", errors="surrogateescape"), "")
    advice = "set data.encoding where that is wrong"
    if (text := _chinese(content, high)) is not None:
        return Decoded(text, f"{source} is not UTF-8; it is read as GB18030 (Chinese); {advice}")
    if (text := _western(content)) is not None:
        return Decoded(text, f"{source} is not UTF-8; it is read as Windows-1252 (Latin-1, Western European); {advice}")
    place = _first_fault(content)
    line = content.count(b"\n", 0, place) + 1
    raise DataError(
        f"{source}, row {line}: byte 0x{content[place]:02X} is not UTF-8, and the character set cannot be told; "
        "save the file as UTF-8, or name the set: data.encoding: gb18030 (or big5, cp1252, shift_jis, cp1251, ...)"
    )


def _first_fault(content: bytes) -> int:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _chinese(content: bytes, high: int) -> str | None:
    """The text, if it reads as everyday Chinese in GB18030."""
    if 2 * len(_EVERYDAY_CHINESE.findall(content)) < 0.8 * high:
        return None
    text = _strictly(content, "gb18030")
    if text is None or len(_FREQUENT_CHINESE.findall(text)) < 0.05 * high / 2:
        return None
    return text


def _western(content: bytes) -> str | None:
    """The text, if its non-ASCII characters are single letters and signs between ASCII ones."""
    text = _strictly(content, "cp1252")
    if text is None:
        return None
    foreign = [character for character in text if character > "\x7f"]
    usual = sum(1 for character in foreign if _WESTERN.match(character))
    in_runs = sum(len(run) for run in _LONG_RUN.findall(text))
    return text if usual >= 0.95 * len(foreign) and in_runs <= 0.05 * len(foreign) else None


def _strictly(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def lines_of(text: str) -> list[str]:
    """The lines of a text, whatever ends them; only line ends part lines, not the other separators of Unicode."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def fault_in(values: Mapping[str, Any]) -> str:
    """The first fault of a record's texts and lists of texts, with its column; else an empty string."""
    for column, value in values.items():
        for text in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(text, str) and (found := fault(text)):
                return f"column {column!r} {found}"
    return ""
