"""Progress of a job on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from flows.cli.output import console
from flows.jobs.plan import Plan
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import Summary

_LINE_EVERY_S = 5.0


class ProgressReporter:
    """A `Reporter` for the command line; `run_id` is set once the run has its row."""

    def __init__(self, *, quiet: bool) -> None:
        self.run_id: int | None = None
        self._console = console(error=True)
        self._quiet = quiet
        self._done = self._total = 0
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
            self._bar.update(self._task, description=text)
        elif not self._quiet:
            self._console.print(f"{text} …", markup=False)

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        self._total = plan.total
        if self._bar:
            self._bar.update(self._task, description="encrypting", total=plan.total)
        else:
            self.say(f"encrypting {plan.total:,} payloads, {plan.size_bytes * len(plan.parts) / 1e6:,.1f} MB")

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id

    def batch_done(self, batch: Batch, summary: Summary) -> None:
        """See `Reporter`."""
        del batch
        self._done += summary.payloads
        if self._bar:
            self._bar.advance(self._task, summary.payloads)
        elif time.monotonic() - self._spoke >= _LINE_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{self._done:,} of {self._total:,} payloads")
