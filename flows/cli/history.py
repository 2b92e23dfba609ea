"""`threadmill history …`: the record, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from db.history import History, PayloadFilter, SampleFilter
from db.rows import PayloadRow, RunDetail, RunRow
from flows.cli.exits import REFUSED, Exit
from flows.cli.findings import print_findings
from flows.cli.options import Csv, Flag, Json, Names
from flows.cli.output import columns_of, local, milliseconds, print_csv, print_json, print_table
from flows.cli.record import open_history, say_if_empty, time_or_none
from flows.jobs.names import check_suites
from tasks.crypto.scan import absolute


def runs(*, limit: int = 20, since: str | None = None, json: Json = False, csv: Csv = False) -> int:
    """List the runs, newest first.

    Args:
        limit: how many at the most
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00
        json: print one JSON array
        csv: print CSV
    """
    history = open_history(limit)
    rows = history.runs(limit=limit, since=time_or_none(since))
    say_if_empty(history)
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
    history = open_history(limit)
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
        since=time_or_none(since),
        suites=check_suites(suite),
        failed=failed,
    )
    history = open_history(limit)
    rows = history.payloads(which, limit=limit)
    say_if_empty(history)
    if json:
        print_json(rows)
    elif csv:
        print_csv(columns_of(PayloadRow), rows)
    else:
        _print_payloads(rows)
    return 0


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
