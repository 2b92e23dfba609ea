"""Removing by policy, rewriting packs, and what is left whenever somebody is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault import locks
from tasks.vault.add import adding
from tasks.vault.entries import Content
from tasks.vault.errors import VaultBusy, VaultError, VaultUnwritable, Verdict
from tasks.vault.format import OBJECTS, PACKS
from tasks.vault.header import Header, Totals
from tasks.vault.lookup import partial_names, snapshot_names
from tasks.vault.named import NamedObjects
from tasks.vault.packs import stored
from tasks.vault.policy import Policy, to_remove
from tasks.vault.prune import copy_living, plan_removal
from tasks.vault.snapshots import Snapshot
from tasks.vault.walk import SourceSelection
from tests.support.crafted import craft, flip, line_of, put_in_place
from tests.support.crypto_fakes import ROOT
from tests.support.packed import digest, pack_path, plant_object, put_pack, sidecar_path
from tests.support.vaults import (
    Place,
    copy,
    everything,
    files,
    make_place,
    objects,
    pack_of,
    plan,
    prune,
    put,
    remove,
    restore,
    small_disk,
    stored_object,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files."""
    place = make_place(tmp_path)
    for name in ("a", "b/c"):
        place.put(name)
    return place


def snapshot(time: datetime, sequence: int, source: bytes = b"/x", *, counts: bool = True) -> Snapshot:
    totals = Totals(0, 0, 0, counts=counts)
    return Snapshot(Header("0" * 32, f"{sequence:016x}", time, sequence, (source,)), "", totals)


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


def test_days_of_a_clock_that_begins_anew_are_kept_apart() -> None:
    """They have one date, and so may days before and after a clock was set back."""
    anew = [at("1970-01-01T00:05") - timedelta(seconds=night) for night in range(9)]
    assert kept(anew, Policy(daily=3)) == anew[6:]
    ahead = [*NIGHTS, at("2099-01-01T00:00"), NIGHTS[-1] + timedelta(hours=2)]
    assert kept(ahead, Policy(daily=4)) == ahead[-4:]


def test_sets_of_sources_are_kept_apart() -> None:
    """One tree's snapshots do not push out those of another; the newest of each always stays."""
    every = [snapshot(at("2026-01-01T00:00") + timedelta(hours=n), n, b"/%d" % (n % 2)) for n in range(1, 9)]
    assert to_remove(every, Policy()) == every[:6]
    assert to_remove(every, Policy(last=2)) == every[:4]


def test_snapshots_in_doubt_push_out_no_others() -> None:
    """Those that count are kept as if there were no others, which are kept as ever; an accepted one counts."""
    every = [snapshot(night, n, counts=n % 10 < 5) for n, night in enumerate(NIGHTS, 1)]
    names = [one.name for one in every]

    def stay(policy: Policy, *accepted: int) -> list[int]:
        gone = to_remove(every, policy, [names[number - 1] for number in accepted])
        return [one.header.sequence for one in every if one not in gone]

    assert stay(Policy(last=1)) == [30]
    every.pop()
    assert stay(Policy(last=1)) == [24, 29]
    assert stay(Policy(last=2)) == [23, 24, 28, 29]
    assert stay(Policy(daily=2), 28) == [24, 28, 29]
    assert stay(Policy(last=1), 29) == [29]


LAST = Policy(last=1)


def told(verdicts: list[Verdict]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.name, one.status) for one in verdicts]


def packs_of(place: Place) -> set[str]:
    return {name for name, _ in stored(place.vault.root, PACKS)}


def is_as_kept(place: Place) -> None:
    """The vault is whole, has just the objects that snapshots name, and gives back the tree."""
    assert place.faults() == {}
    assert objects(place.vault).keys() == {one.content.object for one in files(place.vault)}
    target = place.root.with_name("target")
    assert everything(place.restored(target)) == everything(place.tree)


def renamed(place: Place, number: int, name: str, size: int) -> bytes:
    """The line of another file, with that object."""
    entry = files(place.vault)[0]
    content = Content(name, size)
    return line_of(replace(entry, path=b"%d" % number, content=content, facts=entry.facts._replace(size_bytes=size)))


def half_dead(place: Place, count: int = 40) -> str:
    """Let half of the first pack die; its name."""
    for number in range(count):
        place.put(f"many/{number:03}", random.randbytes(2000))
    (pack,) = place.settled_add().packs
    for number in range(0, count, 2):
        place.put(f"many/{number:03}", random.randbytes(2000))
    place.settled_add()
    return pack


