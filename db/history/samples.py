"""Reads of samples."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import Row, Select, and_, func, or_, select

from db.history.filters import SAMPLE_FAILURES, SampleFilter, of_case, of_hosts, of_interpreters, within
from db.history.reader import Reader
from db.models import Case, Host, Interpreter, Run, Sample, Series, Summary
from db.rows import InterpreterRow, SampleRow, count_or_text

# Up to so many pairs of case and interpreter, the newest samples of each are looked up by the index of series; more of
# them make up so much of the record that walking it from the newest sample on meets enough of them soon.
_PAIRS_LOOKED_UP = 100
_ROWS_LOOKED_UP = 500


class Samples(Reader):
    """Samples, newest first."""

    def samples(self, which: SampleFilter, *, limit: int | None = 20) -> list[SampleRow]:
        """Samples, newest first; those of one run in their order."""
        if which.run_id is not None:
            query = _SAMPLES.where(Sample.run_id == which.run_id, *_conditions(which)).order_by(Sample.ordinal)
            return [_sample_row(row) for row in self._rows(_timed(query, which).limit(limit))]
        newest = (Sample.started_at.desc(), Sample.id.desc())
        if limit is not None and limit <= _ROWS_LOOKED_UP and (pairs := self._few_pairs(which)) is not None:
            query = _SAMPLES.where(Sample.id.in_(self._newest_of(pairs, which, limit))).order_by(*newest)
        else:
            query = _timed(_SAMPLES.where(*_conditions(which)), which).order_by(*newest)
        return [_sample_row(row) for row in self._rows(query.limit(limit))]

    def runs_with(self, which: SampleFilter, *, limit: int = 5) -> list[int]:
        """Numbers of the newest runs that have such samples; the times are those at which the runs started."""
        such = (*of_case(which.case), *of_interpreters(which.interpreters))
        if not self._rows(select(Case.id).where(*of_case(which.case)).limit(1)):
            return []
        # Walks the runs from the newest on. Closed ones have few summaries, which are faster to look through than
        # their samples.
        summary = select(Summary.id).join(Series).join(Case, Series.case_id == Case.id)
        summary = summary.join(Interpreter, Series.interpreter_id == Interpreter.id)
        summary = summary.where(*such, Summary.run_id == Run.id)
        sample = select(Sample.id).join(Case).join(Interpreter).where(*such, Sample.run_id == Run.id)
        known = or_(summary.exists(), and_(Run.status == "running", sample.exists()))
        query = select(Run.id).join(Host).where(known, *of_hosts(which.hosts))
        query = within(query, Run.started_at, which.since, which.until)
        return [row.id for row in self._rows(query.order_by(Run.started_at.desc(), Run.id.desc()).limit(limit))]

    def failed_samples(self, run_id: int) -> int:
        """Samples of a run that say that something is broken."""
        query = select(func.count()).where(Sample.run_id == run_id, Sample.outcome.in_(SAMPLE_FAILURES))
        return next((int(row[0]) for row in self._rows(query)), 0)

    def _few_pairs(self, which: SampleFilter) -> list[tuple[int, int]] | None:
        """Every wanted case with every wanted interpreter; None where they are many, or all are wanted."""
        if not which.case and not which.interpreters:
            return None
        cases = self._rows(select(Case.id).where(*of_case(which.case)).limit(_PAIRS_LOOKED_UP + 1))
        those = select(Interpreter.id).where(*of_interpreters(which.interpreters))
        interpreters = self._rows(those.limit(_PAIRS_LOOKED_UP + 1))
        if len(cases) * len(interpreters) > _PAIRS_LOOKED_UP:
            return None
        return [(case.id, interpreter.id) for case, interpreter in product(cases, interpreters)]

    def _newest_of(self, pairs: list[tuple[int, int]], which: SampleFilter, limit: int) -> list[int]:
        """Ids of the newest samples of all these pairs."""
        newest: list[tuple[datetime, int]] = []
        for case_id, interpreter_id in pairs:
            query = select(Sample.started_at, Sample.id)
            query = query.where(Sample.case_id == case_id, Sample.interpreter_id == interpreter_id)
            if which.hosts:
                query = query.join(Run, Sample.run_id == Run.id).join(Host).where(*of_hosts(which.hosts))
            query = _timed(query, which).order_by(Sample.started_at.desc(), Sample.id.desc()).limit(limit)
            newest += [(row.started_at, row.id) for row in self._rows(query)]
        return [sample_id for _, sample_id in sorted(newest, reverse=True)[:limit]]


_CASE_AXES = ("experiment", "executor", "workload", "shape", "guard", "workers", "count", "workload_version")
_JOINED = (*_CASE_AXES, "host", "case", "interpreter")
_SAMPLE_FIELDS = tuple(one.name for one in fields(SampleRow) if one.name not in _JOINED)
_INTERPRETER_FIELDS = tuple(one.name for one in fields(InterpreterRow))
_SAMPLES = (
    select(
        *(getattr(Sample, name) for name in _SAMPLE_FIELDS),
        Case.key.label("case"),
        *(getattr(Case, name) for name in _CASE_AXES),
        *(getattr(Interpreter, name).label(f"interpreter_{name}") for name in _INTERPRETER_FIELDS),
        Host.name.label("host"),
    )
    .select_from(Sample)
    .join(Case)
    .join(Interpreter)
    .join(Run, Sample.run_id == Run.id)
    .join(Host)
)


def _conditions(which: SampleFilter) -> Any:
    return (*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))


def _timed(query: Select[Any], which: SampleFilter) -> Select[Any]:
    return within(query, Sample.started_at, which.since, which.until)


def _sample_row(row: Row[Any]) -> SampleRow:
    values = row._asdict()
    interpreter = InterpreterRow(**{name: values.pop(f"interpreter_{name}") for name in _INTERPRETER_FIELDS})
    if row.guard is not None:
        values |= {"expected": count_or_text(row.expected), "found": count_or_text(row.found)}
    return SampleRow(**values, interpreter=interpreter)
