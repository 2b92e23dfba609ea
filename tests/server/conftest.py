"""Fixtures of the tests whose commands and flows find Prefect's server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Command
from tests.support.prefect_api import Ask, ask_server


@pytest.fixture
def threadmill(threadmill_process: Command) -> Command:
    """A process for each command: Prefect's threads and loops stay for as long as theirs."""
    return threadmill_process


@pytest.fixture
def ask(prefect_server: str) -> Ask:
    """Post to the server's API, as the UI does."""

    def post(path: str, **body: Any) -> Any:
        return ask_server(prefect_server, path, body)

    return post


@pytest.fixture
def on_server(environment: dict[str, str], prefect_server: str, tmp_path: Path) -> dict[str, str]:
    """The commands of the test find the server, by the variable that Prefect's users set."""
    environment["PREFECT_API_URL"] = prefect_server
    environment["HOME"] = str(tmp_path)
    return environment
