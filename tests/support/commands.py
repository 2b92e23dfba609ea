"""The installed commands, what they see of the environment, and a Prefect server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
START_S = 120

Command = Callable[..., subprocess.CompletedProcess[str]]


def clean_environment() -> dict[str, str]:
    """The environment without what a developer may have set for either program; no fault is caught at the last."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "PREFECT_"))}
    return others | {"THREADMILL_TRACEBACK": "1"}


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
