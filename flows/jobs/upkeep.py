"""The jobs that verify and prune a vault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter

from db.history import History
from db.rows import NewRun
from db.words import VERDICT_FAULTS
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.identity import known_snapshot, need_latest, open_known, open_known_or_recover
from flows.jobs.maintain import need_plausible_clock
from flows.jobs.parameters import PruneVault, VerifyVault
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, PlannedWork, Tools, cut, open_run
from flows.jobs.vault import VaultWork, VerdictTally, record_at_once, run_on_vault
from flows.settings import Settings
from flows.text import parse_share, shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import VaultUnwritable, Verdict, VerdictKind, Verdicts, collect, judged
from tasks.vault.locks import alone, pruning, reading, writing
from tasks.vault.lookup import newest_snapshot, open_place
from tasks.vault.named import Member, NamedObjects
from tasks.vault.policy import Policy
from tasks.vault.prune import Copied, Going, Names, Removal, copy_living, going, plan_removal, remove, tidy
from tasks.vault.vault import Place, Vault
from tasks.vault.verify import check_stored, damaged, inspect

# A step should take about a second, of hashing on one core or of opening files: Prefect costs 25 ms for each.
_STEP_BYTES = 1 << 30
_STEP_FILES = 5_000
# Of packs that are copied before it is recorded, as they are now: it takes about a second.
_COPIED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _VerificationPlan:
    """The verdicts of planning; number and size of what is to be read. `enough_bytes` is None without a sample."""

    vault: Vault
    key: KeyFile | None
    objects: NamedObjects
    found: tuple[Verdict, ...]
    count: int
    size_bytes: int
    enough_bytes: int | None


def verification_job(parameters: VerifyVault, settings: Settings) -> Job:
    """The job for these parameters."""
    if parameters.snapshots_only and parameters.sample is not None:
        raise RequestRefused("--sample is of content, and --snapshots leaves all of it out: give one of the two")
    need_vault(settings.vault)
    return partial(verify, parameters, settings)


def verify(parameters: VerifyVault, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Verify a vault; the run, closed. Without a key file, digests are checked, and MACs are not."""
    recorded = {"vault": shown_path(need_vault(settings.vault))} | parameters.recorded()
    recorded["key"] = "key file" if settings.key_file else None
    with ExitStack() as stack:
        plan = tools.runner.plan(lambda: _plan_verification(parameters, settings, tools, stack))
        place = plan.vault.place()
        tools.reporter.planned(PlannedWork("verifying", "file", plan.count, plan.size_bytes))
        with open_run(replace(run, parameters=recorded), tools) as opened:
            tally = VerdictTally()
            record_at_once(plan.found, place, opened, tally)
            faulty: list[str] = []

            def take(done: Verdicts) -> None:
                faulty.extend(one.name for one in done.verdicts if one.is_fault and one.kind == "pack")

            works = _verifications(plan, place, settings.usable_jobs)
            run_on_vault(works, "verify", place, opened, tally, workers=settings.usable_jobs, take=take)
            if plan.count:
                on_record = tools.history.damaged(plan.vault.instance)
                lost = damaged(plan.vault, plan.objects, faulty, on_record, tools.cancel)
                record_at_once(lost, place, opened, tally)
            opened.outcomes.append(PartOutcome(tally.exit_code, _verified(plan, tally), tally.named_faults))
    return opened


def _plan_verification(
    parameters: VerifyVault, settings: Settings, tools: Tools, stack: ExitStack
) -> _VerificationPlan:
    key = KeyFile(settings.key_file) if settings.key_file else None
    secret = key.secret() if key else None
    vault, fault = open_known_or_recover(need_vault(settings.vault), secret, tools.history)
    stack.enter_context(reading(vault.root, tools.cancel))
    objects = stack.enter_context(NamedObjects(vault))
    found = list(inspect(vault, objects, known_snapshot(tools.history, vault), tools.cancel))
    if fault is not None:
        found = [fault, *(verdict for verdict in found if (verdict.kind, verdict.status) != ("vault", "ok"))]
    enough_bytes = None
    if not parameters.snapshots_only:
        objects.list_stored(tools.history.proven(vault.instance) if parameters.sample else ())
    sizes = [length for _, _, length in objects.to_check()]
    if parameters.sample is not None:
        enough_bytes = parse_share(parameters.sample, sum(sizes))
        sizes = [length for _, _, length in objects.to_check(enough_bytes)]
    return _VerificationPlan(vault, key, objects, tuple(found), len(sizes), sum(sizes), enough_bytes)


