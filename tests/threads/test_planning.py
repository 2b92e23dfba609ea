"""Plans: what is measured, in which order; the host's lock; and rounds for real."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload
from tasks.cancel import CancelToken
from tasks.threads.cases import Case, CaseSelection, Measurement, Round, book_cases, book_plan, cases_of, plan
from tasks.threads.errors import HostBusy, MeasuringCancelled, MeasuringLockUnusable
from tasks.threads.interpreters import Interpreter, probe
from tasks.threads.lock import host_lock
from tasks.threads.measure import measure_round


@pytest.fixture(scope="module")
def running() -> Interpreter:
    return probe(sys.executable)


def test_everything_is_every_cell() -> None:
    """No choice at all means every workload, executor, guard and shape, and the ceiling."""
    cases = cases_of(CaseSelection())
    speedups = [one for one in cases if one.experiment is Experiment.SPEEDUP]
    races = [one for one in cases if one.experiment is Experiment.RACE]
    assert len(speedups) == len(Workload) * len(Executor)
    assert len(races) == 3 * len(Shape) + 3
    assert len(cases) == len(set(cases)) == len(speedups) + len(races) + 2


def test_the_ceiling_is_in_every_round(running: Interpreter) -> None:
    """Whatever is asked for, one and N independent processes are measured beside it, each round."""
    selection = CaseSelection(experiments=(Experiment.RACE,), guards=(Guard.QUEUE,), workers=(2, 4))
    for one in plan(selection, [running], 3, seed=1).rounds:
        cases = {step.case for step in one.steps}
        assert {Case.ceiling(1), Case.ceiling(2), Case.ceiling(4)} <= cases
        assert len(cases) == 4


def test_a_speedup_brings_its_base() -> None:
    """Serial is measured even if only another executor was asked for."""
    selection = CaseSelection((Experiment.SPEEDUP,), (Workload.WAIT,), (Executor.THREAD_POOL,), workers=(2, 4))
    executors = [one.executor for one in cases_of(selection) if one.executor]
    assert executors == [Executor.SERIAL, Executor.THREAD_POOL, Executor.THREAD_POOL]


def test_quick_lowers_counts_but_not_the_unlocked_ones() -> None:
    """Quick cells have at most the usual count, unlocked ones the same."""
    usual, quick = cases_of(CaseSelection()), cases_of(CaseSelection(quick=True))
    assert sum(one.count for one in quick) < sum(one.count for one in usual)
    for one in quick:
        assert one.guard is not Guard.NONE or one.count == 1_000_000


def test_quick_tries_nothing_twice(running: Interpreter) -> None:
    """A noisy host must not double the time of a quick run; else a noisy sample gets a second chance."""
    for quick, retries in ((True, 0), (False, 1)):
        (one,) = plan(CaseSelection((Experiment.CEILING,), quick=quick), [running], 1, seed=1).rounds
        assert one.retries == retries


def test_the_seed_gives_the_order_again(running: Interpreter) -> None:
    """Same seed, same order; rounds differ among themselves, but not in what they hold."""
    first, again, other = (plan(CaseSelection(), [running], 3, seed) for seed in (7, 7, 8))
    assert first == again
    assert first.seed == 7
    assert first != other
    assert first.rounds[1].steps != first.rounds[2].steps
    assert set(first.rounds[1].steps) == set(first.rounds[2].steps)


def test_skipped_cases_come_once(running: Interpreter) -> None:
    """What the interpreter cannot do is in the first round, to be recorded, and in no other."""
    if running.reason_against(Executor.INTERPRETER_POOL) is None:
        pytest.skip("this interpreter can do everything")
    selection = CaseSelection((Experiment.SPEEDUP,), (Workload.WAIT,), (Executor.INTERPRETER_POOL,))
    rounds = plan(selection, [running], 2, seed=1).rounds
    found = [[step.case.executor for step in one.steps] for one in rounds]
    assert Executor.INTERPRETER_POOL in found[0]
    assert Executor.INTERPRETER_POOL not in found[1]


def test_the_book_is_there_with_its_numbers() -> None:
    """Items 53 and 54: four numbers serial and threaded, its select, and 5 x 10**6 updates twice."""
    updates = [one.workers * one.count for one in book_cases() if one.experiment is Experiment.RACE]
    assert updates == [5_000_000, 5_000_000]
    workloads = {one.workload for one in book_cases()}
    assert {Workload.FACTORIZE, Workload.WAIT_BOOK} <= workloads


def test_the_books_lock_is_not_in_every_round(running: Interpreter) -> None:
    """Each round has the ceiling and all of the book but the locked counter, which the first ones have."""
    rounds = book_plan(running, 6).rounds
    locked = [sum(step.case.guard is Guard.LOCK for step in one.steps) for one in rounds]
    assert locked == [1, 1, 0, 0, 0, 0]
    for one in rounds:
        assert {Case.ceiling(1), Case.ceiling(2)} <= {step.case for step in one.steps}
        assert len(one.steps) >= len(book_cases()) - 1


def test_a_round_gives_a_sample_per_step(running: Interpreter, tmp_path: Path) -> None:
    """Each step is measured in order, in the round's number, under the lock."""
    cases = [Case.race(Guard.ATOMIC, None, 2, 100), Case.race(Guard.SHARD, None, 2, 100)]
    one = Round(4, tuple(Measurement(case, running) for case in cases))
    told: list[object] = []
    samples = measure_round(one, lock_path=str(tmp_path), lock_wait_s=1, cancel=None, tell=told.append)
    assert list(samples) == told
    assert [sample.case for sample in samples] == cases
    assert {sample.round for sample in samples} == {4}
    assert {sample.outcome for sample in samples} == {Outcome.OK}
    assert {sample.interpreter for sample in samples} == {running.fingerprint}


