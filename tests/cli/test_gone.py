"""What a command says, and how it ends, when files that were in the last snapshot are gone or cannot be read."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.commands import Command, read_json

STATUS = ("status", "--only-vault", "--vault", "vault")


@pytest.fixture
def trees(threadmill: Command, key_file: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two trees, both in a vault."""
    del key_file
    for name, count in (("large", 20), ("small", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}").write_text(f"{name} {number}")
    assert threadmill("vault", "init", "vault").returncode == 0
    assert threadmill("encrypt", "large", "small", "--vault", "vault").returncode == 0
    return tmp_path / "large", tmp_path / "small"


def test_a_drop_stands_until_it_is_accepted(threadmill: Command, trees: tuple[Path, Path]) -> None:
    """Each run ends with 3 and says what is gone; status complains; prune keeps the last snapshot that counts."""
    _, small = trees
    encrypt = ("encrypt", "large", "small", "--vault", "vault")
    for path in small.iterdir():
        path.unlink()
    for _ in range(2):
        result = threadmill(*encrypt)
        assert result.returncode == 3
        assert f"3 gone; 0 B added; IN DOUBT: {small}: 3 of 3 files gone; it counts once the files are" in result.stderr
    status = threadmill(*STATUS)
    assert status.returncode == 1
    assert "is in doubt: files gone since the last one that counts: 3; if that is right: threadmill" in status.stderr
    (_, run) = read_json(threadmill("history", "runs", "--limit", "2", "--json"))
    assert run["status"] == "failed"
    assert "3 of 3 files gone" in run["error"]
    (row, *_) = read_json(threadmill("history", "snapshots", "--json"))
    assert (row["gone"], row["counts"], row["files"]) == (3, False, 20)

    assert "snapshots: 1 removed, 2 kept" in threadmill("prune", "--vault", "vault", "--keep-last", "1").stdout
    newest, oldest = read_json(threadmill("snapshots", "--vault", "vault", "--json"))
    assert [(one["gone"], one["counts"]) for one in (newest, oldest)] == [(3, False), (0, True)]
    assert "in doubt" in threadmill("snapshots", "--vault", "vault").stdout
    restored = threadmill("restore", "latest", "target", "--vault", "vault")
    assert "is in doubt: files gone since the last one that counts: 3" in restored.stdout
    dry = threadmill(*encrypt, "--dry-run")
    assert (dry.returncode, dry.stdout.splitlines()[1:]) == (0, [f"{small}: 3 of 3 files gone"])

    for refused, why in ((oldest["name"], "is not in doubt: it counts"), ("nothing", "no snapshot begins")):
        result = threadmill("snapshots", "accept", refused, "--vault", "vault")
        assert (result.returncode, why in result.stderr) == (2, True)
    accepted = threadmill("snapshots", "accept", "latest", "--vault", "vault")
    assert accepted.returncode == 0
    said = r"^run \d+: snapshot \S+ of 20 files is accepted, with 3 gone: it counts$"
    assert re.search(said, accepted.stdout, re.MULTILINE)
    again = threadmill("snapshots", "accept", "latest", "--vault", "vault")
    assert (again.returncode, "is accepted already" in again.stderr) == (2, True)
    assert threadmill(*STATUS).returncode == 0
    assert "in doubt" not in threadmill("snapshots", "--vault", "vault").stdout
    (verdict,) = read_json(threadmill("history", "show", "latest", "--json"))["verdicts"]
    assert (verdict["status"], verdict["kind"], verdict["name"]) == ("accepted", "snapshot", newest["name"])
    assert threadmill(*encrypt).returncode == 0
    assert "snapshots: 2 removed, 1 kept" in threadmill("prune", "--vault", "vault", "--keep-last", "1").stdout
    assert threadmill("history", "verify").returncode == 0


def test_the_share_is_a_setting(threadmill: Command, trees: tuple[Path, Path], environment: dict[str, str]) -> None:
    """Of each source's files; with 100 % all may go."""
    _, small = trees
    (small / "0").unlink()
    encrypt = ("encrypt", "large", "small", "--vault", "vault")
    environment["THREADMILL_MOST_GONE"] = "30%"
    assert threadmill(*encrypt).returncode == 3
    del environment["THREADMILL_MOST_GONE"]
    assert threadmill(*encrypt).returncode == 0
    for number in (1, 2):
        (small / f"{number}").unlink()
    environment["THREADMILL_MOST_GONE"] = "100%"
    assert threadmill(*encrypt).returncode == 0
    environment["THREADMILL_MOST_GONE"] = "101%"
    refused = threadmill(*encrypt)
    assert (refused.returncode, "write a percentage" in refused.stderr) == (2, True)


def test_sources_that_cannot_be_read(threadmill: Command, trees: tuple[Path, Path], tmp_path: Path) -> None:
    """Beside others 3, and what was there is carried over; alone 2, and nothing is done."""
    _, small = trees
    small.rename(tmp_path / "away")
    result = threadmill("encrypt", "large", "small", "--vault", "vault")
    assert result.returncode == 3
    assert f"{small} carried-over: cannot be read: No such file or directory" in result.stderr
    (row, *_) = read_json(threadmill("history", "snapshots", "--json"))
    assert (row["gone"], row["counts"], row["files"], row["marked"]) == (0, True, 23, 4)
    shutil.rmtree(tmp_path / "away")
    small.symlink_to("away")
    os.mkfifo(tmp_path / "pipe")
    dry = threadmill("encrypt", "large", "small", "--vault", "vault", "--dry-run")
    assert (dry.returncode, f"{small} cannot be read: it is a dangling" in dry.stderr) == (3, True)
    before = len(read_json(threadmill("snapshots", "--vault", "vault", "--json")))
    for name, why in (("small", "a dangling symbolic link"), ("pipe", "a FIFO"), ("/dev/null", "a character device")):
        alone = threadmill("encrypt", name, "--vault", "vault")
        assert alone.returncode == 2
        assert f"cannot be read: it is {why}" in alone.stderr
    assert len(read_json(threadmill("snapshots", "--vault", "vault", "--json"))) == before


def test_an_empty_source_alone_is_refused(threadmill: Command, trees: tuple[Path, Path]) -> None:
    """It says how many files there were."""
    large, _ = trees
    assert threadmill("encrypt", "large", "--vault", "vault").returncode == 0
    for path in large.iterdir():
        path.unlink()
    result = threadmill("encrypt", "large", "--vault", "vault")
    assert result.returncode == 2
    assert "/large; the snapshot before has 20 files of them" in result.stderr


def test_a_snapshot_with_many_faults(
    threadmill: Command, trees: tuple[Path, Path], environment: dict[str, str]
) -> None:
    """Status complains where more than a share of the newest snapshot's files are marked or missed."""
    _, small = trees
    shutil.rmtree(small)
    assert threadmill("encrypt", "large", "small", "--vault", "vault").returncode == 3
    assert threadmill(*STATUS).returncode == 0
    environment["THREADMILL_MOST_FAULTY"] = "10%"
    status = threadmill(*STATUS)
    assert status.returncode == 1
    assert "of 23 files: 4 changed while they were read, or could not be read" in status.stderr


def test_each_set_of_sources_is_judged(threadmill: Command, trees: tuple[Path, Path]) -> None:
    """A newer snapshot of other sources hides nothing."""
    large, small = trees
    for path in small.iterdir():
        path.unlink()
    assert threadmill("encrypt", "large", "small", "--vault", "vault").returncode == 3
    assert threadmill("encrypt", str(large), "--vault", "vault").returncode == 0
    assert threadmill(*STATUS).returncode == 1
