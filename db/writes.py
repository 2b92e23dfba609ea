"""The statements that add rows to the record; each function works within the transaction of its caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Table, func, insert, or_, select, update

from db.errors import RunClosed
from db.host import ProcessIdentity, is_alive
from db.rows import InterpreterRow, PayloadRow, SampleRow, SnapshotRow, StageRow, VaultRow, VerdictRow, storable
from db.tables import CASE, ENCRYPTION, INTERPRETER, RUN, SAMPLE, SNAPSHOT, STAGE, VAULT, VERDICT
from db.tables.base import shared_columns

Ordered = TypeVar("Ordered", PayloadRow, SampleRow, VerdictRow)

# An open run says once a minute that it goes on. A record may be out of reach, or locked, for some minutes.
HEARTBEAT_S = 60.0
SILENT_AFTER = timedelta(minutes=10)

# The driver is given so many rows at once, in a form of its own: more take memory and no less time.
_ROWS_AT_ONCE = 500


def clock(connection: Connection) -> datetime:
    """The time on which all writers of this record agree: the server's, or for a file the host's."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now


def hear_of(connection: Connection, run_id: int) -> None:
    """Note that a run goes on; RunClosed if it was closed. Every write to a run begins with this."""
    still = update(RUN).where(RUN.c.id == run_id, RUN.c.status == "running")
    if not connection.execute(still.values(heard_at=clock(connection))).rowcount:
        raise run_closed(connection, run_id)


def run_closed(connection: Connection, run_id: int) -> RunClosed:
    """The error that says how a run was closed."""
    row = connection.execute(select(RUN.c.status, RUN.c.error).where(RUN.c.id == run_id)).one_or_none()
    return RunClosed(run_id, *(("removed", "by maintain") if row is None else (row.status, row.error or "by itself")))


def lost_runs(connection: Connection) -> dict[int, str]:
    """The open runs that nobody will close, each with the reason.

    The process decides where it can be looked up, however long a run is silent. Elsewhere the silence decides; a run
    that was heard of in the future has had a clock that was ahead.
    """
    found, now = {}, clock(connection)
    query = select(RUN.c.id, RUN.c.boot_id, RUN.c.pid, RUN.c.pid_start, RUN.c.heard_at).where(RUN.c.status == "running")
    for run_id, boot_id, pid, start, heard_at in connection.execute(query).all():
        alive = is_alive(ProcessIdentity(boot_id, pid, start))
        if alive is False:
            found[run_id] = "its process ended without a word"
        elif alive is None and (heard_at is None or abs(now - heard_at) > SILENT_AFTER):
            found[run_id] = f"it was not heard of for over {SILENT_AFTER.seconds // 60} minutes"
    return found


def add_payloads(connection: Connection, rows: Sequence[PayloadRow]) -> int:
    """Add the payloads that the run does not have yet, with their stages; their number."""
    new = _new_rows(connection, ENCRYPTION, rows)
    vault_ids = _vault_ids(connection, ((row.vault_id, row.kept_in) for row in new))
    values = ((*_payload(row), storable(row.error), vault_ids[row.vault_id]) for row in new)
    _insert(connection, ENCRYPTION, (*_PAYLOAD, "error", "vault_id"), values)
    if any(row.stages for row in new):
        written = select(ENCRYPTION.c.ordinal, ENCRYPTION.c.id).where(*_among(ENCRYPTION, new))
        ids = {row.ordinal: row.id for row in connection.execute(written)}
        stages = (
            (*_stage(stage), ids[row.ordinal], position) for row in new for position, stage in enumerate(row.stages)
        )
        _insert(connection, STAGE, (*_STAGE, "encryption_id", "position"), stages)
    return len(new)


def add_samples(
    connection: Connection, rows: Sequence[SampleRow], interpreter_facts: Mapping[str, Mapping[str, str]]
) -> int:
    """Add the samples that the run does not have yet, with their cases and interpreters; their number."""
    new = _new_rows(connection, SAMPLE, rows)
    cases: dict[tuple[str, str], int] = {}
    interpreters: dict[str, int] = {}
    for row in new:
        case, interpreter = (row.case, row.workload_version), row.interpreter
        if case not in cases:
            key = {"key": row.case, "workload_version": row.workload_version}
            cases[case] = id_of(connection, CASE, key, _of_case(row))
        if (name := interpreter.fingerprint) not in interpreters:
            others = _of_interpreter(interpreter) | {"facts": dict(interpreter_facts[name])}
            interpreters[name] = id_of(connection, INTERPRETER, {"fingerprint": name}, others)
    values = (
        (
            *_sample(row),
            cases[row.case, row.workload_version],
            interpreters[row.interpreter.fingerprint],
            None if row.expected is None else storable(str(row.expected)),
            None if row.found is None else storable(str(row.found)),
            storable(row.error),
        )
        for row in new
    )
    return _insert(connection, SAMPLE, (*_SAMPLE, "case_id", "interpreter_id", "expected", "found", "error"), values)


def add_snapshot(connection: Connection, row: SnapshotRow) -> bool:
    """Add a run's snapshot, and raise the vault's high-water mark to it; False if the run has a snapshot already."""
    if connection.execute(select(SNAPSHOT.c.id).where(SNAPSHOT.c.run_id == row.run_id)).first():
        return False
    seen = VaultRow(row.vault_id, row.vault_path, row.sequence, row.name, row.mac, datetime.now(UTC))
    vault_id = see_vault(connection, seen)
    connection.execute(insert(SNAPSHOT), _of_snapshot(row) | {"vault_id": vault_id, "sources": list(row.sources)})
    return True


