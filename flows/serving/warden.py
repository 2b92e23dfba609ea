"""What is left of `threadmill serve` after `kill -9`: it waits for that, and ends what `serve` cannot end any more.

The parent-death signal would take the server together with the worker, and reach no flow run: those are the worker's
children, in sessions of their own. This ends all of them in order.

It is a module of its own because it is run as one (`python -m`), and because it stays small in memory for as long as
`serve` lives.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flows.serving.processes import MARK, Child, end_all, open_log

_END_S = 30.0


@contextmanager
def standing_by(token: str, environment: Mapping[str, str], log: str) -> Iterator[Child]:
    """Have a warden from here on; at the end it makes sure that no process with the mark is left."""
    with open_log(log) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.serving.warden", token],
            # Without the mark, or it would end itself.
            env={name: value for name, value in environment.items() if name != MARK},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    warden = Child("the warden", process, log)
    try:
        yield warden
    finally:
        assert process.stdin is not None  # noqa: S101 - PIPE was asked for
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Read standard input to its end, which comes when `serve` has gone; then end every process with the mark."""
    while os.read(0, 4096):
        pass
    end_all(sys.argv[1])


if __name__ == "__main__":
    main()
