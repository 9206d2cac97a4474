"""Predictions and corrections in a real database file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from adaptune.core.errors import DataError
from adaptune.serve.export import history_of, rows_of
from adaptune.serve.store import BadStore, Correction, Prediction, Store, StoreFault

SAID = Prediction("id-1", 0, "reviews", "0123456789ab", None, 100.0, "shop", "the film", {"label": "bad"})
RIGHT = Correction(
    request_id="id-1",
    row=0,
    bundle="reviews",
    version="0123456789ab",
    task=None,
    time=200.0,
    key="shop",
    author="Ann",
    comment=None,
    given={"label": "bad"},
    right={"label": "good"},
    training={"review": "the film", "stars": "good"},
)


Opened = Callable[[str], Store]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/feedback.db"


@pytest.fixture
def opened() -> Iterator[Opened]:
    """opened(url): a store that is closed when the test ends."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(Store(url)))


def test_what_is_remembered_is_found_until_it_is_too_old(database: str, opened: Opened) -> None:
    store = opened(database)
    store.remember([SAID, replace(SAID, row=1, input=None)])
    assert store.find("id-1", 0, since=100.0) == [SAID]
    assert store.find("id-1", 1, since=0.0) == [replace(SAID, row=1, input=None)]
    assert store.find("id-1", 0, since=100.5) == []
    assert store.find("id-2", 0, since=0.0) == []
    assert store.forget(100.0) == 0
    assert store.forget(100.5) == 2
    assert store.find("id-1", 0, since=0.0) == []


def test_an_id_that_comes_again_means_the_last_request(database: str, opened: Opened) -> None:
    store = opened(database)
    store.remember([SAID, replace(SAID, time=150.0, answer={"label": "good"})])
    assert [one.answer for one in store.find("id-1", 0, since=0.0)] == [{"label": "good"}]
    store.remember([replace(SAID, time=160.0, bundle="both", task=task) for task in ("topic", "tone")])
    assert [one.task for one in store.find("id-1", 0, since=0.0)] == ["topic", "tone"]


def test_of_several_corrections_of_a_row_the_last_is_exported(database: str, opened: Opened) -> None:
    store = opened(database)
    store.correct(RIGHT)
    store.correct(replace(RIGHT, row=1, training={"review": "the book", "stars": "bad"}))
    store.correct(replace(RIGHT, bundle="others"))
    number = store.correct(replace(RIGHT, training={"review": "the film", "stars": "neither"}))
    assert number == 4
    assert list(rows_of(database, "reviews", None)) == [
        {"review": "the book", "stars": "bad"},
        {"review": "the film", "stars": "neither"},
    ]


def test_what_there_is_no_feedback_on_is_told(database: str, opened: Opened) -> None:
    store = opened(database)
    with pytest.raises(DataError, match="there is none at all"):
        list(rows_of(database, "reviews", None))
    store.correct(RIGHT)
    store.correct(replace(RIGHT, bundle="both", task="tone"))
    with pytest.raises(DataError, match="did you mean 'reviews'"):
        list(rows_of(database, "review", None))
    with pytest.raises(DataError, match="leave --task out"):
        list(rows_of(database, "reviews", "tone"))
    with pytest.raises(DataError, match="name one: --task tone"):
        list(rows_of(database, "both", None))


def test_predictions_become_a_history(database: str, opened: Opened) -> None:
    store = opened(database)
    store.remember([replace(SAID, time=300.0, bundle="others", task="tone", input=["a", "b"]), SAID])
    assert list(history_of(database, None)) == [
        {"time": "1970-01-01T00:01:40+00:00", "bundle": "reviews", "answer": {"label": "bad"}, "text": "the film"},
        {"time": "1970-01-01T00:05:00+00:00", "bundle": "others", "answer": {"label": "bad"}, "task": "tone"},
    ]
    assert len(list(history_of(database, "others"))) == 1


