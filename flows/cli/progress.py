"""Progress of a job on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from flows.text import plural, size, visible

if TYPE_CHECKING:
    from flows.jobs.run import MoreDone, PlannedWork

_LINE_EVERY_S = 5.0
# A run of which everything fails has enough of them; all are on record.
_FAULTS = 50


class ProgressReporter:
    """A `Reporter` for the command line; `run_id` is set once the run has its row."""

    def __init__(self, *, quiet: bool) -> None:
        from flows.jobs.run import PlannedWork

        self.run_id: int | None = None
        # Of a pipe nobody knows the width.
        width = None if sys.stderr.isatty() else 250
        self._console = Console(stderr=True, width=width, highlight=False)
        self._quiet = quiet
        self._work = PlannedWork("working", "step", 0)
        self._done = self._faults = 0
        self._spoke = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """What is going on, before there is anything to count."""
        if self._bar:
            self._bar.update(self._task, description=escape(visible(text)))
        elif not self._quiet:
            self._line(f"{text} …")

    def _line(self, text: str) -> None:
        """One line above the bar; as `Text`, or rich makes pictures of what stands between colons in a name."""
        self._console.print(Text(visible(text)), soft_wrap=True)

    def planned(self, work: PlannedWork) -> None:
        """See `Reporter`."""
        self._work, self._done = work, 0
        if self._bar:
            self._bar.update(self._task, description=escape(visible(work.verb)), total=work.total, completed=0)
        else:
            number = f" {plural(work.total, work.noun)}" if work.total else ""
            much = f", {size(work.size_bytes)}" if work.size_bytes else ""
            self.say(f"{work.verb}{number}{much}")

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id

    def progressed(self, more: MoreDone) -> None:
        """See `Reporter`. A fault is told at once, because a job may take hours."""
        self._done += more.count
        if not self._quiet:
            for fault in more.faults:
                self._tell(fault)
        if self._bar:
            label = f"{self._work.verb} {more.item}".rstrip()
            self._bar.update(self._task, completed=self._done, description=escape(visible(label)))
        elif time.monotonic() - self._spoke >= _LINE_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{self._done:,} of {plural(self._work.total, self._work.noun)}")

    def _tell(self, fault: str) -> None:
        self._faults += 1
        if self._faults <= _FAULTS:
            self._line(fault)
        if self._faults == _FAULTS:
            self._line("further ones are not listed here; they are recorded like all others")
