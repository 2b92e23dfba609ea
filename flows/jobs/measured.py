"""What the samples of a run come to, counted as they arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.axes import FAILURES, Outcome
from tasks.threads.cases import Sample
from tasks.threads.plan import RoundPlan

_FAULTS_KEPT = 5
# A child's standard error may come with it; all of it is on record.
_FAULT_LETTERS = 300


@dataclass(frozen=True, slots=True)
class MeasurementOutcome:
    """What all samples of a run came to: counts by outcome, and the first that say that something is broken."""

    outcomes: dict[Outcome, int]
    noisy: int
    faults: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 if a sample says that something is broken: wrong output, a guard that leaked, a child that died."""
        return 1 if self.outcomes.keys() & FAILURES else 0

    @property
    def message(self) -> str:
        """How many samples ended how, and the first faults."""
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.items())
        text = f"{sum(self.outcomes.values()):,} samples ({counts}; {self.noisy:,} noisy)"
        return text + (": " + "; ".join(self.faults) if self.faults else "")


class Counting:
    """Samples counted by outcome, the first faults kept; `labels` are those of the interpreters, by fingerprint."""

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels
        self._outcomes: Counter[Outcome] = Counter()
        self._noisy = 0
        self._faults: list[str] = []

    def add(self, samples: Sequence[Sample]) -> None:
        """Take in what a round came to."""
        for sample in samples:
            self._outcomes[sample.outcome] += 1
            self._noisy += sample.noisy
            if sample.outcome.is_failure and len(self._faults) < _FAULTS_KEPT:
                text = fault_text(sample, self._labels[sample.interpreter])
                # The same in every round is said once.
                self._faults += [] if text in self._faults else [text]

    @property
    def outcome(self) -> MeasurementOutcome:
        """All of it so far."""
        return MeasurementOutcome(dict(self._outcomes), self._noisy, tuple(self._faults))


def labels_of(plan: RoundPlan) -> dict[str, str]:
    """What people call the interpreters of a plan, by fingerprint, sorted by version."""
    found = {key: one for each in plan.rounds for key, one in each.interpreters.items()}
    return {one.fingerprint: one.label for one in sorted(found.values(), key=lambda one: one.sort_key)}


def fault_text(sample: Sample, label: str) -> str:
    """What is wrong with a sample of the interpreter called `label`, in one line."""
    why = " ".join((sample.error or f"{sample.found} instead of {sample.expected}").split())
    why = why if len(why) <= _FAULT_LETTERS else f"{why[:_FAULT_LETTERS]} …"
    return f"{sample.case.key} on {label} {sample.outcome} ({why})"
