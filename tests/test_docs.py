"""What the documents say is true: their commands run, their links lead somewhere, every command is described."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BIN, Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]
COMMANDS = (
    "survey", "encrypt", "check", "keygen", "settings", "experiment", "interpreters", "report", "db upgrade",
    "serve", "status",
    "history runs", "history show", "history payloads", "history samples", "history speedup", "history race",
    "history snapshots", "history proofs", "history trend", "history compare", "history changes",
    "history failures", "history slowest", "history verify",
    "verify", "restore", "cat", "prune", "snapshots", "snapshots show",
    "db check", "db backup", "db import", "db stats", "export", "explore", "maintain",
)  # fmt: skip


def test_commands_of_the_readme_run(environment: dict[str, str], tmp_path: Path) -> None:
    """Every block of shell commands works as it stands, one after the other, for a new user with some documents."""
    if shutil.which("sqlite3") is None:
        pytest.skip("the README also queries by sqlite3, which is not here")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("dear reader")
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    for block in blocks:
        ended = subprocess.run(
            ["sh", "-ec", block], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(threadmill: Command, command: str) -> None:
    """`--help` describes the command and each of its options."""
    result = threadmill(*command.split(), "--help")
    assert result.returncode == 0
    assert f"threadmill {command}" in result.stdout


def test_every_command_is_in_the_readme() -> None:
    """A command that the README does not show is one that nobody finds."""
    assert [command for command in COMMANDS if f"threadmill {command}" not in README and command != "survey"] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file that is there."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
