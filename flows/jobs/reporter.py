"""Who is told how a job goes on; what is shown where is up to them."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Protocol

from flows.jobs.plan import Plan
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import BatchSummary
from tasks.threads.planning import Plan as Rounds
from tasks.threads.planning import Round
from tasks.threads.samples import Sample


class Reporter(Protocol):
    """Called from the job's own thread, in order, but for `batch_done`, which comes as batches end."""

    def planned(self, plan: Plan) -> None:
        """The work is known."""

    def started(self, run_id: int) -> None:
        """The run has its row."""

    def batch_done(self, batch: Batch, summary: BatchSummary) -> None:
        """A batch is encrypted and recorded."""

    def rounds_planned(self, plan: Rounds) -> None:
        """The rounds of the experiments are known."""

    def round_done(self, one: Round, samples: Sequence[Sample]) -> None:
        """A round is measured and recorded."""

    def sample_taken(self, sample: Sample) -> None:
        """A sample is there; comes from whichever thread measures."""

    def steps_planned(self, what: str, count: int, size_bytes: int) -> None:
        """So many files or objects are to be gone through; `what` is a word such as `verifying`."""

    def step_done(self, count: int, size_bytes: int, faults: Sequence[str]) -> None:
        """Some more of them are done and recorded; the faults that were found in words."""


# Who in this process wants to know about a job that a flow runs (the command line's progress bar).
LISTENER: ContextVar[Reporter | None] = ContextVar("LISTENER", default=None)


class Tee:
    """Tells several reporters, one after the other."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.planned(plan)

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.started(run_id)

    def batch_done(self, batch: Batch, summary: BatchSummary) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.batch_done(batch, summary)

    def rounds_planned(self, plan: Rounds) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.rounds_planned(plan)

    def round_done(self, one: Round, samples: Sequence[Sample]) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.round_done(one, samples)

    def sample_taken(self, sample: Sample) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.sample_taken(sample)

    def steps_planned(self, what: str, count: int, size_bytes: int) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.steps_planned(what, count, size_bytes)

    def step_done(self, count: int, size_bytes: int, faults: Sequence[str]) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.step_done(count, size_bytes, faults)
