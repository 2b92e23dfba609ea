"""Cases in which a command could be too quiet or too loud, or give back something else than was kept."""

from __future__ import annotations

_RECORD_BYTES = 4 << 20


AFTERWARDS = ()
