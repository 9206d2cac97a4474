"""What was put and deleted by HTTP, in one file that is whole whenever the process stops. Knows no tensors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from adaptune.core.config import Config
from adaptune.core.errors import BundleError
from adaptune.core.files import clear_parts, write_json
from adaptune.serve.paths import below


class _Kept(Config):
    """The file's content."""

    put: dict[str, str] = Field(default={})
    """Folder below the root by name."""
    deleted: tuple[str, ...] = ()
    """Names that the root's own folders do not bring back."""


class Registry:
    """The changes to what the root's folders say; without a file nothing is kept."""

    def __init__(self, file: Path | None, root: Path) -> None:
        """Raises BundleError for a file that does not read."""
        self._file = file
        self._root = root.resolve()
        if file is not None:
            clear_parts(file)
        self._kept = _Kept() if file is None or not file.exists() else _read(file)

    def bundles(self, found: Iterable[tuple[str, Path]]) -> list[tuple[str, Path]]:
        """What is served at the start, where these lie below the root. Raises BundleError where one put has gone."""
        served = {name: folder for name, folder in found if name not in self._kept.deleted}
        served |= {name: below(self._root, folder) for name, folder in self._kept.put.items()}
        return sorted(served.items())

    def keep(self, name: str, folder: Path | None) -> None:
        """From now on the name means the bundle in this folder, or none. Raises OSError."""
        put = {known: where for known, where in self._kept.put.items() if known != name}
        deleted = [known for known in self._kept.deleted if known != name]
        if folder is None:
            deleted.append(name)
        else:
            put[name] = folder.resolve().relative_to(self._root).as_posix()
        kept = _Kept(put=put, deleted=tuple(deleted))
        if self._file is not None:
            write_json(self._file, kept.model_dump(mode="json"))
        self._kept = kept


def _read(file: Path) -> _Kept:
    try:
        return _Kept.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"the registry {str(file)!r} does not read: {error}; correct it, or take it away") from None
