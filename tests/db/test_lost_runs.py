"""Runs that nobody will close: who closes them, when, and what becomes of one that comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text, update
from sqlalchemy.exc import OperationalError

from db import store as store_module
from db.errors import RecordUnusable, RunClosed
from db.history import History, SampleFilter, SeriesFilter
from db.lenient import LenientStore
from db.rows import NewRun
from db.store import Store
from db.tables import RUN
from flows.jobs.run import DirectRunner, Tools, open_run
from tasks.cancel import CancelToken
from tests.support.commands import Command, read_json
from tests.support.postgres import Server
from tests.support.processes import GONE_S, wait_until

NEW = NewRun("survey", "direct", {}, "test")
HOUR = timedelta(hours=1)
Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url, timeout_s=0.2)
    yield store
    store.close()


def elsewhere(url: str, run_id: int, heard_at: datetime | None) -> None:
    """Make it a run of another boot that was heard of then."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(boot_id="other/1", heard_at=heard_at))


def statuses(url: str) -> list[str]:
    """Those of all runs, the newest first."""
    with closing(History(url)) as history:
        return [run.status for run in history.runs()]


@pytest.mark.parametrize(("ago", "is_lost"), [(HOUR, True), (-HOUR, True), (HOUR / 12, False), (-HOUR / 12, False)])
def test_on_another_boot_the_silence_decides(store: Store, database_url: str, ago: timedelta, is_lost: bool) -> None:
    """Ten minutes, into the past or into a future that a wrong clock has made; readers say so before it is closed."""
    run_id = store.start_run(NEW)
    elsewhere(database_url, run_id, datetime.now(UTC) - ago)
    why = "it was not heard of for over 10 minutes"
    with closing(History(database_url)) as history:
        assert history.lost_runs() == ({run_id: why} if is_lost else {})
        told = [(row.status, row.error) for row in history.failures(SeriesFilter())]
        assert told == ([("running", why)] if is_lost else [])
        store.start_run(NEW)
        assert statuses(database_url) == ["running", "crashed" if is_lost else "running"]
        told = [(row.status, row.error) for row in history.failures(SeriesFilter())]
        assert told == ([("crashed", why)] if is_lost else [])
        assert history.verify().faults == ()


def test_on_the_same_boot_the_process_decides(store: Store, database_url: str) -> None:
    """A process that is there is not taken for dead, however long it was silent."""
    run_id = store.start_run(NEW)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(update(RUN).values(heard_at=datetime.now(UTC) - HOUR))
    store.start_run(NEW)
    assert statuses(database_url) == ["running", "running"]
    store.finish_run(run_id, "completed")


def test_the_clock_of_the_server_counts(postgres_url: str, faketime: str) -> None:
    """A host whose clock is years ahead closes nothing there."""
    with closing(Store(postgres_url)) as store:
        elsewhere(postgres_url, store.start_run(NEW), datetime.now(UTC))
    start = (
        "import sys; from db.store import Store; from db.rows import NewRun\n"
        "Store(sys.argv[1]).start_run(NewRun('survey', 'direct', {}, '0'))"
    )
    command = [faketime, "-f", "@2030-01-01 00:00:00", sys.executable, "-c", start, postgres_url]
    subprocess.run(command, check=True)
    assert statuses(postgres_url) == ["running", "running"]
    with closing(History(postgres_url)) as history:
        # The one that began in 2030 has ended by now, and was heard of today.
        assert list(history.lost_runs()) == [2]


@pytest.fixture
def measuring(environment: dict[str, str], started: Started, database_url: str) -> subprocess.Popen[str]:
    """An experiment of many rounds, run 1, once the first round is on record."""
    environment["THREADMILL_DATABASE_URL"] = database_url
    Store(database_url).close()
    process = started("experiment", "ceiling", "--rounds", "40", "--quick", "--via", "direct")
    wait_until(lambda: samples(database_url), "no round is on record", 60)
    return process


def samples(url: str) -> int:
    """How many of run 1 are on record."""
    with closing(History(url)) as history:
        return len(history.samples(SampleFilter(run_id=1), limit=None))


