"""Rows of the record, frozen and independent of the tables behind them.

`db.store` takes `NewRun`, `PayloadRow`, `SampleRow`, `SnapshotRow` and `VerdictRow`; `db.history` gives the same rows
back. Bytes are bytes, times are aware and UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.vault_rows import ProofRow as ProofRow
from db.vault_rows import ProofTotalsRow as ProofTotalsRow
from db.vault_rows import SnapshotRow as SnapshotRow
from db.vault_rows import VaultRow as VaultRow
from db.vault_rows import VerdictCount as VerdictCount
from db.vault_rows import VerdictRow as VerdictRow
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
    """One run; `host` is the machine's name, times are UTC."""

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
    covariates: dict[str, object]


@dataclass(frozen=True, slots=True)
class RecordSize:
    """How large a record is: bytes on disk (of the whole database), and runs."""

    size_bytes: int
    runs: int


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
    vault that keeps the ciphertext under its digest, `kept_in` the path at which that vault was last seen.
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
    """One timed execution of a case. Readings are None where they could not be had; `*_ns` are nanoseconds.

    `case` is the name that only equal cases share. `expected` and `found` are counts in a race, else text.
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
    context_switches: int | None
    gil_on: bool | None
    foreign_share: float | None
    positive_lost: int | None
    negative_lost: int | None
    noisy: bool


def count_or_text(text: str | None) -> int | str | None:
    """What a race counted, as a number; a child that is broken may have said anything."""
    return int(text) if text is not None and text.isdecimal() and text.isascii() else text


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with everything that hangs off it; `head` is the ledger's when the run was sealed, None before that.

    `snapshot` is what it put into a vault, `verdicts` what it found in one.
    """

    run: RunRow
    payloads: tuple[PayloadRow, ...]
    samples: tuple[SampleRow, ...]
    head: str | None = None
    snapshot: SnapshotRow | None = None
    verdicts: tuple[VerdictRow, ...] = ()


@dataclass(frozen=True, slots=True)
class PayloadCount:
    """How many payloads of a run ended in one way; `cause` tells failures apart, `size_bytes` is their sum."""

    status: str
    cause: str | None
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """What is comparable over time: `kind` is sample (a case, an interpreter, a host) or encryption.

    Series with the same `track` differ only in the workload's version, in the interpreter's patch release and build,
    or in facts of the host. `size_class` is the power of two, in bytes, that the payloads' sizes are below, and at
    least half of; `kept` says that the ciphertext was stored in a vault. What belongs to the other kind is None.
    """

    series_id: int
    kind: str
    track: str
    host: str
    experiment: str | None
    executor: str | None
    workload: str | None
    shape: str | None
    guard: str | None
    workers: int | None
    count: int | None
    workload_version: str | None
    interpreter: str | None
    interpreter_version: str | None
    suite: str | None
    backend: str | None
    size_class: int | None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A series in one closed run; `*_ns` are of its `n` good and quiet rows, None if there is none.

    `size_bytes` is the sum over those rows. `lost_share` (0 to 1) is the median over all trials of an unlocked race.
    `covariates` are what a change may be blamed on: code, kernel, host, interpreter, workload, backend.
    """

    series: SeriesRow
    run_id: int
    started_at: datetime
    n: int
    failed: int
    noisy: int
    size_bytes: int | None
    least_ns: float | None
    lower_ns: float | None
    median_ns: float | None
    upper_ns: float | None
    greatest_ns: float | None
    mad_ns: float | None
    lost_share: float | None
    covariates: dict[str, object]


@dataclass(frozen=True, slots=True)
class MedianRow:
    """The median of a series' good and quiet rows in one closed run."""

    series: SeriesRow
    run_id: int
    started_at: datetime
    median_ns: float


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A series in one run, or on one day (UTC, `run_id` None); quartiles of its `n` good and quiet rows.

    `bytes_per_s`, of an encryption, is the mean size over the median time. `mad_ns` (median absolute deviation) and
    `lost_share` are known per run only.
    """

    series: SeriesRow
    started_at: datetime
    run_id: int | None
    runs: int
    n: int
    failed: int
    noisy: int
    lower_ns: float | None
    median_ns: float | None
    upper_ns: float | None
    mad_ns: float | None
    bytes_per_s: float | None
    lost_share: float | None


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Something that failed: `kind` is run, payload, sample or verdict.

    `name` is the flow, the payload's name, the case, or what was looked at in a vault; `by` says what it ran under: how
    the run was started, suite and backend, the interpreter, or the kind of thing and the vault. `status` is that of the
    run, payload or verdict, or the sample's outcome.
    """

    kind: str
    run_id: int
    ordinal: int | None
    started_at: datetime
    host: str
    name: str
    by: str
    status: str
    cause: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class SlowRow:
    """A payload or sample that took long: `ratio` times the median of its series in that time.

    `name` is the payload's, and None for a sample. `ordinal` is None, and `started_at` the run's, where the run's rows
    were removed and only its summary, which has the greatest time, is left.
    """

    series: SeriesRow
    run_id: int
    ordinal: int | None
    started_at: datetime
    name: str | None
    wall_ns: int
    series_median_ns: float
    ratio: float


@dataclass(frozen=True, slots=True)
class TimeRow:
    """One good and quiet time of a series in a run.

    `mate` is what it shares with a time to pair it with: a payload's name and size, or the round of a sample.
    """

    series_id: int
    mate: str
    wall_ns: int
