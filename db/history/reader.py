"""The record is opened for reading here; the filters of the questions, and the SQL conditions that express them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Row,
    Select,
    String,
    and_,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from db.engine import BUSY_TIMEOUT_S, Database, checked, explained
from db.errors import RecordUnusable
from db.rows import display_name
from db.schema import check_readable
from db.tables import CASE, INTERPRETER

T = TypeVar("T")


class RecordReader(Database):
    """The reading side of one history database. A database that is not there yet reads as an empty one."""

    def __init__(self, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the database for reading. A RecordError says what to do if it cannot be read."""
        super().__init__(url, readonly=True, timeout_s=timeout_s)
        self.empty = False
        """Whether nothing has ever been recorded there."""
        self._look()

    def _look(self) -> None:
        file = self._url.database if self._url.get_backend_name() == "sqlite" else None
        if file is not None:
            try:
                os.stat(file)
            except (FileNotFoundError, NotADirectoryError):
                self.empty = True
                return
            except OSError as error:
                # A file that this user cannot see may be there.
                raise RecordUnusable(self.where, f"cannot be read: {error.strerror}") from None
        with explained(self._url):
            self.empty = not check_readable(self._engine, self.where)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the record; not for an empty record."""
        with explained(self._url), self._engine.connect() as connection:
            yield connection

    def _ask(self, question: Callable[[Connection], T], *, empty: T) -> T:
        """The answer to a question, or that of an empty record."""
        if self.empty:
            return empty
        with self._reading() as connection:
            return question(connection)

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return self._ask(lambda connection: checked(query, connection.execute(query).all()), empty=())

    def _newest(self, queries: Sequence[Select[Any]], order: Column[Any], limit: int | None) -> Sequence[Row[Any]]:
        """The newest rows of all queries: each walks its part of an index from the newest row on, up to the limit.

        The order is that of a time, or of an `id`, which no clock changes. Several queries have to select it and the
        `id`.
        """
        newest = order.desc(), order.table.c.id.desc()
        rows = [row for query in queries for row in self._rows(query.order_by(*newest).limit(limit))]
        if len(queries) > 1:
            rows.sort(key=attrgetter(order.key, "id"), reverse=True)
        return rows[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFilter:
    """Base of the filters; an empty field, or None, does not filter. `since` is included, `until` is not."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PayloadFilter(TimeFilter):
    """Which payloads to list. A payload's time is the start of its chain.

    `path` matches the very file and everything below it as a folder. `failed` keeps those that need attention.
    """

    path: bytes | None = None
    suites: Sequence[str] = ()
    failed: bool = False
    run_id: int | None = None
    backends: Sequence[str] = ()
    hosts: Sequence[str] = ()
    statuses: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SampleFilter(TimeFilter):
    """Which samples to list.

    `case` maps axes (`experiment`, `executor`, `workload`, `shape`, `guard`, `workers`) to the wanted values.
    `interpreters` are labels or beginnings of versions: `3.13t`, `3.12`, `3.11.7`.
    """

    case: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    interpreters: Sequence[str] = ()
    hosts: Sequence[str] = ()
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class SnapshotFilter(TimeFilter):
    """Which snapshots to list, by the time at which they were made. `vault_id` is 32 hex digits."""

    vault_id: str | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class VerdictFilter(TimeFilter):
    """Which verdicts to list, by the time of the look. `vault_id` is 32 hex digits.

    `path` matches the very path and everything below it as a folder; `faults` keeps only faults.
    """

    vault_id: str | None = None
    run_id: int | None = None
    name: str | None = None
    path: bytes | None = None
    kinds: Sequence[str] = ()
    faults: bool = False


@dataclass(frozen=True, slots=True)
class SeriesFilter(TimeFilter):
    """Which series to look at, of experiments and of encryptions alike. The time is the start of the run.

    `case` and `interpreters`, as in `SampleFilter`, leave no series of encryptions; `suites` and `backends` leave no
    series of experiments.
    """

    case: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    interpreters: Sequence[str] = ()
    suites: Sequence[str] = ()
    backends: Sequence[str] = ()
    hosts: Sequence[str] = ()
    series_ids: Sequence[int] = ()

    @property
    def of_samples(self) -> bool:
        """Whether it leaves only series of experiments."""
        return bool(self.case or self.interpreters)

    @property
    def of_payloads(self) -> bool:
        """Whether it leaves only series of encryptions."""
        return bool(self.suites or self.backends)


def within(column: Column[Any], time: TimeFilter) -> Iterator[ColumnElement[bool]]:
    """The conditions on a time, as far as it is limited."""
    if time.since is not None:
        yield column >= time.since
    if time.until is not None:
        yield column < time.until


def equal(column: Column[Any] | ColumnElement[Any], wanted: str | int | None) -> Iterator[ColumnElement[bool]]:
    """The condition that a column has the wanted value, if there is one."""
    if wanted is not None:
        yield column == wanted


def one_of(column: Column[Any] | ColumnElement[Any], wanted: Sequence[str | int]) -> Iterator[ColumnElement[bool]]:
    """The condition that a column has one of the wanted values, if there are any."""
    if wanted:
        yield column.in_(wanted)


def counted(*columns: Column[Any], size_bytes: Column[Any]) -> Select[Any]:
    """Select columns, how many rows have the same values in them, and the sum of the sizes of these rows."""
    # As floats: sparse files, and sizes that somebody made up, come to more than 2⁶³, which SQLite refuses to sum up.
    query = select(*columns, func.count(), func.coalesce(func.sum(cast(size_bytes, Float)), 0))
    return query.group_by(*columns).order_by(*columns)


def failed(column: Column[Any], words: Sequence[str]) -> ColumnElement[bool]:
    """The column is one of these words. They stand in the statement: only then is a partial index of such rows used."""
    return column.in_([literal_column(f"'{word}'") for word in words])


def unindexed(column: Column[Any]) -> ColumnElement[Any]:
    """The column's value, written so that no index that begins with the column is used.

    A planner without statistics prefers such an index too often: where few rows have failed, or belong to a run, those
    rows are to be found first, and not all rows of a suite.
    """
    nothing = "''" if isinstance(column.type, String) else "0"
    return column + literal_column(nothing)


def at_or_below(column: Column[Any], path: bytes) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """A path as it is, and everything below it: two conditions, each of which an index can answer."""
    name, _ = display_name(path)
    below = name.rstrip("/") + "/"
    # A range: no index answers LIKE, whose pattern would have to be escaped besides.
    return column == name, and_(column >= below, column < below[:-1] + "0")


def of_case(case: Mapping[str, Sequence[str | int]]) -> Iterator[ColumnElement[bool]]:
    """The conditions on `case`, one per axis."""
    for name, wanted in case.items():
        yield CASE.c[name].in_(wanted)


def of_interpreters(interpreters: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """The condition on `interpreter`, if there is one."""
    if interpreters:
        yield or_(*(_is_interpreter(wanted) for wanted in interpreters))


def _is_interpreter(wanted: str) -> ColumnElement[bool]:
    """A label, a version, or the beginning of a version; a `t` at its end means a free-threaded build."""
    version = wanted.removesuffix("t")
    free_threaded = version != wanted
    same = or_(INTERPRETER.c.version == version, INTERPRETER.c.version.startswith(f"{version}.", autoescape=True))
    return or_(INTERPRETER.c.label == wanted, and_(same, INTERPRETER.c.gil_build.is_(not free_threaded)))
