"""A wall clock that is far ahead, behind, or jumps: nothing is lost by it, and the order of recording counts."""

from __future__ import annotations

import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.history import History, SeriesFilter
from db.store import outdated
from tests.support.commands import BIN, Command, read_json
from tests.support.generated_record import GeneratedRecord

AHEAD, BEHIND = "@2099-01-01 00:00:00", "@1970-01-05 00:00:00"
NOW = datetime.now(UTC)


def runs(home: Path) -> list[int]:
    """The numbers of the runs on record, the newest first."""
    history = History(f"sqlite:///{home / 'history.sqlite'}")
    found = sorted((run.id for run in history.runs(limit=None)), reverse=True)
    history.close()
    return found


def began(home: Path, *days_ago: float) -> None:
    """Record runs that began so many days ago, in this order."""
    home.mkdir(exist_ok=True)
    record = GeneratedRecord(f"sqlite:///{home / 'history.sqlite'}")
    for days in days_ago:
        record.run(NOW - timedelta(days=days))
    record.close()


def test_a_wrong_clock_removes_no_run(threadmill: Command, threadmill_at: Command, home: Path) -> None:
    """Far ahead or behind, maintenance is refused, also once runs were recorded by that clock."""
    for _ in range(3):
        assert threadmill("encrypt", "--random", "10x1").returncode == 0
    for clock, year in ((AHEAD, 2099), (BEHIND, 1970)):
        result = threadmill_at(clock, "maintain", "--remove-older-than", "365d")
        assert (result.returncode, result.stdout) == (2, "")
        said = rf"threadmill: the clock says {year}-.*, and the newest run is of 2.*: nothing is removed; .*\n"
        assert re.fullmatch(said, result.stderr)
        assert "--clock-is-right" in result.stderr
    for clock in (BEHIND, AHEAD):
        assert threadmill_at(clock, "encrypt", "--random", "10x1").returncode == 0
    result = threadmill_at(AHEAD, "maintain", "--remove-older-than", "365d")
    assert (result.returncode, result.stdout) == (2, "")
    assert re.search("a run is of 2.*, and the next one of 2099-01-01 00:00 UTC: nothing is removed", result.stderr)
    assert runs(home) == [5, 4, 3, 2, 1]


def test_a_clock_that_is_said_to_be_right_leaves_the_newest_run(
    threadmill: Command, threadmill_at: Command, home: Path
) -> None:
    """However old that is."""
    for _ in range(3):
        assert threadmill("encrypt", "--random", "10x1").returncode == 0
    result = threadmill_at(AHEAD, "maintain", "--remove-older-than", "365d", "--clock-is-right")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("runs older than 365d removed: 2\n")
    assert runs(home) == [4, 3]


@pytest.mark.parametrize(
    ("days_ago", "keep", "left"),
    [
        ((500, 400, 32), "365d", 1),  # off for a month
        ((500, 400, 32), "7d", 1),
        ((800, 100, 99), "365d", 2),  # off for longer, and no more goes than at the time of the newest run
        ((400, 0), "365d", 1),
        ((400, 20_000, 0), "365d", 1),  # one of them by a clock that was behind
        ((20_000, 20_000, 10, 20_000, 0), "365d", 5),
        ((400, -20_000, 390, 10, 0), "365d", 2),  # one by a clock that was ahead
        ((10, -20_000, 0), "365d", 3),
    ],
)
def test_an_ordinary_host_is_not_refused(
    threadmill: Command, home: Path, days_ago: tuple[float, ...], keep: str, left: int
) -> None:
    """Runs go in the order of recording, whatever the dates between them say."""
    began(home, *days_ago)
    result = threadmill("maintain", "--remove-older-than", keep)
    if days_ago[0] == 20_000:
        # Whether these are old is not known.
        assert result.returncode == 2
        assert "a run is of 1972" in result.stderr
        return
    assert (result.returncode, result.stderr) == (0, "")
    assert runs(home) == list(range(len(days_ago) + 1, len(days_ago) - left, -1))


