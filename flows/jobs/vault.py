"""Work on a vault: the steps and verdicts that its jobs share, and the prune job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from db.history import History
from db.rows import NewRun
from db.store import Store
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.parameters import PruneVault
from flows.jobs.run import Job, MoreDone, OpenRun, PlannedWork, Tools, open_run
from flows.jobs.runner import Here, Pending, Step, at_once
from flows.settings import Settings
from flows.text import shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.rows import verdict_rows
from tasks.vault.errors import VaultChanged, Verdict, Verdicts, collect
from tasks.vault.index import ObjectIndex
from tasks.vault.locks import alone, reading, sweep
from tasks.vault.lookup import newest_snapshot, open_place
from tasks.vault.prune import Policy, Removal, plan_removal, remove_objects, remove_snapshots
from tasks.vault.snapshots import Snapshot
from tasks.vault.vault import Place, Vault, open_vault
from tasks.vault.verify import KnownSnapshot, rolled_back

# A step should take about a second: Prefect costs 25 ms for each.
_STEP_REMOVALS = 5_000
# The message of a run is one line; all of it: threadmill history failures.
_FAULTS_NAMED = 5
# For a user who wants the latest snapshot of a vault that was set back.
NAME_ANOTHER = "put it back from a copy, or name the one that you want: threadmill snapshots"

V = TypeVar("V", bound=Verdicts)


@dataclass(slots=True)
class VerdictTally:
    """The verdicts of a run, counted; `ordinal` is that of the next one, `faults` are the first few in words.

    `size_bytes` is that of the objects without a fault; the size of snapshots does not count.
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
    """A fault in words: kind, name, path and error."""
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
class VaultWork(Generic[V]):
    """The work of a step: `count` verdicts at the most, which is how many ordinals it has."""

    name: str
    count: int
    work: Callable[[Here], V]


def _ignore(_done: Verdicts) -> None:
    """Most jobs need only the tally."""


def run_on_vault(
    works: Iterable[VaultWork[V]],
    kind: str,
    place: Place,
    run: OpenRun,
    tally: VerdictTally,
    *,
    workers: int = 1,
    take: Callable[[V], object] = _ignore,
) -> None:
    """Do each work as a step, some at once; its verdicts are recorded before they are counted.

    Raises:
        CryptoError: a step was ended by it; its verdicts until then are recorded.
    """
    ordinal = tally.ordinal

    def start(one: VaultWork[V]) -> Pending[V]:
        nonlocal ordinal
        first = ordinal
        ordinal += one.count
        names = f"{kind}-batch", one.name, f"record {one.name}"
        return run.start(Step(*names, one.work, partial(record, place, first)))

    with closing(at_once(works, start, workers, run.tools.cancel)) as ended:
        for one, done in ended:
            size_bytes = sum(verdict.size_bytes or 0 for verdict in done.verdicts)
            line = one.name.partition(":")[0]
            run.tools.reporter.progressed(MoreDone(len(done.verdicts), size_bytes, line, tally.add(done.verdicts)))
            take(done)
            if done.error is not None:
                raise done.error


def record(place: Place, first_ordinal: int, store: Store, run_id: int, done: Verdicts) -> None:
    """Record verdicts on a vault; those that are on record already stay as they are."""
    store.record_verdicts(verdict_rows(run_id, place.vault_id, place.path, first_ordinal, done.verdicts))


def record_at_once(verdicts: Sequence[Verdict], place: Place, run: OpenRun, tally: VerdictTally) -> None:
    """Record the verdicts that planning came to."""
    record(place, tally.ordinal, run.tools.store, run.run_id, Verdicts(tuple(verdicts)))
    run.tools.reporter.progressed(MoreDone(faults=tally.add(verdicts)))


@dataclass(frozen=True, slots=True)
class PruningRequest:
    """The vault, and the policy that says which snapshots stay."""

    vault: str
    key: KeyFile
    policy: Policy

    def __post_init__(self) -> None:
        """Raises RequestRefused."""
        if self.policy.keeps_nothing:
            raise RequestRefused(
                "that would keep nothing; say what to keep: --keep-last, --keep-daily, --keep-weekly, --keep-monthly"
            )

    def parameters(self) -> dict[str, object]:
        """For the record."""
        return {"vault": shown_path(self.vault), **{f"keep_{name}": n for name, n in asdict(self.policy).items()}}