def test_what_nobody_names_is_removed(place: Place) -> None:
    """Old snapshots go, then packs and large objects that only they name, and what killed runs left; the rest stays."""
    first = place.settled_add()
    place.put("a", b"other")
    place.put("b/c", b"another")
    new = place.settled_add()
    large = plant_object(place.vault, b"Salted__" + bytes(1 << 20))
    left = put_pack(place.vault, b"Salted__ what a killed run left")
    (place.root / "tmp" / "0123456789abcdef").touch()
    sidecar_path(place.vault, "ab" * 32).touch()
    size_of = {name: size for kind in (PACKS, OBJECTS) for name, size in stored(place.vault.root, kind)}
    verdicts = prune(place.vault, LAST)
    assert told(verdicts[:1]) == [("snapshot", first.name, "removed")]
    gone = {("object", large, "removed"), ("pack", first.packs[0], "removed"), ("pack", left, "removed")}
    assert set(told(verdicts[1:])) == gone
    assert all(one.size_bytes == size_of[one.name] for one in verdicts[1:])
    assert snapshot_names(place.vault.root) == [new.name]
    assert list((place.root / "tmp").iterdir()) == []
    assert [path.name for path in (place.root / "index").iterdir()] == list(new.packs)
    is_as_kept(place)
    assert prune(place.vault, LAST) == []


def test_packs_with_dead_bytes_are_rewritten(place: Place) -> None:
    """Their living objects are in a new pack, which is proven, and which the verdict on the old one names."""
    old = half_dead(place)
    living = {one.content.object for one in files(place.vault)}
    verdicts = prune(place.vault, LAST)
    ((new, size),) = [(one.name, one.size_bytes) for one in verdicts if one.status == "ok"]
    (removed,) = [one for one in verdicts if (one.kind, one.status) == ("pack", "removed")]
    assert (removed.name, removed.error) == (old, f"its objects are in {new}")
    assert size == pack_path(place.vault, new).stat().st_size < (removed.size_bytes or 0)
    assert objects(place.vault).keys() == living
    assert sidecar_path(place.vault, new).exists()
    is_as_kept(place)


def test_few_dead_bytes_stay(place: Place) -> None:
    """As many as are allowed, of the whole; then the worst packs are rewritten, and no more than needed."""
    half_dead(place)
    with plan(place.vault, LAST, 0.5) as (_, removal):
        assert removal.rewrites == ()
    for number in (*range(1, 39), 0, 2, 4):
        place.put(f"many/{number:03}", random.randbytes(2000))
        if number in {30, 38}:
            place.settled_add()
    place.settled_add()
    with plan(place.vault, LAST, 0.0) as (index, removal):
        living = index.living()
        shares = [living[name][0] / living[name][1] for name in removal.rewrites]
        assert len(shares) > 1
        assert shares == sorted(shares)
        whole = sum(size for _, size in living.values())
        most = removal.freed_bytes
    with plan(place.vault, LAST, 0.2) as (_, removal):
        assert 0 < most - removal.freed_bytes <= 0.2 * whole


def test_many_small_packs_are_merged(place: Place) -> None:
    """A pack is left by each nightly run: the tenth that is small is merged with the others, and no large one is."""
    for number in range(5):
        place.put(f"large/{number}", random.randbytes(1_000_000))
    (large,) = place.settled_add().packs
    small = {large}
    for number in range(9):
        place.put(f"nightly/{number}")
        small |= set(place.settled_add().packs)
    assert len(small) == 10
    assert [one.kind for one in prune(place.vault, LAST)] == ["snapshot"] * 9
    place.put("nightly/9")
    small |= set(place.settled_add().packs)
    verdicts = prune(place.vault, LAST)
    ((new, _),) = [(one.name, one.size_bytes) for one in verdicts if one.status == "ok"]
    assert packs_of(place) == {large, new}
    assert {one.name for one in verdicts if (one.kind, one.status) == ("pack", "removed")} == small - {large}
    is_as_kept(place)
    assert prune(place.vault, LAST) == []


