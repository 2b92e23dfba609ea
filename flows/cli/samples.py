"""`threadmill history samples|speedup|race`: the experiments on record, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from db.history import SampleFilter
from db.rows import SampleRow
from flows.cli.finding_rows import RaceRow, SpeedupRow, race_rows, speedup_rows
from flows.cli.options import Csv, Flag, Json, Names
from flows.cli.output import columns_of, milliseconds, print_csv, print_json, print_table
from flows.cli.record import open_history, say_if_empty, time_or_none
from flows.jobs.findings import to_sample
from flows.jobs.names import RequestRefused
from tasks.threads.pyperf_export import pyperf_document


def samples(
    *,
    experiment: Names = [],  # noqa: B006 - never changed
    workload: Names = [],  # noqa: B006 - never changed
    executor: Names = [],  # noqa: B006 - never changed
    shape: Names = [],  # noqa: B006 - never changed
    guard: Names = [],  # noqa: B006 - never changed
    interpreter: Names = [],  # noqa: B006 - never changed
    host: Names = [],  # noqa: B006 - never changed
    run: int | None = None,
    since: str | None = None,
    limit: int = 20,
    json: Json = False,
    csv: Csv = False,
    pyperf: Flag = False,
) -> int:
    """List samples of the experiments, newest first; those of one run in their order.

    Args:
        experiment: speedup, race, ceiling
        workload: only these
        executor: only these
        shape: only these
        guard: only these
        interpreter: versions such as 3.12, 3.13.0, 3.13t
        host: only these machines
        run: only this run, by its number
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00
        limit: how many at the most
        json: print one JSON array
        csv: print CSV
        pyperf: print the samples of one case as JSON that pyperf stats and pyperf compare_to read
    """
    axes = {"experiment": experiment, "workload": workload, "executor": executor, "shape": shape, "guard": guard}
    which = SampleFilter(
        case={axis: wanted for axis, wanted in axes.items() if wanted},
        interpreters=interpreter,
        hosts=host,
        since=time_or_none(since),
        run_id=run,
    )
    history = open_history(limit)
    rows = history.samples(which, limit=limit)
    say_if_empty(history)
    if pyperf:
        _print_pyperf(rows)
    elif json:
        print_json(rows)
    elif csv:
        print_csv(columns_of(SampleRow), rows)
    else:
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
    return 0


def _print_pyperf(rows: Sequence[SampleRow]) -> None:
    samples = [to_sample(row) for row in rows]
    if len({(sample.case, sample.interpreter) for sample in samples}) != 1:
        raise RequestRefused(
            "pyperf's form holds one case of one interpreter: narrow down by --workload, --executor, --interpreter, …"
        )
    print(pyperf_document(samples, rows[0].interpreter))


def speedup(
    *,
    workload: Names = [],  # noqa: B006 - never changed
    executor: Names = [],  # noqa: B006 - never changed
    interpreter: Names = [],  # noqa: B006 - never changed
    host: Names = [],  # noqa: B006 - never changed
    run: int | None = None,
    since: str | None = None,
    limit: int = 5,
    json: Json = False,
    csv: Csv = False,
) -> int:
    """Show what helped: the speed-up of each executor, run by run, newest first.

    Args:
        workload: only these
        executor: only these
        interpreter: versions such as 3.12, 3.13.0, 3.13t
        host: only these machines
        run: only this run, by its number
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00
        limit: runs at the most
        json: print one JSON array
        csv: print CSV
    """
    groups = _findings("speedup", interpreter, host, run, since, limit)
    rows = [row for run_id, samples in groups for row in speedup_rows(run_id, samples)]
    rows = [
        row for row in rows if (not workload or row.workload in workload) and (not executor or row.executor in executor)
    ]
    return _print_findings("speed-up", SpeedupRow, rows, json=json, csv=csv)


def race(
    *,
    shape: Names = [],  # noqa: B006 - never changed
    guard: Names = [],  # noqa: B006 - never changed
    interpreter: Names = [],  # noqa: B006 - never changed
    host: Names = [],  # noqa: B006 - never changed
    run: int | None = None,
    since: str | None = None,
    limit: int = 5,
    json: Json = False,
    csv: Csv = False,
) -> int:
    """Show what was lost, and what a guard cost, run by run, newest first.

    Args:
        shape: only these
        guard: only these
        interpreter: versions such as 3.12, 3.13.0, 3.13t
        host: only these machines
        run: only this run, by its number
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00
        limit: runs at the most
        json: print one JSON array
        csv: print CSV
    """
    groups = _findings("race", interpreter, host, run, since, limit)
    rows = [row for run_id, samples in groups for row in race_rows(run_id, samples)]
    rows = [row for row in rows if (not shape or row.shape in shape) and (not guard or row.guard in guard)]
    return _print_findings("races", RaceRow, rows, json=json, csv=csv)


def _findings(
    experiment: str, interpreters: Sequence[str], hosts: Sequence[str], run: int | None, since: str | None, limit: int
) -> list[tuple[int, list[SampleRow]]]:
    """Samples of the newest runs that have that experiment, with those of `ceiling` beside it."""
    history = open_history(limit)
    run_ids = history.runs_with(experiment, since=time_or_none(since), limit=limit) if run is None else [run]
    say_if_empty(history)
    wanted: dict[str, Sequence[str | int]] = {"experiment": [experiment, "ceiling"]}
    return [
        (run_id, history.samples(SampleFilter(wanted, interpreters, hosts, run_id=run_id), limit=None))
        for run_id in run_ids
    ]


def _print_findings(title: str, row_type: type, rows: Sequence[SpeedupRow | RaceRow], *, json: bool, csv: bool) -> int:
    columns = columns_of(row_type)
    if json:
        print_json(rows)
    elif csv:
        print_csv(columns, rows)
    else:
        print_table(title, columns, ([_short(getattr(row, column)) for column in columns] for row in rows))
    return 0


def _short(value: object) -> object:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:,.0f}" if isinstance(value, float) else value)
    )
