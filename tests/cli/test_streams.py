"""Results are on standard output, problems on standard error, and `--quiet` leaves in only what needs attention."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.commands import Command
from tests.support.crafted import flip

# As root, everything can be read but the memory of a process from its beginning.
UNREADABLE = "/proc/self/mem"
NOTHING_KEPT = "nothing was kept"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two files."""
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("one", "two"):
        (root / name).write_text(name * 100)
    return root


@pytest.fixture
def vault(threadmill: Command, tree: Path, key_file: Path, tmp_path: Path, environment: dict[str, str]) -> Path:
    """A vault that has the files; the commands of the test use it."""
    environment["THREADMILL_VAULT"] = str(tmp_path / "vault")
    for command in ("vault init vault", "encrypt tree"):
        assert threadmill(*command.split()).returncode == 0
    return tmp_path / "vault"


# Every command that does something, or judges something, and that ends well.
GOOD = (
    "encrypt tree", "encrypt tree --dry-run", "encrypt --random 10x2", "encrypt tree --discard", "check tree",
    "verify", "restore latest target", "prune --keep-last 1", "prune --keep-last 1 --dry-run", "snapshots",
    "snapshots show latest", "status --only-vault", "maintain", "history runs", "history show latest",
    "history failures", "history verify", "db check", "db stats", "db upgrade", "db backup copy", "settings",
    "keygen other", "vault init another --another", "experiment race --guard lock --shape augmented --quick",
    "interpreters", "export --output csv", "report --output page.html",
)  # fmt: skip


@pytest.mark.parametrize("command", GOOD)
def test_what_ends_well_is_silent_if_told(threadmill: Command, vault: Path, command: str) -> None:
    """With `--quiet`, anywhere in the line; without it, and without a terminal, nothing is on standard error.

    But that a host is busy, on which an experiment measures.
    """
    quiet = threadmill(*command.split(), "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    for path in ("copy", "other", "another", "csv", "page.html"):
        there = vault.parent / path
        if there.is_dir():
            shutil.rmtree(there)
        else:
            there.unlink(missing_ok=True)
    usual = threadmill(*command.split())
    said = [line for line in usual.stderr.splitlines() if not line.startswith("this host is not quiet (")]
    assert (usual.returncode, said) == (0, [])
    assert usual.stdout


@pytest.mark.parametrize(
    "command",
    ["history runs --json", "history runs --csv", "check tree --json", "encrypt tree --json", "verify --json"],
)
def test_programs_get_their_answer_all_the_same(threadmill: Command, vault: Path, command: str) -> None:
    """What is for programs is what they asked for, `--quiet` or not; the bytes of a file too."""
    assert threadmill("-q", *command.split()).stdout
    assert threadmill("-q", "cat", "latest", str(vault.parent / "tree" / "one")).stdout == "one" * 100
    assert threadmill("-q", "snapshots", "show", "latest", "--sha256sums").stdout


def bad_ends(vault: Path) -> Sequence[tuple[str, int, str]]:
    """Commands that do not end well once the vault is damaged: the line, the exit code, and what is to be named."""
    (pack,) = vault.glob("packs/*/*")
    flip(pack, 520)
    return (
        ("verify", 1, pack.name),
        ("status --only-vault", 1, "needs attention: vault"),
        ("restore latest target", 1, "tree/one"),
        (f"encrypt tree {UNREADABLE} --discard --backend native", 3, UNREADABLE),
        (f"encrypt tree {UNREADABLE}", 3, UNREADABLE),
        ("encrypt missing", 2, "missing"),
    )


def test_problems_are_on_standard_error_whatever_is_asked(threadmill: Command, vault: Path) -> None:
    """Also with `--quiet` and `--json`; standard output has none of it, so that it can be thrown away."""
    for command, code, named in bad_ends(vault):
        for switch in ("", "--quiet", "--json", "--progress"):
            shutil.rmtree(vault.parent / "target", ignore_errors=True)
            result = threadmill(*f"{command} {switch}".split())
            assert (result.returncode, named in result.stderr) == (code, True), (command, switch, result.stderr)
            assert result.stderr.splitlines()[-1].startswith("threadmill: ")
            if switch == "--quiet":
                assert result.stdout == ""


def test_a_fault_is_named_once(threadmill: Command, vault: Path) -> None:
    """As soon as it is known; the last line counts, and the record has the names in one line."""
    result = threadmill("encrypt", "tree", UNREADABLE)
    assert result.returncode == 3
    assert result.stderr.count(UNREADABLE) == 1
    assert UNREADABLE in threadmill("history", "show", "latest").stdout


def test_progress_is_for_terminals_unless_asked_for(threadmill: Command, vault: Path) -> None:
    """A line on standard error where there is no terminal."""
    assert "verifying" in threadmill("verify", "--progress").stderr
    both = threadmill("verify", "--progress", "-q")
    assert (both.returncode, both.stderr) == (2, "threadmill: --quiet or --progress, not both\n")


def test_switches_end_where_options_end(threadmill: Command, key_file: Path, tmp_path: Path) -> None:
    """After `--` there are only paths."""
    (tmp_path / "--quiet").write_text("a file")
    assert "--quiet" in threadmill("encrypt", "--discard", "--", "--quiet").stdout


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_it_is_said_once_that_nothing_is_kept(
    threadmill: Command, tree: Path, key_file: Path, form: tuple[str, ...]
) -> None:
    """In one line on standard error, unless that is meant; standard input is kept in no vault either."""
    said = threadmill("encrypt", "tree", *form)
    (line,) = said.stderr.splitlines()
    assert line.startswith(NOTHING_KEPT)
    assert "threadmill vault init DIR" in line
    assert "--vault DIR" in line
    (line,) = threadmill("encrypt", "-", *form, input="text").stderr.splitlines()
    assert line.startswith(NOTHING_KEPT)
    assert "vault init" not in line
    assert threadmill("vault", "init", "vault").returncode == 0
    for meant in ("tree --discard", "- --discard", "--random 10x1", "tree --vault vault", "tree --quiet"):
        assert threadmill("encrypt", *meant.split(), *form, input="text").stderr == "", meant
