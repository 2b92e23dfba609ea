"""Which vault is at a path: one that is not there, another one than the record knows, and copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.commands import Command, read_json

# All that open the vault of THREADMILL_VAULT; to read a copy harms nothing.
WRITING = ("encrypt tree", "encrypt tree --dry-run", "verify", "prune --keep-last 1", "prune --keep-last 1 --dry-run")
READING = ("restore latest target", "snapshots", "snapshots show latest", "cat latest tree/a")


@pytest.fixture
def vault(threadmill: Command, tmp_path: Path, key_file: Path, environment: dict[str, str]) -> Path:
    """A vault with a snapshot of `tree`, proven; it was made by the command, so that the record knows it."""
    environment["THREADMILL_VAULT"] = str(tmp_path / "vault")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a" * 1000)
    assert threadmill("vault", "init", "vault").returncode == 0
    assert threadmill("encrypt", "tree").returncode == 0
    assert threadmill("verify").returncode == 0
    return tmp_path / "vault"


def refused(threadmill: Command, command: str, *says: str) -> None:
    """The command ends with 2 and one line."""
    result = threadmill(*command.split())
    assert result.returncode == 2, (command, result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    for words in says:
        assert words in line, (command, line)


def complaints(threadmill: Command) -> list[str]:
    """What the status of the vault complains about, with exit code 1 if there is something."""
    result = threadmill("status", "--only-vault", "--json", "--snapshot-age", "1d")
    assert result.returncode == bool(read_json(result)["complaints"])
    found: list[str] = read_json(result)["complaints"]
    return found


def instance(vault: Path) -> str:
    parameters = json.loads((vault / "vault.json").read_text().splitlines()[0])
    return str(parameters.get("instance", parameters["id"]))


def unmount(vault: Path) -> Path:
    """Have an empty folder in the place of the vault, as where its disk was mounted; where the vault is now."""
    away = vault.rename(vault.with_name("away"))
    vault.mkdir()
    return away


@pytest.mark.parametrize("mount_point", [True, False])
def test_a_vault_that_is_not_there_is_missed(
    threadmill: Command, vault: Path, environment: dict[str, str], *, mount_point: bool
) -> None:
    """Its disk is not mounted: every command says so, by whatever name of the path, and nothing is made."""
    away = unmount(vault)
    if not mount_point:
        vault.rmdir()
    (vault.parent / "link").symlink_to("vault")
    says = f"vault {vault}: is not there now", "number 1", "mount its disk", f"vault init {vault} --another"
    for command in (*WRITING, *READING, "vault init vault", "vault init link", "vault adopt vault"):
        refused(threadmill, command, *says)
    for path in ("link", "tree/../vault"):
        refused(threadmill, f"encrypt tree --vault {path}", *says)
    assert "is not there now" in complaints(threadmill)[0]
    # Of a file that is compressed, only its vault knows more than its digest.
    checked = read_json(threadmill("check", "tree", "--json"))["files"][-1]
    assert checked["error"].endswith("is needed to tell: is not there now: mount its disk, or put it back")
    environment["THREADMILL_VAULT"] = "link"
    refused(threadmill, "encrypt tree", *says)
    assert (list(vault.iterdir()) if mount_point else vault.exists()) in ([], False)
    assert not (vault.parent / "target").exists()
    if mount_point:
        vault.rmdir()
    away.rename(vault)
    assert threadmill("encrypt", "tree").returncode == 0


def test_a_link_on_a_disk_goes_with_the_disk(threadmill: Command, tmp_path: Path, key_file: Path) -> None:
    """Where an empty folder is above the path, the vaults that belong below that folder are missed too."""
    disk = tmp_path / "disk"
    (disk / "first").mkdir(parents=True)
    (disk / "newest").symlink_to("first")
    assert threadmill("vault", "init", "disk/newest").returncode == 0
    away = unmount(disk)
    for path in ("disk/newest", "disk/first", "disk", "disk/new"):
        refused(threadmill, f"vault init {path}", "mount its disk", f"{disk}/first" if path != "disk/first" else "it")
        refused(threadmill, f"encrypt {key_file} --vault {path}", "mount its disk")
    assert list(disk.iterdir()) == []
    (disk / "in use").mkdir()
    assert threadmill("vault", "init", "disk/new").returncode == 0
    assert away.is_dir()


def test_a_vault_is_known_from_its_making_on(threadmill: Command, tmp_path: Path, key_file: Path) -> None:
    """Before it has a snapshot; another one may be made on purpose, and then both are known."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a")
    assert threadmill("vault", "init", "vault").returncode == 0
    away = unmount(tmp_path / "vault")
    refused(threadmill, "encrypt tree --vault vault", "no snapshot yet")
    refused(threadmill, "vault init vault", "--another")
    assert threadmill("vault", "init", "vault", "--another").returncode == 0
    assert threadmill("encrypt", "tree", "--vault", "vault").returncode == 0
    (tmp_path / "vault").rename(tmp_path / "second")
    away.rename(tmp_path / "vault")
    assert threadmill("encrypt", "tree", "--vault", "vault").returncode == 0
    refused(threadmill, "vault init vault --another", "is a vault already")


