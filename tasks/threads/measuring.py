"""Run a round: its steps one at a time, under the host's lock."""

from collections.abc import Callable, Iterator

from tasks.axes import Guard
from tasks.threads.execution import DEADLINE_S, run_case
from tasks.threads.host_lock import host_lock
from tasks.threads.launching import Cancel
from tasks.threads.planning import Round
from tasks.threads.samples import Sample

LONG_NS = 3_000_000_000


def run_round(
    one: Round,
    *,
    lock_path: str,
    lock_wait_s: float,
    deadline_s: float = DEADLINE_S,
    cancel: Cancel | None = None,
) -> Iterator[Sample]:
    """Measure all steps of a round in its order, each sample given as soon as it is there.

    A noisy sample stays, and (but for unlocked races and long samples) is tried again as often as the round says,
    so that it has its pair if it can. Holds the host's measuring lock until exhausted or closed. Raises
    HostLockTimeoutError, ExperimentCancelledError and DescendantsRemainError.
    """
    with host_lock(lock_path, wait_s=lock_wait_s, cancel=cancel):
        for step in one.steps:
            for _ in range(1 + one.retries):
                sample = run_case(
                    step.case, step.interpreter, round_number=one.number, deadline_s=deadline_s, cancel=cancel
                )
                yield sample
                if not sample.noisy or not _worth_another(sample):
                    break


def _worth_another(sample: Sample) -> bool:
    """An unlocked race is judged by its counts, which noise does not spoil; what takes long will be noisy again."""
    return sample.case.guard is not Guard.NONE and (sample.wall_ns or 0) < LONG_NS


def measure_round(
    one: Round, *, lock_path: str, lock_wait_s: float, cancel: Cancel | None, tell: Callable[[Sample], None]
) -> tuple[Sample, ...]:
    """All samples of a round, each told to `tell` as soon as it is there; raises what `run_round` does."""
    samples = []
    for sample in run_round(one, lock_path=lock_path, lock_wait_s=lock_wait_s, cancel=cancel):
        tell(sample)
        samples.append(sample)
    return tuple(samples)
