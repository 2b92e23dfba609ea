"""The flows on a real Prefect server, and on the embedded one."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Command, read_json
from tests.support.prefect_api import Ask

ROOT = Path(__file__).parents[2]


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


def flow_run_of(ask: Ask, flow_run_id: str) -> dict[str, Any]:
    (found,) = ask("flow_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}})
    assert isinstance(found, dict)
    return found


def task_runs_of(ask: Ask, flow_run_id: str, last: str = "report") -> list[dict[str, Any]]:
    """All task runs, once `last` has ended: the server writes them some seconds later."""

    def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask("task_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}})
        return found

    def whole(rows: list[dict[str, Any]]) -> bool:
        return last in {row["name"] for row in rows} and all(row["end_time"] for row in rows)

    rows: list[dict[str, Any]] = _poll(read, whole)
    return rows


def edges(rows: list[dict[str, Any]]) -> dict[str, set[str]]:
    """What each task run waits for, however it says so: what the UI's graph draws."""
    names = {row["id"]: row["name"] for row in rows}
    return {
        row["name"]: {names[one["id"]] for given in row["task_inputs"].values() for one in given if "id" in one}
        for row in rows
    }


def log_of(ask: Ask, flow_run_id: str, last: str = "Finished in state") -> list[str]:
    """The lines of the run's log with their levels, in order, once `last` is there."""

    def read() -> list[dict[str, Any]]:
        which = {"flow_run_id": {"any_": [flow_run_id]}}
        found: list[dict[str, Any]] = ask("logs/filter", logs=which, sort="TIMESTAMP_ASC", limit=200)
        return found

    lines = _poll(
        read, lambda lines: any(line["message"].startswith(last) and not line["task_run_id"] for line in lines)
    )
    return [f"{line['level']} {line['message']}" for line in lines]


def artifacts_of(ask: Ask, flow_run_id: str) -> dict[str, dict[str, Any]]:
    found = ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run_id]}})
    return {artifact["key"]: artifact for artifact in found}


def test_run_explains_itself_to_prefect(
    threadmill: Command, on_server: dict[str, str], key_file: Path, tree: Path, ask: Ask
) -> None:
    """Names, state, edges, log lines and artifacts say what was done; the secret is nowhere."""
    recorded = read_json(threadmill("encrypt", str(tree), "--suite", "modern,cbc", "--json"))
    run = recorded["run"]
    flow_run = flow_run_of(ask, run["flow_run_id"])
    assert re.fullmatch(r"encrypt-files documents \d{4}-\d\d-\d\dT\d\d:\d\d", flow_run["name"])
    assert flow_run["state"]["type"] == "COMPLETED"
    assert flow_run["state"]["message"] == "10 ok, 2 skipped"

    rows = task_runs_of(ask, run["flow_run_id"])
    drawn = edges(rows)
    batches = {name for name in drawn if name.startswith("encrypt batch")}
    assert drawn == (
        {"plan": set(), "report": {name for name in drawn if name.startswith("record batch")}}
        | {name: {"plan"} for name in batches}
        | {name.partition(":")[0].replace("encrypt", "record"): {name} for name in batches}
    )
    assert all(row["state_type"] == "COMPLETED" and row["name"].isascii() for row in rows)

    artifacts = artifacts_of(ask, run["flow_run_id"])
    assert {key: one["type"] for key, one in artifacts.items()} == {
        "encrypt-files-payloads": "table",
        "encrypt-files-report": "markdown",
    }
    table = json.loads(artifacts["encrypt-files-payloads"]["data"])
    assert {row["status"] for row in table} == {"ok", "skipped"}
    assert f"`threadmill history show {run['id']} --limit 12`" in artifacts["encrypt-files-payloads"]["description"]
    report = artifacts["encrypt-files-report"]
    assert "| cbc | aes-256-cbc → sha256 |" in report["data"]
    assert "Nothing is measured" not in report["data"]
    assert f"`threadmill report --run {run['id']}`. Ledger's head: `{recorded['head']}`" in report["description"]

    lines = log_of(ask, run["flow_run_id"])
    assert any(re.match(r"20 batch 0 \(modern on \w+\): .*ok.* of 12 payloads, .* a second, ", line) for line in lines)
    (last,) = [line for line in lines if f"20 run {run['id']} done after" in line and "10 ok, 2 skipped" in line]
    assert last.endswith(f"Ledger's head: {recorded['head']}")
    assert [line for line in lines if "Finished in state" in line] == lines[-1:]
    secret = key_file.read_text().strip()
    assert secret not in json.dumps([flow_run, rows, artifacts, lines])


