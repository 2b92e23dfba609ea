"""What the seals of each format cover, table by table and column by column.

A format is never changed, since it is what seals were made of: a new column makes a new format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, exists, or_, select

from db.models import Case, Encryption, Host, Interpreter, Run, Sample, Snapshot, Stage, Vault, Verdict

# The run's rows in their order, and the column that says whose they are. By outer joins, because a row that was put in
# without its parents must not be left out.
Coverage = Mapping[str, tuple[Select[Any], Any]]

_RUN = (
    Run.flow, Run.flow_run_id, Run.attempt, Run.deployment, Run.via, Host.fingerprint, Host.name,
    Host.facts, Run.boot_id, Run.pid, Run.pid_start, Run.code_version, Run.parameters,
    Run.covariates, Run.status, Run.error, Run.started_at, Run.finished_at,
)  # fmt: skip
_ENCRYPTION = (
    Encryption.ordinal, Encryption.name, Encryption.name_bytes, Encryption.kind, Encryption.size_bytes,
    Encryption.ciphertext_bytes, Encryption.suite, Encryption.cipher, Encryption.digest_algorithm,
    Encryption.kdf, Encryption.iterations, Encryption.salt, Encryption.digest, Encryption.backend,
    Encryption.backend_detail, Encryption.backend_reason, Encryption.status, Encryption.cause,
    Encryption.error, Encryption.started_at, Encryption.wall_ns,
)  # fmt: skip
_STAGE = (
    Encryption.ordinal, Stage.position, Stage.program, Stage.exit_code, Stage.wall_ns, Stage.cpu_ns,
)  # fmt: skip
_SAMPLE = (
    Sample.ordinal, Case.key, Case.workload_version, Case.experiment, Case.executor, Case.workload, Case.shape,
    Case.guard, Case.workers, Case.count, Interpreter.fingerprint, Interpreter.label, Interpreter.version,
    Interpreter.implementation, Interpreter.gil_build, Sample.round, Sample.started_at, Sample.outcome,
    Sample.expected, Sample.found, Sample.error, Sample.wall_ns, Sample.cpu_ns, Sample.runq_ns,
    Sample.blocked_ns, Sample.context_switches, Sample.gil_on, Sample.foreign_share, Sample.positive_lost,
    Sample.negative_lost, Sample.noisy,
)  # fmt: skip
_SNAPSHOT = (
    Vault.vault_id, Snapshot.name, Snapshot.sequence, Snapshot.mac, Snapshot.created_at, Snapshot.sources,
    Snapshot.entries, Snapshot.files, Snapshot.new, Snapshot.unchanged, Snapshot.unstable, Snapshot.skipped,
    Snapshot.failed, Snapshot.size_bytes, Snapshot.stored_bytes,
)  # fmt: skip
_VERDICT = (
    Verdict.ordinal, Vault.vault_id, Verdict.kind, Verdict.name, Verdict.status, Verdict.size_bytes, Verdict.path,
    Verdict.path_bytes, Verdict.error, Verdict.checked_at, Verdict.wall_ns,
)  # fmt: skip

_FORM_1: Coverage = {
    "run": (select(*_RUN).outerjoin(Host).order_by(Run.id), Run.id),
    "encryption": (select(*_ENCRYPTION).order_by(Encryption.ordinal), Encryption.run_id),
    "stage": (select(*_STAGE).join(Encryption).order_by(Encryption.ordinal, Stage.position), Encryption.run_id),
    "sample": (select(*_SAMPLE).outerjoin(Case).outerjoin(Interpreter).order_by(Sample.ordinal), Sample.run_id),
}
_FORM_2: Coverage = {
    **_FORM_1,
    "encryption": (
        select(*_ENCRYPTION, Vault.vault_id).select_from(Encryption).outerjoin(Vault).order_by(Encryption.ordinal),
        Encryption.run_id,
    ),
    "snapshot": (select(*_SNAPSHOT).select_from(Snapshot).outerjoin(Vault).order_by(Snapshot.id), Snapshot.run_id),
    "verdict": (select(*_VERDICT).select_from(Verdict).outerjoin(Vault).order_by(Verdict.ordinal), Verdict.run_id),
}

FORMS: Mapping[int, Coverage] = {1: _FORM_1, 2: _FORM_2}
FORMAT = 2


def beyond(form: int, run_id: int) -> Select[Any] | None:
    """A query that is true if a run has what its format does not cover, because there was none of it then."""
    if form != 1:
        return None
    kept = exists().where(Encryption.run_id == run_id, Encryption.vault_id.is_not(None))
    of_vaults = (exists().where(table.run_id == run_id) for table in (Snapshot, Verdict))
    return select(or_(kept, *of_vaults))
