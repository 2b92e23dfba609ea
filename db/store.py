"""All writes to the record: one transaction per batch, none held while anything else runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, text, update

from db.engine import BUSY_TIMEOUT_S, explained, open_engine, parse_url, shown
from db.errors import RecordUnusable
from db.facts import CaseFacts, EncryptionFacts, InterpreterFacts, NewRun, RunStatus, SampleFacts
from db.host import ProcessIdentity, is_dead, readings, this_host, this_process
from db.ledger import seal
from db.models import Case, Encryption, Host, Interpreter, Run, Sample, Stage
from db.names import display_name, storable
from db.schema import upgrade
from db.summaries import roll_up_closed_days, summarise_missing, summarise_run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store:
    """The writing side of one history database; opened once per process, used from any thread."""

    def __init__(self, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the database, creating or upgrading its tables.

        Raises:
            RecordError: it cannot be used, with what to do about it.
        """
        self._url = parse_url(url)
        self._timeout_s = timeout_s
        self._make_folder()
        self._engine = open_engine(self._url, readonly=False, timeout_s=timeout_s)
        with explained(self._url):
            upgrade(self._engine, self.where)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        # Another process opens its own.
        return type(self), (self._url.render_as_string(hide_password=False),)

    @property
    def where(self) -> str:
        """For people: the file, or the server without the password."""
        return shown(self._url)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def start_run(self, new: NewRun) -> int:
        """Write the row of a run that starts now, after marking those whose process is gone; its id."""
        host, process = this_host(), this_process()
        with self._transaction() as connection:
            host_id = connection.execute(select(Host.id).where(Host.fingerprint == host.fingerprint)).scalar()
            if host_id is None:
                host_row = {"fingerprint": host.fingerprint, "name": host.name, "facts": host.facts}
                host_id = connection.execute(insert(Host).returning(Host.id), host_row).scalar_one()
            _mark_crashed(connection, host_id)
            row = {
                "flow": new.flow,
                "flow_run_id": new.flow_run_id,
                "attempt": new.attempt,
                "deployment": new.deployment,
                "via": new.via,
                "host_id": host_id,
                "boot_id": process.boot_id,
                "pid": process.pid,
                "pid_start": process.start,
                "code_version": new.code_version,
                "parameters": new.parameters,
                "covariates": readings(),
                "status": "running",
                "started_at": datetime.now(UTC),
            }
            return connection.execute(insert(Run).returning(Run.id), row).scalar_one()

    def finish_run(self, run_id: int, status: RunStatus, error: str | None = None) -> str | None:
        """Close a run, sum it up, and seal it; the ledger's head then. One that is closed already stays as it is."""
        with self._transaction() as connection:
            return _close(connection, run_id, status, error)

    def remove_runs(self, before: datetime) -> int:
        """Remove whole closed runs that began before a time; their summaries and ledger entries stay. How many.

        The newest run is never removed, so that no number is given twice.
        """
        removed = 0
        with self._transaction() as connection:
            newest = connection.execute(select(func.max(Run.id))).scalar()
            query = select(Run.id).where(Run.started_at < before, Run.status != "running", Run.id != newest)
            run_ids = connection.execute(query.order_by(Run.id)).scalars().all()
        for run_id in run_ids:
            # One transaction each: none is held for long, and a run is there or gone as a whole.
            with self._transaction() as connection:
                seal(connection, run_id, "removed")
                payloads = select(Encryption.id).where(Encryption.run_id == run_id)
                connection.execute(delete(Stage).where(Stage.encryption_id.in_(payloads)))
                for table in (Encryption, Sample):
                    connection.execute(delete(table).where(table.run_id == run_id))
                connection.execute(delete(Run).where(Run.id == run_id))
                removed += 1
        return removed

    def refresh_summaries(self) -> tuple[int, int]:
        """Write what is missing of the summaries of closed runs and closed days; how many of each."""
        with self._transaction() as connection:
            return summarise_missing(connection), roll_up_closed_days(connection, datetime.now(UTC).date())

    def optimise(self) -> None:
        """Bring the database's own statistics up to date, and SQLite's write-ahead log back into the file."""
        with explained(self._url), self._engine.connect() as connection:
            if self._url.get_backend_name() == "sqlite":
                # Past SQLAlchemy, which would begin a transaction: the log cannot be taken in inside of one.
                driver = connection.connection.driver_connection
                driver.execute("PRAGMA optimize")  # type: ignore[union-attr]
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
            else:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))

    def record_encryptions(self, run_id: int, encryptions: Sequence[EncryptionFacts]) -> int:
        """Write payloads and their stages, all or none; the number of new rows.

        Those whose ordinal the run has already are left out, so that a batch may be recorded again.
        """
        if not encryptions:
            return 0
        with self._transaction() as connection:
            ordinals = [encryption.ordinal for encryption in encryptions]
            known = set(
                connection.execute(
                    select(Encryption.ordinal).where(
                        Encryption.run_id == run_id, Encryption.ordinal.between(min(ordinals), max(ordinals))
                    )
                ).scalars()
            )
            new = [encryption for encryption in encryptions if encryption.ordinal not in known]
            if not new:
                return 0
            ids = connection.execute(
                insert(Encryption).returning(Encryption.id, sort_by_parameter_order=True),
                [_encryption_row(run_id, encryption) for encryption in new],
            ).scalars()
            stages = [
                {
                    "encryption_id": encryption_id,
                    "position": position,
                    "program": stage.program,
                    "exit_code": stage.exit_code,
                    "wall_ns": stage.wall_ns,
                    "cpu_ns": stage.cpu_ns,
                }
                for encryption_id, encryption in zip(ids, new, strict=True)
                for position, stage in enumerate(encryption.stages)
            ]
            if stages:
                connection.execute(insert(Stage), stages)
            return len(new)

    def record_samples(
        self,
        run_id: int,
        first_ordinal: int,
        samples: Sequence[SampleFacts],
        interpreters: Mapping[str, InterpreterFacts],
    ) -> int:
        """Write samples, all or none; the number of new rows.

        Args:
            run_id: the run that they hang off.
            first_ordinal: of the first one; they count on from there. Those that the run has are left out.
            samples: in their order.
            interpreters: by fingerprint, all that the samples name.
        """
        if not samples:
            return 0
        with self._transaction() as connection:
            last = first_ordinal + len(samples) - 1
            known = set(
                connection.execute(
                    select(Sample.ordinal).where(Sample.run_id == run_id, Sample.ordinal.between(first_ordinal, last))
                ).scalars()
            )
            new = [(n, sample) for n, sample in enumerate(samples, first_ordinal) if n not in known]
            if not new:
                return 0
            keys = [(sample.case.key, sample.workload_version) for _, sample in new]
            cases = {key: sample.case for key, (_, sample) in zip(keys, new, strict=True)}
            case_ids = {key: _case_id(connection, case, key[1]) for key, case in cases.items()}
            names = {sample.interpreter for _, sample in new}
            interpreter_ids = {name: _interpreter_id(connection, interpreters[name]) for name in names}
            rows = [
                _sample_row(run_id, ordinal, case_ids[key], interpreter_ids[sample.interpreter], sample)
                for key, (ordinal, sample) in zip(keys, new, strict=True)
            ]
            connection.execute(insert(Sample), rows)
            return len(rows)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with explained(self._url), self._engine.begin() as connection:
            yield connection

    def _make_folder(self) -> None:
        """The record names people's files, so its folder is for its owner only."""
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            return
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self._url.database)), mode=0o700, exist_ok=True)
        except OSError as error:
            raise RecordUnusable(self.where, f"its folder cannot be made: {error.strerror}") from None


