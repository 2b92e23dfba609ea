"""What a run shows in Prefect's UI: tables under stable keys, so that an artifact's page has a version per run."""

from __future__ import annotations

from prefect.artifacts import create_table_artifact

from db.history import History, PayloadFilter, SampleFilter
from db.rows import PayloadRow, SampleRow

# The UI pages and searches a table, but is sent all of it.
_ROWS = 500


def publish(history: History, run_id: int, message: str) -> None:
    """A run's tables: `payloads` and `samples`, where there are any."""
    _publish_payloads(history, run_id, message)
    _publish_samples(history, run_id, message)


def _publish_payloads(history: History, run_id: int, message: str) -> None:
    """Those that need eyes come first."""
    faulty = history.payloads(PayloadFilter(run_id=run_id, failed=True), limit=_ROWS)
    listed = {row.ordinal for row in faulty}
    rest = history.payloads(PayloadFilter(run_id=run_id), limit=_ROWS - len(faulty))
    rows = faulty + [row for row in rest if row.ordinal not in listed]
    if not rows:
        return
    create_table_artifact(
        key="payloads",
        table=[_line(row) for row in rows],
        description=f"Run {run_id}: {message}. The first {len(rows):,} payloads; "
        f"all of them: `threadmill history show {run_id}`",
    )


def _publish_samples(history: History, run_id: int, message: str) -> None:
    rows = history.samples(SampleFilter(run_id=run_id), limit=_ROWS)
    if not rows:
        return
    create_table_artifact(
        key="samples",
        table=[_sample_line(row) for row in rows],
        description=f"Run {run_id}: {message}. The first {len(rows):,} samples; "
        f"all of them: `threadmill history samples --run {run_id}`",
    )


def _sample_line(row: SampleRow) -> dict[str, str | int | float | None]:
    return {
        "experiment": row.experiment,
        "what": row.workload or row.shape,
        "by": row.executor or row.guard,
        "workers": row.workers,
        "interpreter": row.interpreter.label,
        "round": row.round,
        "outcome": row.outcome,
        "expected": row.expected,
        "found": row.found,
        "ms": None if row.wall_ns is None else round(row.wall_ns / 1e6, 2),
        "noisy": "yes" if row.noisy else "",
        "error": row.error,
    }


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
