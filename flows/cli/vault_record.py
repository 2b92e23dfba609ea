"""`threadmill history proofs|snapshots`: what the record knows of vaults, whether or not they can be reached now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from db.history import SnapshotFilter
from db.rows import ProofRow, SnapshotRow, VerdictCount, VerdictRow
from flows.cli.listing import print_rows, size
from flows.cli.options import Flag
from flows.cli.output import local, milliseconds, print_table, say
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import ANY_TIME, FOR_PEOPLE, Form, Times
from tasks.crypto.scan import absolute


def proofs(
    *,
    path: str | None = None,
    never: Annotated[Flag, Parameter(help="only what was never proven")] = False,
    limit: int = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """Say when each object in a vault was last proven to be whole: what never was comes first, then the oldest proof.

    Objects are those that runs on record encrypted or looked at, but for those that were removed since.

    Args:
        path: only objects of this file, or of everything below this folder
        never: only those without a proof
        limit: how many at the most
        form: for people or for programs
    """
    history = open_history(limit)
    rows = history.proofs(path=None if path is None else absolute(path), never=never, limit=limit)
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


def snapshots(*, times: Times = ANY_TIME, limit: int = 20, form: Form = FOR_PEOPLE) -> int:
    """List what runs put into vaults, newest first.

    Args:
        times: when they were made
        limit: how many at the most
        form: for people or for programs
    """
    since, until = times.span()
    history = open_history(limit)
    rows = history.snapshots(SnapshotFilter(since=since, until=until), limit=limit)
    say_if_empty(history)
    return print_rows(rows, SnapshotRow, form, lambda: print_snapshots(rows))


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
                milliseconds(row.wall_ns),
            )
            for row in rows
        ),
    )
    for one in counts:
        say(f"{one.count:,} {one.kind} {one.status}, {one.size_bytes:,} bytes")