def test_parameters_that_are_gone_are_no_disk_that_is(threadmill: Command, vault: Path) -> None:
    """The message is about the file; verify names it, with what snapshots tell."""
    (vault / "vault.json").unlink()
    for command in ("encrypt tree", "vault init vault", "vault init vault --another", "vault adopt vault", *READING):
        refused(threadmill, command, "vault.json is missing: restore it from a copy")
    assert "vault.json is missing" in complaints(threadmill)[0]
    result = threadmill("verify")
    assert (result.returncode, "vault.json is missing" in result.stderr) == (1, True)


@pytest.mark.parametrize("version", [1, 3])
def test_another_format_is_said_where_a_vault_is_known(threadmill: Command, vault: Path, version: int) -> None:
    """An older or a newer one is refused as such."""
    path = vault / "vault.json"
    path.write_text(path.read_text().replace('"version":2', f'"version":{version}'))
    for command in ("encrypt tree", "prune --keep-last 1", "vault adopt vault", *READING):
        refused(threadmill, command, f"has format {version}")


def test_another_vault_is_not_taken_for_the_known_one(
    threadmill: Command, vault: Path, environment: dict[str, str]
) -> None:
    """Every command refuses it, until it is adopted; then both are known there, and may take turns."""
    away = unmount(vault)
    home = environment["THREADMILL_HOME"]
    environment["THREADMILL_HOME"] = f"{home}-elsewhere"
    assert threadmill("vault", "init", "vault").returncode == 0
    assert threadmill("encrypt", "tree").returncode == 0
    environment["THREADMILL_HOME"] = home
    says = f"vault {vault}: is another one than the record knows here", "mount the right disk", f"adopt {vault}"
    for command in (*WRITING, *READING):
        refused(threadmill, command, *says)
    assert "is another one" in complaints(threadmill)[0]
    before = instance(vault)
    assert threadmill("vault", "adopt", "vault").returncode == 0
    assert (instance(vault), complaints(threadmill)) == (before, [])
    for name in ("first", "second", "third"):
        for command in ("encrypt tree", "verify"):
            assert threadmill(*command.split()).returncode == 0
        other = vault.rename(vault.with_name(name))
        away.rename(vault)
        away = other


def test_a_copy_is_adopted(threadmill: Command, vault: Path, environment: dict[str, str]) -> None:
    """Beside the vault it is only read; adopted, each is known by itself, and goes its own way."""
    shutil.copytree(vault, vault.with_name("copy"))
    environment["THREADMILL_VAULT"] = str(vault.with_name("copy"))
    (vault.parent / "link").symlink_to("vault")
    for command in (*WRITING, "encrypt tree --vault link/../copy"):
        refused(threadmill, command, f"is a copy of the one that the record knows at {vault}", "vault adopt")
    assert "is a copy of the one" in complaints(threadmill)[0]
    for command in READING:
        assert threadmill(*command.split()).returncode == 0, command
    assert threadmill("encrypt", "tree", "--vault", "link").returncode == 0
    refused(threadmill, "restore latest again", "was the newest one, and is gone", "vault adopt DIR")

    result = threadmill("vault", "adopt", "copy")
    assert (result.returncode, "is a vault of its own now" in result.stdout) == (0, True)
    assert instance(vault.with_name("copy")) != instance(vault)
    assert "1 never proven" in threadmill("status", "--only-vault").stdout
    for name in ("copy", "vault", "copy"):
        for command in ("encrypt tree", "verify", "prune --keep-last 9", "status --only-vault"):
            result = threadmill(*command.split(), "--vault", name)
            assert result.returncode == 0, (name, command, result.stdout, result.stderr)
    assert threadmill("restore", "latest", "again").returncode == 0
    assert threadmill("check", "tree").returncode == 0
    assert threadmill("history", "verify").returncode == 0


