"""Fixtures: a home of its own for every test, the command, a real Prefect server for the whole session."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import run_in_process
from tests.marking import mark
from tests.postgres import database_url, postgres_server, postgres_url  # noqa: F401 - fixtures of all tests

BIN = Path(sys.executable).parent
START_S = 120

Command = Callable[..., subprocess.CompletedProcess[str]]


# A few tests each, and minutes: whoever runs several at once is to begin with them.
_LONGEST = (
    "test_flows_serve", "test_flows_workers", "test_flows_browser", "test_flows_prefect", "test_docs",
)  # fmt: skip


def pytest_configure() -> None:
    """Have SIGINT end the programs that the tests start, also where this one was started in the background (`&`)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs more than this process, before `-m` chooses; the longest files come first."""
    for item in items:
        mark(item)
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed`, for `make torture`."""
    parser.addoption("--seed", type=int, default=1, help="of the places and moments that tests draw; default: 1")


def pytest_report_header(config: pytest.Config) -> str:
    """Which Prefect the tests run against, and how to draw the same again."""
    return f"prefect: {version('prefect')}, --seed {config.getoption('--seed')}"


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Draws the same every time, unless `--seed` says otherwise."""
    return random.Random(f"{request.config.getoption('--seed')} {request.node.name}")  # noqa: S311 - no keys


def clean_environment() -> dict[str, str]:
    """The environment without what a developer may have set for either program."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "PREFECT_"))}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`THREADMILL_HOME` of one test."""
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """What the commands of one test see; the test may change it."""
    return clean_environment() | {"THREADMILL_HOME": str(home)}


@pytest.fixture
def threadmill(environment: dict[str, str], tmp_path: Path) -> Command:
    """The command in this process; the result has `stdout`, `stderr` and `returncode`."""

    def run(
        *arguments: str | bytes,
        cwd: Path = tmp_path,
        input: str | None = None,  # noqa: A002 - as subprocess.run has it
    ) -> subprocess.CompletedProcess[str]:
        return run_in_process(arguments, environment, cwd, input)

    return run


@pytest.fixture
def threadmill_process(environment: dict[str, str], tmp_path: Path) -> Command:
    """The installed command as a process of its own, run to its end; takes what `subprocess.run` takes."""

    def run(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[str]:
        defaults: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300, "cwd": tmp_path}
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return subprocess.run([BIN / "threadmill", *arguments], env=environment, check=False, **(defaults | options))

    return run


@pytest.fixture
def key_file(threadmill: Command, tmp_path: Path, environment: dict[str, str]) -> Path:
    """A key file, which the commands of the test use."""
    path = tmp_path / "key"
    assert threadmill("keygen", str(path)).returncode == 0
    environment["THREADMILL_KEY_FILE"] = str(path)
    return path


def read_json(result: subprocess.CompletedProcess[str]) -> Any:
    """What a command with `--json` printed."""
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; without one there is nothing to see, which only a developer may leave at that."""
    # Late: it imports the browser's driver.
    from tests.prefect_ui import find_chromium

    found = find_chromium()
    if found is None:
        reason = "no chromium on PATH (apt install chromium)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server, with a database of its own; the URL of its API."""
    with running_prefect_server(tmp_path_factory.mktemp("prefect")) as api:
        yield api


@contextmanager
def running_prefect_server(folder: Path, database: str | None = None) -> Iterator[str]:
    """One that keeps everything in `folder`, its log as `server.log`; the URL of its API.

    Args:
        folder: its PREFECT_HOME.
        database: the URL of another database than SQLite's file there.
    """
    port = free_port()
    environment = clean_environment() | {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if database is not None:
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/health", server)
            yield f"http://127.0.0.1:{port}/api"
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert server.poll() is None, "the Prefect server ended by itself"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own loopback address
                return
        except OSError:
            assert time.monotonic() < deadline, "the Prefect server did not answer"
            time.sleep(0.2)