def test_what_was_stored_is_there_for_the_next_process(database: str, opened: Opened) -> None:
    first = opened(database)
    first.correct(RIGHT)
    first.close()
    assert list(opened(database).corrections("reviews", None)) == [RIGHT]


def test_a_caller_finds_what_its_own_key_asked(database: str, opened: Opened) -> None:
    store = opened(database)
    store.remember([SAID, replace(SAID, key="bank", time=150.0)])
    assert store.find("id-1", 0, since=0.0, key="shop") == [SAID]
    assert [one.key for one in store.find("id-1", 0, since=0.0, key="bank")] == ["bank"]
    assert store.find("id-1", 0, since=0.0, key="other") == []
    assert [one.key for one in store.find("id-1", 0, since=0.0)] == ["bank"]


def test_texts_that_databases_stumble_over_come_back_as_they_were(database: str, opened: Opened) -> None:
    odd = {
        "text": "a\0b \N{GRINNING FACE} \N{RIGHT-TO-LEFT OVERRIDE} '; DROP TABLE adaptune_feedback; --",
        "\0": [None, 1e308],
    }
    store = opened(database)
    store.remember([replace(SAID, input=odd)])
    assert [one.input for one in store.find("id-1", 0, since=0.0)] == [odd]
    store.correct(replace(RIGHT, training=odd))
    assert [one.training for one in store.corrections("reviews", None)] == [odd]


def test_replicas_make_one_set_of_tables_at_once_and_write_side_by_side(database: str, tmp_path: Path) -> None:
    """Each a process of its own, which begins when all are ready."""
    code = """
import sys, time
from pathlib import Path
from dataclasses import replace
from adaptune.serve.store import Store, Prediction, Correction
url, number, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
(folder / f"ready-{number}").touch()
while len(list(folder.glob("ready-*"))) < 3:
    time.sleep(0.001)
store = Store(url)
said = Prediction("", 0, "reviews", "0" * 12, None, 1.0, number, None, {"label": "bad"})
right = Correction("", 0, "reviews", "0" * 12, None, 1.0, number, None, None, {}, {}, {"text": number})
for place in range(40):
    store.remember([replace(said, request_id=f"{number}-{place}", row=row) for row in range(3)])
    store.correct(replace(right, request_id=f"{number}-{place}"))
store.close()
"""
    command = [sys.executable, "-W", "error", "-c", code, database]
    writers = [subprocess.Popen([*command, str(number), str(tmp_path)]) for number in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    with closing(Store(database, create=False)) as store:
        ids = [one.request_id for one in store.corrections("reviews", None)]
        assert sorted(ids) == sorted(f"{number}-{place}" for number in range(3) for place in range(40))
        assert len(list(store.predictions(None))) == 3 * 40 * 3


def test_what_is_committed_is_on_the_disk(url: str) -> None:
    store = Store(url)
    with store._engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar() == "wal"


def test_a_full_disk_is_told_without_what_was_to_be_stored(url: str) -> None:
    store = Store(url)
    with store._engine.begin() as connection:
        pages = connection.execute(sqlalchemy.text("PRAGMA page_count")).scalar()
        connection.execute(sqlalchemy.text(f"PRAGMA max_page_count={pages}"))
    secret = replace(RIGHT, comment="secret" * 10_000)
    with pytest.raises(StoreFault, match="database or disk is full") as caught:
        store.correct(secret)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("feedback.db", "does not read"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("oracel://a/b", "no kind of database 'oracel'"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(BadStore, match=message):
        Store(url)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadStore, match=r"need another library: .*psycopg.*; pip install 'adaptune\[postgres\]'"):
        Store("postgresql+psycopg://user:secret@localhost/x")


def test_nothing_is_exported_from_what_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    sqlite3.connect(file).close()
    with pytest.raises(BadStore, match="holds no feedback"):
        list(rows_of(f"sqlite:///{file}", "reviews", None))
