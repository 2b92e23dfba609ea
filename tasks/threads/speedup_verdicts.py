"""Sentences about `speedup`, one per workload: what helps here, by how much, of how much was possible."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from tasks.threads.choices import Executor, Outcome, Workload
from tasks.threads.estimates import Ratio
from tasks.threads.findings import SpeedupFinding
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


WORDS = {
    Judgement.HELPS: "helps here",
    Judgement.NO_HELP: "does not help here",
    Judgement.SLOWER: "slower here",
    Judgement.UNDECIDED: "nothing can be said",
}


def judge(ratio: Ratio | None) -> Judgement:
    """The whole interval must lie on one side of the 5 % for anything to be said."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return Judgement.UNDECIDED
    if ratio.low > 1 + LEAST_DIFFERENCE:
        return Judgement.HELPS
    if ratio.high < 1 - LEAST_DIFFERENCE:
        return Judgement.SLOWER
    return Judgement.NO_HELP if ratio.high <= 1 + LEAST_DIFFERENCE else Judgement.UNDECIDED


def speedup_verdicts(label: str, findings: Iterable[SpeedupFinding]) -> dict[Workload, str]:
    """One sentence per workload, from findings of the interpreter called `label` in one run."""
    sentences = {}
    known = tuple(findings)
    for workload in Workload:
        own = [one for one in known if one.case.workload is workload]
        returned = workload is Workload.WAIT_BOOK and any(one.found and "at once" in one.found for one in own)
        clauses = [BOOK_WAIT] if returned else _clauses(workload, _one_per_executor(own))
        failed = sum(one.tally.failures for one in own)
        clauses += [f"{plural(failed, 'sample')} of {workload} FAILED"] if failed else []
        if clauses:
            sentences[workload] = f"{label}: {'; '.join(clauses)}."
    return sentences


def _one_per_executor(findings: Iterable[SpeedupFinding]) -> list[SpeedupFinding]:
    """The case with the most workers of each executor, in the executors' order."""
    most: dict[Executor, SpeedupFinding] = {}
    for one in sorted(findings, key=lambda finding: finding.case.workers):
        if one.case.executor not in {None, Executor.SERIAL}:
            most[Executor(str(one.case.executor))] = one
    return [most[executor] for executor in Executor if executor in most]


def _clauses(workload: Workload, findings: Sequence[SpeedupFinding]) -> list[str]:
    """One per executor; the first names the workload, the others lean on it."""
    clauses: list[str] = []
    before: Judgement | None = None
    for one in findings:
        name = _name(one)
        if one.ratio is None:
            clauses.append(_why_nothing(name, one) + ("" if clauses else f" for {workload}"))
            continue
        judgement = judge(one.ratio)
        what = "" if clauses else f"{workload} here"
        clauses.append(f"{_says(name, judgement, before, what)} ({_figures(one.ratio, one.ceiling)})")
        before = judgement
    return clauses


def _says(name: str, judgement: Judgement, before: Judgement | None, what: str) -> str:
    """`threads do not help factorize here`; where what came before was help or none: `processes do`."""
    leans = not what and before in {Judgement.HELPS, Judgement.NO_HELP}
    match judgement:
        case Judgement.HELPS if leans:
            words = f"{name} do" + (" too" if before is judgement else "")
        case Judgement.NO_HELP if leans:
            words = f"{name} do not" + (" either" if before is judgement else "")
        case Judgement.HELPS:
            words = f"{name} help {what}"
        case Judgement.NO_HELP:
            words = f"{name} do not help {what}"
        case Judgement.SLOWER:
            words = f"{name} make {what.removesuffix(' here')} slower here" if what else f"{name} make it slower"
        case Judgement.UNDECIDED:
            words = f"whether {name} help {what}".rstrip() + " is open"
    return words.rstrip()


def _name(finding: SpeedupFinding) -> str:
    executor = finding.case.executor or Executor.SERIAL
    return f"{executor.family} ({finding.case.workers})" if executor.scales else executor.family


def _figures(ratio: Ratio, ceiling: Ratio | None) -> str:
    return with_interval(ratio) + (f", of a possible {factor(ceiling.value)}" if ceiling is not None else "")


def _why_nothing(name: str, finding: SpeedupFinding) -> str:
    if finding.tally.count(Outcome.SKIPPED):
        return f"{name} are not possible here ({finding.reason})"
    return f"nothing can be said of {name} (no quiet pair of samples)"
