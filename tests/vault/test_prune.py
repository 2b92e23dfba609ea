"""Removing by policy, and what is left whenever somebody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault import locks
from tasks.vault.add import SourceSelection, adding
from tasks.vault.errors import VaultBusy, VaultError, VaultUnwritable
from tasks.vault.header import Header, Totals
from tasks.vault.index import ObjectIndex
from tasks.vault.lookup import snapshot_names
from tasks.vault.objects import object_names
from tasks.vault.prune import Policy, plan_removal, remove_objects, remove_snapshots, to_remove
from tasks.vault.snapshots import Snapshot
from tests.support.crafted import craft, flip, put_in_place
from tests.support.crypto_fakes import ROOT
from tests.support.vaults import Place, everything, files, make_place, prune


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files."""
    place = make_place(tmp_path)
    for name in ("a", "b/c"):
        place.put(name)
    return place


def snapshot(time: datetime, sequence: int, source: bytes = b"/x") -> Snapshot:
    return Snapshot(Header("0" * 32, f"{sequence:016x}", time, sequence, (source,)), Totals(0, 0, 0), "")


def kept(times: list[datetime], policy: Policy) -> list[datetime]:
    all_of_them = [snapshot(time, number) for number, time in enumerate(times, 1)]
    gone = to_remove(all_of_them, policy)
    assert gone == sorted(gone, key=lambda one: one.header.sequence)
    return [one.header.created for one in all_of_them if one not in gone]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTS = [at("2025-12-20T02:00") + timedelta(days=number) for number in range(30)]


@pytest.mark.parametrize(
    ("policy", "days"),
    [
        (Policy(), ["2026-01-18"]),
        (Policy(last=2), ["2026-01-17", "2026-01-18"]),
        (Policy(daily=3), ["2026-01-16", "2026-01-17", "2026-01-18"]),
        # Weeks end on Sundays, 4 and 11 January.
        (Policy(weekly=3), ["2026-01-04", "2026-01-11", "2026-01-18"]),
        (Policy(monthly=5), ["2025-12-31", "2026-01-18"]),
        (Policy(last=1, daily=2, weekly=2, monthly=2), ["2025-12-31", "2026-01-11", "2026-01-17", "2026-01-18"]),
        (Policy(last=99), [f"{night:%Y-%m-%d}" for night in NIGHTS]),
    ],
)
def test_what_a_policy_keeps(policy: Policy, days: list[str]) -> None:
    """The newest ones, and the newest of each of the last days, weeks and months that have one."""
    assert [f"{time:%Y-%m-%d}" for time in kept(NIGHTS, policy)] == days


def test_the_newest_of_a_day_is_kept() -> None:
    """Of several on a day (UTC) the last one; days without any do not count."""
    times = [at("2026-01-01T01:00"), at("2026-01-01T23:59"), at("2026-01-02T00:00"), at("2026-02-01T12:00")]
    assert kept(times, Policy(daily=3)) == times[1:]


def test_weeks_are_those_of_iso_years() -> None:
    """30 December 2024 and 3 January 2025 are of one week; 31 December 2023 is of another than 1 January 2024."""
    times = [at("2023-12-31T00:00"), at("2024-01-01T00:00"), at("2024-12-30T00:00"), at("2025-01-03T00:00")]
    assert kept(times, Policy(weekly=9)) == [times[0], times[1], times[3]]


def test_the_newest_is_the_highest_number() -> None:
    """After the clock was set back, the newest by its number stays."""
    times = [at("2026-02-01T00:00"), at("2026-01-01T00:00")]
    assert kept(times, Policy()) == times[1:]


def test_sets_of_sources_are_kept_apart() -> None:
    """One tree's snapshots do not push out those of another; the newest of each always stays."""
    every = [snapshot(at("2026-01-01T00:00") + timedelta(hours=n), n, b"/%d" % (n % 2)) for n in range(1, 9)]
    assert to_remove(every, Policy()) == every[:6]
    assert to_remove(every, Policy(last=2)) == every[:4]
    assert Policy().keeps_nothing
    assert not Policy(monthly=1).keeps_nothing


def test_what_nobody_names_is_removed(place: Place) -> None:
    """Old snapshots go, then the objects that only they name, and what killed runs left; the rest restores."""
    old = place.settled_add().name
    gone = place.object_of(old, place.tree / "a")
    place.put("a", b"other")
    new = place.add().name
    (place.root / "objects" / "00").mkdir(exist_ok=True)
    left = place.root / "objects" / "00" / ("0" * 64)
    left.write_bytes(b"x")
    (place.root / "tmp" / "left").touch()
    verdicts = prune(place.vault, Policy(last=1))
    assert [(v.kind, v.name, v.status) for v in verdicts[:1]] == [("snapshot", old, "removed")]
    assert {(v.name, v.size_bytes) for v in verdicts[1:]} == {(gone.name, 47), (left.name, 1)}
    assert snapshot_names(place.vault.root) == [new]
    assert set(object_names(place.vault.root)) == {one.object for one in files(place.vault)}
    assert list((place.root / "tmp").iterdir()) == []
    assert place.faults() == {}
    assert everything(place.restored(place.root.with_name("target"))) == everything(place.tree)
    assert prune(place.vault, Policy(last=1)) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "fifo", "link", "invalid", "folder gone"])
