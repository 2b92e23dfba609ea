"""Writing to the record, on both databases: real files and servers, real processes, real faults."""

from __future__ import annotations

import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text

from db.engine import _use_wal
from db.errors import RecordUnusable, RunClosed, SchemaTooNew
from db.history import History, PayloadFilter, SampleFilter
from db.lenient import UNRECORDED, LenientHistory, LenientStore
from db.rows import NewRun
from db.store import Store
from db.words import PAYLOAD_FAILURES, SAMPLE_FAILURES, VERDICT_FAULTS, VERDICT_KINDS
from tasks.axes import Guard, Outcome, Shape
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Encryption, Limits, PayloadStatus, encrypt_batch
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import choose_backend
from tasks.crypto.secret import ThrowAway
from tasks.rows import interpreter_facts, payload_rows, sample_rows
from tasks.suites import SUITES
from tasks.threads.cases import Case, Sample
from tasks.threads.interpreters import Interpreter
from tasks.vault.errors import GOOD, VerdictKind, VerdictStatus

RUN = NewRun("survey", "direct", {"random": "100x3"}, "0.1.0")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "history.sqlite"


@pytest.fixture
def sqlite_store(file: Path) -> Iterator[Store]:
    """For faults that only a file can have."""
    store = Store(f"sqlite:///{file}", timeout_s=0.2)
    yield store
    store.close()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url, timeout_s=0.2)
    yield store
    store.close()


@pytest.fixture
def history(database_url: str, store: Store) -> Iterator[History]:
    """What is in the record of `store`."""
    history = History(database_url)
    yield history
    history.close()


def encryptions(*payloads: Payload) -> tuple[Encryption, ...]:
    cancel = CancelToken()
    chosen = choose_backend("native", SUITES["modern"], "openssl", cancel)
    return encrypt_batch(Batch(0, "modern", chosen, tuple(enumerate(payloads))), ThrowAway(), Limits(), cancel)


def random_payloads(count: int) -> list[Payload]:
    return [Payload("random", b"random #%d" % number, 100) for number in range(count)]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes are tried again without a pause."""
    monkeypatch.setattr("db.store.AGAIN_AFTER_S", (0, 0))


@pytest.mark.usefixtures("at_once")
def test_a_run_goes_on_without_a_record_that_fails(file: Path, tmp_path: Path) -> None:
    """The first error of a lenient store, at whichever write, is kept, and nothing is written after it."""
    store = LenientStore(f"sqlite:///{file}", timeout_s=0.2)
    run_id = store.start_run(RUN)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.finish_run(run_id, "completed") is None
    assert isinstance(store.error, RecordUnusable)
    other.execute("ROLLBACK")
    other.close()
    assert store.start_run(RUN) == UNRECORDED
    store.close()
    with closing(LenientHistory(f"sqlite:///{file}")) as history:
        assert [run.status for run in history.runs()] == ["running"]
        assert history.error is None
    file.write_bytes(b"no database" * 1000)
    broken = LenientStore(f"sqlite:///{file}", timeout_s=0.2)
    with closing(broken), closing(LenientHistory(f"sqlite:///{file}")) as history:
        assert broken.start_run(RUN) == UNRECORDED
        assert (history.vaults(), history.empty) == ([], True)
        assert "not an SQLite database" in str(history.error)
        assert str(history.error) == str(broken.error)


def test_folder_is_for_its_owner_only(sqlite_store: Store, file: Path) -> None:
    """The record names people's files, so others may not even list its folder."""
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_was_recorded_comes_back(store: Store, history: History) -> None:
    """Every fact of a payload is read back as it was written."""
    run_id = store.start_run(RUN)
    (written,) = encryptions(Payload("random", b"one", 100))
    assert store.record_payloads(payload_rows(run_id, [written])) == 1
    (read,) = history.payloads(PayloadFilter(run_id=run_id))
    assert (read.name, read.size_bytes, read.ciphertext_bytes) == ("one", 100, 116)
    assert (read.salt, read.digest) == (written.salt, written.digest)
    assert (read.cipher, read.kdf, read.iterations) == ("aes-256-ctr", "pbkdf2-hmac-sha256", 1)
    assert read.wall_ns == written.wall_ns
    assert read.started_at.timestamp() == pytest.approx(written.started_at_ns / 1e9, abs=1e-5)
    assert [read] == payload_rows(run_id, [written])


def test_batch_recorded_twice_is_there_once(store: Store, history: History) -> None:
    """A batch that is tried again adds only what is not there yet."""
    run_id = store.start_run(RUN)
    batch = encryptions(*random_payloads(5))
    assert store.record_payloads(payload_rows(run_id, batch[:3])) == 3
    assert store.record_payloads(payload_rows(run_id, batch)) == 2
    assert store.record_payloads(payload_rows(run_id, batch)) == 0
    assert len(history.payloads(PayloadFilter(run_id=run_id))) == 5


