"""The vault in `threadmill status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from db.history import History
from flows.cli.output import say
from flows.errors import RequestRefused
from flows.jobs.vault_state import VaultState, look_at_vault, too_old
from flows.settings import Settings
from flows.text import ago, parse_age, plural, size

# Hyphens, so that what is wrong with -5d is said here, and not that there is no such option.
Age = Annotated[str | None, Parameter(metavar="AGE", allow_leading_hyphen=True)]


@dataclass(frozen=True, slots=True)
class VaultReport:
    """What `status --json` says of the vault; `complaints` are all that there are, of its state and of its ages."""

    state: VaultState
    snapshot_age: str | None
    proof_age: str | None
    complaints: tuple[str, ...]


def look(settings: Settings, history: History, snapshot_age: str | None, proof_age: str | None) -> VaultReport | None:
    """The vault of the settings; None without one.

    Raises:
        RequestRefused: an age is none, or is given without a vault.
        RecordError: the record cannot be read.
    """
    # What is refused is refused before anything is read.
    _check(snapshot_age, "--snapshot-age")
    _check(proof_age, "--proof-age")
    if settings.vault is None:
        if snapshot_age or proof_age:
            raise RequestRefused("ages are those of a vault: give --vault DIR or set THREADMILL_VAULT")
        return None
    snapshot_age, proof_age = snapshot_age or settings.snapshot_age, proof_age or settings.proof_age
    state = look_at_vault(settings.vault, settings.key_file, history)
    old = too_old(state, _bound(snapshot_age), _bound(proof_age), datetime.now(UTC))
    return VaultReport(state, snapshot_age, proof_age, (*state.complaints, *old))


def print_vault(report: VaultReport) -> None:
    """A few lines."""
    state = report.state
    if state.snapshots is None:
        say(f"vault: {state.path}" + (f"; {state.note}" if state.note else ""))
        _print_on_record(state)
        return
    say(
        f"vault: {state.path}, {plural(state.snapshots, 'snapshot')}, {plural(state.objects or 0, 'object')}, "
        f"{size(state.stored_bytes or 0)}" + (f"; {state.note}" if state.note else "")
    )
    if state.newest_at is not None:
        files = plural(state.newest_files or 0, "file")
        say(
            f"newest snapshot: {state.newest_name} of {ago(state.newest_at)}: {files}, "
            f"{size(state.newest_bytes or 0)}{_counts(state)}"
        )
    if state.objects:
        never = f"{state.never_proven:,} never proven" if state.never_proven else "all proven"
        oldest = f", the oldest proof of {ago(state.oldest_proof)}" if state.oldest_proof else ""
        since = f"; longest unproven: since {ago(state.unproven_since)}" if state.unproven_since else ""
        say(f"objects: {never}{oldest}{since if state.never_proven else ''}")


def _print_on_record(state: VaultState) -> None:
    row = state.on_record
    if row is not None:
        files = plural(row.files, "file")
        say(f"on record: newest snapshot {row.name} of {ago(row.created_at)}: {files}{_counts(state)}")


def _counts(state: VaultState) -> str:
    row = state.on_record
    if row is None:
        return ""
    return f" ({row.new:,} new, {row.unchanged:,} unchanged, {row.unstable:,} unstable, {row.failed:,} failed)"


def _bound(text: str | None) -> timedelta | None:
    return None if text is None else parse_age(text)


def _check(text: str | None, option: str) -> None:
    try:
        _bound(text)
    except ValueError as error:
        raise RequestRefused(f"{option} {text!r}: {error}") from None
