"""The report's sections in their order: the same for the page and for markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from db.rows import PayloadRow, RunRow, SampleRow
from flows.report.blocks import Paragraph, Plot, Section
from flows.report.book import book_section
from flows.report.encryption import encryption_section
from flows.report.failures import failures_section
from flows.report.latest import latest_per_interpreter
from flows.report.plots import why_no_plots
from flows.report.races import race_results, race_sections
from flows.report.speedups import speedup_results, speedup_sections
from flows.report.summary import measured_section, summary_section
from tasks.axes import Experiment

TITLE = "threadmill report"


def contents(
    runs: Sequence[RunRow],
    payloads: Sequence[PayloadRow],
    samples: Sequence[SampleRow],
    *,
    made_at: datetime,
    where: str = "",
    one_run: bool = False,
    more: Sequence[Section] = (),
) -> tuple[Section, ...]:
    """All sections, from plain rows in any order; see `page.report_page` for the arguments.

    With `one_run`, what the run did not do is left out, rather than said how to do. `more` follows the summary.
    """
    sections = [summary_section(runs, payloads, samples, made_at, where)]
    if not (runs or payloads or samples):
        return tuple(sections)
    return (
        *sections,
        *more,
        *((encryption_section(payloads),) if payloads or not one_run else ()),
        *(experiment_sections(samples, runs) if samples or not one_run else ()),
        failures_section(runs, payloads, samples),
    )


def experiment_sections(samples: Sequence[SampleRow], runs: Sequence[RunRow]) -> Iterator[Section]:
    """What the newest measurement of each interpreter says, and from which runs it comes."""
    speedups = speedup_results(latest_per_interpreter(samples, Experiment.SPEEDUP, runs))
    races = race_results(latest_per_interpreter(samples, Experiment.RACE, runs))
    if not (speedups or races):
        yield Section("Experiments", (Paragraph(_NOTHING_MEASURED),))
        return
    sections = [*speedup_sections(speedups), *race_sections(races)]
    missing = why_no_plots()
    if missing:
        yield Section("Plots", (Paragraph(missing),))
        sections = [without_plots(section) for section in sections]
    yield from sections
    yield book_section(speedups, races)
    shown = [(Experiment.SPEEDUP, one.measured) for one in speedups]
    shown += [(Experiment.RACE, one.measured) for one in races]
    yield measured_section(shown)


def without_plots(section: Section) -> Section:
    """The section's tables and prose."""
    return replace(section, blocks=tuple(block for block in section.blocks if not isinstance(block, Plot)))


_NOTHING_MEASURED = "Nothing is measured yet: `threadmill experiment all --quick`, with `--python all` everywhere."
