"""Samples of the record: by interpreter and case, and those of the runs that a report shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from db.rows import InterpreterRow, RunRow, SampleRow
from flows.analysis.intervals import MIN_PAIRS, Ratio, median, ratio_of_pairs
from flows.text import visible
from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload

# Samples of one interpreter by the name of their case.
CaseSamples = Mapping[str, Sequence[SampleRow]]
# The survey measures the few cases of the chapter only; a run of experiments says more.
SURVEY = "survey"
_TABLES = {
    "experiment": Experiment,
    "workload": Workload,
    "executor": Executor,
    "shape": Shape,
    "guard": Guard,
    "outcome": Outcome,
}
_KNOWN = {axis: {None, *map(str, table)} for axis, table in _TABLES.items()}


def position(choice: StrEnum) -> int:
    """The place of a choice in its table."""
    return list(type(choice)).index(choice)


def is_known(row: SampleRow) -> bool:
    """Whether this version of the program knows all words of a sample."""
    return all(getattr(row, axis) in words for axis, words in _KNOWN.items())


def by_interpreter(rows: Iterable[SampleRow]) -> dict[str, list[SampleRow]]:
    """Samples by the interpreter's label, sorted by version."""
    groups: dict[str, list[SampleRow]] = {}
    for row in sorted(rows, key=lambda row: (row.interpreter.implementation, version_numbers(row.interpreter.version))):
        groups.setdefault(row.interpreter.label, []).append(row)
    return groups


def by_case(rows: Iterable[SampleRow], experiment: Experiment | None = None) -> dict[str, list[SampleRow]]:
    """Samples of one interpreter by the name of their case; samples of a version with other choices are left out."""
    grouped: dict[str, list[SampleRow]] = defaultdict(list)
    for row in rows:
        if (experiment is None or row.experiment == experiment) and is_known(row):
            grouped[row.case].append(row)
    return grouped


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, for sorting: 3.9 comes before 3.13."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


@dataclass(frozen=True, slots=True)
class Measured:
    """One interpreter on one host in one run of an experiment.

    `label` is unique in the report. `unknown` counts rows of cases that this program does not know.
    """

    experiment: Experiment
    label: str
    interpreter: InterpreterRow
    host: str
    run_id: int
    started_at: datetime
    rounds: int
    noisy: int
    samples: tuple[SampleRow, ...]
    unknown: int


def latest_per_interpreter(
    rows: Iterable[SampleRow], experiment: Experiment, runs: Sequence[RunRow] = ()
) -> tuple[Measured, ...]:
    """Of each interpreter on each host the newest run with samples of `experiment`, sorted by version.

    Runs with rounds enough for intervals come before those with fewer, and a survey (known by `runs`) comes last.
    The samples are those of the experiment, and with `speedup` those of `ceiling` beside them.
    """
    surveys = {run.id for run in runs if run.flow == SURVEY}
    groups: dict[tuple[str, str], dict[int, list[SampleRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.experiment in (experiment, Experiment.CEILING):
            groups[row.host, row.interpreter.fingerprint][row.run_id].append(row)
    chosen = []
    for by_run in groups.values():
        candidates = [own for own in by_run.values() if any(row.experiment == experiment for row in own)]
        if candidates:
            chosen.append(max(candidates, key=lambda own: _rank(own, experiment, surveys)))
    measured = sorted((_measured(own, experiment) for own in chosen), key=_sort_key)
    return _told_apart(measured)


def _rank(own: Sequence[SampleRow], experiment: Experiment, surveys: set[int]) -> tuple[bool, bool, int]:
    run_id = own[0].run_id
    return run_id not in surveys, _rounds(own, experiment) >= MIN_PAIRS, run_id


def _rounds(own: Iterable[SampleRow], experiment: Experiment) -> int:
    return len({row.round for row in own if row.experiment == experiment})


def _measured(own: Sequence[SampleRow], experiment: Experiment) -> Measured:
    samples = [row for row in own if is_known(row)]
    first = own[0]
    return Measured(
        experiment=experiment,
        label=visible(first.interpreter.label),
        interpreter=first.interpreter,
        host=visible(first.host),
        run_id=first.run_id,
        started_at=min(row.started_at for row in own),
        rounds=_rounds(own, experiment),
        noisy=sum(one.noisy for one in samples),
        samples=tuple(samples),
        unknown=len(own) - len(samples),
    )


def _sort_key(one: Measured) -> tuple[str, tuple[int, ...], bool, str, str]:
    return (
        one.interpreter.implementation,
        version_numbers(one.interpreter.version),
        not one.interpreter.gil_build,
        one.label,
        one.host,
    )


def _told_apart(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """Add the host to all labels if there are several hosts, and a piece of the fingerprint to equal labels."""
    if len({one.host for one in measured}) > 1:
        measured = [replace(one, label=f"{one.label} on {one.host}") for one in measured]
    times = Counter(one.label for one in measured)
    return tuple(
        replace(one, label=f"{one.label} ({one.interpreter.fingerprint[:6]})") if times[one.label] > 1 else one
        for one in measured
    )


def failed_outcomes(outcomes: Mapping[Outcome, int]) -> str:
    """The failed samples by outcome: `2 broken, 1 crashed`; empty if none failed."""
    return ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items() if outcome.is_failure)


def count_outcomes(rows: Sequence[SampleRow]) -> dict[Outcome, int]:
    """The number of samples by outcome."""
    return dict(sorted(Counter(Outcome(row.outcome) for row in rows).items()))


def failures(rows: Sequence[SampleRow]) -> int:
    """The number of samples that say that something is broken."""
    return sum(Outcome(row.outcome).is_failure for row in rows)


def quiet_walls(rows: Iterable[SampleRow]) -> dict[int, float]:
    """Wall time by round, of the samples that are right and not noisy."""
    return walls_of(row for row in rows if not row.noisy)


def walls_of(rows: Iterable[SampleRow]) -> dict[int, float]:
    """Wall time by round, of the samples that are right, noisy ones too."""
    return {row.round: row.wall_ns for row in rows if row.outcome == Outcome.OK and row.wall_ns}


def noisy_wall_ns(rows: Sequence[SampleRow]) -> float | None:
    """The median time of noisy samples where there are no others."""
    return None if quiet_walls(rows) else median(walls_of(rows).values())


def against(base: Sequence[SampleRow], own: Sequence[SampleRow], times: int = 1) -> tuple[Ratio | None, float | None]:
    """The ratio of the base's time, `times` as long, to the other's; without a quiet pair None, and that of all."""
    ratio, noisy = (
        paired({number: wall * times for number, wall in walls(base).items()}, walls(own))
        for walls in (quiet_walls, walls_of)
    )
    return ratio, None if ratio or noisy is None else noisy.value


def paired(base: Mapping[int, float], other: Mapping[int, float]) -> Ratio | None:
    """The ratio of the base's times to the others', paired by round; None if no round has both."""
    rounds = sorted(base.keys() & other.keys())
    return ratio_of_pairs([(other[one], base[one]) for one in rounds]) if rounds else None


def ratio_fields(ratio: Ratio | None) -> tuple[float | None, float | None, float | None, int]:
    """The fields of a ratio in a finding."""
    return (ratio.value, ratio.low, ratio.high, ratio.pairs) if ratio else (None, None, None, 0)
