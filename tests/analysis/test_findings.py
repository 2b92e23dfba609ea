"""From samples to findings and sentences, on samples made by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from db.rows import SampleRow
from flows.analysis.ceiling import ceiling_findings
from flows.analysis.findings import lost_share, race_findings, speedup_findings, update_ns
from flows.analysis.intervals import Ratio, SpeedVerdict, verdict_on_speedup
from flows.analysis.samples import by_interpreter, is_known
from flows.analysis.sentences import ceiling_sentences, race_sentences, speedup_sentences
from flows.cli.findings import pyperf_document
from flows.errors import RequestRefused
from tasks.axes import Executor, Guard, Outcome, Shape, Workload
from tasks.rows import sample_rows
from tasks.threads.cases import Case, Sample
from tasks.threads.interpreters import Interpreter

PYTHON = Interpreter("/python", "3.11.7", "cpython", True, True, (), (("version", "3.11.7"),))
SERIAL = Case.speedup(Workload.FACTORIZE, Executor.SERIAL)
THREADS = Case.speedup(Workload.FACTORIZE, Executor.THREAD)
PROCESSES = Case.speedup(Workload.FACTORIZE, Executor.PROCESS_POOL, 2)
UNLOCKED = Case.race(Guard.NONE, Shape.AUGMENTED)
LOCKED = Case.race(Guard.LOCK, Shape.AUGMENTED)
JITTER = (0.98, 1.01, 1.0, 0.99, 1.02, 1.0, 1.01, 0.99)


def sample(case: Case, wall_ms: float = 100, number: int = 0, outcome: Outcome = Outcome.OK) -> Sample:
    return Sample(
        case=case,
        interpreter=PYTHON.fingerprint,
        workload_version="0" * 64,
        round=number,
        started_at=datetime(2026, 11, 22, tzinfo=UTC),
        outcome=outcome,
        wall_ns=round(wall_ms * 1e6),
        cpu_ns=round(wall_ms * 1e6),
        runq_ns=0,
        blocked_ns=0,
        context_switches=900,
        gil_on=True,
    )


def rows(samples: Sequence[Sample]) -> list[SampleRow]:
    """The samples as they are on record."""
    return sample_rows(1, 0, samples, {PYTHON.fingerprint: PYTHON})


def rounds(case: Case, wall_ms: float) -> list[Sample]:
    """Eight rounds around a time."""
    return [sample(case, wall_ms * jitter, number) for number, jitter in enumerate(JITTER)]


def counted(case: Case, found: int, outcome: Outcome, number: int = 0) -> Sample:
    expected = case.workers * case.count
    return replace(sample(case, 100, number, outcome), expected=str(expected), found=str(found))


def book() -> list[Sample]:
    """Processes help, threads do not, as measured on 3.11."""
    return [
        *rounds(SERIAL, 300),
        *rounds(THREADS, 315),
        *rounds(PROCESSES, 200),
        *rounds(Case.ceiling(1), 100),
        *rounds(Case.ceiling(2), 125),
    ]


def test_speedups_are_read_against_the_ceiling() -> None:
    """Processes took two thirds of serial's time; two of them could have had 1.6 times as much done."""
    found = {one.executor: one for one in speedup_findings(rows(book()))}
    processes = found[Executor.PROCESS_POOL]
    assert processes.ratio is not None
    assert processes.ceiling is not None
    assert (round(processes.ratio.value, 2), round(processes.ceiling.value, 2)) == (1.5, 1.6)
    assert found[Executor.THREAD].ceiling == processes.ceiling
    assert found[Executor.SERIAL].ceiling is None


def test_the_sentence_says_what_helps() -> None:
    """One sentence per workload, with figures, intervals, and what was possible."""
    (sentence,) = speedup_sentences("3.11.7", speedup_findings(rows(book()))).values()
    assert re.fullmatch(
        r"3\.11\.7: threads do not help factorize here \(0\.95×, 95 % interval 0\.\d\d to 0\.\d\d, of a possible .*\); "
        r"processes \(2\) do \(1\.50×, 95 % interval 1\.\d\d to 1\.\d\d, of a possible 1\.60×\)\.",
        sentence,
    )


@pytest.mark.parametrize(
    ("threads", "processes", "words"),
    [
        (100, 50, "threads do not help factorize here (…); processes (2) do (…)"),
        (50, 50, "threads help factorize here (…); processes (2) do too (…)"),
        (100, 100, "threads do not help factorize here (…); processes (2) do not either (…)"),
        (50, 100, "threads help factorize here (…); processes (2) do not (…)"),
        (150, 50, "threads make factorize slower here (…); processes (2) help (…)"),
        (100, 150, "threads do not help factorize here (…); processes (2) make it slower (…)"),
    ],
)
def test_clauses_lean_on_each_other(threads: float, processes: float, words: str) -> None:
    """The first clause names the workload, the second says no more than it must."""
    samples = [*rounds(SERIAL, 100), *rounds(THREADS, threads), *rounds(PROCESSES, processes)]
    (sentence,) = speedup_sentences("3.11.7", speedup_findings(rows(samples))).values()
    assert re.sub(r"\(\d\.\d\d×[^)]*\)", "(…)", sentence) == f"3.11.7: {words}."


