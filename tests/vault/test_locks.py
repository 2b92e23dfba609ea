"""Locks of a vault, and what is removed from its `tmp/`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault import locks
from tasks.vault.errors import VaultBusy, VaultError, VaultUnwritable
from tasks.vault.lookup import partial_names, snapshot_names
from tasks.vault.vault import init_vault, open_vault
from tests.support.crafted import put_in_place
from tests.support.crypto_fakes import SECRET
from tests.support.vaults import verify

RUN = "0123456789abcdef"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A new vault."""
    return Path(init_vault(str(tmp_path / "vault"), SECRET).root)


def test_who_removes_waits_for_who_adds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many read and add at once; one that removes is alone, and says so when the others do not end."""
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    where, cancel = str(root), CancelToken()
    with (
        locks.writing(where, cancel),
        locks.writing(where, cancel),
        locks.reading(where, cancel),
        pytest.raises(VaultBusy, match="in use by another threadmill"),
        locks.alone(where, cancel),
    ):
        pass
    with locks.alone(where, cancel):
        for way in (locks.reading, locks.writing, locks.alone):
            with pytest.raises(VaultBusy), way(where, cancel):
                pass


def test_waiting_ends_when_cancelled(root: Path) -> None:
    """Who waits for a lock can be cancelled."""
    cancel = CancelToken()
    cancel.cancel()
    with (
        locks.alone(str(root), CancelToken()),
        pytest.raises(Cancelled),
        locks.alone(str(root), cancel),
    ):
        pass


def test_only_who_is_alone_sweeps(root: Path) -> None:
    """What runs left in `tmp/` is removed by the first one that adds, and left by one that comes beside it."""
    left = root / "tmp" / RUN
    left.touch()
    with locks.reading(str(root), CancelToken()):
        assert left.exists()
    with locks.writing(str(root), CancelToken()):
        assert not left.exists()
        left.touch()
        with locks.writing(str(root), CancelToken()):
            assert left.exists()


def test_only_our_own_names_are_swept(root: Path) -> None:
    """Anything else in `tmp/` is somebody else's: it stays, and so does what is no file, and what a link leads to."""
    ours = [RUN, f"{RUN}-1", f"{RUN}-12345"]
    foreign = [
        "letter",
        RUN.upper(),
        RUN[:-1],
        f"{RUN}0",
        f"{RUN}-",
        f"{RUN}-x",
        f"{RUN}-1\n",
        f"x{RUN}",
        "\u0661" * 16,
    ]
    for name in (*ours, *foreign):
        (root / "tmp" / name).touch()
    (root / "tmp" / "fedcba9876543210").mkdir()
    kept = root.with_name("kept")
    kept.touch()
    (root / "tmp" / "0000000000000000").symlink_to(kept)
    assert locks.sweep(str(root)) == 4
    assert sorted(os.listdir(root / "tmp")) == sorted([*foreign, "fedcba9876543210"])
    assert kept.exists()


def test_nothing_is_swept_through_a_link(root: Path) -> None:
    """Where `tmp/` is a link to somebody's folder, nothing is removed there, and nobody adds."""
    other = root.with_name("other")
    other.mkdir()
    (other / RUN).touch()
    (root / "tmp").rmdir()
    (root / "tmp").symlink_to(other)
    with pytest.raises(VaultUnwritable), locks.writing(str(root), CancelToken()):
        pass
    assert (other / RUN).exists()


def test_a_run_is_alive_as_long_as_its_process(root: Path) -> None:
    """Others see it, in any process, until it has ended, be it by `kill -9`."""
    where = str(root)
    assert not locks.is_running(where, RUN)
    with locks.running(where, RUN):
        assert locks.is_running(where, RUN)
        assert not locks.is_running(where, RUN[::-1])
    assert not locks.is_running(where, RUN)
    assert not (root / "tmp" / RUN).exists()
    code = (
        "import sys; from tasks.vault import locks\n"
        "with locks.running(*sys.argv[1:]): print('alive', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, where, RUN], **pipes) as child:  # type: ignore[call-overload]
        assert child.stdout.readline() == b"alive\n"
        assert locks.is_running(where, RUN)
        child.kill()
        child.wait()
    assert not locks.is_running(where, RUN)
    assert (root / "tmp" / RUN).exists()


def test_one_prunes_at_a_time_while_others_add(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal by turns keeps out other removals alone."""
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    where, cancel = str(root), CancelToken()
    with (
        locks.pruning(where, cancel),
        locks.writing(where, cancel),
        locks.numbering(where, cancel),
        pytest.raises(VaultBusy),
        locks.pruning(where, cancel),
    ):
        pass


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_lock_that_is_no_file_is_refused(root: Path, kind: str) -> None:
    """A link, FIFO or folder in the place of the lock is refused, neither followed nor waited for."""
    put_in_place(kind, root / "lock")
    for way in (locks.reading, locks.writing, locks.alone):
        with pytest.raises(VaultError), way(str(root), CancelToken()):
            pass
    assert not root.with_name("kept").exists()


def test_a_copy_without_empty_folders_and_lock_is_whole(root: Path) -> None:
    """Copies made by programs that keep no empty folders can be read, added to and pruned."""
    folders = ("index", "objects", "packs", "partials", "tmp")
    for folder in folders:
        (root / folder).rmdir()
    vault = open_vault(str(root), SECRET)
    with locks.reading(str(root), CancelToken()):
        assert [verdict.status for verdict in verify(vault)] == ["ok"]
        assert snapshot_names(str(root)) == partial_names(str(root)) == []
    with locks.pruning(str(root), CancelToken()), locks.writing(str(root), CancelToken()):
        assert (root / "tmp").is_dir()


def test_a_vault_that_is_gone_cannot_be_locked(tmp_path: Path) -> None:
    """A folder that is not there is no vault to add to."""
    for way in (locks.reading, locks.writing, locks.alone, locks.numbering, locks.pruning):
        with pytest.raises(VaultUnwritable, match="No such file"), way(str(tmp_path / "x"), CancelToken()):
            pass
