"""The noise gate, on samples made by hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.axes import Executor, Guard, Outcome, Workload
from tasks.threads.cases import Case, Sample
from tasks.threads.measure import noise_of, usable_cpus

SERIAL = Case.speedup(Workload.FACTORIZE, Executor.SERIAL)
PROCESSES = Case.speedup(Workload.FACTORIZE, Executor.PROCESS_POOL, 2)


def sample(case: Case) -> Sample:
    """A quiet sample of 100 ms."""
    return Sample(
        case=case,
        interpreter="f" * 64,
        workload_version="0" * 64,
        round=0,
        started_at=datetime(2026, 11, 22, tzinfo=UTC),
        outcome=Outcome.OK,
        wall_ns=100_000_000,
        cpu_ns=100_000_000,
        runq_ns=0,
        blocked_ns=0,
        context_switches=900,
        gil_on=True,
    )


@pytest.mark.parametrize(
    ("case", "change", "noisy"),
    [
        (SERIAL, lambda one: replace(one, cpu_ns=96_000_000), False),
        (SERIAL, lambda one: replace(one, cpu_ns=95_000_000), True),
        (PROCESSES, lambda one: replace(one, foreign_share=0.09, runq_ns=99_000_000), False),
        (PROCESSES, lambda one: replace(one, foreign_share=0.5, runq_ns=5_000_000), False),
        (PROCESSES, lambda one: replace(one, foreign_share=0.11, runq_ns=6_000_000), True),
        (PROCESSES, lambda one: replace(one, foreign_share=0.5, runq_ns=None), True),
        (PROCESSES, lambda one: replace(one, foreign_share=None, runq_ns=None), False),
        (Case.speedup(Workload.WAIT, Executor.SERIAL), lambda one: replace(one, cpu_ns=1), False),
        (PROCESSES, lambda one: replace(one, cpu_ns=10**6, runq_ns=10**6), False),
        (SERIAL, lambda one: replace(one, wall_ns=None, cpu_ns=None), False),
    ],
)
def test_the_gate(case: Case, change: Callable[[Sample], Sample], noisy: bool) -> None:
    """One thread that computes needs 96 % of a CPU, others a quiet host or a run queue of at most 5 %."""
    assert (noise_of(change(sample(case))) is not None) is noisy


def test_a_queue_of_our_own_making_is_no_noise() -> None:
    """More threads than CPUs queue behind each other: without the others' load that proves nothing."""
    crowd = sample(Case.race(Guard.SHARD, None, usable_cpus() + 1))
    assert noise_of(replace(crowd, runq_ns=99_000_000, foreign_share=None)) is None
    assert noise_of(replace(crowd, runq_ns=99_000_000, foreign_share=0.5)) == (
        "others used 50 % of the CPUs, waited for a CPU for 50 % of its time"
    )


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ({"throttled_ns": 1_000_000, "stolen_ns": 10_000_000}, None),
        ({"throttled_ns": 40_000_000}, "throttled by the CPU quota for 40 % of its time"),
        ({"stolen_ns": 30_000_000}, "the hypervisor took the CPU for 30 % of its time"),
        ({"throttled_ns": 2_000_000, "cpu_ns": 50_000_000}, "throttled .*; had the CPU for only 50 % of its time"),
        ({"cpu_ns": 50_000_000, "foreign_share": 0.7}, "had the CPU .* of its time, others used 70 % of the CPUs"),
    ],
)
def test_throttled_or_stolen_time_is_noise(readings: dict[str, float], reason: str | None) -> None:
    """The reason says which; a hundredth of the time, or a single tick of the kernel's clock, is none."""
    found = noise_of(replace(sample(SERIAL), **readings))  # type: ignore[arg-type]
    assert re.fullmatch(reason, found or "") if reason else found is None
