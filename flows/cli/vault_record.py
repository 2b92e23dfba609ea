"""`threadmill history proofs|snapshots`: what the record knows of vaults, whether or not they can be reached now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from db.answers import ProofRow, VerdictCount
from db.history import History, SnapshotFilter
from db.rows import SnapshotRow, VerdictRow, storable
from flows.cli.listing import print_rows
from flows.cli.options import Flag, Whole
from flows.cli.output import print_table, say
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import ANY_TIME, FOR_PEOPLE, Form, Times
from flows.errors import RequestRefused
from flows.text import duration, local, shown_path, size
from tasks.files import absolute

# So many vaults are named where another one was asked for.
_SOME = 5


OnRecord = Annotated[
    str | None,
    Parameter(metavar="DIR|ID", help="only this one: its folder on record, or the beginning of its id (32 hex digits)"),
]


def proofs(
    *,
    path: str | None = None,
    vault: OnRecord = None,
    never: Annotated[Flag, Parameter(help="only what was never proven")] = False,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """List the objects of vaults, those verified least recently first.

    Objects that were never verified come before all others. Listed are the objects that runs on record encrypted or
    looked at, and that were not removed since.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history proofs --vault VAULT --never

    Args:
        path: only objects of this file, or of everything below this folder
        limit: how many at the most
    """
    history = open_history(limit)
    vault_id = _vault_on_record(history, vault)
    rows = history.proofs(path=None if path is None else absolute(path), vault_id=vault_id, never=never, limit=limit)
    say_if_empty(history)
    return print_rows(rows, ProofRow, form, lambda: _print_proofs(rows), "no object on record matches")


def _print_proofs(rows: Sequence[ProofRow]) -> None:
    print_table(
        "proofs, the oldest first",
        ("proven", "by run", "path", "encrypted", "last verdict", "vault", "object"),
        (
            (
                "never" if row.proven_at is None else local(row.proven_at),
                row.run_id and f"{row.run_id}, {row.flow}",
                row.path,
                None if row.encrypted_at is None else local(row.encrypted_at),
                row.status,
                row.vault_path,
                row.name,
            )
            for row in rows
        ),
    )


def snapshots(*, vault: OnRecord = None, times: Times = ANY_TIME, limit: Whole = 20, form: Form = FOR_PEOPLE) -> int:
    """List what runs put into vaults, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history snapshots --vault VAULT --since 7d

    Args:
        limit: how many at the most
    """
    since, until = times.span()
    history = open_history(limit)
    which = SnapshotFilter(_vault_on_record(history, vault), since=since, until=until)
    rows = history.snapshots(which, limit=limit)
    say_if_empty(history)
    return print_rows(rows, SnapshotRow, form, lambda: print_snapshots(rows))


def _vault_on_record(history: History, text: str | None) -> str | None:
    """The id of the vault that is meant; of several that were in one folder, of the one that was there last.

    Raises:
        RequestRefused: none on record is meant, or several.
    """
    if text is None:
        return None
    if not text:
        raise RequestRefused("--vault is empty: give a path or an id, or leave it out")
    known = history.vaults()
    paths = {storable(path) for path in (text, os.path.abspath(text), os.path.realpath(text))}
    there = [one for one in known if one.path in paths]
    if there:
        return max(there, key=lambda one: one.updated_at).vault_id
    begin = [one for one in known if one.vault_id.startswith(text.lower())]
    if len(begin) > 1:
        raise RequestRefused(f"the ids of {len(begin)} vaults on record begin with {text}: give more of it")
    if not begin:
        some = ", ".join(f"{one.path} ({one.vault_id})" for one in known[-_SOME:]) or "none"
        raise RequestRefused(f"no vault on record is at {shown_path(text)} or has an id like that; on record: {some}")
    return begin[0].vault_id


def print_snapshots(rows: Sequence[SnapshotRow]) -> None:
    """Counts are of files, but for the entries; `stored` is ciphertext."""
    print_table(
        "snapshots",
        ("run", "made", "snapshot", "vault", "entries", "files", "new", "unchanged", "not in it", "size", "stored"),
        (
            (
                row.run_id,
                local(row.created_at),
                row.name,
                row.vault_path,
                row.entries,
                row.files,
                row.new,
                row.unchanged,
                _left_out(row),
                size(row.size_bytes),
                size(row.stored_bytes),
            )
            for row in rows
        ),
    )


def _left_out(row: SnapshotRow) -> str:
    counts = {"unstable": row.unstable, "skipped": row.skipped, "failed": row.failed}
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)


def print_verdicts(rows: Sequence[VerdictRow], counts: Sequence[VerdictCount]) -> None:
    """Single ones, then how many there are of each kind."""
    print_table(
        "verdicts",
        ("checked", "vault", "kind", "name", "path", "bytes", "status", "why", "time"),
        (
            (
                local(row.checked_at),
                row.vault_path,
                row.kind,
                row.name,
                row.path,
                row.size_bytes,
                row.status,
                row.error,
                duration(row.wall_ns),
            )
            for row in rows
        ),
    )
    for one in counts:
        say(f"{one.count:,} {one.kind} {one.status}, {one.size_bytes:,} bytes")
