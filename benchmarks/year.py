"""A year of runs, made up: rows by bulk inserts, each run then summed up and sealed as the store does it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from sqlite3 import Connection as SqliteConnection

from sqlalchemy import Connection, Table, event, insert

from db.engine import open_engine, parse_url
from db.ledger import seal
from db.store import Store
from db.summaries import roll_up_closed_days, summarise_run
from db.tables import CASE, ENCRYPTION, HOST, INTERPRETER, RUN, STAGE
from tasks.axes import Executor, Guard, Shape, Workload
from tasks.threads.cases import Case as MeasuredCase

DAYS = 365
ROUNDS = 6
PAYLOADS = 10
PYTHONS = ("3.11.7", "3.12.4", "3.13.0", "3.13.0t")
# One in so many is broken.
SAMPLES_PER_FAILURE, PAYLOADS_PER_FAILURE = 2_000, 500
CASES = (
    *(MeasuredCase.speedup(workload, executor, 2) for workload in Workload for executor in Executor),
    *(MeasuredCase.race(guard, shape) for guard in Guard if guard.shaped for shape in Shape),
)
SERIES = len(CASES) * len(PYTHONS)
SAMPLES_PER_RUN = SERIES * ROUNDS
_SAMPLE = (
    "run_id", "ordinal", "case_id", "interpreter_id", "round", "started_at", "outcome", "expected", "found", "error",
    "wall_ns", "cpu_ns", "runq_ns", "blocked_ns", "context_switches", "gil_on", "foreign_share", "noisy",
)  # fmt: skip
# By the driver alone, which is four times as fast as SQLAlchemy here.
_INSERT_SAMPLE = f"INSERT INTO sample ({', '.join(_SAMPLE)}) VALUES ({', '.join('?' * len(_SAMPLE))})"  # noqa: S608


def fill(url: str, samples: int) -> int:
    """Fill a new SQLite database: runs of experiments with that many samples in all, for each one of encryptions.

    They are spread evenly over the year before today, and all its days are rolled up. The number of samples written.
    """
    Store(url).close()
    engine = open_engine(parse_url(url), readonly=False)
    event.listen(engine, "connect", _careless)
    draw = random.Random(samples)
    runs = max(1, samples // SAMPLES_PER_RUN)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = today - timedelta(days=DAYS)
    with engine.begin() as connection:
        host_id = _insert(connection, HOST, fingerprint="0" * 64, name="example", facts={"cpus": 2})
        case_ids = [_case_id(connection, one) for one in CASES]
        python_ids = [_interpreter_id(connection, version) for version in PYTHONS]
    series = list(product(case_ids, python_ids))
    times = [draw.uniform(1e7, 1e9) for _ in series]
    for first in range(0, runs, 10):
        # Ten at once, or most of the time would go into waiting for the disk.
        with engine.begin() as connection:
            for number in range(first, min(first + 10, runs)):
                at = begin + timedelta(days=DAYS) * number / runs
                run_id = _run(connection, host_id, "run_experiments", at)
                connection.exec_driver_sql(_INSERT_SAMPLE, list(_samples(run_id, at, series, times, draw)))
                _close(connection, run_id)
                run_id = _run(connection, host_id, "encrypt_payloads", at + timedelta(minutes=5))
                _encryptions(connection, run_id, at + timedelta(minutes=5), draw)
                _close(connection, run_id)
    with engine.begin() as connection:
        roll_up_closed_days(connection, today.date())
    engine.dispose()
    store = Store(url)
    store.optimise()
    store.close()
    return runs * SAMPLES_PER_RUN


def _careless(connection: SqliteConnection, _entry: object) -> None:
    """Indexes of millions of rows in memory, and no waiting for the disk: a database that breaks is filled again."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")


def _insert(connection: Connection, table: Table, **row: object) -> int:
    key: int = connection.execute(insert(table).returning(table.c.id), row).scalar_one()
    return key


