"""The axes of the experiments and the outcomes of samples, each a table whose members are its rows.

The engine measures them, commands and forms offer them, statistics read them back from the record: this module stands
beside the engines and imports none, so that a command that only reads starts without them. The function that a row
names is in `tasks/threads/measured/`.
"""

from enum import StrEnum
from typing import Self


class _Row(StrEnum):
    """A choice whose members are rows: the name, then the attributes in the order of their annotations."""

    def __new__(cls, name: str, *values: object) -> Self:
        """Take a row."""
        member = str.__new__(cls, name)
        member._value_ = name
        vars(member).update(zip(cls.__annotations__, values, strict=True))
        return member


class Experiment(StrEnum):
    """The three questions."""

    SPEEDUP = "speedup"
    RACE = "race"
    CEILING = "ceiling"


class Workload(_Row):
    """The work that is done on each item, once or several times (`repeats`)."""

    items: int
    """The number of items."""
    repeats: int
    """The number of times that the work is done on each item in a sample."""
    quick_repeats: int
    cpu_bound: bool
    """Whether the work computes all the time. Then the ceiling is its limit, and a wait in it is noise."""

    FACTORIZE = "factorize", 4, 1, 1, True
    DIGEST = "digest", 4, 24, 16, True
    WAIT = "wait", 5, 1, 1, False
    WAIT_BOOK = "wait-book", 5, 1, 1, False
    CHILD = "child", 4, 4, 3, False


class Executor(_Row):
    """The way in which the items are worked on."""

    family: str
    """The name for people."""
    scales: bool
    """Whether the number of workers is a choice; else there is one worker, or one per item (`thread`)."""

    SERIAL = "serial", "one after the other", False
    THREAD = "thread", "threads", False
    THREAD_POOL = "thread-pool", "pooled threads", True
    PROCESS_POOL = "process-pool", "processes", True
    ASYNCIO = "asyncio", "coroutines", False
    INTERPRETER_POOL = "interpreter-pool", "sub-interpreters", True


class Shape(_Row):
    """The way in which an update is written."""

    source: str

    AUGMENTED = "augmented", "self.count += offset"
    EXPANDED = "expanded", "getattr, add, setattr"
    COMPUTED = "computed", "self.count += offset_of(offset)"


class Guard(_Row):
    """The protection of updates: none, a lock around a shape, or another way to count, which has no shape."""

    updates: int
    """Updates per thread in a sample."""
    quick_updates: int
    shaped: bool

    # With fewer than 10**6 updates per thread some trials show no loss where there are losses, hence no quick count.
    NONE = "none", 1_000_000, 1_000_000, True
    # A contended lock costs up to 6 µs an update on old versions, a queue up to 20 µs.
    LOCK = "lock", 200_000, 20_000, True
    RLOCK = "rlock", 200_000, 20_000, True
    SHARD = "shard", 1_000_000, 500_000, False
    QUEUE = "queue", 20_000, 5_000, False
    ATOMIC = "atomic", 1_000_000, 1_000_000, False


class Outcome(StrEnum):
    """The result of a sample."""

    OK = "ok"
    WRONG_OUTPUT = "wrong-output"
    LOST = "lost"
    NONE_OBSERVED = "none-observed"
    NOT_EXERCISED = "not-exercised"
    BROKEN = "broken"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    GARBLED = "garbled"
    TIMED_OUT = "timed-out"

    @property
    def is_failure(self) -> bool:
        """Whether the sample says that something is broken (exit code 1): a lost unlocked update is not."""
        return self in _FAILURES


# The record has the same words in `db.words`.
_FAILURES = frozenset({Outcome.WRONG_OUTPUT, Outcome.BROKEN, Outcome.CRASHED, Outcome.GARBLED, Outcome.TIMED_OUT})


class GilSetting(StrEnum):
    """The GIL setting that a free-threaded build starts with (`-X gil`); other builds have `default` only."""

    DEFAULT = "default"
    ON = "on"
    OFF = "off"
