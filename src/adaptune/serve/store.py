"""Predictions and what was said of them, in a database: the one place that knows SQLAlchemy. Knows no bundles."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from adaptune.core.errors import AdaptuneError

BUSY = 5.0
"""Seconds that SQLite waits for another process's write."""
TRIES, PAUSE = 8, 0.1
"""How often tables that another server is making are looked for, and seconds between."""
AT_A_TIME = 1000
"""Rows that an export holds in memory."""


class StoreFault(AdaptuneError):
    """The database did not do what it was asked to, through no fault of the request."""


class BadStore(AdaptuneError):
    """An address of a database that cannot be used."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered row."""

    request_id: str
    row: int
    bundle: str
    version: str
    task: str | None
    time: float
    """Seconds since 1970."""
    key: str
    """Whose API key it was."""
    input: Any
    """None where texts are not kept."""
    answer: Any
    """As it was given; without its texts where these are not kept."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What is right, beside what was said."""

    request_id: str
    row: int
    bundle: str
    version: str
    task: str | None
    time: float
    key: str
    author: str | None
    comment: str | None
    given: Any
    """The answer that is corrected."""
    right: Any
    """By the task's columns."""
    training: Any
    """The whole row, by the columns of the bundle's training files."""


_DATA = sql.MetaData()
_NUMBER = sql.BigInteger().with_variant(sql.Integer(), "sqlite")
"""SQLite numbers rows by itself in a column of this one type, in 64 bits."""
_PREDICTIONS = sql.Table(
    "adaptune_predictions",
    _DATA,
    sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("request_id", sql.String(64), nullable=False),
    sql.Column("row", sql.Integer, nullable=False),
    sql.Column("bundle", sql.String(100), nullable=False),
    sql.Column("version", sql.String(12), nullable=False),
    sql.Column("task", sql.String(300)),
    sql.Column("time", sql.Float(53), nullable=False, index=True),
    sql.Column("key", sql.String(64), nullable=False),
    sql.Column("input", sql.JSON(none_as_null=True)),
    sql.Column("answer", sql.JSON, nullable=False),
    sql.Index("adaptune_predictions_of_request", "request_id", "row"),
)
_CORRECTIONS = sql.Table(
    "adaptune_feedback",
    _DATA,
    sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("request_id", sql.String(64), nullable=False),
    sql.Column("row", sql.Integer, nullable=False),
    sql.Column("bundle", sql.String(100), nullable=False, index=True),
    sql.Column("version", sql.String(12), nullable=False),
    sql.Column("task", sql.String(300)),
    sql.Column("time", sql.Float(53), nullable=False),
    sql.Column("key", sql.String(64), nullable=False),
    sql.Column("author", sql.String(200)),
    sql.Column("comment", sql.Text),
    sql.Column("given", sql.JSON, nullable=False),
    sql.Column("right", sql.JSON, nullable=False),
    sql.Column("training", sql.JSON, nullable=False),
)


