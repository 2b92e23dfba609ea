"""Names that users give, checked; on its own, so that commands which only read need not load the engine."""

from __future__ import annotations

import os
from collections.abc import Sequence

from flows.errors import RequestRefused
from flows.text import shown_path
from tasks.suites import SUITES, SuiteName


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