def test_name_that_is_not_utf8_keeps_its_bytes(store: Store, history: History) -> None:
    """The text is for people; the bytes are beside it."""
    run_id = store.start_run(RUN)
    store.record_payloads(payload_rows(run_id, encryptions(Payload("random", b"caf\xe9", 1))))
    (read,) = history.payloads(PayloadFilter(run_id=run_id))
    assert (read.name, read.name_bytes) == ("caf\\xe9", b"caf\xe9")


def test_run_of_a_dead_process_is_marked_by_the_next(store: Store, history: History, database_url: str) -> None:
    """A process that ended without a word leaves a row that the next run closes."""
    program = (
        "import os, sys; from db.store import Store; from db.rows import NewRun\n"
        "Store(sys.argv[1]).start_run(NewRun('survey', 'direct', {}, '0'))\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, database_url], check=False)
    assert killed.returncode == -9
    assert [run.status for run in history.runs()] == ["running"]
    store.start_run(RUN)
    assert [run.status for run in history.runs()] == ["running", "crashed"]
    assert history.runs()[1].finished_at is not None


def test_run_of_a_live_process_is_left_alone(store: Store, history: History) -> None:
    """Two runs at once do not declare each other dead."""
    store.start_run(RUN)
    store.start_run(RUN)
    assert [run.status for run in history.runs()] == ["running", "running"]


def test_closed_run_stays_as_it_is(store: Store, history: History) -> None:
    """The first end of a run is the one on record."""
    run_id = store.start_run(RUN)
    store.finish_run(run_id, "cancelled", "why")
    (written,) = encryptions(*random_payloads(1))
    for write in (
        lambda: store.finish_run(run_id, "completed"),
        lambda: store.record_payloads(payload_rows(run_id, [written])),
        lambda: store.beat(run_id),
    ):
        with pytest.raises(RunClosed, match=r"run 1 was closed meanwhile as cancelled \(why\)") as caught:
            write()
        assert caught.value.exit_code == 1
    (run,) = history.runs()
    assert (run.status, run.error) == ("cancelled", "why")
    assert history.counts(run_id) == []
    assert history.verify().faults == ()


def test_a_lock_that_is_held_too_long_costs_nothing(store: Store, database_url: str, history: History) -> None:
    """What could not be written is tried again."""
    run_id = store.start_run(RUN)
    rows = payload_rows(run_id, encryptions(*random_payloads(3)))
    with closing(Store(database_url)) as other, other.transaction():
        # The store waits for 0.2 s, then pauses for 1 s.
        thread = threading.Thread(target=store.record_payloads, args=(rows,))
        thread.start()
        time.sleep(0.7)
    thread.join()
    assert history.counts(run_id)[0].count == 3


@pytest.mark.usefixtures("at_once")
def test_locked_database_is_one_clear_line(store: Store, database_url: str) -> None:
    """Somebody else's write lock is waited for, then named; it may pass, and nothing is half-written."""
    run_id = store.start_run(RUN)
    other = Store(database_url)
    with other.transaction(), pytest.raises(RecordUnusable, match="locked by another process") as caught:
        store.record_payloads(payload_rows(run_id, encryptions(*random_payloads(3))))
    assert caught.value.transient
    other.close()
    assert store.record_payloads(payload_rows(run_id, encryptions(*random_payloads(3)))) == 3


def test_full_database_keeps_all_or_nothing_of_a_batch(sqlite_store: Store, file: Path) -> None:
    """When there is no room, the batch is not there at all, and fits again when there is room."""
    run_id = sqlite_store.start_run(RUN)
    pages = sqlite3.connect(file).execute("PRAGMA page_count").fetchone()[0]
    batch = encryptions(*random_payloads(2000))
    with sqlite_store._engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")
    with pytest.raises(RecordUnusable, match="disk is full") as caught:
        sqlite_store.record_payloads(payload_rows(run_id, batch))
    assert not caught.value.transient
    assert History(f"sqlite:///{file}").counts(run_id) == []
    with sqlite_store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    assert sqlite_store.record_payloads(payload_rows(run_id, batch)) == 2000


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Another file under that name is not written to."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one " * 40)
    before = path.read_bytes()
    with pytest.raises(RecordUnusable, match="not an SQLite database"):
        Store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_url_of_another_kind_is_refused() -> None:
    """A URL that nothing here can use is refused without its password being shown."""
    with pytest.raises(RecordUnusable, match="only SQLite and PostgreSQL") as caught:
        Store("mysql://me:hunter2@localhost/db")
    assert "hunter2" not in str(caught.value)