def test_a_renamed_flow_has_artifacts_under_the_usual_keys(
    threadmill: Command, on_server: dict[str, str], ask: Ask
) -> None:
    """A user may give a flow any name, and not every name is a key that Prefect takes."""
    program = (
        "from flows.encryption import encrypt_payloads\n"
        "encrypt_payloads.with_options(name='Nightly: Load_1')(size_bytes=10, count=2, backends=('native',))"
    )
    ended = python(program, on_server)
    assert ended.returncode == 0, ended.stderr
    (run,) = read_json(threadmill("history", "runs", "--json"))
    assert run["flow"] == "encrypt_payloads"
    assert artifacts_of(ask, run["flow_run_id"]).keys() == {"encrypt-payloads-payloads", "encrypt-payloads-report"}


def test_next_run_is_the_next_version_of_its_artifacts(
    threadmill: Command, on_server: dict[str, str], key_file: Path, tmp_path: Path, ask: Ask
) -> None:
    """Keys are the flow's; and no name of a file becomes a link, an image or markup in what is shown."""
    for name in ("__init__.py", "![i](www.a.example)", "me@a.example"):
        (tmp_path / name).write_bytes(b"x")
    names = sorted(str(path) for path in tmp_path.iterdir() if path.name != "key" and path.is_file())
    ids = [read_json(threadmill("encrypt", *names, "--json"))["run"]["flow_run_id"] for _ in range(2)]
    for key in ("encrypt-files-payloads", "encrypt-files-report"):
        versions = ask("artifacts/filter", artifacts={"key": {"any_": [key]}}, sort="UPDATED_DESC")
        assert [version["flow_run_id"] for version in versions[:2]] == ids[::-1]
        (latest,) = ask("artifacts/latest/filter", artifacts={"key": {"any_": [key]}})
        assert latest["flow_run_id"] == ids[1]
    shown = [row["payload"] for row in json.loads(artifacts_of(ask, ids[1])["encrypt-files-payloads"]["data"])]
    # One of Prefect's UIs takes a cell for markdown, in which what is indented is code.
    assert shown == [f"    {name}" for name in names]


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
    flow_run_id = detail["run"]["flow_run_id"]
    state = flow_run_of(ask, flow_run_id)["state"]
    assert state["type"] == "FAILED"
    assert "large" in state["message"]
    assert "8 MiB" in state["message"]
    table = json.loads(artifacts_of(ask, flow_run_id)["encrypt-files-payloads"]["data"])
    assert [row["status"] for row in table] == ["failed", "ok"]
    lines = log_of(ask, flow_run_id)
    assert any(line.startswith("30 ") and "large failed: " in line for line in lines)
    assert any(line.startswith(f"40 run {detail['run']['id']} FAILED") for line in lines)


def test_refused_request_is_exit_code_2(
    threadmill: Command, on_server: dict[str, str], environment: dict[str, str], home: Path, ask: Ask
) -> None:
    """What the flow finds out, the command says: one line, no row; and so does the run's log, without a traceback."""
    environment["THREADMILL_OPENSSL"] = "no-such-openssl"
    result = threadmill("encrypt", "--random", "1x1", "--backend", "openssl")
    assert result.returncode == 2
    assert "no program no-such-openssl" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    refused = {"state": {"name": {"any_": ["Refused"]}}}
    flow_run_id = ask("flow_runs/filter", flow_runs=refused, sort="START_TIME_DESC", limit=1)[0]["id"]
    (plan,) = task_runs_of(ask, flow_run_id, "plan")
    assert (plan["state_type"], plan["state_name"]) == ("FAILED", "Refused")
    lines = log_of(ask, flow_run_id)
    assert any(line.startswith("40 refused") and "no program no-such-openssl" in line for line in lines)
    assert not [line for line in lines if "Traceback" in line or "NoneType" in line]
    assert artifacts_of(ask, flow_run_id) == {}


def test_unreachable_server_is_exit_code_2(threadmill: Command, environment: dict[str, str], home: Path) -> None:
    """A server that the user has set and that does not answer is not quietly replaced by another."""
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    result = threadmill("encrypt", "--random", "1x1")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "PREFECT_API_URL=http://127.0.0.1:9/api cannot be reached" in result.stderr
    assert not (home / "history.sqlite").exists()