def test_beside_a_damaged_snapshot_nothing_is_removed(place: Place, damage: str) -> None:
    """It is not known which objects it needs: so all stay, and so do the snapshots."""
    name, second = place.add().name, place.add().name
    path = place.snapshot(name)
    if damage == "flip":
        flip(path, 300)
    elif damage == "cut":
        os.truncate(path, 200)
    elif damage == "invalid":
        craft(place.vault, [b"{}\n"], sequence=99, created=datetime(2099, 1, 1, tzinfo=UTC))
    elif damage == "folder gone":
        path.parent.rename(place.root.with_name("kept"))
    else:
        put_in_place(damage, path)
    before = set(object_names(place.vault.root))
    with pytest.raises(VaultError):
        prune(place.vault, Policy(last=1))
    assert set(object_names(place.vault.root)) == before
    assert damage == "folder gone" or place.snapshot(second).exists()


def test_what_is_no_object_is_left_for_verify(place: Place) -> None:
    """Folders and links with the name of an object are no objects: they are not removed, and do not end it."""
    place.add()
    odd = place.root / "objects" / "00"
    odd.mkdir(exist_ok=True)
    (odd / ("0" * 64)).mkdir()
    (odd / ("00" + "1" * 62)).symlink_to("x")
    assert prune(place.vault, Policy(last=1)) == []
    assert set(place.faults().values()) == {"foreign"}


def test_beside_a_run_that_adds_nothing_is_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing waits for a run that adds, and says so in the end; and the other way round."""
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    place.add()
    with adding(place.vault, SourceSelection((bytes(place.tree),)), CancelToken()) as addition:
        with pytest.raises(VaultBusy, match="in use by another threadmill"):
            prune(place.vault, Policy(last=1))
        assert addition.add_snapshot(1, CancelToken()).snapshot.totals.entries > 0
    with locks.alone(place.vault.root, CancelToken()), pytest.raises(VaultBusy):
        place.add()


def test_removing_ends_when_cancelled(place: Place) -> None:
    """What is gone is gone, the vault is whole, and the next time goes on."""
    for number in range(3):
        # Both are new each time: a file that has settled by the next run, on a busy host, would keep its object.
        place.put("a", b"%d" % number)
        place.put("b/c", b"%d" % number)
        place.add()
    cancel = CancelToken()
    with locks.alone(place.vault.root, cancel), ObjectIndex() as index:
        removal = plan_removal(place.vault, Policy(last=1), index, cancel)
        names = [one.name for one in removal.snapshots]
        assert [one.kind for one in remove_snapshots(place.vault.root, names)] == ["snapshot", "snapshot"]
        cancel.cancel()
        with pytest.raises(Cancelled):
            list(remove_objects(place.vault.root, index.unnamed(), cancel))
        with pytest.raises(Cancelled):
            plan_removal(place.vault, Policy(last=1), index, cancel)
    assert place.faults() == {}
    assert len(prune(place.vault, Policy(last=1))) == 4


def test_a_disk_that_refuses_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the file system ends it in one line."""
    place.add()
    place.add()

    def refuse(path: str) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(VaultUnwritable, match="not permitted"):
        prune(place.vault, Policy(last=1))
    assert place.faults() == {}


# One interpreter that is ready forks a child for each: starting them takes longer than all that is to be seen.
FORK = """
import os, sys
from pathlib import Path
from tasks.crypto.secret import KeyFile
from tasks.vault.prune import Policy
from tasks.vault.vault import open_vault
from tests.support.vaults import Place, prune
key = KeyFile(sys.argv[2])
place = Place(open_vault(sys.argv[1], key.secret()), key, Path(sys.argv[3]))
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        place.add() if line == "add\\n" else prune(place.vault, Policy(last=1))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "times"), [("add", 30), ("prune", 15)])
def test_killed_at_any_moment(place: Place, what: str, times: int) -> None:
    """Runs that are killed leave a vault that verifies, and the next one finishes the work."""
    for number in range(120):
        place.put(f"many/{number}", os.urandom(500))
    place.add()
    command = [sys.executable, "-c", FORK, place.vault.root, place.key.path, str(place.tree)]
    ends = []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:
        assert forker.stdin
        assert forker.stdout
        for turn in range(times):
            for number in range(turn % 7, 120, 7):
                place.put(f"many/{number}", os.urandom(500))
            if what == "prune":
                place.add()
            forker.stdin.write(f"{what}\n")
            forker.stdin.flush()
            pid = int(forker.stdout.readline())
            # The first ones at once, so that some are sure to be in the middle.
            time.sleep(0.05 * (turn / times) ** 2)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            ends.append(int(forker.stdout.readline()))
            assert place.faults() == {}, turn
        forker.stdin.close()
    assert set(ends) <= {0, signal.SIGKILL}
    assert signal.SIGKILL in ends
    place.add()
    prune(place.vault, Policy(last=1))
    assert place.faults() == {}
    assert set(object_names(place.vault.root)) == {one.object for one in files(place.vault)}
    assert everything(place.restored(place.root.with_name("target"))) == everything(place.tree)
