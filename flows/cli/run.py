"""Run a job for a command, as a Prefect flow run or directly in this process (`--via`): its progress and its result."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from types import TracebackType
from typing import TYPE_CHECKING, Self

from db.errors import RecordError, RunClosed, ThreadmillError
from db.history import History, SnapshotFilter
from db.rows import NewRun, RunRow
from db.words import PAYLOAD_FAILURES, UNREADABLE_CAUSES, VERDICT_FAULTS
from flows import code_version
from flows.errors import CommandFailed, RequestRefused
from flows.jobs.arguments import JobParameters
from flows.jobs.run import LISTENER, DirectRunner, Job, MoreDone, PlannedWork, Tools, told
from flows.settings import Settings, in_force
from flows.show.terminal import complain, conclude, print_json, verbosity
from flows.text import plural, size, visible
from tasks.cancel import CancelToken

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from rich.progress import Progress

_LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """A closed run: its number, and its result in a line, which is recorded nowhere for a run that completed.

    The line of a run in this process does not name the faults, which the reporter has told.
    """

    run_id: int
    message: str
    unrecorded: int | None = None
    """The exit code of a run that could not be recorded, or not wholly."""


def run_job(flow: str, parameters: JobParameters, job: Job, settings: Settings, via: str | None) -> Done:
    """Run a job in this process, or as a run of its flow, which `module:function` names.

    The parameters are checked. The job is the one that they and the settings make: it is made, or refused, before
    anything is started. Where `via` says nothing, Prefect runs it if the user has set up a server.
    """
    progress = ProgressReporter()
    if via == "prefect" or (via is None and os.environ.get("PREFECT_API_URL")):
        return _run_by_prefect(flow, parameters, settings, progress)
    return _run_directly(flow.partition(":")[2], parameters, job, settings, progress)


def _run_directly(
    name: str, parameters: JobParameters, job: Job, settings: Settings, progress: ProgressReporter
) -> Done:
    store = settings.open_store() if parameters.must_write else settings.open_lenient_store()
    history = settings.open_history() if parameters.must_read else settings.open_lenient_history()

    def error() -> RecordError | None:
        return getattr(history, "error", None) or getattr(store, "error", None)

    try:
        with progress, closing(DirectRunner(settings.usable_jobs)) as runner:
            tools = Tools(store, history, runner, progress, CancelToken())
            opened = job(NewRun(name, "direct", {}, code_version()), tools)
            code = opened.exit_code or int(isinstance(error(), RunClosed))
            return Done(opened.run_id, opened.summary, code if error() else None)
    except ThreadmillError as ended:
        if progress.run_id is None:
            raise
        # The run had begun, so this is no refusal.
        raise CommandFailed(str(ended)) from ended
    finally:
        if progress.run_id is not None and (fault := error()) is not None:
            unread = ", and a vault that was set back would not be noticed" if getattr(history, "error", None) else ""
            complain(f"this run is not on record{unread}: {fault}")


def _run_by_prefect(flow: str, parameters: JobParameters, settings: Settings, progress: ProgressReporter) -> Done:
    """Call the flow in this process, on the server that the user has set or on one of our own."""
    module, _, name = flow.partition(":")
    with progress, in_force(settings):
        _prepare_prefect(settings, progress)
        listening = LISTENER.set(progress)
        try:
            # Only now: importing Prefect costs more than a second, and its settings are read then.
            call: Callable[..., State[None]] = getattr(importlib.import_module(module), name)
            state = call(
                **{field.name: getattr(parameters, field.name) for field in fields(parameters)}, return_state=True
            )
        finally:
            LISTENER.reset(listening)
    if progress.run_id is None:
        raise RequestRefused(state.message or "the flow run was refused")
    if state.type.value not in ("COMPLETED", "FAILED"):
        raise CommandFailed(f"the flow run ended {state.name}: {state.message or ''}")
    return Done(progress.run_id, state.message or "")


def exit_code_of(history: History, run_id: int) -> int:
    """The exit code of a run, from its rows.

    1 something failed, 3 a source was unreadable, unstable or has lost files, 0 done.
    """
    counts = history.counts(run_id)
    not_read = [count for count in counts if count.status in ("failed", "carried-over")]
    if history.failed_samples(run_id) or any(count.cause not in UNREADABLE_CAUSES for count in not_read):
        return 1
    if any(found.status in VERDICT_FAULTS for found in history.verdict_counts(run_id)):
        return 1
    if any(count.status in PAYLOAD_FAILURES for count in counts):
        return 3
    if any(not row.counts for row in history.snapshots(SnapshotFilter(run_id=run_id))):
        return 3
    run = history.run(run_id)
    return 0 if run is not None and run.status == "completed" else 1


def _prepare_prefect(settings: Settings, progress: ProgressReporter) -> None:
    """Put Prefect's settings in place before it is imported, and check the server if one is set."""
    from flows.serving import server
    from flows.serving.api import Api
    from flows.serving.serve import start_embedded

    server.stand_aside(settings.home)
    # The flow's state is reported by the command itself; a fault in the flow's code comes as an exception.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if server.wait_for_server(settings.home, progress.say):
        server.check(Api(os.environ))
        return
    progress.say("starting Prefect's embedded server (about 10 s)")
    start_embedded(settings.home)


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """The answer of a command whose result is a line, as `--json` prints it."""

    run: RunRow | None
    message: str