def test_samples_recorded_twice_are_there_once(store: Store, history: History) -> None:
    """A round that is tried again adds only what is not there yet; every reading comes back as it was."""
    run_id = store.start_run(RUN)
    interpreter = Interpreter("/python", "3.14.0", "cpython", False, False, (), (("version", "3.14.0"),))
    interpreters = {interpreter.fingerprint: interpreter}
    case = Case.race(Guard.NONE, Shape.AUGMENTED, 2, 1000)
    blank = Sample(case, interpreter.fingerprint, "0" * 64, 1, datetime.now(UTC), Outcome.LOST)
    first = replace(blank, expected="2000", found="1500", wall_ns=2**40, foreign_share=0.1, gil_on=False, noise="busy")
    second = replace(blank, outcome=Outcome.CRASHED, error="killed by SIGSEGV")
    rows, facts = sample_rows(run_id, 0, [first, second], interpreters), interpreter_facts(interpreters)
    assert store.record_samples(rows[:1], facts) == 1
    assert store.record_samples(rows, facts) == 1
    assert store.record_samples(rows, facts) == 0
    read = history.samples(SampleFilter(run_id=run_id))
    assert read == rows
    assert (read[0].case, read[0].expected, read[0].found) == (case.key, 2000, 1500)
    for one, sample in zip(read, [first, second], strict=True):
        assert (one.interpreter.label, one.guard, one.workers) == ("3.14.0t", "none", 2)
        for name in ("started_at", "outcome", "error", "wall_ns", "gil_on", "foreign_share", "noisy", "noise"):
            assert getattr(one, name) == getattr(sample, name)


def test_text_that_databases_refuse_is_written_readably(store: Store, history: History) -> None:
    """What a broken program printed may hold NUL, or bytes that are no text: neither costs the row."""
    run_id = store.start_run(RUN)
    (written,) = encryptions(Payload("random", b"nul\0here", 1))
    store.record_payloads(payload_rows(run_id, [replace(written, error="a\0b\udcffc\nd")]))
    (read,) = history.payloads(PayloadFilter(run_id=run_id))
    assert (read.name, read.name_bytes) == ("nul\\x00here", b"nul\0here")
    assert read.error == "a\\x00b\\udcffc\nd"
    store.finish_run(run_id, "failed", "\0")
    assert history.runs()[0].error == "\\x00"
    assert history.verify().faults == ()


def test_newer_schema_is_refused(store: Store, database_url: str) -> None:
    """What a newer program wrote is neither read nor written."""
    with store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opened in (Store, History):
        with pytest.raises(SchemaTooNew, match="newer") as caught:
            opened(database_url)
        assert len(str(caught.value).splitlines()) == 1


def test_threads_record_side_by_side(history: History, database_url: str) -> None:
    """Writers in threads wait for each other instead of failing."""
    patient = Store(database_url)
    run_ids = [patient.start_run(RUN) for _ in range(8)]
    batch = encryptions(*random_payloads(50))
    threads = [
        threading.Thread(target=patient.record_payloads, args=(payload_rows(run_id, batch),)) for run_id in run_ids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    patient.close()
    assert [history.counts(run_id)[0].count for run_id in run_ids] == [50] * 8


def test_store_travels_to_another_process_as_its_url(store: Store) -> None:
    """A pickled store opens its own connections where it arrives, and waits for a lock as long as the original."""
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
    assert vars(copy)["_timeout_s"] == vars(store)["_timeout_s"]
    assert copy.where == store.where
    assert copy.start_run(RUN) == 1
    copy.close()


def test_unwritable_database_is_one_clear_line(sqlite_store: Store, file: Path) -> None:
    """A database that may only be read says so, and what to do."""
    sqlite_store.start_run(RUN)
    sqlite_store.close()
    # Readable all the way, writable nowhere; root may write anywhere, so it becomes nobody once all is imported.
    for folder in file.parents[: len(file.parents) - 2]:
        folder.chmod(0o755)
    file.chmod(0o444)
    file.parent.chmod(0o555)
    program = (
        "import os, sys, sqlalchemy\n"
        "from db.store import Store; from db.errors import RecordUnusable\n"
        "sqlalchemy.create_engine('sqlite://').connect().close()\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: Store(sys.argv[1])\n"
        "except RecordUnusable as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{file}"], capture_output=True, text=True, check=False
    )
    file.parent.chmod(0o755)
    assert "read-only" in ended.stdout or "cannot be opened" in ended.stdout, ended.stderr
    assert len(ended.stdout.splitlines()) == 1


def test_engines_and_record_agree_on_failures() -> None:
    """The engines do not know the record, so each has its words; they are the same."""
    assert set(SAMPLE_FAILURES) == {str(outcome) for outcome in Outcome if outcome.is_failure}
    assert set(VERDICT_FAULTS) == set(get_args(VerdictStatus)) - GOOD
    assert set(VERDICT_KINDS) == set(get_args(VerdictKind))
    assert set(PAYLOAD_FAILURES) < set(get_args(PayloadStatus))


def test_a_file_system_without_shared_memory_is_refused_at_once(tmp_path: Path) -> None:
    """SQLite says so by keeping its journal, without an error."""
    with (
        closing(sqlite3.connect(f"file:{tmp_path}/x.sqlite?vfs=unix-none", uri=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="no shared memory"),
    ):
        _use_wal(connection, timeout_s=60)
