"""A job: its steps and the runner that does them, the events that it reports, and the run around it with its row."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from db.errors import RecordUnusable
from db.history import History
from db.rows import NewRun
from db.store import Store
from tasks.cancel import CancelToken

T = TypeVar("T")
Item = TypeVar("Item")
Result_co = TypeVar("Result_co", covariant=True)


def _tell_nobody(_event: object) -> None:
    """Most steps have nothing to tell, and another process has no listener: the result says the same later."""


@dataclass(frozen=True, slots=True)
class Here:
    """The process that runs a step: the token that cancels it, and the listener for what happens within it.

    Pickled, it becomes that of the process that unpickles it, so that it never travels with a step.
    """

    cancel: CancelToken = field(default_factory=CancelToken)
    tell: Callable[[object], None] = _tell_nobody

    def __reduce__(self) -> tuple[type[Here], tuple[()]]:
        return Here, ()


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One piece of work of a job, as a value: it can be pickled and run in any process that sees the same files.

    `kind` is the name of its Prefect task, such as `encrypt-batch`, `name` that of its task run, `recorded_as` that of
    the task run that records it. `work` and `record` are module-level functions or partials of such: one gives the
    result, the other writes it as rows of a run, and adds nothing when it is called again.
    """

    kind: str
    name: str
    recorded_as: str
    work: Callable[[Here], T]
    record: Callable[[Store, int, T], object]


class Pending(Protocol[Result_co]):
    """A step that is being done and recorded."""

    def result(self) -> Result_co:
        """Wait until it is recorded; raises any error of doing or recording it."""

    def add_done_callback(self, fn: Callable[[Any], None], /) -> None:
        """Call `fn` with this when it is recorded, or could not be."""


class Runner(Protocol):
    """Plans, then starts steps; the job bounds how many run at once."""

    def plan(self, make: Callable[[], T]) -> T:
        """Return or raise as `make` does; comes before every step."""

    def start(
        self, step: Step[T], store: Store, run_id: int, here: Here, after: Pending[object] | None = None
    ) -> Pending[T]:
        """Do a step, then record it, without waiting; `after` is an ended step that it follows in the graph."""


class DirectRunner:
    """Threads of this process."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="step")

    def close(self) -> None:
        """Wait until all started steps have ended, and end the threads."""
        self._pool.shutdown()

    def plan(self, make: Callable[[], T]) -> T:
        """See `Runner.plan`."""
        return make()

    def start(
        self, step: Step[T], store: Store, run_id: int, here: Here, after: Pending[object] | None = None
    ) -> Future[T]:
        """See `Runner.start`."""
        del after
        return self._pool.submit(do_and_record, step, store, run_id, here)


def do_and_record(step: Step[T], store: Store, run_id: int, here: Here) -> T:
    """Run a step from its arguments to its rows; the result of its work."""
    result = step.work(here)
    step.record(store, run_id, result)
    return result


def at_once(
    items: Iterable[Item], start: Callable[[Item], Pending[T]], workers: int, cancel: CancelToken
) -> Generator[tuple[Item, T]]:
    """Start a step for each item, at most `workers` at once; each item with its result, in the order of their ends.

    Close the generator (`contextlib.closing`) to leave early. Then, and when a step raises, the token is set and all
    started steps are waited for.
    """
    ended: queue.SimpleQueue[Pending[T]] = queue.SimpleQueue()
    active: dict[Pending[T], Item] = {}

    def take_one() -> tuple[Item, T]:
        pending = ended.get()
        return active.pop(pending), pending.result()

    try:
        # The next item is taken when there is room for it: it may depend on the results so far.
        for item in items:
            pending = start(item)
            active[pending] = item
            pending.add_done_callback(ended.put)
            if len(active) == workers:
                yield take_one()
        while active:
            yield take_one()
    except BaseException:
        cancel.cancel()
        for pending in active:
            # Let finished work be recorded; the error that is already raised is the one to report.
            with suppress(Exception):
                pending.result()
        raise


def cut(items: Iterable[Item], cost: Callable[[Item], float], most: float, count: int) -> Iterator[tuple[Item, ...]]:
    """Portions of the items, in order: a portion ends once it costs `most` or more, or has `count` items."""
    held: list[Item] = []
    spent = 0.0
    for item in items:
        held.append(item)
        spent += cost(item)
        if spent >= most or len(held) >= count:
            yield tuple(held)
            held, spent = [], 0.0
    if held:
        yield tuple(held)


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """The work of a job, or of one of its parts, before it begins: `verb` is such as `encrypting`.

    There are `total` things of a `noun` in the singular, such as `payload`; `size_bytes` is 0 where it does not matter.
    `details` are for the log.
    """

    verb: str
    noun: str
    total: int
    size_bytes: int = 0
    details: str = ""


@dataclass(frozen=True, slots=True)
class MoreDone:
    """Some more of the planned work is done; the counts of all events add up to the total, never beyond it.

    `line` is the result, for a log that has a line for each step. `faults` need attention, and a `notice` is no fault;
    both are in words. `item` is the piece in work, for a progress bar.
    """

    count: int = 0
    size_bytes: int = 0
    line: str | None = None
    faults: Sequence[str] = ()
    item: str = ""
    notice: str = ""


# A run in which everything fails has enough of them; all are on record.
_TOLD = 50


def told(faults: Sequence[str], before: int) -> Iterator[str]:
    """The lines about some faults for a reporter that was given so many before."""
    yield from faults[: max(0, _TOLD - before)]
    if before < _TOLD <= before + len(faults):
        yield "further ones are not listed here; they are recorded like all others"


class Reporter(Protocol):
    """Receives the events of a job; within a step they come from the thread that runs it."""

    def planned(self, work: PlannedWork) -> None:
        """The work is known; a job of two parts says so for each."""

    def started(self, run_id: int) -> None:
        """The run has its row."""

    def progressed(self, more: MoreDone) -> None:
        """Some more of the work is done and recorded."""


# Hears of a job that a flow runs in this process: the command line's progress bar.
LISTENER: ContextVar[Reporter | None] = ContextVar("LISTENER", default=None)


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """The result of a part of a job: its message is one line for people.

    Exit code: 0 all done, 1 something failed, 3 a source was unreadable or changed while it was read, nothing else.
    `faults` are the first few faults that the reporter was told, in words; empty if there are none.
    """

    exit_code: int
    message: str
    faults: str = ""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job works with: the record, the runner of its steps, the reporter, and the token that ends it early."""

    store: Store
    history: History
    runner: Runner
    reporter: Reporter
    cancel: CancelToken


