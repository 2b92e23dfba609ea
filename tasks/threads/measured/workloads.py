"""What is done to each item: a row here builds the items, the work and the known outputs.

A new workload is one function here (it returns a `Job`) and its row in `tasks/axes.py`.
"""

import hashlib
import select
import socket
import sys

from .readings import Skip, clock_ns, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence


class Job:
    """One workload, ready to run.

    `work(item)` is importable, so that other processes and interpreters can have it; `coroutine(item)` is
    there only where the work waits. `warm` is one small item of the same kind.
    """

    def __init__(
        self,
        work: "Callable[..., object]",
        items: "Sequence[object]",
        expected: "Sequence[str]",
        warm: object,
        coroutine: "Callable[..., Awaitable[object]] | None" = None,
    ) -> None:
        self.work = work
        self.items = items
        self.expected = expected
        self.warm = warm
        self.coroutine = coroutine


WORKLOADS = {}  # type: dict[str, Callable[[int], Job]]

# The book's four numbers with all their factors.
FACTORS = {
    2139079: "1 101 21179 2139079",
    1214759: "1 7 13 49 91 637 1907 13349 24791 93443 173537 1214759",
    1516637: "1 19 79823 1516637",
    1852285: "1 5 271 1355 1367 6835 370457 1852285",
}

# 4 MiB: hashlib gives the GIL up for each, and one takes about 2.5 ms.
BLOCK = bytes(range(256)) * 16384
# From coreutils' sha256sum, fed with one byte of value 0 to 3 and the block (a test does it again).
DIGESTS = [
    "ea740b5b3560d1e8fdbc76fac4c80484e3a530d525cb23ae7b898d6103658ae7",
    "30983f9479d6cd4d7d9cae67fba841163be39b1bc40f6e0798267bd9bf071e10",
    "b27cf66a90fe27923c2617ec8bf8e3e6cb85fe2f19b33e927b12c92542fe5860",
    "0146ab2ab8494a46004e895e0a6bd5d1a0e4dccb3950a0d06879977542753991",
]

WAITS = 5
WAIT_S = 0.1


def divisors(number: int) -> "Iterator[int]":
    """Every divisor, by trying all numbers up to the number itself: pure Python, as slow as in the book."""
    for i in range(1, number + 1):
        if number % i == 0:
            yield i


def factors(item: "tuple[int, int]") -> str:
    """The factors of one number, found `repeats` times over."""
    number, repeats = item
    found = []  # type: list[int]
    for _ in range(repeats):
        found = list(divisors(number))
    return " ".join(map(str, found))


@row(WORKLOADS, "factorize")
def factorize(count: int) -> Job:
    """Item 53: four numbers, each factorized `count` times."""
    return Job(factors, [(number, count) for number in FACTORS], list(FACTORS.values()), (997, 1))


def hexdigest(item: "tuple[int, int]") -> str:
    """SHA-256 of one prefix byte and the block, `repeats` times over; all results, if they differ."""
    prefix, repeats = item
    found = set()
    for _ in range(repeats):
        sha256 = hashlib.sha256(bytes([prefix]))
        sha256.update(BLOCK)
        found.add(sha256.hexdigest())
    return " ".join(sorted(found))


@row(WORKLOADS, "digest")
def digest(count: int) -> Job:
    """Four buffers of 4 MiB, each hashed `count` times: C code that gives the GIL up."""
    return Job(hexdigest, [(prefix, count) for prefix in range(len(DIGESTS))], DIGESTS, (0, 1))


def told(ready: bool, start_ns: int, timeout_s: float) -> str:
    """What a wait of `timeout_s` did; a timer may be early by less than a millisecond (epoll's unit)."""
    elapsed_s = (clock_ns() - start_ns) / 1e9
    if not ready and elapsed_s >= timeout_s - 0.001:
        return "blocked"
    return "returned at once" if elapsed_s < timeout_s / 2 else f"{ready} after {elapsed_s:.6f} s"


def wait_in_select(item: "tuple[float, int]") -> str:
    """Wait for a socket to which nobody writes."""
    timeout_s, repeats = item
    seen = set()
    left, right = socket.socketpair()
    try:
        for _ in range(repeats):
            start = clock_ns()
            ready, _, _ = select.select([left], [], [], timeout_s)
            seen.add(told(bool(ready), start, timeout_s))
    finally:
        left.close()
        right.close()
    return " / ".join(sorted(seen))


async def wait_in_loop(item: "tuple[float, int]") -> str:
    """The same wait as a coroutine."""
    import asyncio

    timeout_s, repeats = item
    seen = set()
    left, right = socket.socketpair()
    left.setblocking(False)
    loop = asyncio.get_event_loop()
    try:
        for _ in range(repeats):
            start = clock_ns()
            try:
                await asyncio.wait_for(loop.sock_recv(left, 1), timeout_s)
                ready = True
            except asyncio.TimeoutError:  # noqa: UP041  # another class before 3.11
                ready = False
            seen.add(told(ready, start, timeout_s))
    finally:
        left.close()
        right.close()
    return " / ".join(sorted(seen))


@row(WORKLOADS, "wait")
def wait(count: int) -> Job:
    """Five times `count` waits of 0.1 s that really block."""
    items = [(WAIT_S, count)] * WAITS
    return Job(wait_in_select, items, ["blocked"] * WAITS, (0.001, 1), wait_in_loop)


def wait_like_the_book(item: "tuple[float, int]") -> str:
    """Item 53's own system call: select on a socket that was never connected."""
    timeout_s, repeats = item
    seen = set()
    for _ in range(repeats):
        with socket.socket() as unconnected:
            start = clock_ns()
            ready, _, _ = select.select([unconnected], [], [], timeout_s)
            seen.add(told(bool(ready), start, timeout_s))
    return " / ".join(sorted(seen))


@row(WORKLOADS, "wait-book")
def wait_book(count: int) -> Job:
    """The book's five waits: Linux calls such a socket readable at once, so nothing waits."""
    behaviour = "returned at once" if sys.platform.startswith("linux") else "blocked"
    return Job(wait_like_the_book, [(WAIT_S, count)] * WAITS, [behaviour] * WAITS, (0.001, 1))


@row(WORKLOADS, "child")
def child(count: int) -> Job:
    """Item 52: four times `count` chains of two child processes, encrypt and then hash."""
    # Its imports take longer than most measurements here.
    from .chains import CHAIN_DIGEST, chain, chain_coroutine, reason_against_chains

    reason = reason_against_chains()
    if reason:
        raise Skip(reason)
    return Job(chain, [count] * 4, [CHAIN_DIGEST] * 4, 1, chain_coroutine)
