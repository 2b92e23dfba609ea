"""`threadmill report`."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime

from db.history import History, PayloadFilter, SampleFilter
from flows.cli.exits import REFUSED, Exit
from flows.cli.options import point_in_time
from flows.report.page import report_page
from flows.report.plots import why_no_plots
from flows.settings import load_settings


def report(*, since: str | None = None, run: int | None = None, output: str = "threadmill-report.html") -> int:
    """Write one static HTML page about what is on record: tables, plots, and what they allow to say.

    Args:
        since: 7d, 12h, today, 2026-11-22, 2026-11-22T03:00 (default: 30d)
        run: only this run, by its number
        output: file to write
    """
    settings = load_settings()
    history = History(settings.history_url, timeout_s=settings.database_timeout_s)
    begin = None if run is not None else point_in_time(since or "30d")
    if run is None:
        runs = history.runs(limit=1000, since=begin)
    else:
        runs = [found for found in [history.run(run)] if found is not None]
        if not runs:
            raise Exit(REFUSED, f"there is no run {run}; see: threadmill history runs")
    payloads = history.payloads(PayloadFilter(since=begin, run_id=run), limit=100_000)
    samples = history.samples(SampleFilter(since=begin, run_id=run), limit=None)
    page = report_page(runs, payloads, samples, made_at=datetime.now(UTC), where=history.where)
    _write(output, page)
    print(f"wrote {output}" + (f" without plots: {reason}" if (reason := why_no_plots()) else ""))
    return 0


def _write(path: str, page: str) -> None:
    """Under a temporary name first: a report that is there is whole."""
    part = f"{path}.part"
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(page)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part)
        raise Exit(REFUSED, f"{path} cannot be written: {error.strerror}") from None
