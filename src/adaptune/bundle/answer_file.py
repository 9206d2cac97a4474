"""The rows of a file become a file of answers, window by window: stopped, it goes on after the last row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adaptune.bundle.growing import Growing
from adaptune.bundle.load import Bundle
from adaptune.bundle.several import MultiTaskBundle
from adaptune.bundle.work import FILE, ROW, Work
from adaptune.core.errors import DataError, Interrupted
from adaptune.core.files import json_line
from adaptune.core.log import Progress, notice
from adaptune.core.types import Example
from adaptune.data.flow import Window
from adaptune.engine.signals import stopping


def answer_file(loaded: Bundle | MultiTaskBundle, work: Work, out: Path) -> None:
    """One line of JSON a row, in the order of the file; `out` is there once it is whole.

    Raises BundleError where an earlier, stopped one was made from something else, DataError where the file changed
    meanwhile, Interrupted on a signal.
    """
    with Growing(out, work.made_from) as growing, Progress(f"predict {out}", work.rows, unit="rows") as progress:
        if growing.lines:
            notice(f"{out}: going on after {growing.lines:,} of {work.rows:,} rows")
        progress.start_at(growing.lines)
        with stopping() as stop:
            for records in answered(loaded, work, skip=growing.lines):
                growing.write([json_line(record) for record in records])
                progress.advance(len(records))
                if stop.signal is not None and growing.lines < work.rows:
                    raise Interrupted(
                        f"stopped after {growing.lines:,} of {work.rows:,} rows; the same command goes on", stop.signal
                    )
        growing.finish()


def answered(loaded: Bundle | MultiTaskBundle, work: Work, *, skip: int = 0) -> Iterator[list[dict[str, Any]]]:
    """What is said of each row after the first `skip`, by windows. Raises DataError where the file changed meanwhile.

    Windows are those of the file, wherever it goes on: a batch, and so every digit, is the same.
    """
    done = 0
    for window in work.flow:
        rows = window.examples
        if window.fingerprint not in work.fingerprints:
            raise DataError(f"{work.flow.source} was changed while its rows were answered; begin anew")
        if rows and done + len(rows) > skip:
            records = _records(loaded, work, window)
            yield records[max(0, skip - done) :]
        done += len(rows)


def _records(loaded: Bundle | MultiTaskBundle, work: Work, window: Window) -> list[dict[str, Any]]:
    by_task: list[list[dict[str, Any]]] = []
    for place, name in enumerate(work.names):
        bundle = loaded.of(name)
        examples = [row[place] for row in window.examples]
        answers = bundle.answers(examples, corpus=work.corpus)
        by_task.append([bundle.describe(example, found) for example, found in zip(examples, answers, strict=True)])
    together = zip(window.examples, zip(*by_task, strict=True), strict=True)
    return [_of_row(row[0], work) | dict(_said(work, described)) for row, described in together]


def _of_row(example: Example, work: Work) -> dict[str, Any]:
    named = {FILE: example.row.source} if work.flow.of_several else {}
    return named | {ROW: example.row.number}


def _said(work: Work, described: tuple[dict[str, Any], ...]) -> Mapping[str, Any]:
    """One task's answer, or those of several by name."""
    if len(work.names) == 1:
        return described[0]
    return {str(name): answer for name, answer in zip(work.names, described, strict=True)}
