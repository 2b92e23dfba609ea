"""An experiment that takes up an interrupted one: rounds that are on record are not measured again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from db.history import History, SampleFilter
from db.host import host_name
from db.rows import RunRow, SampleRow
from flows.errors import RequestRefused
from flows.jobs.parameters import RunExperiments
from tasks.threads.cases import RoundPlan


@dataclass(frozen=True, slots=True)
class Resumed:
    """The parameters of an interrupted run, and what it and the runs that it took up have recorded."""

    parameters: RunExperiments
    samples: tuple[SampleRow, ...]

    def left_of(self, plan: RoundPlan) -> RoundPlan:
        """The rounds that are not on record; RequestRefused if none is left, or if they would not be comparable."""
        known = {one.number for one in plan.rounds} & {sample.round for sample in self.samples}
        found = {fingerprint for one in plan.rounds for fingerprint in one.interpreters}
        if known and found != {sample.interpreter.fingerprint for sample in self.samples}:
            raise RequestRefused(f"run {self.parameters.resume} measured other interpreters than are here now")
        left = tuple(one for one in plan.rounds if one.number not in known)
        if not left:
            raise RequestRefused(f"run {self.parameters.resume} has recorded all of its rounds")
        return replace(plan, rounds=left)


def resumed(asked: RunExperiments, history: History) -> Resumed:
    """What is left to do of a run by its number; RequestRefused if it is no experiment of this host, or goes on."""
    number = asked.resume or 0
    row = history.run(number)
    if row is None or row.flow != "run_experiments":
        raise RequestRefused(f"--resume {number}: there is no such experiment on record; see threadmill history runs")
    if row.host != host_name():
        raise RequestRefused(f"run {number} was measured on {row.host}, and this is {host_name()}")
    if row.status == "running" and number not in history.lost_runs():
        raise RequestRefused(f"run {number} is going on")
    known: dict[str, Any] = {
        field.name: row.parameters[field.name] for field in fields(asked) if field.name in row.parameters
    }
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    known |= {"resume": number, "until_quiet": asked.until_quiet}
    return Resumed(RunExperiments(**known).check(), tuple(samples_of(history, number)))


def samples_of(history: History, run_id: int) -> Iterator[SampleRow]:
    """The samples of a run, and of the interrupted ones that it took up."""
    row: RunRow | None = history.run(run_id)
    while row is not None:
        yield from history.samples(SampleFilter(run_id=row.id), limit=None)
        before = row.parameters.get("resume")
        row = history.run(before) if isinstance(before, int) and before < row.id else None