def see_vault(connection: Connection, row: VaultRow) -> int:
    """Add a vault, or note where it is, and raise its high-water mark; the number of its row."""
    vault_id = _vault_id(connection, row.vault_id, row.path)
    if row.last_sequence is not None:
        older = or_(VAULT.c.last_sequence.is_(None), VAULT.c.last_sequence < row.last_sequence)
        mark = _of_vault(row) | {"path": storable(row.path)}
        connection.execute(update(VAULT).where(VAULT.c.id == vault_id, older).values(mark))
    return vault_id


def add_verdicts(connection: Connection, rows: Sequence[VerdictRow]) -> int:
    """Add the verdicts that the run does not have yet; their number."""
    new = _new_rows(connection, VERDICT, rows)
    vault_ids = _vault_ids(connection, ((row.vault_id, row.vault_path) for row in new))
    values = ((*_verdict(row), vault_ids[row.vault_id], storable(row.name), storable(row.error)) for row in new)
    return _insert(connection, VERDICT, (*_VERDICT, "vault_id", "name", "error"), values)


def id_of(connection: Connection, table: Table, key: Mapping[str, object], others: Mapping[str, object]) -> int:
    """The number of the row with a key; if there is none, it is written, with the values of its other columns."""
    found: int | None = connection.execute(select(table.c.id).filter_by(**key)).scalar()
    if found is not None:
        return found
    added: int = connection.execute(insert(table).returning(table.c.id), {**key, **others}).scalar_one()
    return added


def columns_of(row_type: type, table: Table) -> Callable[[object], dict[str, object]]:
    """A function that gives the values of a row's fields that are columns of the table, under the same names."""
    names = [column.key for column in shared_columns(table, row_type)]
    values_of = attrgetter(*names)
    return lambda row: dict(zip(names, values_of(row), strict=True))


def _new_rows(connection: Connection, table: Table, rows: Sequence[Ordered]) -> list[Ordered]:
    """Leave out the rows whose ordinal their run has already, so that a batch may be recorded again."""
    known = set(connection.execute(select(table.c.ordinal).where(*_among(table, rows))).scalars())
    return [row for row in rows if row.ordinal not in known]


def _insert(connection: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[object, ...]]) -> int:
    """Insert rows, each with the values of the named columns; their number.

    By the driver: SQLAlchemy's own way, by a compiled parameter for each value, takes twice as long.
    """
    dialect = connection.dialect
    own = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
    special = [(place, process) for place, process in enumerate(own) if process is not None]
    marks = ", ".join(["?" if dialect.paramstyle == "qmark" else "%s"] * len(names))
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our own names
    rows, count = iter(rows), 0
    while values := [list(row) for row in islice(rows, _ROWS_AT_ONCE)]:
        for row in values:
            for place, process in special:
                row[place] = process(row[place])
        connection.exec_driver_sql(statement, list(map(tuple, values)))
        count += len(values)
    return count


def _among(table: Table, rows: Sequence[Ordered]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The conditions that rows of a table are of the same run as these, and within the range of their ordinals."""
    ordinals = [row.ordinal for row in rows]
    return table.c.run_id == rows[0].run_id, table.c.ordinal.between(min(ordinals), max(ordinals))


def _vault_ids(connection: Connection, vaults: Iterable[tuple[str | None, str | None]]) -> dict[str | None, int | None]:
    """The numbers of the vaults' rows, by id; None for no vault."""
    ids: dict[str | None, int | None] = {None: None}
    for vault_id, path in dict.fromkeys(vaults):
        if vault_id is not None:
            ids[vault_id] = _vault_id(connection, vault_id, path)
    return ids


def _vault_id(connection: Connection, vault_id: str, path: str | None) -> int:
    """The number of a vault's row; the row is written if there is none, and learns where the vault is now."""
    place = {"path": storable(path) or "", "updated_at": datetime.now(UTC)}
    row_id = id_of(connection, VAULT, {"vault_id": vault_id}, place)
    moved = update(VAULT).where(VAULT.c.id == row_id, VAULT.c.path != place["path"])
    connection.execute(moved.values(place))
    return row_id


def _fields(row_type: type, table: Table, *but: str) -> tuple[list[str], Callable[[object], tuple[object, ...]]]:
    """The fields of a row that are columns of the table, but for some, and a function that gives their values."""
    names = [column.key for column in shared_columns(table, row_type) if column.key not in but]
    return names, attrgetter(*names)


_PAYLOAD, _payload = _fields(PayloadRow, ENCRYPTION, "error", "vault_id")
_STAGE, _stage = _fields(StageRow, STAGE)
_SAMPLE, _sample = _fields(SampleRow, SAMPLE, "expected", "found", "error")
_VERDICT, _verdict = _fields(VerdictRow, VERDICT, "vault_id", "name", "error")
_of_case = columns_of(SampleRow, CASE)
_of_interpreter = columns_of(InterpreterRow, INTERPRETER)
_of_snapshot = columns_of(SnapshotRow, SNAPSHOT)
_of_vault = columns_of(VaultRow, VAULT)
