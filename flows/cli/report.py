"""`threadmill report`."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from db.history import History
from flows.cli.options import Whole
from flows.cli.output import say
from flows.cli.selection import ANY_TIME, Times
from flows.errors import RequestRefused
from flows.report.over_time import over_time
from flows.report.page import page_of, report_page
from flows.report.plots import why_no_plots
from flows.report.vault_run import vault_run_sections
from flows.settings import load_settings

_USUAL = timedelta(days=30)
# A year's rows and plots are many objects that stay: looking through them at the usual pace took a fifth of the time.
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def report(
    *,
    when: Times = ANY_TIME,
    run: Whole | None = None,
    output: Annotated[str, Parameter(alias="-o")] = "threadmill-report.html",
) -> int:
    """Write one static HTML page of tables and plots about what is on record.

    Without --since, the page is about the 30 days before --until, or before now.

    Exit codes: 0 written, 2 refused, or the file cannot be written.

    Example: threadmill report --since 7d --output week.html

    Args:
        run: only this run, by its number
        output: file to write
    """
    if run is not None and (when.since or when.until):
        raise RequestRefused("--run is about one run: --since and --until do not go with it")
    since, until = when.span()
    history = load_settings().open_history()
    made_at = datetime.now(UTC)
    with _fewer_collections():
        if run is None:
            page = page_of(over_time(history, since or (until or made_at) - _USUAL, until, made_at=made_at))
        else:
            page = _of_run(history, run, made_at)
    _write(output, page)
    say(f"wrote {output}" + (f" without plots: {reason}" if (reason := why_no_plots()) else ""))
    return 0


@contextmanager
def _fewer_collections() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _of_run(history: History, run_id: int, made_at: datetime) -> str:
    detail = history.detail(run_id)
    if detail is None:
        raise RequestRefused(f"there is no run {run_id}; see: threadmill history runs")
    more = tuple(vault_run_sections(history, run_id))
    # Who looked after a vault did nothing else.
    return report_page(
        [detail.run],
        detail.payloads,
        detail.samples,
        made_at=made_at,
        where=history.where,
        one_run=bool(more),
        more=more,
    )


def _write(path: str, page: str) -> None:
    """Under a temporary name first: a report that is there is whole. A pipe or a device is written to as it is."""
    is_file = os.path.isfile(path) or not os.path.exists(path)
    part = f"{path}.part" if is_file else path
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(page)
        if is_file:
            os.replace(part, path)
    except OSError as error:
        if is_file:
            with suppress(OSError):
                os.unlink(part)
        raise RequestRefused(f"{path} cannot be written: {error.strerror}") from None
