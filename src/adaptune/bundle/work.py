"""What answering a file stands on, all that can be refused before a model is loaded. Knows no tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import adaptune
from adaptune.bundle.check import sha256_of
from adaptune.bundle.growing import Growing
from adaptune.bundle.manifest import MANIFEST, Manifest
from adaptune.core.errors import BundleError
from adaptune.data.flow import Flow, Reader, examine_flow, refuse_together

ROW, FILE = "row", "file"
"""How a line names its row."""
AHEAD = 4096
"""Rows that are sorted by length together, answered, and written."""
LONG = 256
"""The same where the whole vocabulary is read or texts are written, which takes long."""
SEARCHED = 65_536
"""The same where a corpus is searched, whose vectors are computed anew for each."""


@dataclass(frozen=True, slots=True)
class Work:
    """The rows of a file, examined, and for which tasks of a bundle they are answered."""

    flow: Flow
    names: tuple[str | None, ...]
    """Of the tasks, in the order of the flow's readers; None for the only one."""
    corpus: tuple[str, ...] | None
    rows: int
    """That will be answered."""
    fingerprints: tuple[str, ...]
    """SHA-256 of each of the files that hold them."""
    made_from: Mapping[str, str]
    """What every line depends on, by name: digests."""


def work_of(
    folder: Path,
    manifest: Manifest,
    source: str,
    readers: Mapping[str | None, Reader],
    *,
    corpus: Sequence[str] | None = None,
    out: Path | None = None,
) -> Work:
    """Read all rows of a source once; `out`: the file to be written, beside which those that are left out are listed.

    Raises DataError, and BundleError where `out` was begun with something else.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise BundleError(f"there is no folder {str(out.parent)!r} to write {out.name!r} to; make it first")
    tasks = {str(name): reader.task for name, reader in readers.items()}
    refuse_together(tasks)
    if taken := {ROW, FILE} & tasks.keys() if len(readers) > 1 else None:
        name = min(taken)
        raise BundleError(
            f"{name!r} is the name of a task and of what says which row a line answers; add --task {name}"
        )
    flow = Flow(source, tuple(readers.values()), _size(manifest, readers, searched=corpus is not None))
    found = examine_flow(flow, None if out is None else out.with_name(f"{out.name}.rejected.jsonl"))
    settings = [reader.config.model_dump(mode="json") for reader in readers.values()]
    made_from = {
        "input": _digest(found.fingerprints),
        "bundle": sha256_of(folder / MANIFEST),
        "setting": _digest([settings, list(readers), flow.size]),
        "version of adaptune": adaptune.__version__,
    }
    if corpus is not None:
        made_from["corpus"] = _digest(list(corpus))
    if out is not None:
        Growing(out, made_from).check()
    return Work(
        flow=flow,
        names=tuple(readers),
        corpus=None if corpus is None else tuple(corpus),
        rows=found.rows,
        fingerprints=found.fingerprints,
        made_from=made_from,
    )


def _size(manifest: Manifest, readers: Mapping[str | None, Reader], *, searched: bool) -> int:
    heads = [manifest.alone(name).make_head() for name in readers]
    if any(head.writes or head.learns_texts for head in heads):
        return LONG
    return SEARCHED if searched else AHEAD


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
