"""Reads of runs, and of their payloads and samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import Row, and_, func, or_, select

from db.answers import EncryptedSources, PayloadCount
from db.engine import in_portions, streamed
from db.history.reader import (
    PayloadFilter,
    RecordReader,
    SampleFilter,
    TimeFilter,
    at_or_below,
    counted,
    failed,
    of_case,
    of_interpreters,
    one_of,
    unindexed,
    within,
)
from db.rows import InterpreterRow, PayloadRow, RunRow, SampleRow, StageRow, count_or_text, display_name
from db.tables import CASE, ENCRYPTION, HOST, INTERPRETER, RUN, SAMPLE, SERIES, SNAPSHOT, STAGE, SUMMARY, VAULT
from db.tables.base import shared_columns
from db.words import PAYLOAD_FAILURES, SAMPLE_FAILURES
from db.writes import lost_runs

# Up to so many pairs of case and interpreter, the newest samples of each pair are looked up by the index of series.
# Samples of more pairs are so many that a walk from the newest sample on soon meets enough of them.
_PAIRS_LOOKED_UP = 100
_ROWS_LOOKED_UP = 500


class RunReads(RecordReader):
    """Runs, the one that was recorded last first: a clock may have been wrong."""

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
        time = within(RUN.c.started_at, TimeFilter(since=since, until=until))
        query = _RUNS.where(*one_of(HOST.c.name, hosts), *time)
        queries = [query.where(RUN.c.status == status) for status in dict.fromkeys(statuses)] or [query]
        return [RunRow(**row._asdict()) for row in self._newest(queries, RUN.c.id, limit)]

    def run(self, run_id: int) -> RunRow | None:
        """One run by its number."""
        return next((RunRow(**row._asdict()) for row in self._rows(_RUNS.where(RUN.c.id == run_id))), None)

    def run_of_flow(self, flow_run_id: str) -> RunRow | None:
        """The last attempt of a Prefect flow run."""
        query = _RUNS.where(RUN.c.flow_run_id == flow_run_id).order_by(RUN.c.attempt.desc()).limit(1)
        return next((RunRow(**row._asdict()) for row in self._rows(query)), None)

    def lost_runs(self) -> dict[int, str]:
        """The open runs that the next run will close as crashed, each with the reason."""
        return self._ask(lost_runs, empty={})

    def begins(self) -> list[datetime]:
        """When each run began by the clock of its host, in the order in which the runs were recorded."""
        return [row[0] for row in self._rows(select(RUN.c.started_at).order_by(RUN.c.id))]

    def counts(self, run_id: int) -> list[PayloadCount]:
        """How the payloads of a run ended."""
        query = counted(ENCRYPTION.c.status, ENCRYPTION.c.cause, size_bytes=ENCRYPTION.c.size_bytes)
        rows = self._rows(query.where(ENCRYPTION.c.run_id == run_id))
        return [PayloadCount(status, cause, count, int(size)) for status, cause, count, size in rows]

    def encrypted_sources(self) -> Iterator[EncryptedSources]:
        """The runs that encrypted paths to their end, newest first."""
        for row in self._rows(_SOURCES):
            sources = row.sources or _texts(row.parameters.get("paths"))
            # What an error has ended has its type in front, and the rest has counts.
            done = row.status == "completed" or (row.error or "")[:1].isdigit()
            if "exclude" in row.parameters and (row.name or (done and "vault" not in row.parameters)):
                excludes = _texts(row.parameters["exclude"])
                place = row.vault_id, row.path, row.name, row.counts is not False
                most = row.parameters.get("max_size")
                yield EncryptedSources(row.id, row.started_at, tuple(sources), excludes, *place, most)


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts among the parameters of a run, which may be of a flow by somebody else."""
    return tuple(map(str, value)) if isinstance(value, list) else ()


_SOURCES = (
    select(
        *(RUN.c.id, RUN.c.started_at, RUN.c.status, RUN.c.error, RUN.c.parameters),
        *(SNAPSHOT.c.name, SNAPSHOT.c.sources, SNAPSHOT.c.counts, VAULT.c.vault_id, VAULT.c.path),
    )
    .select_from(RUN)
    .outerjoin(SNAPSHOT)
    .outerjoin(VAULT)
    .order_by(RUN.c.id.desc())
)
_RUNS = select(*shared_columns(RUN, RunRow), HOST.c.name.label("host")).join(HOST)


