"""The encryption job: plan, start batches, wait, close the run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import TypeVar

from db.rows import NewRun
from db.store import Store
from flows.jobs.plan import Done, Plan, make_plan
from flows.jobs.request import EncryptionRequest
from flows.jobs.run import MoreDone, OpenRun, PlannedWork, Tools, counted, open_run
from flows.jobs.runner import Here, Step, at_once
from tasks.crypto.encrypt import Batch, Encryption, Limits, encrypt_batch
from tasks.crypto.secret import KeySource
from tasks.crypto.summary import BatchSummary, summarise, total
from tasks.rows import payload_rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EncryptionOutcome:
    """What all payloads of a run came to."""

    summary: BatchSummary

    @property
    def exit_code(self) -> int:
        """See `Outcome`."""
        failed = self.summary.counts.get("failed", 0)
        if failed > self.summary.unreadable:
            return 1
        return 3 if failed or self.summary.counts.get("unstable") else 0

    @property
    def message(self) -> str:
        """How many of what, and the first of those that need attention."""
        text = counted(self.summary.counts) or "nothing left to do"
        return f"{text}: {self.faults}" if self.faults else text

    @property
    def faults(self) -> str:
        """The first of those that need attention; empty if there are none."""
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
    tools.reporter.planned(planned_work(plan))
    with open_run(replace(run, parameters=request.parameters()), tools) as opened:
        done_before: frozenset[Done] = frozenset()
        if run.flow_run_id is not None and run.attempt > 1:
            done_before = tools.history.done_before(run.flow_run_id)
        opened.outcomes.append(encrypt_batches(plan, opened, done_before))
    return opened


def encrypt_batches(plan: Plan, run: OpenRun, done_before: frozenset[Done] = frozenset()) -> EncryptionOutcome:
    """Encrypt the payloads of a plan, and discard the ciphertext."""
    return run_batches(plan, run, partial(batch_step, plan.request), tuple, done_before)


def run_batches(
    plan: Plan,
    run: OpenRun,
    step_of: Callable[[Batch], Step[T]],
    take: Callable[[T], Sequence[Encryption]],
    done_before: frozenset[Done] = frozenset(),
) -> EncryptionOutcome:
    """Do batch after batch, at most as many at once as the part has workers, and sum up their results.

    Args:
        plan: what to do.
        run: the run that it belongs to.
        step_of: makes the step of a batch.
        take: called with the result of a step once it is recorded; gives the encryptions in it.
        done_before: left out.
    """
    summaries: list[BatchSummary] = []
    for part, of_part in itertools.groupby(plan.batches(done_before), key=itemgetter(0)):
        # Suites and backends are compared with each other, so they do not run side by side.
        batches = (batch for _, batch in of_part)
        running = at_once(batches, lambda batch: run.start(step_of(batch)), part.workers, run.tools.cancel)
        with closing(running) as ended:
            for batch, done in ended:
                summaries.append(summarise(take(done)))
                run.tools.reporter.progressed(_more_done(batch, summaries[-1], several=len(plan.parts) > 1))
    return EncryptionOutcome(total(summaries))


def planned_work(plan: Plan) -> PlannedWork:
    """The work of a plan, for the reporter."""
    ways = "; ".join(f"{part.suite.name} on {part.chosen.backend} ({part.chosen.reason})" for part in plan.parts)
    return PlannedWork("encrypting", "payload", plan.total, plan.size_bytes * len(plan.parts), ways)


def _more_done(batch: Batch, summary: BatchSummary, *, several: bool) -> MoreDone:
    way = f" ({batch.suite} on {batch.chosen.backend})" if several else ""
    faults = [f"{fault.name} {fault.status}: {fault.error}" for fault in summary.faults]
    more = summary.counts.get("failed", 0) + summary.counts.get("unstable", 0) - len(faults)
    faults += [f"and {more:,} more payloads of batch {batch.number}"] if more else []
    line = f"batch {batch.number}{way}: {counted(summary.counts)}"
    return MoreDone(summary.payloads, summary.size_bytes, line, faults)


def batch_step(request: EncryptionRequest, batch: Batch) -> Step[tuple[Encryption, ...]]:
    """The step that encrypts a batch. Its names are ASCII: the font of the UI's graph has little else."""
    return Step(
        kind="encrypt-batch",
        name=f"encrypt batch {batch.number}: {len(batch.payloads)} x {batch.suite} on {batch.chosen.backend}",
        recorded_as=f"record batch {batch.number}",
        work=partial(_encrypt, batch, request.key, request.limits),
        record=_record,
    )


def _encrypt(batch: Batch, key: KeySource, limits: Limits, here: Here) -> tuple[Encryption, ...]:
    return encrypt_batch(batch, key, limits, here.cancel)


def _record(store: Store, run_id: int, encryptions: tuple[Encryption, ...]) -> None:
    store.record_payloads(payload_rows(run_id, encryptions))
