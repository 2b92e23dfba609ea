"""The jobs that measure: experiments, and the survey of the chapter's items 52 to 54.

They find interpreters and plan rounds, then measure and record one round at a time.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from db.host import cpu_stat_files, interference
from db.rows import NewRun
from db.store import Store
from flows.jobs.parameters import EncryptPayloads, RunExperiments, Survey
from flows.jobs.resumed import resumed
from flows.jobs.run import (
    Here,
    Job,
    MoreDone,
    OpenRun,
    PartOutcome,
    Pending,
    PlannedWork,
    Reporter,
    Step,
    Tools,
    at_once,
    open_run,
)
from flows.settings import Settings
from flows.text import FAULTS_NAMED, counted, duration, parse_wait_s, percent, plural
from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload
from tasks.cancel import CancelToken
from tasks.rows import interpreter_facts, sample_rows
from tasks.threads.cases import QUICK_ROUNDS, ROUNDS, Case, CaseSelection, Round, RoundPlan, Sample, book_plan, plan
from tasks.threads.errors import MeasuringCancelled
from tasks.threads.interpreters import Interpreter, LeftOut, discover, distinct, probe, select
from tasks.threads.lock import check_lock
from tasks.threads.measure import MAX_FOREIGN_SHARE, measure_round

# A whole experiment of another process may have to end first.
_LOCK_WAIT_S = 3600.0
# A child's standard error may come with it; all of it is on record.
_FAULT_LETTERS = 300
# One look at what others use; as long as the tenth of it is ten of the kernel's ticks.
_LOOK_S = 1.0
_MEANING = "noisy samples are recorded, and shown as such, but no figure rests on them"
# What a sample takes, its child included, in the mean over all cases on a quiet host.
_SAMPLE_S, _QUICK_SAMPLE_S = 1.0, 0.5
# More samples than any round has, retries included: the ordinals of a round do not depend on the others.
_ORDINALS_PER_ROUND = 100_000


def experiment_job(parameters: RunExperiments, settings: Settings) -> Job:
    """The job for these parameters."""
    return partial(measure, parameters, check_lock(settings.measuring_lock))


def find_interpreters(pythons: Sequence[str], cancel: CancelToken, **options: LeftOut) -> tuple[Interpreter, ...]:
    """The interpreters to measure, free-threaded ones with the GIL on and off; for options see `discover`.

    InterpreterUnusable if one is not there, or is older than Python 3.6.
    """
    named = [one for one in pythons if one != "all"]
    found: Sequence[Interpreter] = (
        *(() if pythons else (probe(sys.executable, cancel),)),
        *(discover(cancel, **options) if "all" in pythons else ()),
        *(select(named, cancel) if named else ()),
    )
    return distinct(variant for one in found for variant in one.variants())


def make_rounds(parameters: RunExperiments, cancel: CancelToken) -> RoundPlan:
    """All rounds, in a drawn order; an ExperimentError if there is no such interpreter or no such case."""
    interpreters = find_interpreters(parameters.pythons, cancel)
    seed = random.SystemRandom().getrandbits(32) if parameters.seed is None else parameters.seed
    return plan(selection_of(parameters), interpreters, rounds_of(parameters), seed)


def rounds_of(parameters: RunExperiments) -> int:
    """How often each case is measured."""
    return parameters.rounds or (QUICK_ROUNDS if parameters.quick else ROUNDS)


def selection_of(parameters: RunExperiments) -> CaseSelection:
    """The choices on each axis."""
    return CaseSelection(
        experiments=tuple(map(Experiment, parameters.experiments)),
        workloads=tuple(map(Workload, parameters.workloads)),
        executors=tuple(map(Executor, parameters.executors)),
        shapes=tuple(map(Shape, parameters.shapes)),
        guards=tuple(map(Guard, parameters.guards)),
        workers=parameters.workers,
        quick=parameters.quick,
    )


def measure(parameters: RunExperiments, lock: str, run: NewRun, tools: Tools) -> OpenRun:
    """Measure all rounds and record every sample; the run, closed. `lock` is the path of the host's measuring lock."""
    before = resumed(parameters, tools.history) if parameters.resume else None
    parameters = before.parameters if before else parameters
    whole = tools.runner.plan(lambda: make_rounds(parameters, tools.cancel))
    rounds = before.left_of(whole) if before else whole
    work = planned_samples(rounds)
    tools.reporter.planned(work)
    if (usual_s := usual_seconds(work.total, quick=parameters.quick)) >= 60:
        notice = f"{plural(work.total, work.noun)} in {work.details}: about {duration(usual_s * 1e9)} on a quiet host"
        tools.reporter.progressed(MoreDone(notice=notice))
    # With the drawn seed and the interpreters that were found.
    recorded = replace(parameters, rounds=len(whole.rounds), seed=whole.seed).recorded()
    recorded["interpreters"] = list(labels_of(rounds).values())
    with open_run(replace(run, parameters=recorded), tools) as opened:
        run_rounds(rounds, lock, opened, parse_wait_s(parameters.until_quiet or "0s"))
    return opened


