"""All reads of the record: frozen rows. Imports neither Alembic nor Prefect.

`History` opens a database for reading; each of its methods answers one kind of question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.answers import RecordSize
from db.history.proofs import ProofReads
from db.history.reader import PayloadFilter, SampleFilter, SeriesFilter, SnapshotFilter, VerdictFilter
from db.history.runs import PayloadReads, RunReads, SampleReads
from db.history.series import TrendReads
from db.history.worst import FailureKind, FailureReads, SlowestReads
from db.ledger import GENESIS, LedgerCheck, head_of, verify
from db.rows import RunDetail

if TYPE_CHECKING:
    from db.health import RecordStats

__all__ = ["FailureKind", "History", "PayloadFilter", "SampleFilter", "SeriesFilter", "SnapshotFilter", "VerdictFilter"]


class History(RunReads, PayloadReads, SampleReads, TrendReads, FailureReads, SlowestReads, ProofReads):
    """The reading side of one history database. A database that is not there yet reads as an empty one."""

    def detail(self, run_id: int) -> RunDetail | None:
        """One run with all its payloads, samples and verdicts, in their order, and its seal."""
        run = self.run(run_id)
        if run is None:
            return None
        payloads = self.payloads(PayloadFilter(run_id=run_id), limit=None)
        samples = self.samples(SampleFilter(run_id=run_id), limit=None)
        verdicts = self.verdicts(VerdictFilter(run_id=run_id), limit=None)
        snapshot = next(iter(self.snapshots(SnapshotFilter(run_id=run_id))), None)
        return RunDetail(run, tuple(payloads), tuple(samples), self.head(run_id), snapshot, tuple(verdicts))

    def head(self, run_id: int) -> str | None:
        """The ledger's head when the run was sealed; None before that."""
        return self._ask(lambda connection: head_of(connection, run_id), empty=None)

    def size(self) -> RecordSize:
        """How many bytes the record takes, SQLite's write-ahead log included, and how many runs it has."""
        # Late: few commands ask for it.
        from db.health import size_of

        return self._ask(lambda connection: size_of(connection, self._url), empty=RecordSize(0, 0))

    def stats(self) -> RecordStats | None:
        """The rows and bytes of every table; None where nothing is recorded. Reads all of a SQLite file."""
        from db.health import stats_of

        return self._ask(lambda connection: stats_of(connection, self._url), empty=None)

    def verify(self, kept_head: str | None = None) -> LedgerCheck:
        """Check that every sealed run is as it was sealed; see `db.ledger.verify`."""
        return self._ask(lambda connection: verify(connection, kept_head), empty=LedgerCheck(GENESIS, 0, 0, ()))
