"""Run one case in one interpreter: whatever happens to the child becomes the outcome of a sample."""

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime

from tasks.axes import Outcome
from tasks.threads.cases import Case
from tasks.threads.errors import ExperimentCancelledError, InterpreterUnusableError
from tasks.threads.gate import is_noisy
from tasks.threads.interpreters import Interpreter
from tasks.threads.launching import Cancel, Ended, run_program
from tasks.threads.program import MEASURED, Program
from tasks.threads.samples import Sample

# The slowest cell (a contended lock on an old version and a busy host) takes a tenth of this.
DEADLINE_S = 120.0
# What the child itself may say; the other outcomes are about its end.
TOLD_OUTCOMES = frozenset(Outcome) - {Outcome.CRASHED, Outcome.GARBLED, Outcome.TIMED_OUT}


def run_case(
    case: Case,
    interpreter: Interpreter,
    *,
    round_number: int = 0,
    deadline_s: float = DEADLINE_S,
    cancel: Cancel | None = None,
    program: Program = MEASURED,
) -> Sample:
    """Measure a case once, in a fresh child that is gone with all its descendants when this returns.

    Raises ExperimentCancelledError after a cancel, and DescendantsRemainError; all else is an outcome.
    """
    if cancel is not None and cancel.is_set():
        raise ExperimentCancelledError(case.key)
    blank = Sample(
        case=case,
        interpreter=interpreter.fingerprint,
        workload_version=program.version,
        round=round_number,
        started_at=datetime.now(UTC),
        outcome=Outcome.SKIPPED,
    )
    reason = interpreter.reason_against(case.executor)
    if reason is not None:
        return replace(blank, error=reason)
    try:
        ended = run_program(
            interpreter.command,
            json.dumps(case.request()),
            deadline_s=deadline_s,
            cancel=cancel,
            program=program,
        )
    except InterpreterUnusableError as error:
        return replace(blank, outcome=Outcome.CRASHED, error=str(error))
    sample = _with_end(blank, ended, deadline_s)
    return replace(sample, noisy=is_noisy(sample))


def _with_end(blank: Sample, ended: Ended, deadline_s: float) -> Sample:
    """What the child's end, or else its answer, says."""
    if ended.fate == "timed-out":
        text = f"no answer within {deadline_s:g} s"
        return replace(blank, outcome=Outcome.TIMED_OUT, error=_with_stderr(text, ended))
    if ended.fate == "flooded":
        return replace(blank, outcome=Outcome.GARBLED, error=f"more output than {len(ended.stdout)} bytes")
    if ended.exit_code:
        return replace(blank, outcome=Outcome.CRASHED, error=_with_stderr(_exit_text(ended.exit_code), ended))
    try:
        return _with_answer(blank, ended.stdout)
    except (ValueError, KeyError, TypeError) as error:
        text = f"answered {ended.stdout[:200]!r}: {error}"
        return replace(blank, outcome=Outcome.GARBLED, error=_with_stderr(text, ended))


def _exit_text(exit_code: int) -> str:
    if exit_code > 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


def _with_stderr(text: str, ended: Ended) -> str:
    tail = ended.stderr_tail.strip()
    return f"{text}\n{tail}" if tail else text


def _with_answer(blank: Sample, stdout: str) -> Sample:
    """Fill in the one line of the answer; ValueError, KeyError or TypeError if it is not one."""
    answer = json.loads(stdout)
    if not isinstance(answer, dict):
        raise TypeError("not a JSON object")
    outcome = Outcome(answer["outcome"])
    if outcome not in TOLD_OUTCOMES:
        raise ValueError(f"a child cannot know of the outcome {outcome}")
    if outcome is not Outcome.SKIPPED and _whole(answer, "wall_ns") is None:
        raise KeyError("wall_ns")
    gil_on = answer.get("gil_on")
    if not isinstance(gil_on, bool | None):
        raise TypeError("gil_on is no boolean")
    foreign = answer.get("foreign_share")
    return replace(
        blank,
        outcome=outcome,
        expected=_text(answer, "expected"),
        found=_text(answer, "found"),
        error=_text(answer, "error"),
        wall_ns=_whole(answer, "wall_ns"),
        cpu_ns=_whole(answer, "cpu_ns"),
        runq_ns=_whole(answer, "runq_ns"),
        blocked_ns=_whole(answer, "blocked_ns"),
        context_switches=_whole(answer, "context_switches"),
        gil_on=gil_on,
        foreign_share=None if foreign is None else float(foreign),
        positive_lost=_whole(answer, "positive_lost"),
        negative_lost=_whole(answer, "negative_lost"),
    )


def _text(answer: dict[str, object], name: str) -> str | None:
    value = answer.get(name)
    if not isinstance(value, str | None):
        raise TypeError(f"{name} is no text")
    return value


def _whole(answer: dict[str, object], name: str) -> int | None:
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise TypeError(f"{name} is no whole number")
    return value
