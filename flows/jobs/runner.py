"""Steps: the pieces of work of a job, the runner that does and records them, and the one for `--via direct`."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from tasks.cancel import CancelToken

if TYPE_CHECKING:
    from db.store import Store

T = TypeVar("T")
Item = TypeVar("Item")
Result_co = TypeVar("Result_co", covariant=True)


def _tell_nobody(_event: object) -> None:
    """Another process has no listener; the result of the step says the same later."""


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

    Attributes:
        kind: name of its Prefect task, such as `encrypt-batch`.
        name: name of its task run.
        recorded_as: name of the task run that records it.
        work: module-level function or a partial of one; does the work and gives the result.
        record: likewise; writes the result as rows of a run, and adds nothing when it is called again.
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

    def add_done_callback(self, fn: Callable[[object], None], /) -> None:
        """Call `fn` when it is recorded, or could not be."""


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
        """Wait until all that was started has ended, and end the threads."""
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
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    active: dict[int, tuple[Item, Pending[T]]] = {}

    def take_one() -> tuple[Item, T]:
        item, pending = active.pop(ended.get())
        return item, pending.result()

    try:
        coming = enumerate(items)
        while True:
            # Asked for only now: the next item may depend on the results so far.
            number, item = next(coming, (-1, None))
            if item is None:
                break
            active[number] = item, start(item)
            active[number][1].add_done_callback(functools.partial(_put, ended, number))
            if len(active) == workers:
                yield take_one()
        while active:
            yield take_one()
    except BaseException:
        cancel.cancel()
        for _, pending in active.values():
            # Finished work is still being recorded; the error that is on its way is the one to report.
            with suppress(Exception):
                pending.result()
        raise


def _put(ended: queue.SimpleQueue[int], number: int, _: object) -> None:
    ended.put(number)
