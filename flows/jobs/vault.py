"""The steps and verdicts that the jobs of a vault share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from db.store import Store
from flows.jobs.run import Here, MoreDone, OpenRun, Pending, Step, at_once
from flows.text import FAULTS_NAMED, named, shown_path
from tasks.rows import verdict_rows
from tasks.vault.errors import Verdict, Verdicts
from tasks.vault.vault import Place

V = TypeVar("V", bound=Verdicts)


@dataclass(slots=True)
class VerdictTally:
    """The verdicts of a run, counted; `ordinal` is that of the next one, `faults` are the first few in words.

    `sizes` are the bytes of all things of a kind and status.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    sizes: Counter[tuple[str, str]] = field(default_factory=Counter)
    ordinal: int = 0
    faulty: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, verdicts: Sequence[Verdict]) -> list[str]:
        """Count some more; the faults among them in words."""
        words = [shown(verdict) for verdict in verdicts if verdict.is_fault]
        for verdict in verdicts:
            self.counts[verdict.kind, verdict.status] += 1
            self.sizes[verdict.kind, verdict.status] += verdict.size_bytes or 0
        self.faulty += len(words)
        self.faults += words[: FAULTS_NAMED - len(self.faults)]
        return words

    @property
    def exit_code(self) -> int:
        """1 if there is a fault."""
        return 1 if self.faulty else 0

    @property
    def message(self) -> str:
        """The number of faults, as the end of a line."""
        return f"FAULTS: {self.faulty:,}" if self.faulty else "no fault"

    @property
    def named_faults(self) -> str:
        """The first faults in words; empty if there are none."""
        return named(self.faults, self.faulty)


def shown(verdict: Verdict) -> str:
    """A fault in words: kind, name, path and error."""
    path = verdict.path
    of = "" if path is None or verdict.kind != "object" else f" of {shown_path(path)}"
    return f"{verdict.kind} {verdict.name}{of} {verdict.status}" + (f" ({verdict.error})" if verdict.error else "")


@dataclass(frozen=True, slots=True)
class VaultWork(Generic[V]):
    """The work of a step. It comes to at most `count` verdicts, and has as many ordinals."""

    name: str
    count: int
    work: Callable[[Here], V]


def run_on_vault(
    works: Iterable[VaultWork[V]],
    kind: str,
    place: Place,
    run: OpenRun,
    tally: VerdictTally,
    *,
    workers: int = 1,
    take: Callable[[V], object] | None = None,
) -> None:
    """Do each work as a step, some at once; its verdicts are recorded before they are counted.

    Raises the CryptoError that ended a step; its verdicts until then are recorded.
    """

    def start(one: VaultWork[V]) -> Pending[V]:
        first = tally.ordinal
        tally.ordinal += one.count
        names = f"{kind}-batch", one.name, f"record {one.name}"
        return run.start(Step(*names, one.work, partial(record, place, first)))

    with closing(at_once(works, start, workers, run.tools.cancel)) as ended:
        for one, done in ended:
            size_bytes = sum(verdict.size_bytes or 0 for verdict in done.verdicts)
            line = one.name.partition(":")[0]
            run.tools.reporter.progressed(MoreDone(len(done.verdicts), size_bytes, line, tally.add(done.verdicts)))
            if take is not None:
                take(done)
            if done.error is not None:
                raise done.error


def record(place: Place, first_ordinal: int, store: Store, run_id: int, done: Verdicts) -> None:
    """Record verdicts on a vault; rows that are on record already stay as they are."""
    store.record_verdicts(verdict_rows(run_id, place.instance, place.path, first_ordinal, done.verdicts))


def record_at_once(verdicts: Iterable[Verdict], place: Place, run: OpenRun, tally: VerdictTally) -> None:
    """Record verdicts that are of no step."""
    done = Verdicts(tuple(verdicts))
    record(place, tally.ordinal, run.tools.store, run.run_id, done)
    tally.ordinal += len(done.verdicts)
    run.tools.reporter.progressed(MoreDone(faults=tally.add(done.verdicts)))