def usual_seconds(samples: int, *, quick: bool) -> float:
    """The time that so many samples take on a quiet host, roughly."""
    return samples * (_QUICK_SAMPLE_S if quick else _SAMPLE_S)


def run_rounds(rounds: RoundPlan, lock: str, run: OpenRun, wait_s: float = 0) -> None:
    """Measure and record one round after the other, waiting for a quiet host for at most `wait_s` in all."""
    progress = _Progress(rounds, run.tools.reporter)
    before: Pending[tuple[Sample, ...]] | None = None
    patience = _Patience(wait_s, run.tools)

    def start(one: Round) -> Pending[tuple[Sample, ...]]:
        nonlocal before
        patience.wait()
        before = run.start(round_step(one, lock), progress.tell, after=before)
        return before

    with closing(at_once(rounds.rounds, start, 1, run.tools.cancel)) as ended:
        for one, samples in ended:
            progress.end(one, samples)
    run.outcomes.append(progress.outcome())


@dataclass(slots=True)
class _Patience:
    """The time that is left to wait for a quiet host, where the job runs."""

    left_s: float
    tools: Tools

    def wait(self) -> None:
        """Wait until others use less than a tenth of the CPUs, or no time is left; MeasuringCancelled."""
        told = False
        while self.left_s > 0:
            before = interference()
            time.sleep(min(_LOOK_S, self.left_s))
            self.left_s = max(0.0, self.left_s - _LOOK_S)
            if self.tools.cancel.cancelled:
                raise MeasuringCancelled("waiting for a quiet host")
            if (share := interference().since(before).get("busy_share", 0)) < MAX_FOREIGN_SHARE:
                return
            if not told or not self.left_s:
                told, rest = True, f"waiting for at most {self.left_s:.0f} s more" if self.left_s else "waited enough"
                self.tools.reporter.progressed(MoreDone(notice=f"others use {percent(share)} of the CPUs: {rest}"))


class _Progress:
    """Turns the samples of a run into events, and counts them by outcome, with the first faults.

    A sample that is taken again, because the first was noisy, is not counted again in the events.
    """

    def __init__(self, rounds: RoundPlan, reporter: Reporter) -> None:
        self._rounds = rounds.rounds[-1].number + 1
        self._labels = labels_of(rounds)
        self._reporter = reporter
        self._seen: set[tuple[Case, str]] = set()
        self._counts: Counter[Outcome] = Counter()
        self._noisy = 0
        self._warned = False
        self._faults: list[str] = []

    def tell(self, sample: object) -> None:
        """A sample was taken, or the measurement waits; called from the thread that measures."""
        if not isinstance(sample, Sample):
            self._reporter.progressed(MoreDone(notice=str(sample)))
            return
        self._warn(sample)
        key = sample.case, sample.interpreter
        count = 0 if key in self._seen else 1
        self._seen.add(key)
        faults = [self._fault(sample)] if sample.outcome.is_failure else []
        self._reporter.progressed(MoreDone(count, faults=faults, item=sample.case.key))

    def _warn(self, sample: Sample) -> None:
        """Say once that the host is not quiet, as soon as that is known."""
        if sample.noise is None or sample.case.guard is Guard.NONE or self._warned:
            return
        self._warned = True
        text = f"this host is not quiet ({sample.case.key}: {sample.noise}): {_MEANING}"
        # Waiting helps against others, and not against a quota.
        offer = "" if "throttled" in sample.noise else "; --until-quiet 10m waits until others use less"
        self._reporter.progressed(MoreDone(notice=text + offer))

    def end(self, one: Round, samples: Sequence[Sample]) -> None:
        """A round is recorded; samples that were not told while it was measured are counted now."""
        counts = Counter(sample.outcome for sample in samples)
        noisy = sum(sample.noisy for sample in samples)
        line = f"round {one.number + 1} of {self._rounds}: {counted(counts)}; {noisy} of them noisy"
        reasons = {sample.error for sample in samples if sample.outcome is Outcome.SKIPPED}
        for reason in sorted(filter(None, reasons)):
            line += f"; skipped: {reason}"
        self._reporter.progressed(MoreDone(len(one.steps) - len(self._seen), line=line))
        self._seen.clear()
        self._counts += counts
        self._noisy += noisy
        for sample in samples:
            self._warn(sample)
            # A fault that comes in every round is named once.
            if sample.outcome.is_failure and len(self._faults) < FAULTS_NAMED:
                self._faults = list(dict.fromkeys([*self._faults, self._fault(sample)]))

    def outcome(self) -> PartOutcome:
        """Samples by outcome, whether most of them are noisy, and the first faults.

        The exit code is 1 if a sample says that something is broken: wrong output, a guard that leaked, a child that
        died.
        """
        total = self._counts.total()
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in self._counts.items())
        text = f"{total:,} samples ({counts}; {self._noisy:,} noisy)"
        if 2 * self._noisy > total:
            text += "; something else ran on this host: no figure rests on noisy samples"
        broken = any(outcome.is_failure for outcome in self._counts)
        return PartOutcome(1 if broken else 0, ": ".join(filter(None, (text, "; ".join(self._faults)))))

    def _fault(self, sample: Sample) -> str:
        """The fault of a sample, in one line."""
        why = " ".join((sample.error or f"{sample.found} instead of {sample.expected}").split())
        why = why if len(why) <= _FAULT_LETTERS else f"{why[:_FAULT_LETTERS]} …"
        return f"{sample.case.key} on {self._labels[sample.interpreter]} {sample.outcome} ({why})"