@dataclass(frozen=True, slots=True)
class Pruned:
    """The numbers of removed and kept snapshots and objects."""

    tally: VerdictTally
    kept: int

    @property
    def exit_code(self) -> int:
        """See `PartOutcome`."""
        return 0

    @property
    def message(self) -> str:
        """One line for people."""
        snapshots, objects = self.tally.count("snapshot", "removed"), self.tally.count("object", "removed")
        return (
            f"snapshots: {snapshots:,} removed, {self.kept:,} kept; "
            f"objects: {objects:,} removed, {size(self.tally.size_bytes)}"
        )


def pruning_request(parameters: PruneVault, settings: Settings) -> PruningRequest:
    """The parameters with the settings of this process, checked.

    Raises:
        RequestRefused: no vault or key file is set, or the policy would keep nothing.
    """
    policy = Policy(parameters.keep_last, parameters.keep_daily, parameters.keep_weekly, parameters.keep_monthly)
    return PruningRequest(need_vault(settings.vault), need_key_file(settings.key_file), policy)


def pruning_job(parameters: PruneVault, settings: Settings) -> Job:
    """The job for these parameters; see `pruning_request`."""
    return partial(prune, pruning_request(parameters, settings))


def prune(request: PruningRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Remove what the policy does not keep; the run, closed.

    Raises:
        CryptoError: refused before anything is removed; or, once the run has a row, something cannot be removed.
        RecordError: the record cannot be written.
    """
    with ExitStack() as stack:

        def make() -> tuple[Place, ObjectIndex, Removal]:
            vault = open_vault(request.vault, request.key.secret())
            stack.enter_context(alone(vault.root, tools.cancel))
            index = stack.enter_context(ObjectIndex())
            return vault.place(), index, _plan_prune(vault, request.policy, index, tools.history, tools.cancel)

        place, index, removal = tools.runner.plan(make)
        tools.reporter.planned(PlannedWork("removing", "removal", len(removal.snapshots) + removal.objects))
        with open_run(replace(run, parameters=request.parameters()), tools) as opened:
            tally = VerdictTally()
            run_on_vault(_removals(place, request.key, removal, index), "prune", place, opened, tally)
            sweep(place.path)
            opened.outcomes.append(Pruned(tally, removal.kept))
    return opened


def _removals(place: Place, key: KeyFile, removal: Removal, index: ObjectIndex) -> Iterator[VaultWork[Verdicts]]:
    """One after the other, and snapshots first: no object goes while a snapshot names it."""
    number = 0
    ways = ((_remove_snapshots, iter([one.name for one in removal.snapshots])), (_remove_objects, index.unnamed()))
    for remove, names in ways:
        while some := tuple(islice(names, _STEP_REMOVALS)):
            yield VaultWork(f"prune batch {number}", len(some), partial(remove, place, key, some))
            number += 1


def _remove_snapshots(place: Place, key: KeyFile, names: tuple[str, ...], here: Here) -> Verdicts:
    del here
    return collect(remove_snapshots(open_place(place, key).root, names))


def _remove_objects(place: Place, key: KeyFile, digests: tuple[str, ...], here: Here) -> Verdicts:
    return collect(remove_objects(open_place(place, key).root, digests, here.cancel))


def preview_prune(request: PruningRequest, history: History, cancel: CancelToken) -> Removal:
    """Plan a removal, and remove nothing.

    Raises:
        CryptoError: the removal would be refused.
    """
    vault = open_vault(request.vault, request.key.secret())
    with reading(vault.root, cancel), ObjectIndex() as index:
        return _plan_prune(vault, request.policy, index, history, cancel)


def _plan_prune(vault: Vault, policy: Policy, index: ObjectIndex, history: History, cancel: CancelToken) -> Removal:
    """Refuse a vault that was set back: objects of its lost newest snapshot may still be there."""
    hint = "nothing is removed; put it back from a copy, or go on without it: threadmill encrypt"
    need_latest(vault, newest_snapshot(vault), history, hint)
    return plan_removal(vault, policy, index, cancel)
