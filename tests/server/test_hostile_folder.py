"""The folder that a user stands in belongs to somebody else: no command takes code, settings or programs from it."""

from __future__ import annotations

import inspect
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import app
from tests.support.commands import BIN, clean_environment
from tests.support.served import serving

CASE = Path(__file__).parents[1] / "data" / "hostile"
# What a child of ours might start, or what another program would start for us.
PROGRAMS = ("openssl", "git", "fc-list", "uv", "pip", "prefect", "python", "python3", "python3.11", "setpriv", "true")
AUTH = "user:for-one-address-alone"
# Each command of the application with the options that make it do its work, in the order in which one needs another.
LINES = {
    "keygen": "new.key",
    "vault init": "vault",
    "encrypt": "docs --vault vault",
    "snapshots": "--vault vault",
    "snapshots show": "latest --vault vault",
    "snapshots accept": "latest --vault vault",
    "cat": "latest docs/letter --vault vault",
    "check": "docs",
    "verify": "--vault vault",
    "restore": "latest back docs --vault vault",
    "prune": "--keep-last 1 --vault vault",
    "vault adopt": "vault",
    "survey": "--progress",
    "experiment": "ceiling --rounds 1 --quick --workers 1",
    "interpreters": "--python ./interpreter",
    "maintain": "",
    "history runs": "",
    "history show": "1",
    "history payloads": "",
    "history samples": "",
    "history speedup": "",
    "history race": "",
    "history ceiling": "",
    "history trend": "",
    "history compare": "1 2",
    "history changes": "",
    "history snapshots": "",
    "history proofs": "--vault vault",
    "history failures": "",
    "history slowest": "",
    "history verify": "",
    "report": "--output report.html",
    "export": "--format sqlite --output exported.sqlite",
    "settings": "",
    "status": "",
    "db upgrade": "",
    "db check": "",
    "db stats": "",
    "db backup": "backup.sqlite",
    "db import": "exported.sqlite",
    "explore": "--port 0",
    "serve": "",
}
# Commands that last, and the words after which Ctrl-C ends them.
STAYING = {"survey": "measuring", "explore": "Ctrl-C ends it", "serve": "running; Ctrl-C ends it"}
# Refused: the snapshot counts, and nothing in a verification has a time; no server is there, which needs attention.
CODES = {"snapshots accept": 2, "history compare": 2, "status": 1, "survey": 130}


def commands(group: Any = app, before: str = "") -> Iterator[tuple[str, bool]]:
    """Every command of the application, and whether Prefect can run it."""
    for name in group:
        if name.startswith("-"):
            continue
        command = group[name]
        if command.default_command is not None:
            yield before + name, "via" in inspect.signature(command.default_command).parameters
        yield from commands(command, f"{before}{name} ")


