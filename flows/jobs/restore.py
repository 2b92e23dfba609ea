"""The job that restores files from a vault."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, islice

from db.history import History
from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_outside, need_vault
from flows.jobs.identity import NAME_ANOTHER, need_latest, open_known, place_on_record
from flows.jobs.parameters import RestoreFiles
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, PlannedWork, Tools, open_run
from flows.jobs.vault import VaultWork, VerdictTally, run_on_vault
from flows.jobs.vault_state import doubt
from flows.settings import Settings
from flows.text import named, plural, shown_bytes, shown_path
from tasks.crypto.secret import KeyFile
from tasks.files import FolderIdentity
from tasks.vault.index import index_shared
from tasks.vault.locks import reading
from tasks.vault.lookup import LATEST, open_place, others_newest, snapshots_for
from tasks.vault.portions import RestorePlan, RestorePortion, Wanted, shown_alike
from tasks.vault.restore import PortionRestored, restore_portion
from tasks.vault.snapshots import open_snapshot
from tasks.vault.target import locked_target, make_target
from tasks.vault.vault import Place, Vault

# The message of a run is one line.
_OTHERS_NAMED = 3


def restoration_job(parameters: RestoreFiles, settings: Settings) -> Job:
    """The job for these parameters."""
    need_vault(settings.vault)
    need_key_file(settings.key_file)
    return partial(restore, parameters, settings)


def restore(parameters: RestoreFiles, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Bring files back from a vault, each proven before it has its name; the run, closed."""
    vault, key = need_vault(settings.vault), need_key_file(settings.key_file)
    shown = shown_path(parameters.target)
    with ExitStack() as stack:
        place, plan, target, others = tools.runner.plan(lambda: _plan_restore(parameters, vault, key, tools, stack))
        tools.reporter.planned(PlannedWork("restoring", "file", plan.files, plan.size_bytes))
        with open_run(replace(run, parameters={"vault": shown_path(vault)} | parameters.recorded()), tools) as opened:
            tally, done = VerdictTally(), Counter[str]()

            def take(portion: PortionRestored) -> None:
                done.update(restored=portion.restored, same=portion.same, links=portion.links)

            works = (
                VaultWork(
                    f"restore batch {number}",
                    portion.entries,
                    partial(_restore, place, key, portion, target, parameters.overwrite),
                )
                for number, portion in enumerate(plan.portions())
            )
            # One after the other: the portion that leaves a folder sets its mode and time.
            run_on_vault(works, "restore", place_on_record(place, tools.history), opened, tally, take=take)
            text = (
                f"snapshot {plan.snapshot} to {shown}: files restored: {done['restored']:,}, links: {done['links']:,}"
            )
            text += f", there already: {done['same']:,}" if done["same"] else ""
            text += "".join(f"; not in it: {sources} (snapshot {name})" for name, sources in others.items())
            text = "; ".join((text, *_marks(plan)))
            if not plan.totals.counts and plan.snapshot not in tools.history.accepted(place.instance):
                text += f"; {doubt(plan.snapshot, plan.totals)}"
            opened.outcomes.append(PartOutcome(tally.exit_code, f"{text}; {tally.message}", tally.named_faults))
    return opened


def _marks(plan: RestorePlan) -> Iterator[str]:
    """What is to be said of files that are not as they were at the time of the snapshot."""
    if plan.good:
        yield f"of {plural(plan.good, 'file')} the last good content"
    if plan.marked:
        paths = named([f"/{shown_bytes(path)}" for path in plan.marked_paths], plan.marked)
        yield (
            "marked, since they changed while they were read, or could not be read and are older than the snapshot: "
            f"{paths} (see: threadmill snapshots show {plan.snapshot} --marked)"
        )


def _plan_restore(
    parameters: RestoreFiles, path: str, key: KeyFile, tools: Tools, stack: ExitStack
) -> tuple[Place, RestorePlan, FolderIdentity, dict[str, str]]:
    vault = open_known(path, key.secret(), tools.history, copy=True)
    stack.enter_context(reading(vault.root, tools.cancel))
    stack.enter_context(index_shared(vault))
    plan = stack.enter_context(_plan_from(vault, parameters, tools.history))
    need_outside(parameters.target, vault.root)
    target = make_target(parameters.target)
    stack.enter_context(locked_target(target))
    others = others_newest(vault, plan.snapshot, plan.wanted.paths) if parameters.snapshot == LATEST else {}
    some = islice(others.items(), _OTHERS_NAMED)
    shown = {name: ", ".join(map(shown_bytes, sources)) for name, sources in some}
    return vault.place(), plan, target, shown


def _plan_from(vault: Vault, parameters: RestoreFiles, history: History) -> RestorePlan:
    """The plan for the snapshot that is meant: for paths of the latest one, the newest that has them."""
    paths = Wanted.below([os.fsencode(path) for path in parameters.paths]).paths
    missing = ""
    for name in snapshots_for(vault, parameters.snapshot, paths):
        with open_snapshot(vault, name) as opened:
            if parameters.snapshot == LATEST and not missing:
                need_latest(vault, opened.authentic, history, NAME_ANOTHER)
            plan = RestorePlan(opened, Wanted(paths, parameters.last_good))
            odd = [path for path in plan.missing if b"\\" in path]
            if odd and (alike := shown_alike(opened, odd, shown_bytes)):
                plan.close()
                real = *(set(paths) - alike.keys()), *chain(*alike.values())
                plan = RestorePlan(opened, Wanted(real, parameters.last_good))
        if not plan.missing:
            return plan
        plan.close()
        names = ", ".join(f"/{shown_bytes(path)}" for path in plan.missing)
        missing = missing or f"not in snapshot {name}: {names}; see: threadmill snapshots show {name}"
    raise RequestRefused(missing)


def _restore(
    place: Place, key: KeyFile, portion: RestorePortion, target: FolderIdentity, overwrite: bool, here: Here
) -> PortionRestored:
    return restore_portion(open_place(place, key), portion, target, overwrite, here.cancel)
