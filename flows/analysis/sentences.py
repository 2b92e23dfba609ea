"""Sentences about findings: what helps here, by how much, of how much was possible; what is lost. Never "safe"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flows.analysis.ceiling import CeilingFinding
from flows.analysis.findings import RaceFinding, SpeedupFinding
from flows.analysis.intervals import MIN_PAIRS, Ratio, SpeedVerdict, verdict_on_speedup
from flows.analysis.samples import failed_outcomes
from flows.text import factor, percent, plural
from tasks.axes import Executor, Guard, Outcome, Shape, Workload

BOOK_WAIT = (
    "the book's own select, on a socket that was never connected, returns at once on Linux: nothing waits, "
    "so there is nothing to speed up (`wait` is the same with a wait that blocks)"
)
ACCIDENT = (
    " (from 3.10 to 3.13 with the GIL, CPython looks for a switch only at function entry, after calls and on "
    "backward jumps, and this update has none of them between its load and its store: an accident of the "
    "implementation)"
)


def speedup_sentences(label: str, findings: Iterable[SpeedupFinding]) -> dict[Workload, str]:
    """One sentence per workload, from findings of the interpreter called `label` in one run."""
    sentences = {}
    known = tuple(findings)
    for workload in Workload:
        own = [one for one in known if one.workload is workload]
        # Findings come by rising number of workers, so that the case with the most is kept.
        most = {one.executor: one for one in own if one.executor is not Executor.SERIAL}
        returned = workload is Workload.WAIT_BOOK and any(one.found and "at once" in one.found for one in own)
        clauses = [BOOK_WAIT] if returned else _clauses(workload, [*most.values()])
        failed = sum(one.failures for one in own)
        clauses += [f"{plural(failed, 'sample')} of {workload} FAILED"] if failed else []
        if clauses:
            sentences[workload] = f"{label}: {'; '.join(clauses)}."
    return sentences


def race_sentences(label: str, findings: Iterable[RaceFinding]) -> tuple[str, ...]:
    """One sentence per case, from findings of the interpreter called `label` in one run."""
    return tuple(_unlocked(label, one) if one.guard is Guard.NONE else _guarded(label, one) for one in findings)


def ceiling_sentences(label: str, findings: Iterable[CeilingFinding]) -> tuple[str, ...]:
    """One sentence per number of processes above one, from findings of the interpreter called `label` in one run."""
    return tuple(f"{label}: {_ceiling(one)}." for one in findings if one.workers > 1)


def executor_label(executor: Executor, workers: int) -> str:
    """An executor in words, with its workers where they are a choice."""
    return f"{executor.family} ({workers})" if executor.scales else executor.family


def with_interval(ratio: Ratio) -> str:
    """A ratio with its interval, or with the reason why it has none."""
    if ratio.low is None or ratio.high is None:
        return f"{factor(ratio.value)}, no interval from {ratio.pairs} of at least {MIN_PAIRS} quiet pairs"
    return f"{factor(ratio.value)}, 95 % interval {ratio.low:.2f} to {ratio.high:.2f}"


def _clauses(workload: Workload, findings: Sequence[SpeedupFinding]) -> list[str]:
    """One per executor; the first names the workload, the others lean on it."""
    clauses: list[str] = []
    before: SpeedVerdict | None = None
    for one in findings:
        name = executor_label(one.executor, one.workers)
        if one.ratio is None:
            clauses.append(_why_nothing(name, one) + ("" if clauses else f" for {workload}"))
            continue
        verdict = verdict_on_speedup(one.ratio)
        what = "" if clauses else f"{workload} here"
        clauses.append(f"{_says(name, verdict, before, what)} ({_figures(one.ratio, one.ceiling)})")
        before = verdict
    return clauses


def _says(name: str, verdict: SpeedVerdict, before: SpeedVerdict | None, what: str) -> str:
    """`threads do not help factorize here`; after a clause about help or none: `processes do`."""
    leans = not what and before in {SpeedVerdict.FASTER, SpeedVerdict.NOT_FASTER}
    match verdict:
        case SpeedVerdict.FASTER if leans:
            words = f"{name} do" + (" too" if before is verdict else "")
        case SpeedVerdict.NOT_FASTER if leans:
            words = f"{name} do not" + (" either" if before is verdict else "")
        case SpeedVerdict.FASTER:
            words = f"{name} help {what}"
        case SpeedVerdict.NOT_FASTER:
            words = f"{name} do not help {what}"
        case SpeedVerdict.SLOWER:
            words = f"{name} make {what.removesuffix(' here')} slower here" if what else f"{name} make it slower"
        case _:
            words = f"whether {name} help {what}".rstrip() + " is open"
    return words.rstrip()


def _figures(ratio: Ratio, ceiling: Ratio | None) -> str:
    return with_interval(ratio) + (f", of a possible {factor(ceiling.value)}" if ceiling is not None else "")


def _why_nothing(name: str, finding: SpeedupFinding) -> str:
    if Outcome.SKIPPED in finding.outcomes:
        return f"{name} are not possible here ({finding.skipped})"
    return f"nothing can be said of {name} ({_noisy(finding.noisy_speedup)})"


def _ceiling(finding: CeilingFinding) -> str:
    processes = f"{finding.workers} independent processes"
    if finding.failures:
        return f"{processes}: FAILED samples: {failed_outcomes(finding.outcomes)}"
    if finding.ratio is not None:
        return f"{processes} do so many times the work of one in the same time: {with_interval(finding.ratio)}"
    return f"nothing can be said of {processes} ({_noisy(finding.noisy_possible)})"


def _noisy(value: float | None) -> str:
    return "no quiet pair of samples" + (f"; noisy ones give {factor(value)}" if value is not None else "")


def _unlocked(label: str, finding: RaceFinding) -> str:
    shape = finding.shape or Shape.AUGMENTED
    start = f"{label}, unlocked {shape} ({shape.source})"
    trials = plural(finding.exercised, "trial")
    if finding.failures:
        return f"{start}: FAILED samples: {failed_outcomes(finding.outcomes)}."
    if finding.with_loss and finding.lost_share is not None:
        lost = percent(finding.lost_share)
        return f"{start}: updates lost in {finding.with_loss} of {trials}, {lost} of them in the median."
    if finding.bound is not None:
        gil = " with the GIL" if finding.gil_on else ""
        accident = ACCIDENT if shape is Shape.AUGMENTED and finding.gil_on else ""
        return (
            f"{start}: none observed in {trials}{gil}, {finding.context_switches or 0:.0f} context switches "
            f"in the median (a per-trial loss rate above {percent(finding.bound)} is excluded at 95 %); "
            f"the language does not promise it{accident}."
        )
    idle = finding.outcomes.get(Outcome.NOT_EXERCISED, 0)
    return f"{start}: nothing can be said, the race had no chance in {plural(idle, 'trial')}."


def _guarded(label: str, finding: RaceFinding) -> str:
    start = f"{label}, {finding.guard}" + (f" around {finding.shape}" if finding.shape else "")
    if finding.failures:
        return f"{start}: FAILED samples: {failed_outcomes(finding.outcomes)}."
    if not finding.exercised:
        return f"{start}: nothing was measured."
    cost = ""
    if finding.cost is not None:
        ratio = Ratio(finding.cost, finding.low, finding.high, finding.pairs)
        cost = f"; the time of an update against an unlocked one: {with_interval(ratio)}"
    return f"{start}: no update lost in {plural(finding.exercised, 'trial')}{cost}."
