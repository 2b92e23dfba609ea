"""The few requests that `serve` makes of its server: standard library, so that it stays small while it waits."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

from flows.errors import ApiError

_TIMEOUT_S = 30.0
# On a busy machine the server may wait in vain for its own database (503); Prefect's client tries again, too.
_TRIES = 5
_PAUSE_S = 1.0

JsonObject = dict[str, Any]


class Api:
    """Prefect's REST API of one server, by its documented paths."""

    def __init__(self, url: str, auth: str | None) -> None:
        """`url` is the address of the UI, `auth` what PREFECT_API_AUTH_STRING says."""
        self._url = f"{url}/api"
        self._headers = {"Content-Type": "application/json"}
        if auth:
            self._headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
        # A proxy is for the world outside.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            with self._opener.open(f"{self._url}/health", timeout=5):
                return True
        except (OSError, ValueError):
            return False

    def find(self, path: str) -> JsonObject | None:
        """What is there; None if there is nothing.

        Raises:
            ApiError: see `ask`.
        """
        try:
            found: JsonObject = self.ask("GET", path)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    def ask(self, method: str, path: str, body: JsonObject | None = None) -> Any:
        """One request; the answer's JSON.

        Raises:
            ApiError: refused, or no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - http on the loopback address
            f"{self._url}/{path}", data, self._headers, method=method
        )
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                    text = answer.read()
                    return json.loads(text) if text else None
            except (OSError, ValueError) as error:
                if not (tries_left and _is_busy(error)):
                    raise ApiError(f"{method} {path}", str(error), getattr(error, "code", None)) from error
            time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def list(self, path: str, **body: Any) -> list[JsonObject]:
        """What a `…/filter` path lists.

        Raises:
            ApiError: see `ask`.
        """
        found: list[JsonObject] = self.ask("POST", f"{path}/filter", body)
        return found


def _is_busy(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code == HTTPStatus.SERVICE_UNAVAILABLE