def run_and_print(
    flow: str, parameters: JobParameters, job: Job, settings: Settings, via: str | None, *, json: bool
) -> int:
    """Run a job whose result is a line, and print the line; the exit code."""
    done = run_job(flow, parameters, job, settings, via)
    row, code = None, done.unrecorded
    if code is None:
        history = settings.open_history()
        row, code = history.run(done.run_id), exit_code_of(history, done.run_id)
    if json:
        print_json(RunAnswer(row, done.message))
    if code or not json:
        conclude(done.message if row is None else f"run {done.run_id}: {done.message}", code)
    return code


class ProgressReporter:
    """A `Reporter` for the command line; `run_id` is set once the run has its row.

    Faults are always told. Progress is a bar on a terminal, and lines elsewhere if the user asks for them.
    """

    def __init__(self) -> None:
        self.run_id: int | None = None
        # Kept, since the threads of steps know nothing of them.
        self._lines, self._quiet = verbosity().progress, verbosity().quiet
        self._work = PlannedWork("working", "step", 0)
        self._done = self._faults = 0
        self._spoke = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not self._quiet:
            self._bar = _new_bar()
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
        """Show a text before there is anything to count."""
        if self._bar:
            self._bar.update(self._task, description=visible(text))
        elif self._lines:
            self._line(f"{text} …")

    def _line(self, text: str) -> None:
        """One line, above the bar; without emoji, or rich makes pictures of what stands between colons in a name."""
        if self._bar:
            self._bar.console.print(visible(text), markup=False, emoji=False, highlight=False, soft_wrap=True)
        else:
            print(visible(text), file=sys.stderr)

    def planned(self, work: PlannedWork) -> None:
        """See `Reporter`."""
        self._work, self._done = work, 0
        if self._bar:
            self._bar.update(self._task, description=visible(work.verb), total=work.total, completed=0)
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
        if more.notice and not self._quiet:
            self._line(more.notice)
        for line in told(more.faults, self._faults):
            self._line(line)
        self._faults += len(more.faults)
        if self._bar:
            label = f"{self._work.verb} {more.item}".rstrip()
            self._bar.update(self._task, completed=self._done, description=visible(label))
        elif time.monotonic() - self._spoke >= _LINE_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{self._done:,} of {plural(self._work.total, self._work.noun)}")


def _new_bar() -> Progress:
    # Late: a run without a terminal, as at night, starts a twentieth sooner.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
