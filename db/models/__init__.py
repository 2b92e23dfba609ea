"""The tables."""

from __future__ import annotations

from db.models.base import Base
from db.models.encryptions import Encryption, Stage
from db.models.experiments import Case, Interpreter, Sample
from db.models.runs import Host, Run
from db.models.seals import Ledger
from db.models.summaries import DaySummary, Series, Summary
from db.models.vaults import Snapshot, Vault, Verdict

__all__ = [
    "Base",
    "Case",
    "DaySummary",
    "Encryption",
    "Host",
    "Interpreter",
    "Ledger",
    "Run",
    "Sample",
    "Series",
    "Snapshot",
    "Stage",
    "Summary",
    "Vault",
    "Verdict",
]
