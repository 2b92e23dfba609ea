"""`threadmill history` as a user meets it: the document's answers, forms, refusals, and what stays of removed runs."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.words import CLOSED_STATUSES, PAYLOAD_FAILURES, RUN_STATUSES, SAMPLE_FAILURES, VERDICT_FAULTS, sql_in
from tasks.axes import Executor, Workload
from tasks.threads.cases import Case
from tests.support.commands import Command, read_json
from tests.support.documented import Example, ask, examples
from tests.support.example_record import example
from tests.support.generated_record import GeneratedRecord, NewPayload, NewSample, at_hour

SERIAL = Case.speedup(Workload.FACTORIZE, Executor.SERIAL)
METADATA = Path(__file__).parents[2] / "flows" / "explore" / "metadata.yaml"
# What the shipped queries have in place of the example's last night, its last 30 days and its file.
STANDS_FOR = {
    "datetime('now', '-1 day')": "'2026-10-31'",
    "date('now', '-30 days')": "'2026-10-02'",
    ":path": "'/srv/documents/ledger.csv'",
}
# Every command, as it lists rows; `show` and `verify` have one object.
LISTS = (
    "runs", "payloads", "samples", "speedup", "race", "trend", "trend --by run", "compare 3.11 3.13", "changes",
    "failures", "slowest --since 2026-09-01", "snapshots", "proofs", "proofs --path documents --never",
)  # fmt: skip


@pytest.fixture
def on_example(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command reads the example record."""
    environment["THREADMILL_HOME"] = str(example(tmp_path_factory).parent)


