"""Item 52 in the report: what the suites and backends did."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from db.rows import PayloadRow
from flows.report.blocks import Cell, Paragraph, Section, Table, columns
from flows.text import megabytes, milliseconds, number
from tasks.suites import SUITES

_LEGACY = frozenset(str(name) for name, suite in SUITES.items() if suite.legacy)


def encryption_section(payloads: Sequence[PayloadRow]) -> Section:
    """A line per suite and backend."""
    title = "Encryption"
    if not payloads:
        return Section(
            title, (Paragraph("No payload is recorded yet: `threadmill survey`, `threadmill encrypt PATH`."),)
        )
    groups: dict[tuple[str, str], list[PayloadRow]] = defaultdict(list)
    for row in payloads:
        groups[row.suite, row.backend].append(row)
    table = Table(
        "Payloads by suite and backend",
        columns(
            "suite",
            "chain",
            "backend",
            "#payloads",
            "#ok",
            "#failed",
            "#unstable",
            "#others",
            "#median size, bytes",
            "#median time, ms",
            "#MB/s",
        ),
        tuple((*key, *_cells(own)) for key, own in sorted((_heading(own[0]), own) for own in groups.values())),
    )
    return Section(title, (Paragraph(_HOW_TO_READ), table))


def suite_label(suite: str) -> str:
    """A suite by name; legacy is said wherever it is shown."""
    return f"{suite} (legacy)" if suite in _LEGACY else suite


def _heading(row: PayloadRow) -> tuple[str, str, str]:
    return suite_label(row.suite), f"{row.cipher} → {row.digest_algorithm}", row.backend


def _cells(own: Sequence[PayloadRow]) -> tuple[Cell, ...]:
    good = [row for row in own if row.status == "ok"]
    failed, unstable = (sum(row.status == status for row in own) for status in ("failed", "unstable"))
    sizes = [row.size_bytes for row in good if row.size_bytes is not None]
    return (
        len(own),
        len(good),
        failed,
        unstable,
        len(own) - len(good) - failed - unstable,
        number(statistics.median(sizes)) if sizes else None,
        milliseconds(statistics.median([row.wall_ns for row in good])) if good else None,
        _megabytes_per_second(good),
    )


def _megabytes_per_second(good: Sequence[PayloadRow]) -> str | None:
    """All bytes by all time, 10**6 bytes to the megabyte: a mean of rates would be that of the smallest payloads."""
    timed = [(row.size_bytes, row.wall_ns) for row in good if row.size_bytes is not None and row.wall_ns]
    total_ns = sum(wall_ns for _, wall_ns in timed)
    if not total_ns:
        return None
    return megabytes(sum(size for size, _ in timed) * 1e9 / total_ns)


_HOW_TO_READ = (
    "Sizes and times are of good payloads; a time runs from the first start to the last reap, key derivation included, "
    "and MB/s is the sum of sizes by the sum of times (chains run side by side: a whole run is faster than that). "
    "Others were skipped or unchanged."
)
