"""`threadmill serve` as a user starts it: it schedules, explains what it cannot do, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.serving import server
from tests.support.account import open_to_others
from tests.support.commands import BIN, clean_environment, read_json
from tests.support.processes import read_proc, wait_until
from tests.support.served import GONE_S, PATIENCE_S, Served, processes
from tests.support.tracing import outside, tracing

ROOT = Path(__file__).parents[2]
AUTH = "user:a-string-that-must-not-show"
MORE_DEPLOYMENTS = """\
name: tests
deployments:
  - name: often
    entrypoint: flows.encryption.encrypt_payloads
    work_pool: {name: threadmill}
    parameters: {size_bytes: 100, count: 3}
    schedules: [{slug: often, interval: 5, active: false}]
  - name: lost
    entrypoint: flows.encryption.encrypt_payloads
    tags: [threadmill]
    work_pool: {name: lost, job_variables: {env: {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"}}}
    # More than anybody waits for.
    parameters: {size_bytes: 4194304, count: 100000}
"""


def _new(folder: Path, **more: str) -> Served:
    """One with a home of its own, not started yet."""
    return Served(clean_environment() | {"THREADMILL_HOME": str(folder / "home")} | more, folder)


def _child(serve: Served, *words: str) -> int:
    """The process among its own whose command line has these words."""
    wanted = "\0".join(words).encode()
    (pid,) = (pid for pid in serve.processes() if wanted in read_proc(pid, "cmdline"))
    return pid


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that the tests share."""
    # Prefect looks once a minute, which a test need not wait for.
    often = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_INTERVAL_SECONDS": "5"}
    serve = _new(tmp_path_factory.mktemp("served"), **often)
    try:
        serve.start()
        yield serve
        assert serve.end() == 0
        assert serve.processes() == []
    finally:
        serve.clean_up()


@pytest.fixture(scope="module")
def more_deployments(served: Served, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a user has beside ours: one that is due every few seconds, and one on a pool of its own."""
    folder = tmp_path_factory.mktemp("more")
    (folder / "prefect.yaml").write_text(MORE_DEPLOYMENTS)
    _prefect(served, folder, "work-pool", "create", "lost", "--type", "process")
    _prefect(served, folder, "deploy", "--all")


def _prefect(serve: Served, folder: Path, *arguments: str) -> None:
    subprocess.run(
        [BIN / "prefect", "--no-prompt", *arguments], env=_client(serve), cwd=folder, check=True, capture_output=True
    )


def _client(serve: Served) -> dict[str, str]:
    return {
        **serve.environment,
        "PREFECT_API_URL": f"{serve.url}/api",
        "PREFECT_HOME": str(serve.home / "prefect"),
    }


@pytest.fixture(scope="module")
def lost_run(served: Served, more_deployments: None) -> tuple[str, float]:
    """A flow run that was killed together with its worker, some time before it is looked at; and when."""
    command = [str(BIN / "prefect"), "worker", "start", "--pool", "lost", "--name", "lost"]
    worker = subprocess.Popen(
        command,
        env=_client(served),
        cwd=served.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        flow_run = served.run("lost")
        wait_until(lambda: served.row(flow_run), "not on record", PATIENCE_S)
    finally:
        worker.kill()
        worker.wait()
    mark = f"PREFECT__FLOW_RUN_ID={flow_run}".encode()
    for pid in [pid for pid in processes() if mark in read_proc(pid, "environ").split(b"\0")]:
        os.kill(pid, signal.SIGKILL)
    return flow_run, time.monotonic()


def test_it_says_where_everything_is(served: Served, lost_run: tuple[str, float]) -> None:
    """The UI's address, the record, the logs, and when each deployment runs next; what is paused is called so."""
    assert f"http://127.0.0.1:{served.port}\n" in served.output
    assert str(served.home / "history.sqlite") in served.output
    assert str(served.home / "prefect") in served.output
    for name in ("server.log", "worker.log"):
        assert (served.home / "prefect" / name).exists()
    rows = {line.split("│")[1].strip(): line for line in served.output.splitlines() if "│" in line}
    assert "paused" in rows["encrypt-files"]
    assert all(re.search(r"\d\d\d\d-\d\d-\d\d \d\d:00:00", rows[name]) for name in ("survey", "run-experiments"))


def test_its_files_are_for_their_owner(served: Served, lost_run: tuple[str, float]) -> None:
    """Prefect's database, logs and storage, too; the pages of its UI have the modes of the package."""
    prefect = served.home / "prefect"
    assert (prefect / "prefect.db").exists()
    assert prefect.stat().st_mode & 0o077 == 0
    assert [path for path in open_to_others(served.home) if not path.is_relative_to(prefect / "ui")] == []


def test_every_deployment_is_there(served: Served) -> None:
    """With its schedule, its queue, and paused where it needs a key file."""
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    found = served.deployments()
    for one in declared:
        deployment = found[one["name"]]
        assert deployment["entrypoint"] == one["entrypoint"]
        assert deployment["work_pool_name"] == "threadmill"
        assert deployment["work_queue_name"] == one["work_pool"].get("work_queue_name", "default")
        assert [
            (schedule["slug"], schedule["schedule"]["cron"], schedule["active"]) for schedule in deployment["schedules"]
        ] == [(schedule["slug"], schedule["cron"], schedule.get("active", True)) for schedule in one["schedules"]]
    for name in ("encrypt-files", "verify-vault", "prune-vault"):
        assert [s["active"] for s in found[name]["schedules"]] == [False]
        assert {"THREADMILL_KEY_FILE", "THREADMILL_VAULT"} <= set(re.findall("[A-Z_]{9,}", found[name]["description"]))
    assert found["encrypt-files"]["parameters"] == {}
    measured = {name for name, one in found.items() if one["work_queue_name"] == "measure"}
    assert measured == {"survey", "encrypt-payloads", "run-experiments"}


def test_one_measures_at_a_time(served: Served) -> None:
    """The queue's limit is really set; `prefect deploy` alone would make a queue without one."""
    assert served.ask("work_pools/threadmill/queues/measure")["concurrency_limit"] == 1


def test_schedule_fires(served: Served, more_deployments: None) -> None:
    """A deployment that is due every few seconds runs, and its row knows the flow run and the deployment."""

    def rows() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = read_json(served.threadmill("history", "runs", "--json"))
        return [row for row in listed if row["deployment"] == "often" and row["status"] != "running"]

    often = served.deployments()["often"]
    deployment = f"deployments/{often['id']}"
    served.ask(f"{deployment}/schedules/{often['schedules'][0]['id']}", {"active": True}, method="PATCH")
    wait_until(rows, "nothing ran", PATIENCE_S)
    # So that it takes no CPU from the tests that follow.
    served.ask(deployment, method="DELETE")
    row = rows()[-1]
    assert (row["status"], row["flow"], row["via"]) == ("completed", "encrypt_payloads", "prefect")
    # The row is closed before the flow run has published its report and told the server.
    wait_until(lambda: served.state(row["flow_run_id"]) == "COMPLETED", "not completed", PATIENCE_S)
    detail = read_json(served.threadmill("history", "show", str(row["id"]), "--json"))
    assert [(payload["size_bytes"], payload["status"]) for payload in detail["payloads"]] == [(100, "ok")] * 3
    assert row["flow_run_id"] in {run["flow_run_id"] for run in rows()}


def test_commands_use_its_server(served: Served) -> None:
    """`--via prefect` starts no server of its own on the same files."""
    result = served.threadmill("encrypt", "--random", "100x1", "--via", "prefect", "--json")
    assert result.returncode == 0, result.stderr
    assert "embedded" not in result.stderr
    assert served.state(read_json(result)["run"]["flow_run_id"]) == "COMPLETED"


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        ((), {}, "running already"),
        (("--port", "{port}"), {"THREADMILL_HOME": "{home}/other"}, "taken"),
        ((), {"PREFECT_API_URL": "http://127.0.0.1:{port}/api"}, "PREFECT_API_URL is set"),
        (("--port", "0"), {}, "between 1 and 65535"),
        (("--port", "many"), {}, "port"),
        (("--limit", "0"), {}, "at least 1"),
        (("--no-auth",), {"PREFECT_SERVER_API_AUTH_STRING": "a:b"}, "PREFECT_SERVER_API_AUTH_STRING is set"),
    ],
    ids=["twice", "port taken", "other server", "no port", "not a number", "no limit", "both passwords"],
)
def test_what_it_refuses(served: Served, arguments: tuple[str, ...], variables: dict[str, str], says: str) -> None:
    """One clear line and exit code 2, before anything is started."""

    def fill(text: str) -> str:
        return text.format(port=served.port, home=served.home)

    filled = {name: fill(value) for name, value in variables.items()}
    result = served.threadmill("serve", *map(fill, arguments), **filled)
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr
    assert result.stdout == ""


def test_embedded_server_keeps_it_from_starting(tmp_path: Path) -> None:
    """Two servers on one database file would be one too many."""
    serve = _new(tmp_path / "embedded")
    program = (
        "from flows.serving.server import share\n"
        f"print(share({str(serve.home)!r}), share({str(serve.home)!r}), flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == [b"True", b"True"]
        result = serve.threadmill("serve", "--port", str(serve.port))
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
        assert "--via prefect" in result.stderr


def test_others_find_the_live_one(tmp_path: Path) -> None:
    """By a file that counts only while the lock is held, whatever became of who wrote it."""
    home, live = str(tmp_path / "home"), server.Live("http://127.0.0.1:1", 1)
    assert server.find(home) is None
    with server.hold(home):
        assert server.find(home) is None
        server.announce(home, live)
        assert server.find(home) == live
        assert not server.share(home)
    server.announce(home, live)
    assert server.find(home) is None


@pytest.fixture(scope="module")
def protected(
    served: Served, lost_run: tuple[str, float], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Another one, beside the first, whose API asks for a password that the user has set."""
    folder = tmp_path_factory.mktemp("protected")
    # Relative, as a user writes them.
    settings = {"THREADMILL_KEY_FILE": "key", "THREADMILL_PATHS": "letters:photo", "THREADMILL_VAULT": "vault"}
    serve = _new(folder, PREFECT_SERVER_API_AUTH_STRING=AUTH, **settings)
    (folder / "letters").mkdir()
    for name in ("letters/one", "letters/two", "photo"):
        (folder / name).write_text(name)
    assert serve.threadmill("keygen", "key").returncode == 0
    assert serve.threadmill("vault", "init", "vault").returncode == 0
    try:
        serve.start()
        yield serve
    finally:
        serve.clean_up()


def test_protected_api(protected: Served) -> None:
    """Nothing without the string, which is in no command line; worker, deploy and commands have it from a file."""
    anonymous = urllib.request.Request(
        f"http://127.0.0.1:{protected.port}/api/deployments/filter", b"{}", {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(anonymous, timeout=30)  # noqa: S310 - our own loopback address
    refused.value.close()
    assert refused.value.code == 401
    assert "survey" in protected.deployments()
    assert not [pid for pid in processes() if AUTH.encode() in read_proc(pid, "cmdline")]
    for log in (protected.home / "prefect").glob("*.log"):
        assert AUTH not in log.read_text()
    assert AUTH not in protected.output
    assert "PREFECT_SERVER_API_AUTH_STRING" in protected.output
    assert not (protected.home / "prefect" / "password").exists()
    result = protected.threadmill("status", PREFECT_SERVER_API_AUTH_STRING="", PREFECT_API_AUTH_STRING="another")
    assert "survey" in result.stdout
    # Somebody who has set another string is told so.
    other = {"PREFECT_API_URL": f"{protected.url}/api", "PREFECT_API_AUTH_STRING": "user:another"}
    result = protected.threadmill("encrypt", "--random", "1x1", **other)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "PREFECT_API_AUTH_STRING" in result.stderr


def test_files_come_from_the_settings(protected: Served) -> None:
    """`encrypt-files` takes THREADMILL_PATHS into THREADMILL_VAULT, relative to where serve was started."""
    flow_run = protected.request("encrypt-files")
    protected.completed(flow_run)
    detail = read_json(protected.threadmill("history", "show", flow_run, "--json"))
    found = [(os.path.basename(one["name"]), one["status"]) for one in detail["payloads"]]
    assert found == [("one", "ok"), ("two", "ok"), ("photo", "ok")]
    assert detail["snapshot"]["new"] == 3
    flow_run = protected.request("verify-vault")
    assert protected.completed(flow_run)["parameters"]["sample"] == "10%"
    state = read_json(protected.threadmill("status", "--json"))["vault"]["state"]
    assert (state["path"], state["objects"], state["never_proven"]) == (detail["snapshot"]["vault_path"], 3, 0)


def test_status_tells_deployments_with_what_is_wrong(protected: Served) -> None:
    """All is well after a start and a good run; a failed run needs attention and is named."""
    # Until the first run the vault of the settings has no snapshot, which needs attention.
    protected.completed(protected.request("encrypt-files"))
    wait_until(lambda: protected.threadmill("status").returncode == 0, "all is not well", PATIENCE_S)
    report = read_json(protected.threadmill("status", "--json"))
    states = {state["name"]: state for state in report["deployments"]["states"]}
    assert {one["name"] for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]} == states.keys()
    assert states["survey"]["next_at"]
    assert not any(states[name]["scheduled"] for name in ("encrypt-files", "verify-vault", "prune-vault"))
    flow_run = protected.request("encrypt-payloads", size_bytes=9 << 20, count=1, suites=["classic"])
    wait_until(lambda: protected.threadmill("status").returncode == 1, "the failed run is not told", PATIENCE_S)
    said = protected.threadmill("status").stderr
    assert "needs attention: encrypt-payloads: last run Failed" in said
    assert "8 MiB" in said
    run = read_json(protected.threadmill("history", "show", flow_run, "--json"))["run"]
    assert (run["deployment"], run["status"]) == ("encrypt-payloads", "failed")


def test_interrupted_while_a_flow_run_is_running(protected: Served) -> None:
    """Ctrl-C: the run's row says cancelled, so does Prefect, no process is left, and it can be started again."""
    files = protected.deployments()["encrypt-files"]
    schedule = f"deployments/{files['id']}/schedules/{files['schedules'][0]['id']}"
    protected.ask(schedule, {"active": True}, method="PATCH")
    flow_run = protected.run("encrypt-payloads", size_bytes=4 << 20, count=100_000)
    wait_until(lambda: protected.row(flow_run), "not on record", PATIENCE_S)
    assert protected.end(signal.SIGINT) == 0, protected.output
    assert "no process is left" in protected.output.splitlines()[-1]
    # Another user's program may have the port next.
    profile = (protected.home / "prefect" / "profiles.toml").read_text()
    assert AUTH not in profile
    assert str(protected.port) not in profile
    assert protected.processes() == []
    row = protected.row(flow_run)
    assert row is not None
    assert row["status"] == "cancelled"

    protected.start()
    assert protected.state(flow_run) == "CANCELLED"
    assert len(protected.ask("automations/filter", {})) == 1
    # What was resumed by hand is not paused again by the second deploy.
    assert protected.deployments()["encrypt-files"]["schedules"][0]["active"]


def test_killed(protected: Served) -> None:
    """`kill -9` leaves neither server nor worker nor flow run; its row says how it ended, or the next run does."""
    flow_run = protected.run("encrypt-payloads", size_bytes=4 << 20, count=100_000)
    wait_until(lambda: protected.row(flow_run), "not on record", PATIENCE_S)
    assert protected.process is not None
    protected.process.kill()
    protected.process.wait()
    wait_until(lambda: not protected.processes(), "something is left", GONE_S)
    # On a busy machine it is killed before it could write that it was cancelled.
    protected.threadmill("encrypt", "--random", "100x1", "--via", "direct")
    row = protected.row(flow_run)
    assert row is not None
    assert row["status"] in ("cancelled", "crashed")


def test_lost_run_is_crashed(served: Served, lost_run: tuple[str, float]) -> None:
    """Worker and flow run killed: Prefect says Crashed within two minutes, by the automation, which is there once."""
    flow_run, killed = lost_run
    (automation,) = served.ask("automations/filter", {})
    assert automation["enabled"]
    wait_until(lambda: served.state(flow_run) == "CRASHED", "still running", max(1, killed + 120 - time.monotonic()))
    assert "Nothing was heard" in served.ask(f"flow_runs/{flow_run}")["state"]["message"]


def test_server_that_ends_by_itself(tmp_path: Path) -> None:
    """One line that names its log, exit code 1, and nothing is left."""
    serve = _new(tmp_path / "broken", PREFECT_SERVER_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////nowhere/at/all.db")
    result = serve.threadmill("serve", "--port", str(serve.port))
    assert result.returncode == 1, result.stdout
    (line,) = result.stderr.splitlines()
    assert "has ended by itself" in line
    assert str(serve.home / "prefect" / "server.log") in line
    assert serve.processes() == []


def test_embedded_run_phones_nobody(tmp_path: Path) -> None:
    """A run with its embedded server connects to this machine alone, and asks nobody for a host's address."""
    trace = tmp_path / "trace"
    ended = subprocess.run(
        [*tracing(trace), str(BIN / "threadmill"), "encrypt", "--random", "100x1", "--via", "prefect"],
        env=clean_environment() | {"THREADMILL_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert outside(trace) == []
