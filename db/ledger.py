"""The ledger: each run is sealed once, and each seal covers all before it; a later change to a sealed row shows.

A seal is the SHA-256 over a digest per table of the run's rows, in lines of JSON with fixed forms. Which columns those
have is the entry's format (`db.ledger_formats`), by which it is checked for ever; surrogate ids are no part of it, so
that it outlives a move to another database. Heads are chained: head = SHA-256 of the head before and the entry. That
finds corruption and edits. Against someone who rewrites the whole chain it helps only where a head was kept elsewhere:
a run's log line and artifact have it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from db.ledger_formats import FORMAT, FORMS, beyond
from db.models import Encryption, Ledger, Run, Sample, Snapshot, Stage
from db.models import Verdict as VaultVerdict

EntryKind = Literal["sealed", "migrated", "removed"]
GENESIS = "0" * 64

_ROWS_AT_ONCE = 10_000


class _Seal(NamedTuple):
    """What a run was sealed with, by its entry's format."""

    form: int
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed; `run_id` is None where it concerns the chain itself."""

    run_id: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the whole ledger found: `entries` in the chain, `runs` whose rows were hashed anew."""

    head: str
    entries: int
    runs: int
    faults: tuple[Fault, ...]


def seal(connection: Connection, run_id: int, kind: EntryKind = "sealed", *, form: int = FORMAT) -> str:
    """Append a run to the chain; the new head. The caller holds a write transaction, and with it the one write lock.

    `removed` says that the run's rows are about to be deleted on purpose; it has the format of the run's seal, so that
    the two can be compared. A migration gives the `form` of its time, whose tables are all that is there.
    """
    if kind == "removed":
        form = _form_of(connection, run_id) or form
    last = connection.execute(select(Ledger.id, Ledger.head).order_by(Ledger.id.desc()).limit(1)).first()
    position, before = (last.id + 1, last.head) if last else (1, GENESIS)
    digests = table_digests(connection, run_id, form)
    sealed_at = datetime.now(UTC)
    head = _head(before, position, kind, run_id, form, digests, sealed_at)
    connection.execute(
        insert(Ledger),
        {
            "id": position,
            "kind": kind,
            "run_id": run_id,
            "format": form,
            "digests": digests,
            "sealed_at": sealed_at,
            "head": head,
        },
    )
    return head


def head_of(connection: Connection, run_id: int) -> str | None:
    """The head that a run's seal made; None for one that is not sealed."""
    query = select(Ledger.head).where(Ledger.run_id == run_id, Ledger.kind != "removed")
    return connection.execute(query.order_by(Ledger.id).limit(1)).scalar()


def _form_of(connection: Connection, run_id: int) -> int | None:
    query = select(Ledger.format).where(Ledger.run_id == run_id, Ledger.kind != "removed")
    return connection.execute(query.order_by(Ledger.id).limit(1)).scalar()


def verify(connection: Connection, kept_head: str | None = None) -> Verdict:
    """Hash every sealed run anew and walk the chain; read-only, in constant memory but for a line per run.

    Args:
        connection: where the record is.
        kept_head: a head that was noted elsewhere; one that is not in the chain means that the chain was rewritten.
    """
    faults: list[Fault] = []
    heads = {GENESIS}
    sealed: dict[int, _Seal] = {}
    removed: set[int] = set()
    entries = 0
    before = GENESIS
    try:
        for entry in connection.execute(select(Ledger).order_by(Ledger.id)):
            entries += 1
            faults += _entry_faults(before, entries, entry)
            before = entry.head
            heads.add(before)
            if entry.kind != "removed":
                sealed[entry.run_id] = _Seal(entry.format, entry.digests)
                continue
            removed.add(entry.run_id)
            if sealed.pop(entry.run_id, None) != _Seal(entry.format, entry.digests):
                faults.append(Fault(entry.run_id, "was removed with other rows than those it was sealed with"))
    except (SQLAlchemyError, ValueError, TypeError) as error:
        connection.rollback()
        faults.append(Fault(None, f"the ledger cannot be read after entry {entries}: {_first_line(error)}"))
    if kept_head is not None and kept_head not in heads:
        faults.append(Fault(None, f"the head {kept_head} is not in the ledger: the chain was rewritten or cut off"))
    for run_id, one in sealed.items():
        faults += _run_faults(connection, run_id, one)
    try:
        faults += [*_unsealed(connection, sealed, removed), *_strays(connection)]
    except (SQLAlchemyError, ValueError, TypeError) as error:
        connection.rollback()
        faults.append(Fault(None, f"the database cannot be read: {_first_line(error)}"))
    return Verdict(before, entries, len(sealed), tuple(faults))


