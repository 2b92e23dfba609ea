"""One `threadmill serve` for one THREADMILL_HOME, and how other commands find it.

The lock is held for as long as `serve` lives, however it ends; a small file beside it says where its server is. A
command with an embedded server shares the lock among its like: two servers on one database file would be one too many.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from flows.errors import RequestRefused
from flows.settings import make_folder

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Live:
    """A `serve` that is running; `url` is the address of its UI."""

    url: str
    pid: int


@contextmanager
def hold(home: str) -> Iterator[None]:
    """Be the one `serve` of this THREADMILL_HOME.

    Raises:
        RequestRefused: there is one already, or a command with an embedded server uses the same files.
    """
    descriptor = _open(home)
    try:
        _take(descriptor, home)
        try:
            yield
        finally:
            _forget(home)
    finally:
        os.close(descriptor)


def announce(home: str, live: Live) -> None:
    """Say where the server is; the file is there whole, or not at all."""
    path = _state(home)
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": live.url, "pid": live.pid}, file)
    os.replace(f"{path}.new", path)


def share(home: str) -> bool:
    """Keep `serve` from starting for as long as this process lives; False if there is one already."""
    descriptor = _open(home)
    if not _lock(descriptor, fcntl.LOCK_SH):
        os.close(descriptor)
        return False
    _forget(home)
    return True


def find(home: str) -> Live | None:
    """The `serve` that is running; None if there is none, or if its server does not answer yet."""
    if not os.path.exists(_path(home)):
        return None
    descriptor = os.open(_path(home), os.O_RDWR)
    try:
        return None if _lock(descriptor, fcntl.LOCK_SH) else _read(home)
    finally:
        os.close(descriptor)


def _take(descriptor: int, home: str) -> None:
    # More than once: another command may just be looking.
    for _ in range(3):
        if _lock(descriptor, fcntl.LOCK_EX):
            _forget(home)
            return
        time.sleep(_POLL_S)
    live = _read(home)
    if live is None:
        raise RequestRefused(
            f"another threadmill serve is just starting in {os.path.abspath(home)}, or a command with --via prefect "
            "is using its files; try again when that is done"
        )
    raise RequestRefused(
        f"threadmill serve is running already: {live.url}, process {live.pid}; end that one first, "
        "or set another THREADMILL_HOME"
    )


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(home: str) -> int:
    # One by one: the mode is for the last folder only, and all of them are for their owner.
    for folder in (os.path.abspath(home), os.path.dirname(_path(home))):
        make_folder(folder)
    return os.open(_path(home), os.O_RDWR | os.O_CREAT, 0o600)


def _read(home: str) -> Live | None:
    try:
        with open(_state(home), encoding="utf-8") as file:
            said = json.load(file)
        return Live(str(said["url"]), int(said["pid"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _forget(home: str) -> None:
    """Remove what a `serve` that is gone has said."""
    with suppress(FileNotFoundError):
        os.remove(_state(home))


def _path(home: str) -> str:
    return os.path.join(os.path.abspath(home), "locks", "serve")


def _state(home: str) -> str:
    return f"{_path(home)}.json"
