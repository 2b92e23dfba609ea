"""`threadmill history samples|speedup|race`: the experiments on record, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from db.history import SampleFilter
from db.rows import SampleRow
from flows.cli.finding_rows import RaceRow, SpeedupRow, race_rows, speedup_rows
from flows.cli.finding_tables import print_races, print_speedups
from flows.cli.listing import print_rows
from flows.cli.options import Flag, Whole
from flows.cli.output import print_table
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
from flows.errors import RequestRefused
from flows.text import duration, if_known, local
from tasks.axes import Outcome

# For these a time means what it says.
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
        (
            "run",
            "started",
            "experiment",
            "what",
            "by",
            "workers",
            "interpreter",
            "round",
            "outcome",
            "found",
            "time",
            "noisy",
        ),
        (
            (
                row.run_id,
                local(row.started_at),
                row.experiment,
                row.workload or row.shape,
                row.executor or row.guard,
                row.workers,
                row.interpreter.label,
                row.round,
                row.outcome,
                row.error if row.found in {None, ""} else str(row.found),
                if_known(duration, row.wall_ns),
                "noisy" if row.noisy else None,
            )
            for row in rows
        ),
    )


def _print_pyperf(rows: Sequence[SampleRow]) -> None:
    if len({(row.case, row.interpreter.fingerprint) for row in rows}) != 1:
        raise RequestRefused(
            "pyperf's form holds one case of one interpreter: narrow down by --workload, --executor, --interpreter, …"
        )
    print(pyperf_document(rows))


def pyperf_document(rows: Sequence[SampleRow]) -> str:
    """The JSON text (pyperf's format 1.0) that `pyperf stats` and `pyperf compare_to` read, a run for each sample.

    Args:
        rows: of one case and one interpreter, at least one of them; noisy ones are left out, as everywhere.

    Raises:
        RequestRefused: no sample has a time that means anything.
    """
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
    wanted = workloads.axes()
    groups = _findings("speedup", wanted, machines, run, times, limit)
    rows = [row for run_id, samples in groups for row in sorted(speedup_rows(run_id, samples), key=_order)]
    rows = [row for row in rows if _is_wanted(row, wanted)]
    return print_rows(rows, SpeedupRow, form, lambda: print_speedups(rows))


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
    wanted = updates.axes()
    groups = _findings("race", wanted, machines, run, times, limit)
    rows = [row for run_id, samples in groups for row in sorted(race_rows(run_id, samples), key=_order)]
    rows = [row for row in rows if _is_wanted(row, wanted)]
    return print_rows(rows, RaceRow, form, lambda: print_races(rows))


def _findings(
    experiment: str,
    wanted: Mapping[str, Sequence[str | int]],
    machines: Machines,
    run: int | None,
    times: Times,
    limit: int,
) -> list[tuple[int, list[SampleRow]]]:
    """Samples of the newest runs that have such cases: of the whole experiment, and of `ceiling` beside it."""
    since, until = times.span()
    history = open_history(limit)
    case = {"experiment": [experiment], **wanted}
    which = SampleFilter(case, machines.interpreter, machines.host, since=since, until=until)
    run_ids = [run] if run is not None else history.runs_with(which, limit=limit)
    say_if_empty(history)
    # What a case is held against is not always wanted itself.
    which = SampleFilter({"experiment": [experiment, "ceiling"]}, machines.interpreter, machines.host)
    return [(run_id, history.samples(replace(which, run_id=run_id), limit=None)) for run_id in run_ids]


def _order(row: SpeedupRow | RaceRow) -> tuple[str | int, ...]:
    names = (row.workload, row.executor) if isinstance(row, SpeedupRow) else (row.shape or "", row.guard)
    return (row.interpreter, *names, row.workers)


def _is_wanted(row: SpeedupRow | RaceRow, wanted: Mapping[str, Sequence[str | int]]) -> bool:
    return all(getattr(row, axis) in values for axis, values in wanted.items())
