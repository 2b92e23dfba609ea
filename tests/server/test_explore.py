"""The record in a browser: the real server on a real record, asked over HTTP."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from db.tables import METADATA
from tests.support.commands import BIN, Command, clean_environment
from tests.support.small_record import PATH, make_small

pytestmark = pytest.mark.skipif(importlib.util.find_spec("datasette") is None, reason="the extra explore is not here")
START_S = 120
TABLES = {table.name: table.c.keys() for table in METADATA.sorted_tables}
# Those that look back from today, and the record is of other days.
RECENT = {"last_night", "failures", "slowest_payloads"}


@dataclass(frozen=True)
class Explorer:
    """A running `threadmill explore`."""

    process: subprocess.Popen[str]
    address: str
    record: Path

    def get(self, path: str, **options: Any) -> tuple[int, str]:
        """Status and text, whatever the status."""
        request = urllib.request.Request(self.address + path, **options)  # noqa: S310 - our own loopback address
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - likewise
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def rows(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        status, text = self.get(f"history/{what}.json?" + urlencode({"_shape": "array"} | parameters))
        assert status == 200, text
        rows: list[dict[str, Any]] = json.loads(text)
        return rows


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """In a folder whose name has characters that mean something in an address."""
    home = tmp_path_factory.mktemp("my #1 %41 home")
    record = home / "history.sqlite"
    make_small(f"sqlite:///{record}", date(2026, 9, 1))
    process = subprocess.Popen(
        [BIN / "threadmill", "explore", "--port", "0"],
        env=clean_environment() | {"THREADMILL_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found, line
    running = Explorer(process, found[0], record)
    wait_until(lambda: answers(running))
    yield running
    if process.poll() is None:
        process.kill()
    process.communicate()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answers(explorer: Explorer) -> bool:
    assert explorer.process.poll() is None, "it ended by itself"
    try:
        return explorer.get("")[0] == 200
    except OSError:
        return False


def metadata() -> dict[str, Any]:
    from flows.explore import descriptions

    found: dict[str, Any] = descriptions()["databases"]["history"]
    return found


def test_every_table_and_column_is_described() -> None:
    """What the models have, the pages explain: nothing is missing, and nothing is left from before."""
    described = {name: table for name, table in metadata()["tables"].items() if not table.get("hidden")}
    assert {name: list(table["columns"]) for name, table in described.items()} == TABLES
    assert all(table["description"] for table in described.values())
    for name, table in described.items():
        for column, words in table["columns"].items():
            unit = {"_ns": "nanoseconds", "_bytes": "bytes", "_at": "UTC"}
            wanted = next((word for ending, word in unit.items() if column.endswith(ending)), "")
            assert wanted in words, f"{name}.{column}"


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_its_page(explorer: Explorer, table: str) -> None:
    """With its description, those of its columns, and its rows."""
    status, page = explorer.get(f"history/{table}")
    assert status == 200
    assert metadata()["tables"][table]["description"].split("'")[0] in page
    assert page.count("<dt>") == len(TABLES[table])
    with closing(sqlite3.connect(explorer.record)) as connection:
        (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608
    assert len(explorer.rows(table, _size="max")) == count


@pytest.mark.parametrize("name", metadata()["queries"] if importlib.util.find_spec("datasette") else ())
def test_each_question_has_its_answer(explorer: Explorer, name: str) -> None:
    """The page of a ready-made query shows its title and rows."""
    status, page = explorer.get(f"history/{name}?" + urlencode({"path": PATH}))
    assert status == 200
    assert metadata()["queries"][name]["title"].split("'")[0] in page
    assert "message-error" not in page
    assert explorer.rows(name, path=PATH) or name in RECENT


def test_the_answers_are_right(explorer: Explorer) -> None:
    """Figures that can be worked out from what the record was made of."""
    assert {row["digest"] is not None for row in explorer.rows("last_digest", path=PATH)} == {True}
    assert explorer.rows("last_digest", path="/elsewhere") == []
    speeds = {(row["backend"], row["kept"]): row["mb_per_s"] for row in explorer.rows("throughput")}
    assert speeds == {("openssl", 0): 237.5, ("native", 0): 8.19, ("native", 1): 950.0}
    assert {(row["executor"], row["speedup"]) for row in explorer.rows("threads")} == {("thread", 0.91)}
    (lost,) = explorer.rows("lost_updates")
    assert (lost["interpreter"], lost["shape"], lost["runs_with_loss"], lost["lost_percent"]) == (
        "3.13.0t", "augmented", 3, 30.0,
    )  # fmt: skip
    costs = {row["guard"]: (row["update_ns"], row["times_unlocked"]) for row in explorer.rows("lock_cost")}
    assert costs == {"none": (40.0, 1.0), "lock": (900.0, 22.5)}
    runs = [
        (row["deployment"], row["flow"], row["runs"], row["completed"], row["failed"])
        for row in explorer.rows("deployments")
    ]
    assert runs == [
        ("nightly", "encrypt_files", 3, 0, 3), ("–", "encrypt_files", 3, 3, 0),
        ("–", "run_experiments", 3, 3, 0), ("–", "verify_vault", 3, 0, 3),
    ]  # fmt: skip
    kept = explorer.rows("kept_file", path=PATH)
    assert [(row["verdict"], row["vault"]) for row in kept] == [("ok", "/srv/vault")] * 3
    proofs = explorer.rows("oldest_proofs")
    assert [row["path"] for row in proofs] == ["/srv/documents/new.odt"] * 3 + [PATH] * 3
    assert [row["proven_at"] is None for row in proofs] == [True] * 3 + [False] * 3
    assert {row["table"]: row["rows"] for row in explorer.rows("table_rows")}.keys() == TABLES.keys()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO host VALUES (9, 'x', 'x', '{}')",
        "WITH one AS (SELECT 9) INSERT INTO host SELECT 9, 'x', 'x', '{}' FROM one",
        "DELETE FROM run",
        "PRAGMA journal_mode=DELETE",
        "ATTACH DATABASE '/tmp/elsewhere' AS elsewhere",
    ],
)
def test_nothing_can_be_written(explorer: Explorer, statement: str) -> None:
    """Neither by a query nor by a form."""
    before = explorer.rows("table_rows")
    assert explorer.get("history.json?" + urlencode({"sql": statement}))[0] == 400
    form = urlencode({"sql": statement}).encode()
    for path in ("history", "history/host", "history/last_night"):
        assert explorer.get(path, data=form, method="POST")[0] == 405
    assert explorer.rows("table_rows") == before


def test_the_file_is_live(explorer: Explorer) -> None:
    """What another process commits is there at the next look, and the file cannot be taken away."""
    with closing(sqlite3.connect(explorer.record)) as connection:
        connection.execute("INSERT INTO host (fingerprint, name, facts) VALUES ('f', 'newcomer', '{}')")
        connection.commit()
        try:
            assert [row["name"] for row in explorer.rows("host", name="newcomer")] == ["newcomer"]
        finally:
            connection.execute("DELETE FROM host WHERE name = 'newcomer'")
            connection.commit()
    assert explorer.get("history.db")[0] == 403


def test_pages_know_no_other_address(explorer: Explorer) -> None:
    """No page names another machine, and whatever a page loads is there."""
    pages = ["", "history", "history/run", "history/run/1", "history/throughput", "history?sql=SELECT+1", "nothing"]
    pages += ["-/patterns", "-/allow-debug", "-/versions", "-/plugins", "-/settings", "-/metadata", "-/databases"]
    loaded = set()
    for path in pages:
        _, page = explorer.get(path)
        others = [
            one for one in re.findall(r"(?:https?:)?//[^\s\"'<>)]+", page) if not one.startswith(explorer.address)
        ]
        assert [one for one in others if "www.w3.org/2000/svg" not in one] == [], path
        loaded |= set(re.findall(r"(?:src|stylesheet\" href)=\"([^\"]+)\"", page))
    assert loaded
    assert {explorer.get(one.removeprefix("/"))[0] for one in loaded} == {200}


def test_only_this_machine_is_answered(explorer: Explorer) -> None:
    """It listens on loopback alone, and refuses a page from elsewhere that calls it by a name of its own."""
    assert explorer.get("history", headers={"Host": "rebound.example"})[0] == 400
    port = int(explorer.address.rsplit(":", 1)[1].rstrip("/"))
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    assert re.findall(rf" ([0-9A-F]+):{port:04X} [0-9A-F]+:0000 0A", listening) == ["0100007F"]


# Stand for these in statements.
NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
WIDE = ", ".join(["a.*, b.*"] * 50)
LONG = "(SELECT replace(hex(zeroblob(20000000)), '0', 'a') AS a)"
# Each takes minutes, gigabytes or both; some do so between two steps of SQLite.
GREEDY = [
    "NUMBERS SELECT count(*) FROM n",
    "SELECT count(*) FROM host a, run b, run c, run d, run e, run f, run g, run h, run i, run j, run k, run l, run m",
    "SELECT instr(a, a || 'b'), instr(a, substr(a, 1, 20000000) || 'b') FROM LONG",
    "SELECT count(*) FROM LONG WHERE a LIKE '%' || substr(a, 1, 20000) || 'b'",
    "SELECT count(*) FROM LONG WHERE a GLOB '*[a]*[a]*[a]*' || substr(a, 1, 20000) || 'b'",
    "SELECT length(replace(a, substr(a, 1, 10000000) || 'b', 'c')) FROM LONG",
    "SELECT length(randomblob(900000000))",
    "SELECT length(hex(zeroblob(450000000)))",
    "SELECT length(printf('%.*c', 900000000, 'x'))",
    "NUMBERS SELECT group_concat(hex(zeroblob(100000))) FROM n",
    "NUMBERS SELECT json_group_array(printf('%.*c', 100000, 'x')) FROM n",
    "NUMBERS SELECT randomblob(1000000) FROM n",
    "NUMBERS SELECT x, x * random() AS y FROM n ORDER BY y",
    "SELECT WIDE FROM run a, run b, run c, run d, run e",
]


def ask(explorer: Explorer, sql: str) -> tuple[int, str]:
    sql = sql.replace("NUMBERS", NUMBERS).replace("LONG", LONG).replace("WIDE", WIDE)
    return explorer.get("history.json?" + urlencode({"sql": sql}))


def test_no_sql_takes_more_than_its_time_and_memory(explorer: Explorer) -> None:
    """Whatever it does, and however many there are: waiting counts too. Then others are answered as before."""
    began = time.monotonic()

    def timed(sql: str) -> tuple[int, str, float]:
        status, text = ask(explorer, sql)
        return status, text, time.monotonic() - began

    with ThreadPoolExecutor(len(GREEDY)) as pool:
        answers = list(pool.map(timed, GREEDY))
    for sql, (status, text, took_s) in zip(GREEDY, answers, strict=True):
        assert took_s < 15, (sql, took_s)
        assert status in {200, 400, 503}, (sql, status, text[:300])
        assert len(text) < 100_000_000, sql
    most = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{explorer.process.pid}/status").read_text())
    assert most
    assert int(most[1]) < 700_000
    began = time.monotonic()
    assert explorer.rows("run", _size="1")
    assert explorer.get("history")[0] == 200
    assert time.monotonic() - began < 5


def test_one_statement_has_a_bound_of_memory(explorer: Explorer) -> None:
    """It is told apart from one of time; so is an answer that is too large for a page."""
    for sql, says in (
        ("SELECT length(randomblob(900000000))", "256 MiB of memory"),
        ("NUMBERS SELECT randomblob(1000000) FROM n", "more than 32 MiB"),
    ):
        status, text = ask(explorer, sql)
        assert (status, says in text) == (400, True), text[:300]


def test_what_cannot_be_explored_is_refused(
    threadmill: Command, environment: dict[str, str], explorer: Explorer, home: Path
) -> None:
    """Nothing recorded, a port that is taken, PostgreSQL: a line that says what to do, exit code 2."""
    empty = threadmill("explore")
    assert (empty.returncode, empty.stdout) == (2, "")
    assert "nothing is recorded" in empty.stderr
    environment["THREADMILL_DATABASE_URL"] = f"sqlite:///{explorer.record}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        taken = threadmill("explore", "--port", str(port))
    assert (taken.returncode, taken.stdout) == (2, "")
    assert (
        taken.stderr == f"threadmill: port {port} cannot be used (Address already in use); choose another by --port\n"
    )
    environment["THREADMILL_DATABASE_URL"] = "postgresql+psycopg://me:hunter2@127.0.0.1/history"
    postgresql = threadmill("explore")
    assert (postgresql.returncode, postgresql.stdout) == (2, "")
    assert "threadmill export --format sqlite" in postgresql.stderr
    assert len(postgresql.stderr.splitlines()) == 1


def test_without_datasette_there_is_a_word_about_it(environment: dict[str, str], explorer: Explorer) -> None:
    """The extra's name, exit code 2."""
    environment["THREADMILL_DATABASE_URL"] = f"sqlite:///{explorer.record}"
    program = (
        "import sys; sys.modules['datasette'] = None; sys.argv[1:] = ['explore']; "
        "from flows.cli.main import main; sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "threadmill: explore needs datasette; install the extra: pip install -e '.[explore]'"
    ]


def test_interrupt_ends_it(explorer: Explorer) -> None:
    """At once and without complaint; nothing was said but the address, mistakes in people's SQL included."""
    explorer.process.send_signal(signal.SIGINT)
    said, _ = explorer.process.communicate(timeout=60)
    assert explorer.process.returncode == 0
    assert "Traceback" not in said
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(explorer.address.rsplit(":", 1)[1].rstrip("/"))), timeout=10)
    assert os.path.getsize(explorer.record)
