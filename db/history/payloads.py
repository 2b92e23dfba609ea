"""Reads of payloads and their stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, Select, select

from db.history.filters import (
    PAYLOAD_FAILURES,
    PayloadFilter,
    at_or_below,
    failed,
    in_portions,
    of_hosts,
    unindexed,
    within,
)
from db.history.reader import Reader
from db.models import Encryption, Host, Run, Stage, Vault
from db.names import display_name
from db.rows import PayloadRow, StageRow


class Payloads(Reader):
    """Payloads, newest first."""

    def payloads(self, which: PayloadFilter, *, limit: int | None = 20) -> list[PayloadRow]:
        """Payloads with their stages, newest first; those of one run in their order."""
        query = within(_PAYLOADS, Encryption.started_at, which.since, which.until).limit(limit)
        if which.backends:
            query = query.where(Encryption.backend.in_(which.backends))
        if which.hosts:
            query = query.join(Run).join(Host).where(*of_hosts(which.hosts))
        if which.failed:
            query = query.where(failed(Encryption.status, PAYLOAD_FAILURES))
        if which.run_id is not None:
            return self._with_stages(self._rows(_of_run(query, which.run_id, which.suites)))
        query = query.order_by(Encryption.started_at.desc(), Encryption.id.desc())
        return self._with_stages(self._newest(query, which, limit))

    def _newest(self, query: Select[Any], which: PayloadFilter, limit: int | None) -> Sequence[Row[Any]]:
        """Each of the queries that make up the answer walks its part of an index and stops at the limit."""
        suites = tuple(dict.fromkeys(which.suites))
        queries = [query]
        if which.path is not None:
            queries = [query.where(one) for one in at_or_below(Encryption.name, which.path)]
        if suites and (which.path is not None or which.failed):
            queries = [one.where(unindexed(Encryption.suite).in_(suites)) for one in queries]
        elif suites:
            queries = [query.where(Encryption.suite == suite) for suite in suites]
        rows = [row for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit] if queries[1:] else rows

    def last_digest(self, name: bytes) -> PayloadRow | None:
        """The newest good encryption of a file, by its absolute path."""
        text, name_bytes = display_name(name)
        query = _PAYLOADS.where(Encryption.name == text, Encryption.status == "ok")
        query = query.where(Encryption.kind == "file")
        query = query.where(
            Encryption.name_bytes.is_(None) if name_bytes is None else Encryption.name_bytes == name_bytes
        )
        rows = self._rows(query.order_by(Encryption.started_at.desc(), Encryption.id.desc()).limit(1))
        return next(iter(self._with_stages(rows)), None)

    def done_before(self, flow_run_id: str) -> frozenset[tuple[bytes, str, str]]:
        """What earlier attempts of a Prefect flow run have recorded as good: (name, suite, backend)."""
        query = (
            select(Encryption.name, Encryption.name_bytes, Encryption.suite, Encryption.backend)
            .join(Run)
            .where(Run.flow_run_id == flow_run_id, Encryption.status == "ok")
        )
        return frozenset((row.name_bytes or row.name.encode(), row.suite, row.backend) for row in self._rows(query))

    def _with_stages(self, rows: Sequence[Row[Any]]) -> list[PayloadRow]:
        stages: dict[int, list[StageRow]] = defaultdict(list)
        for some in in_portions([row.id for row in rows]):
            query = select(Stage).where(Stage.encryption_id.in_(some)).order_by(Stage.encryption_id, Stage.position)
            for row in self._rows(query):
                stages[row.encryption_id].append(StageRow(row.program, row.exit_code, row.wall_ns, row.cpu_ns))
        return [_payload_row(row, stages[row.id]) for row in rows]


_OWN = tuple(one.name for one in fields(PayloadRow) if one.name not in {"stages", "vault_id", "kept_in"})
_PAYLOADS = (
    select(
        Encryption.id,
        *(getattr(Encryption, name) for name in _OWN),
        Vault.vault_id,
        Vault.path.label("kept_in"),
    )
    .select_from(Encryption)
    .outerjoin(Vault)
)


def _of_run(query: Select[Any], run_id: int, suites: Sequence[str]) -> Select[Any]:
    if suites:
        query = query.where(unindexed(Encryption.suite).in_(suites))
    return query.where(Encryption.run_id == run_id).order_by(Encryption.ordinal)


def _payload_row(row: Row[Any], stages: Sequence[StageRow]) -> PayloadRow:
    values = {field.name: getattr(row, field.name) for field in fields(PayloadRow) if field.name != "stages"}
    return PayloadRow(**values, stages=tuple(stages))
