"""The tables."""

from __future__ import annotations

from db.tables.base import Base
from db.tables.encryptions import EncryptionTable, StageTable
from db.tables.experiments import CaseTable, InterpreterTable, SampleTable
from db.tables.runs import HostTable, LedgerTable, RunTable
from db.tables.summaries import DaySummaryTable, SeriesTable, SummaryTable
from db.tables.vaults import SnapshotTable, VaultTable, VerdictTable

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
