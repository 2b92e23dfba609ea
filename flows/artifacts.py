"""What a run shows in Prefect's UI: tables under stable keys, so that an artifact's page has a version per run."""

from __future__ import annotations

from prefect.artifacts import create_table_artifact

from db.history import History, PayloadFilter
from db.rows import PayloadRow

# The UI pages and searches a table, but is sent all of it.
_ROWS = 500


def publish_payloads(history: History, run_id: int, message: str) -> None:
    """The run's payloads, those that need eyes first, as the table artifact `payloads`."""
    faulty = history.payloads(PayloadFilter(run_id=run_id, failed=True), limit=_ROWS)
    listed = {row.ordinal for row in faulty}
    rest = history.payloads(PayloadFilter(run_id=run_id), limit=_ROWS - len(faulty))
    rows = faulty + [row for row in rest if row.ordinal not in listed]
    create_table_artifact(
        key="payloads",
        table=[_line(row) for row in rows],
        description=f"Run {run_id}: {message}. The first {len(rows):,} payloads; "
        f"all of them: `threadmill history show {run_id}`",
    )


def _line(row: PayloadRow) -> dict[str, str | int | float | None]:
    return {
        "payload": row.name,
        "status": row.status,
        "bytes": row.size_bytes,
        "suite": row.suite,
        "backend": row.backend,
        "digest": row.digest,
        "ms": round(row.wall_ns / 1e6, 2),
        "stages (exit code, ms)": ", ".join(
            f"{stage.program} ({stage.exit_code}, {stage.wall_ns / 1e6:.1f})" for stage in row.stages
        ),
        "error": row.error,
    }
