"""The jobs that look after a vault and the record: verify, prune, maintain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from operator import itemgetter

from db.history import History
from db.ledger import LedgerFault
from db.rows import NewRun
from db.words import VERDICT_FAULTS
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.parameters import Maintain, PruneVault, VerifyVault
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, PlannedWork, Tools, cut, open_run
from flows.jobs.vault import VaultWork, VerdictTally, known_snapshot, need_latest, record_at_once, run_on_vault
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, parse_age, shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import Verdict, Verdicts, collect
from tasks.vault.index import ObjectIndex
from tasks.vault.locks import alone, reading, sweep
from tasks.vault.lookup import newest_snapshot, open_or_recover, open_place
from tasks.vault.prune import Policy, Removal, plan_removal, remove_objects, remove_snapshots
from tasks.vault.vault import Place, Vault, open_vault
from tasks.vault.verify import check_objects, inspect

# A step should take about a second, of hashing on one core or of opening files: Prefect costs 25 ms for each.
_STEP_BYTES = 1 << 30
_STEP_OBJECTS = 5_000
_STEP_REMOVALS = 5_000


@dataclass(frozen=True, slots=True)
class _VerificationPlan:
    """The verdicts of planning, and the objects of the vault; `count` of them are to be hashed."""

    place: Place
    key: KeyFile | None
    index: ObjectIndex
    found: tuple[Verdict, ...]
    count: int
    size_bytes: int


def verification_job(parameters: VerifyVault, settings: Settings) -> Job:
    """The job for these parameters."""
    if parameters.snapshots_only and parameters.sample is not None:
        raise RequestRefused("--sample is of objects, and --snapshots leaves them all out: give one of the two")
    need_vault(settings.vault)
    return partial(verify, parameters, settings)


def verify(parameters: VerifyVault, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Verify a vault; the run, closed. Without a key file, digests are checked, and MACs are not."""
    recorded = {"vault": shown_path(need_vault(settings.vault))} | parameters.recorded()
    recorded["key"] = "key file" if settings.key_file else None
    with ExitStack() as stack:
        plan = tools.runner.plan(lambda: _plan_verification(parameters, settings, tools, stack))
        tools.reporter.planned(PlannedWork("verifying", "object", plan.count, plan.size_bytes))
        with open_run(replace(run, parameters=recorded), tools) as opened:
            tally = VerdictTally()
            record_at_once(plan.found, plan.place, opened, tally)
            works = _verifications(plan, parameters.sample, settings.usable_jobs)
            run_on_vault(works, "verify", plan.place, opened, tally, workers=settings.usable_jobs)
            opened.outcomes.append(PartOutcome(tally.exit_code, _verified(plan, tally)))
    return opened


def _plan_verification(
    parameters: VerifyVault, settings: Settings, tools: Tools, stack: ExitStack
) -> _VerificationPlan:
    key = KeyFile(settings.key_file) if settings.key_file else None
    vault, fault = open_or_recover(need_vault(settings.vault), key.secret() if key else None)
    stack.enter_context(reading(vault.root, tools.cancel))
    index = stack.enter_context(ObjectIndex())
    found = list(inspect(vault, index, known_snapshot(tools.history, vault), tools.cancel))
    if fault is not None:
        found = [fault, *(verdict for verdict in found if (verdict.kind, verdict.status) != ("vault", "ok"))]
    if parameters.sample is not None:
        index.prove(tools.history.proven(vault.id))
    count, size_bytes = (0, 0) if parameters.snapshots_only else index.counts(parameters.sample)
    return _VerificationPlan(vault.place(), key, index, tuple(found), count, size_bytes)


