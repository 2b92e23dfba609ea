"""What Prefect adds to the job: the same payloads through the flow and directly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from benchmarks.rounds import ratio, show

BIN = Path(sys.executable).parent
PORT = 4287


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


def job_seconds(via: str, environment: dict[str, str], backend: str) -> float:
    """From the run's first row to its last: start-up, and the flow run's own start and end, aside."""
    command = [
        str(BIN / "threadmill"),
        "encrypt",
        "--random",
        "4KiBx1000",
        "--backend",
        backend,
        "--via",
        via,
        "--json",
    ]
    ended = subprocess.run(command, env=environment, capture_output=True, check=True)
    run = json.loads(ended.stdout)["run"]
    span = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
    return span.total_seconds()


def main(folder: Path) -> None:
    """1,000 payloads of 4 KiB with the openssl backend."""
    with server(folder) as api:
        environment = os.environ | {"THREADMILL_HOME": str(folder / "home"), "PREFECT_API_URL": api}
        seconds: dict[str, list[float]] = {"direct": [], "prefect": []}
        for _ in range(5):
            for via, values in seconds.items():
                values.append(job_seconds(via, environment, "openssl"))
    show("1,000 random payloads of 4 KiB, backend openssl: the job, start-up aside", seconds)
    share = ratio(seconds, "direct", "prefect")
    print(f"  through Prefect: {share:.2f} times the direct job (target: at most 1.3)")
