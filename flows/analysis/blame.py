"""What differs between two groups of runs, as far as the record knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from db.answers import SummaryRow

# What a summary calls it → what a person does.
_NAMES = {
    "backend": "backend",
    "interpreter": "interpreter",
    "workload": "workload version",
    "host": "host facts",
    "kernel": "kernel",
    "code": "threadmill",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that is not the same before and after."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what} {self.before} → {self.after}"


def changed(
    before: Sequence[SummaryRow], after: Sequence[SummaryRow], apart_from: Iterable[str] = ()
) -> tuple[Changed, ...]:
    """What most runs before and most runs after had differently."""
    found = []
    for key, name in _NAMES.items():
        one, other = _usual(before, key), _usual(after, key)
        if one != other and key not in apart_from:
            found.append(Changed(name, one, other))
    return tuple(found)


def _usual(rows: Sequence[SummaryRow], key: str) -> str:
    """The value of most runs; of as many, that of the last."""
    counts = Counter(str(row.covariates[key]) for row in rows if row.covariates.get(key) is not None)
    latest = [str(row.covariates.get(key)) for row in rows]
    return max(counts, key=lambda value: (counts[value], len(latest) - latest[::-1].index(value)), default="unknown")
