"""The job that maintains the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from db.rows import NewRun
from flows.jobs.parameters import Maintain
from flows.jobs.run import Job, OpenRun, PartOutcome, Tools, open_run
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, parse_age


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
            some = verdict.faults[:FAULTS_NAMED]
            words = [one.what if one.run_id is None else f"run {one.run_id} {one.what}" for one in some]
            found += f"NOT AS SEALED: {named(words, len(verdict.faults))}"
        else:
            found += f"all as they were sealed, head {verdict.head}"
        found += f"; days rolled up: {days:,}" + (f"; runs older than {keep} removed: {removed:,}" if keep else "")
        opened.outcomes.append(PartOutcome(1 if verdict.faults else 0, found))
    return opened
