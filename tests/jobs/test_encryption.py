"""Outcomes of batches: counts that add up, and the first few faults."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.history import History
from db.rows import NewRun
from db.store import Store
from flows.jobs.encrypt import EncryptionOutcome, advice
from tasks.crypto.encrypt import Encryption, PayloadStatus
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import Chosen
from tasks.rows import payload_rows
from tasks.suites import SUITES
from tests.support.crypto_fakes import modest

STATUSES: list[PayloadStatus] = ["ok", "failed", "skipped", "unstable", "unchanged"]
NATIVE = Chosen("native", "", "asked for")


def result(
    status: PayloadStatus,
    *,
    name: bytes = b"/file",
    size: int | None = None,
    cause: str | None = None,
    error: str | None = None,
) -> Encryption:
    payload = Payload("file", name, size)
    return Encryption(0, payload, SUITES["modern"], NATIVE, status, 0, 0, size_bytes=size, cause=cause, error=error)


def outcome_of(*batches: list[Encryption]) -> EncryptionOutcome:
    outcome = EncryptionOutcome()
    for batch in batches:
        outcome.add(batch)
    return outcome


def test_nothing_is_nothing() -> None:
    """No payloads give an outcome of zeros."""
    assert outcome_of() == outcome_of([]) == EncryptionOutcome()
    assert (outcome_of().exit_code, outcome_of().message) == (0, "nothing left to do")


def test_a_batch_is_counted() -> None:
    """Counts by status, the bytes of good payloads, and the unreadable ones among the failed."""
    summary = outcome_of(
        [
            result("ok", size=10),
            result("ok", size=0),
            result("ok", size=5),
            result("failed", cause="unreadable", error="cannot be read"),
            result("failed", cause="stage", error="exited with 1"),
            result("skipped", cause="not-a-file", error="FIFO"),
            result("unstable", cause="changed", error="changed"),
        ]
    )
    assert summary.counts == {"ok": 3, "failed": 2, "skipped": 1, "unstable": 1}
    assert (summary.counts.total(), summary.size_bytes, summary.unreadable) == (7, 15, 1)
    assert [(fault.status, fault.cause, fault.error) for fault in summary.faults] == [
        ("failed", "unreadable", "cannot be read"),
        ("failed", "stage", "exited with 1"),
        ("unstable", "changed", "changed"),
    ]


def test_only_the_first_faults_are_kept() -> None:
    """However many payloads fail, an outcome stays small, within a batch and over batches."""
    many = [result("failed", name=b"/%d" % number, error="bad") for number in range(100)]
    assert outcome_of(many).faults == many[:5]
    together = outcome_of(many[:2], many[2:4], many[4:])
    assert together.faults == many[:5]
    assert together.named_faults.endswith("/4 (bad) and 95 more")
    assert together.counts == {"failed": 100}


@pytest.mark.parametrize(("name", "shown"), [(b"/\xff", "/\\xff"), ("/é".encode(), "/é")])
def test_any_name_can_be_shown(name: bytes, shown: str) -> None:
    """A name that is not UTF-8 is shown with its bytes escaped."""
    assert outcome_of([result("failed", name=name, error="bad")]).named_faults == f"{shown} (bad)"


@modest
@given(
    rows=st.lists(st.tuples(st.sampled_from(STATUSES), st.integers(0, 1 << 40)), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_batches_do_not_matter(rows: list[tuple[PayloadStatus, int]], cuts: list[int]) -> None:
    """However a run is cut into batches, the total is that of all its payloads in one."""
    results = [
        result(
            status,
            name=b"/%d" % number,
            size=size if status == "ok" else None,
            cause="unreadable" if status == "failed" and size % 2 else None,
            error=None if status == "ok" else "bad",
        )
        for number, (status, size) in enumerate(rows)
    ]
    edges = [0, *sorted(min(cut, len(results)) for cut in cuts), len(results)]
    batches = [results[start:end] for start, end in itertools.pairwise(edges)]
    assert outcome_of(*batches) == outcome_of(results)


@pytest.mark.parametrize(
    ("openssl_s", "native_s", "native_bytes", "said"),
    [
        (2.0, 1.0, 4096, "native takes about 50% of that time here: --backend native"),
        (2.0, 0.001, 4096, "native takes less than 1% of that time here: --backend native"),
        (2.0, 1.9, 4096, None),
        (0.2, 0.1, 4096, None),
        (2.0, 1.0, 1 << 20, None),
    ],
    ids=["much faster", "a thousand times faster", "hardly faster", "a short run", "payloads of another size"],
)
def test_a_long_run_ends_with_advice_from_the_record(
    tmp_path: Path, openssl_s: float, native_s: float, native_bytes: int, said: str | None
) -> None:
    """Where native has taken less time for such payloads on this host, and the run was long."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    with closing(Store(url)) as store, closing(History(url)) as history:
        run_id = 0
        for backend, seconds, size in (("native", native_s, native_bytes), ("openssl", openssl_s, 4096)):
            run_id = store.start_run(NewRun("encrypt_payloads", "direct", {}, "test"))
            rows = payload_rows(run_id, [replace(result("ok", size=size), ordinal=number) for number in range(10)])
            store.record_payloads([replace(row, backend=backend, wall_ns=int(seconds * 1e9)) for row in rows])
            store.finish_run(run_id, "completed")
        assert advice(history, run_id) == said