def test_too_few_pairs_leave_it_open() -> None:
    """Without an interval no verdict is given."""
    samples = [*rounds(SERIAL, 100)[:3], *rounds(THREADS, 50)[:3], *rounds(PROCESSES, 50)[:3]]
    (sentence,) = speedup_sentences("3.11.7", speedup_findings(rows(samples))).values()
    assert "whether threads help factorize here is open (2.00×, no interval from 3" in sentence
    assert "whether processes (2) help is open" in sentence


def test_noisy_and_wrong_samples_give_no_figure() -> None:
    """Only quiet and right samples are summarised; wrong ones are named."""
    noisy = [replace(one, noise="busy", wall_ns=1) for one in rounds(THREADS, 315)]
    wrong = [replace(one, outcome=Outcome.WRONG_OUTPUT, wall_ns=1) for one in rounds(PROCESSES, 1)]
    samples = [*rounds(SERIAL, 300), *noisy, *wrong]
    assert {one.ratio for one in speedup_findings(rows(samples)) if one.executor is not Executor.SERIAL} == {None}
    (sentence,) = speedup_sentences("3.11.7", speedup_findings(rows(samples))).values()
    assert "no quiet pair" in sentence
    assert "8 samples of factorize FAILED" in sentence
    (threads,) = [one for one in speedup_findings(rows(samples)) if one.executor is Executor.THREAD]
    assert (threads.median_wall_ns, threads.noisy_wall_ns, threads.noisy_speedup) == (None, 1, 300e6)
    assert "noisy ones give 300000000" in sentence


def test_the_ceiling_is_an_answer_of_its_own() -> None:
    """Two processes that take 1.25 times as long as one did 1.6 times its work; noisy samples give figures alone."""
    one, two = ceiling_findings(rows(book()))
    assert (one.workers, one.possible, one.verdict) == (1, None, "the base")
    assert (two.workers, two.noisy_possible, two.pairs) == (2, None, 8)
    assert two.possible == pytest.approx(1.6)
    (sentence,) = ceiling_sentences("3.11.7", [one, two])
    words = r"3\.11\.7: 2 independent processes do so many times .* 1\.60×, 95 % interval 1\.\d\d to 1\.\d\d\."
    assert re.fullmatch(words, sentence)
    noisy = [replace(each, noise="busy") for each in book()]
    one, two = ceiling_findings(rows(noisy))
    assert (two.possible, two.noisy_wall_ns) == (None, 125e6)
    assert two.noisy_possible == pytest.approx(1.6)
    (sentence,) = ceiling_sentences("3.11.7", [one, two])
    assert (
        "nothing can be said of 2 independent processes (no quiet pair of samples; noisy ones give 1.60×)" in sentence
    )


def test_skipped_executors_give_their_reason() -> None:
    """What cannot be done is in the sentence with its reason."""
    skipped = replace(
        sample(Case.speedup(Workload.FACTORIZE, Executor.INTERPRETER_POOL, 2), outcome=Outcome.SKIPPED),
        error="came with Python 3.14",
        wall_ns=None,
    )
    (sentence,) = speedup_sentences("3.11.7", speedup_findings(rows([*rounds(SERIAL, 300), skipped]))).values()
    assert "sub-interpreters (2) are not possible here (came with Python 3.14)" in sentence


def test_the_books_select_is_explained() -> None:
    """The sentence about `wait-book` says that nothing waits, instead of giving a speed-up."""
    cases = [Case.speedup(Workload.WAIT_BOOK, executor) for executor in (Executor.SERIAL, Executor.THREAD)]
    samples = [replace(one, found="returned at once") for case in cases for one in rounds(case, 0.1)]
    (sentence,) = speedup_sentences("3.11.7", speedup_findings(rows(samples))).values()
    assert "returns at once on Linux" in sentence
    assert "95 %" not in sentence


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.06, 1.9, SpeedVerdict.FASTER),
        (1.04, 1.9, SpeedVerdict.NO_DIFFERENCE),
        (0.9, 1.04, SpeedVerdict.NOT_FASTER),
        (0.5, 0.94, SpeedVerdict.SLOWER),
        (None, None, SpeedVerdict.NO_INTERVAL),
    ],
)
def test_nothing_is_said_under_five_per_cent(low: float | None, high: float | None, verdict: SpeedVerdict) -> None:
    """The whole interval has to be beyond 5 % for a difference to be named."""
    assert verdict_on_speedup(Ratio(1.0, low, high, 8)) is verdict


