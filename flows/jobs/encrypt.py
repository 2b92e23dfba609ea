"""Encrypt payloads batch by batch; the job that discards the ciphertext; the check of files against the record."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import TypeVar

from db.history import History, SeriesFilter
from db.rows import NewRun
from db.store import Store
from db.words import PAYLOAD_FAILURES, UNREADABLE_CAUSES
from flows.jobs.parameters import EncryptFiles, EncryptPayloads
from flows.jobs.plan import Done, Plan, make_plan, recorded, settled, vault_of
from flows.jobs.run import Here, Job, MoreDone, OpenRun, PartOutcome, PlannedWork, Step, Tools, at_once, open_run
from flows.settings import Settings
from flows.text import FAULTS_NAMED, counted, named, plural, shown_path
from tasks.crypto.encrypt import Batch, Encryption, Limits, PayloadStatus, encrypt_batch
from tasks.crypto.errors import OddSize, SourceTooLarge
from tasks.crypto.secret import KeySource
from tasks.rows import payload_rows

T = TypeVar("T")

# Advice is for runs whose payloads took longer than this, one after the other, and where it saves a fifth or more.
_LONG_NS = 10e9
_WORTHWHILE = 0.8
_LEAST_SHARE = 0.01


@dataclass(slots=True)
class EncryptionOutcome:
    """The outcome of the payloads of a run, or of one batch; small enough for a run of a million payloads.

    `counts` are by status, `size_bytes` is of good payloads. The operating system did not let us read `unreadable`
    ones, `odd` files gave another number of bytes than their size says, `too_large` ones are larger than the user
    wants. `faults` are the first few payloads that failed, were unstable, or were carried over.
    """

    counts: Counter[PayloadStatus] = field(default_factory=Counter)
    unreadable: int = 0
    odd: int = 0
    too_large: int = 0
    size_bytes: int = 0
    faults: list[Encryption] = field(default_factory=list)

    def add(self, encryptions: Sequence[Encryption]) -> None:
        """Count some more."""
        self.counts.update(one.status for one in encryptions)
        self.odd += sum(one.cause == OddSize.cause for one in encryptions)
        self.too_large += sum(one.cause == SourceTooLarge.cause for one in encryptions)
        self.size_bytes += sum(one.size_bytes or 0 for one in encryptions)
        faults = [one for one in encryptions if one.status in PAYLOAD_FAILURES]
        self.unreadable += sum(one.cause in UNREADABLE_CAUSES for one in faults)
        self.faults += faults[: FAULTS_NAMED - len(self.faults)]

    @property
    def faulty(self) -> int:
        """How many need attention."""
        return sum(self.counts[status] for status in PAYLOAD_FAILURES)

    @property
    def exit_code(self) -> int:
        """See `PartOutcome`."""
        if self.faulty - self.counts["unstable"] > self.unreadable:
            return 1
        return 3 if self.faulty else 0

    @property
    def message(self) -> str:
        """Payloads by status."""
        return "; ".join((counted(self.counts) or "nothing left to do", *self.remarks))

    @property
    def remarks(self) -> list[str]:
        """What is to be said of good payloads."""
        whose = "its" if self.odd == 1 else "their"
        said = [f"{plural(self.odd, 'file')} gave more or fewer bytes than {whose} size says"] if self.odd else []
        return said + ([f"larger than --max-size: {plural(self.too_large, 'file')}"] if self.too_large else [])

    @property
    def named_faults(self) -> str:
        """The first payloads that need attention; empty if there are none."""
        return named([f"{shown_path(one.payload.name)} ({one.error})" for one in self.faults], self.faulty)


def encryption_job(parameters: EncryptFiles | EncryptPayloads, settings: Settings) -> Job:
    """The job for these parameters where no vault keeps the ciphertext; see `flows.jobs.keep` for the other one."""
    assert vault_of(parameters, settings) is None  # noqa: S101 - it would be discarded without a word
    return partial(encrypt, settled(parameters, settings), settings)


def encrypt(parameters: EncryptFiles | EncryptPayloads, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Encrypt every payload, discard the ciphertext, and record the result of each; the run, closed.

    A further attempt of a flow run does only what earlier ones have not done. When cancelled, batches in work are
    recorded as far as they came.
    """
    plan = tools.runner.plan(lambda: make_plan(parameters, settings, tools.cancel))
    work = planned_work(plan)
    tools.reporter.planned(replace(work, details=f"{work.details}; no vault keeps the ciphertext"))
    with open_run(replace(run, parameters=recorded(parameters, settings)), tools) as opened:
        done_before: frozenset[Done] = frozenset()
        if run.flow_run_id is not None and run.attempt > 1:
            done_before = tools.history.done_before(run.flow_run_id)
        encrypt_batches(plan, opened, done_before)
    if "auto" in parameters.backends and (text := advice(tools.history, opened.run_id)):
        opened.outcomes.append(PartOutcome(0, text))
    return opened


