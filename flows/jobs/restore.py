"""The restore job: files come back, each proven before it has its name."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_outside, need_vault
from flows.jobs.parameters import RestoreFiles
from flows.jobs.run import Job, OpenRun, PlannedWork, Tools, open_run
from flows.jobs.runner import Here
from flows.jobs.vault import NAME_ANOTHER, VaultWork, VerdictTally, need_latest, run_on_vault
from flows.settings import Settings
from flows.text import shown_path
from tasks.crypto.secret import KeyFile
from tasks.files import FolderIdentity
from tasks.vault.locks import reading
from tasks.vault.lookup import LATEST, find_snapshot, open_place
from tasks.vault.portions import RestorePlan, RestorePortion, Wanted, plan_restore
from tasks.vault.restore import PortionRestored, restore_portion
from tasks.vault.snapshots import open_snapshot
from tasks.vault.target import make_target
from tasks.vault.vault import Place, open_vault


@dataclass(frozen=True, slots=True)
class RestorationRequest:
    """Which snapshot (`latest`, or the beginning of a name) of which vault, into which folder, which paths of it."""

    vault: str
    key: KeyFile
    snapshot: str
    target: str
    paths: tuple[str, ...] = ()
    overwrite: bool = False

    def parameters(self) -> dict[str, object]:
        """For the record."""
        return {
            "vault": shown_path(self.vault),
            "snapshot": self.snapshot,
            "target": shown_path(self.target),
            "paths": [shown_path(path) for path in self.paths],
            "overwrite": self.overwrite,
        }


@dataclass(frozen=True, slots=True)
class Restored:
    """The numbers of restored files and links."""

    snapshot: str
    target: str
    restored: int
    same: int
    links: int
    tally: VerdictTally

    @property
    def exit_code(self) -> int:
        """See `PartOutcome`."""
        return 1 if self.tally.faulty else 0

    @property
    def message(self) -> str:
        """Snapshot, target, numbers and faults."""
        text = f"snapshot {self.snapshot} to {self.target}: files restored: {self.restored:,}, links: {self.links:,}"
        text += f", there already: {self.same:,}" if self.same else ""
        return f"{text}; {self.tally.message}"


def restoration_job(parameters: RestoreFiles, settings: Settings) -> Job:
    """The job for these parameters.

    Raises:
        RequestRefused: no vault or key file is set.
    """
    request = RestorationRequest(
        need_vault(settings.vault),
        need_key_file(settings.key_file),
        parameters.snapshot,
        parameters.target,
        parameters.paths,
        parameters.overwrite,
    )
    return partial(restore, request)


def restore(request: RestorationRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Restore from a vault; the run, closed.

    Raises:
        RequestRefused, CryptoError: refused before any work; or, once the run has a row, the target takes no more.
        RecordError: the record cannot be written.
    """
    with ExitStack() as stack:
        place, snapshot, plan, target = tools.runner.plan(lambda: _plan_restore(request, tools, stack))
        tools.reporter.planned(PlannedWork("restoring", "file", plan.files, plan.size_bytes))
        with open_run(replace(run, parameters=request.parameters()), tools) as opened:
            tally, done = VerdictTally(), Counter[str]()

            def take(portion: PortionRestored) -> None:
                done.update(restored=portion.restored, same=portion.same, links=portion.links)

            works = (
                VaultWork(
                    f"restore batch {number}",
                    portion.entries,
                    partial(_restore, place, request.key, portion, plan.wanted, target, request.overwrite),
                )
                for number, portion in enumerate(plan.portions)
            )
            # One after the other: a folder is settled by the portion that leaves it.
            run_on_vault(works, "restore", place, opened, tally, take=take)
            shown = shown_path(request.target)
            opened.outcomes.append(Restored(snapshot, shown, done["restored"], done["same"], done["links"], tally))
    return opened


def _plan_restore(
    request: RestorationRequest, tools: Tools, stack: ExitStack
) -> tuple[Place, str, RestorePlan, FolderIdentity]:
    vault = open_vault(request.vault, request.key.secret())
    stack.enter_context(reading(vault.root, tools.cancel))
    with open_snapshot(vault, find_snapshot(vault, request.snapshot)) as opened:
        if request.snapshot == LATEST:
            need_latest(vault, opened.snapshot, tools.history, NAME_ANOTHER)
        plan = plan_restore(opened, Wanted.below([os.fsencode(path) for path in request.paths]))
        name = opened.snapshot.name
    if plan.missing:
        names = ", ".join("/" + path.decode(errors="backslashreplace") for path in plan.missing)
        raise RequestRefused(f"not in snapshot {name}: {names}; see: threadmill snapshots show {name}")
    need_outside(request.target, vault.root)
    return vault.place(), name, plan, make_target(request.target)


def _restore(
    place: Place,
    key: KeyFile,
    portion: RestorePortion,
    wanted: Wanted,
    target: FolderIdentity,
    overwrite: bool,
    here: Here,
) -> PortionRestored:
    return restore_portion(open_place(place, key), portion, wanted, target, overwrite, here.cancel)
