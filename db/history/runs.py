"""Reads of runs, and of their payloads and samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import Row, Select, and_, func, or_, select

from db.answers import PayloadCount
from db.history.reader import (
    PayloadFilter,
    RecordReader,
    SampleFilter,
    at_or_below,
    counted,
    failed,
    in_portions,
    of_case,
    of_hosts,
    of_interpreters,
    unindexed,
    within,
)
from db.rows import InterpreterRow, PayloadRow, RunRow, SampleRow, StageRow, count_or_text, display_name
from db.tables import (
    CASE,
    ENCRYPTION,
    HOST,
    INTERPRETER,
    RUN,
    SAMPLE,
    SERIES,
    STAGE,
    SUMMARY,
    VAULT,
)
from db.tables.base import shared_columns
from db.words import PAYLOAD_FAILURES, SAMPLE_FAILURES

# Up to so many pairs of case and interpreter, the newest samples of each pair are looked up by the index of series.
# Samples of more pairs are so many that a walk from the newest sample on soon meets enough of them.
_PAIRS_LOOKED_UP = 100
_ROWS_LOOKED_UP = 500


class RunReads(RecordReader):
    """Runs, newest first."""

    def runs(
        self,
        *,
        limit: int | None = 20,
        since: datetime | None = None,
        until: datetime | None = None,
        statuses: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> list[RunRow]:
        """The newest runs that started in a time, with one of the statuses, on one of the hosts."""
        query = within(_RUNS.where(*of_hosts(hosts)), RUN.c.started_at, since, until)
        query = query.order_by(RUN.c.started_at.desc(), RUN.c.id.desc()).limit(limit)
        # One query per status: each walks its part of the index from the newest row on, and stops at the limit.
        queries = [query.where(RUN.c.status == status) for status in dict.fromkeys(statuses)] or [query]
        rows = [_run_row(row) for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit]

    def run(self, run_id: int) -> RunRow | None:
        """One run by its number."""
        return next((_run_row(row) for row in self._rows(_RUNS.where(RUN.c.id == run_id))), None)

    def run_of_flow(self, flow_run_id: str) -> RunRow | None:
        """The last attempt of a Prefect flow run."""
        query = _RUNS.where(RUN.c.flow_run_id == flow_run_id).order_by(RUN.c.attempt.desc()).limit(1)
        return next((_run_row(row) for row in self._rows(query)), None)

    def counts(self, run_id: int) -> list[PayloadCount]:
        """How the payloads of a run ended."""
        query = counted(ENCRYPTION.c.status, ENCRYPTION.c.cause, size_bytes=ENCRYPTION.c.size_bytes)
        rows = self._rows(query.where(ENCRYPTION.c.run_id == run_id))
        return [PayloadCount(status, cause, count, int(size)) for status, cause, count, size in rows]


_RUNS = select(*shared_columns(RUN, RunRow), HOST.c.name.label("host")).join(HOST)


def _run_row(row: Row[Any]) -> RunRow:
    return RunRow(**row._asdict())


class PayloadReads(RecordReader):
    """Payloads, newest first."""

    def payloads(self, which: PayloadFilter, *, limit: int | None = 20) -> list[PayloadRow]:
        """Payloads with their stages, newest first; the payloads of one run in their order."""
        query = within(_PAYLOADS, ENCRYPTION.c.started_at, which.since, which.until).limit(limit)
        if which.backends:
            query = query.where(ENCRYPTION.c.backend.in_(which.backends))
        if which.hosts:
            query = query.join(RUN).join(HOST).where(*of_hosts(which.hosts))
        if which.failed:
            query = query.where(failed(ENCRYPTION.c.status, PAYLOAD_FAILURES))
        if which.run_id is not None:
            return self._with_stages(self._rows(_of_run(query, which.run_id, which.suites)))
        query = query.order_by(ENCRYPTION.c.started_at.desc(), ENCRYPTION.c.id.desc())
        return self._with_stages(self._newest(query, which, limit))

    def _newest(self, query: Select[Any], which: PayloadFilter, limit: int | None) -> Sequence[Row[Any]]:
        """Run one query per path or suite: each walks its part of an index and stops at the limit."""
        suites = tuple(dict.fromkeys(which.suites))
        queries = [query]
        if which.path is not None:
            queries = [query.where(one) for one in at_or_below(ENCRYPTION.c.name, which.path)]
        if suites and (which.path is not None or which.failed):
            queries = [one.where(unindexed(ENCRYPTION.c.suite).in_(suites)) for one in queries]
        elif suites:
            queries = [query.where(ENCRYPTION.c.suite == suite) for suite in suites]
        rows = [row for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit] if queries[1:] else rows

    def last_digest(self, name: bytes) -> PayloadRow | None:
        """The newest good encryption of a file, by its absolute path."""
        text, name_bytes = display_name(name)
        same = ENCRYPTION.c.name_bytes.is_(None) if name_bytes is None else ENCRYPTION.c.name_bytes == name_bytes
        query = _PAYLOADS.where(ENCRYPTION.c.name == text, ENCRYPTION.c.status == "ok")
        query = query.where(ENCRYPTION.c.kind == "file", same)
        rows = self._rows(query.order_by(ENCRYPTION.c.started_at.desc(), ENCRYPTION.c.id.desc()).limit(1))
        return next(iter(self._with_stages(rows)), None)

    def done_before(self, flow_run_id: str) -> frozenset[tuple[bytes, str, str]]:
        """The good payloads of earlier attempts of a Prefect flow run: (name, suite, backend)."""
        query = (
            select(ENCRYPTION.c.name, ENCRYPTION.c.name_bytes, ENCRYPTION.c.suite, ENCRYPTION.c.backend)
            .join(RUN)
            .where(RUN.c.flow_run_id == flow_run_id, ENCRYPTION.c.status == "ok")
        )
        return frozenset((row.name_bytes or row.name.encode(), row.suite, row.backend) for row in self._rows(query))

    def _with_stages(self, rows: Sequence[Row[Any]]) -> list[PayloadRow]:
        stages: dict[int, list[StageRow]] = defaultdict(list)
        for some in in_portions([row.id for row in rows]):
            query = select(STAGE).where(STAGE.c.encryption_id.in_(some))
            for row in self._rows(query.order_by(STAGE.c.encryption_id, STAGE.c.position)):
                stages[row.encryption_id].append(StageRow(row.program, row.exit_code, row.wall_ns, row.cpu_ns))
        return [_payload_row(row, stages[row.id]) for row in rows]


_PAYLOADS = (
    select(
        ENCRYPTION.c.id,
        *shared_columns(ENCRYPTION, PayloadRow, but="vault_id"),
        VAULT.c.vault_id,
        VAULT.c.path.label("kept_in"),
    )
    .select_from(ENCRYPTION)
    .outerjoin(VAULT)
)


def _of_run(query: Select[Any], run_id: int, suites: Sequence[str]) -> Select[Any]:
    if suites:
        query = query.where(unindexed(ENCRYPTION.c.suite).in_(suites))
    return query.where(ENCRYPTION.c.run_id == run_id).order_by(ENCRYPTION.c.ordinal)


def _payload_row(row: Row[Any], stages: Sequence[StageRow]) -> PayloadRow:
    values = row._asdict()
    del values["id"]
    return PayloadRow(**values, stages=tuple(stages))


class SampleReads(RecordReader):
    """Samples, newest first."""

    def samples(self, which: SampleFilter, *, limit: int | None = 20) -> list[SampleRow]:
        """Samples, newest first; the samples of one run in their order."""
        if which.run_id is not None:
            query = _timed(_SAMPLES.where(SAMPLE.c.run_id == which.run_id, *_conditions(which)), which)
            return [_sample_row(row) for row in self._rows(query.order_by(SAMPLE.c.ordinal).limit(limit))]
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
        query = query.order_by(RUN.c.started_at.desc(), RUN.c.id.desc()).limit(limit)
        return [row.id for row in self._rows(within(query, RUN.c.started_at, which.since, which.until))]

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
            query = _timed(select(SAMPLE.c.started_at, SAMPLE.c.id), which)
            query = query.where(SAMPLE.c.case_id == case_id, SAMPLE.c.interpreter_id == interpreter_id)
            if which.hosts:
                query = query.join(RUN, SAMPLE.c.run_id == RUN.c.id).join(HOST)
                query = query.where(*of_hosts(which.hosts))
            query = query.order_by(SAMPLE.c.started_at.desc(), SAMPLE.c.id.desc()).limit(limit)
            newest += [(row.started_at, row.id) for row in self._rows(query)]
        return [sample_id for _, sample_id in sorted(newest, reverse=True)[:limit]]


_INTERPRETER = {f"interpreter_{column.key}": column for column in shared_columns(INTERPRETER, InterpreterRow)}
_SAMPLES = (
    select(
        *shared_columns(SAMPLE, SampleRow),
        CASE.c.key.label("case"),
        *shared_columns(CASE, SampleRow),
        *(column.label(label) for label, column in _INTERPRETER.items()),
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
    interpreter = InterpreterRow(**{column.key: values.pop(label) for label, column in _INTERPRETER.items()})
    if row.guard is not None:
        values |= {"expected": count_or_text(row.expected), "found": count_or_text(row.found)}
    return SampleRow(**values, interpreter=interpreter)
