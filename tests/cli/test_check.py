"""`threadmill check` on files that a vault keeps, some of them compressed: the entry of a snapshot tells."""

from __future__ import annotations

import os
import shutil
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
        (root / f"{name}-random").write_bytes(os.urandom(6 * unit))
        (root / f"{name}-text").write_bytes(b"a text" * unit)
    (root / "sparse").write_bytes(b"begin")
    os.truncate(root / "sparse", 20 * MIB)
    return root


def verdicts(threadmill: Command, tree: Path, *options: str) -> dict[str, str]:
    rows = read_json(threadmill("check", str(tree), "--json", *options))
    return {os.path.basename(row["name"]): row["verdict"] for row in rows}


def change(path: Path) -> None:
    """Change the last byte."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


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
    assert verdicts(threadmill, tree) == told
    result = threadmill("check", str(tree / "small-text"), "--json")
    assert result.returncode == 1
    assert f"vault {vault} is needed to tell: is not there" in read_json(result)[0]["error"]
    shutil.move(vault.with_name("away"), vault)
    for snapshot in (vault / "snapshots").iterdir():
        snapshot.unlink()
    assert verdicts(threadmill, tree) == told
    assert "no snapshot names its object" in threadmill("check", str(tree), "--json").stdout