@pytest.mark.parametrize("command", [("encrypt", "--random", "1x1"), ("status",), ("serve",)], ids=lambda one: one[0])
def test_a_password_in_the_address_is_not_shown(
    threadmill: Command, environment: dict[str, str], command: tuple[str, ...]
) -> None:
    """Nor is it sent: an address goes into logs, and Python's client takes it for a port."""
    environment["PREFECT_API_URL"] = "http://user:password-of-mine@127.0.0.1:9/api"
    result = threadmill(*command)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "password-of-mine" not in result.stdout + result.stderr


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


def test_rounds_follow_each_other_and_progress_is_shown(
    threadmill: Command, on_server: dict[str, str], ask: Ask
) -> None:
    """A run of some seconds has a progress artifact, at 100 at the end; its findings are a table and a report."""
    # Five waits of a tenth of a second in each round: it lasts for longer than the 5 s after which there is a progress
    # artifact, however fast the host is.
    waits = ("speedup", "--workload", "wait", "--executor", "serial,thread", "--rounds", "8")
    run = read_json(threadmill("experiment", *waits, "--json"))["run"]
    flow_run_id = run["flow_run_id"]
    assert re.fullmatch(r"run-experiments speedup \d{4}-\d\d-\d\dT\d\d:\d\d", flow_run_of(ask, flow_run_id)["name"])
    assert edges(task_runs_of(ask, flow_run_id)) == (
        {"plan": set(), "measure round 0": {"plan"}, "report": {"record round 7"}}
        | {f"measure round {number}": {f"record round {number - 1}"} for number in range(1, 8)}
        | {f"record round {number}": {f"measure round {number}"} for number in range(8)}
    )
    artifacts = artifacts_of(ask, flow_run_id)
    assert {key.removeprefix("run-experiments-"): one["type"] for key, one in artifacts.items()} == {
        "progress": "progress",
        "samples": "table",
        "speedups": "table",
        "report": "markdown",
    }
    progress = artifacts["run-experiments-progress"]
    assert (progress["data"], progress["description"]) == (100, "32 of 32 samples")
    assert progress["task_run_id"] is None
    assert progress["created"] < progress["updated"]
    rows = json.loads(artifacts["run-experiments-speedups"]["data"])
    findings = {row["executor"]: row for row in rows}
    assert [(row["workload"], row["executor"]) for row in rows] == [("wait", "serial"), ("wait", "thread")]
    # As the terminal says it.
    (row,) = read_json(threadmill("history", "speedup", "--run", str(run["id"]), "--executor", "thread", "--json"))
    expected = None if row["speedup"] is None else f"{row['speedup']:.2f}×"
    assert (findings["thread"]["speed-up"], findings["thread"]["workers"]) == (expected, row["workers"])
    assert f"`threadmill history show {run['id']}`" in artifacts["run-experiments-speedups"]["description"]
    report = artifacts["run-experiments-report"]["data"]
    assert "| wait |" in report or "Workload wait" in report
    assert "](data:image/png;base64,iVBOR" in report or "matplotlib is not installed" in report
    assert not re.search(r"\]\((?!data:)|https?:|<[a-z]", report)
    lines = log_of(ask, flow_run_id)
    assert any(re.match(r"20 round 1 of 8: \d+ ok.*; about .* to go", line) for line in lines)


def test_broken_guard_is_a_failed_flow_run(
    threadmill: Command, on_server: dict[str, str], tmp_path: Path, ask: Ask
) -> None:
    """After everything is recorded the state names the case; log, findings and exit code say the same."""
    wrapper = tmp_path / "python"
    # It answers for itself, so that it measures too, and then tells another outcome than there was.
    edits = f"""-e 's#"executable": "[^"]*"#"executable": "{wrapper}"#' -e '/"2500000"/s/"ok"/"broken"/'"""
    wrapper.write_text(f'#!/bin/sh\n{sys.executable} "$@" | sed {edits}\n')
    wrapper.chmod(0o755)
    race = ("race", "--guard", "shard", "--rounds", "1", "--quick", "--python", str(wrapper))
    result = threadmill("experiment", *race, "--json")
    assert result.returncode == 1, result.stderr
    detail = read_json(result)
    assert {sample["outcome"] for sample in detail["samples"]} == {"ok", "broken"}
    flow_run_id = detail["run"]["flow_run_id"]
    state = flow_run_of(ask, flow_run_id)["state"]
    assert state["type"] == "FAILED"
    assert "race/shard/5x500000 on " in state["message"]
    assert any(line.startswith("30 race/shard/5x500000 on ") for line in log_of(ask, flow_run_id))
    artifacts = artifacts_of(ask, flow_run_id)
    (finding,) = json.loads(artifacts["run-experiments-races"]["data"])
    assert finding["verdict"].startswith("FAILED: ")
    assert json.loads(artifacts["run-experiments-samples"]["data"])[0]["outcome"] == "broken"


