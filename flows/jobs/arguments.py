"""Paths, vaults and key files that users name, checked; loads no engine, so that a refusal is quick."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.errors import RequestRefused
from flows.text import shown_path
from tasks.files import absolute

if TYPE_CHECKING:
    from tasks.crypto.secret import KeyFile


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


def need_outside(path: str, vault: str) -> None:
    """Raises RequestRefused for a path that is a vault's folder, or in it."""
    root = os.path.realpath(vault)
    if os.path.commonpath([root, os.path.realpath(path)]) == root:
        raise RequestRefused(
            f"{shown_path(path)} is in the vault itself; name something outside of {shown_path(vault)}"
        )
