"""The encryption job into a vault: new and changed files are encrypted, and a snapshot is added at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from db.rows import NewRun, SnapshotRow
from db.store import Store
from flows.jobs.encrypt import EncryptionOutcome, batch_step, planned_work, run_batches
from flows.jobs.plan import Plan, nothing_to_encrypt, plan_addition
from flows.jobs.request import EncryptionRequest, VaultRequest
from flows.jobs.run import OpenRun, Tools, open_run
from flows.jobs.runner import Here, Step
from flows.jobs.vault import known_snapshot, record
from flows.text import size
from tasks.crypto.encrypt import Batch, Encryption, Limits
from tasks.crypto.secret import KeySource
from tasks.rows import payload_rows, snapshot_row
from tasks.vault.add import AddedBatch, Addition, AdditionPlan, SourceSelection, add_batch, adding, compare
from tasks.vault.errors import NoVault, Verdict, Verdicts, judged
from tasks.vault.lookup import newest_snapshot, open_place
from tasks.vault.vault import Place, is_vault, make_vault, open_vault, why_no_vault
from tasks.vault.verify import KnownSnapshot, rolled_back
from tasks.vault.walk import Excludes, has_files, sources_of


@dataclass(frozen=True, slots=True)
class KeptOutcome:
    """The outcome of the files, and the snapshot that has them; `faults` of the vault were noticed on the way."""

    encryption: EncryptionOutcome
    snapshot: SnapshotRow
    faults: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """See `PartOutcome`."""
        return 1 if self.faults else self.encryption.exit_code

    @property
    def message(self) -> str:
        """The snapshot, files by status, and the first faults."""
        one = self.snapshot
        words = f"{one.new:,} new, {one.unchanged:,} unchanged, {one.unstable:,} unstable, {one.skipped:,} skipped, "
        words += f"{one.failed:,} failed; {size(one.stored_bytes)} added"
        faults = [f"VAULT NOT AS IT WAS: {fault.error}" for fault in self.faults]
        named = self.encryption.named_faults
        return "; ".join(
            [f"snapshot {one.name} (number {one.sequence}): {words}", *([named] if named else []), *faults]
        )


def encrypt_into_vault(request: EncryptionRequest, vault: VaultRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Encrypt files that are new or changed since the last snapshot of the same paths, and add one; the run, closed.

    A further attempt of a flow run begins anew: no snapshot names the objects of an earlier attempt.

    Raises:
        RequestRefused, CryptoError: refused before any work; or, once the run has a row, the vault takes no more.
        RecordError: the record cannot be written.
    """
    with ExitStack() as stack:
        additions: list[Addition] = []

        def make() -> Plan:
            if not is_vault(vault.path) and not _has_files(request, vault):
                raise nothing_to_encrypt(request)
            opened = make_vault(vault.path, request.key.secret())
            # Encrypt a file again if its stored object is damaged.
            selection = replace(selection_of(request, vault), distrusted=tools.history.damaged(opened.id))
            additions.append(stack.enter_context(adding(opened, selection, tools.cancel)))
            return plan_addition(request, additions[0], tools.cancel)

        plan = tools.runner.plan(make)
        (addition,) = additions
        tools.reporter.planned(planned_work(plan))
        known = known_snapshot(tools.history, addition.vault)
        faults = tuple(_faults(addition, known))
        with open_run(replace(run, parameters=dict(request.recorded)), tools) as opened:
            place = addition.vault.place()
            record(place, 0, tools.store, opened.run_id, Verdicts(faults))

            def take(done: AddedBatch) -> tuple[Encryption, ...]:
                addition.put(done)
                return done.encryptions

            outcome = run_batches(plan, opened, partial(batch_into_vault, place, request), take)
            added = addition.add_snapshot(known.sequence + 1 if known else 1, tools.cancel)
            # After it is in the vault: a record that knows more than the vault has would take that for a rollback.
            snapshot = snapshot_row(opened.run_id, addition, added, outcome.counts)
            tools.store.record_snapshot(snapshot)
            opened.outcomes.append(KeptOutcome(outcome, snapshot, faults))
    return opened


def batch_into_vault(place: Place, request: EncryptionRequest, batch: Batch) -> Step[AddedBatch]:
    """The step that encrypts a batch into a vault; the job enters its results into the draft."""
    plain = batch_step(request, batch)
    work = partial(_encrypt, place, batch, request.key, request.limits)
    return Step(plain.kind, plain.name, plain.recorded_as, work, partial(_record, place))


def _encrypt(place: Place, batch: Batch, key: KeySource, limits: Limits, here: Here) -> AddedBatch:
    return add_batch(open_place(place, key), batch, key, limits, here.cancel)


def _record(place: Place, store: Store, run_id: int, done: AddedBatch) -> None:
    store.record_payloads(payload_rows(run_id, done.encryptions, place.vault_id, place.path))


def preview(request: EncryptionRequest, vault: VaultRequest) -> AdditionPlan:
    """Plan an encryption into a vault without writing anything; a missing vault is not made.

    Raises:
        RequestRefused, CryptoError: the encryption would be refused.
    """
    secret = request.key.secret()
    selection = selection_of(request, vault)
    opened = open_vault(vault.path, secret) if is_vault(vault.path) else None
    if opened is None and (unfit := why_no_vault(vault.path)):
        raise NoVault(vault.path, unfit)
    found = compare(opened, selection)
    if not found.to_do + found.skipped + found.unchanged:
        raise nothing_to_encrypt(request)
    return found


def _has_files(request: EncryptionRequest, vault: VaultRequest) -> bool:
    return has_files(sources_of(request.paths), Excludes(vault.excludes))


def selection_of(request: EncryptionRequest, vault: VaultRequest) -> SourceSelection:
    """The content of the snapshot to be."""
    return SourceSelection(sources_of(request.paths), vault.excludes, vault.rehash)


def _faults(addition: Addition, known: KnownSnapshot | None) -> Iterator[Verdict]:
    for name in addition.found.damaged:
        yield judged("snapshot", name, "changed", f"snapshot {name} cannot be believed any more")
    newest = newest_snapshot(addition.vault)
    if fault := rolled_back(addition.vault, [newest], known, addition.found.damaged):
        yield judged("vault", addition.vault.id, "rolled-back", fault)