def _verifications(plan: _VerificationPlan, place: Place, jobs: int) -> Iterator[VaultWork[Verdicts]]:
    # Enough steps for every worker, so that none idles while the last one ends.
    step_bytes = max(1, min(_STEP_BYTES, plan.size_bytes // (4 * jobs)))
    step_files = max(1, min(_STEP_FILES, -(-plan.count // (4 * jobs))))
    things = plan.objects.to_check(plan.enough_bytes)
    for number, some in enumerate(cut(things, itemgetter(2), step_bytes, step_files)):
        name = f"verify batch {number}: {len(some)} packs and large objects"
        names = tuple((kind, name) for kind, name, _ in some)
        yield VaultWork(name, len(some), partial(_check, place, plan.key, names))


def _check(place: Place, key: KeyFile | None, things: Sequence[tuple[VerdictKind, str]], here: Here) -> Verdicts:
    return Verdicts(check_stored(open_place(place, key), things, here.cancel))


def _verified(plan: _VerificationPlan, tally: VerdictTally) -> str:
    """The result in a line: packs, objects and snapshots, then faults."""
    packs, large = tally.counts["pack", "ok"], tally.counts["object", "ok"]
    proven = size(tally.sizes["pack", "ok"] + tally.sizes["object", "ok"])
    there = sum(1 for _ in plan.objects.to_check())
    text = f"packs and large objects: {packs + large:,} of {there:,} proven, {proven}; " if plan.count else ""
    text += f"objects that snapshots name: {plan.objects.counts()[0]:,}; snapshots: "
    text += f"{tally.counts['snapshot', 'ok']:,} authentic" if plan.key else "not authenticated (no key file)"
    left = tally.counts["file", "leftover"]
    text += f"; leftovers of interrupted runs: {left:,}" if left else ""
    rebuilt = tally.counts["file", "rebuilt"]
    text += f"; packs whose index is missing or wrong: {rebuilt:,}" if rebuilt else ""
    # A damaged snapshot may name them.
    faulty = any(kind == "snapshot" and status in VERDICT_FAULTS for kind, status in tally.counts)
    unnamed, unnamed_bytes = plan.objects.unnamed()
    if unnamed and not faulty:
        text += f"; objects that no snapshot names, for prune to remove: {unnamed:,}, {size(unnamed_bytes)}"
    return f"{text}; {tally.message}"


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
            vault = open_known(path, key.secret(), tools.history)
            stack.enter_context(pruning(vault.root, tools.cancel))
            with writing(vault.root, tools.cancel):
                objects = stack.enter_context(NamedObjects(vault, fix=True))
                removal = _plan(vault, policy, parameters, objects, tools.history, tools.cancel)
            return _Pruning(vault.place(), key, objects, removal)

        plan = tools.runner.plan(make)
        removal = plan.removal
        count = len(removal.snapshots) + len(removal.partials) + len(removal.packs) + removal.objects
        count += 2 * len(removal.rewrites + removal.merges)
        tools.reporter.planned(PlannedWork("removing", "file", count))
        with open_run(replace(run, parameters={"vault": shown_path(path)} | parameters.recorded()), tools) as opened:
            tally = VerdictTally()
            _remove_alone(plan, opened, tally)
            # Damage of an object is over when no snapshot names it.
            bad = sorted(tools.history.damaged(plan.place.instance))
            gone = (name for name in bad if not plan.objects.is_named(bytes.fromhex(name)))
            told = (judged("object", name, "removed", "no snapshot names it") for name in gone)
            record_at_once(told, plan.place, opened, tally)
            rewritten = _rewrite(plan, opened, tally)
            opened.outcomes.append(PartOutcome(tally.exit_code, _removed(plan, tally, rewritten), tally.named_faults))
    return opened


def _prunable(parameters: PruneVault, settings: Settings) -> tuple[str, KeyFile, Policy]:
    """The vault, its key and the policy; RequestRefused if one is not set, or if the policy would keep nothing."""
    policy = Policy(parameters.keep_last, parameters.keep_daily, parameters.keep_weekly, parameters.keep_monthly)
    vault, key = need_vault(settings.vault), need_key_file(settings.key_file)
    if policy == Policy():
        options = "--keep-last, --keep-daily, --keep-weekly, --keep-monthly"
        raise RequestRefused(f"that would keep nothing; say what to keep: {options}")
    return vault, key, policy


def _rewrite(plan: _Pruning, opened: OpenRun, tally: VerdictTally) -> int:
    """Copy the living objects of packs, then remove these; the number of packs that were rewritten.

    Where the disk is full, packs with dead bytes are rewritten one by one, each of which makes some room.
    """
    removal, rewritten = plan.removal, 0
    waiting, step_bytes = [*removal.rewrites, *removal.merges], _COPIED_BYTES
    while waiting:
        moved, full = _copy(plan, opened, tally, waiting, step_bytes)
        if moved:
            _remove_alone(plan, opened, tally, moved)
        elif full is not None and step_bytes == 1:
            raise full
        rewritten += len(moved)
        waiting = [name for name in removal.rewrites if name in waiting and name not in moved] if full else []
        step_bytes = 1
    return rewritten


def _copy(
    plan: _Pruning, opened: OpenRun, tally: VerdictTally, packs: Sequence[str], step_bytes: int
) -> tuple[dict[str, Names], VaultUnwritable | None]:
    """Copy packs until the disk takes no more; those that may go now, with what replaces each, and that error."""
    done: list[Copied] = []

    def works() -> Iterator[VaultWork[Copied]]:
        for some in cut(packs, plan.objects.length, step_bytes, len(packs)):
            if any(one.full for one in done):
                return
            living = [(name, plan.objects.living_members(name)) for name in some]
            # A verdict on each new pack, and on each damaged object.
            count = 1 + len(some) + sum(len(members) for _, members in living)
            work = partial(_copy_living, plan.place, plan.key, living)
            yield VaultWork(f"copy batch: {len(some)} packs", count, work)

    with writing(plan.place.path, opened.tools.cancel):
        run_on_vault(works(), "prune", plan.place, opened, tally, take=done.append)
    moved = {name: new for one in done for name, new in one.moved.items()}
    return moved, next((one.full for one in done if one.full is not None), None)


def _remove_alone(
    plan: _Pruning, opened: OpenRun, tally: VerdictTally, moved: Mapping[str, Names] | None = None
) -> None:
    """Remove packs that were moved, or without any what no snapshot needs, with all others locked out."""
    with alone(plan.place.path, opened.tools.cancel):
        things = going(open_place(plan.place, plan.key), plan.objects, plan.removal, moved)
        works = (
            VaultWork(f"remove batch: {len(some)} files", len(some), partial(_remove, plan.place, plan.key, some))
            for some in cut(things, lambda _: 1, _STEP_FILES, _STEP_FILES)
        )
        run_on_vault(works, "prune", plan.place, opened, tally)
        plan.objects.forget(name for kind, name, _ in things if kind == "pack")
        tidy(plan.place.path)


def _copy_living(place: Place, key: KeyFile, packs: Sequence[tuple[str, Sequence[Member]]], here: Here) -> Copied:
    return copy_living(open_place(place, key), packs, here.cancel)


def _remove(place: Place, key: KeyFile, things: Sequence[Going], here: Here) -> Verdicts:
    return collect(remove(open_place(place, key), things, here.cancel))


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
    vault = open_known(path, key.secret(), history)
    with reading(vault.root, cancel), NamedObjects(vault) as objects:
        return _plan(vault, policy, parameters, objects, history, cancel)


def _plan(
    vault: Vault, policy: Policy, parameters: PruneVault, objects: NamedObjects, history: History, cancel: CancelToken
) -> Removal:
    """Refuse a wrong clock, and a vault that was set back: objects of its lost newest snapshot may still be there."""
    hint = "nothing is removed; put it back from a copy, or go on without it: threadmill encrypt"
    newest = newest_snapshot(vault)
    need_latest(vault, newest, history, hint)
    share, accepted = partial(parse_share, parameters.max_unused), history.accepted(vault.instance)
    removal = plan_removal(vault, policy, share, objects, cancel, accepted)
    if removal.snapshots and newest is not None and not parameters.clock_is_right:
        need_plausible_clock("the newest snapshot", newest.header.created, datetime.now(UTC))
    return removal
