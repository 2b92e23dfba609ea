"""Everything that a user of the UI has: server, deployments and a worker, and runs on them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import BIN, START_S, free_port

RUN_S = 180


@dataclass(frozen=True, slots=True)
class Served:
    """A server with threadmill's deployments and a worker; `url` is the UI's address."""

    url: str

    def ask(self, path: str, **body: Any) -> Any:
        """Post to the server's API, as the UI does."""
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{self.url}/api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own loopback address
            return json.load(answer)

    def deployment(self, name: str) -> str:
        """The id of a deployment."""
        (found,) = self.ask("deployments/filter", deployments={"name": {"any_": [name]}})
        return str(found["id"])

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run of a deployment; its id."""
        return str(self.ask(f"deployments/{self.deployment(deployment)}/create_flow_run", parameters=parameters)["id"])

    def completed(self, flow_run_id: str, seconds: float = RUN_S) -> dict[str, Any]:
        """Wait for the end of a run, which must be a good one, and until the server has written its task runs."""
        deadline = time.monotonic() + seconds
        while True:
            (run,) = self.ask("flow_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}})
            tasks = self.ask("task_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}})
            over = run["state_type"] == "COMPLETED" and all(task["state_type"] == "COMPLETED" for task in tasks)
            if over and any(task["name"] == "report" for task in tasks):
                return dict(run)
            assert run["state_type"] not in ("FAILED", "CRASHED", "CANCELLED"), run["state"]
            assert time.monotonic() < deadline, run["state"]
            time.sleep(0.5)


@contextmanager
def serving(environment: Mapping[str, str], folder: Path, before: Sequence[str] = ()) -> Iterator[Served]:
    """`threadmill serve`, until it is told to end as by Ctrl-C.

    Args:
        environment: with `THREADMILL_HOME`.
        folder: where it is started, and what it prints is kept.
        before: a program and its arguments that starts what follows them.
    """
    port = free_port()
    printed = folder / "serve.log"
    with printed.open("wb") as log:
        serve = subprocess.Popen(
            [*before, BIN / "threadmill", "serve", "--port", str(port)],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for("running; Ctrl-C ends it", printed, serve)
            yield Served(f"http://127.0.0.1:{port}")
        finally:
            serve.send_signal(signal.SIGINT)
            assert serve.wait(60) == 0, printed.read_text()


def _wait_for(line: str, printed: Path, serve: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 2 * START_S
    while line not in (text := printed.read_text()):
        assert serve.poll() is None, f"threadmill serve ended by itself: {text}"
        assert time.monotonic() < deadline, f"threadmill serve is not up: {text}"
        time.sleep(0.2)
