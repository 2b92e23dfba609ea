"""Attacks on the server of `threadmill serve`: by another user of the host, by a web page, and on its password."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from flows.cli.status import how_to_log_in
from flows.serving.serve import PROGRAM, Serving, listen
from tests.support.commands import BIN, clean_environment
from tests.support.prefect_api import ask_server
from tests.support.processes import read_proc, wait_until
from tests.support.served import PATIENCE_S, Served, processes, serving

PAGE = Path(__file__).parents[1] / "data" / "web_page.html"
# Everything that can be logged is.
LOUD = {
    "PREFECT_LOGGING_SERVER_LEVEL": "DEBUG",
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "DEBUG",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "websockets,httpx,httpcore,uvicorn",
    "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
}
SOCKETS = ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"]
ELSEWHERE = "http://elsewhere.example"


@dataclass(frozen=True)
class Victim:
    """A server whose programs log everything; `stages` has the environments and command lines of the chains' stages."""

    served: Served
    stages: Path
    marker: Path
    flow_run: str

    @property
    def password(self) -> str:
        """The drawn one."""
        assert self.served.auth is not None
        return self.served.auth


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Served as for a user, and one flow run done."""
    folder = tmp_path_factory.mktemp("victim")
    stages, openssl = folder / "stages", folder / "openssl"
    openssl.write_text(f'#!/bin/sh\ncat /proc/$$/environ /proc/$$/cmdline >>{stages}\nexec openssl "$@"\n')
    openssl.chmod(0o755)
    environment = clean_environment() | LOUD | {"THREADMILL_HOME": str(folder / "home")}
    environment |= {"THREADMILL_OPENSSL": str(openssl), "HOME": str(folder)}
    with serving(environment, folder) as served:
        flow_run = served.request("encrypt-payloads", size_bytes=1000, count=2, backends=["openssl"])
        served.completed(flow_run)
        run_flow_of_a_user(served, folder, stages)
        yield Victim(served, stages, folder / "marker", flow_run)


def run_flow_of_a_user(served: Served, folder: Path, stages: Path) -> None:
    """A flow that is none of ours, on our worker: it starts a program."""
    code = "import os, prefect\n@prefect.flow\ndef mine():\n    assert os.system('env >>{0}; echo MINE >>{0}') == 0\n"
    (folder / "mine.py").write_text(code.format(stages))
    flow = served.ask("flows/", {"name": "mine"})
    where = {"entrypoint": "mine.py:mine", "path": str(folder), "work_pool_name": "threadmill"}
    served.ask("deployments/", {"name": "mine", "flow_id": flow["id"], **where})
    flow_run = served.request("mine")
    wait_until(lambda: served.state(flow_run) == "COMPLETED", "not completed", PATIENCE_S)


@dataclass(frozen=True)
class Bare:
    """A server without a password, as by `--no-auth`."""

    port: int

    @property
    def url(self) -> str:
        """The UI's address."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """Only its server: no worker would run what is asked for."""
    folder = tmp_path_factory.mktemp("bare")
    environment = clean_environment() | {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with listen(0) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        started = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, str(number)],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            pass_fds=[number],
        )
        try:
            wait_until(lambda: asked(f"http://127.0.0.1:{port}/api/health", {}) == 200, "not up", PATIENCE_S)
            make_deployment(f"http://127.0.0.1:{port}/api")
            yield Bare(port)
        finally:
            started.terminate()
            started.wait(30)


def make_deployment(api: str) -> None:
    """Something that a page could start a run of."""
    flow = ask_server(api, "flows/", {"name": "any"})
    ask_server(api, "deployments/", {"name": "any", "flow_id": flow["id"]})


def asked(url: str, headers: dict[str, str], body: bytes | None = None) -> int:
    """The status of the answer; 0 if there is none."""
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own loopback address
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - likewise
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def basic(password: str) -> str:
    return f"Basic {base64.b64encode(password.encode()).decode()}"


def attempts(victim: Victim) -> list[tuple[str, str, Any]]:
    """The ways to have the worker run a command: method, path, what is sent."""
    command = {"command": f"touch {victim.marker}"}
    survey = victim.served.deployments()["survey"]
    run = {"state": {"type": "SCHEDULED"}, "job_variables": command}
    made = {"name": "mine", "flow_id": survey["flow_id"], "work_pool_name": "threadmill", "job_variables": command}
    pool = {"base_job_template": {"job_configuration": command, "variables": {"type": "object", "properties": {}}}}
    return [
        ("POST", "deployments/filter", {}),
        ("POST", f"deployments/{survey['id']}/create_flow_run", run),
        ("POST", "deployments/", made),
        ("PATCH", f"deployments/{survey['id']}", {"job_variables": command}),
        ("PATCH", "work_pools/threadmill", pool),
        ("POST", f"flow_runs/{victim.flow_run}/set_state", {"state": {"type": "SCHEDULED"}, "force": True}),
        ("GET", "openapi.json", None),
    ]


