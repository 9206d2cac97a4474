"""A file of any format as a table of records under its own column names. Knows no task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from adaptune.core.bio import looks_like_tag
from adaptune.core.errors import DataError, nearest
from adaptune.data.config import DataConfig, Format
from adaptune.data.formats.annotated import holds_spans, with_spans
from adaptune.data.formats.brat import ANNOTATIONS, TEXT, is_brat, pair_of, read_brat
from adaptune.data.formats.conll import read_conll
from adaptune.data.formats.delimited import open_delimited, read_delimited
from adaptune.data.formats.hub import is_of_hub, read_hub
from adaptune.data.formats.json_rows import open_jsonl, read_json, read_jsonl
from adaptune.data.formats.parallel import halves, read_parallel
from adaptune.data.formats.parquet import open_parquet, read_parquet
from adaptune.data.formats.plain import open_lines, read_plain
from adaptune.data.formats.semeval import is_semeval, read_semeval
from adaptune.data.large_text import LargeText, scan
from adaptune.data.table import Opened, Record, Table, shown
from adaptune.data.text import decode, fault_in, faulty, lines_of

_ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".conll": "conll",
    ".conll03": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bioes": "conll",
    ".bmes": "conll",
}

LOOK_AT = 20_000
"""Characters that tell a format."""
LOOKED_AT = 1000
"""Rows of a large file that show whether an annotation tool wrote it."""


def read_table(
    path: str | Path, config: DataConfig, *, part: str = "train", relations: bool = False
) -> tuple[Table, str]:
    """Every record under the file's own names, and the SHA-256 of the file. Raises DataError, MissingExtra.

    `relations`: whether the records of a document are the relations in it.
    """
    source = str(path)
    if is_of_hub(source):
        return read_hub(source, part)
    if (pair := halves(source)) is not None:
        return _read_pair(pair, source, config)
    path = Path(path)
    if config.format == "brat" or (config.format == "auto" and is_brat(path)):
        return _read_brat(path, config, relations=relations)
    content = _content(path)
    fingerprint = hashlib.sha256(content).hexdigest()
    if config.format == "parquet" or (config.format == "auto" and _is_parquet(path, content)):
        table = read_parquet(path, source)
        table.format = "parquet"
        return _without_faults(table), fingerprint
    decoded = decode(content, config.encoding, source)
    kind = format_of(path, decoded.text) if config.format == "auto" else config.format
    table = _parsed(decoded.text, source, kind, config)
    table.format = kind
    if decoded.notice:
        table.notices.insert(0, decoded.notice)
    return (_without_faults(table) if faulty(decoded.text) else table), fingerprint


def open_table(path: str | Path, config: DataConfig) -> Opened:
    """The same as `read_table`, of a file that is too large for memory.

    Files of other formats than csv, tsv, jsonl, parquet and lines, and those whose character set must be guessed, are
    read whole.
    """
    path = Path(path)
    source = str(path)
    start = _start(path)
    if config.format == "parquet" or (config.format == "auto" and _is_parquet(path, start)):
        table, records = open_parquet(path, source)
        table.format = "parquet"
        return Opened(table, _sound(table, records), _fingerprint(path))
    text = scan(path, config.encoding)
    kind = None if text is None else _kind_of(path, text, config)
    if text is None or kind is None:
        table, fingerprint = read_table(path, config)
        return Opened(table, iter(table.records), fingerprint)
    table, records = _opened(text, source, kind, config)
    first = list(islice(records, LOOKED_AT))
    if kind == "jsonl" and holds_spans(table, first):  # whose form all rows together show
        table, fingerprint = read_table(path, config)
        return Opened(table, iter(table.records), fingerprint)
    records = chain(first, records)
    table.format = kind
    if text.notice:
        table.notices.insert(0, text.notice)
    return Opened(table, _sound(table, records) if text.faulty else records, text.fingerprint)


def _start(path: Path) -> bytes:
    """A file's first bytes; one that cannot be read, or is empty, is refused as if it were read whole."""
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(LOOK_AT)
    return start if start.strip() else _content(path)


def _kind_of(path: Path, text: LargeText, config: DataConfig) -> Format | None:
    """The format, where it can be read row by row."""
    kind = format_of(path, text.start(LOOK_AT + 1)) if config.format == "auto" else config.format
    return kind if kind in ("csv", "tsv", "jsonl", "lines") else None


