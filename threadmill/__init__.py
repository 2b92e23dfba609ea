"""The entry point of the command, under a name that no other package has.

A folder of PYTHONPATH may have a package called flows, tasks or db, and Python looks there first.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command with its own packages first, here and in the processes that it starts."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, own)
    if others := os.environ.get("PYTHONPATH"):
        os.environ["PYTHONPATH"] = os.pathsep.join((own, others))
    from flows.cli.main import main as run

    return run()
