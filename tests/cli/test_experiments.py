"""The experiments as a user meets them: the command, its record, its exit codes."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db.rows import InterpreterRow, SampleRow
from flows.cli.experiment import print_findings
from tests.support.commands import BIN, Command, read_json

QUICK_RACE = ("experiment", "race", "--guard", "shard,atomic", "--rounds", "1", "--quick")


def test_race_is_recorded_sample_by_sample(threadmill: Command) -> None:
    """Every sample is on record with its case, its interpreter, its readings and its checked outcome."""
    result = threadmill(*QUICK_RACE, "--json")
    assert result.returncode == 0, result.stderr
    detail = read_json(result)
    assert detail["run"]["flow"] == "run_experiments"
    assert detail["run"]["parameters"]["rounds"] == 1
    assert isinstance(detail["run"]["parameters"]["seed"], int)
    fields = {
        "experiment", "executor", "workload", "shape", "guard", "workers", "interpreter", "round", "wall_ns", "cpu_ns",
        "runq_ns", "blocked_ns", "context_switches", "gil_on", "noisy", "outcome", "expected", "found", "error",
    }  # fmt: skip
    assert all(fields <= sample.keys() for sample in detail["samples"])
    races = [sample for sample in detail["samples"] if sample["experiment"] == "race"]
    assert {sample["guard"] for sample in races} == {"shard", "atomic"}
    assert all(sample["outcome"] == "ok" and sample["found"] == sample["expected"] for sample in races)
    assert {type(sample["found"]) for sample in races} == {int}
    assert {sample["workers"] for sample in detail["samples"] if sample["experiment"] == "ceiling"} == {1, 2}
    assert {sample["interpreter"]["version"] for sample in races} == {".".join(map(str, sys.version_info[:3]))}


def test_result_is_a_table_and_sentences(threadmill: Command) -> None:
    """A person sees what was lost, what an update takes, and one sentence per case."""
    result = threadmill(*QUICK_RACE)
    assert result.returncode == 0, result.stderr
    assert "races: updates lost (median of trials), and what a guard costs" in result.stdout
    assert ", shard: no update lost in" in result.stdout
    rows = read_json(threadmill("history", "race", "--json"))
    assert {(row["guard"], row["lost_share"], row["failures"]) for row in rows} == {
        ("shard", 0.0, 0),
        ("atomic", 0.0, 0),
    }


def test_an_experiment_without_a_question_is_refused(threadmill: Command) -> None:
    """All of them take many minutes that nobody asked for: the refusal says how many."""
    result = threadmill("experiment")
    assert (result.returncode, result.stdout) == (2, "")
    assert "name the question: speedup, race, ceiling, or all" in result.stderr
    assert re.search(r"880 samples of 44 cases on each interpreter, about 14\.7 min", result.stderr)


def test_interpreters_that_are_left_out_are_named(threadmill: Command, environment: dict[str, str]) -> None:
    """With the reason; several choices go together, and each interpreter is listed once."""
    tools = Path(environment["THREADMILL_HOME"]).parent / "tools"
    tools.mkdir()
    (tools / "pypy3").write_text("#!/bin/sh\nyes\n")
    (tools / "python3.99").write_text("#!/bin/sh\necho oh >&2; exit 3\n")
    for one in tools.iterdir():
        one.chmod(0o755)
    environment |= {"PATH": f"{tools}:/usr/bin:/bin", "PYENV_ROOT": str(tools)}
    result = threadmill("interpreters")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"left out: {tools}/pypy3 (more output than 262,144 bytes on stdout)" in result.stdout
    assert f"left out: {tools}/python3.99 (it is no Python from 3.6 on: exit code 3, oh)" in result.stdout
    version = ".".join(map(str, sys.version_info[:3]))
    both = read_json(threadmill("interpreters", "--python", f"all,{version}", "--json"))
    assert both == read_json(threadmill("interpreters", "--json"))
    refused = threadmill("interpreters", "--python", f"all,{tools}/pypy3")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "more output than" in refused.stderr


def test_the_ceiling_is_answered_and_can_be_queried(threadmill: Command) -> None:
    """With a table and a sentence, noisy or not."""
    result = threadmill("experiment", "ceiling", "--rounds", "1", "--workers", "2,3")
    assert result.returncode == 0, result.stderr
    assert "ceiling: the work of independent processes" in result.stdout
    assert re.search("2 independent processes (do so many times the work of one in the same time: )?", result.stdout)
    rows = read_json(threadmill("history", "ceiling", "--json"))
    assert [row["workers"] for row in rows] == [1, 2, 3]
    assert all(row["median_wall_ns"] or row["noisy_wall_ns"] for row in rows)
    assert threadmill("history", "ceiling").stdout.count("3.") >= 3


def test_a_busy_host_is_said_at_once_and_noisy_figures_are_marked(threadmill: Command) -> None:
    """By the first noisy sample, with what it means and what can be done; waiting has an end."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        result = threadmill("experiment", "ceiling", "--rounds", "1", "--until-quiet", "2s")
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert result.returncode == 0
    assert re.search(r"others use \d+ % of the CPUs: waiting for at most 1 s more", result.stderr)
    assert re.search(r"others use \d+ % of the CPUs: waited enough", result.stderr)
    assert re.search(r"this host is not quiet \(ceiling/.*\): .*--until-quiet 10m", result.stderr)
    assert result.stderr.count("this host is not quiet") == 1
    assert re.search(r"s \(noisy\)", result.stdout)
    assert threadmill("experiment", "ceiling", "--until-quiet", "soon").returncode == 2