def _run(connection: Connection, host_id: int, flow: str, at: datetime) -> int:
    return _insert(
        connection, RUN, flow=flow, attempt=1, via="direct", host_id=host_id, boot_id="boot", pid=1, pid_start=1,
        code_version="0.1.0", parameters={"random": "4096x10"}, usable_cpus=2, status="completed", started_at=at,
        covariates={"kernel": "6.1", "python": "3.11.7", "load_1m": 0.7}, finished_at=at + timedelta(minutes=4),
    )  # fmt: skip


def _close(connection: Connection, run_id: int) -> None:
    summarise_run(connection, run_id)
    seal(connection, run_id)


def _case_id(connection: Connection, case: MeasuredCase) -> int:
    axes = ("key", "experiment", "executor", "workload", "shape", "guard", "workers", "count")
    return _insert(connection, CASE, workload_version="0" * 64, **{name: getattr(case, name) for name in axes})


def _interpreter_id(connection: Connection, version: str) -> int:
    return _insert(
        connection, INTERPRETER, fingerprint=hashlib.sha256(version.encode()).hexdigest(), label=version,
        version=version.removesuffix("t"), implementation="cpython", gil_build=not version.endswith("t"), facts={},
    )  # fmt: skip


def _samples(
    run_id: int, at: datetime, series: list[tuple[int, int]], times: list[float], draw: random.Random
) -> Iterator[tuple[object, ...]]:
    """In the order of `_SAMPLE`, as SQLite keeps them."""
    for ordinal in range(SAMPLES_PER_RUN):
        which = ordinal % SERIES
        broken = not draw.randrange(SAMPLES_PER_FAILURE)
        wall_ns = int(times[which] * (1 + 0.05 * draw.random()))
        started_at = (at + timedelta(milliseconds=100 * ordinal)).strftime("%Y-%m-%d %H:%M:%S.%f")
        yield (
            run_id, ordinal, *series[which], ordinal // SERIES, started_at, "crashed" if broken else "ok", "4093082899",
            None if broken else "4093082899", "killed by SIGSEGV" if broken else None, None if broken else wall_ns,
            wall_ns, wall_ns // 100, wall_ns // 50, 12, True, 0.01, draw.random() < 0.05,
        )  # fmt: skip


def _encryptions(connection: Connection, run_id: int, at: datetime, draw: random.Random) -> None:
    rows = []
    for ordinal in range(PAYLOADS):
        failed = not draw.randrange(PAYLOADS_PER_FAILURE)
        row: dict[str, object] = {
            "run_id": run_id, "ordinal": ordinal, "name": f"/srv/documents/{ordinal}.pdf", "name_bytes": None,
            "kind": "file", "size_bytes": 100_000, "ciphertext_bytes": 100_016, "suite": "modern",
            "cipher": "aes-256-ctr", "digest_algorithm": "sha256", "kdf": "pbkdf2-hmac-sha256", "iterations": 1,
            "salt": draw.randbytes(8), "digest": draw.randbytes(32), "backend": "openssl",
            "backend_detail": "OpenSSL 3.0.19", "backend_reason": "asked for",
            "status": "failed" if failed else "ok", "cause": "stage" if failed else None,
            "error": "openssl enc ended with exit code 1" if failed else None,
            "started_at": at + timedelta(milliseconds=20 * ordinal), "wall_ns": draw.randrange(8_000_000, 12_000_000),
        }  # fmt: skip
        rows.append(row)
    ids = connection.execute(
        insert(ENCRYPTION).returning(ENCRYPTION.c.id, sort_by_parameter_order=True), rows
    ).scalars()
    stages = [
        {"encryption_id": key, "position": position, "program": program, "exit_code": 0, "wall_ns": 9_000_000,
         "cpu_ns": 5_000_000}
        for key, (position, program) in product(ids, enumerate(("openssl enc", "openssl dgst")))
    ]  # fmt: skip
    connection.execute(insert(STAGE), stages)
