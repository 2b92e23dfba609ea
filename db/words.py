"""The words that the record uses for what became of runs, payloads, samples and things in vaults.

Which of them are failures stands here and nowhere else. A set of words is a tuple, in the order in which the partial
indexes of `db.tables` name them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Via = Literal["prefect", "direct"]

RunStatus = Literal["running", "completed", "failed", "cancelled", "crashed"]
RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
RUN_FAILURES: tuple[RunStatus, ...] = ("failed", "crashed")

PAYLOAD_FAILURES = ("failed", "unstable")

# A lost update of an unlocked counter is no failure.
SAMPLE_FAILURES = ("wrong-output", "broken", "crashed", "garbled", "timed-out")
# The time of such a sample stands for something: its output was right, or it is an unlocked race's.
TIMED_OUTCOMES = ("ok", "lost", "none-observed")
UNLOCKED_OUTCOMES = ("lost", "none-observed")

VERDICT_KINDS = ("vault", "snapshot", "object", "file")
# A leftover of a run that died is no fault, nor is a thing that was removed on purpose.
VERDICT_FAULTS = ("changed", "missing", "foreign", "unreadable", "invalid", "rolled-back", "not-written")


def sql_in(column: str, words: Sequence[str]) -> str:
    """The SQL condition that a column is one of these words."""
    quoted = ", ".join(f"'{word}'" for word in words)
    return f"{column} IN ({quoted})"
