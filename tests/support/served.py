"""`threadmill serve` as a user starts it, and its server as the UI sees it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.commands import BIN, free_port, read_json
from tests.support.prefect_api import ask_server
from tests.support.processes import read_proc, wait_until

# Starting Prefect's programs takes 5 s of CPU each, and the machine may be busy.
PATIENCE_S = 180
GONE_S = 90


class Served:
    """One server with threadmill's deployments and a worker; `url` is the UI's address."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        before: Sequence[str] = (),
        bin: Path = BIN,  # noqa: A002 - the folder's usual name
    ) -> None:
        """It is started in `folder`, where what it prints is kept too.

        Args:
            environment: with `THREADMILL_HOME`.
            folder: made if it is missing.
            before: a program and its arguments that starts what follows them.
            bin: the folder of the command.
        """
        folder.mkdir(exist_ok=True)
        self.environment = environment
        self.home = Path(environment["THREADMILL_HOME"])
        # Asked for with the credentials that the user has, once it is up.
        self.auth = environment.get("PREFECT_SERVER_API_AUTH_STRING")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._before = before
        self._program = str(bin / "threadmill")
        self._folder = folder
        self._output = folder / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it has printed since its last start."""
        return self._output.read_text()

    def start(self) -> None:
        """Start it, and wait until all is up."""
        with self._output.open("wb") as output:
            process = self.process = subprocess.Popen(
                [*self._before, self._program, "serve", "--port", str(self.port)],
                env=self.environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: "running;" in self.output or process.poll() is not None, "not up", PATIENCE_S)
        assert process.poll() is None, self.output
        self.auth = self.auth or (self.home / "prefect" / "password").read_text().rstrip("\n")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(GONE_S)

    def processes(self) -> list[int]:
        """Whatever lives with this THREADMILL_HOME in its environment."""
        mark = f"THREADMILL_HOME={self.home}".encode()
        return [pid for pid in processes() if mark in read_proc(pid, "environ").split(b"\0")]

    def clean_up(self) -> None:
        """End what a failed test has left."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.end()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def ask(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """What the server answers."""
        return ask_server(f"{self.url}/api", path, body, method=method, auth=self.auth)

    def deployments(self) -> dict[str, Any]:
        """By name."""
        return {deployment["name"]: deployment for deployment in self.ask("deployments/filter", {})}

    def request(self, deployment: str, **parameters: Any) -> str:
        """Ask for a flow run now; its id."""
        path = f"deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        return str(self.ask(path, {"parameters": parameters})["id"])

    def run(self, deployment: str, **parameters: Any) -> str:
        """Ask for a flow run now, and wait until it is running; its id."""
        flow_run = self.request(deployment, **parameters)
        wait_until(lambda: self.state(flow_run) == "RUNNING", "not started", PATIENCE_S)
        return flow_run

    def state(self, flow_run: str) -> str:
        """Its type, such as RUNNING."""
        return str(self.ask(f"flow_runs/{flow_run}")["state_type"])

    def completed(self, flow_run: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the end of a run, which must be a good one, and until the server has written its task runs."""

        def over() -> bool:
            state = self.state(flow_run)
            assert state not in ("FAILED", "CRASHED", "CANCELLED"), state
            tasks = self.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
            ended = state == "COMPLETED" and all(task["state_type"] == "COMPLETED" for task in tasks)
            return ended and any(task["name"] == "report" for task in tasks)

        wait_until(over, "not completed", seconds)
        return dict(self.ask(f"flow_runs/{flow_run}"))

    def threadmill(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Another command of the same user."""
        return subprocess.run(
            [*self._before, self._program, *arguments],
            env={**self.environment, **more},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def row(self, flow_run: str) -> dict[str, Any] | None:
        """The record's row of a flow run."""
        rows = read_json(self.threadmill("history", "runs", "--limit", "50", "--json"))
        return next((row for row in rows if row["flow_run_id"] == flow_run), None)


@contextmanager
def serving(
    environment: Mapping[str, str],
    folder: Path,
    before: Sequence[str] = (),
    bin: Path = BIN,  # noqa: A002 - the folder's usual name
) -> Iterator[Served]:
    """One that is up, until it is told to end as by Ctrl-C; see `Served` for the arguments."""
    served = Served(environment, folder, before, bin)
    try:
        served.start()
        yield served
        assert served.end(signal.SIGINT) == 0, served.output
    finally:
        served.clean_up()


def processes() -> list[int]:
    """The pids of all."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
