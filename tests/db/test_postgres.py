"""The record on PostgreSQL as a user meets it: the real command, a real server, and a password that nobody sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import MetaData, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from db.errors import RecordUnusable
from db.store import Store
from tests.support.commands import Command, free_port, read_json
from tests.support.postgres import PASSWORD, Server
from tests.support.prefect_api import ask_server

SECRET = "hunter2"
assert SECRET in PASSWORD


@pytest.fixture
def on_postgres(environment: dict[str, str], postgres_url: str) -> str:
    """The commands of the test record there."""
    environment["THREADMILL_DATABASE_URL"] = postgres_url
    return postgres_url


def everything_in(url: str) -> str:
    """All rows of all tables, as text."""
    engine = create_engine(url, poolclass=NullPool)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        return str([connection.execute(table.select()).all() for table in tables.sorted_tables])


def test_commands_work_and_never_show_the_password(threadmill: Command, on_postgres: str, tmp_path: Path) -> None:
    """Recording, querying, reporting; neither in what they print, nor in a file that they write, nor in the record."""
    commands = (
        "db upgrade", "encrypt --random 100x3 --via direct", "experiment ceiling --rounds 1 --via direct",
        "history runs", "history show latest --json", "history payloads", "history samples", "report", "settings",
    )  # fmt: skip
    printed = ""
    for command in commands:
        result = threadmill(*command.split())
        assert result.returncode == 0, (command, result.stderr)
        printed += result.stdout + result.stderr
    assert [run["flow"] for run in read_json(threadmill("history", "runs", "--json"))] == [
        "run_experiments",
        "encrypt_payloads",
    ]
    assert [payload["status"] for payload in read_json(threadmill("history", "payloads", "--json"))] == ["ok"] * 3
    assert "postgresql+psycopg://threadmill:***@127.0.0.1" in printed
    assert not (tmp_path / "home" / "history.sqlite").exists()
    assert "encrypt_payloads" in everything_in(on_postgres)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"encrypt" in written
    for where in (printed, everything_in(on_postgres), written.decode(errors="replace")):
        assert SECRET not in where


def test_prefect_does_not_learn_the_password(
    threadmill_process: Command, environment: dict[str, str], on_postgres: str, prefect_server: str
) -> None:
    """A flow run records there too; its parameters, task runs and log lines do not say how."""
    environment["PREFECT_API_URL"] = prefect_server
    result = threadmill_process("encrypt", "--random", "100x3", "--via", "prefect", "--json")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('"digest"') == 3
    told = result.stdout + result.stderr
    run_id = json.loads(result.stdout)["run"]["flow_run_id"]
    for kind, which in {
        "flow_runs": {"flow_runs": {"id": {"any_": [run_id]}}},
        "task_runs": {"flow_runs": {"id": {"any_": [run_id]}}},
        "logs": {"logs": {"flow_run_id": {"any_": [run_id]}}},
    }.items():
        told += json.dumps(ask_server(prefect_server, f"{kind}/filter", which))
    assert run_id in told
    assert SECRET not in told


def refused(threadmill: Command, words: str) -> None:
    """A command that writes and one that reads say so in one line, and begin nothing."""
    for command in ("encrypt --random 100x1 --via direct", "history runs"):
        result = threadmill(*command.split())
        assert (result.returncode, result.stdout) == (2, ""), command
        assert result.stderr.startswith("threadmill: history database "), result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert words in result.stderr
        assert SECRET not in result.stderr


def test_wrong_password(threadmill: Command, environment: dict[str, str], postgres_server: Server) -> None:
    """It is refused as such, not as a server that is not there; neither password is shown."""
    environment["THREADMILL_DATABASE_URL"] = postgres_server.url("postgres", password=SECRET)
    refused(threadmill, "refuses the user or the password; see THREADMILL_DATABASE_URL")


def test_no_such_database(threadmill: Command, environment: dict[str, str], postgres_server: Server) -> None:
    """The server is there, the database is not: it is not made behind the user's back."""
    environment["THREADMILL_DATABASE_URL"] = postgres_server.url("nowhere")
    refused(threadmill, "create it there first")


def test_no_server(threadmill: Command, environment: dict[str, str]) -> None:
    """Nobody listens there."""
    url = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:{free_port()}/history?connect_timeout=5"
    environment["THREADMILL_DATABASE_URL"] = url
    refused(threadmill, "the server cannot be reached")


def test_no_driver(threadmill_process: Command, environment: dict[str, str], tmp_path: Path) -> None:
    """Without the extra the line says what to install."""
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('No module named psycopg')")
    environment["PYTHONPATH"] = f"{tmp_path}:{environment.get('PYTHONPATH', '')}"
    environment["THREADMILL_DATABASE_URL"] = f"postgresql+psycopg://me:{SECRET}@127.0.0.1/history"
    refused(threadmill_process, "pip install -e '.[postgres]'")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{SECRET}@127.0.0.1:port/history",
        f"postgresql+psycopg://me:p@{SECRET}@127.0.0.1/history",
        f"postgresql+psycopg://me:p@w/{SECRET}@127.0.0.1/history",
        f"postgresql+psycopg:me:{SECRET}@127.0.0.1/history",
        f"postgresql+asyncpg://me:{SECRET}@127.0.0.1/history",
        f"mysql://127.0.0.1/history?password={SECRET}",
        f"{SECRET}",
    ],
)
def test_url_that_makes_no_sense(url: str) -> None:
    """Whatever part of it is a password is not shown."""
    with pytest.raises(RecordUnusable) as caught:
        Store(url)
    assert "postgresql+psycopg://" in str(caught.value) or "%40" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_newer_database(threadmill: Command, environment: dict[str, str], database_url: str) -> None:
    """What a newer program wrote is neither read nor written."""
    environment["THREADMILL_DATABASE_URL"] = database_url
    assert threadmill("db", "upgrade").returncode == 0
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused(threadmill, "newer than this program's")


def test_shorter_forms_of_the_url(postgres_url: str) -> None:
    """`postgresql://` means the driver that we install; a password may come from elsewhere, such as PGPASSFILE."""
    for scheme in ("postgres", "postgresql"):
        store = Store(postgres_url.replace("postgresql+psycopg", scheme))
        assert store.where.startswith("postgresql+psycopg://threadmill:***@")
        store.close()


def test_user_who_may_not_create_tables(postgres_server: Server, postgres_url: str) -> None:
    """The server's refusal is passed on in a line."""
    postgres_server.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    url = make_url(postgres_url).set(username="guest", password="guest").render_as_string(hide_password=False)
    with pytest.raises(RecordUnusable, match="does not let this user do that") as caught:
        Store(url)
    assert len(str(caught.value).splitlines()) == 1
    postgres_server.execute("DROP ROLE guest")


def test_server_that_goes_away_may_come_back(postgres_server: Server, postgres_url: str) -> None:
    """A connection that is cut in mid-transaction is a fault that may pass; the next transaction takes a new one."""
    store = Store(postgres_url)
    name = make_url(postgres_url).database
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - ours

    def interrupted() -> None:
        with store.transaction() as connection:
            postgres_server.execute(cut)
            connection.execute(text("SELECT 1"))

    with pytest.raises(RecordUnusable, match="gone away") as caught:
        interrupted()
    assert caught.value.transient
    with store.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    store.close()