def test_a_damaged_object_stays_and_is_named(place: Place) -> None:
    """Its pack is not removed; its other objects are safe, and once it is stored again the pack goes."""
    old = half_dead(place)
    path = place.tree / "many" / "001"
    wanted = place.content_of("latest", path)
    pack, begin = pack_of(place.vault, wanted.object)
    flip(pack, begin + 30)
    verdicts = prune(place.vault, LAST)
    (fault,) = [one for one in verdicts if one.is_fault]
    assert (fault.kind, fault.name, fault.path) == ("object", wanted.object, bytes(path))
    assert old in packs_of(place)
    assert place.faults() == {old: "changed", wanted.object: "changed"}
    selection = SourceSelection((bytes(place.tree),), distrusted=frozenset([wanted.object]))
    with adding(place.vault, selection, CancelToken()) as addition:
        put(addition, enumerate(addition.to_do()), place.key)
        addition.add_snapshot(9, CancelToken())
    assert [one for one in prune(place.vault, LAST, 0) if one.is_fault] == []
    is_as_kept(place)


@pytest.mark.parametrize("bad", [0, 1])
def test_of_two_copies_a_good_one_lives(place: Place, bad: int) -> None:
    """It is hashed before the other is let go."""
    added = place.settled_add()
    bodies = [stored_object(place.vault, one.content) for one in files(place.vault)]
    second = put_pack(place.vault, *reversed(bodies))
    packs = sorted((*added.packs, second))
    path = pack_path(place.vault, packs[bad])
    flip(path, path.read_bytes().index(bodies[0]) + 20)
    verdicts = prune(place.vault, LAST, 0)
    assert not [one for one in verdicts if one.is_fault]
    assert len(packs_of(place)) == 1
    is_as_kept(place)


def test_what_is_missing_may_be_in_a_pack_that_cannot_be_read(place: Place) -> None:
    """As long as something is missing, a pack with bytes of no known object stays."""
    (pack,) = place.settled_add().packs
    path = pack_path(place.vault, pack)
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    sidecar_path(place.vault, pack).unlink()
    assert prune(place.vault, LAST) == []
    path.write_bytes(whole)
    sidecar_path(place.vault, pack).unlink()
    is_as_kept(place)


@pytest.mark.parametrize("damage", ["flip", "cut", "fifo", "link", "invalid", "folder gone"])
def test_beside_a_damaged_snapshot_nothing_is_removed(place: Place, damage: str) -> None:
    """It is not known which objects it needs: so all stay, and so do the snapshots."""
    name, second = place.add().name, place.add().name
    path = place.snapshot(name)
    if damage == "flip":
        flip(path, 200)
    elif damage == "cut":
        os.truncate(path, 200)
    elif damage == "invalid":
        craft(place.vault, [], totals=b"{}\n", sequence=99, created=datetime(2099, 1, 1, tzinfo=UTC))
    elif damage == "folder gone":
        path.parent.rename(place.root.with_name("kept"))
    else:
        put_in_place(damage, path)
    before = packs_of(place)
    with pytest.raises(VaultError):
        prune(place.vault, LAST)
    assert packs_of(place) == before
    assert damage == "folder gone" or place.snapshot(second).exists()


@pytest.mark.parametrize("kind", ["overtaken", "living", "first", "damaged"])
def test_partial_snapshots_go_when_a_whole_one_has_overtaken_them(place: Place, kind: str) -> None:
    """Those of a run that is alive, or that no whole one followed, stay with all that they name, whatever the clock."""
    body = b"Salted__ of a file that only the part has"
    pack = put_pack(place.vault, body)
    place.settled_add()
    before = 0 if kind in {"overtaken", "living"} else 1
    created = datetime(2020 if before else 2099, 1, 1, tzinfo=UTC)
    run, sources = "0123456789abcdef", (bytes(place.tree),)
    lines = [renamed(place, 1, digest(body).hex(), len(body) - 16)]
    numbers: dict[str, Any] = {"partial": (run, 1), "sequence": before, "totals": (1, 1, 25)}
    part = craft(place.vault, lines, created=created, sources=sources, **numbers)
    if kind == "damaged":
        flip(place.root / "partials" / part, 40)
    if kind == "living":
        alive = locks.writing(place.vault.root, CancelToken()), locks.running(place.vault.root, run)
        with alive[0], alive[1], plan(place.vault, LAST) as (_, removal):
            assert (removal.partials, removal.packs) == ((), ())
        return
    prune(place.vault, LAST)
    assert (partial_names(place.vault.root) == [part]) == (kind != "overtaken")
    assert (pack in packs_of(place)) == (kind == "first")


def test_what_is_no_object_is_left_for_verify(place: Place) -> None:
    """Folders and links with names of our form, and files with others, are not removed, and do not end it."""
    place.add()
    for kind in (OBJECTS, PACKS):
        odd = place.root / kind / "00"
        odd.mkdir(exist_ok=True)
        (odd / ("0" * 64)).mkdir()
        (odd / ("00" + "1" * 62)).symlink_to("x")
        (odd / "note").touch()
    (place.root / "tmp" / "note").touch()
    (place.root / "index" / "note").touch()
    (place.root / "index" / ("0" * 64)).mkdir()
    assert prune(place.vault, LAST) == []
    assert list(place.faults().values()) == ["foreign"] * 9