def _opened(text: LargeText, source: str, kind: Format, config: DataConfig) -> tuple[Table, Iterator[Record]]:
    if kind == "jsonl":
        return open_jsonl(text, source)
    if kind == "lines":
        return open_lines(text, source)
    return open_delimited(text, source, config, "\t" if kind == "tsv" else ",")


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_pair(pair: tuple[str, str], source: str, config: DataConfig) -> tuple[Table, str]:
    """Two files whose lines belong together."""
    contents = [_content(Path(name)) for name in pair]
    decoded = [decode(content, config.encoding, name) for content, name in zip(contents, pair, strict=True)]
    table = read_parallel([one.text for one in decoded], pair, source)
    table.notices += [one.notice for one in decoded if one.notice]
    fingerprint = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()
    return _without_faults(table), fingerprint


def _read_brat(path: Path, config: DataConfig, *, relations: bool) -> tuple[Table, str]:
    """A text and what is marked in it; the file of marks may be empty."""
    pair = pair_of(path)
    if pair is None:
        _content(path)
        other = TEXT if path.suffix == ANNOTATIONS else ANNOTATIONS
        raise DataError(
            f"{path} has no {path.with_suffix(other).name} beside it; brat keeps a text as NAME{TEXT} and what is "
            f"marked in it as NAME{ANNOTATIONS}"
        )
    contents = [file.read_bytes() for file in pair]
    text, marks = (decode(content, config.encoding, str(file)) for content, file in zip(contents, pair, strict=True))
    table = read_brat(text.text, marks.text, str(pair[1]), relations=relations)
    table.format = "brat"
    table.notices += [one.notice for one in (text, marks) if one.notice]
    fingerprint = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()
    return _without_faults(table), fingerprint


def format_of(path: Path, text: str) -> Format:
    """The format that a file's name says, or else its first lines. Raises DataError."""
    ending = path.suffix.lower()
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    start = lines_of(text[:LOOK_AT])
    lines = [line for line in start[: -1 if len(text) > LOOK_AT else None] if line.strip(" \t")]
    first = lines[0].lstrip() if lines else ""
    if first.startswith("{"):
        return "jsonl"
    if first.startswith("["):
        return "json"
    if is_semeval(first):
        return "semeval"
    tagged = sum(looks_like_tag(words[-1]) for line in lines if (words := line.split()))
    if lines and tagged > 0.9 * len(lines):
        return "conll"
    if lines and all("\t" in line for line in lines[:20]):
        return "tsv"
    if lines and all("," in line for line in lines[:20]):
        return "csv"
    raise DataError(
        f"the format of {path} cannot be told from its name or its first line {shown(first)}; "
        "set data.format: jsonl, json, csv, tsv, parquet, conll, brat, semeval, lines or paragraphs"
    )


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        beside = [file.name for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []
        hint = nearest(path.name, beside) or (
            "" if path.parent.is_dir() else f"; there is no folder {path.parent} either"
        )
        raise DataError(f"{path} does not exist{hint}; paths are relative to where the command runs") from None
    except IsADirectoryError:
        files = ", ".join(sorted(file.name for file in path.iterdir())[:8])
        raise DataError(f"{path} is a folder; name one of its files: {files}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise DataError(f"{path} is empty; expected rows")
    return content


def _is_parquet(path: Path, content: bytes) -> bool:
    return content.startswith(b"PAR1") or _ENDINGS.get(path.suffix.lower()) == "parquet"


def _parsed(text: str, source: str, kind: Format, config: DataConfig) -> Table:
    if kind in ("jsonl", "json"):
        table = read_jsonl(text, source) if kind == "jsonl" else read_json(text, source)
        with_spans(table, config.columns.values())
        return table
    if kind == "semeval":
        return read_semeval(text, source)
    if kind in ("lines", "paragraphs"):
        return read_plain(text, source, paragraphs=kind == "paragraphs")
    if kind == "conll":
        return read_conll(text, source, config)
    return read_delimited(text, source, config, "\t" if kind == "tsv" else ",")


def _without_faults(table: Table) -> Table:
    """Set records aside that hold an embedded NUL or a byte that is no character."""
    table.records = list(_sound(table, table.records))
    return table


def _sound(table: Table, records: Iterable[Record]) -> Iterator[Record]:
    """Records without such faults; the table sets the others aside."""
    for record in records:
        if reason := fault_in(record.values):
            table.reject(record.number, reason)
        else:
            yield record
