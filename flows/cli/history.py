"""`threadmill history …`: the record, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from db.history import History, PayloadFilter, SampleFilter
from db.rows import PayloadRow, RunDetail, RunRow, SampleRow
from flows.cli.exits import REFUSED, Exit
from flows.cli.finding_rows import RaceRow, SpeedupRow, race_rows, speedup_rows
from flows.cli.findings import print_findings
from flows.cli.options import Csv, Flag, Json, Names, point_in_time
from flows.cli.output import columns_of, console, local, milliseconds, print_csv, print_json, print_table
from flows.jobs.findings import to_sample
from flows.jobs.names import RequestRefused, check_suites
from flows.settings import load_settings
from tasks.crypto.scan import absolute
from tasks.threads.pyperf_export import pyperf_document


def runs(*, limit: int = 20, since: str | None = None, json: Json = False, csv: Csv = False) -> int:
    """List the runs, newest first.

    Args:
        limit: how many at the most
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00
        json: print one JSON array
        csv: print CSV
    """
    history = _open(limit)
    rows = history.runs(limit=limit, since=_time(since))
    _say_if_empty(history)
    if json:
        print_json(rows)
    elif csv:
        print_csv(columns_of(RunRow), rows)
    else:
        print_table(
            "runs",
            ("run", "flow", "via", "deployment", "started", "took", "status", "error"),
            (
                (row.id, row.flow, row.via, row.deployment, local(row.started_at), _took(row), row.status, row.error)
                for row in rows
            ),
        )
    return 0


def show(run: str, /, *, limit: int | None = None, json: Json = False, csv: Csv = False) -> int:
    """Show one run with its payloads and their stages, or what its samples add up to.

    Args:
        run: its number, the id of a Prefect flow run, or latest
        limit: payloads at the most (default: 20 for people, all for programs)
        json: print one JSON object with run and payloads
        csv: print the payloads as CSV
    """
    history = _open(limit)
    found = _find(history, run)
    if limit is None and not json and not csv:
        limit = 20
    payloads = history.payloads(PayloadFilter(run_id=found.id), limit=limit)
    samples = history.samples(SampleFilter(run_id=found.id), limit=None)
    if json:
        print_json(RunDetail(found, tuple(payloads), tuple(samples[:limit])))
    elif csv:
        print_csv(columns_of(PayloadRow), payloads)
    else:
        _print_run(found)
        if payloads:
            _print_payloads(payloads)
        if samples:
            print_findings(samples)
        for count in history.counts(found.id):
            cause = f" ({count.cause})" if count.cause else ""
            print(f"{count.count:,} {count.status}{cause}, {count.size_bytes:,} bytes")
    return 0


def payloads(
    *,
    path: str | None = None,
    since: str | None = None,
    suite: Names = [],  # noqa: B006 - never changed
    failed: Flag = False,
    limit: int = 20,
    json: Json = False,
    csv: Csv = False,
) -> int:
    """List payloads of all runs, newest first.

    Args:
        path: this file, or everything below this folder
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00
        suite: only these
        failed: only those that failed or would not hold still
        limit: how many at the most
        json: print one JSON array
        csv: print CSV
    """
    which = PayloadFilter(
        path=None if path is None else absolute(path),
        since=_time(since),
        suites=check_suites(suite),
        failed=failed,
    )
    history = _open(limit)
    rows = history.payloads(which, limit=limit)
    _say_if_empty(history)
    if json:
        print_json(rows)
    elif csv:
        print_csv(columns_of(PayloadRow), rows)
    else:
        _print_payloads(rows)
    return 0


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
        since=_time(since),
        run_id=run,
    )
    history = _open(limit)
    rows = history.samples(which, limit=limit)
    _say_if_empty(history)
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
    history = _open(limit)
    run_ids = history.runs_with(experiment, since=_time(since), limit=limit) if run is None else [run]
    _say_if_empty(history)
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


def _open(limit: int | None) -> History:
    if limit is not None and limit < 1:
        raise RequestRefused("--limit is at least 1")
    settings = load_settings()
    return History(settings.history_url, timeout_s=settings.database_timeout_s)


def _say_if_empty(history: History) -> None:
    if history.empty:
        console(error=True).print(f"nothing is recorded in {history.where} yet; try: threadmill survey", markup=False)


def _time(text: str | None) -> datetime | None:
    return None if text is None else point_in_time(text)


def _find(history: History, run: str) -> RunRow:
    if run == "latest":
        found = next(iter(history.runs(limit=1)), None)
    elif run.isdecimal() and len(run) < 19:
        found = history.run(int(run))
    else:
        found = history.run_of_flow(run)
    if found is None:
        raise Exit(REFUSED, f"there is no run {run}; see: threadmill history runs")
    return found


def _took(row: RunRow) -> str | None:
    return None if row.finished_at is None else f"{(row.finished_at - row.started_at).total_seconds():.2f} s"


def _print_run(row: RunRow) -> None:
    facts = {
        "run": f"{row.id}, {row.status}" + (f": {row.error}" if row.error else ""),
        "flow": row.flow + (f", deployment {row.deployment}" if row.deployment else "") + f", via {row.via}",
        "flow run": row.flow_run_id and f"{row.flow_run_id}, attempt {row.attempt}",
        "started": f"{local(row.started_at)}, took {_took(row) or '…'}, on {row.host}, code {row.code_version}",
        "parameters": ", ".join(f"{name}={value}" for name, value in row.parameters.items()),
    }
    for name, fact in facts.items():
        if fact:
            print(f"{name + ':':12}{fact}")


def _print_payloads(rows: Sequence[PayloadRow]) -> None:
    print_table(
        "payloads",
        ("run", "payload", "bytes", "suite", "backend", "status", "digest", "stages", "time"),
        (
            (
                row.run_id,
                row.name,
                row.size_bytes,
                row.suite,
                row.backend,
                row.status,
                row.digest or row.error,
                _stages(row),
                milliseconds(row.wall_ns),
            )
            for row in rows
        ),
    )


def _stages(row: PayloadRow) -> str:
    return ", ".join(
        f"{stage.program.removeprefix('openssl ')} {milliseconds(stage.wall_ns)}"
        + (f" (exit {stage.exit_code})" if stage.exit_code else "")
        for stage in row.stages
    )
