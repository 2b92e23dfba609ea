"""All reads of the record: frozen rows, newest first, never ORM objects. Imports neither Alembic nor Prefect."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select

from db.engine import BUSY_TIMEOUT_S, explained, open_engine, parse_url, shown
from db.models import Case, Encryption, Host, Interpreter, Run, Sample, Stage
from db.names import display_name
from db.rows import InterpreterRow, PayloadCount, PayloadRow, RecordSize, RunDetail, RunRow, SampleRow, StageRow
from db.schema import check_readable

# Outcomes that say that something is broken: a lost update without a guard is not one.
SAMPLE_FAILURES = ("wrong-output", "broken", "crashed", "garbled", "timed-out")

# Enough for a long listing, few enough to stay under every database's bound on parameters.
_IN_LIMIT = 500


@dataclass(frozen=True, slots=True)
class PayloadFilter:
    """Which payloads to list; None does not filter.

    `path` matches the very file and everything below it as a folder. `failed` keeps failed and unstable ones.
    """

    path: bytes | None = None
    since: datetime | None = None
    suites: Sequence[str] = ()
    failed: bool = False
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Which samples to list; what is empty or None does not filter.

    `case` maps axes (`experiment`, `executor`, `workload`, `shape`, `guard`, `workers`) to the wanted values.
    `interpreters` are labels or beginnings of versions: `3.13t`, `3.12`, `3.11.7`.
    """

    case: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    interpreters: Sequence[str] = ()
    hosts: Sequence[str] = ()
    since: datetime | None = None
    run_id: int | None = None