@pytest.fixture
def no_artifacts(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The server takes everything but artifacts."""
    path = tmp_path_factory.getbasetemp() / "prefect0" / "prefect.db"
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
        database.execute("CREATE TRIGGER refused BEFORE INSERT ON artifact BEGIN SELECT RAISE(ABORT, 'refused'); END")
        try:
            yield
        finally:
            database.execute("DROP TRIGGER refused")


@pytest.mark.usefixtures("no_artifacts")
def test_run_does_not_depend_on_its_artifacts(threadmill: Command, on_server: dict[str, str], ask: Ask) -> None:
    """Where Prefect takes none, the work is done and recorded all the same, and the log says once what is missing."""
    waits = ("speedup", "--workload", "wait", "--executor", "serial", "--rounds", "7")
    result = threadmill("experiment", *waits, "--json")
    assert result.returncode == 0, result.stderr
    flow_run_id = read_json(result)["run"]["flow_run_id"]
    assert flow_run_of(ask, flow_run_id)["state"]["type"] == "COMPLETED"
    lines = log_of(ask, flow_run_id)
    assert len([line for line in lines if line.startswith("30 the progress is not shown any more")]) == 1
    assert len([line for line in lines if line.startswith("30 the artifacts of this run are not complete")]) == 1


@pytest.mark.slow
def test_parameters_explain_themselves() -> None:
    """Each one has a description, numbers have bounds in it and in the form, names are a choice."""
    program = """
import json
from prefect.utilities.callables import parameter_schema
from flows.encryption import encrypt_files, encrypt_payloads
from flows.experiments import run_experiments
flows = (encrypt_files, encrypt_payloads, run_experiments)
print(json.dumps({flow.name: parameter_schema(flow).model_dump() for flow in flows}))
"""
    ended = python(program, dict(os.environ))
    schemas = json.loads(ended.stdout)
    free = {"paths", "pythons", "seed", "exclude", "may_change", "resume"}
    for flow, schema in schemas.items():
        for name, parameter in schema["properties"].items():
            assert parameter["description"], (flow, name)
            kinds = [parameter, parameter.get("items", {}), *parameter.get("anyOf", ())]
            kinds = [schema["definitions"][kind["$ref"].split("/")[-1]] if "$ref" in kind else kind for kind in kinds]
            assert name in free or not any(
                kind.get("type") == "string" and not {"enum", "pattern"} & kind.keys() for kind in kinds
            )
            for kind in kinds:
                if kind.get("type") == "integer" and name not in free:
                    assert {"minimum", "maximum"} <= kind.keys(), (flow, name)
                    assert re.search(r"1 to \d|at most \d", parameter["description"]), (flow, name)
    assert schemas["encrypt-files"]["properties"]["suites"]["minItems"] == 1


def test_survey_shows_the_chapter_and_leaves_no_server(
    threadmill: Command, environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """The main job starts a server of its own, shows items 52 to 54, and its files are in THREADMILL_HOME alone."""
    environment["HOME"] = str(tmp_path / "user")
    result = threadmill("survey", "--via", "prefect")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    assert (home / "prefect" / "prefect.db").exists()
    assert not (tmp_path / "user" / ".prefect").exists()
    servers = subprocess.run(["pgrep", "-f", str(home)], capture_output=True, text=True, check=False)
    assert servers.stdout == ""

    lines = [line for line in result.stdout.splitlines() if "→" in line and line.startswith("│")]
    assert sum("classic (legacy)" in line for line in lines) == 3
    assert sum("modern" in line for line in lines) == 3
    assert all("b'" in line or 'b"' in line for line in lines)
    assert "unlocked augmented (self.count += offset)" in result.stdout
    assert "lock around augmented: no update lost" in result.stdout
    assert "recorded as run 1" in result.stdout
    assert "history show 1" in result.stdout


@pytest.mark.slow
def test_prefect_in_this_environment_can_serve() -> None:
    """The pinned set imports: with a newer FastAPI every import of the server fails."""
    ended = python("import prefect.server.api.server", dict(os.environ))
    assert ended.returncode == 0, ended.stderr


def _poll(read: Callable[[], Any], good: Callable[[Any], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not good(found := read()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.5)
    return found
