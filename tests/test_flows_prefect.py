"""The flows on a real Prefect server, and on the embedded one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BIN, Command, read_json

ROOT = Path(__file__).parent.parent

Ask = Callable[..., Any]


@pytest.fixture
def ask(prefect_server: str) -> Ask:
    """Post to the server's API, as the UI does."""

    def post(path: str, **body: Any) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{prefect_server}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own loopback address
            return json.load(answer)

    return post


@pytest.fixture
def on_server(environment: dict[str, str], prefect_server: str, tmp_path: Path) -> dict[str, str]:
    """The commands of the test find the server, by the variable that Prefect's users set."""
    environment["PREFECT_API_URL"] = prefect_server
    environment["HOME"] = str(tmp_path)
    return environment


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "documents"
    root.mkdir()
    for number in range(5):
        (root / f"{number}.txt").write_bytes(b"x" * number * 1000)
    os.mkfifo(root / "fifo")
    return root


def python(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def stable(payload: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on the way a payload was run."""
    drawn = ("salt", "digest", "wall_ns", "started_at", "stages", "run_id")
    stages = [(stage["program"], stage["exit_code"]) for stage in payload["stages"]]
    return {name: value for name, value in payload.items() if name not in drawn} | {"stages": stages}


def test_both_ways_record_the_same_rows(
    threadmill: Command, on_server: dict[str, str], key_file: Path, tree: Path
) -> None:
    """A run by Prefect and a direct one differ in the run's row alone; the server that is set is the default."""
    by_prefect = read_json(threadmill("encrypt", str(tree), "--suite", "modern,cbc", "--json"))
    direct = read_json(threadmill("encrypt", str(tree), "--suite", "modern,cbc", "--json", "--via", "direct"))
    assert (by_prefect["run"]["via"], direct["run"]["via"]) == ("prefect", "direct")
    assert by_prefect["run"]["flow_run_id"]
    assert by_prefect["run"]["flow"] == direct["run"]["flow"]
    assert by_prefect["run"]["parameters"] == direct["run"]["parameters"]
    assert list(map(stable, by_prefect["payloads"])) == list(map(stable, direct["payloads"]))
    assert len(direct["payloads"]) == 12


def test_run_explains_itself_to_prefect(
    threadmill: Command, on_server: dict[str, str], key_file: Path, tree: Path, ask: Ask
) -> None:
    """Names, state, edges, log lines and the table artifact say what was done; the secret is nowhere."""
    run = read_json(threadmill("encrypt", str(tree), "--json"))["run"]
    (flow_run,) = ask("flow_runs/filter", flow_runs={"id": {"any_": [run["flow_run_id"]]}})
    assert flow_run["name"].startswith("encrypt-files documents ")
    assert flow_run["state"]["type"] == "COMPLETED"
    assert flow_run["state"]["message"] == "5 ok, 1 skipped"

    def task_runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask("task_runs/filter", flow_runs={"id": {"any_": [run["flow_run_id"]]}})
        return found

    # The server writes task runs and log lines some seconds later.
    rows = _poll(task_runs, lambda rows: rows and all(row["state_type"] == "COMPLETED" for row in rows))
    assert {row["name"].split(" batch ")[0] for row in rows} == {"encrypt", "record"}
    recording = [row for row in rows if row["name"].startswith("record")]
    assert all(row["task_inputs"]["encryptions"] for row in recording)

    (artifact,) = ask(
        "artifacts/filter", artifacts={"flow_run_id": {"any_": [run["flow_run_id"]]}, "key": {"any_": ["payloads"]}}
    )
    table = json.loads(artifact["data"])
    assert {row["status"] for row in table} == {"ok", "skipped"}

    def log_lines() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask("logs/filter", logs={"flow_run_id": {"any_": [run["flow_run_id"]]}})
        return found

    lines = _poll(log_lines, lambda lines: any("batch 0:" in line["message"] for line in lines))
    secret = key_file.read_text().strip()
    assert secret not in json.dumps([flow_run, rows, artifact, lines])


def test_failed_payload_is_a_failed_flow_run(
    threadmill: Command, on_server: dict[str, str], key_file: Path, tmp_path: Path, ask: Ask
) -> None:
    """The state's message names the payload and the reason; everything else is recorded."""
    (tmp_path / "large").write_bytes(b"l" * ((8 << 20) + 1))
    (tmp_path / "small").write_bytes(b"s")
    result = threadmill("encrypt", "large", "small", "--suite", "classic", "--json")
    assert result.returncode == 1, result.stderr
    detail = read_json(result)
    assert [payload["status"] for payload in detail["payloads"]] == ["failed", "ok"]
    (flow_run,) = ask("flow_runs/filter", flow_runs={"id": {"any_": [detail["run"]["flow_run_id"]]}})
    assert flow_run["state"]["type"] == "FAILED"
    assert "large" in flow_run["state"]["message"]
    assert "8 MiB" in flow_run["state"]["message"]


def test_refused_request_is_exit_code_2(
    threadmill: Command, on_server: dict[str, str], environment: dict[str, str], home: Path
) -> None:
    """What the flow finds out, the command says: one line, no row."""
    environment["THREADMILL_OPENSSL"] = "no-such-openssl"
    result = threadmill("encrypt", "--random", "1x1", "--backend", "openssl")
    assert result.returncode == 2
    assert "no program no-such-openssl" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_unreachable_server_is_exit_code_2(threadmill: Command, environment: dict[str, str], home: Path) -> None:
    """A server that the user has set and that does not answer is not quietly replaced by another."""
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    result = threadmill("encrypt", "--random", "1x1")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "PREFECT_API_URL=http://127.0.0.1:9/api cannot be reached" in result.stderr
    assert not (home / "history.sqlite").exists()


def test_restarted_flow_run_does_only_what_is_left(
    threadmill: Command, on_server: dict[str, str], key_file: Path, tmp_path: Path
) -> None:
    """A retry from the UI is a second attempt of the same flow run: no payload is recorded twice as good."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"a")
    (tmp_path / "files" / "b").write_bytes(b"b" * ((8 << 20) + 1))
    program = f"""
from pathlib import Path
from flows.encryption import encrypt_files
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

parameters = {{"paths": [{str(tmp_path / "files")!r}], "suites": ["classic"]}}
first = encrypt_files(**parameters, return_state=True)
Path({str(tmp_path / "files" / "b")!r}).write_bytes(b"b")
flow_run_id = first.state_details.flow_run_id
with get_client(sync_client=True) as client:
    client.set_flow_run_state(flow_run_id, AwaitingRetry(), force=True)
    flow_run = client.read_flow_run(flow_run_id)
whole = encrypt_files.validate_parameters(parameters)
second = run_flow(encrypt_files, flow_run=flow_run, parameters=whole, return_type="state")
print(first.type.value, second.type.value)
"""
    ended = python(program, on_server)
    assert ended.stdout.split() == ["FAILED", "COMPLETED"], ended.stderr
    runs = read_json(threadmill("history", "runs", "--json"))
    assert [(run["attempt"], run["status"]) for run in runs] == [(2, "completed"), (1, "failed")]
    assert runs[0]["flow_run_id"] == runs[1]["flow_run_id"]
    rows = read_json(threadmill("history", "payloads", "--json"))
    assert [(os.path.basename(row["name"]), row["status"]) for row in rows] == [
        ("b", "ok"),
        ("b", "failed"),
        ("a", "ok"),
    ]


def test_flow_called_from_python(on_server: dict[str, str], threadmill: Command) -> None:
    """A user's own program calls the flow like any other; bad parameters do not validate."""
    program = """
from flows.encryption import encrypt_payloads
print(encrypt_payloads(size_bytes=10, count=2, suites=["chacha"], return_state=True).type.value)
try:
    encrypt_payloads(count=0)
except Exception as error:
    print(type(error).__name__)
"""
    ended = python(program, on_server)
    assert ended.stdout.split() == ["COMPLETED", "ParameterTypeError"], ended.stderr
    (run,) = read_json(threadmill("history", "runs", "--json"))
    assert (run["flow"], run["via"], run["deployment"]) == ("encrypt_payloads", "prefect", None)


def test_deployments_are_scheduled(on_server: dict[str, str], ask: Ask) -> None:
    """`prefect deploy --all` works unattended, and the server creates runs for the active schedules.

    With SQLAlchemy 2.1 everything looks right and no run is ever created, hence the second half.
    """
    pool = ["work-pool", "create", "threadmill", "--type", "process"]
    subprocess.run([BIN / "prefect", "--no-prompt", *pool], env=on_server, cwd=ROOT, check=True, capture_output=True)
    subprocess.run(
        [BIN / "prefect", "--no-prompt", "deploy", "--all"], env=on_server, cwd=ROOT, check=True, capture_output=True
    )
    names = {deployment["name"]: deployment["id"] for deployment in ask("deployments/filter")}
    assert {"survey", "encrypt-payloads", "encrypt-files"} <= names.keys()

    def scheduled() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})
        return found

    runs = _poll(scheduled, lambda runs: {names["survey"], names["encrypt-payloads"]} <= _deployments(runs))
    assert names["encrypt-files"] not in _deployments(runs)


def test_embedded_server_needs_nothing_and_leaves_nothing(
    threadmill: Command, environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """`survey --via prefect` starts a server of its own, and its files are in THREADMILL_HOME alone."""
    environment["HOME"] = str(tmp_path / "user")
    result = threadmill("survey", "--via", "prefect")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    assert (home / "prefect" / "prefect.db").exists()
    assert not (tmp_path / "user" / ".prefect").exists()
    servers = subprocess.run(["pgrep", "-f", str(home)], capture_output=True, text=True, check=False)
    assert servers.stdout == ""


def test_prefect_in_this_environment_can_serve() -> None:
    """The pinned set imports: with a newer FastAPI every import of the server fails."""
    ended = python("import prefect.server.api.server", dict(os.environ))
    assert ended.returncode == 0, ended.stderr


def _deployments(runs: list[dict[str, Any]]) -> set[str]:
    return {run["deployment_id"] for run in runs}


def _poll(read: Callable[[], Any], good: Callable[[Any], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not good(found := read()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.5)
    return found