def test_nobody_is_served_without_the_password(victim: Victim) -> None:
    """Whatever is asked for, the answer is 401, also to an empty or wrong password, and no command runs."""
    for method, path, body in attempts(victim):
        for password in (None, "", "threadmill:", "threadmill:another", f"{victim.password} "):
            headers = {} if password is None else {"Authorization": basic(password)}
            sent = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(  # noqa: S310 - our own loopback address
                f"{victim.served.url}/api/{path}", sent, {"Content-Type": "application/json", **headers}, method=method
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=30)  # noqa: S310 - likewise
            refused.value.close()
            assert refused.value.code == 401, path
    assert {one["auto_scheduled"] for one in runs_of(victim, "survey")} <= {True}
    assert not victim.marker.exists()


def runs_of(victim: Victim, name: str) -> list[dict[str, Any]]:
    wanted = {"id": {"any_": [victim.served.deployments()[name]["id"]]}}
    return list(victim.served.ask("flow_runs/filter", {"deployments": wanted}))


ANOTHER = 65534
AS_ANOTHER = """
import sys, urllib.error, urllib.request
url, *files = sys.argv[1:]
for path in files:
    try:
        open(path)
    except PermissionError:
        print("closed")
try:
    urllib.request.urlopen(urllib.request.Request(url, b"{}", {"Content-Type": "application/json"}))
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_another_account_gets_nothing(victim: Victim) -> None:
    """Neither the server's answers nor the password: not from a file, and from no process."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    home = victim.served.home / "prefect"
    files = [home / "password", home / "profiles.toml"]
    files += [Path(f"/proc/{pid}/environ") for pid in victim.served.processes()]
    url = f"{victim.served.url}/api/deployments/filter"
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    ended = subprocess.run(
        [python, "-I", "-S", "-c", AS_ANOTHER, url, *map(str, files)],
        user=ANOTHER,
        group=ANOTHER,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(files) > 4
    assert ended.stdout.split() == ["closed"] * len(files) + ["401"]
    for file in files[:2]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("path", SOCKETS)
def test_web_sockets_ask_too(victim: Victim, path: str) -> None:
    """Without the protocol that has a password, and with a wrong one, nothing comes but the end."""
    url = f"ws://127.0.0.1:{victim.served.port}/api/{path}"
    with pytest.raises(InvalidStatus), connect(url):
        pass
    for said in ({"type": "auth"}, {"type": "auth", "token": "threadmill:another"}, {"type": "filter", "filter": {}}):
        with connect(url, subprotocols=[Subprotocol("prefect")]) as socket:
            socket.send(json.dumps(said))
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)
    with connect(url, subprotocols=[Subprotocol("prefect")]) as socket:
        socket.send(json.dumps({"type": "auth", "token": victim.password}))
        assert json.loads(socket.recv(timeout=30)) == {"type": "auth_success"}


OTHERS: list[dict[str, str]] = [
    {"Host": "rebound.example:{port}"},
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1:1"},
    {"Host": "127.0.0.1:{port}.rebound.example"},
    {"Host": ""},
    {"Origin": ELSEWHERE},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:{port}.rebound.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "script"},
]
OWN: list[dict[str, str]] = [
    {"Host": "localhost:{port}"},
    {"Origin": "http://127.0.0.1:{port}"},
    {"Origin": "http://localhost:{port}"},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
]


@pytest.mark.parametrize("path", ["/api/admin/version", "/api/health", "/", "/ui-settings", "/openapi.json"])
def test_only_its_own_address_is_served(bare: Bare, path: str) -> None:
    """A request for another host, or from a page of another origin, is refused, also where no password is asked for."""

    def status(headers: dict[str, str]) -> int:
        filled = {name: value.format(port=bare.port) for name, value in headers.items()}
        return asked(f"{bare.url}{path}", filled)

    assert {json.dumps(headers): status(headers) for headers in OTHERS if status(headers) != 403} == {}
    assert {json.dumps(headers): status(headers) for headers in OWN if status(headers) != 200} == {}


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/redoc", "/api/docs", "/api/redoc"])
def test_no_page_runs_foreign_scripts(bare: Bare, path: str) -> None:
    """FastAPI's pages about the API would, in the origin in which the browser keeps the password for the UI."""
    assert asked(f"{bare.url}{path}", {}) in (403, 404)


