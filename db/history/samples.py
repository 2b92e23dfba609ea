"""Reads of samples."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import Row, Select, and_, func, or_, select

from db.history.reader import RecordReader, SampleFilter, of_case, of_hosts, of_interpreters, within
from db.rows import InterpreterRow, SampleRow, count_or_text
from db.tables import CASE, HOST, INTERPRETER, RUN, SAMPLE, SERIES, SUMMARY
from db.words import SAMPLE_FAILURES

# Up to so many pairs of case and interpreter, the newest samples of each pair are looked up by the index of series.
# Samples of more pairs are so many that a walk from the newest sample on soon meets enough of them.
_PAIRS_LOOKED_UP = 100
_ROWS_LOOKED_UP = 500


class SampleReads(RecordReader):
    """Samples, newest first."""

    def samples(self, which: SampleFilter, *, limit: int | None = 20) -> list[SampleRow]:
        """Samples, newest first; the samples of one run in their order."""
        if which.run_id is not None:
            query = _SAMPLES.where(SAMPLE.c.run_id == which.run_id, *_conditions(which)).order_by(SAMPLE.c.ordinal)
            return [_sample_row(row) for row in self._rows(_timed(query, which).limit(limit))]
        newest = (SAMPLE.c.started_at.desc(), SAMPLE.c.id.desc())
        if limit is not None and limit <= _ROWS_LOOKED_UP and (pairs := self._few_pairs(which)) is not None:
            query = _SAMPLES.where(SAMPLE.c.id.in_(self._newest_of(pairs, which, limit))).order_by(*newest)
        else:
            query = _timed(_SAMPLES.where(*_conditions(which)), which).order_by(*newest)
        return [_sample_row(row) for row in self._rows(query.limit(limit))]

    def runs_with(self, which: SampleFilter, *, limit: int = 5) -> list[int]:
        """The ids of the newest runs that have such samples; the time is the start of the run."""
        such = (*of_case(which.case), *of_interpreters(which.interpreters))
        if not self._rows(select(CASE.c.id).where(*of_case(which.case)).limit(1)):
            return []
        # Walks the runs from the newest on. Closed runs have few summaries, which are faster to search than their
        # samples.
        summary = select(SUMMARY.c.id).select_from(SUMMARY).join(SERIES).join(CASE, SERIES.c.case_id == CASE.c.id)
        summary = summary.join(INTERPRETER, SERIES.c.interpreter_id == INTERPRETER.c.id)
        summary = summary.where(*such, SUMMARY.c.run_id == RUN.c.id)
        sample = select(SAMPLE.c.id).select_from(SAMPLE).join(CASE).join(INTERPRETER)
        sample = sample.where(*such, SAMPLE.c.run_id == RUN.c.id)
        known = or_(summary.exists(), and_(RUN.c.status == "running", sample.exists()))
        query = select(RUN.c.id).join(HOST).where(known, *of_hosts(which.hosts))
        query = within(query, RUN.c.started_at, which.since, which.until)
        return [row.id for row in self._rows(query.order_by(RUN.c.started_at.desc(), RUN.c.id.desc()).limit(limit))]

    def failed_samples(self, run_id: int) -> int:
        """How many samples of a run say that something is broken."""
        query = select(func.count()).where(SAMPLE.c.run_id == run_id, SAMPLE.c.outcome.in_(SAMPLE_FAILURES))
        return next((int(row[0]) for row in self._rows(query)), 0)

    def _few_pairs(self, which: SampleFilter) -> list[tuple[int, int]] | None:
        """Every wanted case with every wanted interpreter; None if they are many, or if all are wanted."""
        if not which.case and not which.interpreters:
            return None
        cases = self._rows(select(CASE.c.id).where(*of_case(which.case)).limit(_PAIRS_LOOKED_UP + 1))
        those = select(INTERPRETER.c.id).where(*of_interpreters(which.interpreters))
        interpreters = self._rows(those.limit(_PAIRS_LOOKED_UP + 1))
        if len(cases) * len(interpreters) > _PAIRS_LOOKED_UP:
            return None
        return [(case.id, interpreter.id) for case, interpreter in product(cases, interpreters)]

    def _newest_of(self, pairs: list[tuple[int, int]], which: SampleFilter, limit: int) -> list[int]:
        """Ids of the newest samples of all these pairs."""
        newest: list[tuple[datetime, int]] = []
        for case_id, interpreter_id in pairs:
            query = select(SAMPLE.c.started_at, SAMPLE.c.id)
            query = query.where(SAMPLE.c.case_id == case_id, SAMPLE.c.interpreter_id == interpreter_id)
            if which.hosts:
                query = query.join(RUN, SAMPLE.c.run_id == RUN.c.id).join(HOST).where(*of_hosts(which.hosts))
            query = _timed(query, which).order_by(SAMPLE.c.started_at.desc(), SAMPLE.c.id.desc()).limit(limit)
            newest += [(row.started_at, row.id) for row in self._rows(query)]
        return [sample_id for _, sample_id in sorted(newest, reverse=True)[:limit]]


_CASE_AXES = ("experiment", "executor", "workload", "shape", "guard", "workers", "count", "workload_version")
_JOINED = (*_CASE_AXES, "host", "case", "interpreter")
_SAMPLE_FIELDS = tuple(one.name for one in fields(SampleRow) if one.name not in _JOINED)
_INTERPRETER_FIELDS = tuple(one.name for one in fields(InterpreterRow))
_SAMPLES = (
    select(
        *(SAMPLE.c[name] for name in _SAMPLE_FIELDS),
        CASE.c.key.label("case"),
        *(CASE.c[name] for name in _CASE_AXES),
        *(INTERPRETER.c[name].label(f"interpreter_{name}") for name in _INTERPRETER_FIELDS),
        HOST.c.name.label("host"),
    )
    .select_from(SAMPLE)
    .join(CASE)
    .join(INTERPRETER)
    .join(RUN, SAMPLE.c.run_id == RUN.c.id)
    .join(HOST)
)


def _conditions(which: SampleFilter) -> Any:
    return (*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))


def _timed(query: Select[Any], which: SampleFilter) -> Select[Any]:
    return within(query, SAMPLE.c.started_at, which.since, which.until)


def _sample_row(row: Row[Any]) -> SampleRow:
    values = row._asdict()
    interpreter = InterpreterRow(**{name: values.pop(f"interpreter_{name}") for name in _INTERPRETER_FIELDS})
    if row.guard is not None:
        values |= {"expected": count_or_text(row.expected), "found": count_or_text(row.found)}
    return SampleRow(**values, interpreter=interpreter)
