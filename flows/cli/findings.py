"""`threadmill history samples|speedup|race|ceiling`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from db.rows import SampleRow
from flows.analysis.ceiling import CeilingFinding, ceiling_findings
from flows.analysis.findings import RaceFinding, SpeedupFinding, race_findings, speedup_findings
from flows.cli.history import print_rows, say_if_empty
from flows.cli.options import Axes, Cases, FindingList, SampleList, Updates, Workloads
from flows.errors import RequestRefused
from flows.option_types import Flag
from flows.settings import load_settings
from flows.show.finding_tables import CEILINGS, RACES, SPEEDUPS
from flows.show.table import TableOf
from flows.show.tables import SAMPLES
from tasks.axes import Outcome

Row = TypeVar("Row", SpeedupFinding, RaceFinding, CeilingFinding)
# The outcomes of samples whose time can be used.
_TIMED = {Outcome.OK, Outcome.LOST, Outcome.NONE_OBSERVED, Outcome.NOT_EXERCISED}


def samples(*, cases: Cases = Cases(), which: SampleList = SampleList(), pyperf: Flag = False) -> int:
    """List samples of the experiments, newest first.

    With --run, the samples of one run are listed in their order.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history samples --workload factorize --interpreter 3.13t

    Args:
        pyperf: print the samples of one case as JSON that pyperf stats and pyperf compare_to read
    """
    asked = which.filter(cases.axes())
    history = load_settings().open_history()
    rows = history.samples(asked, limit=which.limit)
    if pyperf:
        say_if_empty(history)
        print(pyperf_document(rows))
        return 0
    return print_rows(history, rows, SampleRow, which, lambda: SAMPLES.fill(rows, without=("expected",)))


def speedup(*, workloads: Workloads = Workloads(), which: FindingList = FindingList()) -> int:
    """Show the speed-up of each executor, run by run, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history speedup --workload factorize
    """
    return _print_findings("speedup", workloads, which, speedup_findings, SpeedupFinding, SPEEDUPS)


def race(*, updates: Updates = Updates(), which: FindingList = FindingList()) -> int:
    """Show which updates were lost, and what a guard costs.

    Runs are shown one by one, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history race --shape augmented
    """
    return _print_findings("race", updates, which, race_findings, RaceFinding, RACES)


def ceiling(*, which: FindingList = FindingList()) -> int:
    """Show what independent processes got out of the host, run by run, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history ceiling --since 30d
    """
    return _print_findings("ceiling", Axes(), which, ceiling_findings, CeilingFinding, CEILINGS)


def _print_findings(
    experiment: str,
    options: Axes,
    which: FindingList,
    rows_of: Callable[[Sequence[SampleRow]], Iterable[Row]],
    row_type: type[Row],
    table: TableOf[Row],
) -> int:
    """Print the findings of the newest runs that have such cases."""
    axes = options.axes()
    asked = which.filter({"experiment": [experiment], **axes})
    history = load_settings().open_history()
    run_ids = [which.run] if which.run is not None else history.runs_with(asked, limit=which.limit)
    # A case that others are compared with need not be asked for itself.
    case = {"experiment": [experiment, "ceiling"]}
    rows: list[Row] = []
    for run_id in run_ids:
        rows += rows_of(history.samples(replace(asked, case=case, since=None, until=None, run_id=run_id), limit=None))
    rows = [row for row in rows if all(getattr(row, axis) in values for axis, values in axes.items())]
    return print_rows(history, rows, row_type, which, lambda: table.fill(rows))


def pyperf_document(rows: Sequence[SampleRow]) -> str:
    """The JSON text (pyperf's format 1.0) that `pyperf stats` and `pyperf compare_to` read, a run for each sample."""
    if len({(row.case, row.interpreter.fingerprint) for row in rows}) != 1:
        raise RequestRefused(
            "pyperf's form holds one case of one interpreter: narrow down by --workload, --executor, --interpreter, …"
        )
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
