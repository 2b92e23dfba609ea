"""Prefect's share: the same payloads through the flow and directly."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.rounds import ratio, show

BIN = Path(sys.executable).parent
PORT = 4287
FILES = 10_000
FILE_BYTES = 64 << 10


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A Prefect server with a database of its own; its API's URL."""
    environment = os.environ | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "DO_NOT_TRACK": "1",
    }
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(PORT)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.5)
        yield f"http://127.0.0.1:{PORT}/api"
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Timed:
    """One run: the job's seconds from its first row to its last, and what Prefect says of the flow run around it."""

    job_s: float
    flow_s: float
    task_runs: int


def timed(via: str, what: list[str], environment: dict[str, str]) -> Timed:
    """Run the command; the start of the interpreter is in none of the figures."""
    command = [str(BIN / "threadmill"), "encrypt", *what, "--via", via, "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, check=True)
    run = json.loads(ended.stdout)["run"]
    span = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
    if run["flow_run_id"] is None:
        return Timed(span.total_seconds(), 0, 0)
    api, flow_run_id = environment["PREFECT_API_URL"], run["flow_run_id"]
    flow_run = ask(f"{api}/flow_runs/{flow_run_id}")
    task_runs = ask(f"{api}/task_runs/count", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
    return Timed(span.total_seconds(), flow_run["total_run_time"], task_runs)


def ask(url: str, body: object = None) -> Any:
    """What the server's API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own loopback
        return json.load(answer)


def compare(title: str, what: list[str], environment: dict[str, str], rounds: int) -> float:
    """The same job directly and through Prefect, taking turns; how many times as long it takes through Prefect."""
    runs: dict[str, list[Timed]] = {"direct": [], "prefect": []}
    for number in range(rounds):
        for via in ("direct", "prefect") if number % 2 else ("prefect", "direct"):
            runs[via].append(timed(via, what, environment))
    seconds = {via: [one.job_s for one in own] for via, own in runs.items()}
    show(f"{title}: the job, start-up aside", seconds)
    pairs = list(zip(runs["direct"], runs["prefect"], strict=True))
    per_task = statistics.median((flow.job_s - direct.job_s) / flow.task_runs for direct, flow in pairs)
    around = statistics.median(flow.flow_s - flow.job_s for _, flow in pairs)
    share = statistics.median((flow.flow_s - direct.job_s) / flow.flow_s for direct, flow in pairs)
    print(f"  Prefect's: {per_task * 1e3:.1f} ms per task run ({runs['prefect'][0].task_runs} of them),")
    print(f"  {around:.2f} s per flow run around the job; {share:.1%} of the flow run's time in all")
    return ratio(seconds, "direct", "prefect")


def main(folder: Path) -> None:
    """Many small payloads, and many files."""
    files = folder / "files"
    files.mkdir()
    for number in range(FILES):
        (files / f"{number:05d}").write_bytes(os.urandom(FILE_BYTES))
    with server(folder) as api:
        environment = os.environ | {"THREADMILL_HOME": str(folder / "home"), "PREFECT_API_URL": api}
        environment["THREADMILL_KEY_FILE"] = str(folder / "key")
        subprocess.run([BIN / "threadmill", "keygen", folder / "key"], check=True, capture_output=True)
        small = ["--random", "4KiBx1000", "--backend", "openssl"]
        share = compare("1,000 random payloads of 4 KiB, backend openssl", small, environment, 5)
        print(f"  through Prefect: {share:.2f} times the direct job (target: at most 1.3)")
        for backend in ("openssl", "native"):
            title = f"{FILES:,} files of {FILE_BYTES >> 10} KiB, backend {backend}"
            compare(title, [str(files), "--backend", backend], environment, 3)
    print("  (target: under 5 % of the flow run's time for the openssl backend)")
