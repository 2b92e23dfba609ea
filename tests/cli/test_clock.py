"""A wall clock that is far ahead, behind, or jumps: nothing is lost by it, and the order of recording counts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.history import History
from db.store import outdated
from tests.support.commands import Command
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
    for time, year in ((AHEAD, 2099), (BEHIND, 1970)):
        result = threadmill_at(time, "maintain", "--remove-older-than", "365d")
        assert (result.returncode, result.stdout) == (2, "")
        said = rf"threadmill: the clock says {year}-.*, and the newest run is of 2.*: nothing is removed; .*\n"
        assert re.fullmatch(said, result.stderr)
        assert "--clock-is-right" in result.stderr
    for time in (BEHIND, AHEAD):
        assert threadmill_at(time, "encrypt", "--random", "10x1").returncode == 0
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
    [((300, 200, 100), "250d"), ((10, 9, 36), "7d"), ((10, -1), "365d"), ((3 * 365 + 2, 1), "365d")],
)
def test_a_jump_that_makes_runs_old_is_refused(
    threadmill: Command, home: Path, days_ago: tuple[float, ...], keep: str
) -> None:
    """To now over more than 35 days, or by less than nothing; between two runs over more than three years."""
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


@pytest.mark.parametrize("time", [AHEAD, BEHIND])
def test_a_wrong_clock_removes_no_snapshot(threadmill_at: Command, vault: Path, time: str) -> None:
    """Neither does it say what would be removed; unless it is said to be right."""
    there = sorted((vault / "snapshots").iterdir())
    for more in ((), ("--dry-run",)):
        result = threadmill_at(time, "prune", "--keep-last", "1", *more)
        assert (result.returncode, result.stdout) == (2, "")
        said = (
            rf"threadmill: the clock says {time[1:5]}-.*, and the newest snapshot is of 2.*: nothing is removed; .*\n"
        )
        assert re.fullmatch(said, result.stderr)
        assert sorted((vault / "snapshots").iterdir()) == there
    result = threadmill_at(time, "prune", "--keep-last", "1", "--clock-is-right")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((vault / "snapshots").iterdir())) == 1


def test_a_vault_is_pruned_after_a_month(threadmill_at: Command, vault: Path) -> None:
    """The host may have been off; and where nothing is to be removed, nothing is refused."""
    assert threadmill_at(AHEAD, "prune", "--keep-last", "2").returncode == 0
    assert threadmill_at("+31d", "prune", "--keep-last", "1").returncode == 0
    assert len(list((vault / "snapshots").iterdir())) == 1