def planned_samples(rounds: RoundPlan) -> PlannedWork:
    """The work of a plan, for the reporter."""
    total = sum(len(one.steps) for one in rounds.rounds)
    details = f"{plural(len(rounds.rounds), 'round')} on {', '.join(labels_of(rounds).values())}; seed {rounds.seed}"
    return PlannedWork("measuring", "sample", total, details=details)


def round_step(one: Round, lock: str) -> Step[tuple[Sample, ...]]:
    """The step that measures a round."""
    return Step(
        kind="measure-round",
        name=f"measure round {one.number}",
        recorded_as=f"record round {one.number}",
        work=partial(_measure, one, lock),
        record=partial(_record, one),
    )


def _measure(one: Round, lock: str, here: Here) -> tuple[Sample, ...]:
    files = cpu_stat_files()
    return measure_round(
        one, lock_path=lock, lock_wait_s=_LOCK_WAIT_S, cancel=here.cancel, tell=here.tell, cpu_stats=files
    )


def _record(one: Round, store: Store, run_id: int, samples: tuple[Sample, ...]) -> None:
    rows = sample_rows(run_id, one.number * _ORDINALS_PER_ROUND, samples, one.interpreters)
    store.record_samples(rows, interpreter_facts(one.interpreters))


def labels_of(plan: RoundPlan) -> dict[str, str]:
    """The labels of the interpreters of a plan, by fingerprint, sorted by version."""
    found = {key: one for each in plan.rounds for key, one in each.interpreters.items()}
    return {one.fingerprint: one.label for one in sorted(found.values(), key=lambda one: one.sort_key)}


def survey_job(_parameters: Survey, settings: Settings) -> Job:
    """The job of the chapter, which has its own numbers."""
    return partial(survey, QUICK_ROUNDS, settings, check_lock(settings.measuring_lock))


def survey(rounds: int, settings: Settings, lock: str, run: NewRun, tools: Tools) -> OpenRun:
    """Run the chapter's items 52 to 54 on this host and the running interpreter; the run, closed.

    Item 52 is three chains over 100 random bytes each, under the book's suite and the modern one.
    """
    # Late: experiments load nothing of the engine that encrypts.
    from flows.jobs.encrypt import encrypt_batches, planned_work
    from flows.jobs.plan import Plan, make_plan, recorded, settled

    item_52 = settled(EncryptPayloads(size_bytes=100, count=3, suites=("classic", "modern")), settings)

    def plans() -> tuple[Plan, RoundPlan]:
        (interpreter, *_) = find_interpreters((), tools.cancel)
        return make_plan(item_52, settings, tools.cancel), book_plan(interpreter, rounds)

    payloads, samples = tools.runner.plan(plans)
    tools.reporter.planned(planned_work(payloads))
    with open_run(replace(run, parameters=recorded(item_52, settings) | {"rounds": rounds}), tools) as opened:
        encrypt_batches(payloads, opened)
        tools.reporter.planned(planned_samples(samples))
        run_rounds(samples, lock, opened)
    return opened