@dataclass
class Hostile:
    """A folder with a trap for every program that takes anything from where it is started."""

    folder: Path
    marker: Path
    traps: list[Path] = field(default_factory=list)

    def trap(self, name: str, text: str, mode: int = 0o644) -> None:
        """Make one; its last access is before its last change, so that the first reader leaves a trace."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        path.chmod(mode)
        os.utime(path, (0, path.stat().st_mtime))
        self.traps.append(path)

    def read(self) -> list[str]:
        """The traps that somebody has read."""
        return [str(path.relative_to(self.folder)) for path in self.traps if path.stat().st_atime]


def set_traps(folder: Path, marker: Path, address: str) -> Hostile:
    """Whatever one of our programs, libraries or children is known to look for in the current folder."""
    folder.mkdir()
    hostile = Hostile(folder, marker)
    touch = f"open({str(marker)!r}, 'a').close()\n"
    script = f"#!/bin/sh\ntouch '{marker}'\n"
    for name in {*packages_distributions(), *sys.stdlib_module_names, "sitecustomize", "usercustomize", "conftest"}:
        hostile.trap(f"{name}.py", touch)
    for name in ("flows", "tasks", "db", "measured", "plugins"):
        hostile.trap(f"{name}/__init__.py", touch)
    for name in PROGRAMS:
        hostile.trap(name, script, 0o755)
        hostile.trap(f"bin/{name}", script, 0o755)
    hostile.trap("logging.yml", (CASE / "logging.yml").read_text().replace("MARKER", str(marker)))
    hostile.trap("profiles.toml", f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "{address}"\n')
    hostile.trap(
        ".env",
        f"PREFECT_LOGGING_SETTINGS_PATH=logging.yml\nPREFECT_API_URL={address}\nPREFECT_PROFILES_PATH=profiles.toml\n",
    )
    toml = f'[{{0}}api]\nurl = "{address}"\n[{{0}}logging]\nconfig_path = "logging.yml"\n'
    hostile.trap("prefect.toml", toml.format(""))
    hostile.trap("pyproject.toml", toml.format("tool.prefect.") + '[tool.uv]\nindex-url = "http://127.0.0.1:1"\n')
    hostile.trap("prefect.yaml", f"pull:\n- prefect.deployments.steps.run_shell_script:\n    script: touch {marker}\n")
    hostile.trap(".prefect/profiles.toml", f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "{address}"\n')
    hostile.trap("matplotlibrc", "backend: module://conftest\nfigure.facecolor: red\n")
    hostile.trap(".git/HEAD", "ref: refs/heads/main\n")
    hostile.trap(".git/config", f"[core]\n\tfsmonitor = touch {marker}\n\thooksPath = {folder}/bin\n")
    hostile.trap(".python-version", "../../../bin\n")
    hostile.trap("alembic.ini", "[alembic]\nscript_location = plugins\n")
    hostile.trap("metadata.json", '{"title": "theirs"}')
    hostile.trap("datasette.yml", "plugins: {}\n")
    for name in ("openssl.cnf", ".netrc", ".pg_service.conf", ".pgpass", ".sqliterc", "pip.conf", "uv.toml", ".pdbrc"):
        hostile.trap(name, "theirs\n")
    return hostile


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """An address that the folder gives for that of Prefect's server, and the requests that came there."""
    requests: list[str] = []

    class Listener(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            requests.append(repr(self.rfile.readline()))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api", requests
        server.shutdown()


@pytest.fixture
def hostile(tmp_path: Path, heard: tuple[str, list[str]]) -> Iterator[Hostile]:
    """The folder; nothing in it was run or read, and nobody was sent to the address in it."""
    made = set_traps(tmp_path / "theirs", tmp_path / "MARKER", heard[0])
    (made.folder / "docs").mkdir()
    (made.folder / "docs" / "letter").write_text("dear")
    (made.folder / "interpreter").symlink_to(sys.executable)
    probe = Hostile(tmp_path, made.marker)
    probe.trap("probe", "read me")
    (tmp_path / "probe").read_text()
    yield made
    assert not made.marker.exists()
    assert heard[1] == []
    if probe.read():
        # Where the file system notes who reads.
        assert made.read() == []


@dataclass(frozen=True)
class User:
    """A user who stands in the folder: relative paths in the environment, and search paths that are not careful."""

    folder: Path
    environment: dict[str, str]

    def start(self, line: str, **more: str) -> subprocess.Popen[str]:
        """The command, as the user calls it."""
        return subprocess.Popen(
            [BIN / "threadmill", *line.split()],
            env=self.environment | more,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, **more: str) -> str:
        """A command of the table does what it does elsewhere; what it printed."""
        process = self.start(f"{name} {LINES[name]}", **more)
        printed = ""
        assert process.stdout is not None
        with process.stdout as lines:
            if name in STAYING:
                while STAYING[name] not in (line := lines.readline()):
                    assert line, printed
                    printed += line
                process.send_signal(signal.SIGINT)
            printed += lines.read()
        assert process.wait() == CODES.get(name, 0), f"{name}: {printed}"
        assert "Traceback" not in printed
        return printed


@pytest.fixture
def user(hostile: Hostile, tmp_path: Path) -> User:
    """The user, with a home of their own."""
    environment = {
        "HOME": str(tmp_path),
        "THREADMILL_HOME": "../home",
        "THREADMILL_KEY_FILE": "new.key",
        "PATH": f":.:bin:{os.environ['PATH']}:",
        "PREFECT_API_AUTH_STRING": AUTH,
        "PYTHONUNBUFFERED": "1",
    }
    return User(hostile.folder, clean_environment() | environment)


def test_every_command(user: User) -> None:
    """Each does what it does elsewhere, with the files that the user names by relative paths."""
    assert {name for name, _ in commands()} == LINES.keys()
    for name in filter("serve".__ne__, LINES):
        # A record is imported into one that is empty.
        user.run(name, **({"THREADMILL_HOME": "other"} if name == "db import" else {}))
    assert (user.folder / "back" / str(user.folder)[1:] / "docs" / "letter").read_text() == "dear"
    assert (user.folder / "report.html").exists()
    assert (user.folder / "../home/history.sqlite").exists()


def test_every_flow(user: User, prefect_server: str) -> None:
    """Each command that Prefect can run, on the server that the user has set."""
    user.run("keygen")
    user.run("vault init")
    flows = [name for name in LINES if (name, True) in commands()]
    for name in flows:
        user.run(name, PREFECT_API_URL=prefect_server)
    rows = json.loads(user.start("history runs --json").communicate()[0])
    assert [row["via"] for row in rows] == ["prefect"] * len(flows)
    assert (user.folder / "back" / str(user.folder)[1:] / "docs" / "letter").read_text() == "dear"


def test_embedded_server(user: User) -> None:
    """Neither it nor the command knows the settings of the folder; those of the user's Prefect it knows."""
    (user.folder / "own").mkdir()
    printed = user.start("maintain --via prefect", PREFECT_HOME="own").communicate()[0]
    assert "all as they were sealed" in printed
    assert (user.folder / "own" / "prefect.db").exists()


def test_serve(user: User, tmp_path: Path) -> None:
    """The server, its worker and a flow run know nothing of the folder either, but for the paths that the user gave."""
    user.run("keygen")
    environment = user.environment | {"THREADMILL_HOME": str(tmp_path / "home"), "THREADMILL_PATHS": "docs"}
    with serving(environment, user.folder) as served:
        served.completed(served.request("encrypt-files"))
