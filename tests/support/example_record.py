"""Two months of a host's nightly jobs, with a few mishaps in it: what docs/history.md shows, and tests query."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tasks.axes import Executor, Guard, Shape, Workload
from tasks.threads.cases import Case
from tests.support.example_vault import ExampleVault
from tests.support.generated_record import GeneratedRecord, NewPayload, NewSample, at_hour

FIRST_DAY = date(2026, 9, 1)
DAYS = 61
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
# From here on openssl is another one, and slower.
NEW_OPENSSL = date(2026, 10, 5)
NEW_PYTHON = date(2026, 9, 25)
UNREADABLE = date(2026, 10, 21)
CRASHED = date(2026, 10, 12)
UNSTABLE = date(2026, 10, 27)
WRONG = date(2026, 10, 18)
FOLDER = "/srv/documents"
FILES = {"contracts/lease.pdf": 1_900_000, "contracts/offer.pdf": 1_400_000, "letters/draft.odt": 45_000,
         "letters/reply.odt": 52_000, "ledger.csv": 310_000, "scans/2026.tif": 7_800_000}  # fmt: skip
SERIAL = Case.speedup(Workload.FACTORIZE, Executor.SERIAL)
THREADS = Case.speedup(Workload.FACTORIZE, Executor.THREAD)
UNLOCKED = Case.race(Guard.NONE, Shape.AUGMENTED)
LOCKED = Case.race(Guard.LOCK, Shape.AUGMENTED)
ROUNDS = 6
# Milliseconds: serial, a thread per number, unlocked, locked.
TIMES = {"3.11": (300, 315, 260, 210), "3.13": (270, 280, 240, 175), "3.13t": (330, 190, 330, 520)}


def example(folders: pytest.TempPathFactory) -> Path:
    """The file, made once in a session of tests; not to be written to."""
    folder = folders.getbasetemp() / "example"
    path = folder / "history.sqlite"
    if not path.exists():
        folder.mkdir()
        make_example(f"sqlite:///{path}")
    return path


def make_example(url: str) -> None:
    """Fill a database; every day but the last is rolled up."""
    draw = random.Random(2026)
    record = GeneratedRecord(url)
    vault = ExampleVault(record, FOLDER, FILES)
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        _nightly(record, day, draw)
        vault.keep(day)
        _measure(record, day, draw, "alpha", 1.0)
        if number % 7 == 6:
            _measure(record, day, draw, "beta", 0.8)
        vault.verify(day)
        if day == LAST_DAY:
            _by_hand(record, day, draw)
            _by_hand(record, day, draw)
    record.roll_up(LAST_DAY)
    record.close()


def _nightly(record: GeneratedRecord, day: date, draw: random.Random) -> None:
    detail, slower = ("OpenSSL 3.0.19", 1.18) if day >= NEW_OPENSSL else ("OpenSSL 3.0.18", 1.0)
    payloads = [
        NewPayload(f"{FOLDER}/{name}", _about(draw, slower * (4e6 + size * 4)), size, detail=detail)
        for name, size in FILES.items()
    ]
    status, error = "completed", None
    if day == UNREADABLE:
        payloads[2] = NewPayload(payloads[2].name, 0, 0, detail=detail, status="failed", cause="unreadable")
        status, error = "failed", "1 of 6 payloads failed"
    if day == UNSTABLE:
        payloads[4] = NewPayload(
            payloads[4].name, 9_000_000, 310_000, detail=detail, status="unstable", cause="changed"
        )
        status, error = "failed", "1 of 6 payloads would not hold still"
    if day == CRASHED:
        payloads, status, error = payloads[:2], "crashed", "its process ended without a word"
    record.run(
        at_hour(day, 2), payloads=payloads, flow="encrypt_files", deployment="nightly", status=status, error=error
    )


def _measure(record: GeneratedRecord, day: date, draw: random.Random, host: str, speed: float) -> None:
    samples = list(_samples(day, draw, speed))
    if day == WRONG and host == "alpha":
        samples[3] = NewSample(THREADS, samples[3].wall_ns, samples[3].python, outcome="wrong-output")
    status, error = ("failed", "1 sample failed") if day == WRONG and host == "alpha" else ("completed", None)
    record.run(at_hour(day, 4), samples=samples, deployment="measure", host=host, status=status, error=error)


def _samples(day: date, draw: random.Random, speed: float) -> Iterator[NewSample]:
    pythons = {"3.11": "3.11.7", "3.13": "3.13.1" if day >= NEW_PYTHON else "3.13.0", "3.13t": "3.13.0t"}
    for number in range(ROUNDS):
        for minor, label in pythons.items():
            serial, threads, unlocked, locked = (_about(draw, ms * 1e6 / speed) for ms in TIMES[minor])
            lost = draw.randrange(1_200_000, 1_900_000) if minor == "3.13t" else 0
            yield NewSample(SERIAL, serial, label, round=number, noisy=draw.random() < 0.03)
            yield NewSample(THREADS, threads, label, round=number)
            outcome = "lost" if lost else "none-observed"
            yield NewSample(UNLOCKED, unlocked, label, outcome=outcome, lost=lost, round=number)
            yield NewSample(LOCKED, locked, label, round=number)


def _by_hand(record: GeneratedRecord, day: date, draw: random.Random) -> None:
    payloads = [
        NewPayload(
            f"random #{number}", _about(draw, 2e5), 4096, suite="classic", backend="native", detail="cryptography 50"
        )
        for number in range(3)
    ]
    record.run(at_hour(day, 9), payloads=payloads, flow="encrypt_payloads")


def _about(draw: random.Random, wall_ns: float) -> int:
    """Some per cent more or less, and now and then much more."""
    factor = draw.gauss(1, 0.02)
    return round(wall_ns * (factor * draw.uniform(1.3, 2.5) if draw.random() < 0.01 else factor))
