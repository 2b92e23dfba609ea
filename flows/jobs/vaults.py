"""What the jobs on a vault share: asking for it, and going through it in steps, each recorded when it is done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from db.history import History
from db.store import Store
from flows.jobs.run import MoreDone, OpenRun
from flows.jobs.runner import Here, Pending, Step, at_once
from tasks.crypto.errors import CryptoError
from tasks.rows import verdict_rows
from tasks.vault.errors import VaultChanged
from tasks.vault.snapshots import Snapshot
from tasks.vault.vault import Vault
from tasks.vault.verdicts import Verdict
from tasks.vault.verify import KnownSnapshot, rolled_back

# A step should take about a second: Prefect costs 25 ms for each.
_STEP_S = 1.0
_STEP_VERDICTS = 5_000
# The message of a run is one line; all of it: threadmill history failures.
_FAULTS_NAMED = 5
# For somebody who wants the latest snapshot of a vault that was set back.
NAME_ANOTHER = "put it back from a copy, or name the one that you want: threadmill snapshots"

Verdicts = tuple[Verdict, ...]


@dataclass(slots=True)
class Tally:
    """What all verdicts of a run come to; `ordinal` is that of the next one, `faults` the first few in words.

    `size_bytes` is of the objects that are no fault: a snapshot has a size too, and is not what was proven or freed.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    size_bytes: int = 0
    ordinal: int = 0
    faulty: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, verdicts: Sequence[Verdict]) -> list[str]:
        """Count some more; the faults among them in words."""
        words = [shown(verdict) for verdict in verdicts if verdict.is_fault]
        self.counts.update((verdict.kind, verdict.status) for verdict in verdicts)
        objects = (verdict for verdict in verdicts if verdict.kind == "object" and not verdict.is_fault)
        self.size_bytes += sum(verdict.size_bytes or 0 for verdict in objects)
        self.ordinal += len(verdicts)
        self.faulty += len(words)
        self.faults += words[: _FAULTS_NAMED - len(self.faults)]
        return words

    def count(self, kind: str, status: str) -> int:
        """How many of a kind were found to be so."""
        return self.counts[kind, status]

    @property
    def message(self) -> str:
        """The faults, as the end of a line."""
        if not self.faulty:
            return "no fault"
        more = f" and {self.faulty - len(self.faults):,} more" if self.faulty > len(self.faults) else ""
        return f"FAULTS: {self.faulty:,}: " + "; ".join(self.faults) + more


def shown(verdict: Verdict) -> str:
    """A fault in words: what, which one, how, and of what path."""
    path = verdict.path
    of = "" if path is None or verdict.kind != "object" else f" of {path.decode(errors='backslashreplace')}"
    return f"{verdict.kind} {verdict.name}{of} {verdict.status}" + (f" ({verdict.error})" if verdict.error else "")


def known_snapshot(history: History, vault: Vault) -> KnownSnapshot | None:
    """The newest snapshot that is on record for a vault."""
    row = history.vault(vault.id)
    if row is None or row.last_sequence is None:
        return None
    return KnownSnapshot(row.last_sequence, row.last_snapshot or "", row.last_mac or "")


def need_latest(vault: Vault, newest: Snapshot | None, history: History, hint: str) -> None:
    """Raises VaultChanged, with a hint at what to do, unless the newest snapshot is the newest one on record too."""
    if fault := rolled_back(vault, [newest], known_snapshot(history, vault)):
        raise VaultChanged(vault.root, f"{fault}; {hint}")


@dataclass(frozen=True, slots=True)
class Portion:
    """One step's work: `count` verdicts at the most, which is how many ordinals it has."""

    name: str
    count: int
    work: Callable[[Here], Verdicts]


def run_portions(
    portions: Iterable[Portion], kind: str, vault: Vault, run: OpenRun, tally: Tally, *, workers: int
) -> None:
    """Do them, some at once; each is recorded before it is counted."""
    ordinal = tally.ordinal

    def start(portion: Portion) -> Pending[Verdicts]:
        nonlocal ordinal
        first = ordinal
        ordinal += portion.count
        names = f"{kind}-batch", portion.name, f"record {portion.name}"
        return run.start(Step(*names, portion.work, partial(record, vault, first)))

    with closing(at_once(portions, start, workers, run.tools.cancel)) as ended:
        for portion, verdicts in ended:
            size_bytes = sum(one.size_bytes or 0 for one in verdicts)
            line = portion.name.partition(":")[0]
            run.tools.reporter.progressed(MoreDone(len(verdicts), size_bytes, line, tally.add(verdicts)))


def record(vault: Vault, first_ordinal: int, store: Store, run_id: int, verdicts: Sequence[Verdict]) -> None:
    """Record verdicts on a vault; those that are on record already stay as they are."""
    store.record_verdicts(verdict_rows(run_id, vault.id, vault.root, first_ordinal, verdicts))


def drawn(verdicts: Iterator[Verdict], what: str) -> Iterator[Portion]:
    """Portions that go on where the one before stopped, for work that is done in one order; each of about a second."""
    draw = _Draw(verdicts)
    number = 0
    while not draw.ended:
        yield Portion(f"{what} batch {number}", _STEP_VERDICTS, draw)
        number += 1


class _Draw:
    """The next verdicts; what was found before something went wrong is recorded first, and then that is raised."""

    def __init__(self, verdicts: Iterator[Verdict]) -> None:
        self._verdicts = verdicts
        self._failure: CryptoError | None = None
        self.ended = False

    def __call__(self, here: Here) -> Verdicts:
        del here
        if self._failure is not None:
            raise self._failure
        done: list[Verdict] = []
        deadline = time.monotonic() + _STEP_S
        try:
            while len(done) < _STEP_VERDICTS and time.monotonic() < deadline and not self.ended:
                verdict = next(self._verdicts, None)
                if verdict is None:
                    self.ended = True
                else:
                    done.append(verdict)
        except CryptoError as error:
            if not done:
                raise
            self._failure = error
        return tuple(done)


def record_at_once(verdicts: Sequence[Verdict], vault: Vault, run: OpenRun, tally: Tally) -> None:
    """Record the verdicts that planning came to."""
    record(vault, tally.ordinal, run.tools.store, run.run_id, verdicts)
    run.tools.reporter.progressed(MoreDone(faults=tally.add(verdicts)))
