"""`threadmill interpreters`."""

from __future__ import annotations

from flows.cli.options import Json, Names
from flows.show.tables import INTERPRETERS
from flows.show.terminal import print_json, print_table
from tasks.cancel import CancelToken


def interpreters(*, python: Names = [], json: Json = False) -> int:  # noqa: B006 - never changed
    """List the interpreters that experiments can run on.

    They are the running one, those on PATH, and pyenv's.

    Exit codes: 0 listed, 2 refused: an interpreter that was asked for is not there.

    Example: threadmill interpreters --python 3.12,3.13t

    Args:
        python: only these: paths, or versions such as 3.12, 3.13.0, 3.13t
    """
    from flows.jobs.experiment import find_interpreters

    found = find_interpreters(python or ["all"], CancelToken())
    if json:
        print_json(found)
    else:
        print_table(INTERPRETERS.fill(found))
    return 0
