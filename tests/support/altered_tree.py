"""A copy of the product's source with something added to it, and its command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class AlteredTree:
    """The three packages, copied to `folder`; `threadmill` runs the copy's command there."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        for package in ("db", "flows", "tasks"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, path: str, text: str, after: str | None = None) -> None:
        """Put text into a file after a text that stands there once, or at its end."""
        file = self._folder / path
        source = file.read_text()
        if after is None:
            file.write_text(source + text)
        else:
            assert source.count(after) == 1, f"{path} has {after!r} {source.count(after)} times"
            file.write_text(source.replace(after, after + text))

    def threadmill(self, *arguments: str) -> str:
        """What the command prints, which must end well."""
        # `-c` puts the current folder first on the path, before the installed packages.
        program = f"import sys; from flows.cli.main import main; sys.exit(main({arguments!r}))"
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout
