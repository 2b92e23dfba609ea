"""Payloads on record, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from db.rows import PayloadRow
from flows.cli.output import print_table
from flows.text import duration, local


def print_payloads(rows: Sequence[PayloadRow]) -> None:
    """With their stages; and with the vault, where one keeps any of them."""
    kept = ["kept in"] * any(row.kept_in for row in rows)
    print_table(
        "payloads",
        ("run", "started", "payload", "bytes", "suite", "backend", "status", "digest", *kept, "stages", "time"),
        (
            (
                row.run_id,
                local(row.started_at),
                row.name,
                row.size_bytes,
                row.suite,
                row.backend,
                row.status,
                row.digest.hex() if row.digest else row.error,
                *([row.kept_in] * len(kept)),
                _stages(row),
                duration(row.wall_ns),
            )
            for row in rows
        ),
    )


def _stages(row: PayloadRow) -> str:
    return ", ".join(
        f"{stage.program.removeprefix('openssl ')} {duration(stage.wall_ns)}"
        + (f" (exit {stage.exit_code})" if stage.exit_code else "")
        for stage in row.stages
    )
