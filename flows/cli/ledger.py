"""`threadmill history verify`: whether the record is as it was sealed."""

from __future__ import annotations

import re
from typing import Annotated

from cyclopts import Parameter

from db.ledger import Fault, Verdict
from flows.cli.output import columns_of, print_csv, print_json, say
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import FOR_PEOPLE, Form
from flows.errors import RequestRefused
from flows.text import plural


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
    if head is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", head.strip()):
        raise RequestRefused("--head is 64 hex digits, as history verify prints it")
    history = open_history(None)
    found = history.verify(None if head is None else head.strip().lower())
    say_if_empty(history)
    if form.json:
        print_json(found)
    elif form.csv:
        print_csv(columns_of(Fault), found.faults)
    else:
        _print(found)
    return 1 if found.faults else 0


def _print(found: Verdict) -> None:
    for fault in found.faults:
        say(("the ledger" if fault.run_id is None else f"run {fault.run_id}") + f": {fault.what}")
    verdict = plural(len(found.faults), "fault") if found.faults else "all as it was sealed"
    entries = "1 entry" if found.entries == 1 else f"{found.entries:,} entries"
    say(f"{entries}, {plural(found.runs, 'run')} on record: {verdict}")
    say(f"head {found.head}" + ("" if found.faults else " (to be noted elsewhere)"))
