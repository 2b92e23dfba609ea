"""Opening the record for a command that reads."""

from __future__ import annotations

from db.history import History
from flows.cli.output import say
from flows.errors import RequestRefused
from flows.settings import load_settings


def open_history(limit: int | None) -> History:
    """The record of this process's settings; raises RequestRefused for a limit under 1."""
    if limit is not None and limit < 1:
        raise RequestRefused("--limit is at least 1")
    settings = load_settings()
    return settings.open_history()


def say_if_empty(history: History) -> None:
    """Hint at the first run on standard error, if there was none yet."""
    if history.empty:
        say(_empty(history), error=True)


def need_runs(history: History) -> None:
    """Raises RequestRefused if nothing is recorded yet."""
    if history.empty:
        raise RequestRefused(_empty(history))


def _empty(history: History) -> str:
    return f"nothing is recorded in {history.where} yet; try: threadmill survey"
