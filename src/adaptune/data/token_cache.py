"""Tokens of a part on disk, for later runs: found by what they were made of, checked before they are believed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.files import cache_folder, replacing_folder, write_json
from adaptune.core.log import warn

FORMAT = 2
"""Counts up when the same rows would become other tokens, or lie otherwise on disk."""
MOST = 5_000_000_000
"""Bytes of all entries together; those that were not used for longest make room."""
_TOKENS, _ENDS, _ABOUT = "tokens.npy", "ends.npy", "about.json"


class Cached:
    """The rows of an entry, memory-mapped."""

    def __init__(self, tokens: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._tokens, self._ends = memoryview(tokens), ends  # type: ignore[arg-type]  # an array is a buffer

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> memoryview:
        return self._tokens[int(self._ends[number]) : int(self._ends[number + 1])]


def folder() -> Path:
    """Where entries lie."""
    return cache_folder() / "tokens"


def may_have(rows: int) -> bool:
    """Whether there is an entry of so many rows: without one, no key need be made to look for it."""
    return next(folder().glob(f"{rows}-*"), None) is not None


def find(key: str, rows: int) -> Cached | None:
    """The entry of a key. One that is damaged, or no entry, is warned of and removed."""
    entry = _entry(key, rows)
    if not entry.exists():
        return None
    try:
        found = _checked(entry, key, rows)
    except (OSError, ValueError, LookupError, TypeError) as error:
        warn(f"the cached tokens in {entry} are damaged ({error}); they are made anew")
        shutil.rmtree(entry, ignore_errors=True)
        return None
    with suppress(OSError):
        os.utime(entry)
    return found


def keep(key: str, contents: Iterable[bytes | memoryview], sizes: NDArray[np.int64]) -> None:
    """Write an entry, whole or not at all, and make room for it; `sizes` are those of the contents, a row each.

    A cache that cannot be written is warned of.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True)
        entry = _entry(key, len(sizes))
        with replacing_folder(entry) as new:
            _write(new, contents, sizes)
            sums = {name: _sum(new / name) for name in (_TOKENS, _ENDS)}
            write_json(new / _ABOUT, {"format": FORMAT, "key": key, "rows": len(sizes), "sha256": sums})
    except OSError as error:
        warn(f"tokens cannot be kept in {folder()}: {error.strerror}; data.token_cache=false does without")
        return
    prune(spare=entry.name)


def prune(*, most: int = MOST, spare: str = "") -> None:
    """Remove the entries that were not used for longest until all together are small enough."""
    with suppress(OSError):
        entries = [entry for entry in folder().iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        entries.sort(key=lambda entry: (entry.name == spare, entry.stat().st_mtime), reverse=True)
        size = 0
        for entry in entries:
            size += sum(file.stat().st_size for file in entry.iterdir())
            if size > most and entry.name != spare:
                shutil.rmtree(entry, ignore_errors=True)


def _entry(key: str, rows: int) -> Path:
    return folder() / f"{rows}-{key}"


def _write(new: Path, contents: Iterable[bytes | memoryview], sizes: NDArray[np.int64]) -> None:
    """Write what belongs to each row, and where it ends."""
    np.save(new / _ENDS, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    with (new / _TOKENS).open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (int(sizes.sum()),)}
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(contents)


def _checked(entry: Path, key: str, rows: int) -> Cached:
    """Raises ValueError, LookupError, TypeError or OSError for what is no whole entry of this key."""
    about: Any = json.loads((entry / _ABOUT).read_text(encoding="utf-8"))
    if (about["format"], about["key"], about["rows"]) != (FORMAT, key, rows):
        raise ValueError("it is of another part")
    for name in (_TOKENS, _ENDS):
        if _sum(entry / name) != about["sha256"][name]:
            raise ValueError(f"{name} is not as it was written")
    tokens = np.load(entry / _TOKENS, mmap_mode="r", allow_pickle=False)
    return Cached(tokens, np.load(entry / _ENDS, allow_pickle=False))


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