def test_a_stopped_run_that_was_closed_ends(
    environment: dict[str, str], database_url: str, threadmill: Command, measuring: subprocess.Popen[str]
) -> None:
    """A suspended host that wakes: exit code 1, and nothing is written into the sealed run."""
    os.kill(measuring.pid, signal.SIGSTOP)
    elsewhere(database_url, 1, datetime.now(UTC) - HOUR)
    result = threadmill("status")
    assert result.returncode == 1
    assert "run 1: it was not heard of for over 10 minutes; the next run closes it as crashed" in result.stderr
    environment["THREADMILL_HOST"] = "another"
    assert threadmill("encrypt", "--random", "10x1", "--via", "direct").returncode == 0
    assert statuses(database_url) == ["completed", "crashed"]
    recorded = samples(database_url)
    os.kill(measuring.pid, signal.SIGCONT)
    _, stderr = measuring.communicate(timeout=GONE_S)
    assert measuring.returncode == 1
    said = "run 1 was closed meanwhile as crashed (it was not heard of for over 10 minutes): nothing more is written"
    assert said in stderr.splitlines()[-1]
    assert samples(database_url) == recorded
    assert threadmill("history", "verify").returncode == 0
    assert "run 1:" not in threadmill("status").stderr


def test_a_killed_run_is_named_and_closed_from_any_name(
    environment: dict[str, str], database_url: str, threadmill: Command, measuring: subprocess.Popen[str]
) -> None:
    """Queries say that it is lost before the next run, of a host by another name, closes it."""
    measuring.kill()
    measuring.wait()
    (failure,) = read_json(threadmill("history", "failures", "--json"))
    assert (failure["run_id"], failure["status"]) == (1, "running")
    assert failure["error"] == "its process ended without a word"
    assert "run 1: its process ended without a word" in threadmill("status").stderr
    environment["THREADMILL_HOST"] = "another"
    assert threadmill("encrypt", "--random", "10x1", "--via", "direct").returncode == 0
    assert statuses(database_url) == ["completed", "crashed"]


def test_an_interrupted_experiment_is_taken_up(
    environment: dict[str, str], home: Path, threadmill: Command, started: Started
) -> None:
    """Each round is on record once, in the order that was drawn at first; the answer is from all of them."""
    url = f"sqlite:///{home / 'history.sqlite'}"
    process = started("experiment", "ceiling", "--rounds", "5", "--quick", "--via", "direct")
    wait_until(lambda: samples(url), "no round is on record", 60)
    for says in ("run 1 is going on", "is no such experiment"):
        result = threadmill("experiment", "--resume", "1" if "1" in says else "2")
        assert (result.returncode, result.stdout) == (2, "")
        assert says in result.stderr
    process.kill()
    process.wait()
    result = threadmill("experiment", "--resume", "1")
    assert result.returncode == 0, result.stderr
    with closing(History(url)) as history:
        rounds = {run: {row.round for row in history.samples(SampleFilter(run_id=run), limit=None)} for run in (1, 2)}
        parameters = [run.parameters for run in history.runs()]
        steps = sum(len(history.samples(SampleFilter(run_id=run), limit=None)) for run in (1, 2))
    assert rounds[1], "the first one measured nothing"
    assert (rounds[1] & rounds[2], rounds[1] | rounds[2]) == (set(), set(range(5)))
    assert parameters[0] == parameters[1] | {"resume": 1}
    assert f"{steps // 2} ok" in result.stdout
    assert statuses(url) == ["completed", "crashed"]
    for options, says in (
        (["--resume", "2"], "run 2 has recorded all of its rounds"),
        (["race", "--resume", "2"], "all options but --until-quiet"),
        (["--resume", "2", "--rounds", "9"], "all options but --until-quiet"),
        (["--resume", "0"], "--resume is at least 1"),
    ):
        result = threadmill("experiment", *options)
        assert (result.returncode, result.stdout) == (2, "")
        assert says in result.stderr
    environment["THREADMILL_HOST"] = "another"
    assert "was measured on" in threadmill("experiment", "--resume", "1").stderr


