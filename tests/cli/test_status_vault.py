"""The vault in `threadmill status`: what is in it, what is too old, and what can be said where much is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.history import History
from flows.jobs.vault_state import VaultState, look_at_vault, too_old
from tasks.cancel import CancelToken
from tasks.vault import locks
from tests.support.commands import clean_environment, read_json
from tests.support.crafted import flip
from tests.support.in_process import run_in_process
from tests.support.vaults import settle

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Site:
    """Two snapshots and three objects in two packs, one of which was proven; its record, key and environment."""

    vault: Path
    key_file: Path
    environment: dict[str, str]

    @property
    def history(self) -> History:
        """The record as it is now."""
        return History(f"sqlite:///{self.vault.parent / 'home' / 'history.sqlite'}")

    def threadmill(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The command, where the vault is."""
        return run_in_process(arguments, self.environment | more, self.vault.parent)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Made once, and copied."""
    folder = tmp_path_factory.mktemp("site") / "now"
    (folder / "tree").mkdir(parents=True)
    environment = clean_environment() | {
        "THREADMILL_HOME": str(folder / "home"),
        "THREADMILL_VAULT": str(folder / "vault"),
        "THREADMILL_KEY_FILE": str(folder / "key"),
    }
    site = Site(folder / "vault", folder / "key", environment)
    for name in ("a", "b"):
        (folder / "tree" / name).write_text(name)
    settle()
    assert site.threadmill("keygen", "key").returncode == 0
    assert site.threadmill("vault", "init", "vault").returncode == 0
    assert site.threadmill("encrypt", "tree").returncode == 0
    (folder / "tree" / "c").write_text("c")
    assert site.threadmill("encrypt", "tree").returncode == 0
    assert site.threadmill("verify", "--sample", "1B").returncode == 0
    shutil.copytree(folder, folder.with_name("as it was"))
    return site


@pytest.fixture
def site(made: Site) -> Site:
    """As it was when it was made, whatever the test before did to it."""
    folder = made.vault.parent
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("as it was"), folder)
    return made


def test_what_is_in_the_vault_is_told(site: Site) -> None:
    """Snapshots, objects and their bytes, the newest snapshot with its counts, the oldest proof; also as JSON."""
    told = read_json(site.threadmill("status", "--proof-age", "30d", "--snapshot-age", "2d", "--json"))["vault"]
    state = told["state"]
    assert (state["path"], state["authenticated"]) == (str(site.vault), True)
    assert (state["snapshots"], state["newest_sequence"], state["newest_files"], state["newest_bytes"]) == (2, 2, 3, 3)
    assert (state["objects"], state["packs"], state["stored_bytes"], state["never_proven"]) == (3, 2, 3 + 3 * 16, 1)
    assert state["oldest_proof"] > state["unproven_since"]
    assert (state["on_record"]["new"], state["on_record"]["unchanged"]) == (1, 2)
    assert (told["complaints"], told["snapshot_age"], told["proof_age"]) == ([], "2d", "30d")
    said = site.threadmill("status").stdout
    assert f"vault: {site.vault}, 2 snapshots, 3 objects (2 packs), 51 B" in said
    assert f"newest snapshot: {state['newest_name']} of " in said
    assert "3 files, 3 B (1 new, 2 unchanged, 0 marked, 0 missed, 0 gone)" in said
    assert "packs and large objects: 1 never proven, the oldest proof of " in said


def test_what_was_stored_long_ago_and_never_proven_needs_eyes(site: Site) -> None:
    """It counts from when it was stored; proven, all is well again. The bound may be a setting."""
    proven = {
        name for name, _ in site.history.proven(look_at_vault(str(site.vault), None, site.history).vault_id or "")
    }
    (other, *_) = (path for path in site.vault.glob("packs/??/*") if path.name not in proven)
    old = time.time() - 40 * 86400
    os.utime(other, (old, old))
    result = site.threadmill("status", THREADMILL_PROOF_AGE="5w")
    assert result.returncode == 1
    said = "packs or large objects have not been verified for 40 days"
    assert f"needs attention: vault {site.vault}: {said}" in result.stderr
    assert site.threadmill("verify").returncode == 0
    assert read_json(site.threadmill("status", "--json", THREADMILL_PROOF_AGE="5w"))["vault"]["complaints"] == []


def test_a_pack_that_was_not_whole_needs_attention(site: Site) -> None:
    """Although no object in it was damaged, verify complains of it; so does status, until it is whole."""
    alone = ("status", "--only-vault")
    pack = next(site.vault.glob("packs/??/*"))
    flip(pack, 530)
    assert site.threadmill("verify").returncode == 1
    result = site.threadmill(*alone)
    assert result.returncode == 1
    assert "packs that were not whole when they were last looked at: 1" in result.stderr
    flip(pack, 530)
    assert (site.threadmill("verify").returncode, site.threadmill(*alone).returncode) == (0, 0)


def test_ages_are_held_against_what_is_there() -> None:
    """Older than the bound is a complaint, as old is none; an object never proven counts from its storing."""
    state = VaultState("/v", snapshots=1, newest_at=NOW - 2 * DAY, unproven_since=NOW - 30 * DAY)
    assert list(too_old(state, None, None, NOW)) == []
    assert list(too_old(state, 2 * DAY, 30 * DAY, NOW)) == []
    snapshot, proof = too_old(state, DAY, 29 * DAY, NOW)
    assert "the newest snapshot is 2 days old" in snapshot
    assert "for 30 days" in proof
    (none,) = too_old(replace(state, newest_at=None, snapshots=0), DAY, None, NOW)
    assert "there is no snapshot" in none
    (ahead,) = too_old(replace(state, newest_at=NOW + DAY), DAY, None, NOW)
    assert "it is wrong now, or was wrong then" in ahead


def test_a_vault_that_is_gone_is_told_from_the_record(site: Site) -> None:
    """That it is gone needs attention; what went into it last is on record."""
    shutil.rmtree(site.vault)
    state = look_at_vault(str(site.vault), str(site.key_file), site.history)
    assert (state.snapshots, state.objects) == (None, None)
    assert state.on_record is not None
    assert (state.on_record.sequence, state.on_record.files) == (2, 3)
    result = site.threadmill("status")
    assert result.returncode == 1
    assert f"needs attention: vault {site.vault}: is not there" in result.stderr
    assert f"on record: newest snapshot {state.on_record.name} of " in result.stdout


@pytest.mark.parametrize("key", ["none", "missing", "another"])
def test_without_the_key_much_is_told(site: Site, key: str) -> None:
    """No key file is a note, one that cannot be used a complaint; snapshots and objects are counted all the same."""
    path = site.vault.parent / "another key"
    if key == "another":
        site.threadmill("keygen", str(path))
    state = look_at_vault(str(site.vault), None if key == "none" else str(path), site.history)
    assert (state.snapshots, state.objects, state.never_proven, state.authenticated) == (2, 3, 1, False)
    assert "taken at their word" in (state.note or "")
    expected = {"none": "", "missing": "no such file", "another": "the key file is not the one"}[key]
    assert len(state.complaints) == bool(expected)
    assert expected in "".join(state.complaints)


def test_what_is_wrong_at_a_glance_needs_eyes(site: Site) -> None:
    """A damaged snapshot, a newest one that is gone, an object that is missing: each is named."""
    older, newer = sorted((site.vault / "snapshots").iterdir(), key=lambda path: path.stat().st_size)
    (smaller, *_) = sorted(site.vault.glob("packs/??/*"), key=lambda path: path.stat().st_size)
    smaller.unlink()
    kept = newer.read_bytes()
    newer.write_bytes(kept[:-1] + b" ")
    state = look_at_vault(str(site.vault), str(site.key_file), site.history)
    assert any(f"snapshot {newer.name} cannot be believed" in one for one in state.complaints)
    newer.unlink()
    gone = look_at_vault(str(site.vault), str(site.key_file), site.history)
    assert gone.newest_name == older.name
    assert any(f"snapshot {newer.name}, number 2, was the newest one, and is gone" in one for one in gone.complaints)
    newer.write_bytes(kept)
    (missing,) = look_at_vault(str(site.vault), str(site.key_file), site.history).complaints
    assert "objects that snapshots name and that are gone: 1" in missing


def test_what_was_found_damaged_needs_eyes_until_it_is_whole(site: Site) -> None:
    """As long as the newest verdict on it is a fault."""
    damaged = next(site.vault.glob("packs/??/*"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:520] + bytes([whole[520] ^ 1]) + whole[521:])
    assert site.threadmill("verify").returncode == 1
    (complaint,) = look_at_vault(str(site.vault), str(site.key_file), site.history).complaints
    assert "objects that were not whole when they were last looked at: 1" in complaint
    damaged.write_bytes(whole)
    assert site.threadmill("verify").returncode == 0
    assert look_at_vault(str(site.vault), str(site.key_file), site.history).complaints == ()


def test_a_vault_in_use_is_no_complaint(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody removes from it, it is told from the record, with a note."""
    monkeypatch.setattr(locks, "WAIT_S", 0.0)
    with locks.alone(str(site.vault), CancelToken()):
        state = look_at_vault(str(site.vault), str(site.key_file), site.history)
    assert (state.snapshots, state.complaints) == (None, ())
    assert "is in use by another threadmill" in (state.note or "")
    assert state.on_record is not None


def test_the_vault_alone_decides_where_nothing_is_scheduled(site: Site) -> None:
    """For cron: no server is a complaint otherwise, and no reason here. Ages take minutes too."""
    assert site.threadmill("status").returncode == 1
    alone = ("status", "--only-vault", "--snapshot-age", "30m")
    result = site.threadmill(*alone)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "all is well")
    # Nobody listens there, and nobody asks.
    report = read_json(site.threadmill(*alone, "--json", PREFECT_API_URL="http://127.0.0.1:9/api"))
    assert (report["deployments"], report["complaints"]) == (None, [])
    shutil.rmtree(site.vault)
    gone = site.threadmill(*alone)
    assert gone.returncode == 1
    assert "is not there" in gone.stderr
