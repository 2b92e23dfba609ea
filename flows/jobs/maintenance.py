"""The maintenance job: roll up, check against the ledger, remove what is old enough, optimise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from db.ledger import LedgerCheck, LedgerFault
from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.run import OpenRun, Tools, open_run
from flows.settings import KEEP_FORM
from flows.text import parse_age

# The message is one line; all of them: threadmill history verify.
_FAULTS_NAMED = 5


@dataclass(frozen=True, slots=True)
class MaintenanceRequest:
    """How long to keep runs, as somebody wrote it (`365d`); None keeps them for ever."""

    keep: str | None = None

    def parameters(self) -> dict[str, object]:
        """For the run's row."""
        return {"keep": self.keep}


@dataclass(frozen=True, slots=True)
class Maintained:
    """What maintenance came to."""

    days: int
    removed: int
    keep: str | None
    verdict: LedgerCheck

    @property
    def exit_code(self) -> int:
        """See `Outcome`: 1 if anything is not as it was sealed."""
        return 1 if self.verdict.faults else 0

    @property
    def message(self) -> str:
        """What was found, then what was done."""
        runs = self.verdict.runs
        found = f"runs checked: {runs:,}, all as they were sealed, head {self.verdict.head}"
        if self.verdict.faults:
            found = f"runs checked: {runs:,}, NOT AS SEALED: {_named(self.verdict.faults)}"
        removed = f"; runs older than {self.keep} removed: {self.removed:,}" if self.keep else ""
        return f"{found}; days rolled up: {self.days:,}{removed}"


def maintenance_request(keep: str | None) -> MaintenanceRequest:
    """A request that makes sense.

    Raises:
        RequestRefused: not an age in days or weeks.
    """
    if keep is not None and not re.fullmatch(KEEP_FORM, keep):
        raise RequestRefused(f"{keep!r} is not an age that runs are kept to; write 365d or 52w")
    return MaintenanceRequest(keep)


def maintain(request: MaintenanceRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Look after the record; the run, closed.

    Days are rolled up before anything is removed, or they would be lost; and checked before that, or what is wrong
    with old runs would be gone unseen. Faults do not keep old runs: their removal is in the ledger with what was there.

    Raises:
        RecordError: the record cannot be read or written.
    """
    with open_run(replace(run, parameters=request.parameters()), tools) as opened:
        days = tools.store.roll_up_days()
        verdict = tools.history.verify()
        removed = tools.store.remove_runs(_before(request.keep)) if request.keep else 0
        tools.store.optimise()
        opened.outcomes.append(Maintained(days, removed, request.keep, verdict))
    return opened


def _before(keep: str) -> datetime:
    return datetime.now(UTC) - parse_age(keep)


def _named(faults: Sequence[LedgerFault]) -> str:
    words = [f"run {one.run_id} {one.what}" if one.run_id is not None else one.what for one in faults[:_FAULTS_NAMED]]
    more = f" and {len(faults) - _FAULTS_NAMED:,} more" if len(faults) > _FAULTS_NAMED else ""
    return "; ".join(words) + more