def _verifications(plan: _VerificationPlan, sample: int | None, jobs: int) -> Iterator[VaultWork[Verdicts]]:
    if not plan.count:
        return
    # Enough steps for every worker, so that none idles while the last one ends.
    step_bytes = max(1, min(_STEP_BYTES, plan.size_bytes // (4 * jobs)))
    step_objects = max(1, min(_STEP_OBJECTS, -(-plan.count // (4 * jobs))))
    for number, objects in enumerate(cut(plan.index.whole(sample), itemgetter(1), step_bytes, step_objects)):
        name = f"verify batch {number}: {len(objects)} objects"
        yield VaultWork(name, len(objects), partial(_check, plan.place, plan.key, objects))


def _check(place: Place, key: KeyFile | None, objects: Sequence[tuple[str, int]], here: Here) -> Verdicts:
    return Verdicts(check_objects(open_place(place, key), objects, here.cancel))


def _verified(plan: _VerificationPlan, tally: VerdictTally) -> str:
    """The result in a line: good objects and snapshots, then faults."""
    objects, _ = plan.index.counts()
    text = f"objects: {tally.counts['object', 'ok']:,} of {objects:,} proven, {size(tally.size_bytes)}; snapshots: "
    text += f"{tally.counts['snapshot', 'ok']:,} authentic" if plan.key else "not authenticated (no key file)"
    left = tally.counts["file", "leftover"]
    text += f"; leftovers of interrupted runs: {left:,}" if left else ""
    # A damaged snapshot may name them.
    damaged = any(kind == "snapshot" and status in VERDICT_FAULTS for kind, status in tally.counts)
    if not damaged and (unnamed := sum(1 for _ in plan.index.unnamed())):
        text += f"; objects that no snapshot names, for prune to remove: {unnamed:,}"
    return f"{text}; {tally.message}"


def pruning_job(parameters: PruneVault, settings: Settings) -> Job:
    """The job for these parameters."""
    _prunable(parameters, settings)
    return partial(prune, parameters, settings)


def prune(parameters: PruneVault, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Remove snapshots that the policy does not keep, and objects that only they named; the run, closed."""
    path, key, policy = _prunable(parameters, settings)
    with ExitStack() as stack:

        def make() -> tuple[Place, ObjectIndex, Removal]:
            vault = open_vault(path, key.secret())
            stack.enter_context(alone(vault.root, tools.cancel))
            index = stack.enter_context(ObjectIndex())
            return vault.place(), index, _plan_prune(vault, policy, index, tools.history, tools.cancel)

        place, index, removal = tools.runner.plan(make)
        tools.reporter.planned(PlannedWork("removing", "file", len(removal.snapshots) + removal.objects))
        with open_run(replace(run, parameters={"vault": shown_path(path)} | parameters.recorded()), tools) as opened:
            tally = VerdictTally()
            run_on_vault(_removals(place, key, removal, index), "prune", place, opened, tally)
            sweep(place.path)
            removed = f"snapshots: {tally.counts['snapshot', 'removed']:,} removed, {removal.kept:,} kept; "
            removed += f"objects: {tally.counts['object', 'removed']:,} removed, {size(tally.size_bytes)}"
            opened.outcomes.append(PartOutcome(0, removed))
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


def _removals(place: Place, key: KeyFile, removal: Removal, index: ObjectIndex) -> Iterator[VaultWork[Verdicts]]:
    """Snapshots come first: no object is removed while a snapshot names it."""
    number = 0
    ways = ((_remove_snapshots, iter([one.name for one in removal.snapshots])), (_remove_objects, index.unnamed()))
    for remove, names in ways:
        while some := tuple(islice(names, _STEP_REMOVALS)):
            yield VaultWork(f"prune batch {number}", len(some), partial(remove, place, key, some))
            number += 1


def _remove_snapshots(place: Place, key: KeyFile, names: tuple[str, ...], here: Here) -> Verdicts:
    del here
    return collect(remove_snapshots(open_place(place, key).root, names))


def _remove_objects(place: Place, key: KeyFile, digests: tuple[str, ...], here: Here) -> Verdicts:
    return collect(remove_objects(open_place(place, key).root, digests, here.cancel))


def preview_prune(parameters: PruneVault, settings: Settings, history: History, cancel: CancelToken) -> Removal:
    """Plan a removal, or refuse it as `prune` does; remove nothing."""
    path, key, policy = _prunable(parameters, settings)
    vault = open_vault(path, key.secret())
    with reading(vault.root, cancel), ObjectIndex() as index:
        return _plan_prune(vault, policy, index, history, cancel)


def _plan_prune(vault: Vault, policy: Policy, index: ObjectIndex, history: History, cancel: CancelToken) -> Removal:
    """Refuse a vault that was set back: objects of its lost newest snapshot may still be there."""
    hint = "nothing is removed; put it back from a copy, or go on without it: threadmill encrypt"
    need_latest(vault, newest_snapshot(vault), history, hint)
    return plan_removal(vault, policy, index, cancel)


def maintenance_job(parameters: Maintain, settings: Settings) -> Job:
    """The job for these parameters; without an age in them, that of THREADMILL_KEEP counts."""
    return partial(maintain, parameters.remove_older_than or settings.keep)


def maintain(keep: str | None, run: NewRun, tools: Tools) -> OpenRun:
    """Roll up days, check the record against the ledger, remove runs that are old enough; the run, closed.

    Days are rolled up before runs are removed, or they would be lost. Runs are checked before they are removed, or
    faults of old runs would go unseen. A run with a fault is removed like any other: the ledger says what was there.
    """
    with open_run(replace(run, parameters=Maintain(remove_older_than=keep).recorded()), tools) as opened:
        days = tools.store.roll_up_days()
        verdict = tools.history.verify()
        removed = tools.store.remove_runs(datetime.now(UTC) - parse_age(keep)) if keep else 0
        tools.store.optimise()
        found = f"runs checked: {verdict.runs:,}, "
        if verdict.faults:
            words = [_in_words(fault) for fault in verdict.faults[:FAULTS_NAMED]]
            found += f"NOT AS SEALED: {named(words, len(verdict.faults))}"
        else:
            found += f"all as they were sealed, head {verdict.head}"
        found += f"; days rolled up: {days:,}" + (f"; runs older than {keep} removed: {removed:,}" if keep else "")
        opened.outcomes.append(PartOutcome(1 if verdict.faults else 0, found))
    return opened


def _in_words(fault: LedgerFault) -> str:
    return fault.what if fault.run_id is None else f"run {fault.run_id} {fault.what}"
