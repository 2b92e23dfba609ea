"""`threadmill history runs|show|payloads|snapshots|proofs`: runs, and what they encrypted and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from db.answers import ProofRow
from db.rows import PayloadRow, RunDetail, RunRow, SnapshotRow, storable
from db.words import PAYLOAD_STATUSES, RUN_STATUSES
from flows.cli.options import Chains, Form, Hosts, Listing, Times, TimesOrRun, need_known
from flows.errors import RequestRefused
from flows.option_types import Flag, Limit, Names
from flows.settings import load_settings
from flows.show.table import Table
from flows.show.tables import PAYLOADS, PROOFS, RUNS, SNAPSHOTS, VERDICTS, conditions, in_words, took
from flows.show.terminal import hint, print_csv, print_json, print_table, say
from flows.text import if_known, local, shown_path
from tasks.files import absolute

if TYPE_CHECKING:
    from db.history import History

_SHOWN = 20
# The number of vaults that a refusal names.
_SOME = 5


def say_if_empty(history: History) -> None:
    """Hint at the first run on standard error, unless there was one already."""
    if history.empty:
        hint(_empty(history))


def need_runs(history: History) -> None:
    """Raises RequestRefused if nothing is recorded yet."""
    if history.empty:
        raise RequestRefused(_empty(history))


def _empty(history: History) -> str:
    return f"nothing is recorded in {history.where} yet; try: threadmill survey"


def print_rows(
    history: History,
    rows: Sequence[object],
    row_type: type,
    form: Form,
    table: Callable[[], Table],
    nothing: str = "nothing on record matches",
) -> int:
    """Print rows as JSON, as CSV, or as a table; or say that there are none. The exit code is always 0."""
    if not rows:
        say_if_empty(history)
    if form.json:
        print_json(rows)
    elif form.csv:
        print_csv(row_type, rows)
    elif rows:
        print_table(table())
    else:
        say(nothing)
    return 0


def runs(
    *,
    status: Annotated[Names, Parameter(help=", ".join(RUN_STATUSES))] = [],
    hosts: Hosts = Hosts(),
    times: Times = Times(),
    listing: Listing = Listing(),
) -> int:
    """List the runs, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history runs --status failed,crashed --since 7d
    """
    need_known("status", status, RUN_STATUSES)
    since, until = times.span()
    history = load_settings().open_history()
    rows = history.runs(limit=listing.limit, since=since, until=until, statuses=status, hosts=hosts.host)
    return print_rows(history, rows, RunRow, listing, lambda: RUNS.fill(rows, without=("host",)))


def show(run: str, /, *, limit: Limit | None = None, form: Form = Form()) -> int:
    """Show one run with everything that it recorded.

    That is: its payloads and their stages, what its samples add up to, its snapshot and verdicts, and its seal. --json
    prints one object with run, payloads, samples, head, snapshot and verdicts; --csv prints the payloads.

    Exit codes: 0 shown, 2 refused: there is no such run.

    Example: threadmill history show latest

    Args:
        run: its number, the id of a Prefect flow run, or latest
        limit: payloads and verdicts at the most (default: 20 for people, all for programs)
    """
    from db.history import PayloadFilter, SampleFilter, SnapshotFilter, VerdictFilter

    history = load_settings().open_history()
    found = _find(history, run)
    head = history.head(found.id)
    if limit is None and not form.json and not form.csv:
        limit = _SHOWN
    payloads = history.payloads(PayloadFilter(run_id=found.id), limit=limit)
    samples = history.samples(SampleFilter(run_id=found.id), limit=None)
    snapshots = history.snapshots(SnapshotFilter(run_id=found.id))
    verdicts = history.verdicts(VerdictFilter(run_id=found.id), limit=limit)
    if form.json:
        snapshot = next(iter(snapshots), None)
        print_json(RunDetail(found, tuple(payloads), tuple(samples[:limit]), head, snapshot, tuple(verdicts)))
    elif form.csv:
        print_csv(PayloadRow, payloads)
    else:
        _print_run(found, head)
        if payloads:
            print_table(PAYLOADS.fill(payloads))
        if samples:
            # Here, because statistics are not needed for anything else.
            from flows.cli.experiment import print_findings

            print_findings(samples)
        if snapshots:
            print_table(SNAPSHOTS.fill(snapshots))
        if verdicts:
            print_table(VERDICTS.fill(verdicts, without=("run",)))
            for one in history.verdict_counts(found.id):
                say(f"{one.count:,} {one.kind} {one.status}, {one.size_bytes:,} bytes")
        for count in history.counts(found.id):
            say(f"{in_words(count)}, {count.size_bytes:,} bytes")
    return 0


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


def _print_run(row: RunRow, head: str | None) -> None:
    facts = {
        "run": f"{row.id}, {row.status}" + (f": {row.error}" if row.error else ""),
        "flow": row.flow + (f", deployment {row.deployment}" if row.deployment else "") + f", via {row.via}",
        "flow run": row.flow_run_id and f"{row.flow_run_id}, attempt {row.attempt}",
        "started": f"{local(row.started_at)}, took {took(row) or '…'}, on {row.host}, code {row.code_version}",
        "host": conditions(row),
        "parameters": ", ".join(f"{name}={value}" for name, value in row.parameters.items()),
        "seal": head,
    }
    for name, fact in facts.items():
        if fact:
            say(f"{name + ':':12}{fact}")


def payloads(
    *,
    path: str | None = None,
    failed: Flag = False,
    status: Annotated[Names, Parameter(help=", ".join(PAYLOAD_STATUSES))] = [],
    chains: Chains = Chains(),
    hosts: Hosts = Hosts(),
    times: TimesOrRun = TimesOrRun(),
    listing: Listing = Listing(),
) -> int:
    """List payloads of all runs, newest first.

    With --run, the payloads of one run are listed in their order.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history payloads --path /home/me/documents --failed

    Args:
        path: this file, or everything below this folder
        failed: only payloads that failed, changed while they were read, or were carried over
    """
    need_known("status", status, PAYLOAD_STATUSES)
    since, until = times.span()
    suites, backends = chains.suites(), chains.backends()
    from db.history import PayloadFilter

    which = PayloadFilter(
        path=if_known(absolute, path),
        since=since,
        until=until,
        suites=suites,
        backends=backends,
        failed=failed,
        hosts=hosts.host,
        run_id=times.run,
        statuses=status,
    )
    history = load_settings().open_history()
    rows = history.payloads(which, limit=listing.limit)
    return print_rows(history, rows, PayloadRow, listing, lambda: PAYLOADS.fill(rows))


OnRecord = Annotated[
    str | None,
    Parameter(metavar="DIR|ID", help="only this one: its folder on record, or the beginning of its id (32 hex digits)"),
]


def snapshots(*, vault: OnRecord = None, times: Times = Times(), listing: Listing = Listing()) -> int:
    """List the snapshots that runs took of their sources, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history snapshots --vault VAULT --since 7d
    """
    from db.history import SnapshotFilter

    since, until = times.span()
    history = load_settings().open_history()
    which = SnapshotFilter(_vault_on_record(history, vault), since=since, until=until)
    rows = history.snapshots(which, limit=listing.limit)
    return print_rows(history, rows, SnapshotRow, listing, lambda: SNAPSHOTS.fill(rows))


def proofs(
    *,
    path: str | None = None,
    vault: OnRecord = None,
    never: Annotated[Flag, Parameter(help="only what was never proven")] = False,
    listing: Listing = Listing(),
) -> int:
    """List the packs and large objects of vaults, those verified least recently first.

    Those that were never verified come before all others. Listed is what runs on record stored or looked at, and what
    was not removed since. An object of a pack is verified with its pack, and listed only while it is damaged.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history proofs --vault VAULT --never

    Args:
        path: only what this file, or everything below this folder, was put into
    """
    history = load_settings().open_history()
    vault_id = _vault_on_record(history, vault)
    rows = history.proofs(path=if_known(absolute, path), vault_id=vault_id, never=never, limit=listing.limit)
    return print_rows(history, rows, ProofRow, listing, lambda: PROOFS.fill(rows), "nothing on record matches")


def _vault_on_record(history: History, text: str | None) -> str | None:
    """The id of a vault that is named by its folder (its latest vault counts) or by the beginning of its id."""
    if text is None:
        return None
    if not text:
        raise RequestRefused("--vault is empty: give a path or an id, or leave it out")
    known = history.vaults()
    paths = {storable(path) for path in (text, os.path.abspath(text), os.path.realpath(text))}
    if there := [one for one in known if one.path in paths]:
        return max(there, key=lambda one: one.updated_at).vault_id
    begin = [one for one in known if one.vault_id.startswith(text.lower())]
    if len(begin) > 1:
        raise RequestRefused(f"the ids of {len(begin)} vaults on record begin with {text}: give more of it")
    if not begin:
        some = ", ".join(f"{one.path} ({one.vault_id})" for one in known[-_SOME:]) or "none"
        raise RequestRefused(f"no vault on record is at {shown_path(text)} or has an id like that; on record: {some}")
    return begin[0].vault_id
