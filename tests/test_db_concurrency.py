"""Many processes record at once: nobody is refused, nothing that was acknowledged is lost, readers never wait."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import NullPool, create_engine, text

from db.errors import RecordError
from db.history import History
from db.ledger import LedgerFault
from db.rows import NewRun
from db.store import Store
from tests.recorder import BATCHES

ROOT = Path(__file__).parent.parent
RUN = NewRun("survey", "direct", {}, "test")
# A minute shows more, such as what a growing write-ahead log does to readers.
SECONDS = float(os.environ.get("THREADMILL_RECORDING_SECONDS", "3"))


@dataclass(frozen=True)
class Recorders:
    """Processes of `tests.recorder`, and what they say."""

    parent: subprocess.Popen[bytes]
    pids: list[int]
    folder: Path

    def complaints(self) -> str:
        """Of all, once they have ended."""
        assert self.parent.wait(600) == 0
        return (self.folder / "stderr").read_text()


@contextmanager
def recorders(url: str, folder: Path, count: int, seconds: float) -> Iterator[Recorders]:
    """So many, for so long."""
    command: list[str | Path] = [sys.executable, "-m", "tests.recorder", url, str(seconds), str(count), folder]
    with (folder / "stderr").open("ab") as file:
        parent = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )  # fmt: skip
    assert parent.stdout
    try:
        yield Recorders(parent, [int(word) for word in parent.stdout.readline().split()], folder)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()


def acknowledged(folder: Path) -> list[list[str]]:
    """The words of every whole line."""
    return [
        line.split()
        for file in sorted(folder.glob("acknowledged-*"))
        for line in file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def check_all_there(url: str, lines: Sequence[Sequence[str]]) -> None:
    """Whatever was acknowledged is in the database, and each run's head is in the ledger."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        found: set[tuple[str, ...]] = {
            ("start", str(run_id)) for (run_id,) in connection.execute(text("SELECT id FROM run"))
        }
        for kind, table in (("payload", "encryption"), ("sample", "sample")):
            rows = connection.execute(text(f"SELECT run_id, ordinal FROM {table}"))  # noqa: S608 - our tables
            found |= {(kind, str(run_id), str(ordinal)) for run_id, ordinal in rows}
        rows = connection.execute(text("SELECT run_id, head FROM ledger"))
        found |= {("end", str(run_id), head) for run_id, head in rows}
    said = {tuple(line) for line in lines if line[0] != "transactions"}
    assert said - found == set()
    assert len(said) == sum(line[0] != "transactions" for line in lines)


class Reader(threading.Thread):
    """Asks for the newest runs all the time, and refuses to wait for anybody; now and then verifies all."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.history = History(url, timeout_s=0)
        self.done = threading.Event()
        self.seconds: list[float] = []
        self.refused: RecordError | None = None
        self.faults: list[LedgerFault] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()
        self.history.close()

    def run(self) -> None:
        try:
            while not self.done.wait(0.02) and not self.faults:
                begin = time.monotonic()
                self.history.runs()
                self.seconds.append(time.monotonic() - begin)
                if len(self.seconds) % 100 == 0:
                    self.faults += self.history.verify().faults
        except RecordError as refused:
            self.refused = refused


@pytest.mark.slow
def test_sixteen_processes_record_at_once(database_url: str, tmp_path: Path) -> None:
    """No writer is refused, every acknowledged row is there, the ledger verifies, and a reader never has to wait."""
    Store(database_url).close()
    with Reader(database_url) as reader, recorders(database_url, tmp_path, 16, SECONDS) as sixteen:
        assert sixteen.complaints() == ""
    assert (reader.refused, reader.faults) == (None, [])
    lines = acknowledged(tmp_path)
    transactions = sum(int(line[1]) for line in lines if line[0] == "transactions")
    slowest_s = max(reader.seconds)
    print(f"{transactions / SECONDS:.0f} transactions/s; {len(reader.seconds)} reads in at most {slowest_s:.3f} s")
    # One whole run of each at least; how many more is a matter of speed.
    assert transactions >= 16 * (BATCHES + 3)
    assert len(reader.seconds) > 10
    check_all_there(database_url, lines)
    with closing(History(database_url)) as history:
        runs = sum(line[0] == "start" for line in lines)
        verdict = history.verify()
        assert (verdict.faults, verdict.runs, verdict.entries) == ((), runs, runs)
        assert {run.status for run in history.runs(limit=runs)} == {"completed"}


@pytest.mark.slow
def test_killed_writers_lose_nothing(database_url: str, tmp_path: Path, dice: random.Random) -> None:
    """`kill -9` of twelve writers: what they acknowledged is there, and the next start closes and seals the rest."""
    Store(database_url).close()
    for _ in range(3):
        before = len(acknowledged(tmp_path))
        with recorders(database_url, tmp_path, 4, 600) as four:
            while len(acknowledged(tmp_path)) < before + 20:
                assert four.parent.poll() is None
                time.sleep(0.02)
            for pid in four.pids:
                time.sleep(dice.uniform(0, 0.2))
                os.kill(pid, signal.SIGKILL)
            assert four.complaints() == ""
    lines = acknowledged(tmp_path)
    check_all_there(database_url, lines)
    with closing(Store(database_url)) as store, closing(History(database_url)) as history:
        newest = store.start_run(RUN)
        statuses = {run.id: run.status for run in history.runs(limit=10_000)}
        assert statuses.pop(newest) == "running"
        assert "crashed" in statuses.values()
        assert set(statuses.values()) <= {"completed", "crashed"}
        verdict = history.verify()
        assert (verdict.faults, verdict.runs) == ((), len(statuses))
