"""`make torture`: a few of each of its mishaps, and that it would not overlook one."""

from __future__ import annotations

import itertools
import os
import random
import re
import sys
from pathlib import Path

import pytest

from benchmarks.torture import __main__ as program
from benchmarks.torture.places import may_mount
from benchmarks.torture.rows import HEAD, Row
from benchmarks.torture.scene import HEAD as HEAD_OF_CASES
from benchmarks.torture.scene import Told
from benchmarks.torture.victims import small_vault

ROOT = Path(__file__).parent.parent


def documented(head: str) -> list[str]:
    """The lines below the head of a table in the document."""
    _, _, below = (ROOT / "docs" / "reliability.md").read_text().partition(head + "\n")
    return list(itertools.takewhile(lambda line: line.startswith("|"), below.splitlines()))


def unsized(done: str) -> str:
    """Without the size of the file, which depends on where its vault is, or that of the tree, which is small here."""
    return re.sub(r" \([\d,]+ bytes\)| of [\d.]+ GB", "", done)


@pytest.mark.slow
def test_a_few_of_each_mishap(dice: random.Random) -> None:
    """Everything holds that docs/reliability.md says, and each kind of mishap is really tried."""
    seed = dice.getrandbits(32)
    rows = list(program.torture(program.QUICK, seed))
    assert [f"{row.done}: {where}" for row in rows for where in row.missed] == [], f"seed {seed}"
    assert [row.done for row in rows if not (row.times or row.skipped)] == []
    assert [unsized(row.done) for row in rows] == [unsized(line[2:].split(" | ")[0]) for line in documented(HEAD)]


@pytest.mark.slow
def test_each_case_is_as_documented(tmp_path: Path) -> None:
    """Everything holds, and `python -m benchmarks.torture --cases` prints the table that the document has."""
    if os.geteuid() or not may_mount(tmp_path / "tried"):
        pytest.skip("mounting disks needs root")
    told = list(program.play_cases())
    assert [(one.case, one.command, one.wrong) for one in told if one.wrong] == []
    assert [one.line() for one in told] == documented(HEAD_OF_CASES)


def test_what_is_whole_does_not_count_as_found(tmp_path: Path) -> None:
    """A check that is content with an undamaged vault would be content with anything."""
    for victims in small_vault(tmp_path / "vault", random.Random(0)).values():
        assert not victims[-1].held()


def test_a_miss_is_named_and_ends_with_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The table counts what held, standard error says where it did not."""
    row = Row("a bit flipped", "it is found")
    row.add("byte 1", held=True)
    row.add("byte 2", held=False)
    monkeypatch.setattr(program, "torture", lambda *_: iter([row]))
    told = Told("no vault", "encrypt /tree", 0, "", wrong=["exit code 0, not 2"])
    monkeypatch.setattr(program, "play_cases", lambda: iter([told]))
    monkeypatch.setattr(sys, "argv", ["torture", "--quick"])
    assert program.main() == 1
    printed = capfd.readouterr()
    assert "| a bit flipped | 2 | it is found | 1 |" in printed.out
    assert "| no vault | `encrypt /tree` | 0 | nothing |  |" in printed.out
    missed = ["MISSED a bit flipped: byte 2", "MISSED no vault, encrypt /tree: exit code 0, not 2"]
    assert printed.err.splitlines() == missed
