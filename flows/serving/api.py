"""The client of Prefect's API: standard library only, because importing Prefect takes more than a second."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from flows.errors import ApiError, RequestRefused
from flows.serving.password import AUTH, JsonObject, active_profile

_TIMEOUT_S = 30.0
# On a busy machine the server may wait in vain for its own database (503); Prefect's client tries again, too.
_TRIES = 5
_PAUSE_S = 1.0
# Two hundred deployments or runs, the most that are asked for at once, are a hundredth of this.
_MOST_BYTES = 64 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@contextmanager
def as_prefect_has_it(what: str) -> Iterator[None]:
    """Raise ApiError where the answers in the body are JSON, but of other forms than Prefect's."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        reason = f"this is not what Prefect answers ({type(error).__name__}: {error}); see PREFECT_API_URL"
        raise ApiError(what, reason) from error


class Api:
    """Prefect's REST API, at the address and with the credentials that Prefect's own programs would take."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the address and credentials from an environment, which has to have PREFECT_API_URL.

        RequestRefused if a password is in the address, which goes into logs and messages.
        """
        self.url = environment["PREFECT_API_URL"].rstrip("/")
        if "@" in self.url:
            raise RequestRefused("PREFECT_API_URL has a user or password in it: set PREFECT_API_AUTH_STRING instead")
        settings = {**active_profile(environment), **environment}
        self._headers = {"Content-Type": "application/json", **_credentials(settings)}
        handlers: list[urllib.request.BaseHandler] = []
        # urlsplit refuses some addresses, as does the first request.
        with suppress(ValueError):
            if urlsplit(self.url).hostname in _LOOPBACK:
                # A proxy is for the world outside.
                handlers.append(urllib.request.ProxyHandler({}))
        if certificates := settings.get("PREFECT_API_SSL_CERT_FILE"):
            context = ssl.create_default_context(cafile=os.path.expanduser(certificates))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            with self._opener.open(f"{self.url}/health", timeout=5):
                return True
        except (OSError, ValueError, HTTPException):
            return False

    def find(self, path: str) -> JsonObject | None:
        """The object at a path; None if there is none."""
        try:
            found: JsonObject = self.ask("GET", path)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    def list(self, path: str, **body: Any) -> list[JsonObject]:
        """The objects that a `…/filter` path lists."""
        found: list[JsonObject] = self.ask("POST", f"{path}/filter", body)
        return found

    def ask(self, method: str, path: str, body: JsonObject | None = None) -> Any:
        """Make one request; the answer's JSON. Raises ApiError if the server refuses it, or does not answer."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return self._send(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code == HTTPStatus.FORBIDDEN and "Prefect-Csrf-Token" not in self._headers:
                    self._take_csrf_token()
                    continue
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or not tries_left:
                    raise ApiError(f"{method} {path}", f"HTTP {error.code} {error.reason}", error.code) from error
            except (OSError, ValueError, HTTPException) as error:
                raise ApiError(
                    f"{method} {path}", str(getattr(error, "reason", error)) or type(error).__name__
                ) from error
            time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: str, body: JsonObject | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        # The scheme is the user's own choice, in the user's own environment.
        request = urllib.request.Request(f"{self.url}/{path}", data, self._headers, method=method)  # noqa: S310
        with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
            text = answer.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ValueError("the answer has no end")
        try:
            return json.loads(text) if text else None
        except RecursionError:
            raise ValueError("the answer is nested too deeply") from None

    def _take_csrf_token(self) -> None:
        """A server with PREFECT_SERVER_CSRF_PROTECTION_ENABLED wants a token of its own in every change."""
        client = str(uuid.uuid4())
        # Set first, so that a second refusal is not answered by a second token.
        self._headers |= {"Prefect-Csrf-Client": client, "Prefect-Csrf-Token": ""}
        with suppress(OSError, ValueError, HTTPException, KeyError, TypeError):
            self._headers["Prefect-Csrf-Token"] = self._send("GET", f"csrf-token?client={client}", None)["token"]


def is_open(url: str) -> bool:
    """Whether the API at `url` serves a client without credentials."""
    try:
        Api({"PREFECT_API_URL": url, "PREFECT_PROFILES_PATH": os.devnull}).ask("GET", "admin/version")
    except ApiError as error:
        return error.status != HTTPStatus.UNAUTHORIZED
    return True


def _credentials(settings: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    # The authentication string comes first in Prefect's own client, too.
    if auth := settings.get(AUTH):
        headers["Authorization"] = f"Basic {base64.b64encode(os.fsencode(auth)).decode()}"
    elif key := settings.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    with suppress(ValueError, RecursionError, AttributeError):
        more = json.loads(settings.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}")
        headers |= {str(name): str(value) for name, value in more.items()}
    return headers
