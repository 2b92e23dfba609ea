"""All writes to the record: one transaction per batch, none held while anything else runs."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select, text, update

from db.engine import BUSY_TIMEOUT_S, Database, explained
from db.errors import RecordError, RecordUnusable, RunClosed
from db.host import (
    CLOCKS_DIFFER,
    Interference,
    interference,
    readings,
    this_host,
    this_limits,
    this_process,
    uptime_ns,
)
from db.ledger import head_of, seal
from db.readable import BEGUN, check_tables, private_file
from db.rows import NewRun, PayloadRow, SampleRow, SnapshotRow, VaultRow, VerdictRow, storable
from db.schema import upgrade
from db.summaries import roll_up_closed_days, summarise_run
from db.tables import ENCRYPTION, HOST, RUN, RUN_TABLES, STAGE
from db.words import RunStatus
from db.writes import (
    HEARTBEAT_S,
    add_payloads,
    add_samples,
    add_snapshot,
    add_verdicts,
    clock,
    columns_of,
    hear_of,
    id_of,
    lost_runs,
    run_closed,
    see_vault,
)

# A server is back soon after its restart, and a lock is released some day; a full disk stays full.
AGAIN_AFTER_S: tuple[float, ...] = (1, 10)

T = TypeVar("T")
Row = TypeVar("Row", PayloadRow, SampleRow, VerdictRow)


class Store(Database):
    """The writing side of one history database; opened once per process, used from any thread."""

    def __init__(self, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the database, creating or upgrading its tables. A RecordError says what to do if it cannot be used."""
        super().__init__(url, readonly=False, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        # By run that this process has begun, the state of the host then and its uptime.
        self._began: dict[int, tuple[Interference, int]] = {}
        self._prepare()

    def _prepare(self) -> None:
        self._make_file()
        with explained(self._url):
            upgrade(self._engine, self.where)
        if self._url.get_backend_name() == "sqlite":
            with suppress(OSError):
                os.unlink(f"{self._url.database}{BEGUN}")

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[str]]:
        # Another process opens its own connections.
        url = self._url.render_as_string(hide_password=False)
        return functools.partial(type(self), timeout_s=self._timeout_s), (url,)

    def start_run(self, new: NewRun) -> int:
        """Write the row of a run that starts now, after closing those that are lost as crashed; the new run's id."""
        host, process = this_host(), this_process()
        row = _of_new_run(new) | {
            "boot_id": process.boot_id,
            "pid": process.pid,
            "pid_start": process.start,
            **asdict(this_limits()),
            "covariates": readings(),
            "status": "running",
        }
        with self.transaction() as connection:
            host_row = {"name": host.name, "facts": host.facts}
            host_id = id_of(connection, HOST, {"fingerprint": host.fingerprint}, host_row)
            for lost, why in lost_runs(connection).items():
                _close_run(connection, lost, "crashed", why, {})
            row |= {"host_id": host_id, "started_at": datetime.now(UTC), "heard_at": clock(connection)}
            run_id: int = connection.execute(insert(RUN).returning(RUN.c.id), row).scalar_one()
        self._began[run_id] = interference(), uptime_ns()
        return run_id

    def beat(self, run_id: int) -> None:
        """Note that a run goes on; RunClosed if it was closed."""
        with self.transaction() as connection:
            hear_of(connection, run_id)

    @contextmanager
    def heartbeat(self, run_id: int, closed: Callable[[], object]) -> Iterator[None]:
        """Note once a minute that a run goes on; call `closed` if it was closed meanwhile."""
        done = threading.Event()

        def go_on() -> None:
            while not done.wait(HEARTBEAT_S):
                try:
                    self.beat(run_id)
                except RunClosed:
                    closed()
                    break
                except RecordError:
                    # The next one comes soon enough.
                    continue

        thread = threading.Thread(target=go_on, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def finish_run(self, run_id: int, status: RunStatus, error: str | None = None) -> str | None:
        """Close a run, sum it up, and seal it; the ledger's head then. RunClosed if it was closed, which stays so.

        The end of a run that began here is its beginning and the time that it took, whatever was done to the clock.
        """
        before, began_ns = self._began.get(run_id, (None, 0))
        took = timedelta(microseconds=(uptime_ns() - began_ns) // 1000) if before else None
        facts = interference().since(before) if before else {}

        def close(connection: Connection) -> str | None:
            try:
                return _close_run(connection, run_id, status, error, facts, took)
            except RunClosed as closed:
                # A server that went away had taken the first try: others close a run as crashed only.
                if closed.status == status:
                    return head_of(connection, run_id)
                raise

        return self._write(close)

    def remove_runs(self, before: datetime, *, by: int | None = None) -> int:
        """Remove whole closed runs that began before a time; their number. Their summaries and ledger entries stay.

        See `outdated`. The newest run is never removed, so that no number is given twice; the run that removes, `by`,
        stays beside it.
        """
        with self.transaction() as connection:
            query = select(RUN.c.id, RUN.c.started_at, RUN.c.status).order_by(RUN.c.id)
            runs = connection.execute(query.where(RUN.c.id != (by or 0))).all()
        count = outdated([row.started_at for row in runs], before, datetime.now(UTC))
        run_ids = [row.id for row in runs[:count] if row.status != "running"]
        for run_id in run_ids:
            # One transaction per run: no lock is held for long, and a run is there or gone as a whole.
            with self.transaction() as connection:
                _remove_run(connection, run_id)
        return len(run_ids)

    def roll_up_days(self) -> int:
        """Write the summaries of closed days that are not there yet; how many days."""
        with self.transaction() as connection:
            return roll_up_closed_days(connection, datetime.now(UTC).date())

    def optimise(self) -> None:
        """Bring the database's own statistics up to date, and SQLite's write-ahead log back into the file."""
        with explained(self._url), self._engine.connect() as connection:
            if self._url.get_backend_name() == "sqlite":
                # Past SQLAlchemy, which would begin a transaction: the log cannot be emptied within one.
                driver = connection.connection.driver_connection
                driver.execute("PRAGMA optimize")  # type: ignore[union-attr]
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
            else:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))

    def record_payloads(self, rows: Sequence[PayloadRow]) -> int:
        """Write payloads of one run and their stages, all or none; the number of new rows.

        Here and below, rows whose ordinal the run has already are left out, so that a batch may be recorded again, and
        a run that was closed meanwhile gets nothing: RunClosed.
        """
        return self._add(add_payloads, rows)

    def record_samples(self, rows: Sequence[SampleRow], interpreter_facts: Mapping[str, Mapping[str, str]]) -> int:
        """Write samples of one run, all or none, with facts of interpreters by fingerprint; the number of new rows."""
        return self._add(functools.partial(add_samples, interpreter_facts=interpreter_facts), rows)

    def record_verdicts(self, rows: Sequence[VerdictRow]) -> int:
        """Write the verdicts of one run on a vault, all or none; the number of new rows."""
        return self._add(add_verdicts, rows)

    def record_snapshot(self, row: SnapshotRow) -> bool:
        """Write the snapshot that a run added to a vault, and raise the vault's mark; False if the run has a snapshot.

        The mark never goes down: a snapshot that is older than one on record leaves it as it is.
        """

        def write(connection: Connection) -> bool:
            hear_of(connection, row.run_id)
            return add_snapshot(connection, row)

        return self._write(write)

    def record_vault(self, row: VaultRow) -> None:
        """Write where a vault is, and raise its mark as a snapshot would."""
        with self.transaction() as connection:
            see_vault(connection, row)

    def _add(self, add: Callable[[Connection, Sequence[Row]], int], rows: Sequence[Row]) -> int:
        if not rows:
            return 0

        def write(connection: Connection) -> int:
            hear_of(connection, rows[0].run_id)
            return add(connection, rows)

        return self._write(write)

    def _write(self, write: Callable[[Connection], T]) -> T:
        """Write in a transaction; again in another one, after 1 and 10 s, where the fault may pass."""
        for pause_s in AGAIN_AFTER_S:
            try:
                with self.transaction() as connection:
                    return write(connection)
            except RecordUnusable as error:
                if not error.transient:
                    raise
            time.sleep(pause_s)
        with self.transaction() as connection:
            return write(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that holds the one write lock, and is undone after an error."""
        with explained(self._url), self._engine.begin() as connection:
            yield connection

    def _make_file(self) -> None:
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            try:
                private_file(self._url.database)
                if not os.path.getsize(self._url.database):
                    private_file(f"{self._url.database}{BEGUN}")
                check_tables(self._url.database)
            except OSError as error:
                raise RecordUnusable(self.where, f"{error.filename} cannot be used: {error.strerror}") from None


def outdated(begins: Sequence[datetime], before: datetime, now: datetime) -> int:
    """How many runs, from the first recorded one on, began before a time; the newest one is never among them.

    The order of recording counts: a run that seems to have begun before a time, but was recorded after one that began
    later, had a clock that was behind. The clock of a run that seems to begin after now was ahead, and says nothing.
    """
    young = (place for place, begin in enumerate(begins) if before <= begin <= now + CLOCKS_DIFFER)
    first = next(young, len(begins))
    return next((place + 1 for place in reversed(range(min(first, len(begins) - 1))) if begins[place] < before), 0)


def _close_run(
    connection: Connection,
    run_id: int,
    status: RunStatus,
    error: str | None,
    readings: Mapping[str, object],
    took: timedelta | None = None,
) -> str:
    running = RUN.c.id == run_id, RUN.c.status == "running"
    row = connection.execute(select(RUN.c.covariates, RUN.c.started_at).where(*running)).one_or_none()
    if row is None:
        raise run_closed(connection, run_id)
    finished_at = datetime.now(UTC) if took is None else row.started_at + took
    end = {"status": status, "error": storable(error), "finished_at": finished_at, "heard_at": None}
    connection.execute(update(RUN).where(*running).values(end | {"covariates": {**row.covariates, **readings}}))
    summarise_run(connection, run_id)
    return seal(connection, run_id)


def _remove_run(connection: Connection, run_id: int) -> None:
    """Remove a run and all rows that hang off it, and say so in the ledger. Its summaries and its vaults stay."""
    seal(connection, run_id, "removed")
    payloads = select(ENCRYPTION.c.id).where(ENCRYPTION.c.run_id == run_id)
    connection.execute(delete(STAGE).where(STAGE.c.encryption_id.in_(payloads)))
    for table in RUN_TABLES:
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(RUN).where(RUN.c.id == run_id))


_of_new_run = columns_of(NewRun, RUN)