class History:
    """The reading side of one history database. A database that is not there yet reads as an empty one."""

    def __init__(self, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the database for reading.

        Raises:
            RecordError: it cannot be read, with what to do about it.
        """
        self._url = parse_url(url)
        self._engine = open_engine(self._url, readonly=True, timeout_s=timeout_s)
        self._empty = False
        if self._url.get_backend_name() == "sqlite" and not _exists(self._url.database):
            self._empty = True
            return
        with explained(self._url):
            self._empty = not check_readable(self._engine, self.where)

    @property
    def where(self) -> str:
        """For people: the file, or the server without the password."""
        return shown(self._url)

    @property
    def empty(self) -> bool:
        """Whether nothing has ever been recorded there."""
        return self._empty

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def size(self) -> RecordSize:
        """Bytes and runs; the file's write-ahead log counts too."""
        if self._empty:
            return RecordSize(0, 0)
        runs = self._rows(select(func.count()).select_from(Run))[0][0]
        if self._url.get_backend_name() == "sqlite":
            return RecordSize(sum(map(_file_size, _files(self._url.database))), runs)
        return RecordSize(self._rows(select(func.pg_database_size(func.current_database())))[0][0], runs)

    def runs(self, *, limit: int = 20, since: datetime | None = None) -> list[RunRow]:
        """The newest runs."""
        query = _RUNS.order_by(Run.started_at.desc(), Run.id.desc()).limit(limit)
        if since is not None:
            query = query.where(Run.started_at >= since)
        return [_run_row(row) for row in self._rows(query)]

    def run(self, run_id: int) -> RunRow | None:
        """One run by its number."""
        return next((_run_row(row) for row in self._rows(_RUNS.where(Run.id == run_id))), None)

    def run_of_flow(self, flow_run_id: str) -> RunRow | None:
        """The last attempt of a Prefect flow run."""
        query = _RUNS.where(Run.flow_run_id == flow_run_id).order_by(Run.attempt.desc()).limit(1)
        return next((_run_row(row) for row in self._rows(query)), None)

    def payloads(self, which: PayloadFilter, *, limit: int | None = 20) -> list[PayloadRow]:
        """Payloads with their stages, newest first; those of one run in their order."""
        query = select(Encryption)
        if which.run_id is not None:
            query = query.where(Encryption.run_id == which.run_id).order_by(Encryption.ordinal)
        else:
            query = query.order_by(Encryption.started_at.desc(), Encryption.id.desc())
        if which.path is not None:
            name, _ = display_name(which.path)
            below = name.rstrip("/") + "/"
            # A range, which the index can answer; LIKE could not, and would have to be escaped.
            query = query.where(or_(Encryption.name == name, Encryption.name.between(below, below[:-1] + "0")))
        if which.since is not None:
            query = query.where(Encryption.started_at >= which.since)
        if which.suites:
            query = query.where(Encryption.suite.in_(which.suites))
        if which.failed:
            query = query.where(Encryption.status.in_(("failed", "unstable")))
        return self._with_stages(self._rows(query.limit(limit)))

    def last_digest(self, name: bytes) -> PayloadRow | None:
        """The newest good encryption of a file, by its absolute path."""
        text, name_bytes = display_name(name)
        query = select(Encryption).where(Encryption.name == text, Encryption.status == "ok")
        query = query.where(Encryption.kind == "file")
        query = query.where(
            Encryption.name_bytes.is_(None) if name_bytes is None else Encryption.name_bytes == name_bytes
        )
        rows = self._rows(query.order_by(Encryption.started_at.desc(), Encryption.id.desc()).limit(1))
        return next(iter(self._with_stages(rows)), None)

    def detail(self, run_id: int, *, limit: int | None = None) -> RunDetail | None:
        """One run with its payloads, in their order."""
        run = self.run(run_id)
        if run is None:
            return None
        payloads = self.payloads(PayloadFilter(run_id=run_id), limit=limit)
        return RunDetail(run, tuple(payloads), tuple(self.samples(SampleFilter(run_id=run_id), limit=limit)))

    def samples(self, which: SampleFilter, *, limit: int | None = 20) -> list[SampleRow]:
        """Samples, newest first; those of one run in their order."""
        query = _SAMPLES
        if which.run_id is None:
            query = query.order_by(Sample.started_at.desc(), Sample.id.desc())
        else:
            query = query.where(Sample.run_id == which.run_id).order_by(Sample.ordinal)
        for name, wanted in which.case.items():
            query = query.where(getattr(Case, name).in_(wanted))
        if which.interpreters:
            query = query.where(or_(*(_is_interpreter(wanted) for wanted in which.interpreters)))
        if which.hosts:
            query = query.where(Host.name.in_(which.hosts))
        if which.since is not None:
            query = query.where(Sample.started_at >= which.since)
        return [_sample_row(row) for row in self._rows(query.limit(limit))]

    def counts(self, run_id: int) -> list[PayloadCount]:
        """How the payloads of a run ended."""
        query = (
            select(Encryption.status, Encryption.cause, func.count(), func.coalesce(func.sum(Encryption.size_bytes), 0))
            .where(Encryption.run_id == run_id)
            .group_by(Encryption.status, Encryption.cause)
            .order_by(Encryption.status, Encryption.cause)
        )
        return [PayloadCount(status, cause, count, int(size)) for status, cause, count, size in self._rows(query)]

    def runs_with(self, experiment: str, *, since: datetime | None = None, limit: int = 5) -> list[int]:
        """The newest runs that have samples of an experiment."""
        query = select(Sample.run_id).join(Case).where(Case.experiment == experiment).group_by(Sample.run_id)
        if since is not None:
            query = query.where(Sample.started_at >= since)
        return [row[0] for row in self._rows(query.order_by(Sample.run_id.desc()).limit(limit))]

    def failed_samples(self, run_id: int) -> int:
        """Samples of a run that say that something is broken."""
        query = select(func.count()).where(Sample.run_id == run_id, Sample.outcome.in_(SAMPLE_FAILURES))
        return int(self._rows(query)[0][0]) if not self._empty else 0

    def done_before(self, flow_run_id: str) -> frozenset[tuple[bytes, str, str]]:
        """What earlier attempts of a Prefect flow run have recorded as good: (name, suite, backend)."""
        query = (
            select(Encryption.name, Encryption.name_bytes, Encryption.suite, Encryption.backend)
            .join(Run)
            .where(Run.flow_run_id == flow_run_id, Encryption.status == "ok")
        )
        return frozenset((row.name_bytes or row.name.encode(), row.suite, row.backend) for row in self._rows(query))

    def _with_stages(self, rows: Sequence[Row[Any]]) -> list[PayloadRow]:
        stages: dict[int, list[StageRow]] = defaultdict(list)
        ids = [row.id for row in rows]
        for start in range(0, len(ids), _IN_LIMIT):
            some = ids[start : start + _IN_LIMIT]
            query = select(Stage).where(Stage.encryption_id.in_(some)).order_by(Stage.encryption_id, Stage.position)
            for row in self._rows(query):
                stages[row.encryption_id].append(StageRow(row.program, row.exit_code, row.wall_ns, row.cpu_ns))
        return [_payload_row(row, stages[row.id]) for row in rows]

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        if self._empty:
            return []
        with explained(self._url), self._engine.connect() as connection:
            return connection.execute(query).all()


_RUNS = select(
    *(getattr(Run, field.name) for field in fields(RunRow) if field.name != "host"), Host.name.label("host")
).join(Host)


_CASE_AXES = ("experiment", "executor", "workload", "shape", "guard", "workers", "count", "workload_version")
_SAMPLE_FIELDS = tuple(one.name for one in fields(SampleRow) if one.name not in (*_CASE_AXES, "host", "interpreter"))
_INTERPRETER_FIELDS = tuple(one.name for one in fields(InterpreterRow))
_SAMPLES = (
    select(
        *(getattr(Sample, name) for name in _SAMPLE_FIELDS),
        *(getattr(Case, name) for name in _CASE_AXES),
        *(getattr(Interpreter, name).label(f"interpreter_{name}") for name in _INTERPRETER_FIELDS),
        Host.name.label("host"),
    )
    .select_from(Sample)
    .join(Case)
    .join(Interpreter)
    .join(Run, Sample.run_id == Run.id)
    .join(Host)
)


def _is_interpreter(wanted: str) -> ColumnElement[bool]:
    """A label as it is, or a version or a beginning of one; with a `t` at its end, of a free-threaded build."""
    version = wanted.removesuffix("t")
    free_threaded = version != wanted
    same = or_(Interpreter.version == version, Interpreter.version.startswith(f"{version}.", autoescape=True))
    return or_(Interpreter.label == wanted, and_(same, Interpreter.gil_build.is_(not free_threaded)))


def _sample_row(row: Row[Any]) -> SampleRow:
    values = row._asdict()
    interpreter = InterpreterRow(**{name: values.pop(f"interpreter_{name}") for name in _INTERPRETER_FIELDS})
    return SampleRow(**values, interpreter=interpreter)


def _run_row(row: Row[Any]) -> RunRow:
    return RunRow(**row._asdict())


def _payload_row(row: Row[Any], stages: Sequence[StageRow]) -> PayloadRow:
    values = {field.name: getattr(row, field.name) for field in fields(PayloadRow) if field.name != "stages"}
    for name in ("name_bytes", "salt", "digest"):
        values[name] = None if values[name] is None else values[name].hex()
    return PayloadRow(**values, stages=tuple(stages))


def _exists(path: str | None) -> bool:
    return path is not None and os.path.exists(path)


def _files(database: str | None) -> tuple[str, ...]:
    """The files of a SQLite database."""
    return (database, f"{database}-wal") if database else ()


def _file_size(path: str) -> int:
    """0 for one that is not there."""
    return os.path.getsize(path) if os.path.exists(path) else 0
