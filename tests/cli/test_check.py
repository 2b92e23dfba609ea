"""`threadmill check` on files that a vault keeps, some of them compressed: the entry of a snapshot tells."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tasks.crypto.secret import KeyFile
from tasks.vault.vault import init_vault
from tests.support.commands import Command, read_json

MIB = 1 << 20


@pytest.fixture(params=["content", "random"])
def vault(request: pytest.FixtureRequest, tmp_path: Path, key_file: Path, environment: dict[str, str]) -> Path:
    """The vault of the test, with salts of either kind."""
    environment["THREADMILL_VAULT"] = str(tmp_path / "vault")
    secret = KeyFile(str(key_file)).secret()
    return Path(init_vault(environment["THREADMILL_VAULT"], secret, random_salts=request.param == "random").root)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that shrink and that do not, small and too large for memory, and one with holes."""
    root = tmp_path / "tree"
    root.mkdir()
    for name, unit in (("small", 1000), ("large", 3 * MIB)):
        (root / f"{name}-random").write_bytes(random.randbytes(6 * unit))
        (root / f"{name}-text").write_bytes(b"a text" * unit)
    (root / "sparse").write_bytes(b"begin")
    os.truncate(root / "sparse", 20 * MIB)
    return root


def verdicts(threadmill: Command, tree: Path, *options: str) -> dict[str, str]:
    rows = read_json(threadmill("check", str(tree), "--all", "--json", *options))["files"]
    return {os.path.basename(row["name"]): row["verdict"] for row in rows}


def change(path: Path) -> None:
    """Change the last byte, whatever it is."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        (last,) = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def test_kept_files_are_the_same_or_not(threadmill: Command, vault: Path, tree: Path) -> None:
    """Under every level; touched and taken over ones too; each that changes differs."""
    for compression in ("auto", "off", "max"):
        assert threadmill("encrypt", str(tree), "--compression", compression).returncode == 0
        assert set(verdicts(threadmill, tree).values()) == {"same"}
        (tree / "small-text").touch()
    assert threadmill("encrypt", str(tree)).returncode == 0
    for path in tree.iterdir():
        change(path)
    found = verdicts(threadmill, tree)
    assert set(found.values()) == {"differs"}
    assert len(found) == 5
    assert threadmill("check", str(tree)).returncode == 1


def test_files_that_differ_by_their_holes_alone(threadmill: Command, vault: Path, tree: Path) -> None:
    """They have one object, and each is compared with its own entry."""
    for path in tree.iterdir():
        path.unlink()
    for name, before, after in (("empty", 0, 0), ("hole", 0, MIB), ("begin", 0, 2 * MIB), ("end", MIB, MIB)):
        with (tree / name).open("wb") as file:
            file.seek(before)
            file.write(b"" if name in {"empty", "hole"} else b"a text" * 10_000)
            file.truncate(before + after)
    assert threadmill("encrypt", str(tree)).returncode == 0
    assert verdicts(threadmill, tree) == dict.fromkeys(("empty", "hole", "begin", "end"), "same")
    shutil.copy(tree / "end", tree / "begin")
    assert verdicts(threadmill, tree) == {"empty": "same", "hole": "same", "begin": "differs", "end": "same"}


def test_another_key_differs(threadmill: Command, vault: Path, tree: Path, tmp_path: Path) -> None:
    """Nothing is the same under a key file that is not the vault's."""
    threadmill("encrypt", str(tree))
    threadmill("keygen", str(tmp_path / "other"))
    assert set(verdicts(threadmill, tree, "--key-file", str(tmp_path / "other")).values()) == {"differs"}


def test_without_the_vault_compressed_files_cannot_be_told(threadmill: Command, vault: Path, tree: Path) -> None:
    """Of the others the record has enough; and a vault without a snapshot is as good as none."""
    threadmill("encrypt", str(tree))
    shutil.move(vault, vault.with_name("away"))
    told = dict.fromkeys(("small-text", "large-text", "sparse"), "failed")
    told |= dict.fromkeys(("small-random", "large-random"), "same")
    # The folder itself, of whose files nobody can tell whether some are gone.
    told |= {"tree": "failed"}
    assert verdicts(threadmill, tree) == told
    result = threadmill("check", str(tree / "small-text"), "--json")
    assert result.returncode == 1
    assert f"vault {vault} is needed to tell: is not there" in read_json(result)["files"][-1]["error"]
    shutil.move(vault.with_name("away"), vault)
    for snapshot in (vault / "snapshots").iterdir():
        snapshot.unlink()
    assert verdicts(threadmill, tree) == told
    assert "no snapshot names its object" in threadmill("check", str(tree), "--json").stdout


