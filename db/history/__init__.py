"""All reads of the record: frozen rows, never ORM objects. Imports neither Alembic nor Prefect.

`History` opens a database for reading; each of its methods answers one kind of question.
"""

from __future__ import annotations

from db.history.facade import History
from db.history.failures import FailureKind
from db.history.filters import (
    PAYLOAD_FAILURES,
    RUN_FAILURES,
    SAMPLE_FAILURES,
    VERDICT_FAULTS,
    PayloadFilter,
    SampleFilter,
    SeriesFilter,
    SnapshotFilter,
    VerdictFilter,
)

__all__ = [
    "PAYLOAD_FAILURES",
    "RUN_FAILURES",
    "SAMPLE_FAILURES",
    "VERDICT_FAULTS",
    "FailureKind",
    "History",
    "PayloadFilter",
    "SampleFilter",
    "SeriesFilter",
    "SnapshotFilter",
    "VerdictFilter",
]
