"""Item 53: threads for blocking I/O, not for parallelism.

What the chapter does: it finds the divisors of four numbers, one number after the other and then
with a thread per number, and times both; then five `select` calls of 0.1 s, serial and in threads.

What happens today:

- With the GIL, threads do not speed up Python code: 0.79 to 0.98 times the serial speed (medians) on
  CPython 3.6 and 3.9 to 3.13; one run alone may stray either way. On a free-threaded 3.13 the same
  four threads reached 1.75 times on two cores.
- Waits do overlap: five in threads take about as long as one (4.6 to 5 times faster), and so do
  five asyncio tasks (4.9 times).
- The chapter's `select` waits for an unconnected socket. On Linux that one counts as readable
  (there is a hang-up to report), so the call returns at once and nothing is measured. One end of a
  socketpair really blocks for 0.1 s.

Serial, threads, asyncio and more, on every interpreter of this host: `threadmill experiment`.
"""

import asyncio
import platform
import select
import socket
import sys
from threading import Thread
from time import perf_counter

FACTORS = {
    2139079: [1, 101, 21179, 2139079],
    1214759: [1, 7, 13, 49, 91, 637, 1907, 13349, 24791, 93443, 173537, 1214759],
    1516637: [1, 19, 79823, 1516637],
    1852285: [1, 5, 271, 1355, 1367, 6835, 370457, 1852285],
}
WAITS = 5
SECONDS = 0.1


def factorize(number):
    """Yield every i from 1 to number that divides it."""
    for i in range(1, number + 1):
        if number % i == 0:
            yield i


def factors(number):
    return list(factorize(number))


def wait(sock):
    """Wait until the socket is readable, but not for long; return whether it is."""
    readable, _, _ = select.select([sock], [], [], SECONDS)
    return bool(readable)


async def wait_async(sock):
    """Do the same as a coroutine."""
    sock.setblocking(False)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), SECONDS)
    except asyncio.TimeoutError:
        return False
    return True


class CallThread(Thread):
    """A thread that makes one call and keeps what it returned in `result`."""

    def __init__(self, function, item):
        super().__init__()
        self.function = function
        self.item = item

    def run(self):
        self.result = self.function(self.item)


def serial(function, items):
    return [function(item) for item in items]


def threads(function, items):
    started = [CallThread(function, item) for item in items]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return [thread.result for thread in started]


def tasks(function, items):
    async def gather():
        return await asyncio.gather(*(function(item) for item in items))

    return asyncio.run(gather())


def show(what, executor, function, items, remark):
    """Time the function on all items; print a line that ends with the remark on the results."""
    start = perf_counter()
    results = executor(function, items)
    seconds = perf_counter() - start
    print(f"{what:<21} {executor.__name__:<8} {seconds:.3f} s, {remark(results)}")


def check(results):
    return "factors as known" if results == list(FACTORS.values()) else "factors WRONG"


def count(answers):
    return f"{sum(answers)} of {len(answers)} readable"


def main():
    """Run the chapter's comparisons and print a line for each."""
    show("factorize", serial, factors, FACTORS, check)
    show("factorize", threads, factors, FACTORS, check)

    unconnected = [socket.socket() for _ in range(WAITS)]
    show("wait, book's socket", serial, wait, unconnected, count)
    show("wait, book's socket", threads, wait, unconnected, count)

    pairs = [socket.socketpair() for _ in range(WAITS)]
    ends = [mine for mine, _ in pairs]
    show("wait, socketpair", serial, wait, ends, count)
    show("wait, socketpair", threads, wait, ends, count)
    show("wait, socketpair", tasks, wait_async, ends, count)
    for sock in unconnected + [end for pair in pairs for end in pair]:
        sock.close()

    if getattr(sys, "_is_gil_enabled", lambda: True)():
        truth = "the GIL lets one thread at a time run Python code: threads overlap waits, not arithmetic."
    else:
        truth = "no GIL: threads overlap waits, and arithmetic too, as far as there are cores."
    print(f"Python {platform.python_version()}: {truth}")


if __name__ == "__main__":
    main()
