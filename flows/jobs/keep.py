"""The jobs that encrypt files into a vault, with a snapshot at the end, and that accept a snapshot in doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from db.history import History
from db.rows import NewRun, SnapshotRow
from db.store import Store
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.encrypt import EncryptionOutcome, batch_step, planned_work, run_batches
from flows.jobs.identity import known_snapshot, open_known
from flows.jobs.parameters import AcceptSnapshot, EncryptFiles
from flows.jobs.plan import Plan, need_something, plan_addition, recorded, settled
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, Step, Tools, open_run
from flows.jobs.vault import record
from flows.jobs.vault_state import doubts
from flows.settings import Settings
from flows.text import counted, parse_percentage, parse_share, plural, shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import MARKED, Batch, Encryption, Limits
from tasks.crypto.scan import refused_inside
from tasks.crypto.secret import KeySource
from tasks.rows import payload_rows, snapshot_row
from tasks.vault.add import Added, Addition, AdditionPlan, PartialInterval, adding, compare
from tasks.vault.batch import AddedBatch, add_batch
from tasks.vault.errors import Verdict, Verdicts, judged
from tasks.vault.format import INDEX
from tasks.vault.index import index_shared
from tasks.vault.locks import reading
from tasks.vault.lookup import find_snapshot, open_place, read_snapshot
from tasks.vault.vault import Place, Vault
from tasks.vault.verify import KnownSnapshot, rolled_back
from tasks.vault.walk import SourceSelection, sources_of


def keeping_job(parameters: EncryptFiles, settings: Settings) -> Job:
    """The job for these parameters where a vault keeps the ciphertext."""
    return partial(encrypt_into_vault, settled(parameters, settings), settings)


def encrypt_into_vault(parameters: EncryptFiles, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Encrypt files that are new or changed since the last snapshot of the same paths; the run, closed.

    The new snapshot comes at the end.

    A further attempt of a flow run begins anew: no snapshot names the objects of an earlier attempt.
    """
    path = need_vault(settings.vault)
    with ExitStack() as stack:
        additions: list[Addition] = []

        def make() -> Plan:
            vault = open_known(path, need_key_file(settings.key_file).secret(), tools.history)
            # Read a file again if its stored object is damaged.
            selection = _selection_of(parameters, settings, vault, tools.history)
            selection = replace(selection, distrusted=tools.history.damaged(vault.instance))
            additions.append(stack.enter_context(adding(vault, selection, tools.cancel)))
            return plan_addition(parameters, settings, additions[0], tools.cancel)

        plan = tools.runner.plan(make)
        (addition,) = additions
        tools.reporter.planned(planned_work(plan))
        known = known_snapshot(tools.history, addition.vault)
        faults = tuple(_faults(addition, known))
        with open_run(replace(run, parameters=recorded(parameters, settings)), tools) as opened:
            place = addition.vault.place()
            rebuilt = tuple(judged("file", f"{INDEX}/{name}", "rebuilt") for name in addition.found.rebuilt)
            record(place, 0, tools.store, opened.run_id, Verdicts((*faults, *rebuilt)))

            interval = PartialInterval(settings.partial_after_s, int(settings.partial_after_gib * 2**30))

            def take(done: AddedBatch) -> tuple[Encryption, ...]:
                addition.put(done, interval)
                return done.encryptions

            step_of = partial(batch_into_vault, place, plan, addition.selection, len(faults) + len(rebuilt))
            outcome = run_batches(plan, opened, step_of, take)
            added = addition.add_snapshot(known.sequence + 1 if known else 1, tools.cancel)
            # The vault first: a record that knows a newer snapshot than the vault has means a rollback.
            snapshot = snapshot_row(opened.run_id, addition, added, outcome.counts)
            tools.store.record_snapshot(snapshot)
            opened.outcomes.append(_kept(outcome, added, snapshot, faults, len(rebuilt)))
    return opened


def _kept(
    outcome: EncryptionOutcome, added: Added, row: SnapshotRow, faults: Sequence[Verdict], rebuilt: int
) -> PartOutcome:
    """The snapshot, files by status, sources that have lost files, and the first faults of files and of the vault."""
    marks = counted({status: outcome.counts[status] for status in MARKED if outcome.counts[status]})
    marked = f"{row.marked:,} marked" + (f" ({marks})" if marks else "")
    words = f"{row.new:,} new, {row.unchanged:,} unchanged, {marked}, {row.skipped:,} skipped, {row.missed:,} missed, "
    words += f"{row.gone:,} gone; {size(row.stored_bytes)} added"
    said = [f"snapshot {row.name} (number {row.sequence}): {words}", *doubts(added), *outcome.remarks]
    said += [f"the index of {plural(rebuilt, 'pack')} was written again"] if rebuilt else []
    said += [f"VAULT NOT AS IT WAS: {fault.error}" for fault in faults]
    code = 1 if faults else outcome.exit_code or (0 if row.counts else 3)
    return PartOutcome(code, "; ".join(said), outcome.named_faults)


