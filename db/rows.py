"""Rows of the record, frozen and independent of the tables behind them.

`db.store` takes `NewRun`, `PayloadRow`, `SampleRow`, `SnapshotRow` and `VerdictRow`; `db.history` gives the same rows
back. Bytes are bytes, times are aware and UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from db.words import Via


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run when it starts; parameters are JSON values and never hold a secret."""

    flow: str
    via: Via
    parameters: dict[str, object]
    code_version: str
    flow_run_id: str | None = None
    attempt: int = 1
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run; `host` is the machine's name, times are UTC.

    The process could use `usable_cpus` CPUs, and `quota_cpus` CPUs' time where a cgroup limits it; `smt` says whether
    the host's cores are shared by hardware threads.
    """

    id: int
    flow: str
    flow_run_id: str | None
    attempt: int
    deployment: str | None
    via: str
    host: str
    code_version: str
    status: str
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    parameters: dict[str, object]
    usable_cpus: int
    quota_cpus: float | None
    smt: bool | None
    covariates: dict[str, object]


@dataclass(frozen=True, slots=True)
class StageRow:
    """One child process of a chain; a negative `exit_code` is a signal."""

    program: str
    exit_code: int
    wall_ns: int
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class PayloadRow:
    """One payload of a run; `ordinal` counts them within the run.

    `name` is text for people, `name_bytes` the name where the text is not exact. `vault_id` (32 hex digits) is the
    vault that keeps the ciphertext under its digest, `kept_in` the path at which that vault was last seen. `pack` is
    the SHA-256 of the pack that it was put into there, None for a large object.
    """

    run_id: int
    ordinal: int
    name: str
    name_bytes: bytes | None
    kind: str
    size_bytes: int | None
    ciphertext_bytes: int | None
    suite: str
    cipher: str
    digest_algorithm: str
    kdf: str
    iterations: int
    salt: bytes | None
    digest: bytes | None
    backend: str
    backend_detail: str
    backend_reason: str
    status: str
    cause: str | None
    error: str | None
    started_at: datetime
    wall_ns: int
    stages: tuple[StageRow, ...]
    vault_id: str | None = None
    kept_in: str | None = None
    pack: bytes | None = None


@dataclass(frozen=True, slots=True)
class InterpreterRow:
    """An interpreter that was measured; `gil_build` False is a free-threaded build."""

    fingerprint: str
    label: str
    version: str
    implementation: str
    gil_build: bool


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One timed execution of a case. Readings are None if they are not available; `*_ns` are nanoseconds.

    `noise` is why it is noisy. `case` is the name that only equal cases share. `expected` and `found` are counts in a
    race, else text.
    """

    run_id: int
    ordinal: int
    host: str
    case: str
    experiment: str
    executor: str | None
    workload: str | None
    shape: str | None
    guard: str | None
    workers: int
    count: int
    workload_version: str
    interpreter: InterpreterRow
    round: int
    started_at: datetime
    outcome: str
    expected: int | str | None
    found: int | str | None
    error: str | None
    wall_ns: int | None
    cpu_ns: int | None
    runq_ns: int | None
    blocked_ns: int | None
    throttled_ns: int | None
    stolen_ns: int | None
    context_switches: int | None
    gil_on: bool | None
    foreign_share: float | None
    positive_lost: int | None
    negative_lost: int | None
    noisy: bool
    noise: str | None


@dataclass(frozen=True, slots=True)
class VaultRow:
    """A vault and its high-water mark: the newest snapshot that any run added, None if no run on record did.

    `vault_id` is its instance, 32 hex digits, `path` where it was last seen, `last_mac` hex. The mark survives removed
    runs; a vault whose newest snapshot has a lower sequence number was rolled back.
    """

    vault_id: str
    path: str
    last_sequence: int | None
    last_snapshot: str | None
    last_mac: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """The snapshot that a run added to a vault; `vault_path` is where the vault was last seen.

    `entries` are files, folders and links; of the `files`, `new` were encrypted and `unchanged` taken over. `marked`
    entries changed while they were read, or were carried over; `missed` files could not be read, and only the snapshot
    before has those that are `gone`. It `counts` unless too many are gone.
    `size_bytes` is the plaintext of all files in it, `stored_bytes` the ciphertext that the run added.
    """

    run_id: int
    vault_id: str
    vault_path: str
    name: str
    sequence: int
    mac: str
    created_at: datetime
    sources: tuple[str, ...]
    entries: int
    files: int
    new: int
    unchanged: int
    skipped: int
    marked: int
    missed: int
    gone: int
    counts: bool
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """The verdict of a run on one thing in a vault; `kind` is vault, snapshot, pack, object or file.

    `path` is one path that the thing is about, as text for people; `path_bytes` holds it where the text is not exact.
    `wall_ns` is the time that the look took.
    """

    run_id: int
    ordinal: int
    vault_id: str
    vault_path: str
    kind: str
    name: str
    status: str
    size_bytes: int | None
    path: str | None
    path_bytes: bytes | None
    error: str | None
    checked_at: datetime
    wall_ns: int


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its payloads, samples, snapshot and verdicts.

    `head` is the ledger's when the run was sealed, None before that.
    """

    run: RunRow
    payloads: tuple[PayloadRow, ...]
    samples: tuple[SampleRow, ...]
    head: str | None = None
    snapshot: SnapshotRow | None = None
    verdicts: tuple[VerdictRow, ...] = ()


def count_or_text(text: str | None) -> int | str | None:
    """The count of a race as a number; other text, which a broken child may have printed, as it is."""
    return int(text) if text is not None and re.fullmatch("[0-9]{1,18}", text) else text


def display_name(name: bytes) -> tuple[str, bytes | None]:
    r"""A name as text for people; also its bytes, if it is not UTF-8 (shown as `\xff`) or has a NUL inside."""
    text = name.decode(errors="backslashreplace").replace("\0", r"\x00")
    return text, None if text.encode() == name else name


def storable(text: str | None) -> str | None:
    r"""The text in a form that every database takes: lone surrogates and NULs are escaped (`\udcff`, `\x00`)."""
    if text is None or text.isprintable():
        return text
    return text.encode(errors="backslashreplace").decode().replace("\0", r"\x00")
