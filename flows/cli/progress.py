"""Progress of a job on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from flows.cli.output import console
from flows.jobs.plan import Plan
from flows.text import plural, size, visible
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import BatchSummary
from tasks.threads.planning import Plan as Rounds
from tasks.threads.planning import Round
from tasks.threads.samples import Sample

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
            self._bar.update(self._task, description=escape(visible(text)))
        elif not self._quiet:
            self._line(f"{text} …")

    def _line(self, text: str) -> None:
        """One line above the bar; as `Text`, or rich makes pictures of what stands between colons in a name."""
        self._console.print(Text(visible(text)), soft_wrap=True)

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        self._total = plan.total
        if self._bar:
            self._bar.update(self._task, description="encrypting", total=plan.total)
        else:
            self.say(f"encrypting {plural(plan.total, 'payload')}, {size(plan.size_bytes * len(plan.parts))}")

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id

    def batch_done(self, batch: Batch, summary: BatchSummary) -> None:
        """See `Reporter`."""
        del batch
        self._done += summary.payloads
        if self._bar:
            self._bar.advance(self._task, summary.payloads)
        elif time.monotonic() - self._spoke >= _LINE_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{self._done:,} of {plural(self._total, 'payload')}")

    def steps_planned(self, what: str, count: int, size_bytes: int) -> None:
        """See `Reporter`."""
        self._done, self._total = 0, count
        if self._bar:
            self._bar.update(self._task, description=escape(visible(what)), total=count, completed=0)
        else:
            number = f" {count:,}" if count else ""
            self.say(f"{what}{number}" + (f", {size(size_bytes)}" if size_bytes else ""))

    def step_done(self, count: int, size_bytes: int, faults: Sequence[str]) -> None:
        """See `Reporter`. A fault is told at once: verifying may take hours."""
        del size_bytes
        self._done += count
        if not self._quiet:
            for fault in faults:
                self._line(fault)
        if self._bar:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() - self._spoke >= _LINE_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{self._done:,} of {self._total:,}")

    def rounds_planned(self, plan: Rounds) -> None:
        """See `Reporter`."""
        self._done, self._total = 0, sum(len(one.steps) for one in plan.rounds)
        if self._bar:
            self._bar.update(self._task, description="measuring", total=self._total, completed=0)
        else:
            self.say(f"measuring {plural(self._total, 'sample')} in {plural(len(plan.rounds), 'round')}")

    def sample_taken(self, sample: Sample) -> None:
        """See `Reporter`. A noisy sample is taken again, so that there may be more than were planned."""
        self._done += 1
        if self._bar:
            label = f"measuring {sample.case.key}"
            self._bar.update(self._task, completed=self._done, total=max(self._total, self._done), description=label)
        elif time.monotonic() - self._spoke >= _LINE_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{self._done:,} of {plural(self._total, 'sample')}")

    def round_done(self, one: Round, samples: Sequence[Sample]) -> None:
        """See `Reporter`; the samples have been told one by one."""
