"""Who may ask: API keys, of which the server holds hashes alone. Knows no HTTP.

A key is 256 random bits, so that one round of SHA-256 cannot be undone by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adaptune.core.errors import AdaptuneError

VARIABLE = "ADAPTUNE_KEYS"
"""Lines as in a file of keys, with spaces or line ends between them."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<digest>[0-9a-f]{64})(?P<admin>:admin)?")


class BadKeys(AdaptuneError):
    """A file of keys that does not read."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    admin: bool
    """Whether bundles may be loaded and evicted, too."""


ANYONE = Caller("anyone", admin=True)
"""Where no keys are asked for."""


class Keys:
    """Callers by the hash of their key."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = dict(callers)

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, key: str) -> Caller | None:
        """Whose key it is; every hash is compared, in constant time each."""
        digest = digest_of(key)
        found = None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def read_keys(file: Path | None, environment: Mapping[str, str]) -> Keys:
    """The keys of a file, and those of ADAPTUNE_KEYS. Raises AdaptuneError for a line that does not read."""
    lines = [] if file is None else _lines_of(file)
    return Keys(dict(_callers([*lines, *environment.get(VARIABLE, "").split()])))


def new_key(name: str, *, admin: bool = False) -> tuple[str, str]:
    """A fresh key, and the line that lets its holder in. Raises AdaptuneError for a name that no line may have."""
    key = secrets.token_urlsafe(32)
    line = f"{name}:{digest_of(key)}{':admin' if admin else ''}"
    if not _LINE.fullmatch(line):
        raise BadKeys(f"{name!r} is no name for a key; use letters, digits, `.`, `_` and `-`, at most 64")
    return key, line


def digest_of(key: str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _lines_of(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadKeys(f"the file of keys {str(file)!r} cannot be read: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _callers(lines: Iterable[str]) -> Iterable[tuple[str, Caller]]:
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            # The line itself is not shown: it might be a key by mistake.
            raise BadKeys(
                f"key {number} does not read; expected NAME:SHA256 or NAME:SHA256:admin, as `adaptune key NAME` prints"
            )
        yield match["digest"], Caller(match["name"], admin=match["admin"] is not None)
