"""What becomes of children that fail, each made to fail for real."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from tasks.axes import Executor, Guard, Outcome, Workload
from tasks.cancel import CancelToken
from tasks.threads import child
from tasks.threads.cases import Case, Sample
from tasks.threads.child import (
    LIMIT_BYTES,
    STDERR_TAIL_BYTES,
    TOKEN_VARIABLE,
    end_marked,
    marked_with,
    new_token,
    run_program,
)
from tasks.threads.errors import InterpreterUnusable, MeasuringCancelled
from tasks.threads.interpreters import Interpreter, discover, probe
from tasks.threads.measure import run_case

CASE = Case.race(Guard.ATOMIC, None, 2, 100)
# Far longer than any test waits.
LONG = Case.speedup(Workload.FACTORIZE, Executor.PROCESS_POOL, 2, 10_000)
PATIENCE_S = 20.0


class Bad(Protocol):
    """Runs a case with a measured program of which only the body of `main` is given."""

    def __call__(self, body: str, deadline_s: float = 20) -> Sample: ...


@pytest.fixture(scope="module")
def running() -> Interpreter:
    return probe(sys.executable)


@pytest.fixture
def bad(tmp_path: Path, running: Interpreter, monkeypatch: pytest.MonkeyPatch) -> Bad:
    def run(body: str, deadline_s: float = 20) -> Sample:
        package = tmp_path / "measured"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "program.py").write_text(f"import os, sys, time\ndef main(descriptor):\n    {body}\n")
        monkeypatch.setattr(child, "MEASURED", tmp_path)
        return run_case(CASE, running, deadline_s=deadline_s)

    return run


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Whatever a test does, no process of a case may be left, whoever is its parent by then."""
    yield
    assert marked_with(f"{os.getpid():010d}") == []


