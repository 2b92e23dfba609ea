"""The ledger: each run is sealed once, and each seal covers all before it; a later change to a sealed row shows.

A seal is the SHA-256 over a digest per table of the run's rows, in lines of JSON with fixed forms. The columns that a
seal covers are listed below, as the ledger's format; surrogate ids are no part of it, so that a seal outlives a move to
another database. Heads are chained: head = SHA-256 of the head before and the entry. That finds corruption and edits.
Against an attacker who rewrites the whole chain it helps only if a head was kept elsewhere: a run's log line and
artifact have it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from db.engine import first_line, streamed
from db.tables import (
    CASE,
    ENCRYPTION,
    HOST,
    INTERPRETER,
    LEDGER,
    RUN,
    RUN_TABLES,
    SAMPLE,
    SNAPSHOT,
    STAGE,
    VAULT,
    VERDICT,
)
from db.tables.base import columns

EntryKind = Literal["sealed", "removed"]
GENESIS = "0" * 64
# The format never changes, since seals are made of it: another column makes another format.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """A difference from the sealed rows; `run_id` is None if it concerns the chain itself."""

    run_id: int | None
    what: str


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """The result of a check of the whole ledger: `entries` in the chain, and `runs` whose rows were hashed again."""

    head: str
    entries: int
    runs: int
    faults: tuple[LedgerFault, ...]


def seal(connection: Connection, run_id: int, kind: EntryKind = "sealed") -> str:
    """Append a run to the chain; the new head. The caller holds a write transaction, and with it the one write lock.

    `removed` says that the run's rows are about to be deleted on purpose.
    """
    last = connection.execute(select(LEDGER.c.id, LEDGER.c.head).order_by(LEDGER.c.id.desc()).limit(1)).first()
    position, before = (last.id + 1, last.head) if last else (1, GENESIS)
    entry = {"id": position, "kind": kind, "run_id": run_id, "format": FORMAT}
    entry |= {"digests": _table_digests(connection, run_id), "sealed_at": datetime.now(UTC)}
    head = _head(before, entry)
    connection.execute(insert(LEDGER), entry | {"head": head})
    return head


def head_of(connection: Connection, run_id: int) -> str | None:
    """The head that a run's seal made; None for a run that is not sealed."""
    query = select(LEDGER.c.head).where(LEDGER.c.run_id == run_id, LEDGER.c.kind != "removed")
    return connection.execute(query.order_by(LEDGER.c.id).limit(1)).scalar()


def verify(connection: Connection, kept_head: str | None = None) -> LedgerCheck:
    """Hash every sealed run again and walk the chain; read-only, in constant memory but for a line per run.

    If `kept_head`, a head that was kept elsewhere, is not in the chain, the chain was rewritten.
    """
    faults: list[LedgerFault] = []
    heads = [GENESIS]
    sealed: dict[int, Row[Any]] = {}
    removed: set[int] = set()
    with _readable(connection, faults, lambda: f"the ledger cannot be read after entry {len(heads) - 1}"):
        for entry in connection.execute(select(LEDGER).order_by(LEDGER.c.id)):
            faults += _entry_faults(heads[-1], len(heads), entry)
            heads.append(entry.head)
            if entry.kind != "removed":
                sealed[entry.run_id] = entry
                continue
            removed.add(entry.run_id)
            first = sealed.pop(entry.run_id, None)
            if first is None or (first.format, first.digests) != (entry.format, entry.digests):
                faults.append(LedgerFault(entry.run_id, "was removed with other rows than those it was sealed with"))
    if kept_head is not None and kept_head not in heads:
        faults.append(
            LedgerFault(None, f"the head {kept_head} is not in the ledger: the chain was rewritten or cut off")
        )
    for run_id, entry in sealed.items():
        with _readable(connection, faults, lambda: "cannot be read", run_id):
            faults += _run_faults(connection, entry)
    with _readable(connection, faults, lambda: "the database cannot be read"):
        faults += [*_unsealed(connection, sealed, removed), *_strays(connection)]
    return LedgerCheck(heads[-1], len(heads) - 1, len(sealed), tuple(faults))


@contextmanager
def _readable(
    connection: Connection, faults: list[LedgerFault], otherwise: Callable[[], str], run_id: int | None = None
) -> Iterator[None]:
    """Make a fault of what cannot be read."""
    try:
        yield
    except (SQLAlchemyError, ValueError, TypeError, AttributeError) as error:
        # Without this, PostgreSQL refuses to read the next run too.
        connection.rollback()
        reason = first_line(getattr(error, "orig", None) or error)
        faults.append(LedgerFault(run_id, f"{otherwise()}: {reason}"))


def _entry_faults(before: str, position: int, entry: Row[Any]) -> Iterator[LedgerFault]:
    if entry.id != position:
        yield LedgerFault(None, f"entry {position} of the ledger is missing")
    elif entry.head != _head(before, entry._asdict()):
        yield LedgerFault(entry.run_id, f"entry {position} of the ledger does not follow from the one before")


def _run_faults(connection: Connection, entry: Row[Any]) -> Iterator[LedgerFault]:
    run_id = entry.run_id
    if entry.format != FORMAT:
        yield LedgerFault(run_id, f"is sealed in format {entry.format}, and this program knows format {FORMAT}")
        return
    found = _table_digests(connection, run_id)
    for table, digest in entry.digests.items():
        if found.get(table) != digest:
            yield LedgerFault(run_id, f"table {table}: sealed with {_rows(digest)}, now {_rows(found.get(table, '0'))}")


