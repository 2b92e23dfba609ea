"""The encryption job into a vault: only what is new or changed is encrypted, and at the end there is a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from db.rows import NewRun, SnapshotRow
from flows.jobs.encryption import EncryptionOutcome, encrypt, planned_work, run_batches
from flows.jobs.plan import Plan, nothing_to_encrypt, plan_addition
from flows.jobs.request import EncryptionRequest, VaultRequest
from flows.jobs.run import Job, OpenRun, Tools, open_run
from flows.jobs.vaults import known_snapshot, record
from flows.text import size
from tasks.rows import snapshot_row
from tasks.vault.add import Addition, AdditionPlan, SourceSelection, adding, compare
from tasks.vault.errors import NoVault
from tasks.vault.lookup import newest_snapshot
from tasks.vault.vault import is_vault, make_vault, open_vault, why_no_vault
from tasks.vault.verdicts import Verdict, judged
from tasks.vault.verify import KnownSnapshot, rolled_back
from tasks.vault.walk import Excludes, has_files, sources_of


@dataclass(frozen=True, slots=True)
class KeptOutcome:
    """What came of the files, and the snapshot that has them; `faults` are of the vault, noticed on the way."""

    encryption: EncryptionOutcome
    snapshot: SnapshotRow
    faults: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """See `Outcome`."""
        return 1 if self.faults else self.encryption.exit_code

    @property
    def message(self) -> str:
        """The snapshot, how many of what, and the first of those that need attention."""
        one = self.snapshot
        words = f"{one.new:,} new, {one.unchanged:,} unchanged, {one.unstable:,} unstable, {one.skipped:,} skipped, "
        words += f"{one.failed:,} failed; {size(one.stored_bytes)} added"
        faults = [f"VAULT NOT AS IT WAS: {fault.error}" for fault in self.faults]
        named = self.encryption.faults
        return "; ".join(
            [f"snapshot {one.name} (number {one.sequence}): {words}", *([named] if named else []), *faults]
        )


def encryption_job(request: EncryptionRequest) -> Job:
    """The job that does what is asked, with or without a vault."""
    return partial(encrypt, request) if request.vault is None else partial(encrypt_into_vault, request, request.vault)


def encrypt_into_vault(request: EncryptionRequest, vault: VaultRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Encrypt what is new since the vault's last snapshot of the same paths, and add a snapshot; the run, closed.

    A further attempt of a flow run begins anew: what earlier ones have put into the vault belongs to no snapshot.

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
            # What a damaged object was of is encrypted anew, as long as it is there.
            selection = replace(selection_of(request, vault), distrusted=tools.history.damaged(opened.id))
            additions.append(stack.enter_context(adding(opened, selection, tools.cancel)))
            return plan_addition(request, additions[0], tools.cancel)

        plan = tools.runner.plan(make)
        (addition,) = additions
        tools.reporter.planned(planned_work(plan))
        known = known_snapshot(tools.history, addition.vault)
        faults = tuple(_faults(addition, known))
        with open_run(replace(run, parameters=request.parameters()), tools) as opened:
            record(addition.vault, 0, tools.store, opened.run_id, faults)
            outcome = run_batches(plan, opened, keep=addition)
            added = addition.add_snapshot(known.sequence + 1 if known else 1, tools.cancel)
            # After it is in the vault: a record that knows more than the vault has would take that for a rollback.
            snapshot = snapshot_row(opened.run_id, addition, added, outcome.summary.counts)
            tools.store.record_snapshot(snapshot)
            opened.outcomes.append(KeptOutcome(outcome, snapshot, faults))
    return opened


def preview(request: EncryptionRequest, vault: VaultRequest) -> AdditionPlan:
    """What encrypting would do: nothing is written, and a vault that is not there is not made.

    Raises:
        RequestRefused, CryptoError: what would be refused.
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
    """What the snapshot is to be of."""
    return SourceSelection(sources_of(request.paths), vault.excludes, vault.rehash)


def _faults(addition: Addition, known: KnownSnapshot | None) -> Iterator[Verdict]:
    for name in addition.found.damaged:
        yield judged("snapshot", name, "changed", f"snapshot {name} cannot be believed any more")
    newest = newest_snapshot(addition.vault)
    if fault := rolled_back(addition.vault, [newest], known, addition.found.damaged):
        yield judged("vault", addition.vault.id, "rolled-back", fault)
