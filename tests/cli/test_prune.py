"""`threadmill prune` on packs: dead bytes go, the record follows, and a full disk is no reason to stop halfway."""

from __future__ import annotations

import os
import random
import re
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.commands import Command, read_json
from tests.support.crafted import flip
from tests.support.vaults import settle, small_disk


def fill(tree: Path, numbers: range, size: int = 2000) -> None:
    tree.mkdir(exist_ok=True)
    for number in numbers:
        (tree / f"{number:03}").write_bytes(random.randbytes(size))
    settle()


@pytest.fixture
def half_dead(threadmill: Command, key_file: Path, tmp_path: Path) -> Path:
    """A tree, half of which was changed since it first went into the vault."""
    del key_file
    assert threadmill("vault", "init", "vault").returncode == 0
    for numbers in (range(40), range(0, 40, 2)):
        fill(tmp_path / "tree", numbers)
        assert threadmill("encrypt", "tree", "--vault", "vault").returncode == 0
    return tmp_path / "tree"


def test_dead_bytes_go_and_the_record_follows(threadmill: Command, half_dead: Path) -> None:
    """As many as may stay do; the pack of a file is found on record wherever prune has put it."""
    prune = ("prune", "--vault", "vault", "--keep-last", "1")
    (before,) = read_json(threadmill("history", "proofs", "--path", str(half_dead / "001"), "--json"))
    assert (before["kind"], before["status"], before["proven_at"]) == ("pack", "stored", None)
    for share, rewritten in (("90%", 0), ("1GiB", 0), ("10%", 1), ("0%", 1)):
        dry = read_json(threadmill(*prune, "--max-unused", share, "--dry-run", "--json"))
        assert (len(dry["remove"]), dry["packs"], dry["rewrite"]) == (1, 0, rewritten)
    pruned = threadmill(*prune)
    assert pruned.returncode == 0
    assert "snapshots: 1 removed, 1 kept; packs: 0 removed, 1 rewritten; large objects: 0 removed; 5" in pruned.stdout
    (after,) = read_json(threadmill("history", "proofs", "--path", str(half_dead / "001"), "--json"))
    assert after["name"] != before["name"]
    assert (after["status"], after["flow"], after["path"]) == ("ok", "prune_vault", str(half_dead / "001"))
    assert threadmill("verify", "--vault", "vault").returncode == 0
    assert threadmill("history", "verify").returncode == 0


def test_a_damaged_object_is_named_by_prune_and_healed_by_encrypt(
    threadmill: Command, half_dead: Path, tmp_path: Path
) -> None:
    """Prune ends with 1 and keeps it; the next encryption stores it again, and then all is well."""
    prune = ("prune", "--vault", "vault", "--keep-last", "1")
    (pack,) = read_json(threadmill("history", "proofs", "--path", str(half_dead / "001"), "--json"))
    whole = (path := tmp_path / "vault" / "packs" / pack["name"][:2] / pack["name"]).read_bytes()
    # Every body, so that those that live are hit.
    for at in range(600, len(whole) - 1024, 512):
        flip(path, at)
    damaged = threadmill(*prune)
    assert damaged.returncode == 1
    assert "FAULTS: 20" in damaged.stderr
    assert len(re.findall(r"^object [0-9a-f]{64}", damaged.stderr, re.MULTILINE)) == 20
    assert path.exists()
    assert threadmill("encrypt", "tree", "--vault", "vault").returncode == 0
    assert threadmill(*prune).returncode == 0
    assert not path.exists()
    assert threadmill("verify", "--vault", "vault").returncode == 0
    assert threadmill("restore", "latest", "target", "--vault", "vault").returncode == 0


def test_a_full_disk_is_pruned_pack_by_pack(threadmill: Command, key_file: Path, tmp_path: Path) -> None:
    """Where not all living objects can be copied at once, each pack that is rewritten makes room for the next."""
    del key_file
    with small_disk(tmp_path / "disk", "40m") as disk:
        vault = ("--vault", str(disk / "vault"))
        assert threadmill("vault", "init", str(disk / "vault")).returncode == 0
        for turn in range(4):
            fill(tmp_path / f"tree{turn}", range(30), 100_000)
            assert threadmill("encrypt", f"tree{turn}", *vault).returncode == 0
            fill(tmp_path / f"tree{turn}", range(0, 30, 2), 100_000)
            assert threadmill("encrypt", f"tree{turn}", *vault).returncode == 0
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        full = threadmill("prune", *vault, "--keep-last", "1")
        assert full.returncode == 1
        assert "No space left" in full.stderr
        assert threadmill("verify", *vault).returncode == 0
        # Room for the living half of one pack, and not of two.
        os.truncate(ballast, ballast.stat().st_size - (2 << 20))
        pruned = threadmill("prune", *vault, "--keep-last", "1", "--max-unused", "0%")
        assert pruned.returncode == 0
        assert "packs: 0 removed, 4 rewritten" in pruned.stdout
        assert threadmill("verify", *vault).returncode == 0
