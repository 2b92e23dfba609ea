"""`threadmill keygen`."""

from __future__ import annotations

from flows.cli.output import say
from tasks.crypto.secret import write_key_file


def keygen(path: str, /) -> int:
    """Write a new key file (mode 0600).

    Without it nothing that was encrypted with it can be opened, by anybody: keep a copy in a safe place.

    Args:
        path: file to make; one that exists is never overwritten
    """
    write_key_file(path)
    say(f"wrote {path}. Without it nothing opens: keep a copy in a safe place, and tell nobody what is in it.")
    return 0
