"""The words of the record for the outcomes of runs, payloads, samples and looks at vaults.

This module alone says which of them are failures. A set of words is a tuple, in the order in which the partial
indexes of `db.tables` name them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Via = Literal["prefect", "direct"]

RunStatus = Literal["running", "completed", "failed", "cancelled", "crashed"]
RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
CLOSED_STATUSES = tuple(status for status in RUN_STATUSES if status != "running")
RUN_FAILURES: tuple[RunStatus, ...] = ("failed", "crashed")

PayloadFailure = Literal["failed", "unstable", "carried-over"]
# `unstable` changed while it was read, and nobody said that it may; `carried-over` could not be read.
PAYLOAD_FAILURES: tuple[PayloadFailure, ...] = ("failed", "unstable", "carried-over")
# The causes of failures for which a source is to blame, and not the work on it.
UNREADABLE_CAUSES = ("unreadable", "no-file")

# Files that are unchanged have no rows. `changing` is `unstable` of a file that may change.
PAYLOAD_STATUSES = ("ok", "changing", "skipped", *PAYLOAD_FAILURES)

# A lost update of an unlocked counter is no failure.
SAMPLE_FAILURES = ("wrong-output", "broken", "crashed", "garbled", "timed-out")
# Outcomes with a time that counts: the output was right, or the sample is an unlocked race.
TIMED_OUTCOMES = ("ok", "lost", "none-observed")
UNLOCKED_OUTCOMES = ("lost", "none-observed")

VERDICT_KINDS = ("vault", "snapshot", "pack", "object", "file")
# No faults: `leftover` of a run that died, `removed` by prune, `stored` by a run, `rebuilt` since it was damaged,
# `accepted` by a user although many files are gone from a snapshot.
VERDICT_FAULTS = ("changed", "missing", "foreign", "unreadable", "invalid", "rolled-back", "not-written")


def sql_in(column: str, words: Sequence[str]) -> str:
    """The SQL condition that a column is one of these words."""
    quoted = ", ".join(f"'{word}'" for word in words)
    return f"{column} IN ({quoted})"


# The largest number of a column of bytes: two sparse files may come to more.
MOST_BYTES = 2**63 - 1
