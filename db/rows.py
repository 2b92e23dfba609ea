"""What the record gives back: frozen rows, independent of the tables behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
    """One payload of a run. `salt` and `digest` are hex; `name_bytes` (hex) only where the name is not UTF-8."""

    run_id: int
    ordinal: int
    name: str
    name_bytes: str | None
    kind: str
    size_bytes: int | None
    ciphertext_bytes: int | None
    suite: str
    cipher: str
    digest_algorithm: str
    kdf: str
    iterations: int
    salt: str | None
    digest: str | None
    backend: str
    backend_detail: str
    backend_reason: str
    status: str
    cause: str | None
    error: str | None
    started_at: datetime
    wall_ns: int
    stages: tuple[StageRow, ...]


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
    """One timed execution of a case. Readings are None where they could not be had; `*_ns` are nanoseconds."""

    run_id: int
    ordinal: int
    host: str
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
    expected: str | None
    found: str | None
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


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with everything that hangs off it."""

    run: RunRow
    payloads: tuple[PayloadRow, ...]
    samples: tuple[SampleRow, ...]


@dataclass(frozen=True, slots=True)
class PayloadCount:
    """How many payloads of a run ended in one way; `cause` tells failures apart, `size_bytes` is their sum."""

    status: str
    cause: str | None
    count: int
    size_bytes: int
