"""Ways to get all items of a job done, and the life-line that ends every process of them with the parent.

Each way gives the outputs in order and the measuring threads' readings.

A new executor is one function here and its row in `tasks/axes.py`. Pools start and stop inside
the measured time: that is what their user pays. Modules that only one executor needs are imported by it, in
the warm-up.
"""

import contextlib
import fcntl
import functools
import os
import select
import signal
import sys
import threading

from .readings import Skip, Staged, clock_ns, metered, own_reading, row, thread_cpu_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Executor
    from typing import Any

    from .readings import Reading
    from .workloads import Job

    Done = tuple[list[object], list[Reading]]

EXECUTORS = {}  # type: dict[str, Callable[[Job, Sequence[object], int], Done]]


class Lifeline:
    """The read end of a pipe that this process holds, and that each of its forked workers must arm again.

    It ends this process when the parent is gone, whatever either of them is doing. The parent alone holds the
    write end. Each measured process arms its own open file description of the read end so that the kernel
    sends SIGKILL when the pipe hangs up. A thread that waits in `read` would do too, but it would be one
    thread more in a program that measures threads, would have to be forked around, and could not act while C
    code keeps the GIL; it remains only where the kernel's way is missing.
    """

    def __init__(self) -> None:
        self.descriptor = -1

    def hold(self, descriptor: int) -> None:
        """Arm `descriptor`; returns at once, and never if the parent is gone already."""
        self.descriptor = descriptor
        try:
            arm(descriptor)
        except (OSError, AttributeError):
            threading.Thread(target=watch, args=(descriptor,), daemon=True).start()

    def hold_again(self) -> None:
        """Arm it for this process, just forked: owner and signal belong to a description, not to a copy."""
        self.hold(self.descriptor)


LIFELINE = Lifeline()


def arm(descriptor: int) -> None:
    """Make the kernel kill this process at end-of-file; OSError where /proc or F_SETSIG is missing."""
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    # The signal comes with the hang-up only: one that came before the line above sends none.
    if select.select([own], [], [], 0)[0]:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(descriptor: int) -> None:
    """The portable way: block until end-of-file, then end this process without clean-up."""
    with contextlib.suppress(OSError):
        os.read(descriptor, 1)
    os._exit(1)


def collected(pairs: "Sequence[tuple[object, list[Reading]]]") -> "Done":
    """Outputs and readings, apart."""
    return [output for output, _ in pairs], [reading for _, readings in pairs for reading in readings]


@row(EXECUTORS, "serial")
def serial(job: "Job", items: "Sequence[object]", _workers: int) -> "Done":
    """One after the other in the main thread."""
    return collected([metered(job.work, item) for item in items])


class ItemThread(threading.Thread):
    """The book's form: a subclass that keeps its result."""

    def __init__(self, work: "Callable[..., object]", item: object) -> None:
        super().__init__()
        self.work = work
        self.item = item
        self.result = None  # type: tuple[object, list[Reading]] | None

    def run(self) -> None:
        """Called in the new thread."""
        self.result = metered(self.work, self.item)


@row(EXECUTORS, "thread")
def thread(job: "Job", items: "Sequence[object]", _workers: int) -> "Done":
    """One thread per item, all started, then all joined."""
    return run_threads(job.work, items)


def run_threads(work: "Callable[..., object]", items: "Sequence[object]") -> "Done":
    """Start a thread per item and join them all."""
    threads = [ItemThread(work, item) for item in items]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    results = [one.result for one in threads if one.result is not None]
    if len(results) < len(threads):
        # The thread's own traceback is on stderr already.
        raise RuntimeError(f"{len(results)} of {len(threads)} threads ended with a result")
    return collected(results)


def mapped(pool: "Executor", job: "Job", items: "Sequence[object]") -> "Done":
    """All items through a pool, shut down at the end."""
    with pool:
        return collected(list(pool.map(functools.partial(metered, job.work), items)))


@row(EXECUTORS, "thread-pool")
def thread_pool(job: "Job", items: "Sequence[object]", workers: int) -> "Done":
    """A pool of `workers` threads."""
    from concurrent.futures import ThreadPoolExecutor

    return mapped(ThreadPoolExecutor(workers), job, items)


@row(EXECUTORS, "process-pool")
def process_pool(job: "Job", items: "Sequence[object]", workers: int) -> "Done":
    """A pool of `workers` processes, forked on every version: else 3.14 would be compared by its start."""
    try:
        import multiprocessing.synchronize
        import multiprocessing.util
        from concurrent.futures import ProcessPoolExecutor
    except ImportError as error:
        raise Skip(f"no process pools here: {error}") from error
    multiprocessing.set_start_method("fork", force=True)
    # Not the pool's `initializer`, which 3.6 does not have. Keyed by the object: twice is once per fork more.
    multiprocessing.util.register_after_fork(LIFELINE, type(LIFELINE).hold_again)
    return mapped(ProcessPoolExecutor(workers), job, items)


NO_INTERPRETER_POOL = "InterpreterPoolExecutor came with Python 3.14"


def interpreter_pool_class() -> "Any":
    """The class, or None on the versions that do not have it."""
    import concurrent.futures

    return getattr(concurrent.futures, "InterpreterPoolExecutor", None)


@row(EXECUTORS, "interpreter-pool")
def interpreter_pool(job: "Job", items: "Sequence[object]", workers: int) -> "Done":
    """A pool of `workers` sub-interpreters, each with its own GIL."""
    pool = interpreter_pool_class()
    if pool is None:
        raise Skip(NO_INTERPRETER_POOL)
    # A new interpreter starts with the path of the command line, not with what was added since.
    extend = f"import sys; sys.path.append({sys.path[-1]!r})"
    return mapped(pool(workers, initializer=exec, initargs=(extend,)), job, items)


@row(EXECUTORS, "asyncio")
def in_event_loop(job: "Job", items: "Sequence[object]", _workers: int) -> "Done":
    """All items as coroutines in one thread; work that does not wait runs to its end at its first turn."""
    import asyncio

    async def call(item: object) -> object:
        return job.work(item)

    async def gather() -> "list[object]":
        start = job.coroutine or call
        return list(await asyncio.gather(*[start(item) for item in items]))

    start, start_cpu = clock_ns(), thread_cpu_ns()
    results = run_loop(gather())
    reading = own_reading(start, start_cpu)
    staged = [result for result in results if isinstance(result, Staged)]
    if staged:
        return collected([(one.output, one.readings) for one in staged])
    return results, [reading]


def run_loop(main: "Awaitable[list[object]]") -> "list[object]":
    """`asyncio.run`, which 3.6 does not have."""
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def no_process_pool() -> str:
    """Why `process-pool` cannot run, or nothing."""
    try:
        import multiprocessing.synchronize
    except ImportError as error:
        return str(error)
    return "" if "fork" in multiprocessing.get_all_start_methods() else "no fork here"


def no_interpreter_pool() -> str:
    """Why `interpreter-pool` cannot run, or nothing."""
    return NO_INTERPRETER_POOL if interpreter_pool_class() is None else ""


def cannot() -> "dict[str, str]":
    """Executors that cannot run here, each with the reason."""
    reasons = {"process-pool": no_process_pool(), "interpreter-pool": no_interpreter_pool()}
    return {name: reason for name, reason in reasons.items() if reason}
