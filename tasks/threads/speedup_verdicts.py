"""Sentences about `speedup`, one per workload: what helps here, by how much, of how much was possible."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from tasks.threads.choices import Executor, Outcome, Workload
from tasks.threads.estimates import Ratio
from tasks.threads.findings import SpeedupFinding, speedup_findings
from tasks.threads.samples import Sample
from tasks.threads.wording import factor, plural, with_interval

LEAST_DIFFERENCE = 0.05
BOOK_WAIT = (
    "the book's own select, on a socket that was never connected, returns at once on Linux: nothing waits, "
    "so there is nothing to speed up (`wait` is the same with a wait that blocks)"
)


class Judgement(StrEnum):
    """What the interval of a speed-up allows to say."""

    HELPS = "helps"
    NO_HELP = "no-help"
    SLOWER = "slower"
    UNDECIDED = "undecided"


def judge(ratio: Ratio | None) -> Judgement:
    """The whole interval must lie on one side of the 5 % for anything to be said."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return Judgement.UNDECIDED
    if ratio.low > 1 + LEAST_DIFFERENCE:
        return Judgement.HELPS
    if ratio.high < 1 - LEAST_DIFFERENCE:
        return Judgement.SLOWER
    return Judgement.NO_HELP if ratio.high <= 1 + LEAST_DIFFERENCE else Judgement.UNDECIDED


def speedup_verdicts(label: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    """One sentence per workload, from samples of the interpreter called `label` in one run."""
    findings = speedup_findings(samples)
    sentences = []
    for workload in Workload:
        own = _one_per_executor(one for one in findings if one.case.workload is workload)
        returned = _returned_at_once(workload, samples)
        clauses = [BOOK_WAIT] if returned else [_clause(one) for one in own]
        clauses += _failures(own)
        if clauses:
            sentences.append(f"{label}, {workload}: {'; '.join(clauses)}.")
    return tuple(sentences)


def _one_per_executor(findings: Iterable[SpeedupFinding]) -> list[SpeedupFinding]:
    """The case with the most workers of each executor, in the executors' order."""
    most: dict[Executor, SpeedupFinding] = {}
    for one in sorted(findings, key=lambda finding: finding.case.workers):
        if one.case.executor not in {None, Executor.SERIAL}:
            most[Executor(str(one.case.executor))] = one
    return [most[executor] for executor in Executor if executor in most]


def _returned_at_once(workload: Workload, samples: Iterable[Sample]) -> bool:
    return workload is Workload.WAIT_BOOK and any(
        one.case.workload is workload and one.found and "at once" in one.found for one in samples
    )


def _clause(finding: SpeedupFinding) -> str:
    executor = finding.case.executor or Executor.SERIAL
    name = executor.family
    if executor.scales:
        name += f" ({plural(finding.case.workers, 'worker')})"
    if finding.ratio is None:
        return f"{name}: {_why_nothing(finding)}"
    figures = with_interval(finding.ratio)
    if finding.ceiling is not None:
        figures += f", of a possible {factor(finding.ceiling.value)}"
    return f"{name}: {WORDS[judge(finding.ratio)]} ({figures})"


WORDS = {
    Judgement.HELPS: "faster here",
    Judgement.NO_HELP: "no help here",
    Judgement.SLOWER: "slower here",
    Judgement.UNDECIDED: "nothing can be said",
}


def _why_nothing(finding: SpeedupFinding) -> str:
    if finding.tally.count(Outcome.SKIPPED):
        return f"not possible here ({finding.reason})"
    return "nothing can be said (no quiet pair of samples)"


def _failures(findings: Iterable[SpeedupFinding]) -> list[str]:
    failed = sum(one.tally.failures for one in findings)
    return [f"{plural(failed, 'sample')} FAILED"] if failed else []
