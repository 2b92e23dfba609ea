"""Order, parameters and presentation: the jobs, the Prefect flows over them, the command line."""

from __future__ import annotations

import functools
import os

# Nothing phones home. Prefect reads both when it is first imported, hence here, where nothing of it is imported.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@functools.cache
def code_version() -> str:
    """The package's version, and the commit where it runs from a clone: `0.1.0`, or `0.1.0+g1a2b3c4d5e6f`.

    Read from git's files: starting git would cost 5 ms.
    """
    commit = _commit(os.path.join(_ROOT, ".git"))
    from importlib.metadata import version

    return version("threadmill") + (f"+g{commit[:12]}" if commit else "")


def _commit(git: str) -> str | None:
    head = _read(os.path.join(git, "HEAD"))
    if head is None or not head.startswith("ref: "):
        return head
    ref = head.removeprefix("ref: ")
    loose = _read(os.path.join(git, ref))
    if loose is not None:
        return loose
    packed = _read(os.path.join(git, "packed-refs")) or ""
    return next((line.split()[0] for line in packed.splitlines() if line.endswith(" " + ref)), None)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None
