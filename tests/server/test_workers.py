"""Flow runs that workers start: many at once, cancelled, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import BIN, clean_environment, running_prefect_server
from tests.support.postgres import Server
from tests.support.prefect_api import ask_server
from tests.support.processes import alive, children_of, hang_on_payloads_only, make_hanging_openssl, wait_until

# Starting a flow run takes a few seconds of CPU, and eight of them share what there is.
PATIENCE_S = 240
PREFECT_YAML = """\
name: workers
definitions:
  pool: &pool {name: workers-test}
  measured: &measured {<<: *pool, work_queue_name: measure}
deployments:
  - {name: payloads, entrypoint: flows.encryption.encrypt_payloads, work_pool: *pool}
  - {name: measured, entrypoint: flows.experiments.run_experiments, work_pool: *measured}
"""


_OF_LOCKS = re.compile("is locked|deadlock|could not serialize|lock timeout")


@dataclass(frozen=True)
class Stack:
    """Two workers on one pool, deployments `payloads` and `measured`, one record."""

    environment: dict[str, str]
    folder: Path
    slow: Path
    server_log: Path

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the server answers."""
        return ask_server(self.environment["PREFECT_API_URL"], path, body)

    def run(self, flow: str, deployment: str, **parameters: Any) -> str:
        """Ask for a flow run now; its id."""
        found = self.ask(f"deployments/name/{flow}/{deployment}")
        flow_run: str = self.ask(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]
        return flow_run

    def state(self, flow_run: str) -> str:
        """Its type, such as RUNNING."""
        state: str = self.ask(f"flow_runs/{flow_run}")["state"]["type"]
        return state

    def recorded(self) -> dict[str, dict[str, Any]]:
        """Rows of runs by the id of their flow run."""
        listed = subprocess.run(
            [BIN / "threadmill", "history", "runs", "--limit", "100", "--json"],
            env=self.environment,
            capture_output=True,
            check=True,
        )
        return {row["flow_run_id"]: row for row in json.loads(listed.stdout)}


