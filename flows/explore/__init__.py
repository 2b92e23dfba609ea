"""The record in a web browser: datasette on the live file, read-only, with descriptions and ready-made queries.

Datasette runs in this process, because no other program can be trusted to keep the file read-only.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import uvicorn
from datasette.app import Datasette
from datasette.database import Database, QueryInterrupted, Results
from datasette.plugins import pm
from datasette.utils import parse_metadata
from datasette.utils.asgi import Base400
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from db.readable import readable
from flows.explore.answer import INTERRUPTED
from tasks.cancel import foreign_environment

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
# The database's name on the pages, to which the descriptions refer; its file may have any name.
NAME = "history"

# All statements of one page together; the time that they wait for their turn counts.
_PAGE_S = 10
_GIVE_UP = ContextVar("_GIVE_UP", default=math.inf)

_SETTINGS = {
    # The questions at ten million rows take up to two seconds.
    "sql_time_limit_ms": _PAGE_S * 1000,
    "truncate_cells_html": 200,
    # It takes a second a page where there are millions of rows; each column's menu offers a facet, too.
    "suggest_facets": False,
    "allow_download": False,
}


# Also of a base class of Datasette's that is shown with its status; it would print a traceback for others.
class _Interrupted(QueryInterrupted, Base400):  # type: ignore[misc]
    status = 503

    def __init__(self, sql: str, params: Any) -> None:
        super().__init__(sqlite3.OperationalError(INTERRUPTED), sql, params)
        self.args = (f"this took more than {_PAGE_S} s, or waited for others; try again",)


class _Failed(sqlite3.OperationalError, Base400):  # type: ignore[misc]
    status = 500


class LiveDatabase(Database):  # type: ignore[misc]
    """A file that others write to: opened for reading only, and not taken for unchanging.

    Each thread of Datasette has a process of its own for what visitors ask; see `answer`.
    """

    def __init__(self, pages: Datasette, path: str) -> None:
        super().__init__(pages, path)
        self._open = ExitStack()
        self._uri = self._open.enter_context(readable(path))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        atexit.register(self._end)

    async def execute(
        self,
        sql: str,
        params: Any = None,
        truncate: bool = False,
        custom_time_limit: int | None = None,
        page_size: int | None = None,
        log_sql_errors: bool = True,
    ) -> Results:
        """Answer as the base class does, but within the limits, whatever the SQL does."""
        del log_sql_errors
        limit_ms = min(custom_time_limit or math.inf, self.ds.sql_time_limit_ms)
        give_up, most = min(time.monotonic() + limit_ms / 1000, _GIVE_UP.get()), self.ds.max_returned_rows
        # A page of the greatest length has one row more, which says that there is a next page.
        most += most == (page_size or self.ds.page_size)
        # Of a ready-made query it is a dict with more to it, which cannot be pickled.
        parameters = params if isinstance(params, list | tuple) else dict(params or {})
        found = await asyncio.get_running_loop().run_in_executor(
            self.ds.executor, self._ask, sql, parameters, most + 1 if truncate else None, give_up
        )
        if isinstance(found, str):
            raise _Interrupted(sql, params) if found == INTERRUPTED else _Failed(found)
        names, rows = found
        cells = ", ".join('NULL AS "{}"'.format(name.replace('"', '""')) for name in names) or "NULL"
        with closing(sqlite3.connect(":memory:")) as connection:
            cursor = connection.execute(f"SELECT {cells}")
            made = [sqlite3.Row(cursor, row) for row in rows]
        truncated = truncate and len(made) > most
        return Results(made[:most] if truncated else made, truncated, [(name,) for name in names])

    def _ask(self, sql: str, parameters: Any, most: int | None, give_up: float) -> Any:
        """The answer of this thread's process, or the error as text."""
        process = self._processes.get(threading.get_ident())
        if process is None or process.poll() is not None:
            command = [sys.executable, "-I", str(HERE / "answer.py"), self._uri]
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=foreign_environment(),
            )
            self._processes[threading.get_ident()] = process
        limit_s = give_up - time.monotonic()
        if limit_s <= 0:
            return INTERRUPTED
        assert process.stdin and process.stdout  # noqa: S101, PT018 - for mypy: PIPE was asked for
        try:
            process.stdin.write(pickle.dumps((sql, parameters, most, limit_s)))
            process.stdin.flush()
            return pickle.load(process.stdout)  # noqa: S301 - from our own program
        except (OSError, EOFError, pickle.UnpicklingError):
            process.kill()
            process.communicate()
            return INTERRUPTED

    def _end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()
        self._open.close()

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Connect as the base class does, but to any path, and never for writing."""
        if write:
            raise sqlite3.OperationalError("the record is open for reading only")
        connection = sqlite3.connect(self._uri, uri=True, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        self._all_file_connections.append(connection)
        return connection


def serve(path: str, listener: socket.socket) -> None:
    """Serve the record at `path` until SIGINT or SIGTERM, which comes through when everything is closed."""
    config = uvicorn.Config(
        application(path), log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run(sockets=[listener])


def descriptions() -> Any:
    """The texts of the pages, as Datasette takes them."""
    return parse_metadata((HERE / "metadata.yaml").read_text(encoding="utf-8"))


def application(path: str) -> ASGIApp:
    """The ASGI application.

    It answers only to names of this machine: else a page from elsewhere, whose name its owner points to 127.0.0.1,
    could read the record through the browser.
    """
    # A mistake in somebody's SQL is shown in the browser: no need for a traceback with all variables on the terminal.
    pm.get_plugin("datasette.handle_exception").rich = None
    pages = Datasette(metadata=descriptions(), template_dir=str(HERE / "templates"), settings=_SETTINGS)
    pages.add_database(LiveDatabase(pages, path), name=NAME)
    # It is made where no files are named.
    pages.remove_database("_memory")
    return TrustedHostMiddleware(_only_questions(pages.app()), allowed_hosts=[LOOPBACK, "localhost"])


def _only_questions(pages: ASGIApp) -> ASGIApp:
    """No form changes anything here, and Datasette answers one to a ready-made query with a traceback."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # The whole of a table as CSV comes page by page, each with a limit of its own.
        if b"_stream" not in scope.get("query_string", b""):
            _GIVE_UP.set(time.monotonic() + _PAGE_S)
        refused = scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"}
        await (PlainTextResponse("only GET", 405) if refused else pages)(scope, receive, send)

    return answer
