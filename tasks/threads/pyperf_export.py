"""Samples of one case as the JSON that `pyperf stats` and `pyperf compare_to` read (its format 1.0)."""

import json
from collections.abc import Sequence
from typing import Protocol

from tasks.threads.choices import Outcome
from tasks.threads.errors import TooFewValuesError
from tasks.threads.samples import Sample

# For these a time means what it says.
TIMED = frozenset({Outcome.OK, Outcome.LOST, Outcome.NONE_OBSERVED, Outcome.NOT_EXERCISED})


class Named(Protocol):
    """An interpreter, or its row on record."""

    @property
    def label(self) -> str:
        """What a person calls it."""

    @property
    def implementation(self) -> str:
        """Such as cpython."""


def pyperf_document(samples: Sequence[Sample], interpreter: Named | None = None, name: str | None = None) -> str:
    """JSON text with one run per sample, each with its wall time in seconds; all of the same case.

    `name` is the case's key by default: `compare_to` pairs benchmarks by name, so two interpreters compare as
    they are, and two executors only under one name. Noisy samples are left out, as everywhere. Raises
    TooFewValuesError if none is left, and ValueError for samples of several cases.
    """
    names = {sample.case.key for sample in samples}
    if len(names) > 1:
        raise ValueError(f"samples of several cases: {', '.join(sorted(names))}")
    quiet = [one for one in samples if one.outcome in TIMED and not one.noisy and one.wall_ns]
    if not quiet:
        raise TooFewValuesError("a pyperf document", 1, 0)
    metadata = {"name": name or names.pop(), "unit": "second", "loops": 1}
    if interpreter is not None:
        metadata["python_version"] = interpreter.label
        metadata["python_implementation"] = interpreter.implementation
    return json.dumps({"version": "1.0", "metadata": metadata, "benchmarks": [{"runs": _runs(quiet)}]})


def _runs(samples: Sequence[Sample]) -> list[dict[str, object]]:
    return [
        {
            "metadata": {"date": sample.started_at.replace(tzinfo=None).isoformat(" ")},
            "values": [(sample.wall_ns or 0) / 1e9],
        }
        for sample in samples
    ]
