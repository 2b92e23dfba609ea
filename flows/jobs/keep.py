"""The jobs that encrypt files into a vault, with a snapshot at the end, and restore files from it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from db.history import History
from db.rows import NewRun, SnapshotRow
from db.store import Store
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_outside, need_vault
from flows.jobs.encrypt import EncryptionOutcome, batch_step, planned_work, run_batches
from flows.jobs.parameters import EncryptFiles, RestoreFiles
from flows.jobs.plan import Plan, need_something, plan_addition, recorded, settled
from flows.jobs.run import Here, Job, OpenRun, PartOutcome, PlannedWork, Step, Tools, open_run
from flows.jobs.vault import NAME_ANOTHER, VaultWork, VerdictTally, known_snapshot, need_latest, record, run_on_vault
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, parse_percentage, plural, shown_path, size
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Encryption, Limits
from tasks.crypto.secret import KeyFile, KeySource
from tasks.files import FolderIdentity
from tasks.rows import payload_rows, snapshot_row
from tasks.vault.add import Added, AddedBatch, Addition, PartialInterval, add_batch, adding
from tasks.vault.compare import AdditionPlan, compare
from tasks.vault.errors import Verdict, Verdicts, judged
from tasks.vault.format import INDEX, PACKED_BYTES
from tasks.vault.index import index_shared
from tasks.vault.locks import reading
from tasks.vault.lookup import LATEST, find_snapshot, open_place
from tasks.vault.portions import RestorePlan, RestorePortion, Wanted
from tasks.vault.restore import PortionRestored, restore_portion
from tasks.vault.snapshots import open_snapshot
from tasks.vault.target import make_target
from tasks.vault.vault import Place, Vault, open_vault
from tasks.vault.verify import KnownSnapshot, rolled_back
from tasks.vault.walk import SourceSelection, sources_of


def keeping_job(parameters: EncryptFiles, settings: Settings) -> Job:
    """The job for these parameters where a vault keeps the ciphertext.

    Raises:
        RequestRefused, CryptoError: see `settled`.
    """
    return partial(encrypt_into_vault, settled(parameters, settings), settings)


def encrypt_into_vault(parameters: EncryptFiles, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Encrypt files that are new or changed since the last snapshot of the same paths; the run, closed.

    The new snapshot comes at the end.

    A further attempt of a flow run begins anew: no snapshot names the objects of an earlier attempt.

    Raises:
        RequestRefused, CryptoError: refused before any work; or, once the run has a row, the vault takes no more.
        RecordError: the record cannot be written.
    """
    path = need_vault(settings.vault)
    with ExitStack() as stack:
        additions: list[Addition] = []

        def make() -> Plan:
            vault = open_vault(path, need_key_file(settings.key_file).secret())
            # Read a file again if its stored object is damaged.
            selection = _selection_of(parameters, settings, vault, tools.history)
            selection = replace(selection, distrusted=tools.history.damaged(vault.id))
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
    """The snapshot, files by status, the sources that have lost files, and the first faults of files and of the vault."""
    words = f"{row.new:,} new, {row.unchanged:,} unchanged, {row.marked:,} marked, {row.skipped:,} skipped, "
    words += f"{row.missed:,} missed, {row.gone:,} gone; {size(row.stored_bytes)} added"
    said = [f"snapshot {row.name} (number {row.sequence}): {words}"]
    said += [outcome.named_faults] if outcome.faults else []
    said += _doubts(added)
    said += [f"the index of {plural(rebuilt, 'pack')} was written again"] if rebuilt else []
    said += [f"VAULT NOT AS IT WAS: {fault.error}" for fault in faults]
    return PartOutcome(1 if faults else outcome.exit_code or (0 if row.counts else 3), "; ".join(said))


def _doubts(added: Added) -> Iterator[str]:
    """The reasons why a snapshot does not count, and the way to have it count all the same."""
    if added.snapshot.totals.counts:
        return
    reasons = [
        f"{one.path}: {one.gone:,} of {plural(one.kept + one.gone, 'file')} gone" if one.gone else f"{one.path}: empty"
        for one in added.doubtful
    ]
    yield f"IN DOUBT: {named(reasons[:FAULTS_NAMED], len(reasons)) or 'no file in it'}"
    yield f"it counts once the files are back, or after: threadmill snapshots accept {added.snapshot.name}"


def batch_into_vault(
    place: Place, plan: Plan, selection: SourceSelection, first: int, batch: Batch
) -> Step[AddedBatch]:
    """The step that encrypts a batch into a vault; the job enters its results into the draft.

    Ordinals of verdicts are free from `first` on: a batch has at most two for each of its payloads.
    """
    plain = batch_step(plan, batch)
    work = partial(_encrypt, place, batch, selection, plan.key, plan.limits)
    return Step(plain.kind, plain.name, plain.recorded_as, work, partial(_record, place, first))


def _encrypt(
    place: Place, batch: Batch, selection: SourceSelection, key: KeySource, limits: Limits, here: Here
) -> AddedBatch:
    return add_batch(open_place(place, key), batch, selection, key, limits, here.cancel)


