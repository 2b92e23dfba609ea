"""Rows that `db.history` derives from those of the record: counts, series, trends, failures, proofs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.host import HostLimits


@dataclass(frozen=True, slots=True)
class RecordSize:
    """How large a record is: bytes on disk (of the whole database), and runs."""

    size_bytes: int
    runs: int


@dataclass(frozen=True, slots=True)
class PayloadCount:
    """How many payloads of a run ended in one way; `cause` tells failures apart, `size_bytes` is their sum."""

    status: str
    cause: str | None
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EncryptedSources:
    """A run that encrypted paths to its end, and where the list of their files is.

    That is the `snapshot` in the vault, if it `counts`; without one, the payloads of the run. `sources` and `excludes`
    are texts for people; `max_size` is that of the files in it, as it was given.
    """

    run_id: int
    started_at: datetime
    sources: tuple[str, ...]
    excludes: tuple[str, ...]
    vault_id: str | None
    vault_path: str | None
    snapshot: str | None
    counts: bool
    max_size: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """Measurements that are comparable over time; `kind` is sample (a case, an interpreter, a host) or encryption.

    Series with the same `track` differ only in the workload's version, in the interpreter's patch release and build,
    or in facts of the host. Payloads of a `size_class` are smaller than that many bytes, a power of two, and at
    least half as large; `kept` says that their ciphertext was stored in a vault. Fields of the other kind are None.
    All runs of a series had the same `usable_cpus`, `quota_cpus` and `smt`, as in `RunRow`.
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
    kept: bool
    usable_cpus: int
    quota_cpus: float | None
    smt: bool | None

    @property
    def place(self) -> str:
        """The host, and the limits on it, for people."""
        return f"{self.host} ({HostLimits(self.usable_cpus, self.quota_cpus, self.smt)})"


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A series in one closed run; `*_ns` are of its `n` good and quiet rows, None if it has none.

    `size_bytes` is the sum over those rows. `lost_share` (0 to 1) is the median over all trials of an unlocked race.
    `covariates` are possible causes of a change: code, kernel, host, governor, steal, interpreter, workload, backend, …
    """

    series: SeriesRow
    run_id: int
    started_at: datetime
    n: int
    failed: int
    noisy: int
    size_bytes: int | None
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

    `name` is the flow, the payload's name, the case, or the thing in a vault; `by` says how the run was started, or
    names suite and backend, the interpreter, or the kind of the thing and its vault. `status` is that of the
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

    `name` is the payload's, and None for a sample. If the run's rows were removed, only its summary is left, which has
    the greatest time: then `ordinal` is None, and `started_at` is the run's.
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

    Two times with the same `mate`, a payload's name and size or the round of a sample, make a pair.
    """

    series_id: int
    mate: str
    wall_ns: int


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """How many things of a kind a run found in one state; `size_bytes` is their sum."""

    kind: str
    status: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ProofRow:
    """When a pack or a large object of a vault was last proven to be whole, None for never.

    `run_id` and `flow` proved it; `kind` is pack or object. `path` is a file that was asked for, or else the newest one
    that a verdict names. `stored_at` is when the last run stored it; each is None if no row on record says so. `status`
    is the newest verdict.
    """

    vault_id: str
    vault_path: str
    kind: str
    name: str
    path: str | None
    stored_at: datetime | None
    proven_at: datetime | None
    run_id: int | None
    flow: str | None
    status: str


@dataclass(frozen=True, slots=True)
class ProofTotalsRow:
    """The packs and large objects of a vault that the record knows, and how many were never proven to be whole.

    `oldest_proof` is the time of the least recent proof; None if none was ever proven.
    """

    packs: int
    objects: int
    never: int
    oldest_proof: datetime | None
