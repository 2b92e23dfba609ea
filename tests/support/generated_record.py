"""A record as real runs would have left it, made in seconds: rows by bulk, then summed up and sealed as always."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from db.engine import open_engine, parse_url
from db.ledger import seal
from db.store import Store
from db.summaries import roll_up_closed_days, summarise_run
from db.tables import (
    CASE,
    ENCRYPTION,
    HOST,
    INTERPRETER,
    RUN,
    SAMPLE,
    STAGE,
    VAULT,
)
from db.words import SAMPLE_FAILURES
from db.writes import add_snapshot, add_verdicts
from tasks.threads.cases import Case as NewCase
from tests.support.vault_fakes import Snapshot, Verdict, verdict_rows

VERSION = "5" * 64


def digest_of(text: str) -> bytes:
    """Bytes that are always the same for the same text, and look like a digest."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class NewPayload:
    """A payload of a run; one that is not ok has a cause."""

    name: str
    wall_ns: int
    size_bytes: int = 100_000
    suite: str = "modern"
    backend: str = "openssl"
    detail: str = "OpenSSL 3.0.19"
    status: str = "ok"
    cause: str | None = None


@dataclass(frozen=True)
class NewSample:
    """A sample of a run; `python` is a label such as 3.13.0t, `lost` the updates that a race lost."""

    case: NewCase
    wall_ns: int
    python: str = "3.13.0"
    outcome: str = "ok"
    noisy: bool = False
    lost: int = 0
    workload_version: str = VERSION
    round: int = 0


