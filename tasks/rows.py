"""Rows of the record, made from the results of the engines. A run id comes first, ordinals count on from `first`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from db.host import host_name
from db.rows import (
    InterpreterRow,
    PayloadRow,
    SampleRow,
    SnapshotRow,
    StageRow,
    VerdictRow,
    count_or_text,
    display_name,
)
from db.words import MOST_BYTES

# For types only: a run that encrypts does not load the vault and the experiments, and the other way round.
if TYPE_CHECKING:
    from tasks.crypto.encrypt import Encryption, PayloadStatus
    from tasks.threads.cases import Sample
    from tasks.threads.interpreters import Interpreter
    from tasks.vault.add import Added, Addition
    from tasks.vault.errors import Verdict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def payload_rows(
    run_id: int,
    encryptions: Sequence[Encryption],
    vault_id: str | None = None,
    vault_path: str | None = None,
    packs: Mapping[bytes, bytes] = MappingProxyType({}),
) -> list[PayloadRow]:
    """The rows of a batch's payloads; a vault, if there is one, keeps the ciphertext of the good ones.

    `packs` has the pack of each digest that is in one. Unchanged files have no rows: they are a count of the run's
    snapshot.
    """
    return [
        _payload_row(run_id, one, *((vault_id, vault_path) if one.salt is not None else (None, None)), packs)
        for one in encryptions
        if one.status != "unchanged"
    ]


def sample_rows(
    run_id: int, first: int, samples: Sequence[Sample], interpreters: Mapping[str, Interpreter]
) -> list[SampleRow]:
    """The rows of samples that were taken on this host; `interpreters` by fingerprint, all that the samples name."""
    host = host_name()
    rows = {
        fingerprint: InterpreterRow(one.fingerprint, one.label, one.version, one.implementation, one.gil_build)
        for fingerprint, one in interpreters.items()
    }
    return [
        _sample_row(run_id, ordinal, host, rows[one.interpreter], one) for ordinal, one in enumerate(samples, first)
    ]


def interpreter_facts(interpreters: Mapping[str, Interpreter]) -> dict[str, dict[str, str]]:
    """The identity facts of interpreters, by fingerprint; no row has them."""
    return {fingerprint: dict(one.facts) for fingerprint, one in interpreters.items()}


def snapshot_row(run_id: int, addition: Addition, added: Added, counts: Mapping[PayloadStatus, int]) -> SnapshotRow:
    """The row of a snapshot that a run has put into a vault; `counts` are its payloads by status."""
    header, totals = added.snapshot.header, added.snapshot.totals
    return SnapshotRow(
        run_id=run_id,
        vault_id=addition.vault.instance,
        vault_path=addition.vault.root,
        name=header.name,
        sequence=header.sequence,
        mac=added.snapshot.mac,
        created_at=header.created,
        sources=tuple(display_name(source)[0] for source in header.sources),
        entries=totals.entries,
        files=totals.files,
        new=added.new,
        unchanged=addition.found.unchanged + added.same,
        skipped=counts.get("skipped", 0),
        marked=totals.marked,
        missed=totals.missed,
        gone=totals.gone,
        counts=totals.counts,
        size_bytes=min(MOST_BYTES, totals.size_bytes),
        stored_bytes=added.stored_bytes,
    )


def verdict_rows(
    run_id: int, vault_id: str, vault_path: str, first: int, verdicts: Sequence[Verdict]
) -> list[VerdictRow]:
    """The rows of verdicts on a vault."""
    return [_verdict_row(run_id, ordinal, vault_id, vault_path, one) for ordinal, one in enumerate(verdicts, first)]


def _payload_row(
    run_id: int, one: Encryption, vault_id: str | None, vault_path: str | None, packs: Mapping[bytes, bytes]
) -> PayloadRow:
    name, name_bytes = display_name(one.payload.name)
    return PayloadRow(
        run_id=run_id,
        ordinal=one.ordinal,
        name=name,
        name_bytes=name_bytes,
        kind=one.payload.kind,
        size_bytes=one.payload.size_bytes if one.size_bytes is None else one.size_bytes,
        ciphertext_bytes=one.ciphertext_bytes,
        suite=one.suite.name,
        cipher=one.suite.cipher,
        digest_algorithm=one.suite.digest,
        kdf=one.suite.kdf,
        iterations=one.suite.iterations,
        salt=one.salt,
        digest=one.digest,
        backend=one.chosen.backend,
        backend_detail=one.chosen.detail,
        backend_reason=one.chosen.reason,
        status=one.status,
        cause=one.cause,
        error=one.error,
        started_at=_moment(one.started_at_ns),
        wall_ns=one.wall_ns,
        stages=tuple(StageRow(stage.program, stage.exit_code, stage.wall_ns, stage.cpu_ns) for stage in one.stages),
        vault_id=vault_id,
        kept_in=vault_path,
        pack=packs.get(one.digest) if one.digest else None,
    )


def _sample_row(run_id: int, ordinal: int, host: str, interpreter: InterpreterRow, one: Sample) -> SampleRow:
    case, is_race = one.case, one.case.guard is not None
    return SampleRow(
        run_id=run_id,
        ordinal=ordinal,
        host=host,
        case=case.key,
        experiment=case.experiment.value,
        executor=case.executor and case.executor.value,
        workload=case.workload and case.workload.value,
        shape=case.shape and case.shape.value,
        guard=case.guard and case.guard.value,
        workers=case.workers,
        count=case.count,
        workload_version=one.workload_version,
        interpreter=interpreter,
        round=one.round,
        started_at=one.started_at,
        outcome=one.outcome.value,
        expected=count_or_text(one.expected) if is_race else one.expected,
        found=count_or_text(one.found) if is_race else one.found,
        error=one.error,
        wall_ns=one.wall_ns,
        cpu_ns=one.cpu_ns,
        runq_ns=one.runq_ns,
        blocked_ns=one.blocked_ns,
        throttled_ns=one.throttled_ns,
        stolen_ns=one.stolen_ns,
        context_switches=one.context_switches,
        gil_on=one.gil_on,
        foreign_share=one.foreign_share,
        positive_lost=one.positive_lost,
        negative_lost=one.negative_lost,
        noisy=one.noisy,
        noise=one.noise,
    )


def _verdict_row(run_id: int, ordinal: int, vault_id: str, vault_path: str, one: Verdict) -> VerdictRow:
    path, path_bytes = (None, None) if one.path is None else display_name(one.path)
    return VerdictRow(
        run_id=run_id,
        ordinal=ordinal,
        vault_id=vault_id,
        vault_path=vault_path,
        kind=one.kind,
        name=one.name,
        status=one.status,
        size_bytes=one.size_bytes,
        path=path,
        path_bytes=path_bytes,
        error=one.error,
        checked_at=_moment(one.checked_at_ns),
        wall_ns=one.wall_ns,
    )


def _moment(since_1970_ns: int) -> datetime:
    """A time to the microsecond, as both databases keep it."""
    return _EPOCH + timedelta(microseconds=since_1970_ns // 1000)