def test_no_host_at_all(bare: Bare) -> None:
    """HTTP 1.0 allows it."""
    with closing(socket.create_connection(("127.0.0.1", bare.port))) as plain:
        plain.sendall(b"GET /api/admin/version HTTP/1.0\r\n\r\n")
        assert plain.recv(100).split()[1] in (b"400", b"403")


@pytest.mark.parametrize("path", SOCKETS)
def test_no_page_of_another_origin_opens_a_web_socket(bare: Bare, path: str) -> None:
    """A browser asks nobody before it does."""
    url = f"ws://127.0.0.1:{bare.port}/api/{path}"
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=Origin(ELSEWHERE)):
        pass
    assert refused.value.response.status_code == 403
    with connect(url, origin=Origin(bare.url)):
        pass


@contextmanager
def site_of(page: str) -> Iterator[int]:
    """Another site, whose only page this is; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base has it
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            yield site.server_address[1]
        finally:
            site.shutdown()


def titles(chromium: str, port: int, page: str) -> list[str]:
    """What the page says at its end: on another port, under a name of its own, and under a name that is the server's.

    The last is a name that led to its own site at first, and then to the loopback address.
    """
    rules = "MAP elsewhere.example 127.0.0.1, MAP rebound.example 127.0.0.1"
    found = []
    with site_of(page) as other, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[f"--host-resolver-rules={rules}"])
        try:
            for host, at in (("127.0.0.1", other), ("localhost", other), ("elsewhere.example", other)):
                found.append(title(browser.new_page(), f"http://{host}:{at}/"))
            rebound = browser.new_page()
            address = f"http://rebound.example:{port}/"
            rebound.route(address, lambda route: route.fulfill(body=page, content_type="text/html"))
            found.append(title(rebound, address))
        finally:
            browser.close()
    return found


def title(page: Any, address: str) -> str:
    page.goto(address)
    page.wait_for_function("document.title !== 'waiting'", timeout=60_000)
    return str(page.title())


# A browser asks nobody before it sends these: no JSON by its type, or no type at all.
BLIND = """<!doctype html><title>waiting</title><body><script>
(async () => {
  const url = "API/deployments/ID/create_flow_run";
  const body = JSON.stringify({state: {type: "SCHEDULED"}, job_variables: {command: "touch MARKER"}});
  let tried = "";
  for (const type of ["text/plain", ""]) {
    try { await fetch(url, {method: "POST", mode: "no-cors", body: new Blob([body], {type})}); tried += "sent ";
    } catch (error) { tried += "refused "; }
    navigator.sendBeacon(url, new Blob([body], {type}));
  }
  await new Promise((done) => setTimeout(done, 500));
  document.title = tried;
})();
</script></body>
"""


@pytest.mark.parametrize("asks", [True, False], ids=["password", "no password"])
def test_a_web_page_gets_nothing(asks: bool, chromium: str, request: pytest.FixtureRequest) -> None:
    """Neither by asking as its own script would, nor under a name that leads here, nor by sending blindly."""
    port: int
    ask: Callable[..., Any]
    if asks:
        victim: Victim = request.getfixturevalue("victim")
        port, ask = victim.served.port, victim.served.ask
    else:
        port = request.getfixturevalue("bare").port
        ask = partial(ask_server, f"http://127.0.0.1:{port}/api")
    before = {run["id"] for run in ask("flow_runs/filter", {}) if not run["auto_scheduled"]}
    deployment = ask("deployments/filter", {})[0]["id"]
    plain = PAGE.read_text().replace("MARKER", "marker")
    for api in (f"127.0.0.1:{port}", f"rebound.example:{port}"):
        for text in titles(chromium, port, plain.replace("127.0.0.1:PORT", api)):
            assert text.startswith("refused")
        blind = BLIND.replace("API", f"http://{api}/api").replace("ID", deployment)
        assert all(titles(chromium, port, blind))
    assert {run["id"] for run in ask("flow_runs/filter", {}) if not run["auto_scheduled"]} == before


def test_the_password_is_nowhere_else(victim: Victim) -> None:
    """Not in a log at the loudest level, in a database, in what is printed, in a command line, or in a stage."""
    served = victim.served
    ended = served.threadmill(
        "encrypt", "--random", "100x1", "--via", "prefect", PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=""
    )
    assert ended.returncode == 0
    told = [
        served.threadmill(*words.split()) for words in ("status", "status --json", "settings", "history runs --json")
    ]
    traces = _traces(victim.password)
    printed = [served.output, *(text for one in (ended, *told) for text in (one.stdout, one.stderr))]
    assert not [text for text in printed if any(trace.decode() in text for trace in traces)]
    holders = {served.home / "prefect" / name for name in ("password", "profiles.toml")}
    files = [path for path in served.home.rglob("*") if path.is_file()]
    assert {path for path in files if any(trace in path.read_bytes() for trace in traces)} == holders
    # They were loud enough: this is what the password stood in.
    logs = b"".join(path.read_bytes() for path in (served.home / "prefect").glob("*.log"))
    assert b"uthorization: Basic ****" in logs
    assert b'"token":"****' in logs.replace(b" ", b"")
    stages = victim.stages.read_bytes()
    assert b"THREADMILL_SERVE=" in stages
    assert b"MINE" in stages
    assert not [trace for trace in (*traces, b"AUTH_STRING") if trace in stages]
    assert not [pid for pid in processes() if any(trace in read_proc(pid, "cmdline") for trace in traces)]
    for words in (PROGRAM, "prefect\0worker"):
        (pid,) = (pid for pid in served.processes() if words.encode() in read_proc(pid, "cmdline"))
        assert not any(trace in read_proc(pid, "environ") for trace in traces)


def test_a_server_that_does_not_ask_is_ended(tmp_path: Path) -> None:
    """Prefect reads no profile in its test mode: neither `serve` nor a command goes on with a server that is open."""
    served = Served(
        clean_environment() | {"THREADMILL_HOME": str(tmp_path / "home"), "PREFECT_TEST_MODE": "1"}, tmp_path
    )
    for words in (("serve", "--port", str(served.port)), ("encrypt", "--random", "1x1", "--via", "prefect")):
        ended = served.threadmill(*words)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
        assert "does not ask for its password" in ended.stderr
    assert served.processes() == []


def test_the_password_is_shown_on_a_terminal_only(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere `serve` names the command that shows it."""
    (line,) = (line for line in victim.served.output.splitlines() if line.startswith("password"))
    (command,) = re.findall("cat [^ ]*", line)
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert shown == f"{victim.password}\n"
    up = Serving("http://127.0.0.1:1", "logs", (), victim.password, "file")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert victim.password in how_to_log_in(up, no_auth=False)
    assert "everybody" in how_to_log_in(up, no_auth=True)


