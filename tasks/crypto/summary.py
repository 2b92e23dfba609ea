"""What a batch came to: small enough to keep for every batch of a run of a million payloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tasks.crypto.encrypt import Encryption, PayloadStatus

_FAULTS_KEPT = 5


@dataclass(frozen=True, slots=True)
class PayloadFault:
    """A payload that needs eyes: its name for people, and what is wrong with it."""

    name: str
    status: PayloadStatus
    cause: str | None
    error: str


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Counts by status, and the first few faults. `size_bytes` is the sum over good payloads.

    `unreadable` counts those of the failed ones that the operating system would not let us read.
    """

    counts: dict[PayloadStatus, int] = field(default_factory=dict)
    unreadable: int = 0
    size_bytes: int = 0
    faults: tuple[PayloadFault, ...] = ()

    @property
    def payloads(self) -> int:
        """All payloads, whatever became of them."""
        return sum(self.counts.values())


def summarise(encryptions: Sequence[Encryption]) -> BatchSummary:
    """The summary of a batch."""
    counts: dict[PayloadStatus, int] = {}
    for encryption in encryptions:
        counts[encryption.status] = counts.get(encryption.status, 0) + 1
    faulty = [encryption for encryption in encryptions if encryption.status in ("failed", "unstable")]
    return BatchSummary(
        counts,
        unreadable=sum(encryption.cause == "unreadable" for encryption in faulty),
        size_bytes=sum(encryption.size_bytes or 0 for encryption in encryptions),
        faults=tuple(
            PayloadFault(
                encryption.payload.name.decode(errors="backslashreplace"),
                encryption.status,
                encryption.cause,
                encryption.error or "",
            )
            for encryption in faulty[:_FAULTS_KEPT]
        ),
    )


def total(summaries: Iterable[BatchSummary]) -> BatchSummary:
    """The summary of several batches."""
    counts: dict[PayloadStatus, int] = {}
    unreadable = size_bytes = 0
    faults: list[PayloadFault] = []
    for summary in summaries:
        for status, count in summary.counts.items():
            counts[status] = counts.get(status, 0) + count
        unreadable += summary.unreadable
        size_bytes += summary.size_bytes
        faults.extend(summary.faults[: _FAULTS_KEPT - len(faults)])
    return BatchSummary(counts, unreadable, size_bytes, tuple(faults))
