"""The job that maintains the record, and the check of the clock before anything is removed by age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate, pairwise

from db.host import CLOCKS_DIFFER
from db.rows import NewRun
from db.store import outdated
from flows.errors import RequestRefused
from flows.jobs.parameters import Maintain
from flows.jobs.run import Job, OpenRun, PartOutcome, Tools, open_run
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, parse_age, utc

# A host may well be off for a month.
_AHEAD = timedelta(days=35)
# No record rests for so long, and clocks that lost their time are off by decades.
_LONGEST_REST = timedelta(days=3 * 365)
_TELL = "nothing is removed; if the clock is right now, add --clock-is-right"


def maintenance_job(parameters: Maintain, settings: Settings) -> Job:
    """The job for these parameters; without an age in them, that of THREADMILL_KEEP counts."""
    return partial(maintain, replace(parameters, remove_older_than=parameters.remove_older_than or settings.keep))


def maintain(parameters: Maintain, run: NewRun, tools: Tools) -> OpenRun:
    """Roll up days, check the record against the ledger, remove runs that are old enough; the run, closed.

    Days are rolled up before runs are removed, or they would be lost. Runs are checked before they are removed, or
    faults of old runs would go unseen. A run with a fault is removed like any other: the ledger says what was there.
    """
    keep, now = parameters.remove_older_than, datetime.now(UTC)
    if keep and not parameters.clock_is_right:
        _need_plausible_age(tools.history.begins(), parse_age(keep), now)
    with open_run(replace(run, parameters=parameters.recorded()), tools) as opened:
        days = tools.store.roll_up_days()
        verdict = tools.history.verify()
        removed = tools.store.remove_runs(now - parse_age(keep), by=opened.run_id) if keep else 0
        tools.store.optimise()
        found = f"runs checked: {verdict.runs:,}, "
        if verdict.faults:
            some = verdict.faults[:FAULTS_NAMED]
            words = [one.what if one.run_id is None else f"run {one.run_id} {one.what}" for one in some]
            found += f"NOT AS SEALED: {named(words, len(verdict.faults))}"
        else:
            found += f"all as they were sealed, head {verdict.head}"
        found += f"; days rolled up: {days:,}" + (f"; runs older than {keep} removed: {removed:,}" if keep else "")
        opened.outcomes.append(PartOutcome(1 if verdict.faults else 0, found))
    return opened


def need_plausible_clock(what: str, newest: datetime, now: datetime) -> None:
    """Raises RequestRefused if the clock is behind the newest of something, or far beyond it."""
    if not newest - CLOCKS_DIFFER <= now <= newest + _AHEAD:
        raise RequestRefused(f"the clock says {utc(now)}, and {what} is of {utc(newest)}: {_TELL}")


def _need_plausible_age(begins: Sequence[datetime], oldest: timedelta, now: datetime) -> None:
    """Raises RequestRefused if one jump of the clock may have made runs, in the order of recording, too old."""
    # A run that seems to be of a time before the runs that were recorded before it is not.
    known = list(accumulate((begin for begin in begins if begin <= now + CLOCKS_DIFFER), max))
    gone = outdated(begins, now - oldest, now)

    def aged_since(count: int) -> bool:
        """Whether more would be removed now than when the first so many runs were all."""
        return gone > outdated(known[:count], known[count - 1] - oldest, known[count - 1])

    for count, (begin, following) in enumerate(pairwise(known), 1):
        if following - begin > max(oldest, _LONGEST_REST) and aged_since(count):
            raise RequestRefused(f"a run is of {utc(begin)}, and the next one of {utc(following)}: {_TELL}")
    if begins and (now < begins[-1] or now - begins[-1] > oldest or (known and aged_since(len(known)))):
        need_plausible_clock("the newest run", begins[-1], now)
