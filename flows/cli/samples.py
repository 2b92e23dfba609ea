"""`threadmill history samples|speedup|race`: the experiments on record, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from db.history import SampleFilter
from db.rows import SampleRow
from flows.cli.finding_rows import RaceRow, SpeedupRow, race_rows, speedup_rows
from flows.cli.listing import print_rows
from flows.cli.options import Flag
from flows.cli.output import columns_of, milliseconds, print_table
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import (
    ALL_CASES,
    ALL_MACHINES,
    ALL_UPDATES,
    ALL_WORKLOADS,
    ANY_TIME,
    FOR_PEOPLE,
    Cases,
    Form,
    Machines,
    Times,
    Updates,
    Workloads,
)
from flows.jobs.findings import to_sample
from flows.jobs.names import RequestRefused
from tasks.threads.pyperf_export import pyperf_document


def samples(
    *,
    cases: Cases = ALL_CASES,
    machines: Machines = ALL_MACHINES,
    run: int | None = None,
    times: Times = ANY_TIME,
    limit: int = 20,
    form: Form = FOR_PEOPLE,
    pyperf: Flag = False,
) -> int:
    """List samples of the experiments, newest first; those of one run in their order.

    Args:
        cases: of which cases
        machines: on which interpreters and machines
        run: only this run, by its number
        times: when they were measured
        limit: how many at the most
        form: for people or for programs
        pyperf: print the samples of one case as JSON that pyperf stats and pyperf compare_to read
    """
    since, until = times.span()
    which = SampleFilter(cases.axes(), machines.interpreter, machines.host, since=since, until=until, run_id=run)
    history = open_history(limit)
    rows = history.samples(which, limit=limit)
    say_if_empty(history)
    if pyperf:
        _print_pyperf(rows)
        return 0
    return print_rows(rows, SampleRow, form, lambda: _print_samples(rows))


def _print_samples(rows: Sequence[SampleRow]) -> None:
    print_table(
        "samples",
        ("run", "experiment", "what", "by", "workers", "interpreter", "round", "outcome", "found", "time", "noisy"),
        (
            (
                row.run_id,
                row.experiment,
                row.workload or row.shape,
                row.executor or row.guard,
                row.workers,
                row.interpreter.label,
                row.round,
                row.outcome,
                row.found or row.error,
                milliseconds(row.wall_ns),
                "noisy" if row.noisy else None,
            )
            for row in rows
        ),
    )


def _print_pyperf(rows: Sequence[SampleRow]) -> None:
    samples = [to_sample(row) for row in rows]
    if len({(sample.case, sample.interpreter) for sample in samples}) != 1:
        raise RequestRefused(
            "pyperf's form holds one case of one interpreter: narrow down by --workload, --executor, --interpreter, …"
        )
    print(pyperf_document(samples, rows[0].interpreter))


def speedup(
    *,
    workloads: Workloads = ALL_WORKLOADS,
    machines: Machines = ALL_MACHINES,
    run: int | None = None,
    times: Times = ANY_TIME,
    limit: int = 5,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show what helped: the speed-up of each executor, run by run, newest first.

    Args:
        workloads: of which cases
        machines: on which interpreters and machines
        run: only this run, by its number
        times: when they were measured
        limit: runs at the most
        form: for people or for programs
    """
    workload, executor = workloads.workload, workloads.executor
    groups = _findings("speedup", machines, run, times, limit)
    rows = [row for run_id, samples in groups for row in speedup_rows(run_id, samples)]
    rows = [
        row for row in rows if (not workload or row.workload in workload) and (not executor or row.executor in executor)
    ]
    return print_rows(rows, SpeedupRow, form, lambda: _print_findings("speed-up", SpeedupRow, rows))


def race(
    *,
    updates: Updates = ALL_UPDATES,
    machines: Machines = ALL_MACHINES,
    run: int | None = None,
    times: Times = ANY_TIME,
    limit: int = 5,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show what was lost, and what a guard cost, run by run, newest first.

    Args:
        updates: of which cases
        machines: on which interpreters and machines
        run: only this run, by its number
        times: when they were measured
        limit: runs at the most
        form: for people or for programs
    """
    shape, guard = updates.shape, updates.guard
    groups = _findings("race", machines, run, times, limit)
    rows = [row for run_id, samples in groups for row in race_rows(run_id, samples)]
    rows = [row for row in rows if (not shape or row.shape in shape) and (not guard or row.guard in guard)]
    return print_rows(rows, RaceRow, form, lambda: _print_findings("races", RaceRow, rows))


def _findings(
    experiment: str, machines: Machines, run: int | None, times: Times, limit: int
) -> list[tuple[int, list[SampleRow]]]:
    """Samples of the newest runs that have that experiment, with those of `ceiling` beside it."""
    since, until = times.span()
    history = open_history(limit)
    run_ids = [run] if run is not None else history.runs_with(experiment, since=since, until=until, limit=limit)
    say_if_empty(history)
    wanted: dict[str, Sequence[str | int]] = {"experiment": [experiment, "ceiling"]}
    which = SampleFilter(wanted, machines.interpreter, machines.host)
    return [(run_id, history.samples(replace(which, run_id=run_id), limit=None)) for run_id in run_ids]


def _print_findings(title: str, row_type: type, rows: Sequence[SpeedupRow | RaceRow]) -> None:
    columns = columns_of(row_type)
    print_table(title, columns, ([_short(getattr(row, column)) for column in columns] for row in rows))


def _short(value: object) -> object:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:,.0f}" if isinstance(value, float) else value)
    )
