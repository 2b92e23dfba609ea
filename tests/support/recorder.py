"""Processes that record one run after the other, and say what was acknowledged.

`python -m tests.support.recorder URL SECONDS COUNT FOLDER` forks so many, prints their numbers in one line, and waits.
Each writes lines to its file in the folder, always after the transaction: `start RUN`, `payload RUN ORDINAL`, `sample
RUN ORDINAL`, `end RUN HEAD`; at last `transactions N`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import UTC, datetime

from db.rows import NewRun
from db.store import Store
from tasks.axes import Outcome
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Encryption, Limits, encrypt_batch
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import choose_backend
from tasks.crypto.secret import ThrowAway
from tasks.rows import interpreter_facts, payload_rows, sample_rows
from tasks.suites import SUITES
from tasks.threads.cases import Case, Sample
from tasks.threads.interpreters import Interpreter

BATCHES, SIZE = 3, 3
PYTHON = Interpreter("/python", "3.14.0", "cpython", True, True, (), (("version", "3.14.0"),))
PYTHONS = {PYTHON.fingerprint: PYTHON}


def encryptions() -> tuple[Encryption, ...]:
    cancel = CancelToken()
    chosen = choose_backend("native", SUITES["modern"], "openssl", cancel)
    payloads = tuple((number, Payload("random", b"one", 100)) for number in range(BATCHES * SIZE))
    return encrypt_batch(Batch(0, "modern", chosen, payloads), ThrowAway(), Limits(), cancel)


def samples() -> list[Sample]:
    """Of cases that other recorders add at the same time."""
    keys = random.sample(range(1, 1000), SIZE)
    now = datetime.now(UTC)
    return [Sample(Case.ceiling(2, key), PYTHON.fingerprint, "0" * 64, 1, now, Outcome.OK, wall_ns=key) for key in keys]


def say(*lines: str) -> None:
    """At once, so that a killed process has said it."""
    os.write(sys.stdout.fileno(), "".join(f"{line}\n" for line in lines).encode())


def record(store: Store, payloads: tuple[Encryption, ...]) -> int:
    """One whole run; the number of transactions."""
    run_id = store.start_run(NewRun("survey", "direct", {}, "test"))
    say(f"start {run_id}")
    for first in range(0, len(payloads), SIZE):
        batch = payloads[first : first + SIZE]
        assert store.record_payloads(payload_rows(run_id, batch)) == SIZE
        say(*(f"payload {run_id} {one.ordinal}" for one in batch))
    rows = sample_rows(run_id, 0, samples(), PYTHONS)
    assert store.record_samples(rows, interpreter_facts(PYTHONS)) == SIZE
    say(*(f"sample {run_id} {ordinal}" for ordinal in range(SIZE)))
    say(f"end {run_id} {store.finish_run(run_id, 'completed')}")
    return BATCHES + 3


def record_for(seconds: float, url: str, payloads: tuple[Encryption, ...]) -> None:
    store, transactions = Store(url), 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        transactions += record(store, payloads)
    store.close()
    say(f"transactions {transactions}")


def main(url: str, seconds: str, count: str, folder: str) -> None:
    payloads = encryptions()
    children = []
    for _ in range(int(count)):
        child = os.fork()
        if not child:
            with open(os.path.join(folder, f"acknowledged-{os.getpid()}"), "w", encoding="ascii") as sys.stdout:
                record_for(float(seconds), url, payloads)
            return
        children.append(child)
    say(" ".join(map(str, children)))
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
