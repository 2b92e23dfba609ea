"""Every read in one place."""

from __future__ import annotations

from db.history.failures import Failures
from db.history.filters import PayloadFilter, SampleFilter, SnapshotFilter, VerdictFilter
from db.history.payloads import Payloads
from db.history.proofs import Proofs
from db.history.runs import Runs
from db.history.samples import Samples
from db.history.slowest import Slowest
from db.history.times import Times
from db.history.trends import Trends
from db.ledger import GENESIS, Verdict, head_of, verify
from db.rows import RecordSize, RunDetail
from db.sizes import RecordStats, size_of, stats_of


class History(Runs, Payloads, Samples, Times, Trends, Failures, Slowest, Proofs):
    """The reading side of one history database. A database that is not there yet reads as an empty one."""

    def detail(self, run_id: int, *, limit: int | None = None) -> RunDetail | None:
        """One run with its payloads, samples and verdicts, in their order and each up to the limit, and its seal."""
        run = self.run(run_id)
        if run is None:
            return None
        payloads = self.payloads(PayloadFilter(run_id=run_id), limit=limit)
        samples = self.samples(SampleFilter(run_id=run_id), limit=limit)
        verdicts = self.verdicts(VerdictFilter(run_id=run_id), limit=limit)
        snapshot = next(iter(self.snapshots(SnapshotFilter(run_id=run_id))), None)
        return RunDetail(run, tuple(payloads), tuple(samples), self.head(run_id), snapshot, tuple(verdicts))

    def head(self, run_id: int) -> str | None:
        """The ledger's head when the run was sealed; None as long as it is not."""
        if self.empty:
            return None
        with self._reading() as connection:
            return head_of(connection, run_id)

    def size(self) -> RecordSize:
        """Bytes and runs; SQLite's write-ahead log counts too."""
        if self.empty:
            return RecordSize(0, 0)
        with self._reading() as connection:
            return size_of(connection, self._url)

    def stats(self) -> RecordStats | None:
        """Every table's rows and bytes; None where nothing is recorded. Reads all of a SQLite file."""
        if self.empty:
            return None
        with self._reading() as connection:
            return stats_of(connection, self._url)

    def verify(self, kept_head: str | None = None) -> Verdict:
        """Whether every sealed run is as it was sealed; see `db.ledger.verify`."""
        if self.empty:
            return Verdict(GENESIS, 0, 0, ())
        with self._reading() as connection:
            return verify(connection, kept_head)
