"""Series, and what they came to: stays when runs are removed."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, UtcDateTime


class SeriesTable(Base):
    """What is comparable over time: same case, interpreter and host; or same suite, backend, size class and host.

    `track` is the same without what may change under it (releases of the interpreter, facts of the host), so that a
    step can be blamed on that. `size_class` is the power of two, in bytes, that the payloads' size is below; `kept`
    says that their ciphertext was stored, which takes time.
    """

    __tablename__ = "series"
    __table_args__ = (Index("ix_series_track", "track"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    track: Mapped[str]
    kind: Mapped[str]
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    case_id: Mapped[int | None] = mapped_column(ForeignKey("case.id"))
    interpreter_id: Mapped[int | None] = mapped_column(ForeignKey("interpreter.id"))
    suite: Mapped[str | None]
    backend: Mapped[str | None]
    size_class: Mapped[int | None] = mapped_column(BigInteger)
    kept: Mapped[bool] = mapped_column(server_default=false())


class SummaryTable(Base):
    """A series in one run, from its good and quiet rows; stays when the run is removed, hence no foreign key to it.

    `n` rows are summarised; `failed` and `noisy` ones are not, and are counted. For an unlocked race `lost_share` is
    the median share of lost updates, noisy trials included. `covariates` are what a step may be blamed on.
    """

    __tablename__ = "summary"
    __table_args__ = (
        UniqueConstraint("series_id", "run_id"),
        Index("ix_summary_run_id", "run_id"),
        Index("ix_summary_series", "series_id", "started_at"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(Key)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    n: Mapped[int]
    failed: Mapped[int]
    noisy: Mapped[int]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    lower_ns: Mapped[float | None]
    median_ns: Mapped[float | None]
    upper_ns: Mapped[float | None]
    greatest_ns: Mapped[float | None]
    mad_ns: Mapped[float | None]
    lost_share: Mapped[float | None]
    covariates: Mapped[dict[str, object]] = mapped_column(JSON)


class DaySummaryTable(Base):
    """A series on one closed day (UTC), from all its good and quiet rows then: not to be had from those of its runs.

    As in `Summary`, `failed` and `noisy` rows are only counted; times are NULL where no row was good and quiet.
    """

    __tablename__ = "day_summary"
    __table_args__ = (UniqueConstraint("series_id", "day"), Index("ix_day_summary_day", "day"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    day: Mapped[date]
    runs: Mapped[int]
    n: Mapped[int]
    failed: Mapped[int]
    noisy: Mapped[int]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    lower_ns: Mapped[float | None]
    median_ns: Mapped[float | None]
    upper_ns: Mapped[float | None]
