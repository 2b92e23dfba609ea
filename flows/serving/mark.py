"""The mark that every process of one `threadmill serve` carries in its environment, whoever started it."""

from __future__ import annotations

import uuid

MARK = "THREADMILL_SERVE"


def new_token() -> str:
    """The mark's value for one `serve`."""
    return uuid.uuid4().hex
