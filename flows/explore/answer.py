"""The program that puts SQL of visitors to the record, one statement after the other, within bounds of time and memory.

It is a process of its own, since only the kernel can bound a statement: SQLite asks whether to go on between two steps,
and one step (`instr`, `printf`, `LIKE`) can take minutes and gigabytes.
"""
# A module of its own: run as a program, by its path, so that it starts in 30 ms and imports nothing of the command.

from __future__ import annotations

import pickle
import resource
import signal
import sqlite3
import sys
import time
from functools import partial
from itertools import islice
from typing import Any

# The interpreter and SQLite take 40 MiB; what is sorted is in temporary files.
MEMORY_BYTES = 256 << 20
_FILE_BYTES = 1 << 30
# The pages are made in the memory of the command.
_ANSWER_BYTES = 32 << 20
_GRACE_S = 0.5
INTERRUPTED = "interrupted"


def main(uri: str) -> None:
    """Answer the questions on standard input until it ends."""
    # Ctrl-C on the terminal is for the command.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    connection = sqlite3.connect(uri, uri=True)
    connection.execute("PRAGMA query_only=ON")
    connection.text_factory = lambda text: text.decode(errors="replace")
    while True:
        try:
            sql, parameters, most_rows, limit_s = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the command
        except EOFError:
            return
        connection.set_progress_handler(partial(_is_over, time.monotonic() + limit_s), 1000)
        # It ends this process, also within a step.
        signal.setitimer(signal.ITIMER_REAL, limit_s + _GRACE_S)
        try:
            answer = pickle.dumps(_answer(connection, sql, parameters, most_rows))
        except MemoryError:
            answer = pickle.dumps(f"the answer takes more than {MEMORY_BYTES >> 20} MiB of memory")
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            answer = pickle.dumps(str(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


def _is_over(give_up: float) -> bool:
    return time.monotonic() > give_up


def _answer(
    connection: sqlite3.Connection, sql: str, parameters: Any, most: int | None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of the columns, and the rows."""
    cursor = connection.execute(sql, parameters)
    rows, left = [], _ANSWER_BYTES
    for row in islice(cursor, most):
        left -= sum(len(cell) if isinstance(cell, str | bytes) else 8 for cell in row) + 64 * len(row)
        if left < 0:
            raise ValueError(f"the answer has more than {_ANSWER_BYTES >> 20} MiB: ask for fewer rows or columns")
        rows.append(row)
    return [column[0] for column in cursor.description or ()], rows


if __name__ == "__main__":
    main(sys.argv[1])
