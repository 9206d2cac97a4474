"""The references of all bundles below a folder. Knows no tensors."""

from __future__ import annotations

from pathlib import Path

from adaptune.bundle.reference import Reference, read_references
from adaptune.serve.paths import bundles_below


def references_below(root: Path) -> dict[tuple[str, str | None], Reference]:
    """By bundle and task. Raises BundleError."""
    return {
        (name, task): reference
        for name, folder in bundles_below(root)
        for task, reference in read_references(folder).items()
    }