class Store:
    """One database; several servers may share it, if it is no file."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """`create`: make what is not there. Raises BadStore."""
        self._engine = _engine(_checked(url))
        self.shown = self._engine.url.render_as_string(hide_password=True)
        try:
            if create:
                self._create()
            elif not sql.inspect(self._engine).has_table(_CORRECTIONS.name):
                raise BadStore(f"{self.shown} holds no feedback; name what the server was given as --store")
        except SQLAlchemyError as error:
            raise BadStore(f"the database {self.shown} cannot be used: {_cause(error)}") from None

    def _create(self) -> None:
        """What is not there yet; another server may be making it at this moment, and is then waited for."""
        for _ in range(TRIES):
            try:
                _DATA.create_all(self._engine)
                return
            except (IntegrityError, ProgrammingError):
                time.sleep(PAUSE)
            except OperationalError:
                if self._engine.dialect.name != "sqlite":
                    raise
                time.sleep(PAUSE)
        _DATA.create_all(self._engine)

    def remember(self, predictions: Sequence[Prediction]) -> None:
        """All of them, or none. Raises StoreFault."""
        with self._begin() as connection:
            connection.execute(sql.insert(_PREDICTIONS), [asdict(one) for one in predictions])

    def forget(self, before: float) -> int:
        """How many predictions there were from before a moment, which are gone. Raises StoreFault."""
        with self._begin() as connection:
            return connection.execute(sql.delete(_PREDICTIONS).where(_PREDICTIONS.c.time < before)).rowcount

    def find(self, request_id: str, row: int, *, since: float, key: str | None = None) -> list[Prediction]:
        """What was said of a row last, by each task; to this API key, where one is named. Raises StoreFault."""
        table = _PREDICTIONS.c
        mine = (table.request_id == request_id) & (table.row == row) & (table.time >= since)
        mine = mine if key is None else mine & (table.key == key)
        with self._begin() as connection:
            found = connection.execute(sql.select(_PREDICTIONS).where(mine).order_by(table.id)).mappings().all()
        # An id that a caller sends may come again: the last request that had it is meant.
        predictions = [_made(Prediction, one) for one in found]
        last = predictions[-1:]
        mates = [one for one in predictions if last and (one.time, one.bundle) == (last[0].time, last[0].bundle)]
        return list({one.task: one for one in mates}.values())

    def correct(self, correction: Correction) -> int:
        """The number under which it now stands on the disk. Raises StoreFault."""
        with self._begin() as connection:
            found = connection.execute(sql.insert(_CORRECTIONS).values(asdict(correction)))
            [number] = found.inserted_primary_key or [0]
        return int(number)

    def corrections(self, bundle: str, task: str | None) -> Iterator[Correction]:
        """The last one of every row, the oldest first. Raises StoreFault."""
        table = _CORRECTIONS.c
        mine = (table.bundle == bundle) & (table.task.is_(None) if task is None else table.task == task)
        newest = sql.select(sql.func.max(table.id)).where(mine).group_by(table.request_id, table.row)
        for found in self._stream(sql.select(_CORRECTIONS).where(table.id.in_(newest)).order_by(table.id)):
            yield _made(Correction, found)

    def corrected(self) -> list[tuple[str, str | None]]:
        """Bundles and tasks of which there is feedback. Raises StoreFault."""
        names = sql.select(_CORRECTIONS.c.bundle, _CORRECTIONS.c.task).distinct()
        with self._begin() as connection:
            return sorted(((bundle, task) for bundle, task in connection.execute(names)), key=str)

    def predictions(self, bundle: str | None) -> Iterator[Prediction]:
        """Those of a bundle, or of all, by time. Raises StoreFault."""
        table = _PREDICTIONS.c
        query = sql.select(_PREDICTIONS).order_by(table.time, table.id)
        for found in self._stream(query if bundle is None else query.where(table.bundle == bundle)):
            yield _made(Prediction, found)

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """A transaction, committed at the end of the block."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreFault(f"the database of predictions and feedback failed: {_cause(error)}; ask again") from None

    def _stream(self, query: sql.Select[Any]) -> Iterator[Any]:
        with self._begin() as connection:
            yield from connection.execution_options(yield_per=AT_A_TIME).execute(query).mappings()


def _checked(url: str) -> URL:
    try:
        found = make_url(url)
    except ArgumentError:
        raise BadStore(
            "the address of the database does not read; expected one such as sqlite:///feedback.db or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from None
    if found.get_backend_name() == "sqlite" and found.database in (None, "", ":memory:"):
        raise BadStore("a database in memory is gone with the server; name a file: sqlite:///feedback.db")
    return found


def _engine(url: URL) -> Engine:
    """Raises BadStore where the library for it is missing."""
    sqlite = url.get_backend_name() == "sqlite"
    try:
        engine = sql.create_engine(url, pool_pre_ping=not sqlite, connect_args={"timeout": BUSY} if sqlite else {})
    except NoSuchModuleError:
        raise BadStore(f"there is no kind of database {url.drivername!r}; use sqlite or postgresql+psycopg") from None
    except ImportError as error:  # also where the library is there, and a part of it is not
        needed = f"{error}; pip install 'adaptune[postgres]'" if "postgresql" in url.drivername else str(error)
        raise BadStore(f"databases of the kind {url.drivername!r} need another library: {needed}") from None
    if sqlite:
        sql.event.listen(engine, "connect", _durably)
    return engine


def _durably(connection: Any, _record: Any) -> None:
    """What is committed outlives a power cut, and readers do not hinder the writer."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _made(kind: type[Any], found: Any) -> Any:
    return kind(**{name: value for name, value in found.items() if name != "id"})


def _cause(error: SQLAlchemyError) -> str:
    """Without the statement and its values, which are confidential."""
    original = getattr(error, "orig", None)
    return str(original or type(error).__name__).splitlines()[0]
