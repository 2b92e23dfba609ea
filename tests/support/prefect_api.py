"""The API of a Prefect server, asked as its UI asks it."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

# Post to a path below the API: the path, and what is sent.
Ask = Callable[..., Any]


def ask_server(
    api: str, path: str, body: dict[str, Any] | None = None, *, method: str | None = None, auth: str | None = None
) -> Any:
    """What the server answers; with a body it is posted, unless there is another method.

    Args:
        api: its URL, such as `http://127.0.0.1:4200/api`.
        path: below it.
        body: what is sent as JSON.
        method: of the request.
        auth: user and password, with a colon between them.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{api}/{path}", data, {"Content-Type": "application/json"}, method=method
    )
    if auth:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    for _ in range(10):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own loopback address
                text = answer.read()
            return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            # Where the machine is so busy that the server waits in vain for its own database.
            if error.code != 503:
                raise
            error.close()
            time.sleep(1)
    raise AssertionError("the server is too busy")