def crash(server: Server) -> None:
    """End one process of a server, upon which it throws out all clients and recovers."""
    engine = create_engine(server.url("postgres"), poolclass=NullPool)
    with engine.connect() as connection:
        os.kill(connection.execute(text("SELECT pg_backend_pid()")).scalar_one(), signal.SIGKILL)
        connection.invalidate()


def test_a_server_that_restarts_costs_nothing(
    environment: dict[str, str], postgres_server: Server, postgres_url: str, started: Started, threadmill: Command
) -> None:
    """While a run measures and records: all rounds are there, and the run is completed."""
    environment["THREADMILL_DATABASE_URL"] = postgres_url
    Store(postgres_url).close()
    process = started("experiment", "ceiling", "--rounds", "5", "--quick", "--via", "direct", "--json")
    for _ in range(4):
        with suppress(RecordUnusable, OperationalError):
            wait_until(lambda: samples(postgres_url), "no round is on record", 60)
            crash(postgres_server)
        time.sleep(1)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert {row["round"] for row in json.loads(stdout)["samples"]} == set(range(5))
    assert statuses(postgres_url) == ["completed"]
    assert threadmill("history", "verify").returncode == 0


def test_a_commit_without_an_answer_is_not_taken_for_another(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes away between the commit and its answer: the run was closed by itself."""
    run_id = store.start_run(NEW)
    whole = Store.transaction

    @contextmanager
    def cut(self: Store) -> Iterator[Connection]:
        with whole(self) as connection:
            yield connection
        monkeypatch.setattr(Store, "transaction", whole)
        raise RecordUnusable(self.where, "the server has gone away", transient=True)

    monkeypatch.setattr(Store, "transaction", cut)
    head = store.finish_run(run_id, "completed")
    with closing(History(database_url)) as history:
        assert history.head(run_id) == head
        assert history.verify().entries == 1


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HEARTBEAT_S", 0.05)


def tools_for(store: Store) -> Tools:
    class Deaf:
        def __getattr__(self, _name: str) -> Callable[[Any], None]:
            return lambda _event: None

    history: Any = None
    return Tools(store, history, DirectRunner(1), Deaf(), CancelToken())


@pytest.mark.usefixtures("quick_beats")
def test_a_run_has_a_heartbeat(store: Store, database_url: str) -> None:
    """It is heard of while it writes nothing, and after the record was locked for longer than anybody waits."""
    with open_run(NEW, tools_for(store)):
        elsewhere(database_url, 1, None)
        with closing(Store(database_url)) as other, closing(History(database_url)) as history:
            wait_until(lambda: not history.lost_runs(), "nothing was heard of it")
            with other.transaction(), pytest.raises(RecordUnusable):
                store.beat(1)
            elsewhere(database_url, 1, None)
            wait_until(lambda: not history.lost_runs(), "nothing was heard of it")
    assert statuses(database_url) == ["completed"]
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("quick_beats")
def test_a_heart_that_learns_of_the_end_stops_the_work(store: Store, database_url: str) -> None:
    """A round takes minutes: it is not measured to its end for nothing."""
    tools = tools_for(store)

    def work() -> None:
        with open_run(NEW, tools):
            with closing(Store(database_url)) as other:
                other.finish_run(1, "crashed", "not heard of")
            wait_until(lambda: tools.cancel.cancelled, "the work goes on")
            raise InterruptedError("so ends the work")

    with pytest.raises(RunClosed, match="closed meanwhile as crashed"):
        work()
    assert statuses(database_url) == ["crashed"]


def test_work_that_goes_on_without_its_record(database_url: str) -> None:
    """A restoration is not broken off; the store keeps the reason, and writes nothing more."""
    store = LenientStore(database_url)
    run_id = store.start_run(NEW)
    with closing(Store(database_url)) as other:
        other.finish_run(run_id, "crashed", "not heard of")
    store.beat(run_id)
    assert isinstance(store.error, RunClosed)
    assert store.finish_run(run_id, "completed") is None
    store.close()
    assert statuses(database_url) == ["crashed"]
