"""`threadmill keygen`."""

from __future__ import annotations

from flows.show.terminal import say
from tasks.crypto.secret import write_key_file


def keygen(path: str, /) -> int:
    """Write a new key file, readable for its owner only.

    Nobody can open what was encrypted with a key file that is lost: keep a copy in a safe place.

    Exit codes: 0 written, 2 refused: the file exists or cannot be written.

    Example: threadmill keygen ~/threadmill.key

    Args:
        path: file to make; one that exists is never overwritten
    """
    write_key_file(path)
    say(f"wrote {path}. Without it nothing opens: keep a copy in a safe place, and tell nobody what is in it.")
    return 0
