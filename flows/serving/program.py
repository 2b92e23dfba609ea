"""Prefect's server as threadmill starts it: `python -m flows.serving.program DESCRIPTOR`.

It serves on a socket that listens already, and to its own address only.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prefect.settings import PREFECT_SERVER_CORS_ALLOWED_ORIGINS, get_current_settings, temporary_settings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


# Pages of FastAPI that run scripts of another site, which could read the password that the browser keeps for the UI.
_FOREIGN_SCRIPTS = ("/docs", "/redoc", "/api/docs", "/api/redoc")


class OwnAddress:
    """Lets pass only what is addressed to one of the origins, and what no other site has a browser send or run.

    The name of a foreign site may lead to the loopback address: hence the look at the host. A browser asks nobody
    before it opens a WebSocket to another origin, or posts a form there: hence the look at the origin.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app, self._origins = app, frozenset(origins)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or let the application answer."""
        refusal = None
        if scope["type"] in ("http", "websocket") and not self._allows(Headers(scope=scope)):
            refusal = "This is neither the server's own address nor one of its pages.\n"
        elif scope.get("path") in _FOREIGN_SCRIPTS:
            refusal = "This page would run scripts of another site; /openapi.json describes the API.\n"
        await (PlainTextResponse(refusal, 403) if refusal else self._app)(scope, receive, send)

    def _allows(self, headers: Headers) -> bool:
        if "*" in self._origins:
            return True
        if not self._hosts.issuperset(host.lower() for host in headers.getlist("host") or [""]):
            return False
        if (origin := headers.get("origin")) is not None:
            return origin in self._origins
        # No origin comes with pictures, scripts and frames of other sites; a link there may lead to a page here.
        return headers.get("sec-fetch-site") in (None, "none", "same-origin") or (
            headers.get("sec-fetch-dest") == "document"
        )


def serve(listener: socket.socket) -> None:
    """Run Prefect's server until it is told to end by a signal."""
    import uvicorn
    from prefect.server.api.server import create_app

    server = get_current_settings().server
    host, port = listener.getsockname()[:2]
    suffix = "" if port == 80 else f":{port}"
    origins = [f"http://{name}{suffix}" for name in (host, "localhost")]
    # Those that the user has set are for a proxy in front.
    if "cors_allowed_origins" in server.api.model_fields_set:
        origins += [origin.strip() for origin in server.api.cors_allowed_origins.split(",")]
    with temporary_settings({PREFECT_SERVER_CORS_ALLOWED_ORIGINS: ",".join(origins)}):
        config = uvicorn.Config(
            # Around the application and not in it: automations call it in this process, under another name.
            OwnAddress(create_app(final=True), origins),
            log_level=server.logging_level.lower(),
            timeout_keep_alive=server.api.keepalive_timeout,
            ws_ping_interval=server.api.websocket_ping_interval,
            ws_ping_timeout=server.api.websocket_ping_timeout,
        )
        running = uvicorn.Server(config)
        running.run(sockets=[listener])
    if not running.started:
        sys.exit("the server could not start")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
