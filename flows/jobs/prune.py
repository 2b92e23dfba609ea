"""The job that prunes a vault: it plans and copies beside writers, and is alone only while it removes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from db.history import History
from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.parameters import PruneVault
from flows.jobs.run import Job, OpenRun, PartOutcome, PlannedWork, Tools, cut, open_run
from flows.jobs.vault import VerdictTally, need_latest, record_at_once
from flows.settings import Settings
from flows.text import parse_share, shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import VaultUnwritable, Verdict, judged
from tasks.vault.locks import alone, pruning, reading, writing
from tasks.vault.lookup import newest_snapshot, open_place
from tasks.vault.named import NamedObjects
from tasks.vault.prune import Policy, Removal, copy_living, plan_removal, remove_moved, remove_unneeded
from tasks.vault.vault import Place, Vault, open_vault

# Of packs that are copied before it is recorded, as they are now: it takes about a second.
_STEP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Pruning:
    """A vault that is being pruned, with the objects that its snapshots name."""

    place: Place
    key: KeyFile
    objects: NamedObjects
    removal: Removal


def pruning_job(parameters: PruneVault, settings: Settings) -> Job:
    """The job for these parameters."""
    _prunable(parameters, settings)
    return partial(prune, parameters, settings)


def prune(parameters: PruneVault, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Remove snapshots that the policy does not keep, and what only they needed; the run, closed.

    Packs without a living object go first, so that there is room to rewrite others.
    """
    path, key, policy = _prunable(parameters, settings)
    with ExitStack() as stack:

        def make() -> _Pruning:
            vault = open_vault(path, key.secret())
            stack.enter_context(pruning(vault.root, tools.cancel))
            with writing(vault.root, tools.cancel):
                objects = stack.enter_context(NamedObjects(vault, fix=True))
                removal = _plan(vault, policy, parameters.max_unused, objects, tools.history, tools.cancel)
            return _Pruning(vault.place(), key, objects, removal)

        plan = tools.runner.plan(make)
        removal = plan.removal
        count = len(removal.snapshots) + len(removal.partials) + len(removal.packs) + removal.objects
        count += 2 * (len(removal.rewrites) + len(removal.merges))
        tools.reporter.planned(PlannedWork("removing", "file", count))
        with open_run(replace(run, parameters={"vault": shown_path(path)} | parameters.recorded()), tools) as opened:
            tally = VerdictTally()
            _remove_unneeded(plan, opened, tally)
            rewritten = _rewrite(plan, opened, tally)
            opened.outcomes.append(PartOutcome(tally.exit_code, _removed(plan, tally, rewritten)))
    return opened


def _prunable(parameters: PruneVault, settings: Settings) -> tuple[str, KeyFile, Policy]:
    """The vault, its key and the policy; RequestRefused if one is not set, or if the policy would keep nothing."""
    policy = Policy(parameters.keep_last, parameters.keep_daily, parameters.keep_weekly, parameters.keep_monthly)
    vault, key = need_vault(settings.vault), need_key_file(settings.key_file)
    if policy.keeps_nothing:
        raise RequestRefused(
            "that would keep nothing; say what to keep: --keep-last, --keep-daily, --keep-weekly, --keep-monthly"
        )
    return vault, key, policy


def _remove_unneeded(plan: _Pruning, opened: OpenRun, tally: VerdictTally) -> None:
    """Remove snapshots, and packs and objects that no other snapshot needs."""
    _remove_alone(plan, opened, tally, partial(remove_unneeded, objects=plan.objects, removal=plan.removal))
    # Damage of an object is over when no snapshot names it.
    damaged = sorted(opened.tools.history.damaged(plan.place.vault_id))
    forgotten = (name for name in damaged if not plan.objects.is_named(bytes.fromhex(name)))
    told = (judged("object", name, "removed", "no snapshot names it") for name in forgotten)
    record_at_once(told, plan.place, opened, tally)


def _rewrite(plan: _Pruning, opened: OpenRun, tally: VerdictTally) -> int:
    """Copy the living objects of packs, then remove these; the number of packs that were rewritten.

    Where the disk is full, packs with dead bytes are rewritten one by one, each of which makes some room.
    """
    removal = plan.removal
    waiting = [*removal.rewrites, *removal.merges]
    step_bytes, rewritten = _STEP_BYTES, 0
    while waiting:
        moved, full = _copy(plan, opened, tally, waiting, step_bytes)
        if moved:
            _remove_alone(
                plan, opened, tally, partial(remove_moved, objects=plan.objects, removal=removal, moved=moved)
            )
            rewritten += len(moved)
        if full is None:
            break
        if not moved and step_bytes == 1:
            raise full
        waiting = [name for name in removal.rewrites if name in waiting and name not in moved]
        step_bytes = 1
    return rewritten


def _copy(
    plan: _Pruning, opened: OpenRun, tally: VerdictTally, packs: Sequence[str], step_bytes: int
) -> tuple[dict[str, Sequence[str]], VaultUnwritable | None]:
    """Copy packs until the disk takes no more; those that may go now, with what replaces each, and that error."""
    cancel, moved = opened.tools.cancel, dict[str, Sequence[str]]()
    with writing(plan.place.path, cancel):
        for some in cut(packs, plan.objects.length, step_bytes, len(packs)):
            done = copy_living(open_place(plan.place, plan.key), plan.objects, some, cancel)
            record_at_once(done.verdicts, plan.place, opened, tally, "copy batch")
            moved |= done.moved
            if done.full is not None:
                return moved, done.full
    return moved, None


def _remove_alone(
    plan: _Pruning, opened: OpenRun, tally: VerdictTally, remove: Callable[..., Iterator[Verdict]]
) -> None:
    """Remove what nobody needs by now, with all others locked out."""
    cancel = opened.tools.cancel
    with alone(plan.place.path, cancel):
        gone = remove(open_place(plan.place, plan.key), cancel=cancel)
        record_at_once(gone, plan.place, opened, tally, "remove batch")


def _removed(plan: _Pruning, tally: VerdictTally, rewritten: int) -> str:
    """The result in a line."""
    gone = {kind: tally.counts[kind, "removed"] for kind in ("snapshot", "pack", "object")}
    freed = tally.sizes["pack", "removed"] + tally.sizes["object", "removed"] - tally.sizes["pack", "ok"]
    text = f"snapshots: {gone['snapshot'] - len(plan.removal.partials):,} removed, {plan.removal.kept:,} kept; "
    text += f"packs: {gone['pack'] - rewritten:,} removed, {rewritten:,} rewritten; large objects: {gone['object']:,} "
    text += f"removed; {size(max(0, freed))} freed"
    return f"{text}; {tally.message}" if tally.faulty else text


def preview_prune(parameters: PruneVault, settings: Settings, history: History, cancel: CancelToken) -> Removal:
    """Plan a removal, or refuse it as `prune` does; remove nothing."""
    path, key, policy = _prunable(parameters, settings)
    vault = open_vault(path, key.secret())
    with reading(vault.root, cancel), NamedObjects(vault) as objects:
        return _plan(vault, policy, parameters.max_unused, objects, history, cancel)


def _plan(
    vault: Vault, policy: Policy, max_unused: str, objects: NamedObjects, history: History, cancel: CancelToken
) -> Removal:
    """Refuse a vault that was set back: objects of its lost newest snapshot may still be there."""
    hint = "nothing is removed; put it back from a copy, or go on without it: threadmill encrypt"
    need_latest(vault, newest_snapshot(vault), history, hint)
    return plan_removal(vault, policy, partial(parse_share, max_unused), objects, cancel)
