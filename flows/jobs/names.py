"""Names that users give, checked; on its own, so that commands which only read need not load the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from flows.errors import RequestRefused
from flows.text import shown_path
from tasks.crypto.suites import SUITES, SuiteName

if TYPE_CHECKING:
    from tasks.crypto.probe import BackendChoice

Name = TypeVar("Name", bound=str)


def check_suites(names: Sequence[str]) -> tuple[SuiteName, ...]:
    """The names without repetitions, all of them known.

    Raises:
        RequestRefused: a name is not in the table.
    """
    known = {str(name): name for name in SUITES}
    return tuple(_known(name, known, "suite") for name in dict.fromkeys(names))


def check_backends(names: Sequence[str]) -> tuple[BackendChoice, ...]:
    """The names without repetitions, all of them known.

    Raises:
        RequestRefused: a name is not that of a backend.
    """
    known: dict[str, BackendChoice] = {"auto": "auto", "openssl": "openssl", "native": "native"}
    return tuple(_known(name, known, "backend") for name in dict.fromkeys(names))


def _known(name: str, known: Mapping[str, Name], what: str) -> Name:
    if name not in known:
        raise RequestRefused(f"unknown {what} {name!r}; there are: {', '.join(known)}")
    return known[name]


def need_outside(path: str, vault: str) -> None:
    """Raises RequestRefused for a path that is a vault's folder, or in it."""
    root = os.path.realpath(vault)
    if os.path.commonpath([root, os.path.realpath(path)]) == root:
        raise RequestRefused(
            f"{shown_path(path)} is in the vault itself; name something outside of {shown_path(vault)}"
        )
