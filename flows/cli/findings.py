"""`threadmill history samples|speedup|race`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from db.rows import SampleRow
from flows.analysis.findings import RaceFinding, SpeedupFinding, race_findings, speedup_findings
from flows.cli.history import open_history, print_rows, say_if_empty
from flows.cli.options import (
    ALL_CASES,
    ALL_MACHINES,
    ALL_UPDATES,
    ALL_WORKLOADS,
    ANY_TIME,
    FOR_PEOPLE,
    Axes,
    Cases,
    Form,
    Machines,
    Times,
    Updates,
    Workloads,
)
from flows.errors import RequestRefused
from flows.option_types import Flag, Whole
from flows.show.finding_tables import RACES, SPEEDUPS
from flows.show.tables import SAMPLES
from tasks.axes import Outcome

if TYPE_CHECKING:
    from db.history import History, SampleFilter

Row = TypeVar("Row", SpeedupFinding, RaceFinding)
# The outcomes of samples whose time can be used.
_TIMED = {Outcome.OK, Outcome.LOST, Outcome.NONE_OBSERVED, Outcome.NOT_EXERCISED}


def samples(
    *,
    cases: Cases = ALL_CASES,
    machines: Machines = ALL_MACHINES,
    run: Whole | None = None,
    times: Times = ANY_TIME,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
    pyperf: Flag = False,
) -> int:
    """List samples of the experiments, newest first.

    With --run, the samples of one run are listed in their order.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history samples --workload factorize --interpreter 3.13t

    Args:
        run: only this run, by its number
        limit: how many at the most
        pyperf: print the samples of one case as JSON that pyperf stats and pyperf compare_to read
    """
    axes = cases.axes()
    since, until = times.span()
    # Late, so that a command line is refused before the record is loaded.
    from db.history import SampleFilter

    which = SampleFilter(axes, machines.interpreter, machines.host, since=since, until=until, run_id=run)
    history = open_history(limit)
    rows = history.samples(which, limit=limit)
    if pyperf:
        say_if_empty(history)
        print(pyperf_document(rows))
        return 0
    return print_rows(history, rows, SampleRow, form, lambda: SAMPLES.fill(rows, without=("expected",)))


def speedup(
    *,
    workloads: Workloads = ALL_WORKLOADS,
    machines: Machines = ALL_MACHINES,
    run: Whole | None = None,
    times: Times = ANY_TIME,
    limit: Whole = 5,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show the speed-up of each executor, run by run, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history speedup --workload factorize

    Args:
        run: only this run, by its number
        limit: runs at the most
    """
    which = _which("speedup", workloads, machines, times)
    history = open_history(limit)
    rows = _findings(history, which, run, limit, speedup_findings)
    return print_rows(history, rows, SpeedupFinding, form, lambda: SPEEDUPS.fill(rows))


def race(
    *,
    updates: Updates = ALL_UPDATES,
    machines: Machines = ALL_MACHINES,
    run: Whole | None = None,
    times: Times = ANY_TIME,
    limit: Whole = 5,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show which updates were lost, and what a guard costs.

    Runs are shown one by one, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history race --shape augmented

    Args:
        run: only this run, by its number
        limit: runs at the most
    """
    which = _which("race", updates, machines, times)
    history = open_history(limit)
    rows = _findings(history, which, run, limit, race_findings)
    return print_rows(history, rows, RaceFinding, form, lambda: RACES.fill(rows))


def _which(experiment: str, axes: Axes, machines: Machines, times: Times) -> SampleFilter:
    since, until = times.span()
    case = {"experiment": [experiment], **axes.axes()}
    from db.history import SampleFilter

    return SampleFilter(case, machines.interpreter, machines.host, since=since, until=until)


def _findings(
    history: History,
    which: SampleFilter,
    run: int | None,
    limit: int,
    rows_of: Callable[[Sequence[SampleRow]], Iterable[Row]],
) -> list[Row]:
    """The findings of the newest runs that have such cases, from all samples of the experiment and of `ceiling`."""
    run_ids = [run] if run is not None else history.runs_with(which, limit=limit)
    # A case that others are compared with need not be asked for itself.
    all_cases = {"experiment": [*which.case["experiment"], "ceiling"]}
    axes = {axis: values for axis, values in which.case.items() if axis != "experiment"}
    rows: list[Row] = []
    for run_id in run_ids:
        samples = history.samples(replace(which, case=all_cases, since=None, until=None, run_id=run_id), limit=None)
        rows += rows_of(samples)
    return [row for row in rows if all(getattr(row, axis) in values for axis, values in axes.items())]


def pyperf_document(rows: Sequence[SampleRow]) -> str:
    """The JSON text (pyperf's format 1.0) that `pyperf stats` and `pyperf compare_to` read, a run for each sample.

    Raises:
        RequestRefused: the samples are of several cases or interpreters, or none has a time.
    """
    if len({(row.case, row.interpreter.fingerprint) for row in rows}) != 1:
        raise RequestRefused(
            "pyperf's form holds one case of one interpreter: narrow down by --workload, --executor, --interpreter, …"
        )
    quiet = [row for row in rows if row.outcome in _TIMED and not row.noisy and row.wall_ns]
    if not quiet:
        raise RequestRefused("pyperf's form needs at least one sample that is not noisy and has a time")
    first = rows[0]
    metadata = {
        # `compare_to` pairs benchmarks by this name.
        "name": first.case,
        "unit": "second",
        "loops": 1,
        "python_version": first.interpreter.label,
        "python_implementation": first.interpreter.implementation,
    }
    return json.dumps({"version": "1.0", "metadata": metadata, "benchmarks": [{"runs": list(map(_pyperf_run, quiet))}]})


def _pyperf_run(row: SampleRow) -> dict[str, object]:
    date = row.started_at.replace(tzinfo=None).isoformat(" ")
    return {"metadata": {"date": date}, "values": [(row.wall_ns or 0) / 1e9]}
