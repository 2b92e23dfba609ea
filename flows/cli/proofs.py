"""`threadmill history verify|snapshots|proofs`: what proves the record, and what the record knows of vaults."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from db.answers import ProofRow
from db.rows import SnapshotRow, storable
from flows.cli.history import open_history, print_rows, say_if_empty
from flows.cli.options import ANY_TIME, FOR_PEOPLE, Form, Times
from flows.errors import RequestRefused
from flows.option_types import Flag, Whole
from flows.show.tables import PROOFS, SNAPSHOTS
from flows.show.terminal import print_csv, print_json, say
from flows.text import plural, shown_path
from tasks.files import absolute

if TYPE_CHECKING:
    from db.history import History
    from db.ledger import LedgerCheck

# So many vaults are named where another one was asked for.
_SOME = 5


OnRecord = Annotated[
    str | None,
    Parameter(metavar="DIR|ID", help="only this one: its folder on record, or the beginning of its id (32 hex digits)"),
]


def verify(
    *,
    head: Annotated[str | None, Parameter(help="a head that was noted elsewhere: 64 hex digits")] = None,
    form: Form = FOR_PEOPLE,
) -> int:
    """Say whether every row is as it was sealed.

    Every sealed run is hashed again, and the chain of seals is walked: rows that were changed, removed or added are
    found. Each fault names its run. Against someone who rewrites the whole chain, give a head that was kept elsewhere:
    it is in the log and the artifact of every run, and on the last line here.

    Exit codes: 0 all is as it was sealed, 1 something is not, 2 refused.

    Example: threadmill history verify
    """
    from db.ledger import LedgerFault

    if head is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", head.strip()):
        raise RequestRefused("--head is 64 hex digits, as history verify prints it")
    history = open_history(None)
    found = history.verify(None if head is None else head.strip().lower())
    say_if_empty(history)
    if form.json:
        print_json(found)
    elif form.csv:
        print_csv(LedgerFault, found.faults)
    else:
        _print_verdict(found)
    return 1 if found.faults else 0


def _print_verdict(found: LedgerCheck) -> None:
    for fault in found.faults:
        say(("the ledger" if fault.run_id is None else f"run {fault.run_id}") + f": {fault.what}")
    verdict = plural(len(found.faults), "fault") if found.faults else "all as it was sealed"
    entries = "1 entry" if found.entries == 1 else f"{found.entries:,} entries"
    say(f"{entries}, {plural(found.runs, 'run')} on record: {verdict}")
    say(f"head {found.head}" + ("" if found.faults else " (to be noted elsewhere)"))


def snapshots(*, vault: OnRecord = None, times: Times = ANY_TIME, limit: Whole = 20, form: Form = FOR_PEOPLE) -> int:
    """List what runs put into vaults, newest first.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history snapshots --vault VAULT --since 7d

    Args:
        limit: how many at the most
    """
    from db.history import SnapshotFilter

    since, until = times.span()
    history = open_history(limit)
    which = SnapshotFilter(_vault_on_record(history, vault), since=since, until=until)
    rows = history.snapshots(which, limit=limit)
    say_if_empty(history)
    return print_rows(rows, SnapshotRow, form, lambda: SNAPSHOTS.fill(rows))


def proofs(
    *,
    path: str | None = None,
    vault: OnRecord = None,
    never: Annotated[Flag, Parameter(help="only what was never proven")] = False,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """List the objects of vaults, those verified least recently first.

    Objects that were never verified come before all others. Listed are the objects that runs on record encrypted or
    looked at, and that were not removed since.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history proofs --vault VAULT --never

    Args:
        path: only objects of this file, or of everything below this folder
        limit: how many at the most
    """
    history = open_history(limit)
    vault_id = _vault_on_record(history, vault)
    rows = history.proofs(path=None if path is None else absolute(path), vault_id=vault_id, never=never, limit=limit)
    say_if_empty(history)
    return print_rows(rows, ProofRow, form, lambda: PROOFS.fill(rows), "no object on record matches")


def _vault_on_record(history: History, text: str | None) -> str | None:
    """The id of the vault that is meant; of several that were in one folder, of the one that was there last.

    Raises:
        RequestRefused: none on record is meant, or several.
    """
    if text is None:
        return None
    if not text:
        raise RequestRefused("--vault is empty: give a path or an id, or leave it out")
    known = history.vaults()
    paths = {storable(path) for path in (text, os.path.abspath(text), os.path.realpath(text))}
    there = [one for one in known if one.path in paths]
    if there:
        return max(there, key=lambda one: one.updated_at).vault_id
    begin = [one for one in known if one.vault_id.startswith(text.lower())]
    if len(begin) > 1:
        raise RequestRefused(f"the ids of {len(begin)} vaults on record begin with {text}: give more of it")
    if not begin:
        some = ", ".join(f"{one.path} ({one.vault_id})" for one in known[-_SOME:]) or "none"
        raise RequestRefused(f"no vault on record is at {shown_path(text)} or has an id like that; on record: {some}")
    return begin[0].vault_id
