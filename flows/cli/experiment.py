"""`threadmill experiment`, `survey` and `interpreters`."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from flows.errors import RequestRefused
from flows.jobs.parameters import RunExperiments, Survey
from flows.option_types import Json, Names, Via
from flows.settings import load_settings
from flows.show.table import Cell, table_of
from flows.show.tables import INTERPRETERS, suite_label
from flows.show.terminal import complain, print_json, print_table, say
from flows.text import duration
from tasks.axes import Experiment
from tasks.cancel import CancelToken

if TYPE_CHECKING:
    from db.history import History
    from db.rows import PayloadRow, SampleRow

_DEFAULTS = RunExperiments()


def experiment(
    *question: str,
    workers: Names = ["2"],
    options: Annotated[RunExperiments, Parameter(name="*")] = _DEFAULTS,
    via: Via = None,
    json: Json = False,
) -> int:
    """Measure what threads, processes, coroutines and locks do here.

    Sub-interpreters are measured where the interpreter has them. Every sample goes on record. --json prints the run
    with its samples, as history show does.

    Exit codes: 0 done, 1 a sample failed or a guard lost updates, 2 refused before any work.

    Example: threadmill experiment speedup --workload factorize --python 3.11,3.13t --quick

    Args:
        question: speedup, race, ceiling, or all
        workers: of pools and of ceiling, such as 1,2,4
    """
    if options.resume is not None:
        if question or workers != ["2"] or replace(options, resume=None, until_quiet=None) != _DEFAULTS:
            raise RequestRefused("--resume takes the question and all options but --until-quiet from that run")
    elif not question:
        _ask_for_the_question(options)
    # Names until they are checked.
    experiments = () if "all" in question else cast("tuple[Experiment, ...]", question)
    parameters = replace(options, experiments=experiments, workers=_numbers(workers)).check()
    settings = load_settings()
    from flows.cli.run import exit_code_of, run_job
    from flows.jobs.experiment import experiment_job
    from flows.jobs.resumed import samples_of

    job = experiment_job(parameters, settings)
    done = run_job("flows.experiments:run_experiments", parameters, job, settings, via)
    run_id, history = done.run_id, settings.open_history()
    if json:
        print_json(history.detail(run_id))
    else:
        print_findings(tuple(samples_of(history, run_id)))
        say(f"recorded as run {run_id} in {history.where}; the samples: threadmill history samples --run {run_id}")
    if code := exit_code_of(history, run_id):
        complain(f"run {run_id}: {done.message}")
    return code


def _ask_for_the_question(options: RunExperiments) -> None:
    """Refuse, and say what all of them would take: minutes that nobody asked for."""
    from flows.jobs.experiment import rounds_of, selection_of, usual_seconds
    from tasks.threads.cases import cases_of

    parameters = options.check()
    cases = len(cases_of(selection_of(parameters)))
    samples = cases * rounds_of(parameters)
    about = duration(usual_seconds(samples, quick=parameters.quick) * 1e9)
    raise RequestRefused(
        f"name the question: speedup, race, ceiling, or all; all takes {samples:,} samples of {cases} cases on "
        f"each interpreter, about {about} on a quiet host; --quick and --rounds make that less"
    )


def print_findings(samples: Sequence[SampleRow]) -> None:
    """Print the tables and all sentences from the samples of one run."""
    from flows.analysis.ceiling import ceiling_findings
    from flows.analysis.findings import race_findings, speedup_findings
    from flows.analysis.samples import by_interpreter
    from flows.analysis.sentences import ceiling_sentences, race_sentences, speedup_sentences
    from flows.show.finding_tables import CEILINGS, RACES, SPEEDUPS

    # Speed-ups have it beside them, and a race is measured without asking what was possible.
    alone = all(row.experiment == Experiment.CEILING for row in samples)
    ceilings = ceiling_findings(samples) if alone else ()
    for table in (
        CEILINGS.fill(ceilings, without=("run",)),
        SPEEDUPS.fill(speedup_findings(samples), without=("run",)),
        RACES.fill(race_findings(samples), without=("run",)),
    ):
        if table.rows:
            print_table(table)
    for label, own in by_interpreter(samples).items():
        for sentence in (
            *(ceiling_sentences(label, ceiling_findings(own)) if alone else ()),
            *speedup_sentences(label, speedup_findings(own)).values(),
            *race_sentences(label, race_findings(own)),
        ):
            say(sentence)


def _numbers(words: list[str]) -> tuple[int, ...]:
    most = 4 * (os.cpu_count() or 1)
    if not words or not all(word.isdecimal() and len(word) < 10 and 1 <= int(word) <= most for word in words):
        raise RequestRefused(f"--workers are numbers from 1 to {most}, such as 1,2,4")
    return tuple(map(int, words))


def survey(*, via: Via = None, json: Json = False) -> int:
    """Run the chapter's examples on this host and interpreter.

    They are of child processes, threads and locks, with the chapter's own numbers. Everything goes on record. --json
    prints the run with its payloads and samples, as history show does.

    Exit codes: 0 done, 1 something failed, 2 refused before any work.

    Example: threadmill survey
    """
    settings = load_settings()
    from flows.cli.run import exit_code_of, run_job
    from flows.jobs.experiment import survey_job

    job = survey_job(Survey(), settings)
    done = run_job("flows.experiments:survey", Survey(), job, settings, via)
    run_id, history = done.run_id, settings.open_history()
    detail = history.detail(run_id)
    if json:
        print_json(detail)
    elif detail is not None:
        _print_item_52(detail.payloads)
        say()
        say("Items 53 and 54, threads and locks: four numbers factorized; five threads, a million updates each")
        print_findings(detail.samples)
        _print_what_next(history, run_id)
    if code := exit_code_of(history, run_id):
        complain(f"run {run_id}: {done.message}")
    return code


def _print_item_52(payloads: tuple[PayloadRow, ...]) -> None:
    from flows.cli.encrypt import print_backends

    print_table(
        table_of(
            "Item 52, child processes: 100 random bytes → encrypt → hash, three times",
            ("suite", "cipher → digest", "backend", "digest's last ten bytes", "#encrypt", "#hash", "#chain"),
            map(_line, payloads),
        )
    )
    print_backends(payloads)


def _line(row: PayloadRow) -> tuple[Cell, ...]:
    tail = repr(row.digest[-10:]) if row.digest else row.error
    # The native backend does both in this process, so only the whole has a time.
    encrypt, hash_ = (duration(stage.wall_ns) for stage in row.stages) if len(row.stages) == 2 else ("–", "–")
    chain = f"{row.cipher} → {row.digest_algorithm}"
    return suite_label(row.suite), chain, row.backend, tail, encrypt, hash_, duration(row.wall_ns)


def _print_what_next(history: History, run_id: int) -> None:
    me = "threadmill" if shutil.which("threadmill") else sys.argv[0]
    say()
    say(f"recorded as run {run_id} in {history.where}")
    say("next:")
    for arguments, why in (
        (f"history show {run_id}", "this run, payload by payload"),
        ("keygen KEY", "a key file: files are encrypted with one"),
        ("encrypt FOLDER --key-file KEY", "fingerprint the ciphertext of every file below a folder"),
        ("check FOLDER --key-file KEY", "are they still what was recorded?"),
    ):
        say(f"  {me} {arguments:32}{why}")


def interpreters(*, python: Names = [], json: Json = False) -> int:
    """List the interpreters that experiments can run on.

    They are the running one, those on PATH, and pyenv's. Files of such names that are left out are named with the
    reason.

    Exit codes: 0 listed, 2 refused: an interpreter that was asked for is not there.

    Example: threadmill interpreters --python 3.12,3.13t

    Args:
        python: only these: paths, or versions such as 3.12, 3.13.0, 3.13t
    """
    from flows.jobs.experiment import find_interpreters

    left_out: dict[str, list[str]] = defaultdict(list)
    found = find_interpreters(
        python or ["all"], CancelToken(), left_out=lambda path, reason: left_out[reason].append(path)
    )
    if json:
        print_json(found)
        return 0
    print_table(INTERPRETERS.fill(found))
    for reason, paths in left_out.items():
        say(f"left out: {', '.join(paths)} ({reason})")
    return 0
