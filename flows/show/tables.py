"""The table of each kind of row: of the record, of vaults, and of what a host has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from db.host import HostLimits
from flows.show.table import Cell, Column, Table, TableOf, table_of
from flows.text import duration, percent, size, visible, zoned
from tasks.suites import SUITES

if TYPE_CHECKING:
    from db.answers import FailureRow, PayloadCount, ProofRow, VerdictCount
    from db.health import TableSize
    from db.rows import PayloadRow, RunRow, SampleRow, SnapshotRow, VerdictRow
    from flows.cli.snapshots import SnapshotLine
    from flows.jobs.check import Checked
    from flows.jobs.vault_state import VaultState
    from flows.serving.deployments import DeploymentState
    from tasks.threads.interpreters import Interpreter

LEGACY_SUITES = frozenset(str(name) for name, suite in SUITES.items() if suite.legacy)


def suite_label(suite: str) -> str:
    """A suite by name; a legacy suite is labelled as such everywhere."""
    return f"{suite} (legacy)" if suite in LEGACY_SUITES else suite


def took(row: RunRow) -> str | None:
    """The time between the start and the end of a run."""
    # A run that did not close itself has the end at which it was found, by another clock perhaps.
    if row.finished_at is None or row.finished_at < row.started_at:
        return None
    return duration((row.finished_at - row.started_at).total_seconds() * 1e9)


def conditions(row: RunRow) -> str:
    """What a run could use of its host, and how the host was then: `2 CPUs (0-1), SMT off, vm, docker, steal 0 %`."""
    found = row.covariates
    words = [str(HostLimits(row.usable_cpus, row.quota_cpus, row.smt))]
    words += [f"CPUs {found['cpus']}"] if found.get("cpus") else []
    words += [str(found[name]) for name in ("governor", "virtualisation", "container") if found.get(name)]
    words += [f"{found['frequency_mhz']} MHz"] if found.get("frequency_mhz") else []
    words += [f"memory limit {size(limit)}"] if isinstance(limit := found.get("memory_limit_bytes"), int) else []
    for name, word in (("stolen_share", "steal"), ("throttled_share", "throttled")):
        words += [f"{word} {percent(share)}"] if isinstance(share := found.get(name), float) else []
    return ", ".join(filter(None, words))


def in_words(count: PayloadCount) -> str:
    """`3 failed (unreadable)`."""
    return f"{count.count:,} {count.status}" + (f" ({count.cause})" if count.cause else "")


RUNS: TableOf[RunRow] = TableOf(
    "runs",
    Column("run", lambda row: row.id, str, right=True),
    Column("flow", lambda row: row.flow),
    Column("via", lambda row: row.via, wide=True),
    Column("deployment", lambda row: row.deployment, wide=True),
    Column("host", lambda row: row.host, wide=True),
    Column("started", lambda row: row.started_at),
    Column("took", took, right=True, wide=True),
    Column("status", lambda row: row.status),
    Column("error", lambda row: row.error),
)


def _stages(row: PayloadRow) -> str:
    return ", ".join(
        f"{stage.program.removeprefix('openssl ')} {duration(stage.wall_ns)}"
        + (f" (exit {stage.exit_code})" if stage.exit_code else "")
        for stage in row.stages
    )


PAYLOADS: TableOf[PayloadRow] = TableOf(
    "payloads",
    Column("run", lambda row: row.run_id, str, right=True),
    Column("started", lambda row: row.started_at, wide=True),
    Column("payload", lambda row: row.name),
    Column("bytes", lambda row: row.size_bytes, right=True),
    Column("suite", lambda row: suite_label(row.suite), wide=True),
    Column("backend", lambda row: row.backend, wide=True),
    Column("status", lambda row: row.status),
    Column("digest", lambda row: row.digest, bytes.hex, optional=True),
    Column("cause", lambda row: row.cause, optional=True),
    Column("error", lambda row: row.error, optional=True),
    Column("kept in", lambda row: row.kept_in, wide=True, optional=True),
    Column("stages", _stages, wide=True),
    Column("time", lambda row: row.wall_ns, duration, right=True),
)


SAMPLES: TableOf[SampleRow] = TableOf(
    "samples",
    Column("run", lambda row: row.run_id, str, right=True),
    Column("started", lambda row: row.started_at, wide=True),
    Column("experiment", lambda row: row.experiment, wide=True),
    Column("what", lambda row: row.workload or row.shape),
    Column("by", lambda row: row.executor or row.guard),
    Column("workers", lambda row: row.workers, right=True, wide=True),
    Column("interpreter", lambda row: row.interpreter.label),
    Column("round", lambda row: row.round, right=True, wide=True),
    Column("outcome", lambda row: row.outcome),
    Column("expected", lambda row: row.expected, str, wide=True),
    Column("found", lambda row: row.found, str, wide=True),
    Column("error", lambda row: row.error, optional=True),
    Column("time", lambda row: row.wall_ns, duration, right=True),
    Column("noisy", lambda row: "noisy" if row.noisy else None, optional=True),
    Column("why noisy", lambda row: row.noise, wide=True, optional=True),
)

FAILURES: TableOf[FailureRow] = TableOf(
    "failures",
    Column("started", lambda row: row.started_at),
    Column("run", lambda row: row.run_id, str, right=True),
    Column("what", lambda row: row.kind, wide=True),
    Column("name", lambda row: row.name),
    Column("by", lambda row: row.by, wide=True),
    Column("host", lambda row: row.host, wide=True),
    Column("status", lambda row: row.status, wide=True),
    Column("cause", lambda row: row.cause, wide=True, optional=True),
    Column("why", lambda row: row.error or row.cause),
)

# Counts are of files, but for the entries; `stored` is ciphertext.
SNAPSHOTS: TableOf[SnapshotRow] = TableOf(
    "snapshots",
    Column("run", lambda row: row.run_id, str, right=True),
    Column("taken", lambda row: row.created_at),
    Column("snapshot", lambda row: row.name, wide=True),
    Column("number", lambda row: row.sequence, right=True, wide=True),
    Column("vault", lambda row: row.vault_path),
    Column("entries", lambda row: row.entries, right=True, wide=True),
    Column("files", lambda row: row.files, right=True),
    Column("new", lambda row: row.new, right=True),
    Column("unchanged", lambda row: row.unchanged, right=True, wide=True),
    Column("skipped", lambda row: row.skipped or None, right=True, wide=True, optional=True),
    Column("marked", lambda row: row.marked or None, right=True, optional=True),
    Column("missed", lambda row: row.missed or None, right=True, optional=True),
    Column("gone", lambda row: row.gone or None, right=True, optional=True),
    Column("counts", lambda row: None if row.counts else "no", optional=True),
    Column("size", lambda row: row.size_bytes, size, right=True),
    Column("stored", lambda row: row.stored_bytes, size, right=True, wide=True),
)

VERDICTS: TableOf[VerdictRow] = TableOf(
    "verdicts",
    Column("run", lambda row: row.run_id, str, right=True),
    Column("checked", lambda row: row.checked_at, wide=True),
    Column("vault", lambda row: row.vault_path, wide=True),
    Column("what", lambda row: row.kind),
    Column("status", lambda row: row.status),
    Column("path", lambda row: row.path),
    Column("bytes", lambda row: row.size_bytes, right=True),
    Column("why", lambda row: row.error),
    Column("time", lambda row: row.wall_ns, duration, right=True, wide=True),
    # Long, so that it comes last.
    Column("name", lambda row: row.name, wide=True),
)

VERDICT_COUNTS: TableOf[VerdictCount] = TableOf(
    "verdicts by kind",
    Column("what", lambda row: row.kind),
    Column("status", lambda row: row.status),
    Column("number", lambda row: row.count, right=True),
    Column("size", lambda row: row.size_bytes, size, right=True),
)

PROOFS: TableOf[ProofRow] = TableOf(
    "proofs, the oldest first",
    Column("proven", lambda row: row.proven_at or "never"),
    Column("by run", lambda row: row.run_id and f"{row.run_id}, {row.flow}", wide=True),
    Column("what", lambda row: row.kind),
    Column("path or name", lambda row: row.path or f"{row.name[:16]}…"),
    Column("stored", lambda row: row.stored_at, wide=True),
    Column("last verdict", lambda row: row.status),
    Column("vault", lambda row: row.vault_path, wide=True),
    Column("name", lambda row: row.name, wide=True),
)

VAULT_SNAPSHOTS: TableOf[SnapshotLine] = TableOf(
    "snapshots",
    Column("snapshot", lambda row: row.name),
    Column("number", lambda row: row.sequence or "partial", right=True),
    Column("taken", lambda row: row.created, zoned, wide=True),
    Column("files", lambda row: row.files, right=True),
    Column("marked", lambda row: row.marked or None, right=True, optional=True),
    Column("missed", lambda row: row.missed or None, right=True, optional=True),
    Column("gone", lambda row: row.gone or None, right=True, optional=True),
    Column("counts", lambda row: None if row.counts else "in doubt", optional=True),
    Column("size", lambda row: row.size_bytes, size, right=True),
    Column("of", lambda row: ", ".join(map(visible, row.sources))),
)

CHECKED: TableOf[Checked] = TableOf(
    "checked",
    Column("file", lambda row: row.name),
    Column("verdict", lambda row: row.verdict),
    Column("recorded in run", lambda row: row.run_id, str, right=True, wide=True),
    Column("on", lambda row: row.recorded_at),
    Column("suite", lambda row: row.suite and suite_label(row.suite), wide=True, optional=True),
    Column("digest", lambda row: row.recorded_digest, wide=True, optional=True),
    Column("why", lambda row: row.error, optional=True),
)

INTERPRETERS: TableOf[Interpreter] = TableOf(
    "interpreters on this host",
    Column("name", lambda row: row.label),
    Column("implementation", lambda row: row.implementation, wide=True),
    Column("build", lambda row: "with the GIL" if row.gil_build else "free-threaded", wide=True),
    Column("GIL now", lambda row: {True: "on", False: "off", None: "does not tell"}[row.gil_now]),
    Column("path", lambda row: row.executable),
    Column("cannot", lambda row: "; ".join(f"{executor}: {reason}" for executor, reason in row.cannot), wide=True),
)

TABLE_SIZES: TableOf[TableSize] = TableOf(
    "tables, with their indexes",
    Column("table", lambda row: row.table),
    Column("rows", lambda row: row.rows, right=True),
    Column("size", lambda row: row.size_bytes, size, right=True),
    Column("share", lambda row: row.share, percent, right=True),
)

UPCOMING: TableOf[DeploymentState] = TableOf(
    "deployments",
    Column("deployment", lambda row: row.name),
    Column("schedule", lambda row: ", ".join(row.schedules)),
    Column("queue", lambda row: row.queue, wide=True),
    Column("next run", lambda row: row.next_at or "not planned yet" if row.scheduled else "paused"),
)

# Each with the number of the run on record.
DEPLOYMENTS: TableOf[tuple[DeploymentState, int | None]] = TableOf(
    "deployments",
    Column("deployment", lambda row: row[0].name),
    Column("last run", lambda row: row[0].last.name if row[0].last else "–", wide=True),
    Column("state", lambda row: row[0].last.state if row[0].last else "–"),
    Column("started", lambda row: row[0].last and row[0].last.started_at, wide=True),
    Column("on record as run", lambda row: row[1], str, right=True, wide=True),
    Column("next", lambda row: row[0].next_at if row[0].scheduled else "paused"),
    Column("late", lambda row: row[0].late or None, right=True),
)

SETTINGS: TableOf[tuple[str, object, str | None]] = TableOf(
    "settings",
    Column("variable", lambda row: row[0]),
    Column("value", lambda row: row[1], str),
    Column("what", lambda row: row[2]),
)


def vault_table(state: VaultState) -> Table:
    """The state of a vault, one fact a line; unknown facts are left out."""
    return table_of("vault", ("what", "value"), ((what, value) for what, value in _facts(state) if value is not None))


def _facts(state: VaultState) -> Iterator[tuple[str, Cell]]:
    yield "vault", state.path
    yield "id", state.vault_id
    for complaint in state.complaints:
        yield "NEEDS ATTENTION", complaint.removeprefix(f"vault {state.path}: ")
    yield "note", state.note
    yield "snapshots", state.snapshots
    row = state.on_record
    if state.snapshots is None:
        yield "newest snapshot on record", row.name if row else None
        yield "taken", row.created_at if row else None
    else:
        yield "newest snapshot", state.newest_name or "none"
        yield "taken", state.newest_at
        yield "its number", state.newest_sequence
        yield "its files", state.newest_files
        yield "bytes of its files", state.newest_bytes
    if row is not None:
        yield "of", ", ".join(row.sources)
        yield "new", row.new
        yield "unchanged", row.unchanged
        yield "skipped", row.skipped
        yield "marked", row.marked
        yield "missed", row.missed
        yield "gone", row.gone
        yield "bytes added", row.stored_bytes
    yield "objects", state.objects
    yield "bytes of objects", state.stored_bytes
    yield "packs and large objects never proven", state.never_proven
    if state.objects:
        yield "oldest proof", state.oldest_proof or "none"
