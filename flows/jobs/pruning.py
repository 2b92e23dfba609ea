"""The prune job: old snapshots go, and what only they named."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace

from db.history import History
from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.run import OpenRun, PlannedWork, Tools, open_run
from flows.jobs.vaults import Tally, drawn, need_latest, run_portions
from flows.text import shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.vault.index import ObjectIndex
from tasks.vault.locks import alone, reading
from tasks.vault.lookup import newest_snapshot
from tasks.vault.prune import Policy, Removal, plan_removal, remove
from tasks.vault.vault import Vault, open_vault


@dataclass(frozen=True, slots=True)
class PruningRequest:
    """Which vault, and what is to be kept of it."""

    vault: str
    key: KeyFile
    policy: Policy

    def __post_init__(self) -> None:
        """Raises RequestRefused."""
        counts = asdict(self.policy)
        if min(counts.values()) < 0:
            raise RequestRefused("what is to be kept is at least 0")
        if self.policy.keeps_nothing:
            raise RequestRefused(
                "that would keep nothing; say what to keep: --keep-last, --keep-daily, --keep-weekly, --keep-monthly"
            )

    def parameters(self) -> dict[str, object]:
        """For the record."""
        return {"vault": shown_path(self.vault), **{f"keep_{name}": n for name, n in asdict(self.policy).items()}}


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went and what stays."""

    tally: Tally
    kept: int

    @property
    def exit_code(self) -> int:
        """See `Outcome`."""
        return 0

    @property
    def message(self) -> str:
        """How many of what."""
        snapshots, objects = self.tally.count("snapshot", "removed"), self.tally.count("object", "removed")
        return (
            f"snapshots: {snapshots:,} removed, {self.kept:,} kept; "
            f"objects: {objects:,} removed, {size(self.tally.size_bytes)}"
        )


def prune(request: PruningRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Remove what the policy does not keep; the run, closed.

    Raises:
        CryptoError: refused before anything is removed; or, once the run has a row, something cannot be removed.
        RecordError: the record cannot be written.
    """
    with ExitStack() as stack:

        def make() -> tuple[Vault, ObjectIndex, Removal]:
            vault = open_vault(request.vault, request.key.secret())
            stack.enter_context(alone(vault.root, tools.cancel))
            index = stack.enter_context(ObjectIndex())
            return vault, index, _plan(vault, request.policy, index, tools.history, tools.cancel)

        vault, index, removal = tools.runner.plan(make)
        tools.reporter.planned(PlannedWork("removing", "removal", len(removal.snapshots) + removal.objects))
        with open_run(replace(run, parameters=request.parameters()), tools) as opened:
            tally = Tally()
            verdicts = stack.enter_context(closing(remove(vault, removal, index, tools.cancel)))
            portions = drawn(verdicts, "prune")
            run_portions(portions, "prune", vault, opened, tally, workers=1)
            opened.outcomes.append(Pruned(tally, removal.kept))
    return opened


def preview(request: PruningRequest, history: History, cancel: CancelToken) -> Removal:
    """What would be removed; nothing is.

    Raises:
        CryptoError: what would be refused.
    """
    vault = open_vault(request.vault, request.key.secret())
    with reading(vault.root, cancel), ObjectIndex() as index:
        return _plan(vault, request.policy, index, history, cancel)


def _plan(vault: Vault, policy: Policy, index: ObjectIndex, history: History, cancel: CancelToken) -> Removal:
    """Of a vault that was set back nothing is removed: what its newest snapshot needs is still there, perhaps."""
    hint = "nothing is removed; put it back from a copy, or go on without it: threadmill encrypt"
    need_latest(vault, newest_snapshot(vault), history, hint)
    return plan_removal(vault, policy, index, cancel)