@pytest.fixture(scope="module")
def server(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Prefect's server as the docs have it for several workers, on PostgreSQL; its API and its log."""
    folder = tmp_path_factory.mktemp("server")
    with (
        postgres_server.database() as url,
        running_prefect_server(folder, url.replace("+psycopg", "+asyncpg")) as api,
    ):
        yield api, folder / "server.log"


@pytest.fixture(scope="module")
def stack(server: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("workers")
    api, server_log = server
    slow = make_hanging_openssl(folder / "slow")
    hang_on_payloads_only(slow)
    environment = clean_environment() | {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(folder / "prefect"),
        "THREADMILL_HOME": str(folder / "home"),
        "THREADMILL_OPENSSL": str(slow / "openssl"),
        "DO_NOT_TRACK": "1",
    }
    (folder / "prefect.yaml").write_text(PREFECT_YAML)

    def prefect(*arguments: str) -> None:
        subprocess.run(
            [BIN / "prefect", "--no-prompt", *arguments], env=environment, cwd=folder, check=True, capture_output=True
        )

    prefect("work-pool", "create", "workers-test", "--type", "process")
    prefect("work-queue", "create", "measure", "--pool", "workers-test", "--limit", "1")
    prefect("deploy", "--all")
    workers = []
    for number in range(2):
        with (folder / f"worker-{number}.log").open("wb") as log:
            command = [str(BIN / "prefect"), "worker", "start", "--pool", "workers-test", "--name", f"worker-{number}"]
            workers.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    try:
        yield Stack(environment, folder, slow, server_log)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)


def test_two_workers_and_eight_flow_runs(stack: Stack) -> None:
    """All of them complete, every row is there, what measures does not overlap, and no log speaks of a lock."""
    encrypted = [stack.run("encrypt-payloads", "payloads", size_bytes=100, count=50) for _ in range(5)]
    measured = [
        stack.run("run-experiments", "measured", experiments=["race"], guards=["atomic"], rounds=1) for _ in range(3)
    ]
    wait_for_end(stack, *encrypted, *measured)
    assert {stack.state(one) for one in encrypted + measured} == {"COMPLETED"}
    rows = stack.recorded()
    assert {rows[one]["status"] for one in encrypted + measured} == {"completed"}
    assert {rows[one]["deployment"] for one in encrypted} == {"payloads"}
    for one in encrypted:
        listed = subprocess.run(
            [BIN / "threadmill", "history", "show", one, "--json"],
            env=stack.environment,
            capture_output=True,
            check=True,
        )
        payloads = json.loads(listed.stdout)["payloads"]
        assert [payload["status"] for payload in payloads] == ["ok"] * 50
    spans = sorted(span for one in measured for span in samples_of(stack, rows[one]["id"]))
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    logs = [stack.server_log, *stack.folder.glob("worker-*.log")]
    assert len(logs) == 3
    assert not [line for log in logs for line in log.read_text().splitlines() if _OF_LOCKS.search(line)]


def samples_of(stack: Stack, run_id: int) -> list[tuple[datetime, datetime]]:
    """When each was taken: Prefect's limit lets two workers through that ask at once, the host's lock does not."""
    listed = subprocess.run(
        [BIN / "threadmill", "history", "samples", "--run", str(run_id), "--limit", "1000", "--json"],
        env=stack.environment,
        capture_output=True,
        check=True,
    )
    samples = json.loads(listed.stdout)
    assert samples
    begins = [datetime.fromisoformat(one["started_at"]) for one in samples]
    return [(at, at + timedelta(microseconds=one["wall_ns"] / 1000)) for at, one in zip(begins, samples, strict=True)]


def test_cancelled_flow_run_leaves_no_child(stack: Stack) -> None:
    """Cancelled from the command line: its children are gone, Prefect and the record say cancelled."""
    flow_run = start_hanging(stack)
    cancel = [str(BIN / "prefect"), "flow-run", "cancel", flow_run]
    subprocess.run(cancel, env=stack.environment, check=True, capture_output=True)
    wait_until(lambda: not any(map(alive, children_of(stack.slow))), "a child is left", PATIENCE_S)
    wait_until(lambda: stack.state(flow_run) == "CANCELLED", "not cancelled", PATIENCE_S)
    wait_until(lambda: stack.recorded()[flow_run]["status"] == "cancelled", "its row does not say so", PATIENCE_S)


def test_killed_flow_run_is_crashed_for_both(stack: Stack) -> None:
    """After `kill -9` its children are gone, the worker reports a crash, and the next run closes its row."""
    flow_run = start_hanging(stack)
    os.kill(process_of(flow_run), signal.SIGKILL)
    wait_until(lambda: not any(map(alive, children_of(stack.slow))), "a child is left", PATIENCE_S)
    wait_until(lambda: stack.state(flow_run) == "CRASHED", "not crashed", PATIENCE_S)
    following = stack.run("encrypt-payloads", "payloads", size_bytes=100, count=1)
    wait_for_end(stack, following)
    rows = stack.recorded()
    assert (rows[flow_run]["status"], rows[following]["status"]) == ("crashed", "completed")


def start_hanging(stack: Stack) -> str:
    """A flow run whose chains never end; disarmed for those that come after."""
    (stack.slow / "pids").unlink(missing_ok=True)
    (stack.slow / "armed").touch()
    flow_run = stack.run("encrypt-payloads", "payloads", size_bytes=1 << 21, count=4, backends=["openssl"])
    wait_until(lambda: children_of(stack.slow), "no child was started", PATIENCE_S)
    (stack.slow / "armed").unlink()
    return flow_run


def process_of(flow_run: str) -> int:
    """The process that runs it: Prefect tells it by its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        named = {b"PREFECT__FLOW_RUN_ID=" + flow_run.encode(), b"PREFECT_FLOW_RUN_ID=" + flow_run.encode()}
        if named & set(environment) and b"prefect" in command:
            return int(folder.name)
    pytest.fail("the flow run has no process")


def wait_for_end(stack: Stack, *flow_runs: str) -> None:
    """Until none is planned or running."""
    deadline = time.monotonic() + PATIENCE_S
    while {"SCHEDULED", "PENDING", "RUNNING"} & (states := {stack.state(one) for one in flow_runs}):
        assert time.monotonic() < deadline, states
        time.sleep(1)
