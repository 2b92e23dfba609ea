"""The plan of an addition: the sources, held against the snapshots before."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from tasks.crypto.inputs import Payload
from tasks.crypto.scan import walk
from tasks.vault.errors import VaultError
from tasks.vault.excludes import Excludes
from tasks.vault.lookup import Before, abandoned_parts, find_before
from tasks.vault.snapshots import Authentic, OpenSnapshot, open_snapshot
from tasks.vault.vault import Vault
from tasks.vault.walk import Changes, SourceSelection, SourceTally

# Each is open while a run compares with them. Objects of those beyond are found by their salts.
_MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class AdditionPlan:
    """The result of a walk. `newest` is the newest good snapshot, and `previous` the newest one of the same sources.

    `damaged` are newer ones that cannot be believed.

    `taken_over` are partial snapshots of runs that did not come to their end, `rebuilt` packs whose sidecar was missing
    or wrong, and is written again. `unmatched` are patterns that fit nothing.

    Some of the `sources` may be `refused`, in words: they cannot be read. Of everything that cannot be read, `carried`
    entries are taken over, among them `carried_files`. `compared` says that the sources were compared with a snapshot
    that counts.
    """

    unchanged: int
    unchanged_bytes: int
    to_do: int
    to_do_bytes: int
    skipped: int
    newest: Authentic | None
    previous: str | None
    damaged: tuple[str, ...]
    taken_over: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    sources: tuple[SourceTally, ...] = ()
    refused: tuple[str, ...] = ()
    carried: int = 0
    carried_files: int = 0
    carried_bytes: int = 0
    compared: bool = False


def _forget(_one: object) -> None:
    """Ignore an entry or file: a preview only counts."""


def compare(
    vault: Vault | None,
    selection: SourceSelection,
    line: Callable[[bytes], None] = _forget,
    to_do: Callable[[Payload], None] = _forget,
    *,
    note: bool = False,
) -> AdditionPlan:
    """Hand over each entry that is done, and each file that is to be read, in order; without a vault all are.

    With `note` the plan says which patterns matched nothing.
    """
    excludes = Excludes(selection.excludes, selection.sources, note=note)
    with ExitStack() as stack:
        before = Before()
        parts: list[OpenSnapshot] = []
        itself: tuple[int, int] | None = None
        if vault is not None:
            before = find_before(vault, selection.sources, selection.accepted, stack)
            for name in abandoned_parts(vault, selection.sources)[-_MOST_PARTS:]:
                with suppress(VaultError):
                    parts.append(stack.enter_context(open_snapshot(vault, name)))
            root = os.stat(vault.root)
            itself = root.st_dev, root.st_ino
        previous = dict.fromkeys(one for one in (*parts, before.alike, before.basis) if one is not None)
        changes = Changes(vault, tuple(previous), selection, before.basis)
        leave_out = excludes.match if selection.excludes else None
        for source in selection.sources:
            for one in changes.of(source, walk((source,), leave_out, itself)):
                if isinstance(one, Payload):
                    to_do(one)
                else:
                    line(one)
        for found in walk(selection.refused):
            to_do(changes.payload(found.payload()))
    return AdditionPlan(
        changes.unchanged,
        changes.unchanged_bytes,
        changes.to_do,
        changes.to_do_bytes,
        changes.skipped,
        before.newest,
        before.alike.header.name if before.alike else None,
        before.damaged,
        taken_over=tuple(part.header.name for part in parts),
        unmatched=excludes.unmatched,
        sources=tuple(changes.sources),
        refused=tuple(changes.refused),
        carried=changes.carried,
        carried_files=changes.carried_files,
        carried_bytes=changes.carried_bytes,
        compared=before.counts,
    )