def test_a_snapshot_that_comes_in_between_keeps_its_objects(place: Place) -> None:
    """Removing reads snapshots and partial ones again that came after the plan: their packs and large objects stay."""
    dead = put_pack(place.vault, b"Salted__ nobody names this yet", b"Salted__ nor this")
    large = plant_object(place.vault, b"Salted__" + bytes(1 << 20))
    old = half_dead(place)
    living = {one.content.object for one in files(place.vault)}
    every = [one for name in snapshot_names(place.vault.root) for one in files(place.vault, name)]
    dying = next(one for one in every if one.content.object not in living)
    with NamedObjects(place.vault) as index:
        first = next(iter(index.members(dead))).hex()
    body = objects(place.vault)[first]
    with plan(place.vault, LAST, 0) as (index, removal):
        assert dead in removal.packs
        assert old in removal.rewrites
        lines = [renamed(place, 1, first, len(body) - 16), renamed(place, 2, large, (1 << 20) - 8), line_of(dying)]
        craft(place.vault, lines[:1], partial=("0123456789abcdef", 1), totals=(1, 1, len(body) - 16))
        craft(place.vault, lines[1:2], sequence=98, totals=(1, 1, (1 << 20) - 8))
        gone = {one.name for one in remove(place.vault, index, removal)}
        assert not gone & {dead, large}
        craft(place.vault, lines[2:], sequence=99, totals=(1, 1, dying.facts.size_bytes))
        copied = copy(place.vault, index, removal.rewrites)
        assert old in copied.moved
        assert old not in {one.name for one in remove(place.vault, index, removal, copied.moved)}
    assert place.faults() == {}


def test_beside_a_run_that_adds_nothing_is_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying goes on beside it; removing waits for it, and says so in the end; and the other way round."""
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    half_dead(place)
    with adding(place.vault, SourceSelection((bytes(place.tree),)), CancelToken()) as addition:
        with plan(place.vault, LAST) as (index, removal):
            copied = copy(place.vault, index, removal.rewrites)
            assert copied.moved
            with pytest.raises(VaultBusy, match="in use by another threadmill"):
                remove(place.vault, index, removal)
            with pytest.raises(VaultBusy), plan(place.vault, LAST):
                pass
        assert addition.add_snapshot(1, CancelToken()).snapshot.totals.entries > 0
    with locks.alone(place.vault.root, CancelToken()), pytest.raises(VaultBusy):
        place.add()
    prune(place.vault, LAST)
    is_as_kept(place)


def test_pruning_ends_when_cancelled(place: Place) -> None:
    """What is gone is gone, the vault is whole, and the next time goes on."""
    half_dead(place)
    cancel = CancelToken()
    cancel.cancel()
    with plan(place.vault, LAST) as (index, removal):
        remove(place.vault, index, removal)
        with pytest.raises(Cancelled):
            copy_living(place.vault, [(name, index.living_members(name)) for name in removal.rewrites], cancel)
    with NamedObjects(place.vault) as index, pytest.raises(Cancelled):
        plan_removal(place.vault, LAST, lambda _: 0, index, cancel)
    assert place.faults() == {}
    assert [one.status for one in prune(place.vault, LAST)] == ["ok", "removed"]
    is_as_kept(place)


def test_a_disk_that_refuses_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the file system ends it in one line."""
    place.add()
    place.add()

    def refuse(path: str, **_: object) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(VaultUnwritable, match="not permitted"):
        prune(place.vault, LAST)
    assert place.faults() == {}


def test_on_a_full_disk_whole_packs_go_first(tmp_path: Path) -> None:
    """They make the room to rewrite others; where there is none, the vault stays as it is, and whole."""
    with small_disk(tmp_path / "disk", "12m") as disk:
        place = make_place(disk)
        half_dead(place)
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        with plan(place.vault, LAST) as (index, removal):
            remove(place.vault, index, removal)
            copied = copy(place.vault, index, removal.rewrites)
            assert (copied.moved, copied.verdicts) == ({}, ())
            assert copied.full is not None
        assert place.faults() == {}
        ballast.unlink()
        dead = put_pack(place.vault, *(random.randbytes(500_000) for _ in range(4)))
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        assert ("pack", dead, "removed") in told(prune(place.vault, LAST))
        is_as_kept(place)