@pytest.mark.parametrize(
    ("days_ago", "keep"),
    [((300, 200, 100), "250d"), ((40,), "30d"), ((10, 9, 36), "7d"), ((10, -1), "365d"), ((3 * 365 + 2, 1), "365d")],
)
def test_a_jump_that_makes_runs_old_is_refused(
    threadmill: Command, home: Path, days_ago: tuple[float, ...], keep: str
) -> None:
    """To now over more than 35 days, or by less than nothing; between two runs over more than three years.

    Of one run too, which would stay.
    """
    began(home, *(days_ago if days_ago[0] < 1000 else (days_ago[0], days_ago[0], days_ago[1])))
    count = len(runs(home))
    result = threadmill("maintain", "--remove-older-than", keep)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(runs(home)) == count


def test_the_newest_is_never_outdated() -> None:
    """Of one run, or of none, nothing goes."""
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    assert [outdated([long_ago] * count, NOW, NOW) for count in range(4)] == [0, 0, 1, 2]


@pytest.fixture
def vault(threadmill: Command, environment: dict[str, str], key_file: Path, tmp_path: Path) -> Path:
    """A vault with two snapshots of a folder, which the commands of the test use."""
    del key_file
    folder = tmp_path / "vault"
    environment["THREADMILL_VAULT"] = str(folder)
    assert threadmill("vault", "init", str(folder)).returncode == 0
    (tmp_path / "documents").mkdir()
    for content in ("one", "other"):
        (tmp_path / "documents/letter").write_text(content)
        assert threadmill("encrypt", "documents").returncode == 0
    return folder


@pytest.mark.parametrize("clock", [AHEAD, BEHIND])
def test_a_wrong_clock_removes_no_snapshot(threadmill_at: Command, vault: Path, clock: str) -> None:
    """Neither does it say what would be removed; unless it is said to be right."""
    there = sorted((vault / "snapshots").iterdir())
    for more in ((), ("--dry-run",)):
        result = threadmill_at(clock, "prune", "--keep-last", "1", *more)
        assert (result.returncode, result.stdout) == (2, "")
        said = (
            rf"threadmill: the clock says {clock[1:5]}-.*, and the newest snapshot is of 2.*: nothing is removed; .*\n"
        )
        assert re.fullmatch(said, result.stderr)
        assert sorted((vault / "snapshots").iterdir()) == there
    result = threadmill_at(clock, "prune", "--keep-last", "1", "--clock-is-right")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((vault / "snapshots").iterdir())) == 1


def test_a_vault_is_pruned_after_a_month(threadmill_at: Command, vault: Path) -> None:
    """The host may have been off; and where nothing is to be removed, nothing is refused."""
    assert threadmill_at(AHEAD, "prune", "--keep-last", "2").returncode == 0
    assert threadmill_at("+31d", "prune", "--keep-last", "1").returncode == 0
    assert len(list((vault / "snapshots").iterdir())) == 1


def test_the_last_recorded_run_is_the_latest(threadmill: Command, threadmill_at: Command) -> None:
    """And not the one of 2099, which status names as long as it is the last one."""
    assert threadmill_at(AHEAD, "encrypt", "--random", "10x1").returncode == 0
    result = threadmill("status")
    assert "needs attention: run 1 is of 2099-01-01 00:00 UTC, and the clock says 2" in result.stderr
    assert threadmill("encrypt", "--random", "10x1").returncode == 0
    assert "is of 2099" not in threadmill("status").stderr
    assert read_json(threadmill("history", "show", "latest", "--json"))["run"]["id"] == 2
    assert [run["id"] for run in read_json(threadmill("history", "runs", "--json"))] == [2, 1]


def test_a_file_is_checked_against_its_last_recorded_encryption(
    threadmill: Command, threadmill_at: Command, key_file: Path, tmp_path: Path
) -> None:
    """Although an older one is of 2099."""
    del key_file
    (tmp_path / "letter").write_text("one")
    assert threadmill_at(AHEAD, "encrypt", "letter").returncode == 0
    (tmp_path / "letter").write_text("other")
    assert threadmill("encrypt", "letter").returncode == 0
    assert threadmill("check", "letter").returncode == 0


