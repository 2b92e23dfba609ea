"""What measuring adds to what is measured: the time of a sample against the same code in a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.rounds import ratio, show
from tasks.axes import Executor, Guard, Outcome, Shape, Workload
from tasks.threads.cases import Case
from tasks.threads.interpreters import probe
from tasks.threads.measure import run_case

ROUNDS = 15

# Both warm up as the measured program does, and print nanoseconds; nothing else is in them.
FACTORIZE = """
from time import perf_counter

def divisors(number):
    for i in range(1, number + 1):
        if number % i == 0:
            yield i

list(divisors(997))
start = perf_counter()
for number in (2139079, 1214759, 1516637, 1852285):
    list(divisors(number))
print(int((perf_counter() - start) * 1e9))
"""
COUNT = """
from threading import Lock, Thread
from time import perf_counter

class Counter:
    count = 0
    def increment(self, offset):
        self.count += offset

counter, lock = Counter(), Lock()

def work():
    for _ in range(2_000_000):
        with lock:
            counter.increment(1)

threads = [Thread(target=work)]
start = perf_counter()
for one in threads:
    one.start()
for one in threads:
    one.join()
print(int((perf_counter() - start) * 1e9))
assert counter.count == 2_000_000
"""


def main(_folder: Path) -> None:
    """The book's four numbers one after the other, and two million updates of one thread under a lock."""
    pairs = {
        "factorize, one after the other": (Case.speedup(Workload.FACTORIZE, Executor.SERIAL), FACTORIZE),
        "2,000,000 updates under a lock": (Case.race(Guard.LOCK, Shape.AUGMENTED, 1, 2_000_000), COUNT),
    }
    for title, (case, program) in pairs.items():
        seconds: dict[str, list[float]] = {"bare": [], "sample": []}
        for number in range(ROUNDS):
            if number % 2:
                seconds["bare"].append(bare(program))
            seconds["sample"].append(sampled(case))
            if not number % 2:
                seconds["bare"].append(bare(program))
        show(f"{title}: what is timed, start and JSON aside", seconds)
        least = min(seconds["sample"]) / min(seconds["bare"])
        print(f"  a sample takes {1 / ratio(seconds, 'sample', 'bare'):.3f} of the bare time (median of pairs),")
        print(f"  {least:.3f} by the fastest of each (target: within 2 %)")


def bare(program: str) -> float:
    """Seconds that the program says it took, in a fresh interpreter."""
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True, text=True)
    return int(ended.stdout) / 1e9


def sampled(case: Case) -> float:
    """Seconds of one sample."""
    sample = run_case(case, probe(sys.executable))
    assert sample.outcome is Outcome.OK
    assert sample.wall_ns
    return sample.wall_ns / 1e9