def _entry_faults(before: str, position: int, entry: Any) -> Iterator[Fault]:
    if entry.id != position:
        yield Fault(None, f"entry {position} of the ledger is missing")
    elif entry.head != _head(before, entry.id, entry.kind, entry.run_id, entry.format, entry.digests, entry.sealed_at):
        yield Fault(entry.run_id, f"entry {position} of the ledger does not follow from the one before")


def _run_faults(connection: Connection, run_id: int, sealed: _Seal) -> Iterator[Fault]:
    if sealed.form not in FORMS:
        yield Fault(run_id, f"is sealed in format {sealed.form}, which is none of {sorted(FORMS)}")
        return
    try:
        found = table_digests(connection, run_id, sealed.form)
        added = beyond(sealed.form, run_id)
        if added is not None and connection.execute(added).scalar():
            yield Fault(run_id, "has rows or values of vaults, which were not recorded yet when it was sealed")
    except (SQLAlchemyError, ValueError, TypeError) as error:
        # Or PostgreSQL would refuse to read the next run too.
        connection.rollback()
        yield Fault(run_id, f"cannot be read: {_first_line(error)}")
        return
    for table, digest in sealed.digests.items():
        if found.get(table) != digest:
            yield Fault(run_id, f"table {table}: sealed with {_rows(digest)}, now {_rows(found.get(table, '0'))}")


def _rows(digest: str) -> str:
    count, _, value = digest.partition(" ")
    return f"{count} rows ({value[:8]}…)" if value else "none"


def _unsealed(connection: Connection, sealed: Mapping[int, object], removed: set[int]) -> Iterator[Fault]:
    """Runs that are closed and that nobody sealed were put in from outside, and so were those that were removed."""
    for run_id, status in connection.execute(select(Run.id, Run.status).order_by(Run.id)):
        if run_id not in sealed and (status != "running" or run_id in removed):
            yield Fault(run_id, "is not in the ledger: it was added or changed from outside, or its removal undone")


def _strays(connection: Connection) -> Iterator[Fault]:
    """Rows whose run is gone, and stages whose payload is, of which nobody can say to which run they belonged."""
    for table in (Encryption, Sample, Snapshot, VaultVerdict):
        query = select(table.run_id, func.count()).outerjoin(Run, Run.id == table.run_id).where(Run.id.is_(None))
        for run_id, count in connection.execute(query.group_by(table.run_id)):
            yield Fault(run_id, f"table {table.__tablename__}: {count} rows of a run that is not there")
    orphans = select(func.count()).select_from(Stage).outerjoin(Encryption).where(Encryption.id.is_(None))
    if count := connection.execute(orphans).scalar():
        yield Fault(None, f"table stage: {count} rows of payloads that are not there")


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]


def _head(
    before: str,
    position: int,
    kind: str,
    run_id: int,
    form: int,
    digests: Mapping[str, str],
    sealed_at: datetime,
) -> str:
    return hashlib.sha256(_line([before, position, kind, run_id, form, dict(digests), sealed_at])).hexdigest()


def table_digests(connection: Connection, run_id: int, form: int) -> dict[str, str]:
    """For each table of a format the number of the run's rows and the SHA-256 over their lines: `3 ab12…`."""
    return {
        table: _digest(connection.execute(query.where(of_run == run_id).execution_options(yield_per=_ROWS_AT_ONCE)))
        for table, (query, of_run) in FORMS[form].items()
    }


def _digest(rows: Iterable[Iterable[object]]) -> str:
    count, digest = 0, hashlib.sha256()
    for row in rows:
        digest.update(_line(list(row)))
        count += 1
    return f"{count} {digest.hexdigest()}"


def _line(values: list[object]) -> bytes:
    return _encoded(values).encode() + b"\n"


def _fixed(value: object) -> str:
    """The one text form of what JSON has no type for."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no fixed form")


# Made once: `json.dumps` with arguments makes one per line.
_encoded = json.JSONEncoder(default=_fixed, sort_keys=True, separators=(",", ":")).encode
