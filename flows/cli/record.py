"""Opening the record for a command that reads."""

from __future__ import annotations

from datetime import datetime

from db.history import History
from flows.cli.options import point_in_time
from flows.cli.output import say
from flows.jobs.names import RequestRefused
from flows.settings import load_settings


def open_history(limit: int | None) -> History:
    """The record of this process's settings; raises RequestRefused for a limit under 1."""
    if limit is not None and limit < 1:
        raise RequestRefused("--limit is at least 1")
    settings = load_settings()
    return settings.open_history()


def say_if_empty(history: History) -> None:
    """A hint on standard error, for whoever asks before the first run."""
    if history.empty:
        say(f"nothing is recorded in {history.where} yet; try: threadmill survey", error=True)


def time_or_none(text: str | None) -> datetime | None:
    """See `point_in_time`."""
    return None if text is None else point_in_time(text)