def advice(history: History, run_id: int) -> str | None:
    """A line for a long closed run on openssl, if the record knows native to be faster for such payloads here."""
    native = {
        (one.series.suite, one.series.size_class, one.series.host): one.median_ns
        for one in history.medians(SeriesFilter(backends=("native",)), limit=1)
        if not one.series.kept
    }
    own_ns = native_ns = 0.0
    for one in history.summaries(SeriesFilter(backends=("openssl",)), run_id=run_id):
        median_ns = native.get((one.series.suite, one.series.size_class, one.series.host))
        if one.median_ns is not None and median_ns is not None:
            own_ns += one.n * one.median_ns
            native_ns += one.n * median_ns
    if own_ns < _LONG_NS or native_ns > _WORTHWHILE * own_ns:
        return None
    share = native_ns / own_ns
    part = f"about {share:.0%}" if share >= _LEAST_SHARE else f"less than {_LEAST_SHARE:.0%}"
    return f"native takes {part} of that time here: --backend native"


def encrypt_batches(plan: Plan, run: OpenRun, done_before: frozenset[Done] = frozenset()) -> None:
    """Encrypt the payloads of a plan, except those done before, and discard the ciphertext."""
    outcome = run_batches(plan, run, partial(batch_step, plan), tuple, done_before)
    run.outcomes.append(PartOutcome(outcome.exit_code, outcome.message, outcome.named_faults))


def run_batches(
    plan: Plan,
    run: OpenRun,
    step_of: Callable[[Batch], Step[T]],
    take: Callable[[T], Sequence[Encryption]],
    done_before: frozenset[Done] = frozenset(),
) -> EncryptionOutcome:
    """Do batch after batch, at most as many at once as the part has workers, and sum up their results.

    `take` is called with the result of a step once it is recorded, and gives the encryptions in it.
    """
    outcome = EncryptionOutcome()
    for part, of_part in itertools.groupby(plan.batches(done_before), key=itemgetter(0)):
        # Suites and backends are compared with each other, so they do not run side by side.
        batches = (batch for _, batch in of_part)
        running = at_once(batches, lambda batch: run.start(step_of(batch)), part.workers, run.tools.cancel)
        with closing(running) as ended:
            for batch, done in ended:
                encryptions = take(done)
                outcome.add(encryptions)
                run.tools.reporter.progressed(_more_done(batch, encryptions, several=len(plan.parts) > 1))
                # Not in memory beside those of the next batch.
                del batch, done, encryptions
    return outcome


def planned_work(plan: Plan) -> PlannedWork:
    """The work of a plan, for the reporter."""
    ways = "; ".join(f"{part.suite.name} on {part.chosen.backend} ({part.chosen.reason})" for part in plan.parts)
    return PlannedWork("encrypting", "payload", plan.total, plan.size_bytes * len(plan.parts), ways)


def _more_done(batch: Batch, encryptions: Sequence[Encryption], *, several: bool) -> MoreDone:
    way = f" ({batch.suite} on {batch.chosen.backend})" if several else ""
    outcome = EncryptionOutcome()
    outcome.add(encryptions)
    faults = [f"{shown_path(one.payload.name)} {one.status}: {one.error}" for one in outcome.faults]
    if more := outcome.faulty - len(faults):
        faults.append(f"and {more:,} more payloads of batch {batch.number}")
    line = f"batch {batch.number}{way}: {counted(outcome.counts)}"
    return MoreDone(len(encryptions), outcome.size_bytes, line, faults)


def batch_step(plan: Plan, batch: Batch) -> Step[tuple[Encryption, ...]]:
    """The step that encrypts a batch. Its names are ASCII: the font of the UI's graph has little else."""
    return Step(
        kind="encrypt-batch",
        name=f"encrypt batch {batch.number}: {len(batch.payloads)} x {batch.suite} on {batch.chosen.backend}",
        recorded_as=f"record batch {batch.number}",
        work=partial(_encrypt, batch, plan.key, plan.limits),
        record=_record,
    )


def _encrypt(batch: Batch, key: KeySource, limits: Limits, here: Here) -> tuple[Encryption, ...]:
    return encrypt_batch(batch, key, limits, here.cancel)


def _record(store: Store, run_id: int, encryptions: tuple[Encryption, ...]) -> None:
    store.record_payloads(payload_rows(run_id, encryptions))
