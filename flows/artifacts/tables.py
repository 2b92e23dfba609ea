"""The rows of a run's table artifacts: payloads and samples as they are on record, findings as they are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from db.rows import PayloadRow, SampleRow
from flows.analysis.findings import (
    OutcomeCounts,
    RaceFinding,
    SpeedupFinding,
    by_interpreter,
    race_findings,
    speedup_findings,
)
from flows.analysis.intervals import verdict_on_speedup
from flows.analysis.sentences import WORDS, failures
from flows.report.figures import interval, ratio
from flows.text import milliseconds, percent, visible
from tasks.axes import Executor, Experiment, Guard, Outcome

Line = dict[str, str | int | float | None]
# What the older UI would take for markup, a link to follow or an image to load.
_MARKED = re.compile(r"[&<>|\\`*\[\]~#@]|(?<![^\W_])_|_(?![^\W_])|://|www\.|^\W\s|^\d+[.)]\s", re.IGNORECASE)


def literally(line: Line) -> Line:
    """The same for a table whose cells the older UI takes for markdown, and the newer one for text.

    Where that makes a difference the text is indented: this is code to the one, and nothing to the other.
    """
    return {name: _literal(cell) if isinstance(cell, str) else cell for name, cell in line.items()}


def _literal(text: str) -> str:
    shown = visible(text)
    return f"    {shown}" if _MARKED.search(shown) else shown


def payload_line(row: PayloadRow) -> Line:
    """A payload, its stages in one cell."""
    return {
        "payload": row.name,
        "status": row.status,
        "bytes": row.size_bytes,
        "suite": row.suite,
        "backend": row.backend,
        "digest": row.digest.hex() if row.digest else None,
        "ms": round(row.wall_ns / 1e6, 2),
        "stages (exit code, ms)": ", ".join(
            f"{stage.program} ({stage.exit_code}, {stage.wall_ns / 1e6:.1f})" for stage in row.stages
        ),
        "error": row.error,
    }


def sample_line(row: SampleRow) -> Line:
    """A sample with its main readings."""
    return {
        "experiment": row.experiment,
        "what": row.workload or row.shape,
        "by": row.executor or row.guard,
        "workers": row.workers,
        "interpreter": row.interpreter.label,
        "round": row.round,
        "outcome": row.outcome,
        "expected": row.expected,
        "found": row.found,
        "ms": None if row.wall_ns is None else round(row.wall_ns / 1e6, 2),
        "noisy": "yes" if row.noisy else "",
        "error": row.error,
    }


def finding_lines(rows: Sequence[SampleRow]) -> Iterator[Line]:
    """Interpreter by interpreter what helped by how much, and what was lost or what its guard cost."""
    for label, samples in by_interpreter(rows).items():
        yield from (_speedup(label, one) for one in speedup_findings(samples))
        yield from (_race(label, one) for one in race_findings(samples))


def _speedup(label: str, one: SpeedupFinding) -> Line:
    base = one.executor is Executor.SERIAL
    against = None if base else one.ratio
    return {
        "interpreter": label,
        "question": Experiment.SPEEDUP,
        "case": f"{one.workload}, {one.executor}",
        "workers": one.workers,
        "verdict": _failed(one.samples)
        or _skipped(one)
        or ("the base" if base else WORDS[verdict_on_speedup(against)]),
        "speed-up": ratio(against),
        "lost": None,
        "cost": None,
        "95 % interval": interval(against),
        "ceiling": ratio(one.ceiling),
        "ms": milliseconds(one.wall_ns.median) if one.wall_ns else None,
        "samples": _samples(one.samples),
    }


def _race(label: str, one: RaceFinding) -> Line:
    return {
        "interpreter": label,
        "question": Experiment.RACE,
        "case": f"{one.shape}, {one.guard}" if one.shape else str(one.guard),
        "workers": one.workers,
        "verdict": _failed(one.samples) or _race_verdict(one),
        "speed-up": None,
        "lost": None if one.lost_share is None else percent(one.lost_share.median),
        "cost": ratio(one.cost),
        "95 % interval": interval(one.cost),
        "ceiling": None,
        "ms": None,
        "samples": _samples(one.samples),
    }


def _race_verdict(one: RaceFinding) -> str:
    """Never "safe": what was not seen may still happen."""
    if one.with_loss:
        return f"loses updates, in {one.with_loss} of {one.exercised} trials"
    if not one.exercised:
        return "not exercised" if one.samples.count(Outcome.NOT_EXERCISED) else "nothing was measured"
    seen = "none observed" if one.guard is Guard.NONE else "no update lost"
    return f"{seen} in {one.exercised} trials"


def _failed(samples: OutcomeCounts) -> str | None:
    failed = failures(samples)
    return f"FAILED: {failed}" if failed else None


def _skipped(one: SpeedupFinding) -> str | None:
    return f"skipped: {one.reason}" if one.samples.count(Outcome.SKIPPED) else None


def _samples(counts: OutcomeCounts) -> str:
    number = sum(count for _, count in counts.outcomes)
    return f"{number} ({counts.noisy} noisy)" if counts.noisy else str(number)
