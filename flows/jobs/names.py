"""Arguments that users give, checked: suites, paths, vaults, key files. Loads no engine, so that a refusal is quick."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.errors import RequestRefused
from flows.text import shown_path
from tasks.files import absolute
from tasks.suites import SUITES, SuiteName

if TYPE_CHECKING:
    from tasks.crypto.secret import KeyFile

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_RANDOM = re.compile(r"(\d+)\s*(?:([kmg])(?:i?b)?|b)?\s*x\s*(\d+)", re.IGNORECASE)

# Random payloads lie in memory while they are encrypted.
_RANDOM_BYTES = 1 << 30
_RANDOM_COUNT = 1_000_000


def check_suites(names: Sequence[str]) -> tuple[SuiteName, ...]:
    """The names without repetitions, all of them known.

    Raises:
        RequestRefused: a name is not in the table.
    """
    known = {str(name): name for name in SUITES}
    for name in names:
        if name not in known:
            raise RequestRefused(f"unknown suite {name!r}; there are: {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def need_outside(path: str, vault: str) -> None:
    """Raises RequestRefused for a path that is a vault's folder, or in it."""
    root = os.path.realpath(vault)
    if os.path.commonpath([root, os.path.realpath(path)]) == root:
        raise RequestRefused(
            f"{shown_path(path)} is in the vault itself; name something outside of {shown_path(vault)}"
        )


def parse_random(text: str) -> tuple[int, int]:
    """Size in bytes and count of `100x3` or `4KiBx1000`.

    Raises:
        RequestRefused: it is not of that form, or over the bounds.
    """
    match = _RANDOM.fullmatch(text.strip())
    if match is None:
        raise RequestRefused(f"random payloads are given as SIZExCOUNT, such as 100x3 or 4KiBx1000, not {text!r}")
    size_bytes, count = int(match[1]) * _UNITS[(match[2] or "").lower()], int(match[3])
    if size_bytes > _RANDOM_BYTES:
        raise RequestRefused("a random payload has at most 1 GiB (it is held in memory)")
    if not 1 <= count <= _RANDOM_COUNT:
        raise RequestRefused(f"the number of random payloads is between 1 and {_RANDOM_COUNT:,}")
    return size_bytes, count


def check_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths, if there is something at each of them.

    Raises:
        RequestRefused: no paths, a path at which there is nothing, or `-` beside others.
    """
    if not paths:
        raise RequestRefused("nothing to encrypt: name files or folders, or use --random SIZExCOUNT")
    if "-" in paths and len(paths) > 1:
        raise RequestRefused("standard input (-) cannot be combined with other paths")
    from tasks.crypto.scan import missing_paths

    missing = [] if "-" in paths else missing_paths(paths)
    if missing:
        hint = " (options: see --help)" if missing[0].startswith("-") else ""
        raise RequestRefused("no such file or folder: " + ", ".join(shown_path(path) for path in missing) + hint)
    return tuple(paths)


def need_path(path: str) -> str:
    """The absolute path, as for files that are encrypted, whether or not there is something.

    Raises:
        RequestRefused: it is empty.
    """
    if not path:
        raise RequestRefused("a path is empty")
    return os.fsdecode(absolute(path))


def need_vault(path: str | None) -> str:
    """The vault's folder.

    Raises:
        RequestRefused: none is given.
    """
    if path is None:
        raise RequestRefused("which vault? give --vault DIR or set THREADMILL_VAULT")
    return path


def need_key_file(path: str | None) -> KeyFile:
    """The key file, if it is one.

    Raises:
        RequestRefused: none is given.
        KeyFileError: it is not usable.
    """
    if path is None:
        raise RequestRefused(
            "files need a key file: make one with `threadmill keygen PATH`, "
            "then give --key-file PATH or set THREADMILL_KEY_FILE"
        )
    from tasks.crypto.secret import KeyFile

    key = KeyFile(path)
    key.secret()
    return key
