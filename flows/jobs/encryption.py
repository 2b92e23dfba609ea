"""The encryption job: plan, start batches, wait, close the run."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import dataclass, replace
from operator import itemgetter

from db.facts import NewRun
from flows.jobs.plan import Done, Plan, make_plan
from flows.jobs.request import EncryptionRequest
from flows.jobs.run import OpenRun, Tools, open_run
from flows.jobs.runner import BatchContext
from flows.jobs.side_by_side import side_by_side
from tasks.crypto.summary import Summary, total
from tasks.vault.adding import Addition


@dataclass(frozen=True, slots=True)
class EncryptionOutcome:
    """What all payloads of a run came to."""

    summary: Summary

    @property
    def exit_code(self) -> int:
        """See `Outcome`."""
        failed = self.summary.counts.get("failed", 0)
        if failed > self.summary.unreadable:
            return 1
        return 3 if failed or self.summary.counts.get("unstable") else 0

    @property
    def message(self) -> str:
        """How many of what, and the first of those that need eyes."""
        counts = self.summary.counts
        words = [f"{count:,} {status}" for status, count in sorted(counts.items(), key=lambda item: -item[1])]
        text = ", ".join(words) or "nothing left to do"
        return f"{text}: {self.faults}" if self.faults else text

    @property
    def faults(self) -> str:
        """The first of those that need eyes; empty if there are none."""
        counts, named = self.summary.counts, self.summary.faults
        bad = counts.get("failed", 0) + counts.get("unstable", 0)
        text = "; ".join(f"{fault.name} ({fault.error})" for fault in named)
        return f"{text} and {bad - len(named):,} more" if bad > len(named) else text


def encrypt(request: EncryptionRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Encrypt every payload of the request and record what became of it; the run, closed.

    A further attempt of a flow run does only what earlier ones have not done.

    Args:
        request: what to encrypt and how.
        run: what the run's row says; its parameters are taken from the request.
        tools: what to work with. When cancelled, batches in work are recorded as far as they came.

    Raises:
        RequestRefused, CryptoError: refused before any work, and before the run has a row.
        RecordError: the record cannot be written.
    """
    plan = tools.runner.plan(lambda: make_plan(request, tools.cancel))
    tools.reporter.planned(plan)
    with open_run(replace(run, parameters=request.parameters()), tools) as opened:
        done_before: frozenset[Done] = frozenset()
        if run.flow_run_id is not None and run.attempt > 1:
            done_before = tools.history.done_before(run.flow_run_id)
        opened.outcomes.append(run_batches(plan, opened.run_id, tools, done_before))
    return opened


def run_batches(
    plan: Plan,
    run_id: int,
    tools: Tools,
    done_before: frozenset[Done] = frozenset(),
    keep: Addition | None = None,
) -> EncryptionOutcome:
    """Start batch after batch, never more at once than the part's workers, and take in what they come to."""
    request = plan.request
    context = BatchContext(tools.store, run_id, request.key, request.limits, tools.cancel, keep)
    summaries: list[Summary] = []
    for part, of_part in itertools.groupby(plan.batches(done_before), key=itemgetter(0)):
        # Suites and backends are compared with each other, so they do not run side by side.
        batches = (batch for _, batch in of_part)
        running = side_by_side(batches, lambda batch: tools.runner.start(batch, context), part.workers, tools.cancel)
        with closing(running) as ended:
            for batch, summary in ended:
                summaries.append(summary)
                tools.reporter.batch_done(batch, summary)
    return EncryptionOutcome(total(summaries))
