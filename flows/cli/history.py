"""`threadmill history …`: the record, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from db.history import History, PayloadFilter, SampleFilter, SnapshotFilter, VerdictFilter
from db.rows import PayloadRow, RunDetail, RunRow
from db.words import RUN_STATUSES
from flows.cli.findings import print_findings
from flows.cli.listing import print_rows
from flows.cli.options import Flag, Names, Whole
from flows.cli.output import columns_of, print_csv, print_json, print_table, say
from flows.cli.payload_tables import print_payloads
from flows.cli.record import need_runs, open_history, say_if_empty
from flows.cli.selection import ALL_CHAINS, ALL_HOSTS, ANY_TIME, FOR_PEOPLE, Chains, Form, Hosts, Times
from flows.cli.vault_record import print_snapshots, print_verdicts
from flows.errors import RequestRefused
from flows.text import duration, local
from tasks.files import absolute


def runs(
    *,
    status: Annotated[Names, Parameter(help=", ".join(RUN_STATUSES))] = [],  # noqa: B006 - never changed
    hosts: Hosts = ALL_HOSTS,
    times: Times = ANY_TIME,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """List the runs, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history runs --status failed,crashed --since 7d

    Args:
        limit: how many at the most
    """
    if unknown := [name for name in status if name not in RUN_STATUSES]:
        raise RequestRefused(f"unknown status {unknown[0]!r}; there are: {', '.join(RUN_STATUSES)}")
    since, until = times.span()
    history = open_history(limit)
    rows = history.runs(limit=limit, since=since, until=until, statuses=status, hosts=hosts.host)
    say_if_empty(history)
    return print_rows(rows, RunRow, form, lambda: _print_runs(rows))


def _print_runs(rows: Sequence[RunRow]) -> None:
    print_table(
        "runs",
        ("run", "flow", "via", "deployment", "started", "took", "status", "error"),
        (
            (row.id, row.flow, row.via, row.deployment, local(row.started_at), _took(row), row.status, row.error)
            for row in rows
        ),
    )


def show(run: str, /, *, limit: Whole | None = None, form: Form = FOR_PEOPLE) -> int:
    """Show one run with everything that it recorded.

    That is: its payloads and their stages, what its samples add up to, its snapshot and verdicts, and its seal. --json
    prints one object with run, payloads, samples, head, snapshot and verdicts; --csv prints the payloads.

    Exit codes: 0 shown, 2 refused: there is no such run.

    Example: threadmill history show latest

    Args:
        run: its number, the id of a Prefect flow run, or latest
        limit: payloads and verdicts at the most (default: 20 for people, all for programs)
    """
    history = open_history(limit)
    found = _find(history, run)
    head = history.head(found.id)
    if limit is None and not form.json and not form.csv:
        limit = 20
    payloads = history.payloads(PayloadFilter(run_id=found.id), limit=limit)
    samples = history.samples(SampleFilter(run_id=found.id), limit=None)
    snapshots = history.snapshots(SnapshotFilter(run_id=found.id))
    verdicts = history.verdicts(VerdictFilter(run_id=found.id), limit=limit)
    if form.json:
        snapshot = next(iter(snapshots), None)
        print_json(RunDetail(found, tuple(payloads), tuple(samples[:limit]), head, snapshot, tuple(verdicts)))
    elif form.csv:
        print_csv(columns_of(PayloadRow), payloads)
    else:
        _print_run(found, head)
        if payloads:
            print_payloads(payloads)
        if samples:
            print_findings(samples)
        if snapshots:
            print_snapshots(snapshots)
        if verdicts:
            print_verdicts(verdicts, history.verdict_counts(found.id))
        for count in history.counts(found.id):
            cause = f" ({count.cause})" if count.cause else ""
            say(f"{count.count:,} {count.status}{cause}, {count.size_bytes:,} bytes")
    return 0


def payloads(
    *,
    path: str | None = None,
    failed: Flag = False,
    chains: Chains = ALL_CHAINS,
    hosts: Hosts = ALL_HOSTS,
    run: Whole | None = None,
    times: Times = ANY_TIME,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """List payloads of all runs, newest first.

    With --run, the payloads of one run are listed in their order.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history payloads --path /home/me/documents --failed

    Args:
        path: this file, or everything below this folder
        failed: only payloads that failed, or that changed while they were read
        run: only this run, by its number
        limit: how many at the most
    """
    since, until = times.span()
    which = PayloadFilter(
        path=None if path is None else absolute(path),
        since=since,
        until=until,
        suites=chains.suites(),
        backends=chains.backends(),
        failed=failed,
        hosts=hosts.host,
        run_id=run,
    )
    history = open_history(limit)
    rows = history.payloads(which, limit=limit)
    say_if_empty(history)
    return print_rows(rows, PayloadRow, form, lambda: print_payloads(rows))


def _find(history: History, run: str) -> RunRow:
    if run == "latest":
        found = next(iter(history.runs(limit=1)), None)
    elif run.isdecimal() and len(run) < 19:
        found = history.run(int(run))
    else:
        found = history.run_of_flow(run)
    need_runs(history)
    if found is None:
        raise RequestRefused(f"there is no run {run}; see: threadmill history runs")
    return found


def _took(row: RunRow) -> str | None:
    return None if row.finished_at is None else duration((row.finished_at - row.started_at).total_seconds() * 1e9)


def _print_run(row: RunRow, head: str | None) -> None:
    facts = {
        "run": f"{row.id}, {row.status}" + (f": {row.error}" if row.error else ""),
        "flow": row.flow + (f", deployment {row.deployment}" if row.deployment else "") + f", via {row.via}",
        "flow run": row.flow_run_id and f"{row.flow_run_id}, attempt {row.attempt}",
        "started": f"{local(row.started_at)}, took {_took(row) or '…'}, on {row.host}, code {row.code_version}",
        "parameters": ", ".join(f"{name}={value}" for name, value in row.parameters.items()),
        "seal": head,
    }
    for name, fact in facts.items():
        if fact:
            say(f"{name + ':':12}{fact}")