def _close(connection: Connection, run_id: int, status: RunStatus, error: str | None) -> str | None:
    closed = connection.execute(
        update(Run)
        .where(Run.id == run_id, Run.status == "running")
        .values(status=status, error=storable(error), finished_at=datetime.now(UTC))
    )
    if not closed.rowcount:
        return None
    summarise_run(connection, run_id)
    return seal(connection, run_id)


def _mark_crashed(connection: Connection, host_id: int) -> None:
    running = connection.execute(
        select(Run.id, Run.boot_id, Run.pid, Run.pid_start).where(Run.status == "running", Run.host_id == host_id)
    ).all()
    for row in running:
        if is_dead(ProcessIdentity(row.boot_id, row.pid, row.pid_start)):
            _close(connection, row.id, "crashed", "its process ended without a word")


def _encryption_row(run_id: int, encryption: EncryptionFacts) -> dict[str, object]:
    name, name_bytes = display_name(encryption.payload.name)
    suite, chosen = encryption.suite, encryption.chosen
    size_bytes = encryption.payload.size_bytes if encryption.size_bytes is None else encryption.size_bytes
    return {
        "run_id": run_id,
        "ordinal": encryption.ordinal,
        "name": name,
        "name_bytes": name_bytes,
        "kind": encryption.payload.kind,
        "size_bytes": size_bytes,
        "ciphertext_bytes": encryption.ciphertext_bytes,
        "suite": suite.name,
        "cipher": suite.cipher,
        "digest_algorithm": suite.digest,
        "kdf": suite.kdf,
        "iterations": suite.iterations,
        "salt": encryption.salt,
        "digest": encryption.digest,
        "backend": chosen.backend,
        "backend_detail": chosen.detail,
        "backend_reason": chosen.reason,
        "status": encryption.status,
        "cause": encryption.cause,
        "error": storable(encryption.error),
        "started_at": _EPOCH + timedelta(microseconds=encryption.started_at_ns // 1000),
        "wall_ns": encryption.wall_ns,
    }


def _sample_row(run_id: int, ordinal: int, case_id: int, interpreter_id: int, sample: SampleFacts) -> dict[str, object]:
    # Written out: of all that is done for a row, getattr by name took the most time.
    return {
        "run_id": run_id,
        "ordinal": ordinal,
        "case_id": case_id,
        "interpreter_id": interpreter_id,
        "round": sample.round,
        "started_at": sample.started_at,
        "outcome": sample.outcome,
        "expected": storable(sample.expected),
        "found": storable(sample.found),
        "error": storable(sample.error),
        "wall_ns": sample.wall_ns,
        "cpu_ns": sample.cpu_ns,
        "runq_ns": sample.runq_ns,
        "blocked_ns": sample.blocked_ns,
        "context_switches": sample.context_switches,
        "gil_on": sample.gil_on,
        "foreign_share": sample.foreign_share,
        "positive_lost": sample.positive_lost,
        "negative_lost": sample.negative_lost,
        "noisy": sample.noisy,
    }


def _case_id(connection: Connection, case: CaseFacts, workload_version: str) -> int:
    same = select(Case.id).where(Case.key == case.key, Case.workload_version == workload_version)
    found = connection.execute(same).scalar()
    if found is not None:
        return found
    axes = ("key", "experiment", "executor", "workload", "shape", "guard", "workers", "count")
    row = {"workload_version": workload_version} | {name: getattr(case, name) for name in axes}
    return connection.execute(insert(Case).returning(Case.id), row).scalar_one()


def _interpreter_id(connection: Connection, one: InterpreterFacts) -> int:
    found = connection.execute(select(Interpreter.id).where(Interpreter.fingerprint == one.fingerprint)).scalar()
    if found is not None:
        return found
    row = {
        "fingerprint": one.fingerprint,
        "label": one.label,
        "version": one.version,
        "implementation": one.implementation,
        "gil_build": one.gil_build,
        "facts": dict(one.facts),
    }
    return connection.execute(insert(Interpreter).returning(Interpreter.id), row).scalar_one()
