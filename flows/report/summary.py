"""What the record holds: runs, when and where, and which of them the figures come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from db.rows import PayloadRow, RunRow, SampleRow
from flows.report.blocks import Block, Paragraph, Section, Table, columns
from flows.report.latest import Measured
from flows.text import plural, utc
from tasks.axes import Experiment

_GOOD = "completed"


def summary_section(
    runs: Sequence[RunRow], payloads: Sequence[PayloadRow], samples: Sequence[SampleRow], made_at: datetime, where: str
) -> Section:
    """Counts, times, hosts, and what to run where there is nothing."""
    start = f"Made {utc(made_at)} from {where}. " if where else f"Made {utc(made_at)}. "
    if not (runs or payloads or samples):
        return Section("Summary", (Paragraph(start + _EMPTY),))
    hosts = sorted({run.host for run in runs} | {sample.host for sample in samples})
    times = [run.started_at for run in runs]
    times += [row.started_at for row in payloads]
    times += [row.started_at for row in samples]
    covers = ", ".join((plural(len(runs), "run"), plural(len(payloads), "payload"), plural(len(samples), "sample")))
    text = (
        f"{start}It covers {covers}, from {utc(min(times))} to {utc(max(times))}, on {', '.join(hosts) or 'no host'}."
    )
    return Section("Summary", (Paragraph(text), *_runs(runs)))


def summary_over_time(
    runs: Sequence[RunRow], payloads: int, samples: int, *, span: str, made_at: datetime, where: str
) -> Section:
    """The same over a time; `payloads` and `samples` are counted with those of runs that were removed since."""
    start = f"Made {utc(made_at)} from {where}, {span}. "
    if not (runs or payloads or samples):
        return Section("Summary", (Paragraph(start + _EMPTY),))
    text = (
        f"{start}On record are {plural(len(runs), 'run')}. Summed up, with what was removed since, are "
        f"{plural(payloads, 'payload')} and {plural(samples, 'sample')}; those that were skipped are not counted."
    )
    return Section("Summary", (Paragraph(text), *_runs(runs)))


def measured_section(measured: Sequence[tuple[Experiment, Measured]]) -> Section:
    """Which run each interpreter's figures come from: pairs are of one round, so statistics are of one run."""
    rows = tuple(
        (
            one.label,
            experiment,
            one.host,
            one.run_id,
            utc(one.started_at),
            one.rounds,
            len(one.samples),
            one.noisy,
            f"{plural(one.unknown, 'sample')} of cases that this program does not know" if one.unknown else None,
        )
        for experiment, one in measured
    )
    titles = ("interpreter", "experiment", "host", "#run", "started", "#rounds", "#samples", "#noisy", "remark")
    return Section("What the experiments' figures come from", (Table("Runs shown", columns(*titles), rows),), level=3)


def _runs(runs: Sequence[RunRow]) -> Iterator[Block]:
    if not runs:
        return
    groups: dict[tuple[str, str], list[RunRow]] = defaultdict(list)
    for run in runs:
        groups[run.flow, run.host].append(run)
    yield Table(
        "Runs",
        columns("flow", "host", "#runs", "#completed", "#others", "first started", "last started", "last code version"),
        tuple((*key, *_cells(own)) for key, own in sorted(groups.items())),
    )


def _cells(own: Sequence[RunRow]) -> tuple[int | str, ...]:
    last = max(own, key=lambda run: (run.started_at, run.id))
    good = sum(run.status == _GOOD for run in own)
    first = min(run.started_at for run in own)
    return len(own), good, len(own) - good, utc(first), utc(last.started_at), last.code_version


_EMPTY = (
    "Nothing is recorded yet. `threadmill survey` runs the whole chapter in about a minute, `threadmill encrypt PATH` "
    "encrypts and fingerprints files, `threadmill experiment all --quick` measures threads, races and locks."
)
