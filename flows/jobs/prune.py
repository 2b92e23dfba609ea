"""The job that prunes a vault: it plans and copies beside writers, and is alone only while it removes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from db.history import History
from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.parameters import PruneVault
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, PlannedWork, Tools, cut, open_run
from flows.jobs.vault import VaultWork, VerdictTally, need_latest, record_at_once, run_on_vault
from flows.settings import Settings
from flows.text import parse_share, shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import VaultUnwritable, Verdicts, collect, judged
from tasks.vault.format import OBJECTS, PACKS
from tasks.vault.locks import alone, pruning, reading, sweep, writing
from tasks.vault.lookup import newest_snapshot, open_place
from tasks.vault.named import NamedObjects
from tasks.vault.packs import RECORD
from tasks.vault.prune import (
    Copied,
    Policy,
    Removal,
    copy_living,
    late_objects,
    plan_removal,
    remove_snapshots,
    remove_stored,
    sweep_index,
)
from tasks.vault.vault import Place, Vault, open_vault

_STEP_REMOVALS = 5_000
# Of packs that are copied in a step, as they are now: it takes about a second.
_STEP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Pruning:
    """A vault that is being pruned, with the objects that its snapshots name."""

    vault: Vault
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
            return _Pruning(vault, vault.place(), key, objects, removal)

        plan = tools.runner.plan(make)
        removal = plan.removal
        count = len(removal.snapshots) + len(removal.partials) + len(removal.packs) + removal.objects
        tools.reporter.planned(PlannedWork("removing", "file", count + 2 * len(removal.rewrites)))
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
    removal, objects = plan.removal, plan.objects
    large = [digest.hex() for digest, _ in objects.unnamed_large()]
    before = [bytes.fromhex(name) for name in sorted(opened.tools.history.damaged(plan.vault.id).difference(large))]
    # Damage of an object is over when no snapshot names it.
    forgotten = [
        judged("object", name.hex(), "removed", "no snapshot names it") for name in before if not objects.is_named(name)
    ]
    names = [*(one.name for one in removal.snapshots), *removal.partials]
    _remove_alone(plan, opened, tally, dict.fromkeys(removal.packs, ()), large, names)
    record_at_once(forgotten, plan.place, opened, tally)


def _rewrite(plan: _Pruning, opened: OpenRun, tally: VerdictTally) -> int:
    """Copy the living objects of packs, then remove these; the number of packs that were rewritten.

    Where the disk is full, packs are rewritten one by one, each of which makes some room.
    """
    waiting = list(plan.removal.rewrites)
    step_bytes, rewritten = _STEP_BYTES, 0
    while waiting:
        moved: dict[str, Sequence[str]] = {}
        with writing(plan.vault.root, opened.tools.cancel):
            full = _copy(plan, opened, tally, waiting, step_bytes, moved)
        if moved:
            _remove_alone(plan, opened, tally, moved)
            rewritten += len(moved)
        if full is None:
            break
        if not moved and step_bytes == 1:
            raise full
        waiting = [name for name in waiting if name not in moved]
        step_bytes = 1
    return rewritten


def _copy(
    plan: _Pruning,
    opened: OpenRun,
    tally: VerdictTally,
    packs: Sequence[str],
    step_bytes: int,
    moved: dict[str, Sequence[str]],
) -> VaultUnwritable | None:
    """Copy packs until the disk takes no more: its error. Those whose living objects are elsewhere go into `moved`."""
    full: VaultUnwritable | None = None

    def take(done: Copied) -> None:
        nonlocal full
        moved.update(done.moved)
        full = full or done.full

    def works() -> Iterator[VaultWork[Copied]]:
        living = ((name, plan.objects.living_records(name)) for name in packs)
        for some in cut(living, lambda one: plan.objects.length(one[0]), step_bytes, len(packs)):
            # A verdict on each new pack, and on each damaged object.
            count = 1 + len(some) + sum(len(records) // RECORD.size for _, records in some)
            yield VaultWork(f"copy batch: {len(some)} packs", count, partial(_copy_living, plan.place, plan.key, some))
            if full is not None:
                return

    run_on_vault(works(), "prune", plan.place, opened, tally, take=take)
    return full


def _remove_alone(
    plan: _Pruning,
    opened: OpenRun,
    tally: VerdictTally,
    packs: Mapping[str, Sequence[str]],
    large: Sequence[str] = (),
    snapshots: Sequence[str] = (),
) -> None:
    """Remove snapshots, then packs, each with those that replace it, and large objects that nobody needs by now."""
    root, objects = plan.vault.root, plan.objects
    with alone(root, opened.tools.cancel):
        late = late_objects(plan.vault, objects, plan.removal.read)
        needed = {location.pack for digest in late for location in objects.find(digest)}
        going = {name: successors for name, successors in packs.items() if name not in needed}
        alone_large = ((name, ()) for name in large if bytes.fromhex(name) not in late)
        ways = (
            (_remove_snapshots, iter(snapshots)),
            (partial(_remove_stored, PACKS), iter(going.items())),
            (partial(_remove_stored, OBJECTS), alone_large),
        )
        run_on_vault(_removals(plan, ways), "prune", plan.place, opened, tally)
        sweep(root)
        sweep_index(root)
    objects.forget(going)


def _removals(
    plan: _Pruning, ways: Iterable[tuple[Callable[..., Verdicts], Iterator[object]]]
) -> Iterator[VaultWork[Verdicts]]:
    for remove, things in ways:
        while some := tuple(islice(things, _STEP_REMOVALS)):
            yield VaultWork(f"remove batch: {len(some)} files", len(some), partial(remove, plan.place, plan.key, some))


def _remove_snapshots(place: Place, key: KeyFile, names: Sequence[str], here: Here) -> Verdicts:
    del here
    return collect(remove_snapshots(open_place(place, key).root, names))


def _remove_stored(
    kind: str, place: Place, key: KeyFile, things: Sequence[tuple[str, Sequence[str]]], here: Here
) -> Verdicts:
    return collect(remove_stored(open_place(place, key).root, kind, things, here.cancel))


def _copy_living(place: Place, key: KeyFile, packs: Sequence[tuple[str, bytes]], here: Here) -> Copied:
    return copy_living(open_place(place, key), packs, here.cancel)


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
