"""The jobs that verify a vault, and that maintain the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter

from db.ledger import LedgerFault
from db.rows import NewRun
from db.words import VERDICT_FAULTS
from flows.errors import RequestRefused
from flows.jobs.arguments import need_vault
from flows.jobs.parameters import Maintain, VerifyVault
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, PlannedWork, Tools, cut, open_run
from flows.jobs.vault import VaultWork, VerdictTally, known_snapshot, record_at_once, run_on_vault
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, parse_age, parse_share, shown_path, size
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import Verdict, VerdictKind, Verdicts
from tasks.vault.locks import reading
from tasks.vault.lookup import open_or_recover, open_place
from tasks.vault.named import NamedObjects
from tasks.vault.vault import Place, Vault
from tasks.vault.verify import check_stored, damaged, inspect

# A step should take about a second, of hashing on one core or of opening files: Prefect costs 25 ms for each.
_STEP_BYTES = 1 << 30
_STEP_FILES = 5_000


@dataclass(frozen=True, slots=True)
class _VerificationPlan:
    """The verdicts of planning, and the number and size of the packs and large objects that are to be read.

    `enough_bytes` is the size of a sample, None for everything.
    """

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
                before = tools.history.damaged(plan.vault.id)
                found = damaged(plan.vault, plan.objects, faulty, before, tools.cancel)
                record_at_once(tuple(found), place, opened, tally)
            opened.outcomes.append(PartOutcome(tally.exit_code, _verified(plan, tally)))
    return opened


def _plan_verification(
    parameters: VerifyVault, settings: Settings, tools: Tools, stack: ExitStack
) -> _VerificationPlan:
    key = KeyFile(settings.key_file) if settings.key_file else None
    vault, fault = open_or_recover(need_vault(settings.vault), key.secret() if key else None)
    stack.enter_context(reading(vault.root, tools.cancel))
    objects = stack.enter_context(NamedObjects(vault))
    found = list(inspect(vault, objects, known_snapshot(tools.history, vault), tools.cancel))
    if fault is not None:
        found = [fault, *(verdict for verdict in found if (verdict.kind, verdict.status) != ("vault", "ok"))]
    if parameters.snapshots_only:
        return _VerificationPlan(vault, key, objects, tuple(found), 0, 0, None)
    objects.list_stored(tools.history.proven(vault.id) if parameters.sample else ())
    sizes = [length for _, _, length in objects.to_check()]
    enough_bytes = None
    if parameters.sample is not None:
        enough_bytes = parse_share(parameters.sample, sum(sizes))
        sizes = [length for _, _, length in objects.to_check(enough_bytes)]
    return _VerificationPlan(vault, key, objects, tuple(found), len(sizes), sum(sizes), enough_bytes)


def _verifications(plan: _VerificationPlan, place: Place, jobs: int) -> Iterator[VaultWork[Verdicts]]:
    if not plan.count:
        return
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
    objects, _, _ = plan.objects.counts()
    text = f"packs and large objects: {packs + large:,} of {there:,} proven, {proven}; " if plan.count else ""
    text += f"objects that snapshots name: {objects:,}; snapshots: "
    text += f"{tally.counts['snapshot', 'ok']:,} authentic" if plan.key else "not authenticated (no key file)"
    left = tally.counts["file", "leftover"]
    text += f"; leftovers of interrupted runs: {left:,}" if left else ""
    rebuilt = tally.counts["file", "rebuilt"]
    text += f"; packs whose index is missing: {rebuilt:,}" if rebuilt else ""
    # A damaged snapshot may name them.
    faulty = any(kind == "snapshot" and status in VERDICT_FAULTS for kind, status in tally.counts)
    unnamed, unnamed_bytes = plan.objects.unnamed()
    if unnamed and not faulty:
        text += f"; objects that no snapshot names, for prune to remove: {unnamed:,}, {size(unnamed_bytes)}"
    return f"{text}; {tally.message}"


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
