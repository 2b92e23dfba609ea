"""What a run came to, for commands whose answer is a line."""

from __future__ import annotations

from dataclasses import dataclass

from db.history import History
from db.rows import RunRow
from flows.cli.via import Done, exit_code_of
from flows.show.terminal import print_json, say


@dataclass(frozen=True, slots=True)
class Report:
    """What `--json` prints."""

    run: RunRow | None
    message: str


def print_done(history: History, done: Done, *, json: bool) -> int:
    """Print it; the exit code."""
    if json:
        print_json(Report(history.run(done.run_id), done.message))
    else:
        say(f"run {done.run_id}: {done.message}")
    return exit_code_of(history, done.run_id)