@pytest.mark.parametrize("jump", ["-3h", "+3h"])
def test_a_clock_that_is_set_in_mid_run_changes_no_duration(
    threadmill: Command, faketime: str, environment: dict[str, str], key_file: Path, tmp_path: Path, jump: str
) -> None:
    """A run ends at its beginning and the time that it took."""
    del key_file
    offset = tmp_path / "offset"
    offset.write_text("+0")
    library = subprocess.check_output([faketime, "-f", "+0", "printenv", "LD_PRELOAD"], text=True).strip()
    clock = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    with subprocess.Popen(
        [BIN / "threadmill", "encrypt", "-"],
        env=environment | clock | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        deadline = time.monotonic() + 60
        while not read_json(threadmill("history", "runs", "--json")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        offset.write_text(jump)
        process.communicate(b"text", timeout=60)
    assert process.returncode == 0
    run = read_json(threadmill("history", "show", "latest", "--json"))["run"]
    began, ended = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    assert timedelta() < ended - began < timedelta(minutes=2)
    assert "h, on" not in threadmill("history", "show", "latest").stdout


def test_the_hour_that_comes_twice_has_its_zone(
    threadmill_process: Command, environment: dict[str, str], home: Path
) -> None:
    """On the night in autumn, 01:30 is two times; other times are as short as ever."""
    home.mkdir()
    record = GeneratedRecord(f"sqlite:///{home / 'history.sqlite'}")
    for hour in (0, 1, 2):
        record.run(datetime(2026, 10, 25, hour, 30, tzinfo=UTC))
    record.close()
    environment["TZ"] = "Europe/London"
    shown = threadmill_process("history", "runs").stdout
    times = re.findall(r"2026-10-25 [0-9:]+(?: [+-]\d{4})?", shown)
    assert times == ["2026-10-25 02:30:00", "2026-10-25 01:30:00 +0000", "2026-10-25 01:30:00 +0100"]


def days(home: Path) -> list[tuple[str, int]]:
    """The days of the trend of the only series, and how many payloads each has."""
    history = History(f"sqlite:///{home / 'history.sqlite'}")
    found = [(f"{row.started_at:%Y-%m-%d}", row.n) for row in history.trend(SeriesFilter(), by="day")]
    history.close()
    return found


def test_trends_do_not_end_with_a_day_that_was_summed_up_too_early(
    threadmill: Command, threadmill_at: Command, home: Path
) -> None:
    """By a clock that was ahead, with runs of that time."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"

    def encrypt(run: Command, *clock: str) -> None:
        assert run(*clock, "encrypt", "--random", "10x1").returncode == 0

    encrypt(threadmill)
    encrypt(threadmill_at, AHEAD)
    assert threadmill_at("@2099-01-02 00:00:00", "maintain").returncode == 0
    assert days(home) == [(today, 1), ("2099-01-01", 1)]
    for count in (2, 3):
        encrypt(threadmill)
        assert days(home) == [(today, count), ("2099-01-01", 1)]
    assert threadmill("maintain").returncode == 0
    assert days(home) == [(today, 3), ("2099-01-01", 1)]


def test_a_proof_by_a_clock_that_was_ahead_is_none(
    threadmill: Command, threadmill_at: Command, vault: Path, home: Path
) -> None:
    """Or a sample would never come to it again; in the record, the order of recording counts."""
    history = History(f"sqlite:///{home / 'history.sqlite'}")
    assert threadmill_at(AHEAD, "verify").returncode == 0
    instance = history.vaults()[0].vault_id
    assert list(history.proven(instance)) == []
    assert "2 never proven" in threadmill("status", "--only-vault").stdout
    assert threadmill("verify").returncode == 0
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert [proven_at < now for _, proven_at in history.proven(instance)] == [True] * 2
    assert [row.proven_at is not None and row.proven_at < now for row in history.proofs()] == [True] * 2
    history.close()
    assert vault.exists()