def test_only_one_measures_at_a_time(tmp_path: Path) -> None:
    """Who would measure beside another waits, and after its patience is told who it is."""
    path = str(tmp_path)
    with (
        host_lock(path, wait_s=0),
        pytest.raises(HostBusy, match="process "),
        host_lock(path, wait_s=0.1),
    ):
        pytest.fail("two at a time")
    with host_lock(path, wait_s=0):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_who_holds_the_lock_is_named(tmp_path: Path) -> None:
    """At once, and when patience ends: whoever may open the folder may hold its lock, but not in secret."""
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if not (mode := folder.stat().st_mode) & 0o001:
            folder.chmod(mode | 0o011)
    opened = "import fcntl, os, sys; opened = os.open(sys.argv[1], os.O_RDONLY)"
    holding = f"{opened}; fcntl.flock(opened, int(sys.argv[2])); print(flush=True); sys.stdin.read()"
    for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
        command = ["/usr/bin/python3", "-c", holding, str(tmp_path), str(int(kind))]
        told: list[str] = []
        with subprocess.Popen(command, user="nobody", stdin=PIPE, stdout=PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            held = pytest.raises(HostBusy, match=rf"process {holder.pid} \(python3\) of user nobody")
            with held, host_lock(str(tmp_path), wait_s=0.2, tell=told.append):
                pytest.fail("two at a time")
            holder.communicate(b"")
        (line,) = told
        assert line.startswith(f"process {holder.pid} (python3) of user nobody holds the measuring lock {tmp_path}")
        assert line.endswith("waiting for at most 0 s")


@pytest.mark.parametrize("what", ["link", "nothing"])
def test_the_lock_is_where_it_is_said_to_be_or_nowhere(tmp_path: Path, what: str) -> None:
    """No link is followed to it, and nothing is made."""
    path = tmp_path / "lock"
    if what == "link":
        path.symlink_to(tmp_path)
    with pytest.raises(MeasuringLockUnusable, match="THREADMILL_MEASURING_LOCK"), host_lock(str(path), wait_s=0):
        pytest.fail("locked")
    assert path.exists() == (what == "link")


def test_the_wait_ends_with_the_holder(tmp_path: Path) -> None:
    """A free lock goes to the one who waits."""
    path = str(tmp_path)
    order = []

    def second() -> None:
        with host_lock(path, wait_s=20):
            order.append("second")

    with host_lock(path, wait_s=0):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_waiting_can_be_cancelled(tmp_path: Path, running: Interpreter) -> None:
    """A cancel gets through to a run that waits for another one."""
    path = str(tmp_path)
    cancel = CancelToken()
    timer = threading.Timer(0.2, cancel.cancel)
    step = Measurement(Case.ceiling(1), running)
    with host_lock(path, wait_s=0):
        timer.start()
        with pytest.raises(MeasuringCancelled, match="waiting"):
            measure_round(Round(0, (step,)), lock_path=path, lock_wait_s=60, cancel=cancel, tell=print)
    timer.join()