def test_a_copy_that_is_behind_takes_nothing_from_the_vault(
    threadmill: Command, vault: Path, environment: dict[str, str]
) -> None:
    """While the vault is away, an older copy is not taken for it, at another path; at its own one it may be adopted."""
    shutil.copytree(vault, vault.with_name("copy"))
    assert threadmill("encrypt", "tree").returncode == 0
    away = vault.rename(vault.with_name("away"))
    for command in WRITING:
        refused(threadmill, f"{command} --vault copy", "is a copy of the one that the record knows", "number 2")
    assert threadmill("restore", "2", "target", "--vault", "copy").returncode == 0
    away.rename(vault)
    assert threadmill("encrypt", "tree").returncode == 0

    shutil.rmtree(vault)
    vault.with_name("copy").rename(vault)
    result = threadmill("verify")
    assert result.returncode == 1
    assert "if this is a copy of the vault: threadmill vault adopt DIR" in result.stderr
    assert threadmill("vault", "adopt", "vault").returncode == 0
    for command in ("verify", "encrypt tree", "verify", "prune --keep-last 1"):
        assert threadmill(*command.split()).returncode == 0
    assert complaints(threadmill) == []


def test_a_vault_that_moved_is_the_same(threadmill: Command, vault: Path) -> None:
    """The record knows it at its new path with all that it knew, and knows none at the old one."""
    vault.rename(vault.with_name("moved"))
    result = threadmill("status", "--only-vault", "--proof-age", "1d", "--vault", "moved")
    assert (result.returncode, "all proven" in result.stdout) == (0, True)
    assert threadmill("encrypt", "tree", "--vault", "moved").returncode == 0
    refused(threadmill, "encrypt tree", "makes one in a folder that is empty or not there")
    assert threadmill("vault", "init", "vault").returncode == 0


def test_damage_of_a_vault_that_moved_is_found(threadmill: Command, vault: Path) -> None:
    """A newest snapshot that cannot be believed makes it no copy."""
    vault = vault.rename(vault.with_name("moved"))
    (snapshot,) = (vault / "snapshots").iterdir()
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    result = threadmill("verify", "--vault", "moved")
    assert (result.returncode, f"snapshot {snapshot.name} changed" in result.stderr) == (1, True)


def test_to_restore_elsewhere_moves_nothing(threadmill: Command, vault: Path) -> None:
    """A disk that is mounted elsewhere for a restore still belongs where it was, also with faults on record."""
    moved = vault.rename(vault.with_name("moved"))
    (vault.parent / "target" / str(vault.parent / "tree" / "a").lstrip("/")).mkdir(parents=True)
    assert threadmill("restore", "latest", "target", "--vault", "moved").returncode == 1
    moved.rename(vault)
    unmount(vault)
    refused(threadmill, "encrypt tree", "mount its disk")


def test_a_record_that_cannot_be_read(
    threadmill: Command, vault: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """What is only read is read, with a word; nothing is written, and no vault is made where one may belong."""
    (tmp_path / "broken.sqlite").write_text("no database")
    environment["THREADMILL_DATABASE_URL"] = f"sqlite:///{tmp_path}/broken.sqlite"
    for command in ("snapshots", "cat latest tree/a"):
        result = threadmill(*command.split())
        assert result.returncode == 0
        assert "cannot tell whether this is the vault that belongs here" in result.stderr
    for command in ("encrypt tree", "prune --keep-last 1", "vault init new", "vault adopt vault"):
        refused(threadmill, command, "broken.sqlite")
    assert not (tmp_path / "new").exists()


def test_a_damaged_copy_is_not_adopted(threadmill: Command, vault: Path) -> None:
    """Whatever its newest snapshot said may be lost: first it is put back."""
    shutil.copytree(vault, vault.with_name("copy"))
    before = instance(vault)
    (snapshot,) = (vault.with_name("copy") / "snapshots").iterdir()
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    refused(threadmill, "vault adopt copy", snapshot.name)
    assert instance(vault.with_name("copy")) == before