def test_ways_in_of_the_document(victim: Victim) -> None:
    """Prefect's commands by the folder alone, and curl by the file, with nothing secret in a command line."""
    text = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text()
    (ours,) = (block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "curl" in block)
    (theirs,) = (block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "prefect flow-run ls" in block)
    environment = clean_environment() | {"THREADMILL_HOME": str(victim.served.home), "HOME": str(victim.served.home)}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"

    def run(block: str) -> str:
        script = block.replace("4200", str(victim.served.port))
        ended = subprocess.run(
            ["sh", "-ec", script], env=environment, cwd=victim.served.home, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert victim.flow_run in [one["id"] for one in json.loads(run(ours))]
    assert "encrypt-payloads" in run(theirs.replace("prefect deployment run survey/survey\n", ""))


def _traces(password: str) -> list[bytes]:
    return [
        one.encode() for one in (password, password.partition(":")[2], base64.b64encode(password.encode()).decode())
    ]


def test_embedded_server_asks_too(tmp_path: Path) -> None:
    """It asks for the password, serves its own address alone, says no secret, and is gone after `kill -9`."""
    environment = clean_environment() | LOUD | {"THREADMILL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    environment |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [str(BIN / "threadmill"), "encrypt", "--random", "4MiBx100000", "--via", "prefect"]
        running = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=output, stderr=output)
    mine = Served(environment, tmp_path)

    def servers() -> list[int]:
        return [pid for pid in mine.processes() if PROGRAM.encode() in read_proc(pid, "cmdline")]

    try:
        wait_until(lambda: b"planned" in log.read_bytes(), "no run", PATIENCE_S)
        (pid,) = servers()
        url = f"http://127.0.0.1:{_port_of(pid)}/api"
        assert asked(f"{url}/deployments/filter", {"Content-Type": "application/json"}, b"{}") == 401
        password = (mine.home / "prefect" / "password").read_text().strip()
        headers = {"Authorization": basic(password)}
        assert asked(f"{url}/admin/version", headers) == 200
        assert asked(f"{url}/admin/version", headers | {"Host": "rebound.example"}) == 403
        assert asked(f"{url}/admin/version", headers | {"Origin": ELSEWHERE}) == 403
        running.kill()
        running.wait()
        wait_until(lambda: not servers(), "the server is left")
    finally:
        running.kill()
        running.wait()
        mine.clean_up()
    texts = [log.read_bytes(), *(path.read_bytes() for path in (mine.home / "prefect").glob("*.log"))]
    assert not [trace for trace in _traces(password) if any(trace in text for text in texts)]
    assert any(b"********" in text for text in texts)


def _port_of(pid: int) -> int:
    inodes = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            return int(fields[1].partition(":")[2], 16)
    raise AssertionError("it listens nowhere")
