"""The record in a web browser: datasette on the live file, read-only, with descriptions and ready-made queries.

Datasette runs in this process, because no other program can be trusted to keep the file read-only.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from datasette.app import Datasette
from datasette.database import Database
from datasette.plugins import pm
from datasette.utils import parse_metadata
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
# The database's name on the pages, to which the descriptions refer; its file may have any name.
NAME = "history"

_SETTINGS = {
    # The questions at ten million rows take up to two seconds.
    "sql_time_limit_ms": 10_000,
    "truncate_cells_html": 200,
    # It takes a second a page where there are millions of rows; each column's menu offers a facet, too.
    "suggest_facets": False,
    "allow_download": False,
}


class LiveDatabase(Database):  # type: ignore[misc]
    """A file that others write to: opened for reading only, and not taken for unchanging."""

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Connect as the base class does, but to any path, and never for writing."""
        if write:
            raise sqlite3.OperationalError("the record is open for reading only")
        path = quote(os.fsencode(os.path.abspath(self.path)))
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        self._all_file_connections.append(connection)
        return connection


def listen(port: int) -> socket.socket:
    """A socket on loopback; port 0 takes any that is free. Raises OSError for a port that cannot be used."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        raise
    return listener


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
    pages = Datasette(
        metadata=descriptions(),
        template_dir=str(HERE / "templates"),
        settings=_SETTINGS,
    )
    pages.add_database(LiveDatabase(pages, path), name=NAME)
    # It is made where no files are named.
    pages.remove_database("_memory")
    return TrustedHostMiddleware(_only_questions(pages.app()), allowed_hosts=[LOOPBACK, "localhost"])


def _only_questions(pages: ASGIApp) -> ASGIApp:
    """No form changes anything here, and Datasette answers one to a ready-made query with a traceback."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"}
        await (PlainTextResponse("only GET", 405) if refused else pages)(scope, receive, send)

    return answer
