"""The state of a vault: the objects that decoding every entry would find, and when they were verified."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.history import History
from flows.jobs.vault_state import VaultState, look_at_vault
from tasks.crypto.secret import KeyFile
from tasks.vault.entries import Content, FileEntry, FileFacts
from tasks.vault.format import INDEX, PACKED_BYTES, PACKS
from tasks.vault.lookup import snapshot_names
from tasks.vault.packs import stored
from tasks.vault.snapshots import open_snapshot
from tasks.vault.vault import Vault, open_vault
from tests.support.commands import Command
from tests.support.crafted import craft, line_of
from tests.support.packed import pack_path, plant_object
from tests.support.vaults import settle

Look = Callable[..., VaultState]

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def vault(threadmill: Command, key_file: Path, tmp_path: Path) -> Vault:
    """Two snapshots of files whose names look like the end of an entry, and an object that none of them names."""
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    for number in range(20):
        (tree / f'{number},"size":7,"object":"{"0" * 64}"}}').write_bytes(b"x" * number)
    (tree / "link").symlink_to("folder")
    settle()
    assert threadmill("vault", "init", "vault").returncode == 0
    assert threadmill("encrypt", "tree", "--vault", "vault").returncode == 0
    (tree / "folder" / "more").write_bytes(b"more")
    assert threadmill("encrypt", "tree", "--vault", "vault").returncode == 0
    (tmp_path / "vault" / "objects" / "00").mkdir(exist_ok=True)
    (tmp_path / "vault" / "objects" / "00" / ("00" * 32)).write_bytes(b"left")
    return open_vault(str(tmp_path / "vault"), KeyFile(str(key_file)).secret())


def contents(vault: Vault) -> dict[str, Content]:
    """What the snapshots name, by decoding every entry."""
    found: dict[str, Content] = {}
    for name in snapshot_names(vault.root):
        with open_snapshot(vault, name) as opened:
            found |= {one.object: one for one in opened.contents()}
    return found


@pytest.fixture
def look(vault: Vault, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """The state of the vault, with these proofs on record, and no run."""
    history = History(f"sqlite:///{vault.root}.sqlite")

    def look(*proofs: tuple[str, datetime]) -> VaultState:
        monkeypatch.setattr(History, "proven", lambda *_: iter(proofs))
        return look_at_vault(vault.root, str(key_file), history)

    return look


def test_what_snapshots_name_is_counted(vault: Vault, look: Look) -> None:
    """In packs or not, also without the indexes of packs; what no snapshot names is no object of the vault."""
    named = contents(vault)
    for _ in range(2):
        taken = look()
        assert (taken.objects, taken.complaints) == (len(named), ())
        # The object that nobody names is a file of its own, and is never verified.
        assert (taken.packs, taken.never_proven) == (2, 2)
        assert taken.stored_bytes == sum(one.stored_bytes for one in named.values())
        assert (taken.snapshots, taken.partial, taken.oldest_proof) == (2, 0, None)
        assert taken.newest_sequence == 2
        shutil.rmtree(f"{vault.root}/{INDEX}", ignore_errors=True)


def test_what_is_missing_is_counted(vault: Vault, look: Look) -> None:
    """All that a pack had, once; with the last good content of entries, and what partial snapshots name."""
    first, second = (name for name, _ in stored(vault.root, PACKS))
    pack_path(vault, first).unlink()
    pack_path(vault, second).unlink()
    named = contents(vault)
    entry = FileEntry(b"x", FileFacts(0, 0, 0, 0, 9), Content("ab" * 32, 9), good=Content("cd" * 32, 8))
    craft(vault, [line_of(entry)], partial=("0123456789abcdef", 1), totals=(1, 1, 9))
    taken = look()
    gone = f"vault {vault.root}: objects that snapshots name and that are gone: {len(named) + 2}"
    assert (taken.objects, taken.stored_bytes, taken.complaints) == (0, 0, (gone,))
    assert (taken.snapshots, taken.partial) == (2, 1)


def test_the_first_that_was_stored_and_never_proven_is_told(vault: Vault, look: Look) -> None:
    """By its file's time, whatever those that were proven have for one; a proof of what is not there counts nothing."""
    first, second = (name for name, _ in stored(vault.root, PACKS))
    for name, days in ((first, 0), (second, 1)):
        time_s = (LONG_AGO + timedelta(days=days)).timestamp()
        os.utime(pack_path(vault, name), (time_s, time_s))
    proofs = [(name, LONG_AGO + timedelta(days=9)) for name in (first, "ff" * 32)]
    taken = look(*proofs)
    assert (taken.oldest_proof, taken.unproven_since) == (LONG_AGO + timedelta(days=9), LONG_AGO + timedelta(days=1))
    assert taken.never_proven == 1
    large = plant_object(vault, b"Salted__" + bytes(PACKED_BYTES))
    entry = FileEntry(b"x", FileFacts(0, 0, 0, 0, PACKED_BYTES - 8), Content(large, PACKED_BYTES - 8))
    craft(vault, [line_of(entry)], partial=("0123456789abcdef", 1), totals=(1, 1, PACKED_BYTES - 8))
    assert look(*((name, LONG_AGO) for name in (first, second))).never_proven == 1
    assert look(*((name, LONG_AGO) for name in (first, second, large))).unproven_since == LONG_AGO
