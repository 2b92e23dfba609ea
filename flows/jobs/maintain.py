"""The maintenance job: roll up, check against the ledger, remove what is old enough, optimise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from db.ledger import LedgerCheck, LedgerFault
from db.rows import NewRun
from flows.jobs.parameters import Maintain
from flows.jobs.run import Job, OpenRun, Tools, open_run
from flows.settings import Settings
from flows.text import parse_age

# The message is one line; all of them: threadmill history verify.
_FAULTS_NAMED = 5


@dataclass(frozen=True, slots=True)
class Maintained:
    """The result of maintenance."""

    days: int
    removed: int
    keep: str | None
    verdict: LedgerCheck

    @property
    def exit_code(self) -> int:
        """See `PartOutcome`: 1 if anything is not as it was sealed."""
        return 1 if self.verdict.faults else 0

    @property
    def message(self) -> str:
        """Say what the check found, then what was done."""
        runs = self.verdict.runs
        found = f"runs checked: {runs:,}, all as they were sealed, head {self.verdict.head}"
        if self.verdict.faults:
            found = f"runs checked: {runs:,}, NOT AS SEALED: {_named(self.verdict.faults)}"
        removed = f"; runs older than {self.keep} removed: {self.removed:,}" if self.keep else ""
        return f"{found}; days rolled up: {self.days:,}{removed}"


def maintenance_job(parameters: Maintain, settings: Settings) -> Job:
    """The job for these parameters; THREADMILL_KEEP says how long to keep runs where they do not."""
    return partial(maintain, parameters.remove_older_than or settings.keep)


def maintain(keep: str | None, run: NewRun, tools: Tools) -> OpenRun:
    """Look after the record; the run, closed.

    Days are rolled up before anything is removed, or they would be lost; and checked before that, or what is wrong
    with old runs would be gone unseen. Faults do not keep old runs: their removal is in the ledger with what was there.

    Raises:
        RecordError: the record cannot be read or written.
    """
    with open_run(replace(run, parameters=Maintain(remove_older_than=keep).recorded()), tools) as opened:
        days = tools.store.roll_up_days()
        verdict = tools.history.verify()
        removed = tools.store.remove_runs(_before(keep)) if keep else 0
        tools.store.optimise()
        opened.outcomes.append(Maintained(days, removed, keep, verdict))
    return opened


def _before(keep: str) -> datetime:
    return datetime.now(UTC) - parse_age(keep)


def _named(faults: Sequence[LedgerFault]) -> str:
    words = [f"run {one.run_id} {one.what}" if one.run_id is not None else one.what for one in faults[:_FAULTS_NAMED]]
    more = f" and {len(faults) - _FAULTS_NAMED:,} more" if len(faults) > _FAULTS_NAMED else ""
    return "; ".join(words) + more
