"""A census of a vault: the objects that decoding every entry would find, however little of them is remembered."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.crypto.secret import KeyFile
from tasks.vault import index
from tasks.vault.entries import FileEntry
from tasks.vault.index import take_census
from tasks.vault.lookup import snapshot_names
from tasks.vault.snapshots import open_snapshot
from tasks.vault.vault import Vault, open_vault
from tests.support.commands import Command
from tests.support.vaults import settle

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


def decoded(vault: Vault) -> dict[str, int]:
    """Objects with the sizes of their files."""
    found: dict[str, int] = {}
    for name in snapshot_names(vault.root):
        with open_snapshot(vault, name) as opened:
            found |= {one.object: one.facts.size_bytes for one in opened.entries() if isinstance(one, FileEntry)}
    return found


@pytest.mark.parametrize("remembered", [1, 200_000])
def test_what_snapshots_name_is_counted(vault: Vault, remembered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory for one object as for many; what no snapshot names is no object of the vault."""
    monkeypatch.setattr(index, "_REMEMBERED", remembered)
    objects = decoded(vault)
    taken = take_census(vault, ())
    assert (taken.objects, taken.never_proven, taken.missing) == (21, 21, 0)
    assert taken.stored_bytes == sum(objects.values()) + 16 * len(objects)
    assert (taken.snapshots, taken.damaged, taken.oldest_proof) == (2, (), None)
    assert taken.newest is not None
    assert taken.newest.header.sequence == 2


def test_the_first_that_was_stored_and_never_proven_is_told(vault: Vault) -> None:
    """By its file's time, whatever those that were proven have for one; a proof of what is not there counts nothing."""
    first, second, *others = decoded(vault)
    for name, days in ((first, 0), (second, 1)):
        time_s = (LONG_AGO + timedelta(days=days)).timestamp()
        os.utime(f"{vault.root}/objects/{name[:2]}/{name}", (time_s, time_s))
    proofs = [(name, LONG_AGO + timedelta(days=9)) for name in (first, "ff" * 32)]
    taken = take_census(vault, proofs)
    assert (taken.oldest_proof, taken.unproven_since) == (LONG_AGO + timedelta(days=9), LONG_AGO + timedelta(days=1))
    assert taken.never_proven == len(others) + 1
    assert take_census(vault, ((name, LONG_AGO) for name in decoded(vault))).unproven_since is None
