"""What a flow run's log says: a line a batch or a round, and a warning for whatever needs eyes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import monotonic

from prefect.logging import get_run_logger

from flows.jobs.plan import Plan
from flows.jobs.reporter import Reporter
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import Summary
from tasks.threads.planning import Plan as Rounds
from tasks.threads.planning import Round
from tasks.threads.samples import Sample


class LogReporter:
    """Tells the run's logger, and whoever listens in this process; `run_id` is set once the run has its row."""

    def __init__(self, listener: Reporter | None) -> None:
        self._logger = get_run_logger()
        self._listener = listener
        self._since = monotonic()
        self._total = self._done = 0
        self.run_id: int | None = None

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        self._total = plan.total
        self._logger.info(
            "planned %s payloads (%s MB) under %s",
            f"{plan.total:,}",
            f"{plan.size_bytes * len(plan.parts) / 1e6:,.1f}",
            ", ".join(f"{part.suite.name} on {part.chosen.backend} ({part.chosen.reason})" for part in plan.parts),
        )
        if self._listener:
            self._listener.planned(plan)

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id
        self._logger.info("recording as run %d", run_id)
        if self._listener:
            self._listener.started(run_id)

    def batch_done(self, batch: Batch, summary: Summary) -> None:
        """See `Reporter`."""
        self._done += summary.payloads
        rate = self._done / max(monotonic() - self._since, 1e-9)
        counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
        self._logger.info(
            "batch %d: %s; %s of %s, %.0f a second", batch.number, counts, f"{self._done:,}", f"{self._total:,}", rate
        )
        for fault in summary.faults:
            self._logger.warning("%s %s: %s", fault.name, fault.status, fault.error)
        if self._listener:
            self._listener.batch_done(batch, summary)

    def rounds_planned(self, plan: Rounds) -> None:
        """See `Reporter`."""
        steps = sum(len(one.steps) for one in plan.rounds)
        labels = dict.fromkeys(step.interpreter.label for one in plan.rounds for step in one.steps)
        self._logger.info(
            "planned %d samples in %d rounds on %s, seed %d", steps, len(plan.rounds), ", ".join(labels), plan.seed
        )
        if self._listener:
            self._listener.rounds_planned(plan)

    def sample_taken(self, sample: Sample) -> None:
        """See `Reporter`."""
        if sample.outcome.is_failure:
            self._logger.warning("%s %s: %s", sample.case.key, sample.outcome, sample.error)
        if self._listener:
            self._listener.sample_taken(sample)

    def round_done(self, one: Round, samples: Sequence[Sample]) -> None:
        """See `Reporter`."""
        counts = Counter(str(sample.outcome) for sample in samples)
        noisy = sum(sample.noisy for sample in samples)
        words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        self._logger.info("round %d: %s; %d noisy", one.number, words, noisy)
        if self._listener:
            self._listener.round_done(one, samples)
