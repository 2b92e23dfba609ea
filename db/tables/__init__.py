"""The tables."""

from __future__ import annotations

from db.tables.base import METADATA
from db.tables.payloads import ENCRYPTION, SNAPSHOT, STAGE, VAULT, VERDICT
from db.tables.runs import CASE, DAY_SUMMARY, HOST, INTERPRETER, LEDGER, RUN, SAMPLE, SERIES, SUMMARY

# Each row belongs to one run, and is removed with it.
RUN_TABLES = (ENCRYPTION, SAMPLE, SNAPSHOT, VERDICT)

__all__ = [
    "CASE",
    "DAY_SUMMARY",
    "ENCRYPTION",
    "HOST",
    "INTERPRETER",
    "LEDGER",
    "METADATA",
    "RUN",
    "RUN_TABLES",
    "SAMPLE",
    "SERIES",
    "SNAPSHOT",
    "STAGE",
    "SUMMARY",
    "VAULT",
    "VERDICT",
]