def _record(place: Place, first: int, store: Store, run_id: int, done: AddedBatch) -> None:
    store.record_payloads(payload_rows(run_id, done.encryptions, place.vault_id, place.path, done.pack_of))
    verdicts = [judged("pack", name, "stored", size_bytes=length) for name, length in done.packs]
    # What is in a pack is proven with its pack; here it is only no longer damaged.
    verdicts += [
        judged("object", name, "rebuilt" if length <= PACKED_BYTES else "ok", size_bytes=length)
        for name, length in done.proven
    ]
    record(place, first + 2 * done.first, store, run_id, Verdicts(tuple(verdicts)))


def preview(parameters: EncryptFiles, settings: Settings) -> AdditionPlan:
    """Plan an encryption into a vault without writing anything.

    Raises:
        RequestRefused, CryptoError: the encryption would be refused.
    """
    path = need_vault(settings.vault)
    parameters = settled(parameters, settings)
    vault = open_vault(path, need_key_file(settings.key_file).secret())
    with reading(vault.root, CancelToken()), index_shared(vault):
        selection = _selection_of(parameters, settings, vault, settings.open_history())
        found = compare(vault, selection, note=True)
    need_something(parameters, found)
    return found


def _selection_of(parameters: EncryptFiles, settings: Settings, vault: Vault, history: History) -> SourceSelection:
    """The files that the new snapshot has."""
    return SourceSelection(
        sources_of(parameters.paths),
        parameters.exclude,
        parameters.rehash,
        compression=parameters.compression,
        accepted=history.accepted(vault.id),
        most_gone=parse_percentage(settings.most_gone),
    )


def _faults(addition: Addition, known: KnownSnapshot | None) -> Iterator[Verdict]:
    for name in addition.found.damaged:
        yield judged("snapshot", name, "changed", f"snapshot {name} cannot be believed any more")
    if fault := rolled_back(addition.vault, [addition.found.newest], known, addition.found.damaged):
        yield judged("vault", addition.vault.id, "rolled-back", fault)


def restoration_job(parameters: RestoreFiles, settings: Settings) -> Job:
    """The job for these parameters.

    Raises:
        RequestRefused: no vault or key file is set.
    """
    need_vault(settings.vault)
    need_key_file(settings.key_file)
    return partial(restore, parameters, settings)


def restore(parameters: RestoreFiles, settings: Settings, run: NewRun, tools: Tools) -> OpenRun:
    """Bring files back from a vault, each proven before it has its name; the run, closed.

    Raises:
        RequestRefused, CryptoError: refused before any work; or, once the run has a row, the target takes no more.
        RecordError: the record cannot be written.
    """
    vault, key = need_vault(settings.vault), need_key_file(settings.key_file)
    shown = shown_path(parameters.target)
    with ExitStack() as stack:
        place, plan, target = tools.runner.plan(lambda: _plan_restore(parameters, vault, key, tools, stack))
        tools.reporter.planned(PlannedWork("restoring", "file", plan.files, plan.size_bytes))
        with open_run(replace(run, parameters={"vault": shown_path(vault)} | parameters.recorded()), tools) as opened:
            tally, done = VerdictTally(), Counter[str]()

            def take(portion: PortionRestored) -> None:
                done.update(restored=portion.restored, same=portion.same, links=portion.links)

            works = (
                VaultWork(
                    f"restore batch {number}",
                    portion.entries,
                    partial(_restore, place, key, portion, target, parameters.overwrite),
                )
                for number, portion in enumerate(plan.portions())
            )
            # One after the other: the portion that leaves a folder sets its mode and time.
            run_on_vault(works, "restore", place, opened, tally, take=take)
            text = (
                f"snapshot {plan.snapshot} to {shown}: files restored: {done['restored']:,}, links: {done['links']:,}"
            )
            text += f", there already: {done['same']:,}" if done["same"] else ""
            opened.outcomes.append(PartOutcome(tally.exit_code, f"{text}; {tally.message}"))
    return opened


def _plan_restore(
    parameters: RestoreFiles, path: str, key: KeyFile, tools: Tools, stack: ExitStack
) -> tuple[Place, RestorePlan, FolderIdentity]:
    vault = open_vault(path, key.secret())
    stack.enter_context(reading(vault.root, tools.cancel))
    stack.enter_context(index_shared(vault))
    with open_snapshot(vault, find_snapshot(vault, parameters.snapshot)) as opened:
        if parameters.snapshot == LATEST:
            need_latest(vault, opened.authentic, tools.history, NAME_ANOTHER)
        plan = stack.enter_context(RestorePlan(opened, Wanted.below([os.fsencode(path) for path in parameters.paths])))
    if plan.missing:
        names, name = ", ".join(f"/{path.decode(errors='backslashreplace')}" for path in plan.missing), plan.snapshot
        raise RequestRefused(f"not in snapshot {name}: {names}; see: threadmill snapshots show {name}")
    need_outside(parameters.target, vault.root)
    return vault.place(), plan, make_target(parameters.target)


def _restore(
    place: Place,
    key: KeyFile,
    portion: RestorePortion,
    target: FolderIdentity,
    overwrite: bool,
    here: Here,
) -> PortionRestored:
    return restore_portion(open_place(place, key), portion, target, overwrite, here.cancel)