@dataclass
class GeneratedRecord:
    """A database that runs are put into, as the program would have closed them then."""

    url: str
    _ids: dict[object, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the tables."""
        Store(self.url).close()
        self._engine = open_engine(parse_url(self.url), readonly=False)

    def close(self) -> None:
        self._engine.dispose()

    def run(
        self,
        at: datetime,
        *,
        payloads: Sequence[NewPayload] = (),
        samples: Sequence[NewSample] = (),
        snapshot: Snapshot | None = None,
        verdicts: Sequence[Verdict] = (),
        flow: str = "run_experiments",
        deployment: str | None = None,
        host: str = "alpha",
        memory_gib: int = 16,
        kernel: str = "6.1.0",
        limits: dict[str, object] | None = None,
        code: str = "0.1.0",
        status: str = "completed",
        error: str | None = None,
        packed: bool = False,
        covariates: dict[str, object] | None = None,
    ) -> int:
        """One run with all that hangs off it, summed up and sealed unless it goes on; its number.

        The ciphertext of its payloads is kept if there is a snapshot; `packed` puts small ones into a pack.
        """
        with self._engine.begin() as connection:
            took_ns = sum(one.wall_ns for one in payloads) + sum(one.wall_ns for one in samples)
            row = {
                "flow": flow,
                "attempt": 1,
                "deployment": deployment,
                "via": "prefect" if deployment else "direct",
                "host_id": self._host(connection, host, memory_gib),
                "boot_id": "boot",
                "pid": 1,
                "pid_start": 1,
                "code_version": code,
                "parameters": {},
                "usable_cpus": 2,
                **(limits or {}),
                "covariates": {"kernel": kernel, "python": "3.11.7", "load_1m": 0.1, **(covariates or {})},
                "status": status,
                "error": error,
                "started_at": at,
                "finished_at": None if status == "running" else at + timedelta(seconds=1 + took_ns / 1e9),
            }
            run_id: int = connection.execute(insert(RUN).returning(RUN.c.id), row).scalar_one()
            self._payloads(connection, run_id, at, payloads, snapshot, packed)
            if snapshot is not None:
                verdicts = [*_stored(run_id, at, payloads, packed), *verdicts]
            self._samples(connection, run_id, at, samples)
            if verdicts:
                add_verdicts(connection, verdict_rows(run_id, verdicts))
            if status != "running":
                summarise_run(connection, run_id)
                seal(connection, run_id)
            return run_id

    def roll_up(self, today: date) -> None:
        """Add up the days before, as the maintenance of that day would."""
        with self._engine.begin() as connection:
            roll_up_closed_days(connection, today)

    def _payloads(
        self,
        connection: Connection,
        run_id: int,
        at: datetime,
        payloads: Sequence[NewPayload],
        snapshot: Snapshot | None,
        packed: bool,
    ) -> None:
        vault = None
        if snapshot is not None:
            add_snapshot(connection, snapshot.row(run_id))
            vault = connection.execute(select(VAULT.c.id).where(VAULT.c.vault_id == snapshot.vault_id)).scalar_one()
        rows = [_payload(run_id, number, at, one, vault) for number, one in enumerate(payloads)]
        for row, one in zip(rows, payloads, strict=True):
            row["pack"] = bytes.fromhex(pack_of(run_id)) if packed and is_packed(one) else None
        if not rows:
            return
        ids = connection.execute(insert(ENCRYPTION).returning(ENCRYPTION.c.id, sort_by_parameter_order=True), rows)
        stages = [
            _stage(payload_id, position, one.wall_ns)
            for payload_id, one in zip(ids.scalars(), payloads, strict=True)
            if one.status == "ok" and one.backend == "openssl"
            for position in (0, 1)
        ]
        if stages:
            connection.execute(insert(STAGE), stages)

    def _samples(self, connection: Connection, run_id: int, at: datetime, samples: Iterable[NewSample]) -> None:
        rows = []
        for ordinal, one in enumerate(samples):
            updates = one.case.workers * one.case.count if one.case.experiment == "race" else None
            failed = one.outcome in SAMPLE_FAILURES
            row = {
                "run_id": run_id,
                "ordinal": ordinal,
                "case_id": self._case(connection, one.case, one.workload_version),
                "interpreter_id": self._interpreter(connection, one.python),
                "round": one.round,
                "started_at": at + timedelta(seconds=ordinal),
                "outcome": one.outcome,
                "expected": updates and str(updates),
                "found": updates and str(updates - one.lost),
                "error": f"the sample is {one.outcome}" if failed else None,
                "wall_ns": one.wall_ns,
                "cpu_ns": one.wall_ns,
                "noisy": one.noisy,
            }
            rows.append(row)
        if rows:
            connection.execute(insert(SAMPLE), rows)

    def _host(self, connection: Connection, name: str, memory_gib: int) -> int:
        if (name, memory_gib) not in self._ids:
            facts = {"name": name, "memory_gib": memory_gib}
            row = {"fingerprint": digest_of(str(facts)).hex(), "name": name, "facts": facts}
            same = HOST.c.fingerprint == row["fingerprint"]
            self._ids[name, memory_gib] = _found_or_new(connection, HOST, same, row)
        return self._ids[name, memory_gib]

    def _case(self, connection: Connection, case: NewCase, version: str) -> int:
        if (case, version) not in self._ids:
            axes = ("key", "experiment", "executor", "workload", "shape", "guard", "workers", "count")
            row = {"workload_version": version} | {name: getattr(case, name) for name in axes}
            same = (CASE.c.key == case.key) & (CASE.c.workload_version == version)
            self._ids[case, version] = _found_or_new(connection, CASE, same, row)
        return self._ids[case, version]

    def _interpreter(self, connection: Connection, label: str) -> int:
        if label not in self._ids:
            version = label.split(" ", maxsplit=1)[0].removesuffix("t")
            row = {
                "fingerprint": digest_of(label).hex(),
                "label": label,
                "version": version,
                "implementation": "cpython",
                "gil_build": label == version,
                "facts": {"version": version},
            }
            same = INTERPRETER.c.fingerprint == row["fingerprint"]
            self._ids[label] = _found_or_new(connection, INTERPRETER, same, row)
        return self._ids[label]


def _found_or_new(connection: Connection, table: Any, same: Any, row: dict[str, Any]) -> int:
    found: int | None = connection.execute(select(table.c.id).where(same)).scalar()
    return found or connection.execute(insert(table).returning(table.c.id), row).scalar_one()


def object_of(run_id: int, name: str) -> str:
    """What a run's payload was encrypted to, as a vault names it."""
    return digest_of(f"{run_id} {name}").hex()


def pack_of(run_id: int) -> str:
    """The pack that a run's small payloads were put into."""
    return digest_of(f"{run_id} pack").hex()


def is_packed(one: NewPayload) -> bool:
    """Whether its object lies in a pack."""
    return one.size_bytes + 16 <= 1 << 20


def _stored(run_id: int, at: datetime, payloads: Sequence[NewPayload], packed: bool) -> Iterator[Verdict]:
    """The verdicts of the run that put objects, and a pack of small ones, into a vault."""
    small = [one.size_bytes for one in payloads if packed and is_packed(one)]
    if small:
        # A header and zeros for each, and the end.
        size = sum(-(-(one + 16) // 512) + 1 for one in small) * 512 + 1024
        yield Verdict(pack_of(run_id), "stored", 0, "pack", size_bytes=size, begin=at)
    for number, one in enumerate(payloads):
        if not (packed and is_packed(one)):
            name, size = object_of(run_id, one.name), one.size_bytes + 16
            begin = at + timedelta(seconds=number)
            yield Verdict(name, "stored", 0, size_bytes=size, path=one.name.encode(), begin=begin)


def _payload(run_id: int, ordinal: int, at: datetime, one: NewPayload, vault: int | None) -> dict[str, object]:
    good = one.status == "ok"
    return {
        "run_id": run_id,
        "ordinal": ordinal,
        "name": one.name,
        "kind": "file" if one.name.startswith("/") else "random",
        "size_bytes": one.size_bytes,
        "ciphertext_bytes": one.size_bytes + 16 if good else None,
        "suite": one.suite,
        "cipher": "aes-256-ctr",
        "digest_algorithm": "sha256",
        "kdf": "pbkdf2-hmac-sha256",
        "iterations": 1,
        "salt": digest_of(f"salt {run_id} {ordinal}")[:8] if good else None,
        "digest": digest_of(f"{run_id} {one.name}") if good else None,
        "backend": one.backend,
        "backend_detail": one.detail,
        "backend_reason": "the default",
        "status": one.status,
        "cause": one.cause,
        "error": None if good else f"{one.name}: {one.cause}",
        "started_at": at + timedelta(seconds=ordinal),
        "wall_ns": one.wall_ns,
        "vault_id": vault if good else None,
    }


def _stage(payload_id: int, position: int, wall_ns: int) -> dict[str, object]:
    program = ("openssl enc", "openssl dgst")[position]
    wall_ns = wall_ns * 9 // 10
    return {
        "encryption_id": payload_id, "position": position, "program": program, "exit_code": 0, "wall_ns": wall_ns,
        "cpu_ns": wall_ns // 2,
    }  # fmt: skip


def at_hour(day: date, hour: int) -> datetime:
    """UTC."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
