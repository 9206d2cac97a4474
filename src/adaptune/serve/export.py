"""What a database of feedback holds, as rows of files. Knows no bundles and no models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from adaptune.core.errors import DataError, nearest
from adaptune.serve.store import Store
from adaptune.serve.watch.alerts import moment


def rows_of(url: str, bundle: str, task: str | None) -> Iterator[Mapping[str, Any]]:
    """Corrections as training rows. Raises DataError where there are none of this bundle and task, BadStore."""
    with closing(Store(url, create=False)) as store:
        known = store.corrected()
        if (bundle, task) not in known:
            raise DataError(_nothing(bundle, known))
        for one in store.corrections(bundle, task):
            yield one.training


def history_of(url: str, bundle: str | None) -> Iterator[Mapping[str, Any]]:
    """Remembered predictions as rows of a history, by time. Raises BadStore."""
    with closing(Store(url, create=False)) as store:
        for one in store.predictions(bundle):
            row = {"time": moment(one.time), "bundle": one.bundle, "answer": one.answer}
            row |= {} if one.task is None else {"task": one.task}
            yield row | ({"text": one.input} if isinstance(one.input, str) else {})


def _nothing(bundle: str, known: list[tuple[str, str | None]]) -> str:
    tasks = [name for of, name in known if of == bundle]
    if any(name is not None for name in tasks):
        return f"feedback on bundle {bundle!r} is on its tasks; name one: --task {' or '.join(map(str, tasks))}"
    if tasks:
        return f"bundle {bundle!r} has one task, without a name; leave --task out"
    names = sorted({of for of, _ in known})
    there = f"there is some on: {', '.join(names)}" if names else "there is none at all"
    return f"there is no feedback on bundle {bundle!r}{nearest(bundle, names)} ({there})"