# Made of parameters and settings, by a function that refuses what makes no sense (RequestRefused, CryptoError). Takes
# the run's facts and its tools, and gives back the run, closed. Raises RequestRefused or an error of its engine before
# any work, while the run has no row; later an error of its engine that ends the work, or a RecordError.
Job = Callable[[NewRun, Tools], "OpenRun"]


@dataclass(slots=True)
class OpenRun:
    """A run that is under way; each part of the job adds its outcome. Once it is closed, `head` is the ledger's."""

    run_id: int
    tools: Tools
    outcomes: list[PartOutcome] = field(default_factory=list)
    head: str | None = None

    def start(
        self, step: Step[T], tell: Callable[[object], None] = _tell_nobody, after: Pending[object] | None = None
    ) -> Pending[T]:
        """Have the runner do and record a step of this run; see `Runner.start`."""
        here = Here(self.tools.cancel, tell)
        return self.tools.runner.start(step, self.tools.store, self.run_id, here, after)

    @property
    def exit_code(self) -> int:
        """The gravest of the parts: 1 before 3 before 0."""
        codes = {outcome.exit_code for outcome in self.outcomes}
        return next((code for code in (1, 3) if code in codes), 0)

    @property
    def message(self) -> str:
        """One line for people, with the first faults by name."""
        return "; ".join(": ".join(filter(None, (one.message, one.faults))) for one in self.outcomes)

    @property
    def summary(self) -> str:
        """One line for people who were told the faults."""
        return "; ".join(one.message for one in self.outcomes)


@contextmanager
def open_run(run: NewRun, tools: Tools) -> Iterator[OpenRun]:
    """Write the run's row, and close it at the end: completed, failed, or cancelled. RunClosed if another did that."""
    store = tools.store
    opened = OpenRun(store.start_run(run), tools)
    tools.reporter.started(opened.run_id)
    try:
        with store.heartbeat(opened.run_id, tools.cancel.cancel):
            yield opened
    except BaseException as error:
        tools.cancel.cancel()
        failed = isinstance(error, Exception)
        why = f"{type(error).__name__}: {error}" if failed else "cancelled before it was done"
        # If the record itself has failed, the row stays open, and the next run closes it as crashed.
        with suppress(RecordUnusable):
            store.finish_run(opened.run_id, "failed" if failed else "cancelled", why)
        raise
    if opened.exit_code:
        opened.head = store.finish_run(opened.run_id, "failed", opened.message)
    else:
        opened.head = store.finish_run(opened.run_id, "completed")
