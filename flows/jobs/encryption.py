"""The encryption job: plan, start batches, wait, close the run."""

from __future__ import annotations

import functools
import itertools
import queue
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import itemgetter

from db.errors import RecordError
from db.facts import NewRun
from db.store import Store
from flows.jobs.plan import Done, Plan, make_plan
from flows.jobs.reporter import Reporter
from flows.jobs.request import EncryptionRequest
from flows.jobs.runner import BatchContext, Pending, Runner
from tasks.crypto.cancel import CancelToken
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import Summary, total


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job that ran to its end: the run's number, and what its payloads came to."""

    run_id: int
    summary: Summary

    @property
    def exit_code(self) -> int:
        """0 all done, 1 a payload failed, 3 only sources that could not be read or would not hold still."""
        failed = self.summary.counts.get("failed", 0)
        if failed > self.summary.unreadable:
            return 1
        return 3 if failed or self.summary.counts.get("unstable") else 0

    @property
    def message(self) -> str:
        """One line: how many of what, and the first of those that need eyes."""
        counts = self.summary.counts
        words = [f"{count:,} {status}" for status, count in sorted(counts.items(), key=lambda item: -item[1])]
        text = ", ".join(words) or "nothing left to do"
        if self.summary.faults:
            text += ": " + "; ".join(f"{fault.name} ({fault.error})" for fault in self.summary.faults)
            bad = counts.get("failed", 0) + counts.get("unstable", 0)
            text += f" and {bad - len(self.summary.faults):,} more" if bad > len(self.summary.faults) else ""
        return text


def encrypt(
    request: EncryptionRequest,
    run: NewRun,
    *,
    store: Store,
    runner: Runner,
    reporter: Reporter,
    cancel: CancelToken,
    done_before: frozenset[Done] = frozenset(),
) -> JobResult:
    """Encrypt every payload of the request and record what became of it.

    Args:
        request: what to encrypt and how.
        run: what the run's row says; its parameters are taken from the request.
        store: the record.
        runner: what runs a batch.
        reporter: who is told.
        cancel: ends the job when set; batches in work are recorded as far as they came.
        done_before: (name, suite, backend) that an earlier attempt of the same flow run has done.

    Raises:
        RequestRefused, CryptoError: refused before any work, and before the run has a row.
        RecordError: the record cannot be written.
    """
    plan = make_plan(request, cancel)
    reporter.planned(plan)
    run_id = store.start_run(replace(run, parameters=request.parameters()))
    reporter.started(run_id)
    context = BatchContext(store, run_id, request.key, request.limits, cancel)
    try:
        result = JobResult(run_id, _run_batches(plan, runner, reporter, context, done_before))
    except BaseException as error:
        # Where the record is what failed, the row stays open, and the next run on this host closes it as crashed.
        with suppress(RecordError):
            if isinstance(error, Exception):
                store.finish_run(run_id, "failed", f"{type(error).__name__}: {error}")
            else:
                store.finish_run(run_id, "cancelled", "cancelled before it was done")
        raise
    if result.exit_code:
        store.finish_run(run_id, "failed", result.message)
    else:
        store.finish_run(run_id, "completed")
    return result


def _run_batches(
    plan: Plan, runner: Runner, reporter: Reporter, context: BatchContext, done_before: frozenset[Done]
) -> Summary:
    """Start batch after batch, never more at once than the part's workers, and take in what they come to."""
    ended: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    active: dict[int, Pending] = {}
    summaries: list[Summary] = []

    def take_one() -> None:
        batch = ended.get()
        summary = active.pop(batch.number).result()
        summaries.append(summary)
        reporter.batch_done(batch, summary)

    try:
        for part, parts_batches in itertools.groupby(plan.batches(done_before), key=itemgetter(0)):
            for _, batch in parts_batches:
                if len(active) == part.workers:
                    take_one()
                active[batch.number] = runner.start(batch, context)
                active[batch.number].add_done_callback(functools.partial(_put, ended, batch))
            # Suites and backends are compared with each other, so they do not run side by side.
            while active:
                take_one()
    except BaseException:
        context.cancel.cancel()
        for pending in active.values():
            # What was done by then is being recorded; the error that is on its way is the one to tell.
            with suppress(Exception):
                pending.result()
        raise
    return total(summaries)


def _put(ended: queue.SimpleQueue[Batch], batch: Batch, _: object) -> None:
    ended.put(batch)