def batch_into_vault(
    place: Place, plan: Plan, selection: SourceSelection, first: int, batch: Batch
) -> Step[AddedBatch]:
    """The step that encrypts a batch into a vault; the job enters its results into the draft.

    Ordinals of verdicts are free from `first` on: a batch has at most three for each of its payloads.
    """
    plain = batch_step(plan, batch)
    work = partial(_encrypt, place, batch, selection, plan.key, plan.limits)
    return Step(plain.kind, plain.name, plain.recorded_as, work, partial(_record, place, first))


def _encrypt(
    place: Place, batch: Batch, selection: SourceSelection, key: KeySource, limits: Limits, here: Here
) -> AddedBatch:
    return add_batch(open_place(place, key), batch, selection, key, limits, here.cancel)


def _record(place: Place, first: int, store: Store, run_id: int, done: AddedBatch) -> None:
    store.record_payloads(payload_rows(run_id, done.encryptions, place.instance, place.path, done.pack_of))
    record(place, first + 3 * done.first, store, run_id, Verdicts(done.verdicts))


def preview(parameters: EncryptFiles, settings: Settings) -> AdditionPlan:
    """Plan an encryption into a vault, or refuse it as the job does; nothing is written."""
    path = need_vault(settings.vault)
    parameters = settled(parameters, settings)
    history = settings.open_history()
    vault = open_known(path, need_key_file(settings.key_file).secret(), history)
    with reading(vault.root, CancelToken()), index_shared(vault):
        selection = _selection_of(parameters, settings, vault, history)
        found = compare(vault, selection, note=True)
    need_something(parameters, found)
    return found


def _selection_of(parameters: EncryptFiles, settings: Settings, vault: Vault, history: History) -> SourceSelection:
    """The files that the new snapshot has."""
    sources = sources_of(parameters.paths)
    return SourceSelection(
        sources,
        parameters.exclude,
        parameters.rehash,
        compression=parameters.compression,
        may_change=parameters.may_change,
        accepted=history.accepted(vault.instance),
        most_bytes=parse_share(parameters.max_size, 0) if parameters.max_size else None,
        most_gone=parse_percentage(settings.most_gone),
        refused=tuple(refused_inside(parameters.paths, sources)),
    )


def _faults(addition: Addition, known: KnownSnapshot | None) -> Iterator[Verdict]:
    for name in addition.found.damaged:
        yield judged("snapshot", name, "changed", f"snapshot {name} cannot be believed any more")
    if fault := rolled_back(addition.vault, [addition.found.newest], known, addition.found.damaged):
        yield judged("vault", addition.vault.id, "rolled-back", fault)


def acceptance_job(parameters: AcceptSnapshot, settings: Settings) -> Job:
    """The job that has a snapshot in doubt count from now on: a verdict on record says so."""
    need_vault(settings.vault)
    need_key_file(settings.key_file)
    return partial(accept, parameters, settings)


def accept(parameters: AcceptSnapshot, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Accept a snapshot that lost many files, or has none, and refuse any other; the run, closed."""
    vault = open_known(need_vault(settings.vault), need_key_file(settings.key_file).secret(), tools.history)
    with reading(vault.root, tools.cancel):
        found = read_snapshot(vault, find_snapshot(vault, parameters.snapshot))
    name, totals = found.name, found.totals
    if found.header.part:
        raise RequestRefused(f"{name} is a partial snapshot, which stands for no state of its paths")
    if totals.counts:
        raise RequestRefused(f"snapshot {name} is not in doubt: it counts")
    if name in tools.history.accepted(vault.instance):
        raise RequestRefused(f"snapshot {name} is accepted already")
    recorded: dict[str, object] = {"vault": shown_path(vault.root), "snapshot": name}
    with open_run(replace(run, parameters=recorded), tools) as opened:
        record(vault.place(), 0, tools.store, opened.run_id, Verdicts((judged("snapshot", name, "accepted"),)))
        text = f"snapshot {name} of {plural(totals.files, 'file')} is accepted, with {totals.gone:,} gone: it counts"
        opened.outcomes.append(PartOutcome(0, text))
    return opened
