"""The tables."""

from __future__ import annotations

from db.tables.base import METADATA
from db.tables.payloads import ENCRYPTION, SNAPSHOT, STAGE, VAULT, VERDICT
from db.tables.runs import CASE, DAY_SUMMARY, HOST, INTERPRETER, LEDGER, RUN, SAMPLE, SERIES, SUMMARY

__all__ = [
    "CASE",
    "DAY_SUMMARY",
    "ENCRYPTION",
    "HOST",
    "INTERPRETER",
    "LEDGER",
    "METADATA",
    "RUN",
    "SAMPLE",
    "SERIES",
    "SNAPSHOT",
    "STAGE",
    "SUMMARY",
    "VAULT",
    "VERDICT",
]