@pytest.fixture(params=["discarded", "kept"])
def encrypt(request: pytest.FixtureRequest, threadmill: Command, key_file: Path, tmp_path: Path) -> Callable[..., None]:
    """Encrypts, and keeps it in a vault or not."""
    options: tuple[str, ...] = ("--discard",)
    if request.param == "kept":
        assert threadmill("vault", "init", "vault").returncode == 0
        options = ("--vault", "vault")

    def run(*arguments: str) -> None:
        result = threadmill("encrypt", *arguments, *options)
        assert result.returncode == 0, result.stderr

    return run


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders with two files each."""
    for name in ("a/one", "a/two", "b/one", "b/two"):
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_text(name)
    return tmp_path / "files"


def differences(threadmill: Command, *paths: str | Path) -> tuple[int, dict[str, str]]:
    """The exit code, and all that is not the same."""
    result = threadmill("check", *map(str, paths), "--json")
    return result.returncode, {row["name"]: row["verdict"] for row in read_json(result)["files"]}


Encrypt = Callable[..., None]


def test_what_is_gone_and_what_is_new_is_named(threadmill: Command, encrypt: Encrypt, folders: Path) -> None:
    """Also where a file was renamed; nothing is, as long as nothing has changed."""
    encrypt(str(folders))
    assert differences(threadmill, folders) == (0, {})
    (folders / "a" / "one").unlink()
    (folders / "b" / "one").rename(folders / "b" / "renamed")
    (folders / "b" / "two").write_text("other")
    told = {
        f"{folders}/a/one": "removed",
        f"{folders}/b/one": "removed",
        f"{folders}/b/renamed": "new",
        f"{folders}/b/two": "differs",
    }
    assert differences(threadmill, folders) == (1, told)
    assert differences(threadmill, folders / "a", folders / "b") == (1, told)
    assert differences(threadmill, folders / "a" / "one") == (1, {f"{folders}/a/one": "removed"})
    assert differences(threadmill, folders / "b" / "renamed") == (1, {f"{folders}/b/renamed": "new"})
    assert differences(threadmill, folders / "a" / "two") == (0, {})
    encrypt(str(folders))
    assert differences(threadmill, folders) == (0, {})
    again = threadmill("check", str(folders / "a" / "one"))
    assert (again.returncode, "no such file or folder" in again.stderr) == (2, True)
    # That it was there once does not make it known: the newest run did not see it.
    (folders / "a" / "one").write_text("a/one")
    assert differences(threadmill, folders) == (1, {f"{folders}/a/one": "new"})


def test_a_folder_that_is_gone(threadmill: Command, encrypt: Encrypt, folders: Path) -> None:
    """All its files are named; so is a file in whose place there is something else."""
    encrypt(str(folders))
    shutil.rmtree(folders / "a")
    (folders / "b" / "one").unlink()
    os.mkfifo(folders / "b" / "one")
    (folders / "b" / "two").unlink()
    (folders / "b" / "two").mkdir()
    gone = {f"{folders}/{name}": "removed" for name in ("a/one", "a/two")}
    assert differences(threadmill, folders / "a") == (1, gone)
    gone |= {f"{folders}/{name}": "removed" for name in ("b/one", "b/two")}
    assert differences(threadmill, folders) == (1, gone)


def test_the_newest_run_of_each_part_counts(threadmill: Command, encrypt: Encrypt, folders: Path) -> None:
    """A run of a folder within says what belongs there, for all that is above it too; other runs say nothing."""
    encrypt(str(folders))
    (folders / "a" / "one").unlink()
    (folders / "b" / "one").unlink()
    encrypt(str(folders / "a"))
    assert differences(threadmill, folders) == (1, {f"{folders}/b/one": "removed"})
    assert differences(threadmill, folders / "a") == (0, {})
    # Of what is above, the record knows this much, and the rest is new.
    (folders.parent / "beside").write_text("beside")
    code, told = differences(threadmill, folders.parent)
    assert (code, told[f"{folders}/b/one"], told[f"{folders.parent}/beside"]) == (1, "removed", "new")


def test_a_source_that_is_a_link_is_followed_from_above_too(
    threadmill: Command, encrypt: Encrypt, folders: Path, tmp_path: Path
) -> None:
    """Its files have the path of the link."""
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "link").symlink_to(folders)
    encrypt(str(tmp_path / "above" / "link"))
    assert differences(threadmill, tmp_path / "above") == (0, {})
    (folders / "a" / "one").unlink()
    assert differences(threadmill, tmp_path / "above") == (1, {f"{tmp_path}/above/link/a/one": "removed"})


def test_a_run_that_did_not_come_to_its_end_says_nothing(
    threadmill: Command, encrypt: Encrypt, folders: Path, home: Path
) -> None:
    """Nor does one whose snapshot does not count: the one before it does."""
    encrypt(str(folders))
    (folders / "a" / "one").unlink()
    encrypt(str(folders))
    assert differences(threadmill, folders) == (0, {})
    with closing(sqlite3.connect(home / "history.sqlite")) as record, record:
        record.execute("UPDATE snapshot SET counts = 0 WHERE run_id = 2")
        record.execute("UPDATE run SET status = 'failed', error = 'VaultBusy: full' WHERE id = 2")
    assert differences(threadmill, folders) == (1, {f"{folders}/a/one": "removed"})


def test_a_snapshot_that_was_accepted_counts(threadmill: Command, vault: Path, key_file: Path, folders: Path) -> None:
    """Until then the one before it says what belongs there."""
    assert threadmill("encrypt", str(folders)).returncode == 0
    for name in ("a/one", "a/two", "b/one"):
        (folders / name).unlink()
    assert threadmill("encrypt", str(folders)).returncode == 3
    code, told = differences(threadmill, folders)
    assert (code, len(told)) == (1, 3)
    (newest, *_) = read_json(threadmill("snapshots", "--json"))
    assert threadmill("snapshots", "accept", newest["name"]).returncode == 0
    assert differences(threadmill, folders) == (0, {})


def test_a_path_that_no_run_knows(threadmill: Command, encrypt: Encrypt, folders: Path) -> None:
    """It is refused, whether it is there or not, beside others too."""
    encrypt(str(folders / "a"))
    for paths in ((folders / "b",), (folders / "a", folders / "b"), (folders / "missing",)):
        result = threadmill("check", *map(str, paths))
        assert (result.returncode, result.stdout) == (2, "")
        assert str(paths[-1]) in result.stderr


def test_what_a_run_left_out_is_not_new(threadmill: Command, vault: Path, folders: Path, key_file: Path) -> None:
    """Unless another run has it; a path that every run left out is not known."""
    encrypt = ("encrypt", str(folders), "--exclude", "a/", "--exclude", "*.tmp", "--exclude", "!keep.tmp")
    assert threadmill(*encrypt).returncode == 0
    for name in ("b/x.tmp", "b/keep.tmp", "a/three"):
        (folders / name).write_text(name)
    assert differences(threadmill, folders) == (1, {f"{folders}/b/keep.tmp": "new"})
    assert threadmill("check", str(folders / "a")).returncode == 2
    assert threadmill("encrypt", str(folders / "a")).returncode == 0
    assert threadmill(*encrypt).returncode == 0
    (folders / "a" / "four").write_text("four")
    assert differences(threadmill, folders) == (1, {f"{folders}/a/four": "new"})
    assert differences(threadmill, folders / "a") == (1, {f"{folders}/a/four": "new"})


def test_only_what_is_not_the_same_is_listed(threadmill: Command, encrypt: Encrypt, folders: Path) -> None:
    """`--all` lists the rest; the last line counts everything, and is a problem where there is one."""
    encrypt(str(folders))
    good = threadmill("check", str(folders))
    assert (good.returncode, good.stdout, good.stderr) == (0, "4 files checked: 4 same\n", "")
    assert threadmill("check", str(folders), "--all").stdout.count("│ same ") == 4
    (folders / "a" / "one").unlink()
    for switch in ((), ("--quiet",)):
        bad = threadmill("check", str(folders), *switch)
        assert (bad.returncode, bad.stderr) == (1, "threadmill: 4 files checked: 3 same, 1 removed\n")
        assert f"{folders}/a/one" in bad.stdout
        assert f"{folders}/a/two" not in bad.stdout
    assert read_json(threadmill("check", str(folders), "--json"))["counts"] == {"same": 3, "removed": 1}


def test_names_that_are_no_text_are_missed_too(threadmill: Command, encrypt: Encrypt, tmp_path: Path) -> None:
    """Of a file and of a folder that was named."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for name in (b"\xff", b"\xfe"):
        (folder / os.fsdecode(name)).write_bytes(name)
    encrypt(str(folder))
    (folder / os.fsdecode(b"\xff")).unlink()
    assert differences(threadmill, tmp_path / os.fsdecode(b"caf\xe9")) == (1, {rf"{tmp_path}/caf\xe9/\xff": "removed"})


def test_a_file_that_could_not_be_read_belongs_there(
    threadmill: Command, key_file: Path, folders: Path, environment: dict[str, str]
) -> None:
    """Its run came to its end; no run has encrypted the file, which is told."""
    target = "/proc/self/mem"
    result = threadmill("encrypt", str(folders), target, "--discard", "--backend", "native")
    assert result.returncode == 3
    assert differences(threadmill, folders) == (0, {})
    assert differences(threadmill, target) == (1, {target: "not recorded"})
