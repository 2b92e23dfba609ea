"""Measuring: a round under the host's lock, case by case; the end of each child, however it ends, is an outcome.

The noise gate marks samples that say more about the host than about the case, and says why. Nothing may be throttled
or stolen. Work on one thread that computes all the time must have had the CPU all the time. Work on several must have
had the host to itself or a short run queue. More threads than CPUs queue behind each other: then the queue says
nothing, and only the load of others counts.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from tasks.axes import Executor, Experiment, Guard, Outcome, Workload
from tasks.cancel import CancelToken
from tasks.threads.cases import Case, Round, Sample
from tasks.threads.child import ChildEnd, parse_answer, run_program, workload_version
from tasks.threads.errors import InterpreterUnusable, MeasuringCancelled
from tasks.threads.interpreters import Interpreter
from tasks.threads.lock import host_lock

SERIAL_MIN_CPU_SHARE = 0.96
MAX_FOREIGN_SHARE = 0.10
MAX_QUEUE_SHARE = 0.05
# Of the sample's time. Stolen time is counted in ticks, of which a single one may lie before the sample.
MAX_THROTTLED_SHARE = 0.01
MAX_STOLEN_SHARE = 0.02
LEAST_STOLEN_NS = 20_000_000
# Under this a queue is the scheduler's own delay at starting threads: the book's select takes 0.3 ms in all.
LEAST_JUDGED_NS = 50_000_000
# The slowest cell (a contended lock on an old version and a busy host) takes a tenth of this.
DEADLINE_S = 120.0
# The outcomes that the child itself may tell; the others are about its end.
TOLD_OUTCOMES = frozenset(Outcome) - {Outcome.CRASHED, Outcome.GARBLED, Outcome.TIMED_OUT}
# The other fields of a sample that it may tell.
READINGS: dict[str, type] = {
    **dict.fromkeys(("expected", "found", "error"), str),
    **dict.fromkeys(("wall_ns", "cpu_ns", "runq_ns", "blocked_ns", "context_switches"), int),
    **dict.fromkeys(("throttled_ns", "stolen_ns"), int),
    **dict.fromkeys(("positive_lost", "negative_lost"), int),
    "gil_on": bool,
    "foreign_share": float,
}
_COUNTS = re.compile(r"[1-9][0-9]{0,17} [0-9]{1,18}")
LONG_NS = 3_000_000_000


def measure_round(
    one: Round,
    *,
    lock_path: str,
    lock_wait_s: float,
    cancel: CancelToken | None,
    tell: Callable[[object], object],
    cpu_stats: Sequence[str] = (),
) -> tuple[Sample, ...]:
    """Measure the cases of a round in its order, under the host's measuring lock, and tell each sample at once.

    Whoever else holds the lock is told in a text. `cpu_stats` are the files that count how long this process's cgroups
    are throttled. A noisy sample is kept, and taken again as often as the round says, so that the round has a quiet one
    to pair if the host allows it. Raises HostBusy, MeasuringLockUnusable, MeasuringCancelled or ProcessesRemain.
    """
    samples = []
    with host_lock(lock_path, wait_s=lock_wait_s, cancel=cancel, tell=tell):
        for step in one.steps:
            for _ in range(1 + one.retries):
                sample = run_case(
                    step.case, step.interpreter, round_number=one.number, cancel=cancel, cpu_stats=cpu_stats
                )
                tell(sample)
                samples.append(sample)
                if not sample.noisy or not _worth_another(sample):
                    break
    return tuple(samples)


def _worth_another(sample: Sample) -> bool:
    """Not for an unlocked race, whose counts noise does not spoil, nor for a long sample, which will be noisy again."""
    return sample.case.guard is not Guard.NONE and (sample.wall_ns or 0) < LONG_NS


def run_case(
    case: Case,
    interpreter: Interpreter,
    *,
    round_number: int = 0,
    deadline_s: float = DEADLINE_S,
    cancel: CancelToken | None = None,
    cpu_stats: Sequence[str] = (),
) -> Sample:
    """Measure a case once, in a fresh child that is gone with all its descendants when this returns.

    All other errors become outcomes. Raises MeasuringCancelled or ProcessesRemain.
    """
    if cancel is not None and cancel.cancelled:
        raise MeasuringCancelled(case.key)
    blank = Sample(
        case=case,
        interpreter=interpreter.fingerprint,
        workload_version=workload_version(),
        round=round_number,
        started_at=datetime.now(UTC),
        outcome=Outcome.SKIPPED,
    )
    reason = interpreter.reason_against(case.executor)
    if reason is not None:
        return replace(blank, error=reason)
    try:
        request = json.dumps(asdict(case) | {"cpu_stats": list(cpu_stats)})
        ended = run_program(interpreter.command, request, deadline_s=deadline_s, cancel=cancel)
    except InterpreterUnusable as error:
        return replace(blank, outcome=Outcome.CRASHED, error=str(error))
    sample = _with_end(blank, ended, deadline_s)
    return replace(sample, noise=noise_of(sample))


def _with_end(blank: Sample, ended: ChildEnd, deadline_s: float) -> Sample:
    """Fill in the outcome from the child's end, or else from its answer."""
    if ended.fate == "timed-out":
        text = f"no answer within {deadline_s:g} s"
        return replace(blank, outcome=Outcome.TIMED_OUT, error=_with_stderr(text, ended))
    if ended.fate == "flooded":
        return replace(blank, outcome=Outcome.GARBLED, error=ended.flood)
    if ended.exit_code:
        return replace(blank, outcome=Outcome.CRASHED, error=_with_stderr(_exit_text(ended.exit_code), ended))
    try:
        return _with_answer(blank, ended.stdout)
    except (ValueError, KeyError) as error:
        text = f"answered {ended.stdout[:200]!r}: {error}"
        return replace(blank, outcome=Outcome.GARBLED, error=_with_stderr(text, ended))