def test_losses_are_told_in_per_cent() -> None:
    """The median share of lost updates, and in how many trials."""
    samples = [counted(UNLOCKED, 3_000_000, Outcome.LOST, number) for number in range(4)]
    (sentence,) = race_sentences("3.8.18", race_findings(rows(samples)))
    assert "updates lost in 4 of 4 trials, 40 % of them in the median" in sentence


def test_none_observed_is_never_safe() -> None:
    """The sentence has n, the bound, and that nobody promises it."""
    samples = [counted(UNLOCKED, 5_000_000, Outcome.NONE_OBSERVED, number) for number in range(30)]
    (sentence,) = race_sentences("3.13.0", race_findings(rows(samples)))
    assert "none observed in 30 trials with the GIL" in sentence
    assert "above 10 % is excluded at 95 %" in sentence
    assert "the language does not promise it" in sentence
    assert "safe" not in sentence


def test_a_race_without_a_chance_says_nothing() -> None:
    """Trials whose control lost nothing do not count as evidence."""
    samples = [counted(UNLOCKED, 5_000_000, Outcome.NOT_EXERCISED, number) for number in range(30)]
    (finding,) = race_findings(rows(samples))
    assert (finding.exercised, finding.bound) == (0, None)
    assert "nothing can be said" in race_sentences("3.13.0", race_findings(rows(samples)))[0]


def test_a_loss_under_a_guard_is_shouted() -> None:
    """A broken guard is named, noisy or not."""
    broken = replace(counted(LOCKED, 1, Outcome.BROKEN), noise="busy")
    (sentence,) = race_sentences("3.11.7", race_findings(rows([counted(LOCKED, 10**6, Outcome.OK), broken])))
    assert "FAILED samples: 1 broken" in sentence


def test_guards_cost_what_they_cost_per_update() -> None:
    """The cost is the time per update against the same update without a guard, whatever the counts."""
    unlocked = [replace(one, outcome=Outcome.LOST) for one in rounds(UNLOCKED, 500)]
    (finding,) = (one for one in race_findings(rows([*unlocked, *rounds(LOCKED, 400)])) if one.guard is Guard.LOCK)
    assert finding.cost is not None
    # 500 ms for 5 x 10**6 is 100 ns; 400 ms for 5 x 2 x 10**5 is 400 ns.
    assert finding.cost == pytest.approx(4, rel=0.05)
    assert finding.update_ns is not None
    assert finding.update_ns == pytest.approx(400, rel=0.05)


def test_a_lost_million_is_twenty_per_cent() -> None:
    """Shares and times per update come from the raw sample."""
    lost, everything, serial = rows(
        [counted(UNLOCKED, 4_000_000, Outcome.LOST), counted(UNLOCKED, 0, Outcome.LOST), sample(SERIAL)]
    )
    assert lost_share(lost) == pytest.approx(0.2)
    assert lost_share(everything) == 1
    assert update_ns(lost) == 20
    assert lost_share(serial) is None
    assert update_ns(serial) is None


def test_samples_of_other_versions_are_left_out() -> None:
    """A word that this version does not know makes no finding, and no error."""
    known, other = rows([*rounds(SERIAL, 100)[:1], *rounds(THREADS, 100)[:1]])
    for unknown in (replace(other, executor="fibre"), replace(other, outcome="odd"), replace(other, workload="x")):
        assert not is_known(unknown)
        assert [one.executor for one in speedup_findings([known, unknown])] == [Executor.SERIAL]


def test_interpreters_come_by_version() -> None:
    """3.9 comes before 3.11, whatever was measured first."""
    (row,) = rows([sample(SERIAL)])
    older = replace(row, interpreter=replace(row.interpreter, label="3.9.18", version="3.9.18"))
    assert list(by_interpreter([row, older])) == ["3.9.18", "3.11.7"]


def test_pyperf_gets_one_run_per_quiet_sample() -> None:
    """The document has seconds, a name and a unit, and leaves noisy samples out."""
    samples = [*rounds(SERIAL, 100), replace(sample(SERIAL), noise="busy")]
    document = json.loads(pyperf_document(rows(samples)))
    assert document["version"] == "1.0"
    assert document["metadata"]["name"] == SERIAL.key
    assert document["metadata"]["python_version"] == "3.11.7"
    (benchmark,) = document["benchmarks"]
    assert [run["values"][0] for run in benchmark["runs"]] == pytest.approx([0.1 * one for one in JITTER])


def test_pyperf_gets_a_sample_with_a_time() -> None:
    """No quiet sample makes no document."""
    with pytest.raises(RequestRefused, match="at least one sample"):
        pyperf_document(rows([replace(sample(SERIAL), noise="busy")]))
