"""Which folders a request may name: those below one root, and nothing else. Knows no bundles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from adaptune.bundle.check import bundle_name
from adaptune.bundle.manifest import MANIFEST
from adaptune.core.errors import BundleError

DEEPEST = 4
"""Folders below the root in which bundles are looked for at the start."""


def below(root: Path, asked: str) -> Path:
    """The folder that a request names, relative to the root. Raises BundleError for any other place."""
    path = PurePosixPath(asked)
    wrong = not asked or "\0" in asked or "\\" in asked or path.is_absolute() or ".." in path.parts or len(asked) > 1000
    try:
        found = root if wrong else (root / path).resolve()
    except (OSError, ValueError, RuntimeError):
        wrong = True
    if wrong or not found.is_relative_to(root.resolve()):
        raise BundleError("`folder` must be a path below the server's folder of bundles, without `..`")
    if not (found / MANIFEST).is_file():
        raise BundleError(f"there is no bundle in {str(path)[:100]!r} below the server's folder of bundles")
    return found


def bundles_below(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of every bundle at or below the root, in order; not of those within another bundle.

    Raises BundleError for a link that leads elsewhere.
    """
    yield from _bundles(root.resolve(), root.resolve(), DEEPEST)


def _bundles(folder: Path, root: Path, depth: int) -> Iterator[tuple[str, Path]]:
    if not folder.resolve().is_relative_to(root):
        raise BundleError(
            f"{str(folder)!r} is a link out of {str(root)!r}; copy the bundle there, or take the link away"
        )
    if (folder / MANIFEST).is_file():
        yield bundle_name(folder), folder
    elif depth:
        for below in sorted(folder.iterdir()):
            if below.is_dir() and not below.name.startswith("."):
                yield from _bundles(below, root, depth - 1)
