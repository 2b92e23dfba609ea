"""Reads of the single times of a run."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from db.history.reader import Reader
from db.models import Encryption, Sample, Series, Summary
from db.rows import TimeRow
from db.summaries import TIMED_OUTCOMES, size_class_of


class Times(Reader):
    """Single times, by series."""

    def times(self, run_id: int) -> list[TimeRow]:
        """The times that the summaries of a closed run were made of; none where its rows were removed."""
        identity = (Series.case_id, Series.interpreter_id, Series.suite, Series.backend, Series.size_class, Series.kept)
        query = select(Series.id, *identity).join(Summary).where(Summary.run_id == run_id)
        of_samples: dict[tuple[int, int], int] = {}
        of_payloads: dict[tuple[str, str, int, bool], int] = {}
        for one in self._rows(query):
            of_samples[one.case_id, one.interpreter_id] = one.id
            of_payloads[one.suite, one.backend, one.size_class, one.kept] = one.id
        return [*self._payload_times(run_id, of_payloads), *self._sample_times(run_id, of_samples)]

    def _payload_times(self, run_id: int, series: dict[tuple[str, str, int, bool], int]) -> Iterator[TimeRow]:
        query = select(
            Encryption.suite,
            Encryption.backend,
            Encryption.size_bytes,
            Encryption.vault_id.is_not(None).label("kept"),
            Encryption.name,
            Encryption.wall_ns,
        ).where(Encryption.run_id == run_id, Encryption.status == "ok")
        for row in self._rows(query.order_by(Encryption.ordinal)):
            series_id = series.get((row.suite, row.backend, size_class_of(row.size_bytes), row.kept))
            if series_id is not None:
                yield TimeRow(series_id, f"{row.name} {row.size_bytes}", row.wall_ns)

    def _sample_times(self, run_id: int, series: dict[tuple[int, int], int]) -> Iterator[TimeRow]:
        query = select(Sample.case_id, Sample.interpreter_id, Sample.round, Sample.wall_ns).where(
            Sample.run_id == run_id,
            Sample.outcome.in_(sorted(TIMED_OUTCOMES)),
            Sample.noisy.is_(False),
            Sample.wall_ns > 0,
        )
        for row in self._rows(query.order_by(Sample.ordinal)):
            series_id = series.get((row.case_id, row.interpreter_id))
            if series_id is not None:
                yield TimeRow(series_id, str(row.round), row.wall_ns)
