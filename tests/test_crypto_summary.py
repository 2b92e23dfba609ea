"""Summaries of batches: counts that add up, and the first few faults."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.encrypt import Encryption, PayloadStatus
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import Chosen
from tasks.crypto.suites import SUITES
from tasks.crypto.summary import BatchSummary, summarise, total
from tests.crypto_fakes import modest

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


def test_nothing_is_nothing() -> None:
    """No payloads give a summary of zeros."""
    assert summarise([]) == total([]) == BatchSummary()
    assert BatchSummary().payloads == 0


def test_a_batch_is_counted() -> None:
    """Counts by status, the bytes of good payloads, and the unreadable ones among the failed."""
    summary = summarise(
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
    assert (summary.payloads, summary.size_bytes, summary.unreadable) == (7, 15, 1)
    assert [(fault.status, fault.cause, fault.error) for fault in summary.faults] == [
        ("failed", "unreadable", "cannot be read"),
        ("failed", "stage", "exited with 1"),
        ("unstable", "changed", "changed"),
    ]


def test_only_the_first_faults_are_kept() -> None:
    """However many payloads fail, a summary stays small, within a batch and over batches."""
    many = [result("failed", name=b"/%d" % number, error="bad") for number in range(100)]
    assert [fault.name for fault in summarise(many).faults] == ["/0", "/1", "/2", "/3", "/4"]
    together = total([summarise(many[:2]), summarise(many[2:4]), summarise(many[4:])])
    assert [fault.name for fault in together.faults] == ["/0", "/1", "/2", "/3", "/4"]
    assert together.counts == {"failed": 100}


@pytest.mark.parametrize(("name", "shown"), [(b"/\xff", "/\\xff"), ("/é".encode(), "/é")])
def test_any_name_can_be_shown(name: bytes, shown: str) -> None:
    """A name that is not UTF-8 is shown with its bytes escaped."""
    (fault,) = summarise([result("failed", name=name, error="bad")]).faults
    assert fault.name == shown


def test_summaries_travel() -> None:
    """A summary pickles."""
    summary = summarise([result("failed", error="bad")])
    assert pickle.loads(pickle.dumps(summary)) == summary  # noqa: S301 - our own bytes


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
    assert total(map(summarise, batches)) == summarise(results)
