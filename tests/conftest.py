"""Fixtures: a home of its own for every test, the command, a real Prefect server for the whole session."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support.account import Account, make_account
from tests.support.commands import BIN, Command, clean_environment, running_prefect_server
from tests.support.in_process import run_in_process
from tests.support.marking import mark
from tests.support.postgres import database_url, postgres_server, postgres_url  # noqa: F401 - fixtures of all tests

# A few tests each, and minutes: whoever runs several at once is to begin with them.
_LONGEST = (
    "test_serve", "test_workers", "test_browser", "test_attacks", "test_prefect", "test_docs", "test_torture",
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


@pytest.fixture(autouse=True)
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Draws the same every time, unless `--seed` says otherwise; so do the contents of `random.randbytes`."""
    seed = f"{request.config.getoption('--seed')} {request.node.name}"
    random.seed(seed)
    return random.Random(seed)


@pytest.fixture(autouse=True)
def begin_at_the_root(request: pytest.FixtureRequest) -> None:
    """Commands that ran in this process may have left the current folder for good."""
    os.chdir(request.config.rootpath)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`THREADMILL_HOME` of one test."""
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """What the commands of one test see; the test may change it. No test waits until another has measured."""
    return clean_environment() | {"THREADMILL_HOME": str(home), "THREADMILL_MEASURING_LOCK": str(home.parent)}


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

    def run(*arguments: str | bytes, before: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        defaults: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300, "cwd": tmp_path}
        defaults["env"] = environment
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return subprocess.run([*before, BIN / "threadmill", *arguments], check=False, **(defaults | options))

    return run


@pytest.fixture
def started(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in a process group of its own, as a shell does; all of it is ended after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [BIN / "threadmill", *arguments],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            process.communicate()


@pytest.fixture
def faketime() -> str:
    """Path of the program that makes a wall clock wrong; only a developer may go without it."""
    program = shutil.which("faketime")
    if program is None:
        reason = "no faketime on PATH (apt install faketime)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return program


@pytest.fixture
def threadmill_at(threadmill_process: Command, faketime: str) -> Command:
    """The installed command under a clock that begins at its first argument, as `faketime -f` takes it."""

    def run(time: str, *arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[str]:
        # The monotonic clock is another one too, or `time.sleep` would fail: faketime changes when it is to end.
        return threadmill_process(*arguments, before=(faketime, "-f", time), **options)

    return run


@pytest.fixture
def key_file(threadmill: Command, tmp_path: Path, environment: dict[str, str]) -> Path:
    """A key file, which the commands of the test use."""
    path = tmp_path / "key"
    assert threadmill("keygen", str(path)).returncode == 0
    environment["THREADMILL_KEY_FILE"] = str(path)
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; without one there is nothing to see, which only a developer may leave at that."""
    # Late: it imports the browser's driver.
    from tests.support.prefect_ui import find_chromium

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


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """A second account of the host, for root only; the tests of one file share it."""
    with make_account() as made:
        yield made
