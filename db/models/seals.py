"""The ledger."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import UtcDateTime
from db.models.base import Base, Key


class Ledger(Base):
    """One entry of the chain of seals; see `db.ledger`. `run_id` stays when the run is removed, hence no foreign key.

    `id` counts from 1 without gaps. `digests` maps a table to the number of the run's rows and their SHA-256; which
    columns those cover is the `format`.
    """

    __tablename__ = "ledger"
    __table_args__ = (Index("ix_ledger_run_id", "run_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    run_id: Mapped[int] = mapped_column(Key)
    format: Mapped[int]
    digests: Mapped[dict[str, str]] = mapped_column(JSON)
    sealed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    head: Mapped[str] = mapped_column(String(64))