@pytest.mark.parametrize("one", list(examples()), ids=lambda one: " ".join(one.question.split()[:4]))
def test_document_shows_what_is_printed(one: Example, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Line by line, for every command, statement and program of docs/history.md."""
    printed = ask(one.language, one.question, example(tmp_path_factory))
    if one.answer.endswith("…\n"):
        assert printed.startswith(one.answer.removesuffix("…\n"))
        assert len(printed) > len(one.answer)
    else:
        assert printed == one.answer


def test_documented_sql_is_that_of_explore() -> None:
    """The questions are the same, in the same order."""
    queries = yaml.safe_load(METADATA.read_text())["databases"]["history"]["queries"]
    shipped = []
    for query in queries.values():
        sql = query["sql"].strip()
        for words, value in STANDS_FOR.items():
            sql = sql.replace(words, value)
        shipped.append(sql)
    assert [one.question.strip() for one in examples() if one.language == "sql"] == shipped
    assert len(shipped) == 12


def test_shipped_query_knows_the_words_of_failures() -> None:
    """`What failed?` asks for the statuses that db/words calls failures, and for cancelled runs."""
    queries = yaml.safe_load(METADATA.read_text())["databases"]["history"]["queries"]
    conditions = re.findall(r"(?:status|outcome) IN \([^)]*\)", queries["failures"]["sql"])
    assert conditions == [
        sql_in("status", [status for status in CLOSED_STATUSES if status != "completed"]),
        sql_in("status", PAYLOAD_FAILURES),
        sql_in("outcome", SAMPLE_FAILURES),
        sql_in("status", VERDICT_FAULTS),
    ]
    words = {*RUN_STATUSES, *PAYLOAD_FAILURES, *SAMPLE_FAILURES, *VERDICT_FAULTS, "ok", "rebuilt", "removed", "stored"}
    for name, query in queries.items():
        for equal, among in re.findall(r"\b(?:status|outcome) (?:= ('[^']*')|IN \(([^)]*)\))", query["sql"]):
            assert {word.strip("' ") for word in (equal or among).split(",")} <= words, name


@pytest.mark.usefixtures("on_example")
def test_history_starts_without_the_engines(environment: dict[str, str]) -> None:
    """No question to the record imports what encrypts, keeps vaults or measures, nor Prefect."""
    program = (
        "import sys\nfrom flows.cli.main import main\n"
        f"for command in {[*LISTS, 'show latest', 'verify', 'samples --json']!r}:\n"
        "    assert main(['history', *command.split()]) == 0, command\n"
        "heavy = ('tasks.crypto', 'tasks.vault', 'tasks.threads', 'prefect', 'alembic')\n"
        "print(sorted(name for name in sys.modules if name.startswith(heavy)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("on_example")
@pytest.mark.parametrize("command", ["runs", "samples", "trend --by run", "compare 3.11 3.13", "proofs", "snapshots"])
def test_json_and_csv_have_the_same_rows(threadmill: Command, command: str) -> None:
    """As many as `--limit` allows, and the columns are the fields; a series' fields are columns of their own."""
    rows = read_json(threadmill("history", *command.split(), "--limit", "2", "--json"))
    table = list(csv.DictReader(threadmill("history", *command.split(), "--limit", "2", "--csv").stdout.splitlines()))
    assert rows
    assert len(rows) == len(table)
    for row, cells in zip(rows, table, strict=True):
        flat = row.pop("series", {}) | row
        assert list(flat) == list(cells)
        for name, value in flat.items():
            as_json = isinstance(value, dict | list | bool)
            assert cells[name] == ("" if value is None else json.dumps(value) if as_json else str(value)), name


@pytest.mark.usefixtures("on_example")
def test_a_run_shows_what_it_put_into_a_vault_and_what_it_found_there(threadmill: Command) -> None:
    """For people and as JSON; the limit is one of verdicts too, and their counts are of all."""
    kept = read_json(threadmill("history", "show", "124", "--json"))
    assert (kept["snapshot"]["sequence"], kept["snapshot"]["new"]) == (1, 6)
    assert [one["kind"] for one in kept["verdicts"]] == ["pack", "object", "object", "object"]
    assert {one["status"] for one in kept["verdicts"]} == {"stored"}
    assert {payload["kept_in"] for payload in kept["payloads"]} == {"/srv/vault"}
    shown = threadmill("history", "show", "124").stdout
    assert shown.count("/srv/vault") == 11
    looked = read_json(threadmill("history", "show", "133", "--json", "--limit", "2"))
    assert (looked["snapshot"], [one["status"] for one in looked["verdicts"]]) == (None, ["changed", "ok"])
    shown = threadmill("history", "show", "133").stdout
    assert "1 object changed, 0 bytes\n1 object ok, 7,800,016 bytes\n1 pack changed, 310,000 bytes\n" in shown
    assert "its bytes do not fit its name" in shown


@pytest.mark.usefixtures("on_example")
def test_vaults_can_be_asked_for(threadmill: Command) -> None:
    """What was proven least recently, what never was, what was put in, and what is wrong."""
    rows = read_json(threadmill("history", "proofs", "--path", "/srv/documents/contracts", "--json"))
    assert [(row["path"], row["proven_at"], row["flow"]) for row in rows] == [
        (f"/srv/documents/contracts/{name}.pdf", "2026-10-29T05:00:00+00:00", "verify_vault")
        for name in ("lease", "offer")
    ]
    never = read_json(threadmill("history", "proofs", "--never", "--json"))
    assert [row["status"] for row in never] == ["changed", "changed", "stored"]
    snapshots = read_json(threadmill("history", "snapshots", "--until", "2026-10-30", "--json"))
    assert [(row["sequence"], row["unchanged"]) for row in snapshots] == [(3, 6), (2, 5), (1, 0)]
    faults = read_json(threadmill("history", "failures", "--kind", "verdict", "--json"))
    assert {(fault["by"], fault["status"], fault["run_id"]) for fault in faults} == {
        ("object in /srv/vault", "changed", 133),
        ("pack in /srv/vault", "changed", 133),
    }


def test_lists_of_one_vault(threadmill: Command, key_file: Path, tmp_path: Path) -> None:
    """By its folder, also as it is written from here, or by the beginning of its id; a folder means its last vault."""
    del key_file
    (tmp_path / "letter").write_text("dear reader")
    for vault in ("one", "two"):
        assert threadmill("vault", "init", vault).returncode == 0
        assert threadmill("encrypt", "letter", "--vault", vault).returncode == 0
    (tmp_path / "one").rename(tmp_path / "earlier")
    assert threadmill("vault", "init", "one", "--another").returncode == 0
    assert threadmill("encrypt", "letter", "--vault", "one").returncode == 0
    earlier, two, one = (row["vault_id"] for row in reversed(read_json(threadmill("history", "snapshots", "--json"))))
    assert len({earlier, two, one}) == 3
    for asked, found in (
        ("two", two),
        (str(tmp_path / "two"), two),
        (f"{tmp_path}/one/", one),
        (two[:12].upper(), two),
        (earlier, earlier),
    ):
        for command in ("proofs", "snapshots"):
            rows = read_json(threadmill("history", command, "--vault", asked, "--json"))
            assert [row["vault_id"] for row in rows] == [found], (command, asked)


@pytest.mark.usefixtures("on_example")
def test_kept_series_have_a_name_of_their_own(threadmill: Command) -> None:
    """A trend tells those that were stored from those that were discarded."""
    shown = threadmill("history", "trend", "--backend", "native").stdout
    assert "modern native kept, < 512 KiB" in shown
    assert "classic (legacy) native, < 8 KiB" in shown


@pytest.mark.usefixtures("on_example")
def test_filters_of_findings_choose_the_runs(threadmill: Command) -> None:
    """The newest runs of a host, not those of the newest runs that happen to be of that host."""
    beta = read_json(threadmill("history", "speedup", "--host", "beta", "--limit", "2", "--json"))
    assert len({row["run_id"] for row in beta}) == 2
    older = read_json(threadmill("history", "race", "--interpreter", "3.13.0", "--limit", "1", "--json"))
    assert {row["interpreter"] for row in older} == {"3.13.0"}


@pytest.mark.usefixtures("on_example")
def test_a_span_may_end_where_the_other_begins(threadmill: Command) -> None:
    """Whichever is named first, though `45d` means a moment later when it is read the second time."""
    for spans in (("2026-10-05..", "..2026-10-04"), ("45d..", "400d..45d")):
        result = threadmill("history", "compare", *spans, "--suite", "modern")
        assert "overlap" not in result.stderr


def test_before_the_first_run(threadmill: Command, home: Path) -> None:
    """Every list is empty and says why; what names runs that are not there is refused; nothing is created."""
    for command in LISTS:
        result = threadmill("history", *command.split(), "--json")
        assert "nothing is recorded" in result.stderr
        expected = (2, "") if command.startswith("compare") else (0, "[]\n")
        assert (result.returncode, result.stdout) == expected
    assert threadmill("history", "failures").stdout == "nothing failed\n"
    assert threadmill("history", "show", "latest").returncode == 2
    assert threadmill("history", "verify").returncode == 0
    assert not home.exists() or list(home.iterdir()) == []


def test_trends_changes_and_comparisons_outlive_their_runs(threadmill: Command, home: Path) -> None:
    """The same words and numbers before and after `maintain` removed two thirds of the runs, the step among them."""
    home.mkdir()
    record = GeneratedRecord(f"sqlite:///{home / 'history.sqlite'}")
    draw, first = random.Random(8), datetime.now(UTC).date() - timedelta(days=30)
    for number in range(30):
        level = 4e6 if number < 15 else 5e6
        payloads = [NewPayload(f"/{one}", round(draw.gauss(level, level / 50))) for one in range(4)]
        samples = [NewSample(SERIAL, 100_000_000, python) for python in ("3.11.7", "3.13.0")]
        begin = at_hour(first + timedelta(days=number), 2)
        record.run(begin, payloads=payloads, samples=samples, kernel=f"6.{number // 15}")
    record.close()
    middle = first + timedelta(days=15)
    spans = f"{first}..{middle - timedelta(days=1)}", f"{middle}.."
    questions = (
        ("trend",), ("trend", "--by", "run"), ("changes",), ("compare", *spans), ("compare", "3.11", "3.13"),
    )  # fmt: skip

    def answers() -> list[Any]:
        return [read_json(threadmill("history", *question, "--json")) for question in questions]

    before = answers()
    (change,) = before[2]
    assert (change["run_id"], change["verdict"]) == (16, "slower")
    assert change["changed"] == [{"what": "kernel", "before": "6.0", "after": "6.1"}]
    assert threadmill("maintain", "--remove-older-than", "10d", "--via", "direct").returncode == 0
    assert len(read_json(threadmill("history", "runs", "--limit", "100", "--json"))) < 13
    assert threadmill("history", "show", "16").returncode == 2
    assert answers() == before
