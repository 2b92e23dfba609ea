"""The restore job: files come back, each proven before it has its name."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.names import need_outside
from flows.jobs.run import OpenRun, PlannedWork, Tools, open_run
from flows.jobs.vaults import NAME_ANOTHER, Tally, drawn, need_latest, run_portions
from flows.text import shown_path
from tasks.crypto.secret import KeyFile
from tasks.vault.locks import reading
from tasks.vault.lookup import LATEST, find_snapshot
from tasks.vault.restore import Restoration, Wanted
from tasks.vault.snapshots import OpenSnapshot, open_snapshot
from tasks.vault.vault import Vault, open_vault


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
    """What came back."""

    snapshot: str
    target: str
    restored: int
    same: int
    links: int
    tally: Tally

    @property
    def exit_code(self) -> int:
        """See `Outcome`."""
        return 1 if self.tally.faulty else 0

    @property
    def message(self) -> str:
        """How much, from where, and what is missing."""
        text = f"snapshot {self.snapshot} to {self.target}: files restored: {self.restored:,}, links: {self.links:,}"
        text += f", there already: {self.same:,}" if self.same else ""
        return f"{text}; {self.tally.message}"


@dataclass(frozen=True, slots=True)
class _Plan:
    vault: Vault
    opened: OpenSnapshot
    wanted: Wanted
    restoration: Restoration
    files: int
    size_bytes: int


def restore(request: RestorationRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Restore from a vault; the run, closed.

    Raises:
        RequestRefused, CryptoError: refused before any work; or, once the run has a row, the target takes no more.
        RecordError: the record cannot be written.
    """
    with ExitStack() as stack:
        plan = tools.runner.plan(lambda: _plan(request, tools, stack))
        tools.reporter.planned(PlannedWork("restoring", "file", plan.files, plan.size_bytes))
        with open_run(replace(run, parameters=request.parameters()), tools) as opened:
            tally = Tally()
            verdicts = stack.enter_context(closing(plan.restoration.restore(plan.opened, plan.wanted)))
            portions = drawn(verdicts, "restore")
            # One after the other: they go along one path through the target's folders.
            run_portions(portions, "restore", plan.vault, opened, tally, workers=1)
            done = plan.restoration
            name = plan.opened.snapshot.name
            target = shown_path(request.target)
            opened.outcomes.append(Restored(name, target, done.restored, done.same, done.links, tally))
    return opened


def _plan(request: RestorationRequest, tools: Tools, stack: ExitStack) -> _Plan:
    vault = open_vault(request.vault, request.key.secret())
    stack.enter_context(reading(vault.root, tools.cancel))
    opened = stack.enter_context(open_snapshot(vault, find_snapshot(vault, request.snapshot)))
    if request.snapshot == LATEST:
        need_latest(vault, opened.snapshot, tools.history, NAME_ANOTHER)
    wanted = Wanted([os.fsencode(path) for path in request.paths])
    missing, files, size_bytes = wanted.missing(opened)
    if missing:
        names = ", ".join("/" + path.decode(errors="backslashreplace") for path in missing)
        name = opened.snapshot.name
        raise RequestRefused(f"not in snapshot {name}: {names}; see: threadmill snapshots show {name}")
    need_outside(request.target, vault.root)
    restoration = Restoration(vault, request.target, overwrite=request.overwrite, cancel=tools.cancel)
    return _Plan(vault, opened, wanted, restoration, files, size_bytes)
