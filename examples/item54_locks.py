"""Item 54: a lock against data races.

What the chapter does: five threads add 1 to a shared counter 10**6 times each, first without a
lock, where updates get lost, then with one, where the count is 5,000,000. It explains the loss by
spelling `+=` out as three steps: getattr, add, setattr.

What happens today (median share of updates lost, five threads):

- `count += offset`, no lock: 36 to 46 % on CPython 3.6 to 3.9, nothing on 3.10 to 3.13 with the
  GIL, 31 % on a free-threaded 3.13.
- The three steps spelled out, no lock: 32 to 40 % on 3.9 to 3.13, with the GIL and without.
- With a lock: nothing, on all.

From 3.10 on the interpreter looks for a thread switch only when a function is entered, after calls
and on backward jumps. Inside `+=` there is none of these; after the call of getattr there is. That
is an accident of the implementation and no promise: a count that came out right shows no safety.

The same on every interpreter of this host, with the cost of each guard: `threadmill experiment`.
"""

import platform
import sys
from threading import Lock, Thread

THREADS = 5
UPDATES = 10**6


class Counter:
    """The chapter's counter: an update without a guard."""

    def __init__(self):
        self.count = 0

    def increment(self, offset):
        self.count += offset


class LockingCounter:
    """The same with a guard: the only form with a promise."""

    def __init__(self):
        self.lock = Lock()
        self.count = 0

    def increment(self, offset):
        with self.lock:
            self.count += offset


class ExpandedCounter:
    """The chapter's reading of `+=`, step by step and without a guard."""

    def __init__(self):
        self.count = 0

    def increment(self, offset):
        value = getattr(self, "count")
        result = value + offset
        setattr(self, "count", result)


def worker(updates, counter):
    for _ in range(updates):
        counter.increment(1)


def count_with(counter):
    """Let the threads count, and return what was found."""
    threads = [Thread(target=worker, args=(UPDATES, counter)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counter.count


def reason():
    """Say in one sentence why this interpreter loses updates where it does."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "without the GIL the threads really run at once, so any update without a lock can get lost."
    if sys.version_info >= (3, 10):
        return (
            "the GIL can change hands after the call of getattr, but has no place to do so inside +=; "
            "that is an accident of CPython 3.10 and later, and only the lock is a promise."
        )
    return "the GIL can change hands between any two steps of an update, and only the lock keeps them together."


def main():
    """Count in three ways and print expected against found."""
    expected = THREADS * UPDATES
    for label, counter in (
        ("+=, no lock", Counter()),
        ("+=, lock", LockingCounter()),
        ("getattr, add, setattr, no lock", ExpandedCounter()),
    ):
        found = count_with(counter)
        print(f"{label:<30}  expected {expected:,}, found {found:,}", flush=True)
    print(f"Python {platform.python_version()}: {reason()}")


if __name__ == "__main__":
    main()
