"""All writes to the record: one transaction per batch, none held while anything else runs.

What is written is in `db.writes`; here is when, and in which transaction.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from db.engine import BUSY_TIMEOUT_S, explained, open_engine, parse_url, shown
from db.errors import RecordUnusable
from db.facts import (
    EncryptionFacts,
    InterpreterFacts,
    NewRun,
    RunStatus,
    SampleFacts,
    SnapshotFacts,
    VaultFacts,
    VerdictFacts,
)
from db.schema import upgrade
from db.summaries import roll_up_closed_days, summarise_missing
from db.writes import runs
from db.writes.encryptions import add_encryptions
from db.writes.samples import add_samples
from db.writes.vaults import add_snapshot, add_verdicts


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

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[str]]:
        # Another process opens its own.
        url = self._url.render_as_string(hide_password=False)
        return functools.partial(type(self), timeout_s=self._timeout_s), (url,)

    @property
    def where(self) -> str:
        """For people: the file, or the server without the password."""
        return shown(self._url)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def start_run(self, new: NewRun) -> int:
        """Write the row of a run that starts now, after marking those whose process is gone; its id."""
        with self._transaction() as connection:
            return runs.start(connection, new)

    def finish_run(self, run_id: int, status: RunStatus, error: str | None = None) -> str | None:
        """Close a run, sum it up, and seal it; the ledger's head then. One that is closed already stays as it is."""
        with self._transaction() as connection:
            return runs.close(connection, run_id, status, error)

    def remove_runs(self, before: datetime) -> int:
        """Remove whole closed runs that began before a time; their summaries and ledger entries stay. How many.

        The newest run is never removed, so that no number is given twice.
        """
        with self._transaction() as connection:
            run_ids = runs.removable(connection, before)
        for run_id in run_ids:
            # One transaction each: none is held for long, and a run is there or gone as a whole.
            with self._transaction() as connection:
                runs.remove(connection, run_id)
        return len(run_ids)

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

    def record_encryptions(
        self, run_id: int, encryptions: Sequence[EncryptionFacts], vault: VaultFacts | None = None
    ) -> int:
        """Write payloads and their stages, all or none; the number of new rows.

        Those whose ordinal the run has already are left out, so that a batch may be recorded again. Unchanged ones are
        left out too: they are a count of the run's snapshot.

        Args:
            run_id: the run that they hang off.
            encryptions: in any order.
            vault: where the ciphertext of the good ones was kept; None if it was discarded.
        """
        if not encryptions:
            return 0
        with self._transaction() as connection:
            return add_encryptions(connection, run_id, encryptions, vault)

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
            return add_samples(connection, run_id, first_ordinal, samples, interpreters)

    def record_snapshot(self, run_id: int, snapshot: SnapshotFacts) -> bool:
        """Write what a run put into a vault, and raise the vault's high-water mark; False if the run has a snapshot.

        The mark never goes down: a snapshot that is older than one on record leaves it as it is.
        """
        with self._transaction() as connection:
            return add_snapshot(connection, run_id, snapshot)

    def record_verdicts(
        self, run_id: int, vault: VaultFacts, first_ordinal: int, verdicts: Sequence[VerdictFacts]
    ) -> int:
        """Write what a run found in a vault, all or none; the number of new rows.

        Args:
            run_id: the run that they hang off.
            vault: what was looked at.
            first_ordinal: of the first one; they count on from there. Those that the run has are left out.
            verdicts: in their order.
        """
        if not verdicts:
            return 0
        with self._transaction() as connection:
            return add_verdicts(connection, run_id, vault, first_ordinal, verdicts)

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
