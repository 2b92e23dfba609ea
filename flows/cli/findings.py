"""`threadmill history speedup|race`, and the findings of a run after it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from db.rows import SampleRow
from flows.analysis.findings import by_interpreter, race_findings, speedup_findings
from flows.analysis.sentences import race_sentences, speedup_sentences
from flows.cli.history import open_history, print_rows, say_if_empty
from flows.cli.options import (
    ALL_MACHINES,
    ALL_UPDATES,
    ALL_WORKLOADS,
    ANY_TIME,
    FOR_PEOPLE,
    Form,
    Machines,
    Times,
    Updates,
    Workloads,
)
from flows.errors import RequestRefused
from flows.option_types import Whole
from flows.show.finding_tables import RACES, SPEEDUPS, RaceRow, SpeedupRow, race_rows, speedup_rows
from flows.show.terminal import print_table, say
from tasks.axes import Outcome

# For these a time means what it says.
_TIMED = {Outcome.OK, Outcome.LOST, Outcome.NONE_OBSERVED, Outcome.NOT_EXERCISED}


def speedup(
    *,
    workloads: Workloads = ALL_WORKLOADS,
    machines: Machines = ALL_MACHINES,
    run: Whole | None = None,
    times: Times = ANY_TIME,
    limit: Whole = 5,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show the speed-up of each executor, run by run, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history speedup --workload factorize

    Args:
        run: only this run, by its number
        limit: runs at the most
    """
    wanted = workloads.axes()
    groups = _findings("speedup", wanted, machines, run, times, limit)
    rows = [row for samples in groups for row in speedup_rows(samples)]
    rows = [row for row in rows if _is_wanted(row, wanted)]
    return print_rows(rows, SpeedupRow, form, lambda: SPEEDUPS.fill(rows))


def race(
    *,
    updates: Updates = ALL_UPDATES,
    machines: Machines = ALL_MACHINES,
    run: Whole | None = None,
    times: Times = ANY_TIME,
    limit: Whole = 5,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show which updates were lost, and what a guard costs.

    Runs are shown one by one, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history race --shape augmented

    Args:
        run: only this run, by its number
        limit: runs at the most
    """
    wanted = updates.axes()
    groups = _findings("race", wanted, machines, run, times, limit)
    rows = [row for samples in groups for row in race_rows(samples)]
    rows = [row for row in rows if _is_wanted(row, wanted)]
    return print_rows(rows, RaceRow, form, lambda: RACES.fill(rows))


def _findings(
    experiment: str,
    wanted: Mapping[str, Sequence[str | int]],
    machines: Machines,
    run: int | None,
    times: Times,
    limit: int,
) -> list[list[SampleRow]]:
    """Samples of the newest runs that have such cases: of the whole experiment, and of `ceiling` beside it."""
    since, until = times.span()
    from db.history import SampleFilter

    history = open_history(limit)
    case = {"experiment": [experiment], **wanted}
    which = SampleFilter(case, machines.interpreter, machines.host, since=since, until=until)
    run_ids = [run] if run is not None else history.runs_with(which, limit=limit)
    say_if_empty(history)
    # What a case is held against is not always wanted itself.
    which = SampleFilter({"experiment": [experiment, "ceiling"]}, machines.interpreter, machines.host)
    return [history.samples(replace(which, run_id=run_id), limit=None) for run_id in run_ids]


def _is_wanted(row: SpeedupRow | RaceRow, wanted: Mapping[str, Sequence[str | int]]) -> bool:
    return all(getattr(row, axis) in values for axis, values in wanted.items())


def print_findings(samples: Sequence[SampleRow]) -> None:
    """Both tables and all sentences, from samples of one run."""
    for table in (
        SPEEDUPS.fill(speedup_rows(samples), without=("run",)),
        RACES.fill(race_rows(samples), without=("run",)),
    ):
        if table.rows:
            print_table(table)
    for label, own in by_interpreter(samples).items():
        for sentence in (
            *speedup_sentences(label, speedup_findings(own)).values(),
            *race_sentences(label, race_findings(own)),
        ):
            say(sentence)


def print_pyperf(rows: Sequence[SampleRow]) -> None:
    """Print samples of one case of one interpreter in the form of pyperf."""
    if len({(row.case, row.interpreter.fingerprint) for row in rows}) != 1:
        raise RequestRefused(
            "pyperf's form holds one case of one interpreter: narrow down by --workload, --executor, --interpreter, …"
        )
    print(pyperf_document(rows))


def pyperf_document(rows: Sequence[SampleRow]) -> str:
    """The JSON text (pyperf's format 1.0) that `pyperf stats` and `pyperf compare_to` read, a run for each sample.

    Args:
        rows: of one case and one interpreter, at least one of them; noisy ones are left out, as everywhere.

    Raises:
        RequestRefused: no sample has a time that means anything.
    """
    quiet = [row for row in rows if row.outcome in _TIMED and not row.noisy and row.wall_ns]
    if not quiet:
        raise RequestRefused("pyperf's form needs at least one sample that is not noisy and has a time")
    first = rows[0]
    metadata = {
        # `compare_to` pairs benchmarks by this name.
        "name": first.case,
        "unit": "second",
        "loops": 1,
        "python_version": first.interpreter.label,
        "python_implementation": first.interpreter.implementation,
    }
    return json.dumps({"version": "1.0", "metadata": metadata, "benchmarks": [{"runs": list(map(_pyperf_run, quiet))}]})


def _pyperf_run(row: SampleRow) -> dict[str, object]:
    date = row.started_at.replace(tzinfo=None).isoformat(" ")
    return {"metadata": {"date": date}, "values": [(row.wall_ns or 0) / 1e9]}