# All calls that change something on the disk, or decide what is there after a loss of power.
CHANGES = ("rename", "unlink", "fsync", "write", "mkdir", "open")


def child_that_dies(work: Callable[[], object], at: int) -> bool:
    """Do it in a child that ends without a word at that call; whether it came to its end instead."""
    pid = os.fork()
    if pid == 0:
        left = at

        def dying(real: Callable[..., object], *, counts: Callable[..., bool]) -> Callable[..., object]:
            def call(*arguments: object, **more: object) -> object:
                nonlocal left
                left -= counts(*arguments)
                if left < 0:
                    os._exit(9)
                return real(*arguments, **more)

            return call

        for name in CHANGES:
            creates = name == "open"
            counts = (lambda _, flags=0, *__: bool(flags & os.O_CREAT)) if creates else (lambda *_: True)
            setattr(os, name, dying(getattr(os, name), counts=counts))
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_killed_at_every_call_that_changes_something(place: Place) -> None:
    """Each time the vault is whole, all files come back, and the next prune finishes the work."""
    half_dead(place, 12)
    put_pack(place.vault, b"Salted__ dead for long")
    plant_object(place.vault, b"Salted__" + bytes(1 << 20))
    before = everything(place.tree)
    for at in range(1000):
        saved = place.root.with_name(f"saved{at}")
        subprocess.run(["cp", "-a", place.root, saved], check=True)
        if ended := child_that_dies(lambda: prune(place.vault, LAST), at):
            break
        assert place.faults() == {}, at
        target = place.root.with_name(f"target{at}")
        assert everything(place.restored(target)) == before
        prune(place.vault, LAST)
        assert objects(place.vault).keys() == {one.content.object for one in files(place.vault)}, at
        assert list((place.root / "tmp").iterdir()) == []
        subprocess.run(["rm", "-rf", place.root, target], check=True)
        saved.rename(place.root)
    assert ended
    assert at > 15
    is_as_kept(place)


# One interpreter that is ready forks a child for each: starting them takes longer than all that is to be seen.
FORK = """
import os, sys
from pathlib import Path
from typing import Any
from tasks.crypto.secret import KeyFile
from tasks.vault.policy import Policy
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


def write_until(stop: Path, place: Place, tree: Path) -> None:
    turn = 0
    while not stop.exists():
        for number in range(turn % 3, 12, 2):
            (tree / f"{number}").write_bytes(os.urandom(300))
        # Objects that both writers have, and that neither has for long.
        (tree / "both").write_bytes(b"%d" % (turn // 2))
        place.add(tree)
        turn += 1
        # Removing waits for a moment in which nobody writes.
        time.sleep(0.02)


def test_two_writers_beside_a_prune(place: Place) -> None:
    """Packs that are rewritten, merged and removed meanwhile cost neither of them an object."""
    stop, target = place.tree / "stop", place.root.with_name("target")
    trees, writers = [place.tree.with_name(name) for name in ("one", "two")], []
    for tree in trees:
        tree.mkdir()
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                write_until(stop, place, tree)
                os._exit(0)
            os._exit(1)
        writers.append(pid)
    try:
        for _ in range(8):
            prune(place.vault, LAST, 0)
            time.sleep(0.05)
    finally:
        stop.touch()
        ended = [os.waitpid(pid, 0)[1] for pid in writers]
    assert ended == [0, 0]
    prune(place.vault, LAST, 0)
    assert place.faults() == {}
    names = snapshot_names(place.vault.root)
    assert len(names) == 2
    for name in names:
        assert restore(place.vault, name, target) == []
    for tree in trees:
        assert everything(Path(f"{target}{tree}")) == everything(tree)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "times"), [("add", 30), ("prune", 15)])
def test_killed_at_any_moment(place: Place, what: str, times: int) -> None:
    """Runs that are killed leave a vault that verifies, and the next one finishes the work."""
    for number in range(120):
        place.put(f"many/{number}", random.randbytes(500))
    place.add()
    command = [sys.executable, "-c", FORK, place.vault.root, place.key.path, str(place.tree)]
    ends = []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:
        assert forker.stdin
        assert forker.stdout
        for turn in range(times):
            for number in range(turn % 7, 120, 7):
                place.put(f"many/{number}", random.randbytes(500))
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
    # Every dead object goes: by default some stay in a pack that has few of them.
    prune(place.vault, Policy(last=1), 0)
    assert place.faults() == {}
    is_as_kept(place)
