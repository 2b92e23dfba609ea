"""Maintenance: `threadmill maintain`, and the flow that is deployed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from db.history import History, PayloadFilter, SampleFilter, SeriesFilter
from flows.errors import RequestRefused
from flows.jobs.parameters import Maintain
from tests.support.commands import Command, read_json
from tests.support.prefect_api import ask_server
from tests.support.small_record import DAYS, RUNS, make_small

ROOT = Path(__file__).parents[2]


@pytest.fixture
def record(home: Path) -> str:
    """The URL of a record that is years old, where the commands of the test look for it."""
    home.mkdir()
    url = f"sqlite:///{home / 'history.sqlite'}"
    make_small(url, date(2024, 9, 1))
    return url


def trends(url: str) -> list[object]:
    """What is known of how each series went on."""
    history = History(url)
    which = SeriesFilter()
    found: list[object] = [
        history.trend(which, by="day", limit=None),
        history.trend(which, by="run", limit=None),
    ]
    history.close()
    return found


def test_old_runs_go_and_what_they_added_up_to_stays(
    threadmill: Command, environment: dict[str, str], record: str
) -> None:
    """Nothing is removed unasked; then whole runs are, and trends, the ledger and the rest are what they were."""
    first = read_json(threadmill("maintain", "--json"))
    assert (first["run"]["flow"], first["run"]["status"]) == ("maintain", "completed")
    assert f"runs checked: {RUNS}, all as they were sealed" in first["message"]
    assert f"days rolled up: {DAYS}" in first["message"]
    before = trends(record)
    assert len(History(record).runs(limit=None)) == RUNS + 1

    environment["THREADMILL_KEEP"] = "365d"
    second = threadmill("maintain")
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.startswith(f"run {RUNS + 2}: runs checked: {RUNS + 1}, ")
    assert second.stdout.endswith(f"runs older than 365d removed: {RUNS}\n")
    history = History(record)
    assert [run.flow for run in history.runs(limit=None)] == ["maintain", "maintain"]
    assert history.payloads(PayloadFilter()) == []
    assert history.samples(SampleFilter()) == []
    assert trends(record) == before
    assert all(before)
    verdict = history.verify()
    assert (verdict.faults, verdict.runs, verdict.entries) == ((), 2, 2 * RUNS + 2)


def test_an_altered_run_fails_the_maintenance(threadmill: Command, record: str, home: Path) -> None:
    """It is named, in the output and in the row of the run; what was asked for is done all the same."""
    with closing(sqlite3.connect(home / "history.sqlite")) as connection:
        connection.execute("UPDATE encryption SET digest = x'00' WHERE run_id = 3 AND ordinal = 0")
        connection.commit()
    result = threadmill("maintain", "--remove-older-than", "52w", "--clock-is-right")
    assert result.returncode == 1
    assert "NOT AS SEALED: run 3 table encryption" in result.stderr
    run, newest = History(record).runs(limit=None)
    assert (run.flow, run.status, newest.id) == ("maintain", "failed", RUNS)
    assert run.error is not None
    assert run.error in result.stderr
    assert [fault.run_id for fault in History(record).verify().faults] == [3]


def test_as_a_flow_it_does_the_same(
    threadmill_process: Command, environment: dict[str, str], record: str, prefect_server: str, tmp_path: Path
) -> None:
    """On a server the age comes from the setting, and the state's message is the outcome, or why it was refused."""
    environment |= {"PREFECT_API_URL": prefect_server, "HOME": str(tmp_path), "THREADMILL_KEEP": "52w"}
    refused = threadmill_process("maintain")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "the newest run is of 2024-09-03 06:00 UTC: nothing is removed" in refused.stderr
    (flow_run,) = ask_server(prefect_server, "flow_runs/filter", {"flows": {"name": {"any_": ["maintain"]}}})
    assert (flow_run["state"]["type"], flow_run["state"]["name"]) == ("FAILED", "Refused")
    assert "the newest run is of 2024-09-03" in flow_run["state"]["message"]

    done = read_json(threadmill_process("maintain", "--clock-is-right", "--json"))
    assert (done["run"]["via"], done["run"]["status"]) == ("prefect", "completed")
    assert done["message"].endswith(f"runs older than 52w removed: {RUNS - 1}")
    flow_run = ask_server(prefect_server, f"flow_runs/{done['run']['flow_run_id']}")
    assert flow_run["name"].startswith("maintain 2")
    assert (flow_run["state"]["type"], flow_run["state"]["message"]) == ("COMPLETED", done["message"])


@pytest.mark.parametrize("age", ["6m", "12h", "0d", "-1d", "365", "d", "1y", "123456d", "365d "])
def test_an_age_is_in_days_or_weeks(age: str) -> None:
    """What might be months or minutes, or nothing at all, removes nothing."""
    with pytest.raises(RequestRefused, match="write 365d or 52w"):
        Maintain(remove_older_than=age).check()


def test_a_setting_that_makes_no_sense_is_refused_everywhere(threadmill: Command, environment: dict[str, str]) -> None:
    """Not only at night, when nobody looks."""
    environment["THREADMILL_KEEP"] = "6m"
    result = threadmill("settings")
    assert (result.returncode, result.stdout) == (2, "")
    assert "THREADMILL_KEEP" in result.stderr
    assert "365d" in result.stderr


def test_it_is_deployed_daily_and_does_not_wait_for_measurements() -> None:
    """Active, on the pool's own queue."""
    (deployment,) = [
        part for part in (ROOT / "prefect.yaml").read_text().split("\n  - ") if part.startswith("name: maintain\n")
    ]
    assert "entrypoint: flows.vault.maintain" in deployment
    assert "work_pool: *pool" in deployment
    assert "active: false" not in deployment
    assert 'cron: "30 0 * * *"' in deployment
