"""The tables."""

from __future__ import annotations

from db.tables.base import Base
from db.tables.payloads import EncryptionTable, SnapshotTable, StageTable, VaultTable, VerdictTable
from db.tables.runs import (
    CaseTable,
    DaySummaryTable,
    HostTable,
    InterpreterTable,
    LedgerTable,
    RunTable,
    SampleTable,
    SeriesTable,
    SummaryTable,
)

__all__ = [
    "Base",
    "CaseTable",
    "DaySummaryTable",
    "EncryptionTable",
    "HostTable",
    "InterpreterTable",
    "LedgerTable",
    "RunTable",
    "SampleTable",
    "SeriesTable",
    "SnapshotTable",
    "StageTable",
    "SummaryTable",
    "VaultTable",
    "VerdictTable",
]
