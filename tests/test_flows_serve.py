"""`threadmill serve` as a user starts it: it schedules, explains what it cannot do, and leaves nothing behind."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
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

from flows.serving import lock
from tests.conftest import BIN, clean_environment, free_port, read_json
from tests.processes import wait_until

ROOT = Path(__file__).parent.parent
# Starting Prefect's programs takes 5 s of CPU each, and the machine may be busy.
PATIENCE_S = 180
GONE_S = 90
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


class Serve:
    """One `threadmill serve`, and its server as the UI sees it."""

    def __init__(self, folder: Path, **more: str) -> None:
        folder.mkdir(exist_ok=True)
        self.home = folder / "home"
        self.port = free_port()
        self.environment = clean_environment() | {"THREADMILL_HOME": str(self.home)} | more
        self.auth: str | None = None
        self._folder = folder
        self._output = folder / "output"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it has printed since its last start."""
        return self._output.read_text()

    def start(self) -> None:
        """Start it, and wait until all is up."""
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [BIN / "threadmill", "serve", "--port", str(self.port)],
                env=self.environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: "running;" in self.output or self.process.poll() is not None, "not up", PATIENCE_S)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.output

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(GONE_S)

    def processes(self) -> list[int]:
        """Whatever lives with this THREADMILL_HOME in its environment."""
        return [pid for pid in _processes() if f"THREADMILL_HOME={self.home}".encode() in _read(pid, "environ")]

    def ask(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """What the server answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        if self.auth:
            request.add_header("Authorization", f"Basic {base64.b64encode(self.auth.encode()).decode()}")
        for _ in range(10):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own loopback address
                    text = answer.read()
                return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                # Where the machine is so busy that the server waits in vain for its own database.
                if error.code != 503:
                    raise
                error.close()
                time.sleep(1)
        raise AssertionError("the server is too busy")

    def deployments(self) -> dict[str, Any]:
        """By name."""
        return {deployment["name"]: deployment for deployment in self.ask("deployments/filter", {})}

    def run(self, deployment: str, **parameters: Any) -> str:
        """Ask for a flow run now, and wait until it is running; its id."""
        found = self.deployments()[deployment]
        flow_run: str = self.ask(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]
        wait_until(lambda: self.state(flow_run) == "RUNNING", "not started", PATIENCE_S)
        return flow_run

    def state(self, flow_run: str) -> str:
        """Its type, such as RUNNING."""
        state: str = self.ask(f"flow_runs/{flow_run}")["state_type"]
        return state

    def threadmill(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Another command of the same user."""
        return subprocess.run(
            [BIN / "threadmill", *arguments],
            env=self.environment | more,
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


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def _child(serve: Serve, *words: str) -> int:
    """The process among its own whose command line has these words."""
    wanted = "\0".join(words).encode()
    (pid,) = (pid for pid in serve.processes() if wanted in _read(pid, "cmdline"))
    return pid


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """One that the tests share."""
    serve = Serve(tmp_path_factory.mktemp("served"))
    try:
        serve.start()
        yield serve
        assert serve.end() == 0
        assert serve.processes() == []
    finally:
        serve.clean_up()


@pytest.fixture(scope="module")
def more_deployments(served: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a user has beside ours: one that is due every few seconds, and one on a pool of its own."""
    folder = tmp_path_factory.mktemp("more")
    (folder / "prefect.yaml").write_text(MORE_DEPLOYMENTS)
    _prefect(served, folder, "work-pool", "create", "lost", "--type", "process")
    _prefect(served, folder, "deploy", "--all")


def _prefect(serve: Serve, folder: Path, *arguments: str) -> None:
    subprocess.run(
        [BIN / "prefect", "--no-prompt", *arguments], env=_client(serve), cwd=folder, check=True, capture_output=True
    )


def _client(serve: Serve) -> dict[str, str]:
    return serve.environment | {
        "PREFECT_API_URL": f"http://127.0.0.1:{serve.port}/api",
        "PREFECT_HOME": str(serve.home / "prefect"),
    }


@pytest.fixture(scope="module")
def lost_run(served: Serve, more_deployments: None) -> tuple[str, float]:
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
    for pid in [pid for pid in _processes() if mark in _read(pid, "environ").split(b"\0")]:
        os.kill(pid, signal.SIGKILL)
    return flow_run, time.monotonic()


def test_it_says_where_everything_is(served: Serve, lost_run: tuple[str, float]) -> None:
    """The UI's address, the record, the logs, and when each deployment runs next; what is paused is called so."""
    assert f"http://127.0.0.1:{served.port}\n" in served.output
    assert str(served.home / "history.sqlite") in served.output
    assert str(served.home / "prefect") in served.output
    for name in ("server.log", "worker.log"):
        assert (served.home / "prefect" / name).exists()
    rows = {line.split("│")[1].strip(): line for line in served.output.splitlines() if "│" in line}
    assert "paused" in rows["encrypt-files"]
    assert all(re.search(r"\d\d\d\d-\d\d-\d\d \d\d:00:00", rows[name]) for name in ("survey", "run-experiments"))


def test_every_deployment_is_there(served: Serve) -> None:
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
    assert [s["active"] for s in found["encrypt-files"]["schedules"]] == [False]
    assert "THREADMILL_KEY_FILE" in found["encrypt-files"]["description"]
    assert found["encrypt-files"]["parameters"] == {}
    measured = {name for name, one in found.items() if one["work_queue_name"] == "measure"}
    assert measured == {"survey", "encrypt-payloads", "run-experiments"}


def test_one_measures_at_a_time(served: Serve) -> None:
    """The queue's limit is really set; `prefect deploy` alone would make a queue without one."""
    assert served.ask("work_pools/threadmill/queues/measure")["concurrency_limit"] == 1


def test_schedule_fires(served: Serve, more_deployments: None) -> None:
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
    assert served.state(row["flow_run_id"]) == "COMPLETED"
    detail = read_json(served.threadmill("history", "show", str(row["id"]), "--json"))
    assert [(payload["size_bytes"], payload["status"]) for payload in detail["payloads"]] == [(100, "ok")] * 3
    assert row["flow_run_id"] in {run["flow_run_id"] for run in rows()}


def test_commands_use_its_server(served: Serve) -> None:
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
    ],
    ids=["twice", "port taken", "other server", "no port", "not a number", "no limit"],
)
def test_what_it_refuses(served: Serve, arguments: tuple[str, ...], variables: dict[str, str], says: str) -> None:
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
    serve = Serve(tmp_path / "embedded")
    program = (
        "from flows.serving.lock import share\n"
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
    home, live = str(tmp_path / "home"), lock.Live("http://127.0.0.1:1", 1)
    assert lock.find(home) is None
    with lock.hold(home):
        assert lock.find(home) is None
        lock.announce(home, live)
        assert lock.find(home) == live
        assert not lock.share(home)
    lock.announce(home, live)
    assert lock.find(home) is None


@pytest.fixture(scope="module")
def protected(served: Serve, lost_run: tuple[str, float], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Another one, beside the first, whose API asks for a password."""
    serve = Serve(tmp_path_factory.mktemp("protected"), PREFECT_SERVER_API_AUTH_STRING=AUTH)
    serve.auth = AUTH
    try:
        serve.start()
        yield serve
    finally:
        serve.clean_up()


def test_protected_api(protected: Serve) -> None:
    """Nothing without the string, which is in no command line; worker, deploy and commands have it."""
    anonymous = urllib.request.Request(
        f"http://127.0.0.1:{protected.port}/api/deployments/filter", b"{}", {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(anonymous, timeout=30)  # noqa: S310 - our own loopback address
    refused.value.close()
    assert refused.value.code == 401
    assert "survey" in protected.deployments()
    assert not [pid for pid in _processes() if AUTH.encode() in _read(pid, "cmdline")]
    for log in (protected.home / "prefect").glob("*.log"):
        assert AUTH not in log.read_text()
    assert AUTH not in protected.output
    # Who does not know the string is told so.
    result = protected.threadmill("encrypt", "--random", "1x1", "--via", "prefect", PREFECT_SERVER_API_AUTH_STRING="")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "PREFECT_API_AUTH_STRING" in result.stderr


def test_interrupted_while_a_flow_run_is_running(protected: Serve) -> None:
    """Ctrl-C: the run's row says cancelled, so does Prefect, no process is left, and it can be started again."""
    files = protected.deployments()["encrypt-files"]
    schedule = f"deployments/{files['id']}/schedules/{files['schedules'][0]['id']}"
    protected.ask(schedule, {"active": True}, method="PATCH")
    flow_run = protected.run("encrypt-payloads", size_bytes=4 << 20, count=100_000)
    wait_until(lambda: protected.row(flow_run), "not on record", PATIENCE_S)
    assert protected.end(signal.SIGINT) == 0, protected.output
    assert "no process is left" in protected.output.splitlines()[-1]
    assert protected.processes() == []
    row = protected.row(flow_run)
    assert row is not None
    assert row["status"] == "cancelled"

    protected.start()
    assert protected.state(flow_run) == "CANCELLED"
    assert len(protected.ask("automations/filter", {})) == 1
    # What was resumed by hand is not paused again by the second deploy.
    assert protected.deployments()["encrypt-files"]["schedules"][0]["active"]


def test_killed(protected: Serve) -> None:
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


def test_lost_run_is_crashed(served: Serve, lost_run: tuple[str, float]) -> None:
    """Worker and flow run killed: Prefect says Crashed within two minutes, by the automation, which is there once."""
    flow_run, killed = lost_run
    (automation,) = served.ask("automations/filter", {})
    assert automation["enabled"]
    wait_until(lambda: served.state(flow_run) == "CRASHED", "still running", max(1, killed + 120 - time.monotonic()))
    assert "Nothing was heard" in served.ask(f"flow_runs/{flow_run}")["state"]["message"]


def test_server_that_ends_by_itself(tmp_path: Path) -> None:
    """One line that names its log, exit code 1, and nothing is left."""
    serve = Serve(tmp_path / "broken", PREFECT_SERVER_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////nowhere/at/all.db")
    result = serve.threadmill("serve", "--port", str(serve.port))
    assert result.returncode == 1, result.stdout
    (line,) = result.stderr.splitlines()
    assert "has ended by itself" in line
    assert str(serve.home / "prefect" / "server.log") in line
    assert serve.processes() == []


def test_nothing_phones_home(tmp_path: Path) -> None:
    """A run with its embedded server connects to this machine alone, and asks nobody for a host's address."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    trace = tmp_path / "trace"
    serve = Serve(tmp_path / "traced")
    ended = subprocess.run(
        [
            *(
                strace,
                "-f",
                "-qq",
                "-e",
                "trace=connect,sendto,sendmsg,sendmmsg",
                "-e",
                "signal=none",
                "-o",
                str(trace),
            ),
            *(str(BIN / "threadmill"), "encrypt", "--random", "100x1", "--via", "prefect"),
        ],
        env=serve.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if "Operation not permitted" in ended.stderr:
        pytest.skip("strace may not trace here")
    assert ended.returncode == 0, ended.stderr
    calls = [line for line in trace.read_text().splitlines() if "sa_family=" in line]
    local = re.compile(r"sa_family=AF_(UNIX|NETLINK|UNSPEC)|127\.0\.0\.\d+|inet_pton\(AF_INET6, \"::1\"")
    assert any("127.0.0.1" in call for call in calls)
    assert [call for call in calls if not local.search(call) or "htons(53)" in call] == []