def test_what_an_interpreter_cannot_do_is_skipped_with_the_reason(threadmill: Command) -> None:
    """An executor that is not there is a row that says why, not a fault."""
    result = threadmill("experiment", "speedup", "--workload", "wait-book", "--rounds", "1", "--json")
    assert result.returncode == 0, result.stderr
    samples = read_json(result)["samples"]
    executors = {s["executor"]: s["outcome"] for s in samples if s["experiment"] == "speedup"}
    assert executors["serial"] == executors["thread"] == executors["asyncio"] == "ok"
    if sys.version_info < (3, 14):
        (skipped,) = [sample for sample in samples if sample["executor"] == "interpreter-pool"]
        assert skipped["outcome"] == "skipped"
        assert "3.14" in skipped["error"]
    (row,) = read_json(threadmill("history", "speedup", "--executor", "serial", "--json"))
    assert row["workload"] == "wait-book"


def test_samples_are_found_by_their_axes(threadmill: Command) -> None:
    """`history samples` filters by experiment, case, interpreter, run and time, for people and for programs."""
    threadmill(*QUICK_RACE)
    listed = read_json(threadmill("history", "samples", "--guard", "shard", "--json"))
    assert {sample["guard"] for sample in listed} == {"shard"}
    version = listed[0]["interpreter"]["version"]
    assert read_json(threadmill("history", "samples", "--interpreter", version.rsplit(".", 1)[0], "--json"))
    assert read_json(threadmill("history", "samples", "--interpreter", "2.7", "--json")) == []
    assert read_json(threadmill("history", "samples", "--run", "99", "--json")) == []
    assert read_json(threadmill("history", "samples", "--since", "2999-01-01", "--json")) == []
    table = threadmill("history", "samples", "--experiment", "ceiling", "--csv").stdout.splitlines()
    assert {row["experiment"] for row in csv.DictReader(table)} == {"ceiling"}


def test_samples_of_one_case_as_pyperf_json(threadmill: Command) -> None:
    """A case's samples come out in the form that pyperf reads; samples of several cases are refused."""
    threadmill("experiment", "speedup", "--workload", "wait-book", "--executor", "serial", "--rounds", "2")
    several = threadmill("history", "samples", "--pyperf")
    assert (several.returncode, len(several.stderr.splitlines())) == (2, 1)
    one = threadmill("history", "samples", "--workload", "wait-book", "--executor", "serial", "--pyperf")
    document: dict[str, Any] = json.loads(one.stdout)
    assert document["metadata"]["name"] == "speedup/wait-book/serial/1x1"
    assert all(run["values"][0] > 0 for run in document["benchmarks"][0]["runs"])


def test_interpreters_are_listed_with_what_they_cannot_do(threadmill: Command) -> None:
    """The running interpreter is always among them."""
    found = read_json(threadmill("interpreters", "--json"))
    running = ".".join(map(str, sys.version_info[:3]))
    assert running in {one["version"] for one in found}
    assert all({"executable", "gil_build", "gil_now", "cannot"} <= one.keys() for one in found)
    assert running in threadmill("interpreters", "--python", running).stdout


def test_two_runs_do_not_measure_at_once(threadmill: Command, environment: dict[str, str]) -> None:
    """Samples of two runs on one host take turns: rounds do not overlap."""
    command = [str(BIN / "threadmill"), "experiment", "ceiling", "--rounds", "2", "--json"]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    details = [json.loads(process.communicate()[0]) for process in started]
    spans: list[tuple[datetime, datetime, int]] = []
    for number, detail in enumerate(details):
        for sample in detail["samples"]:
            begin = datetime.fromisoformat(sample["started_at"])
            spans.append((begin, begin + timedelta(microseconds=sample["wall_ns"] / 1000), number))
    spans.sort()
    overlaps = [(a, b) for a, b in itertools.pairwise(spans) if b[0] < a[1] and a[2] != b[2]]
    assert overlaps == []
    assert len({detail["run"]["id"] for detail in details}) == 2


def test_flow_takes_typed_parameters(environment: dict[str, str], prefect_server: str, threadmill: Command) -> None:
    """`run_experiments` is called from Python like any flow; its rows are those of the command."""
    environment["PREFECT_API_URL"] = prefect_server
    program = (
        "from flows.experiments import run_experiments\n"
        "state = run_experiments(experiments=['race'], guards=['shard'], rounds=1, quick=True, return_state=True)\n"
        "print(state.type.value)\n"
        "try: run_experiments(guards=['hope'])\n"
        "except Exception as error: print(type(error).__name__)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == ["COMPLETED", "ParameterTypeError"], ended.stderr
    (run,) = read_json(threadmill("history", "runs", "--json"))
    assert (run["flow"], run["via"], run["status"]) == ("run_experiments", "prefect", "completed")
    samples = read_json(threadmill("history", "samples", "--guard", "shard", "--json"))
    assert {sample["outcome"] for sample in samples} == {"ok"}


def test_cost_of_a_guard_is_told_the_same_way_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """The table's figure is the sentence's: how many times as long an update takes under the guard."""
    version = InterpreterRow("0" * 64, "3.13.0", "3.13.0", "cpython", True)
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def row(ordinal: int, guard: str, wall_ns: int) -> SampleRow:
        outcome = "none-observed" if guard == "none" else "ok"
        return SampleRow(
            1, ordinal, "host", f"race/{guard}/augmented/5x1000", "race", None, None,
            "augmented", guard, 5, 1000, "0" * 64, version, ordinal % 6, start,
            outcome, 5000, 5000, None, wall_ns, wall_ns, 0, 0, 0, 0, 10, True, 0.0, None, None, False, None,
        )  # fmt: skip

    print_findings([row(n, "none", 1_000_000) for n in range(6)] + [row(n + 6, "lock", 4_000_000) for n in range(6)])
    printed = capsys.readouterr().out
    assert "4.00×, 95 % interval" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("│") and "lock" in line]
    assert "│ 4.00× │" in line
