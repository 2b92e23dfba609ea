"""What a flow run's log says: a line a batch or a round, a warning for whatever needs eyes, and where to look."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows.jobs.measured import fault_text, labels_of
from flows.jobs.plan import Plan
from flows.jobs.run import OpenRun
from flows.text import duration, plural, size, visible
from tasks.axes import Outcome
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import BatchSummary
from tasks.threads.planning import Plan as Rounds
from tasks.threads.planning import Round
from tasks.threads.samples import Sample

# A round of all interpreters takes minutes.
_QUIET_S = 60.0
# A run of which everything fails has enough of them; all are on record.
_WARNINGS = 50

Word = TypeVar("Word", bound=str)


class LogReporter:
    """A `Reporter` that tells the run's logger; `run_id` is set once the run has its row."""

    def __init__(self) -> None:
        self._logger = get_run_logger()
        self._begun = self._since = self._told = monotonic()
        self._total = self._done = self._done_bytes = 0
        self._several = False
        self._rounds = 0
        self._labels: dict[str, str] = {}
        self._samples = self._noisy = self._warnings = 0
        self.run_id: int | None = None

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        self._total, self._since = plan.total, monotonic()
        self._several = len(plan.parts) > 1
        ways = "; ".join(f"{part.suite.name} on {part.chosen.backend} ({part.chosen.reason})" for part in plan.parts)
        self._logger.info(
            "planned %s payloads, %s: %s", f"{plan.total:,}", size(plan.size_bytes * len(plan.parts)), ways
        )

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id
        self._logger.info("recording as run %d", run_id)

    def batch_done(self, batch: Batch, summary: BatchSummary) -> None:
        """See `Reporter`."""
        self._done += summary.payloads
        self._done_bytes += summary.size_bytes
        seconds = max(monotonic() - self._since, 1e-9)
        self._logger.info(
            "batch %d%s: %s; %s of %s payloads, %.0f a second, %s/s",
            batch.number,
            f" ({batch.suite} on {batch.chosen.backend})" if self._several else "",
            _counts(summary.counts),
            f"{self._done:,}",
            f"{self._total:,}",
            self._done / seconds,
            size(self._done_bytes / seconds),
        )
        for fault in summary.faults:
            self._warn(f"{fault.name} {fault.status}: {fault.error}")
        more = summary.counts.get("failed", 0) + summary.counts.get("unstable", 0) - len(summary.faults)
        if more:
            self._warn(f"and {more:,} more payloads of batch {batch.number}")

    def steps_planned(self, what: str, count: int, size_bytes: int) -> None:
        """See `Reporter`."""
        self._total, self._done, self._since = count, 0, monotonic()
        self._logger.info("%s %s%s", what, f"{count:,}", f", {size(size_bytes)}" if size_bytes else "")

    def step_done(self, count: int, size_bytes: int, faults: Sequence[str]) -> None:
        """See `Reporter`."""
        self._done += count
        self._done_bytes += size_bytes
        seconds = max(monotonic() - self._since, 1e-9)
        if count:
            self._logger.info(
                "%s of %s, %.0f a second, %s/s",
                f"{self._done:,}",
                f"{self._total:,}",
                self._done / seconds,
                size(self._done_bytes / seconds),
            )
        for fault in faults:
            self._warn(fault)

    def rounds_planned(self, plan: Rounds) -> None:
        """See `Reporter`."""
        self._rounds, self._since = len(plan.rounds), monotonic()
        self._told = self._since
        self._labels = labels_of(plan)
        self._total, self._done = sum(len(one.steps) for one in plan.rounds), 0
        self._logger.info(
            "planned %s samples in %s on %s; seed %d",
            f"{self._total:,}",
            plural(self._rounds, "round"),
            ", ".join(self._labels.values()),
            plan.seed,
        )

    def sample_taken(self, sample: Sample) -> None:
        """See `Reporter`."""
        self._samples += 1
        self._noisy += sample.noisy
        if sample.outcome.is_failure:
            self._warn(fault_text(sample, self._labels[sample.interpreter]))
        elif monotonic() - self._told >= _QUIET_S:
            self._told = monotonic()
            self._logger.info("%s samples so far, of %s and those repeated", f"{self._samples:,}", f"{self._total:,}")

    def round_done(self, one: Round, samples: Sequence[Sample]) -> None:
        """See `Reporter`."""
        done, self._told = one.number + 1, monotonic()
        seconds = monotonic() - self._since
        left = (
            f"about {duration(seconds / done * (self._rounds - done) * 1e9)} to go"
            if done < self._rounds
            else "the last"
        )
        noisy = sum(sample.noisy for sample in samples)
        counts = _counts(Counter(sample.outcome.value for sample in samples))
        self._logger.info("round %d of %d: %s; %d of them noisy; %s", done, self._rounds, counts, noisy, left)
        reasons = {sample.error for sample in samples if sample.outcome is Outcome.SKIPPED}
        for reason in sorted(filter(None, reasons)):
            self._logger.info("skipped: %s", reason)

    def ended(self, done: OpenRun, where: str, published: State[None]) -> None:
        """The run is recorded, and its artifacts are published or could not be."""
        if 2 * self._noisy > self._samples:
            self._logger.warning(
                "%d of %s are noisy: something else ran on this host; they are recorded, and no figure rests on them",
                self._noisy,
                plural(self._samples, "sample"),
            )
        if not published.is_completed():
            self._logger.warning("the artifacts of this run are not complete: %s", published.message)
        self._logger.log(
            logging.ERROR if done.exit_code else logging.INFO,
            "run %d %s after %s: %s. Tables and report are among the artifacts, "
            "all of it in %s: `threadmill history show %d`. Ledger's head: %s",
            done.run_id,
            "FAILED" if done.exit_code else "done",
            duration((monotonic() - self._begun) * 1e9),
            visible(done.message),
            where,
            done.run_id,
            done.head,
        )

    def broke_off(self, error: Exception) -> None:
        """The run was refused before any work, or could not go on."""
        if self.run_id is None:
            self._logger.error("refused, nothing is done: %s", visible(str(error)))
        else:
            self._logger.error(
                "run %d broke off: %s. What is recorded: `threadmill history show %d`",
                self.run_id,
                visible(str(error)),
                self.run_id,
            )

    def _warn(self, text: str) -> None:
        self._warnings += 1
        if self._warnings <= _WARNINGS:
            self._logger.warning("%s", visible(text))
        if self._warnings == _WARNINGS:
            self._logger.warning("further ones are not listed here; they are recorded like all others")


class _TaskLines(logging.Filter):
    """Drops what Prefect says about a flow run's task runs where nothing is wrong, two lines a batch.

    Of a task that returned a failed state it says so twice, the first time with the traceback of no exception.
    """

    def __init__(self, flow_run_id: str) -> None:
        super().__init__()
        self._flow_run_id = flow_run_id

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "flow_run_id", None) != self._flow_run_id:
            return True
        return record.levelno >= logging.WARNING and not (record.exc_info and record.exc_info[0] is None)


@contextmanager
def quiet_tasks(flow_run_id: str) -> Iterator[None]:
    """Leave the log of a flow run to what this module says, and to what goes wrong in a task run."""
    logger, lines = logging.getLogger("prefect.task_runs"), _TaskLines(flow_run_id)
    logger.addFilter(lines)
    try:
        yield
    finally:
        logger.removeFilter(lines)


def _counts(counts: Mapping[Word, int]) -> str:
    """What is good first, then by number."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda one: (one[0] != "ok", -one[1])))