class PayloadReads(RecordReader):
    """Payloads, newest first."""

    def payloads(self, which: PayloadFilter, *, limit: int | None = 20) -> list[PayloadRow]:
        """Payloads with their stages, newest first; the payloads of one run in their order."""
        of_backend = one_of(ENCRYPTION.c.backend, which.backends)
        query = _PAYLOADS.where(*within(ENCRYPTION.c.started_at, which), *of_backend)
        if which.hosts:
            query = query.join(RUN).join(HOST).where(HOST.c.name.in_(which.hosts))
        query = query.where(*one_of(unindexed(ENCRYPTION.c.status), which.statuses))
        if which.failed or (which.statuses and set(which.statuses) <= set(PAYLOAD_FAILURES)):
            query = query.where(failed(ENCRYPTION.c.status, PAYLOAD_FAILURES))
        of_suite = one_of(unindexed(ENCRYPTION.c.suite), which.suites)
        if which.run_id is not None:
            query = query.where(ENCRYPTION.c.run_id == which.run_id, *of_suite)
            return self._with_stages(self._rows(query.order_by(ENCRYPTION.c.ordinal).limit(limit)))
        queries = [query.where(*of_suite)]
        if which.path is not None:
            queries = [queries[0].where(one) for one in at_or_below(ENCRYPTION.c.name, which.path)]
        elif which.suites and not which.failed:
            queries = [query.where(ENCRYPTION.c.suite == suite) for suite in dict.fromkeys(which.suites)]
        return self._with_stages(self._newest(queries, ENCRYPTION.c.started_at, limit))

    def last_digest(self, name: bytes) -> PayloadRow | None:
        """The last recorded encryption of a file, by its absolute path; one that changed counts if a vault has it."""
        text, name_bytes = display_name(name)
        same = ENCRYPTION.c.name_bytes.is_(None) if name_bytes is None else ENCRYPTION.c.name_bytes == name_bytes
        query = _PAYLOADS.where(ENCRYPTION.c.name == text, ENCRYPTION.c.salt.is_not(None))
        query = query.where(ENCRYPTION.c.kind == "file", same)
        newest = query.order_by(unindexed(ENCRYPTION.c.id).desc()).limit(1)
        return next(iter(self._with_stages(self._rows(newest))), None)

    def file_names(self, run_id: int) -> Iterator[bytes]:
        """The files that a run, or an earlier attempt of it, encrypted or failed to read.

        In constant memory. A read transaction is open until the last one is taken, or the iterator is closed.
        """
        flow_run = select(RUN.c.flow_run_id).where(RUN.c.id == run_id).scalar_subquery()
        attempts = select(RUN.c.id).where(or_(RUN.c.id == run_id, RUN.c.flow_run_id == flow_run))
        query = select(ENCRYPTION.c.name, ENCRYPTION.c.name_bytes).where(
            ENCRYPTION.c.run_id.in_(attempts), ENCRYPTION.c.kind == "file", ENCRYPTION.c.status != "skipped"
        )
        with self._reading() as connection:
            for name, name_bytes in streamed(connection, query):
                yield name_bytes or name.encode()

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


def _payload_row(row: Row[Any], stages: Sequence[StageRow]) -> PayloadRow:
    values = row._asdict()
    del values["id"]
    return PayloadRow(**values, stages=tuple(stages))


class SampleReads(RecordReader):
    """Samples, newest first."""

    def samples(self, which: SampleFilter, *, limit: int | None = 20) -> list[SampleRow]:
        """Samples, newest first; the samples of one run in their order."""
        query = _SAMPLES.where(
            *of_case(which.case),
            *of_interpreters(which.interpreters),
            *one_of(HOST.c.name, which.hosts),
            *within(SAMPLE.c.started_at, which),
        )
        if which.run_id is not None:
            query = query.where(SAMPLE.c.run_id == which.run_id)
            return [_sample_row(row) for row in self._rows(query.order_by(SAMPLE.c.ordinal).limit(limit))]
        if limit is not None and limit <= _ROWS_LOOKED_UP and (pairs := self._few_pairs(which)) is not None:
            query = _SAMPLES.where(SAMPLE.c.id.in_(self._newest_of(pairs, which, limit)))
        return [_sample_row(row) for row in self._newest([query], SAMPLE.c.started_at, limit)]

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
        of_host = one_of(HOST.c.name, which.hosts)
        query = select(RUN.c.id).join(HOST).where(known, *of_host, *within(RUN.c.started_at, which))
        return [row.id for row in self._newest([query], RUN.c.id, limit)]

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
        query = select(SAMPLE.c.started_at, SAMPLE.c.id).where(*within(SAMPLE.c.started_at, which))
        if which.hosts:
            query = query.join(RUN, SAMPLE.c.run_id == RUN.c.id).join(HOST).where(HOST.c.name.in_(which.hosts))
        queries = [
            query.where(SAMPLE.c.case_id == case_id, SAMPLE.c.interpreter_id == interpreter_id)
            for case_id, interpreter_id in pairs
        ]
        return [row.id for row in self._newest(queries, SAMPLE.c.started_at, limit)]


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


def _sample_row(row: Row[Any]) -> SampleRow:
    values = row._asdict()
    interpreter = InterpreterRow(**{column.key: values.pop(label) for label, column in _INTERPRETER.items()})
    if row.guard is not None:
        values |= {"expected": count_or_text(row.expected), "found": count_or_text(row.found)}
    return SampleRow(**values, interpreter=interpreter)
