"""The rows of the tables of a run on a vault: what it found, and how the vault is now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from db.rows import VerdictRow
from flows.artifacts.tables import Line
from flows.jobs.vault_state import VaultState
from flows.text import utc


def verdict_line(row: VerdictRow) -> Line:
    """What was found at one thing in a vault; the long name comes last, so that the rest is seen beside it."""
    return {
        "what": row.kind,
        "status": row.status,
        "bytes": row.size_bytes,
        "looked at": utc(row.checked_at),
        "ms": round(row.wall_ns / 1e6, 2),
        "path": row.path,
        "error": row.error,
        "name": row.name,
    }


def vault_lines(state: VaultState) -> Iterator[Line]:
    """A fact a line, because there is one vault; those that cannot be told are left out."""
    for what, value in _facts(state):
        if value is not None:
            yield {"what": what, "value": value}


def _facts(state: VaultState) -> Iterator[tuple[str, str | int | None]]:
    yield "vault", state.path
    yield "id", state.vault_id
    for complaint in state.complaints:
        yield "NEEDS EYES", complaint.removeprefix(f"vault {state.path}: ")
    yield "note", state.note
    yield "snapshots", state.snapshots
    row = state.on_record
    if state.snapshots is None:
        yield "newest snapshot on record", row.name if row else None
        yield "taken", utc(row.created_at) if row else None
    else:
        yield "newest snapshot", state.newest_name or "none"
        yield "taken", _time(state.newest_at)
        yield "its number", state.newest_sequence
        yield "its files", state.newest_files
        yield "bytes of its files", state.newest_bytes
    if row is not None:
        yield "of", ", ".join(row.sources)
        yield "new", row.new
        yield "unchanged", row.unchanged
        yield "unstable", row.unstable
        yield "skipped", row.skipped
        yield "failed", row.failed
        yield "bytes added", row.stored_bytes
    yield "objects", state.objects
    yield "bytes of objects", state.stored_bytes
    yield "objects never proven", state.never_proven
    if state.objects:
        yield "oldest proof", _time(state.oldest_proof) or "none"


def _time(time: datetime | None) -> str | None:
    return None if time is None else utc(time)
