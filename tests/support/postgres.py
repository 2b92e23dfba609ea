"""A real PostgreSQL from Debian's package, for the whole session; every test gets a database of its own."""

from __future__ import annotations

import glob
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

USER = "threadmill"
# Characters that a URL must escape, and that are easily found in any output.
PASSWORD = "hunter2@loopback/%:?"
START_S = 120


@dataclass(frozen=True)
class Server:
    """A running server; on loopback only, and every connection gives the password."""

    port: int
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database, a copy of the template."""
        name = f"history_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str, password: str = PASSWORD) -> str:
        """As THREADMILL_DATABASE_URL takes it."""
        return f"postgresql+psycopg://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """As the server's owner, outside of any transaction."""
        engine = create_engine(self.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))


def why_not() -> str | None:
    """Why no server can be started here."""
    if not _programs():
        return "Debian's package postgresql is not installed"
    if shutil.which("setpriv") is None:
        return "no setpriv on PATH"
    if importlib.util.find_spec("psycopg") is None:
        return "the extra postgres is not installed"
    return None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A server with a folder and a port of its own; it ends with this process, however that ends."""
    # Late: it imports this module's fixtures.
    from tests.support.commands import free_port

    if reason := why_not():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    # Not below pytest's own folder, which the server's user may not enter.
    with tempfile.TemporaryDirectory(prefix="threadmill-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (folder, folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [*_as_owner(), f"{_programs()}/initdb", "--pgdata", folder / "data", "--username", USER, "--no-sync",
             "--encoding", "UTF8", "--locale", "C.UTF-8", "--auth", "scram-sha-256", "--pwfile", folder / "password"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )  # fmt: skip
        server = Server(free_port())
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [*_as_owner(), f"{_programs()}/postgres", "-D", folder / "data", "-p", str(server.port),
                 "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
            )  # fmt: skip
        try:
            _wait_for(server, process, folder / "server.log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                # It waits for clients that a test left connected; SIGINT throws them out.
                process.send_signal(signal.SIGINT)
                process.wait(30)


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of a new, empty database, password included."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that is not there yet, or empty: on SQLite, then on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


def _programs() -> str | None:
    """The folder of the newest release's programs."""
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    return os.path.dirname(max(found, key=lambda path: float(path.split("/")[4]))) if found else None


def _as_owner() -> list[str]:
    """Root may not run the server; and it is told to stop when this process dies."""
    who = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig=INT", *who]


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            server.execute("SELECT 1")
        except OperationalError:
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        else:
            return
