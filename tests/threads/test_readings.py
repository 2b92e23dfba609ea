"""The measured program's own parts, called in this process or in small ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tasks.threads.child import MEASURED
from tasks.threads.measured.executors import watch
from tasks.threads.measured.race import without_loss
from tasks.threads.measured.readings import (
    Meter,
    Skip,
    clock_ns,
    look_up,
    metered,
    own_reading,
    row,
    runq_ns,
    thread_cpu_ns,
)
from tasks.threads.measured.workloads import WORKLOADS, told, wait_in_select


def spin(seconds: float) -> float:
    end = thread_cpu_ns() + seconds * 1e9
    while thread_cpu_ns() < end:
        pass
    return seconds


def test_a_sleep_is_blocked_time() -> None:
    """A thread that sleeps has wall time, hardly any CPU time, and the rest is `blocked_ns`."""
    with Meter() as meter:
        _, readings = metered(time.sleep, 0.1)
    figures = meter.summary(readings)
    assert meter.wall_ns >= 100_000_000
    assert meter.cpu_ns < 50_000_000
    if figures["runq_ns"] is not None:
        assert isinstance(figures["blocked_ns"], int)
        assert figures["blocked_ns"] > 50_000_000


def test_threads_that_ended_are_counted() -> None:
    """CPU time and run-queue delay of threads that are gone at the end are in the sums."""
    readings = []
    with Meter() as meter:
        threads = [threading.Thread(target=lambda: readings.extend(metered(spin, 0.05)[1])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    figures = meter.summary(readings)
    assert meter.cpu_ns >= 200_000_000
    if figures["runq_ns"] is not None:
        assert figures["runq_ns"] == sum(queued or 0 for _, _, _, queued in readings)


def test_the_main_threads_past_is_not_counted() -> None:
    """Run-queue delay from before the measurement is taken off."""
    before = runq_ns()
    with Meter() as meter:
        reading = own_reading(clock_ns(), thread_cpu_ns())
    queued = meter.summary([reading])["runq_ns"]
    if before is not None:
        assert isinstance(queued, int)
        assert queued <= (reading[3] or 0) - before


def test_one_unknown_delay_makes_the_sum_unknown() -> None:
    """A missing reading is None, never zero."""
    with Meter() as meter:
        pass
    figures = meter.summary([("a", 10, 5, None), ("b", 10, 5, 1)])
    assert figures["runq_ns"] is None
    assert figures["blocked_ns"] is None


def test_a_blocked_select_is_told_from_one_that_returned() -> None:
    """A wait counts only if nothing came and the time really passed."""
    assert wait_in_select((0.01, 2)) == "blocked"
    assert told(True, clock_ns(), 0.1) == "returned at once"
    assert told(False, clock_ns(), 0.1) == "returned at once"
    assert told(True, clock_ns() - 10**9, 0.1).startswith("True after 1.0")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="says what Linux does")
def test_the_books_socket_does_not_block_on_linux() -> None:
    """A select on a socket that was never connected returns at once."""
    job = WORKLOADS["wait-book"](1)
    assert [job.work(item) for item in job.items] == job.expected == ["returned at once"] * 5


def test_what_the_program_does_not_know_is_skipped() -> None:
    """A case from a newer threadmill gives the reason, not a crash."""
    table: dict[str, Callable[[float], float]] = {}
    assert row(table, "a")(spin) is look_up(table, "a", "row")
    with pytest.raises(Skip, match="no row called 'b'"):
        look_up(table, "b", "row")


def test_a_trial_that_could_not_race_says_so() -> None:
    """One thread alone, or a positive control without loss, is `not-exercised`."""
    assert without_loss("augmented", 1, 10)["outcome"] == "not-exercised"
    assert without_loss("expanded", 5, 10)["outcome"] == "not-exercised"


def hold(statement: str) -> "tuple[subprocess.Popen[bytes], int]":
    """A process that holds a life-line by `statement`, and the write end."""
    held, lifeline = os.pipe()
    script = (
        "import sys; sys.path.append(sys.argv[2]); import threading, time\n"
        "from measured import executors\n"
        f"{statement}\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script, str(held), str(MEASURED)],
        pass_fds=[held],
        stdout=subprocess.PIPE,
    )
    os.close(held)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"held\n"
    return process, lifeline


def test_the_kernel_ends_the_holder_of_a_lifeline() -> None:
    """Closing the write end kills a process that would never look."""
    process, lifeline = hold("executors.LIFELINE.hold(int(sys.argv[1]))")
    assert process.poll() is None
    os.close(lifeline)
    assert process.wait(20) == -signal.SIGKILL


def test_the_portable_lifeline_ends_its_holder() -> None:
    """Where the kernel's way is missing, a thread does it."""
    process, lifeline = hold("threading.Thread(target=executors.watch, args=(int(sys.argv[1]),), daemon=True).start()")
    assert process.poll() is None
    os.close(lifeline)
    assert process.wait(20) == 1
    assert callable(watch)
