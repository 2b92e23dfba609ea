"""Item 54: threads that count together, with and without a guard.

A new update shape is one function under SHAPES, a new guard one under GUARDS, each with its row in
`tasks/axes.py`.
"""

import functools
import queue
import threading

from .executors import run_threads
from .readings import Meter, look_up, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # What each thread calls, and how many updates arrived, asked after all have ended.
    Trial = tuple[list[Callable[[], None]], Callable[[], int]]

SHAPES = {}  # type: dict[str, Callable[[Any, int], None]]
GUARDS = {}  # type: dict[str, Callable[[str, int, int], Trial]]

# Updates of the control under a lock, per thread: it shows that the harness itself loses nothing.
NEGATIVE_COUNT = 10000


@row(SHAPES, "augmented")
def augmented(self: "Any", offset: int) -> None:
    """The book's update."""
    self.count += offset


@row(SHAPES, "expanded")
def expanded(self: "Any", offset: int) -> None:
    """The same in the three steps that the book spells out."""
    value = getattr(self, "count")  # noqa: B009  # the call is the point
    result = value + offset
    setattr(self, "count", result)  # noqa: B010


def offset_of(offset: int) -> int:
    """A call between load and store, where every version may switch threads."""
    return offset


@row(SHAPES, "computed")
def computed(self: "Any", offset: int) -> None:
    """An update whose right-hand side is a call."""
    self.count += offset_of(offset)


def counter_of(shape: str) -> "Any":
    """A counter whose `increment` is the shape, a plain method as in the book."""
    increment = look_up(SHAPES, shape, "update shape")
    return type("Counter", (), {"count": 0, "increment": increment})()


@row(GUARDS, "none")
def none(shape: str, workers: int, count: int) -> "Trial":
    """No guard."""
    counter = counter_of(shape)

    def work() -> None:
        for _ in range(count):
            counter.increment(1)

    return [work] * workers, lambda: counter.count


def locked(lock: "Any", shape: str, workers: int, count: int) -> "Trial":
    """Every update under the same lock."""
    counter = counter_of(shape)

    def work() -> None:
        for _ in range(count):
            with lock:
                counter.increment(1)

    return [work] * workers, lambda: counter.count


@row(GUARDS, "lock")
def lock(shape: str, workers: int, count: int) -> "Trial":
    """The book's guard."""
    return locked(threading.Lock(), shape, workers, count)


@row(GUARDS, "rlock")
def rlock(shape: str, workers: int, count: int) -> "Trial":
    """A lock that its holder may take again."""
    return locked(threading.RLock(), shape, workers, count)


@row(GUARDS, "shard")
def shard(_shape: str, workers: int, count: int) -> "Trial":
    """A counter per thread, added up at the end."""
    counters = [counter_of("augmented") for _ in range(workers)]

    def work(counter: "Any") -> None:
        for _ in range(count):
            counter.increment(1)

    works = [functools.partial(work, one) for one in counters]
    return list(works), lambda: sum(one.count for one in counters)


@row(GUARDS, "queue")
def owner(_shape: str, workers: int, count: int) -> "Trial":
    """One thread owns the counter, the others send it their updates."""
    updates = queue.Queue()  # type: queue.Queue[int | None]
    counter = counter_of("augmented")

    def send() -> None:
        for _ in range(count):
            updates.put(1)
        updates.put(None)

    def receive() -> None:
        # Until every sender has said that it is done, so that a lost update cannot hang the trial.
        senders = workers
        while senders:
            update = updates.get()
            if update is None:
                senders -= 1
            else:
                counter.increment(update)

    return [send] * workers + [receive], lambda: counter.count


@row(GUARDS, "atomic")
def atomic(_shape: str, workers: int, count: int) -> "Trial":
    """`list.append`, which is one step for the interpreter; the length is the count."""
    updates = []  # type: list[int]

    def work() -> None:
        append = updates.append
        for _ in range(count):
            append(1)

    return [work] * workers, lambda: len(updates)


def trial(guard: str, shape: str, workers: int, count: int) -> "tuple[int, dict[str, object]]":
    """All threads released at once, all joined: how many updates arrived, and the readings."""
    targets, arrived = look_up(GUARDS, guard, "guard")(shape, workers, count)
    barrier = threading.Barrier(len(targets))

    def together(target: "Callable[[], None]") -> None:
        barrier.wait()
        target()

    with Meter() as meter:
        _, readings = run_threads(together, targets)
    return arrived(), meter.summary(readings)


def measure_race(guard: str, shape: str, workers: int, count: int) -> "dict[str, object]":
    """One sample, checked.

    Unlocked trials come with controls in the same child: one of a kind that every version loses, which tells
    a quiet host from a safe update (it runs only where nothing was lost), and one under a lock.
    """
    trial(guard, shape, workers, 100)
    found, sample = trial(guard, shape, workers, count)
    expected = workers * count
    sample.update(expected=str(expected), found=str(found))
    if guard != "none":
        sample["outcome"] = "ok" if found == expected else "broken"
        return sample
    negative, _ = trial("lock", shape, workers, NEGATIVE_COUNT)
    sample["negative_lost"] = workers * NEGATIVE_COUNT - negative
    if sample["negative_lost"]:
        sample.update(outcome="broken", error="the control under a lock lost updates")
    elif found == expected:
        sample.update(without_loss(shape, workers, count))
    else:
        sample["outcome"] = "lost" if found < expected else "broken"
    return sample


def without_loss(shape: str, workers: int, count: int) -> "dict[str, object]":
    """What an unlocked trial without loss means: nothing at all, unless the control beside it lost some."""
    if workers < 2:
        return {"outcome": "not-exercised", "error": "one thread cannot race"}
    if shape == "expanded":
        return {"outcome": "not-exercised", "error": "the shape that is the positive control lost nothing"}
    control, _ = trial("none", "expanded", workers, count)
    lost = workers * count - control
    if lost:
        return {"outcome": "none-observed", "positive_lost": lost}
    return {"outcome": "not-exercised", "positive_lost": 0, "error": "the positive control lost nothing"}