def _rows(digest: str) -> str:
    count, _, value = digest.partition(" ")
    return f"{count} rows ({value[:8]}…)" if value else "none"


def _unsealed(connection: Connection, sealed: Mapping[int, object], removed: set[int]) -> Iterator[LedgerFault]:
    """Find closed runs without a seal, and runs whose removal is sealed: they were put in from outside."""
    for run_id, status in connection.execute(select(RUN.c.id, RUN.c.status).order_by(RUN.c.id)):
        if run_id not in sealed and (status != "running" or run_id in removed):
            yield LedgerFault(
                run_id, "is not in the ledger: it was added or changed from outside, or its removal undone"
            )


def _strays(connection: Connection) -> Iterator[LedgerFault]:
    """Find rows whose run is gone, and stages whose payload is gone."""
    for table in RUN_TABLES:
        query = select(table.c.run_id, func.count()).outerjoin(RUN, RUN.c.id == table.c.run_id)
        for run_id, count in connection.execute(query.where(RUN.c.id.is_(None)).group_by(table.c.run_id)):
            yield LedgerFault(run_id, f"table {table.name}: {count} rows of a run that is not there")
    orphans = select(func.count()).select_from(STAGE).outerjoin(ENCRYPTION).where(ENCRYPTION.c.id.is_(None))
    if lost := connection.execute(orphans).scalar():
        yield LedgerFault(None, f"table stage: {lost} rows of payloads that are not there")


def _head(before: str, entry: Mapping[str, Any]) -> str:
    values = [entry[name] for name in ("id", "kind", "run_id", "format")]
    return hashlib.sha256(_line([before, *values, dict(entry["digests"]), entry["sealed_at"]])).hexdigest()


def _table_digests(connection: Connection, run_id: int) -> dict[str, str]:
    """For each table the number of the run's rows and the SHA-256 over their lines: `3 ab12…`."""
    return {
        table: _digest(streamed(connection, query.where(of_run == run_id)))
        for table, (query, of_run) in _SEALED.items()
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
    """The one text form of a value for which JSON has no type."""
    if isinstance(value, datetime):
        # Not by strftime, which takes ten times as long.
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no fixed form")


# Made once: `json.dumps` with arguments makes an encoder per line.
_encoded = json.JSONEncoder(default=_fixed, sort_keys=True, separators=(",", ":")).encode


_RUN = (
    *columns(RUN, "flow flow_run_id attempt deployment via boot_id pid pid_start code_version parameters"),
    *columns(RUN, "usable_cpus quota_cpus smt covariates status error started_at finished_at"),
    *columns(HOST, "fingerprint name facts"),
)
_ENCRYPTION = (
    *columns(ENCRYPTION, "ordinal name name_bytes kind size_bytes ciphertext_bytes suite cipher"),
    *columns(ENCRYPTION, "digest_algorithm kdf iterations salt digest backend backend_detail backend_reason"),
    *columns(ENCRYPTION, "status cause error started_at wall_ns pack"),
    VAULT.c.vault_id,
)
_STAGE = (ENCRYPTION.c.ordinal, *columns(STAGE, "position program exit_code wall_ns cpu_ns"))
_SAMPLE = (
    *columns(SAMPLE, "ordinal round started_at outcome expected found error wall_ns cpu_ns runq_ns blocked_ns"),
    *columns(SAMPLE, "throttled_ns stolen_ns context_switches gil_on foreign_share positive_lost negative_lost"),
    *columns(SAMPLE, "noisy noise"),
    *columns(CASE, "key workload_version experiment executor workload shape guard workers count"),
    *columns(INTERPRETER, "fingerprint label version implementation gil_build"),
)
_SNAPSHOT = (
    *columns(SNAPSHOT, "name sequence mac created_at sources entries files new unchanged skipped"),
    *columns(SNAPSHOT, "marked missed gone counts size_bytes stored_bytes"),
    VAULT.c.vault_id,
)
_VERDICT = (
    *columns(VERDICT, "ordinal kind name status size_bytes path path_bytes error checked_at wall_ns"),
    VAULT.c.vault_id,
)
# By table, the rows of a run in their order, and the column that says to which run a row belongs. The joins are outer
# ones, because a row that was put in without its parents must not be left out.
_SEALED: Mapping[str, tuple[Select[Any], Any]] = {
    "run": (select(*_RUN).select_from(RUN).outerjoin(HOST).order_by(RUN.c.id), RUN.c.id),
    "encryption": (
        select(*_ENCRYPTION).select_from(ENCRYPTION).outerjoin(VAULT).order_by(ENCRYPTION.c.ordinal),
        ENCRYPTION.c.run_id,
    ),
    "stage": (
        select(*_STAGE).select_from(STAGE).join(ENCRYPTION).order_by(ENCRYPTION.c.ordinal, STAGE.c.position),
        ENCRYPTION.c.run_id,
    ),
    "sample": (
        select(*_SAMPLE).select_from(SAMPLE).outerjoin(CASE).outerjoin(INTERPRETER).order_by(SAMPLE.c.ordinal),
        SAMPLE.c.run_id,
    ),
    "snapshot": (select(*_SNAPSHOT).select_from(SNAPSHOT).outerjoin(VAULT).order_by(SNAPSHOT.c.id), SNAPSHOT.c.run_id),
    "verdict": (select(*_VERDICT).select_from(VERDICT).outerjoin(VAULT).order_by(VERDICT.c.ordinal), VERDICT.c.run_id),
}