def until(condition: Callable[[], bool]) -> bool:
    """Poll for a condition, with patience."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    return condition()


def test_an_exception_is_a_crash_with_its_traceback(bad: Bad) -> None:
    """A child that raises gives a sample `crashed` with what it wrote to stderr."""
    sample = bad("raise OSError('the disk is on fire')")
    assert sample.outcome is Outcome.CRASHED
    assert sample.error is not None
    assert "exit code 1" in sample.error
    assert "the disk is on fire" in sample.error


def test_a_killed_child_is_a_crash_with_its_signal(bad: Bad) -> None:
    """A child that the kernel kills gives a sample `crashed` that names the signal."""
    sample = bad("os.kill(os.getpid(), 9)")
    assert (sample.outcome, sample.error) == (Outcome.CRASHED, "killed by SIGKILL")


@pytest.mark.parametrize(
    "answer",
    ["", "rubbish", "[]", "{}", '{"outcome": "ok"}', '{"outcome": "fine", "wall_ns": 1}',
     '{"outcome": "crashed", "wall_ns": 1}', '{"outcome": "ok", "wall_ns": "1"}',
     '{"outcome": "ok", "wall_ns": 1, "gil_on": 3}', '{"outcome": "ok", "wall_ns": 1, "found": 3}',
     '{"outcome": "ok", "wall_ns": -1}', '{"outcome": "ok", "wall_ns": 9223372036854775808}',
     '{"outcome": "ok", "wall_ns": ' + "9" * 5000 + "}", '{"outcome": "ok", "wall_ns": 1, "foreign_share": NaN}',
     '{"outcome": "ok", "wall_ns": 1, "foreign_share": 1e999}', '{"outcome": "ok", "wall_ns": 1, "error": "\\ud800"}',
     '{"outcome": ["ok"], "wall_ns": 1}', "[" * 200_000,
     '{"outcome": "ok", "wall_ns": 1}\\n{"outcome": "ok", "wall_ns": 1}'],
)  # fmt: skip
def test_rubbish_is_garbled(bad: Bad, answer: str) -> None:
    """A child that answers anything but one JSON line of the right kind gives a sample `garbled`."""
    sample = bad(f"print({answer!r})".replace("\\\\n", "\\n"))
    assert sample.outcome is Outcome.GARBLED
    assert sample.error


def test_endless_output_is_garbled_and_bounded(bad: Bad) -> None:
    """A child that never stops printing is ended long before the deadline."""
    start = time.monotonic()
    sample = bad("while True: print('x' * 1000)")
    assert sample.outcome is Outcome.GARBLED
    assert time.monotonic() - start < 15


def test_endless_stderr_is_only_kept_in_part(bad: Bad) -> None:
    """Of what a child writes to stderr the end is kept."""
    sample = bad("sys.stderr.write('x' * 10**6 + 'the end'); sys.exit(3)")
    assert sample.outcome is Outcome.CRASHED
    assert sample.error is not None
    assert sample.error.endswith("the end")
    assert len(sample.error) < STDERR_TAIL_BYTES + 100 < LIMIT_BYTES["stdout"]


def test_a_hanging_child_times_out(bad: Bad) -> None:
    """A child that never answers gives a sample `timed-out`, also if it ignores being asked to stop."""
    sample = bad("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", 1)
    assert sample.outcome is Outcome.TIMED_OUT
    assert sample.error == "no answer within 1 s"


def test_a_child_that_closed_its_output_times_out(bad: Bad) -> None:
    """Closed streams do not end the wait for the process."""
    assert bad("os.close(1); os.close(2); time.sleep(600)", 1).outcome is Outcome.TIMED_OUT


def test_descendants_of_a_dead_child_are_ended(bad: Bad) -> None:
    """A grandchild in a session of its own, without the life-line, is found by its mark and killed."""
    sample = bad(
        "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); os.kill(os.getpid(), 9)"
    )
    assert sample.outcome is Outcome.CRASHED


def test_a_vanished_interpreter_is_a_crash(running: Interpreter) -> None:
    """An interpreter that was removed since it was found costs its samples, not the run."""
    sample = run_case(CASE, replace(running, executable="/nonexistent/python3"))
    assert sample.outcome is Outcome.CRASHED
    with pytest.raises(InterpreterUnusable):
        run_program(["/nonexistent/python3"], "null", deadline_s=5)


def test_a_deadline_ends_pool_workers_too(running: Interpreter) -> None:
    """Past the deadline the child and its pool are gone."""
    assert run_case(LONG, running, deadline_s=1).outcome is Outcome.TIMED_OUT


def test_a_cancel_ends_everything(running: Interpreter) -> None:
    """A cancel token that is set while a pool works ends child and workers, and is an error of its own."""
    cancel = CancelToken()
    timer = threading.Timer(1, cancel.cancel)
    timer.start()
    with pytest.raises(MeasuringCancelled):
        run_case(LONG, running, cancel=cancel)
    timer.join()
    with pytest.raises(MeasuringCancelled):
        run_case(CASE, running, cancel=cancel)


def test_a_killed_pool_child_leaves_no_workers(running: Interpreter) -> None:
    """When the child alone is killed, its pool workers go with it, and the sample says `crashed`."""
    samples: list[Sample] = []
    thread = threading.Thread(target=lambda: samples.append(run_case(LONG, running)))
    thread.start()
    mark = f"{os.getpid():010d}"
    assert until(lambda: len(marked_with(mark)) == 3)
    (child,) = (pid for pid in marked_with(mark) if parent(pid) == os.getpid())
    os.kill(child, signal.SIGKILL)
    thread.join(PATIENCE_S)
    assert samples[0].outcome is Outcome.CRASHED
    assert samples[0].error == "killed by SIGKILL"


def test_a_killed_worker_is_a_crash(running: Interpreter) -> None:
    """When the kernel kills one pool worker, the sample says so, and nothing hangs."""
    samples: list[Sample] = []
    thread = threading.Thread(target=lambda: samples.append(run_case(LONG, running)))
    thread.start()
    mark = f"{os.getpid():010d}"
    assert until(lambda: len(marked_with(mark)) == 3)
    worker = next(pid for pid in marked_with(mark) if parent(pid) != os.getpid())
    os.kill(worker, signal.SIGKILL)
    thread.join(PATIENCE_S)
    assert samples[0].outcome is Outcome.CRASHED
    assert "BrokenProcessPool" in str(samples[0].error)


@pytest.mark.slow
@pytest.mark.parametrize("executor", [Executor.PROCESS_POOL, Executor.THREAD])
@pytest.mark.parametrize("interpreter", discover(), ids=lambda one: str(one.label))
def test_kill_9_of_the_parent_leaves_no_process(interpreter: Interpreter, executor: Executor) -> None:
    """The life-line ends the child and every pool worker when threadmill itself is killed."""
    case = f"Case.speedup(Workload.FACTORIZE, Executor('{executor}'), 2, 10_000)"
    script = (
        "import sys\n"
        "from tasks.threads.cases import Case\n"
        "from tasks.axes import Executor, Workload\n"
        "from tasks.threads.measure import run_case\n"
        "from tasks.threads.interpreters import probe\n"
        f"run_case({case}, probe(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script, interpreter.executable]
    threadmill = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    mark = f"{threadmill.pid:010d}"
    processes = 3 if executor is Executor.PROCESS_POOL else 1
    try:
        # The probe's child comes first, so look for the one with work in it.
        assert until(lambda: sum(map(busy, marked_with(mark))) == processes)
    finally:
        threadmill.kill()
        threadmill.wait()
    assert until(lambda: marked_with(mark) == [])


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def busy(pid: int) -> bool:
    """Whether a process has used 0.1 s of CPU time, or waits for pool workers that do."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            ticks = stream.read().rpartition(")")[2].split()[11]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return False
    return int(ticks) >= 10 or any(busy(int(child)) for child in children)


def test_the_child_stays_in_our_process_group(bad: Bad) -> None:
    """A cancel by Prefect's worker, sent to the group, reaches the child."""
    sample = bad("sys.exit('group %d' % os.getpgid(0))")
    assert f"group {os.getpgid(0)}" in str(sample.error)


def test_the_child_inherits_no_variable_of_ours(bad: Bad, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and settings in our environment do not get into what is measured."""
    monkeypatch.setenv("THREADMILL_DATABASE_URL", "postgresql://secret@host")
    sample = bad("sys.exit(' '.join(sorted(os.environ)))")
    names = set(str(sample.error).partition("\n")[2].split()) - {"LC_CTYPE"}
    assert names <= {"PATH", "LD_LIBRARY_PATH", "TMPDIR", TOKEN_VARIABLE}


def test_marked_processes_are_ended_one_by_one() -> None:
    """Only processes with the very token are killed."""
    tokens = [new_token(), new_token()]
    sleepers = [subprocess.Popen(["sleep", "600"], env={**os.environ, TOKEN_VARIABLE: token}) for token in tokens]
    assert until(lambda: all(marked_with(token) for token in tokens))
    end_marked(tokens[0])
    assert sleepers[0].wait(PATIENCE_S) == -signal.SIGKILL
    assert sleepers[1].poll() is None
    end_marked(tokens[1])
    assert sleepers[1].wait(PATIENCE_S) == -signal.SIGKILL
