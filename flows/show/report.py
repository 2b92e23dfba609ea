"""The report: its sections in their order, about one run, about rows at hand, or about all that happened in a time."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from db.answers import TrendRow
from db.history import History, PayloadFilter, SampleFilter, SeriesFilter
from db.host import HostLimits
from db.rows import PayloadRow, RunRow, SampleRow
from db.words import RUN_FAILURES
from flows.analysis.findings import race_findings, speedup_findings
from flows.analysis.intervals import MIN_PAIRS
from flows.analysis.samples import SURVEY, latest_per_interpreter
from flows.show.encryption_sections import encryption_sections, stages_section, throughput_section
from flows.show.finding_tables import results_of
from flows.show.plots import why_no_plots
from flows.show.race_sections import MEASURED, book_section, race_sections
from flows.show.record_sections import (
    LISTED,
    failures_over_time,
    failures_section,
    look_for_changes,
    vault_run_sections,
    vault_sections,
)
from flows.show.speedup_sections import speedup_sections, speedups_over_time
from flows.show.table import Column, Paragraph, Plot, Section, TableOf
from flows.show.tables import conditions
from flows.text import plural, utc
from tasks.axes import Experiment

TITLE = "threadmill report"
# Shares stay the same when more payloads are read.
_PAYLOADS_READ = 200
# If none of this many newest runs of a series has enough rounds, hardly any older one has.
_RUNS_RANKED = 30
_GOOD = "completed"


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Have the garbage collector look less often: a year's rows and plots are many objects, and all of them stay.

    Collections at the usual pace took a fifth of the time of a report.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def contents(
    runs: Sequence[RunRow],
    payloads: Sequence[PayloadRow],
    samples: Sequence[SampleRow],
    *,
    made_at: datetime,
    where: str = "",
    more: Sequence[Section] = (),
) -> tuple[Section, ...]:
    """All sections, from rows in any order; the same rows and the same `made_at` give the same report.

    Of each interpreter on each host the samples of one run are shown; `runs` tell a survey from others. `more` comes
    after the summary.
    """
    summary = _summary(runs, _covered(runs, payloads, samples), utc(made_at) + (f" from {where}" if where else ""))
    if not (runs or payloads or samples):
        return (summary,)
    return _drawable(
        summary,
        *more,
        *encryption_sections(payloads),
        *(_experiment_sections(samples, runs) if samples else ()),
        failures_section(runs, payloads, samples),
    )


def sections_of_run(
    history: History, run: RunRow, payloads: Sequence[PayloadRow], samples: Sequence[SampleRow], *, made_at: datetime
) -> tuple[Section, ...]:
    """All sections about one run."""
    more = tuple(vault_run_sections(history, run.id))
    return contents([run], payloads, samples, made_at=made_at, where=history.where, more=more)


def over_time(history: History, since: datetime, until: datetime | None, *, made_at: datetime) -> tuple[Section, ...]:
    """All sections about what started from `since` on and before `until`."""
    which = SeriesFilter(since=since, until=until)
    runs = history.runs(limit=None, since=since, until=until)
    days = history.trend(which, limit=None)
    span = f"about what started from {utc(since)} to {utc(until or made_at)}"
    payload_days = [row for row in days if row.series.kind == "encryption"]
    sample_days = [row for row in days if row.series.kind == "sample"]
    text = _on_record(len(runs), sum(map(_rows, payload_days)), sum(map(_rows, sample_days)))
    summary = _summary(runs, text, f"{utc(made_at)} from {history.where}, {span}")
    if not (runs or days):
        return (summary,)
    changes, changes_section = look_for_changes(history, which, days)
    failed_runs = sum(run.status in RUN_FAILURES for run in runs)
    failed_payloads, failed_samples = (sum(row.failed for row in some) for some in (payload_days, sample_days))
    failed = f"Failed in this time: runs {failed_runs:,}, payloads {failed_payloads:,}, samples {failed_samples:,}."
    return _drawable(
        summary,
        *vault_sections(history, runs, since, until, made_at=made_at),
        throughput_section(payload_days, changes),
        stages_section([*_payloads_shown(history, since, until, payload_days)]),
        *speedups_over_time(sample_days),
        changes_section,
        *_experiment_sections(_samples_shown(history, which, runs), runs),
        failures_over_time(history.failures(which, limit=LISTED), failed),
    )


def _drawable(summary: Section, *sections: Section) -> tuple[Section, ...]:
    """All sections; without matplotlib there are no plots in them, and a sentence below the summary says so."""
    missing = why_no_plots()
    if missing is None:
        return (summary, *sections)
    bare = [
        replace(one, blocks=tuple(block for block in one.blocks if not isinstance(block, Plot))) for one in sections
    ]
    said = () if bare == [*sections] else (Section("Plots", (Paragraph(missing),)),)
    return (summary, *said, *bare)


def _rows(row: TrendRow) -> int:
    return row.n + row.failed + row.noisy


def _payloads_shown(
    history: History, since: datetime, until: datetime | None, days: Sequence[TrendRow]
) -> Iterator[PayloadRow]:
    """The newest of each suite and backend."""
    chains = {(row.series.suite or "", row.series.backend or "") for row in days}
    for suite, backend in sorted(chains):
        yield from history.payloads(
            PayloadFilter(since=since, until=until, suites=(suite,), backends=(backend,)), limit=_PAYLOADS_READ
        )


def _samples_shown(history: History, which: SeriesFilter, runs: Sequence[RunRow]) -> list[SampleRow]:
    """All samples of the runs that `latest_per_interpreter` would choose from all runs, and of few others.

    The run that it chooses for an interpreter is the best run of the series with the most rounds.
    """
    known = {run.id: run for run in runs}
    best: dict[int, tuple[bool, bool, int]] = {}
    for row in history.trend(which, by="run", limit=_RUNS_RANKED):
        run = known.get(row.run_id or 0)
        if row.series.kind == "sample" and run is not None:
            rank = (run.flow != SURVEY, _rows(row) >= MIN_PAIRS, run.id)
            series_id = row.series.series_id
            best[series_id] = max(best.get(series_id, rank), rank)
    shown = sorted({run_id for *_, run_id in best.values()})
    return [row for run_id in shown for row in history.samples(SampleFilter(run_id=run_id), limit=None)]


def _experiment_sections(samples: Sequence[SampleRow], runs: Sequence[RunRow]) -> Iterator[Section]:
    """The newest measurement of each interpreter, and the runs that it comes from."""
    speedups = results_of(latest_per_interpreter(samples, Experiment.SPEEDUP, runs), speedup_findings)
    races = results_of(latest_per_interpreter(samples, Experiment.RACE, runs), race_findings)
    if not (speedups or races):
        yield Section("Experiments", (Paragraph(_NOTHING_MEASURED),))
        return
    yield from speedup_sections(speedups)
    yield from race_sections(races)
    yield book_section(speedups, races)
    shown = [*(one.measured for one in speedups), *(one.measured for one in races)]
    yield Section("What the experiments' figures come from", (MEASURED.fill(shown),), level=3)


def _summary(runs: Sequence[RunRow], text: str | None, made: str) -> Section:
    """The `text` and a table of the runs; without a text, the commands that record something."""
    if text is None:
        return Section("Summary", (Paragraph(f"Made {made}. {_EMPTY}"),))
    groups: dict[tuple[str, ...], list[RunRow]] = defaultdict(list)
    for run in runs:
        groups[run.flow, run.host, str(HostLimits(run.usable_cpus, run.quota_cpus, run.smt))].append(run)
    table = (RUN_SUMS.fill(groups[key] for key in sorted(groups)),) if groups else ()
    return Section("Summary", (Paragraph(f"Made {made}{text}"), *table))


def _covered(runs: Sequence[RunRow], payloads: Sequence[PayloadRow], samples: Sequence[SampleRow]) -> str | None:
    """Counts, times and hosts; None for nothing."""
    rows: list[RunRow | PayloadRow | SampleRow] = [*runs, *payloads, *samples]
    if not rows:
        return None
    hosts = sorted({run.host for run in runs} | {sample.host for sample in samples})
    times = [row.started_at for row in rows]
    covers = ", ".join((plural(len(runs), "run"), plural(len(payloads), "payload"), plural(len(samples), "sample")))
    return f". It covers {covers}, from {utc(min(times))} to {utc(max(times))}, on {', '.join(hosts) or 'no host'}."


def _on_record(runs: int, payloads: int, samples: int) -> str | None:
    """Counts over a time, payloads and samples of removed runs included; None for nothing."""
    if not (runs or payloads or samples):
        return None
    return (
        f". On record are {plural(runs, 'run')}. Summed up, with what was removed since, are "
        f"{plural(payloads, 'payload')} and {plural(samples, 'sample')}; those that were skipped are not counted."
    )


def _last(own: Sequence[RunRow]) -> RunRow:
    return max(own, key=lambda run: run.id)


# All runs of a flow on a host under the same limits.
RUN_SUMS: TableOf[Sequence[RunRow]] = TableOf(
    "Runs",
    Column("flow", lambda own: own[0].flow),
    Column("host", lambda own: own[0].host),
    Column("runs", len, right=True),
    Column("completed", lambda own: sum(run.status == _GOOD for run in own), right=True),
    Column("others", lambda own: sum(run.status != _GOOD for run in own), right=True),
    Column("first started", lambda own: min(run.started_at for run in own)),
    Column("last started", lambda own: _last(own).started_at),
    Column("last code version", lambda own: _last(own).code_version),
    Column("the host then", lambda own: conditions(_last(own))),
)


_NOTHING_MEASURED = "Nothing is measured yet: `threadmill experiment all --quick`, with `--python all` everywhere."
_EMPTY = (
    "Nothing is recorded yet. `threadmill survey` runs the whole chapter in about a minute, `threadmill encrypt PATH` "
    "encrypts and fingerprints files, `threadmill experiment all --quick` measures threads, races and locks."
)
