"""Files that are the old one or the new one, whole, whenever the process stops. Knows no format but JSON."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace one file by new content; its folder must exist. Text is written as UTF-8, line ends as they are."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Replace one file by a value as indented JSON. Raises ValueError where a number is not finite."""
    write_atomically(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_json_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace one file by one line of JSON a record, of any number of records."""
    with replacing(path) as file:
        file.writelines(json_line(record) for record in records)


def json_line(record: Mapping[str, Any]) -> bytes:
    """One record as a line of JSON. Raises ValueError where a number is not finite."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path` to write into; it takes its place when the block ends well, and vanishes otherwise."""
    part = _beside(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def clear_parts(path: Path) -> None:
    """Take away what processes that were killed while they wrote `path` have left beside it."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; it takes its place when the block ends well, and vanishes otherwise.

    Two renames cannot be one step: whoever reads the folder after a crash calls `recover` first.
    """
    part, old = _beside(path), _set_aside(path)
    recover(path)
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            _sync(file)
        if path.exists():
            path.replace(old)
        part.replace(path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def stands(path: Path) -> bool:
    """Whether a folder that `replacing_folder` writes is there, or would be after `recover`."""
    return path.exists() or _set_aside(path).exists()


def recover(path: Path) -> None:
    """Bring back the folder that `replacing_folder` had set aside when the process stopped between its two renames."""
    old = _set_aside(path)
    if old.exists() and not path.exists():
        old.replace(path)
    shutil.rmtree(old, ignore_errors=True)


def cache_folder() -> Path:
    """Where what can be had again is kept: $ADAPTUNE_CACHE, or adaptune/ in the user's cache folder."""
    if given := os.environ.get("ADAPTUNE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adaptune"


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _set_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _sync(path: Path) -> None:
    """Make a file's content or a folder's names outlive a power cut; not every system can do it to a folder."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