def _exit_text(exit_code: int) -> str:
    if exit_code > 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


def _with_stderr(text: str, ended: ChildEnd) -> str:
    tail = ended.stderr_tail.strip()
    return f"{text}\n{tail}" if tail else text


def _with_answer(blank: Sample, stdout: str) -> Sample:
    """Fill in the one line of the answer; ValueError or KeyError if it is not one."""
    answer = parse_answer(stdout)
    outcome = Outcome(answer["outcome"])
    if outcome not in TOLD_OUTCOMES:
        raise ValueError(f"a child cannot know of the outcome {outcome}")
    told = {name: answer[name] for name in READINGS if answer.get(name) is not None}
    for name, value in told.items():
        # A boolean is no whole number, although Python takes it for one.
        if type(value) is not READINGS[name]:
            raise ValueError(f"{name} is no {READINGS[name].__name__}")
        # An update too many is a loss below zero.
        least = -(2**63) if name.endswith("_lost") else 0
        if isinstance(value, int | float) and not least <= value < 2**63:
            raise ValueError(f"{name} is out of bounds")
    if outcome is not Outcome.SKIPPED and "wall_ns" not in told:
        raise KeyError("wall_ns")
    counted = blank.case.guard is Guard.NONE and outcome in {Outcome.LOST, Outcome.NONE_OBSERVED}
    if counted and not _COUNTS.fullmatch(f"{told.get('expected')} {told.get('found')}"):
        raise ValueError("expected and found are no counts")
    return replace(blank, outcome=outcome, **told)


def noise_of(sample: Sample) -> str | None:
    """Why the gate fails, or None; an unavailable reading fails nothing."""
    if not sample.wall_ns:
        return None
    throttled, stolen = ((part or 0) / sample.wall_ns for part in (sample.throttled_ns, sample.stolen_ns))
    reasons = [
        f"throttled by the CPU quota for {_percent(throttled)} of its time" if throttled > MAX_THROTTLED_SHARE else "",
        f"the hypervisor took the CPU for {_percent(stolen)} of its time"
        if stolen >= max(LEAST_STOLEN_NS / sample.wall_ns, MAX_STOLEN_SHARE)
        else "",
        "" if sample.cpu_ns is None else _lacked_cpu(sample, sample.cpu_ns / sample.wall_ns),
    ]
    return "; ".join(filter(None, reasons)) or None


def _lacked_cpu(sample: Sample, cpu_share: float) -> str:
    foreign, queued = sample.foreign_share, _queue_share(sample)
    others = [] if foreign is None else [f"others used {_percent(foreign)} of the CPUs"]
    if _computes_alone(sample):
        lacked = f"had the CPU for only {_percent(cpu_share)} of its time"
        return "" if cpu_share >= SERIAL_MIN_CPU_SHARE else ", ".join([lacked, *others])
    if queued is not None and (others or _threads(sample) <= usable_cpus()):
        others += [f"waited for a CPU for {_percent(queued)} of its time"] if queued > MAX_QUEUE_SHARE else [""]
    noisy = all(others) and (foreign is None or foreign > MAX_FOREIGN_SHARE)
    return ", ".join(others) if noisy else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _computes_alone(sample: Sample) -> bool:
    case = sample.case
    if case.experiment is Experiment.SPEEDUP:
        return case.cpu_bound and case.executor in {Executor.SERIAL, Executor.ASYNCIO}
    return case.workers == 1


def usable_cpus() -> int:
    """The CPUs that this process, and so its children, may use."""
    return len(os.sched_getaffinity(0))


def _threads(sample: Sample) -> int:
    """Threads or processes that may want a CPU at once; each chain of the workload `child` is two stages."""
    case = sample.case
    if case.workload is not Workload.CHILD:
        return case.workers
    return 2 * (case.workload.items if case.executor is Executor.ASYNCIO else case.workers)


def _queue_share(sample: Sample) -> float | None:
    """Run-queue delay as part of the measuring threads' time; None if there was too little of that."""
    if sample.runq_ns is None or sample.blocked_ns is None:
        return None
    spent = (sample.cpu_ns or 0) + sample.runq_ns + sample.blocked_ns
    return sample.runq_ns / spent if spent >= LEAST_JUDGED_NS else None
