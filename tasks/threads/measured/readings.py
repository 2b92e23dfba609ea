"""Tables of the functions that can be measured, and the clocks and counters around them.

A row of a table is one decorated function. A reading is `(who, wall_ns, cpu_ns, runq_ns)` of one measuring
thread or process during its work. Its `runq_ns` counts from the thread's start, so it is taken by the thread
itself, before it ends: afterwards the kernel has forgotten it. CPU time and context switches come from
getrusage, which keeps those of ended threads and of reaped children.
"""

import os
import resource
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self, TypeVar

    Function = TypeVar("Function", bound=Callable[..., object])
    Reading = tuple[str, int, int, int | None]

# /proc/stat counts in ticks of 10 ms: over a shorter time than this a share would be rounding.
FOREIGN_MIN_NS = 100000000


class Skip(Exception):
    """This interpreter or host cannot do the case; the text is the reason that gets recorded."""


def row(table: "dict[str, Function]", name: str) -> "Callable[[Function], Function]":
    """Put the decorated function into `table` under `name`."""

    def register(function: "Function") -> "Function":
        table[name] = function
        return function

    return register


def look_up(table: "dict[str, Function]", name: str, what: str) -> "Function":
    """The row called `name`, or a `Skip` that says that this version of the program has none."""
    if name not in table:
        raise Skip(f"the measured program has no {what} called {name!r}")
    return table[name]


class Staged:
    """An output whose work was done by child processes: their readings stand for the waiting thread's."""

    def __init__(self, output: object, readings: "list[Reading]") -> None:
        self.output = output
        self.readings = readings


def clock_ns() -> int:
    """Monotonic time, the same for all processes of the host (`perf_counter_ns` only came with 3.7)."""
    return int(time.perf_counter() * 1e9)


def thread_cpu_ns() -> int:
    """CPU time of the calling thread (`thread_time_ns` only came with 3.7)."""
    return int(time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) * 1e9)


def runq_ns(path: str = "/proc/thread-self/schedstat") -> "int | None":
    """Time a thread was runnable but not running since its start: the second field of schedstat."""
    try:
        with open(path) as schedstat:
            return int(schedstat.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def who() -> str:
    """Name of the calling thread, unique on this host."""
    try:
        return os.readlink("/proc/thread-self")
    except OSError:
        return f"{os.getpid()}/{threading.get_ident()}"


def own_reading(start_ns: int, start_cpu_ns: int) -> "Reading":
    """The calling thread's reading since the two given clock values."""
    return who(), clock_ns() - start_ns, thread_cpu_ns() - start_cpu_ns, runq_ns()


def metered(work: "Callable[..., object]", item: object) -> "tuple[object, list[Reading]]":
    """Do `work` on `item` in the calling thread; the output and the readings."""
    start, start_cpu = clock_ns(), thread_cpu_ns()
    output = work(item)
    if isinstance(output, Staged):
        return output.output, output.readings
    return output, [own_reading(start, start_cpu)]


def busy_ticks() -> "tuple[int, int, int] | None":
    """Ticks that the CPUs usable by this process were not idle, the stolen ones among them, and the number of CPUs."""
    try:
        usable = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
        with open("/proc/stat") as stat:
            rows = [line.split() for line in stat if line.startswith("cpu")]
    except (OSError, AttributeError):
        return None
    # user nice system idle iowait irq softirq steal; guest time is part of user already
    busy = [sum(map(int, cells[1:4] + cells[6:9])) for cells in rows if cells[0] in usable]
    stolen = [int(cells[8]) for cells in rows if cells[0] in usable and len(cells) > 8]
    return (sum(busy), sum(stolen), len(busy)) if busy else None


def throttled_ns(paths: "Sequence[str]") -> "int | None":
    """For how long cgroups were throttled, from their files `cpu.stat`; None where no file tells."""
    found = []
    for path in paths:
        try:
            with open(path) as stat:
                counts = dict(line.split() for line in stat)
        except (OSError, ValueError):
            continue
        if "throttled_time" in counts:
            found.append(int(counts["throttled_time"]))
        elif "throttled_usec" in counts:
            found.append(1000 * int(counts["throttled_usec"]))
    return sum(found) if found else None


def tick_ns() -> int:
    """The unit of /proc/stat."""
    return 10**9 // os.sysconf("SC_CLK_TCK")


def usage() -> "tuple[int, int]":
    """CPU nanoseconds and context switches of this process and its reaped children."""
    both = [resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in both)
    return int(cpu * 1e9), sum(one.ru_nvcsw + one.ru_nivcsw for one in both)


def gil_on() -> "bool | None":
    """Whether the GIL is on now; None where the implementation does not tell."""
    if hasattr(sys, "_is_gil_enabled"):
        return bool(sys._is_gil_enabled())  # noqa: SLF001  # the documented way to ask
    return True if sys.implementation.name == "cpython" else None


class Meter:
    """Reads everything before and after a `with` block, the wall clock last and first."""

    # The files that count how long this process's cgroups were throttled; its parent finds them.
    cpu_stats = ()  # type: Sequence[str]

    def __enter__(self) -> "Self":
        self._who, self._runq = who(), runq_ns()
        self._ticks = busy_ticks()
        self._throttled = throttled_ns(self.cpu_stats)
        self._cpu, self._switches = usage()
        self._start = clock_ns()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall_ns = clock_ns() - self._start
        cpu, switches = usage()
        self.cpu_ns, self.context_switches = cpu - self._cpu, switches - self._switches
        ticks, throttled = busy_ticks(), throttled_ns(self.cpu_stats)
        self.foreign_share = self._foreign(ticks)
        self.stolen_ns = None if self._ticks is None or ticks is None else (ticks[1] - self._ticks[1]) * tick_ns()
        self.throttled_ns = None if self._throttled is None or throttled is None else throttled - self._throttled
        self.gil_on = gil_on()

    def _foreign(self, after: "tuple[int, int, int] | None") -> "float | None":
        """Share of the usable CPUs' time that others had (0 to 1)."""
        if self._ticks is None or after is None or self.wall_ns < FOREIGN_MIN_NS:
            return None
        others = (after[0] - self._ticks[0]) * tick_ns() - self.cpu_ns
        return min(1.0, max(0.0, others / (self.wall_ns * after[2])))

    def summary(self, readings: "list[Reading]") -> "dict[str, object]":
        """The figures of a sample; `blocked_ns` is what CPU and run queue leave of the threads' wall time."""
        queued = self._queued(readings)
        spent = sum(wall - cpu for _, wall, cpu, _ in readings)
        return {
            "wall_ns": self.wall_ns,
            "cpu_ns": self.cpu_ns,
            "runq_ns": queued,
            "blocked_ns": None if queued is None else max(0, spent - queued),
            "throttled_ns": self.throttled_ns,
            "stolen_ns": self.stolen_ns,
            "context_switches": self.context_switches,
            "gil_on": self.gil_on,
            "foreign_share": self.foreign_share,
        }

    def _queued(self, readings: "list[Reading]") -> "int | None":
        """Run-queue delay of all measuring threads: each one's last total, less what it had before."""
        totals = {self._who: self._runq or 0}
        for name, _, _, total in readings:
            if total is None:
                return None
            totals[name] = max(total, totals.get(name, 0))
        return sum(totals.values()) - (self._runq or 0)
