"""The snapshots of a vault, the one that a user means, and a vault whose `vault.json` is gone, by its snapshots."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import BinaryIO

import zstandard

from tasks.crypto.secret import KeySource, Secret
from tasks.files import closed_after, open_folder, open_regular
from tasks.vault.entries import Content, FileEntry, decode_entry
from tasks.vault.errors import NoSuchSnapshot, NoVault, OtherFormat, VaultChanged, VaultError, Verdict, WrongKey, judged
from tasks.vault.format import (
    PARTIAL_NAME,
    PARTIALS,
    SNAPSHOT_NAME,
    SNAPSHOTS,
    WINDOW_BYTES,
    BadLine,
    VaultKey,
    snapshot_folder,
)
from tasks.vault.header import Header, decode_header
from tasks.vault.locks import is_running
from tasks.vault.snapshots import LONGEST_HEADER, OpenSnapshot, Snapshot, open_snapshot
from tasks.vault.vault import Place, Vault, open_vault

# The users' word for the newest snapshot.
LATEST = "latest"
UNKNOWN = Header("0" * 32, "0" * 16, datetime(1970, 1, 1, tzinfo=UTC), 0, ())


_PEEK_BYTES = 64 << 10


def snapshot_names(root: str) -> list[str]:
    """The names in `snapshots/` that are names of snapshots, oldest first; raises VaultError."""
    return sorted(_names(root, SNAPSHOTS, SNAPSHOT_NAME))


def partial_names(root: str) -> list[str]:
    """The names in `partials/` that are names of partial snapshots, the parts of a run in order; raises VaultError."""
    # Parts above 9,999 have more digits.
    return sorted(_names(root, PARTIALS, PARTIAL_NAME), key=lambda name: (name[:16], len(name), name))


def _names(root: str, folder: str, form: re.Pattern[str]) -> list[str]:
    try:
        with closed_after(open_folder(root, folder)) as descriptor:
            return [name for name in os.listdir(descriptor) if form.fullmatch(name)]
    except FileNotFoundError:
        if folder == PARTIALS:
            # A program that copied the vault may have left it out: it is empty as a rule.
            return []
        raise VaultError(root, f"its folder {folder} is missing") from None
    except OSError as error:
        raise VaultError(root, f"its folder {folder} cannot be read: {error.strerror}") from None


def read_snapshot(vault: Vault, name: str) -> Snapshot:
    """Check a snapshot, and give its header and totals. Raises as `open_snapshot`."""
    with open_snapshot(vault, name) as opened:
        return opened.snapshot


def find_snapshot(vault: Vault, wanted: str) -> str:
    """The name of the snapshot that a user means: `latest`, a name, its id, or the beginning of either.

    NoSuchSnapshot if there is none, or if there are several.
    """
    names = snapshot_names(vault.root)
    if wanted == LATEST:
        if not names:
            raise NoSuchSnapshot(vault.root, "has no snapshot yet")
        newest = max(names, key=lambda name: (peek(vault.root, name).sequence, name))
        # Opening a damaged snapshot that may be the latest says what is wrong with it.
        return next(iter(unbelievable(vault, newest)), newest)
    # A partial one is found by its name alone: a part is no state of the sources.
    found = [name for name in names if name.startswith(wanted) or name.partition("-")[2].startswith(wanted)]
    found += [name for name in partial_names(vault.root) if name.startswith(wanted)]
    if wanted in found:
        return wanted
    if not wanted or len(found) != 1:
        which = "several snapshots begin" if found else "no snapshot begins"
        raise NoSuchSnapshot(vault.root, f"{which} with {wanted!r}; see: threadmill snapshots")
    return found[0]


def newest_snapshot(vault: Vault) -> Snapshot | None:
    """The good snapshot with the highest number."""
    numbers = [(peek(vault.root, name).sequence, name) for name in snapshot_names(vault.root)]
    for _, name in sorted(numbers, reverse=True):
        with suppress(VaultError):
            return read_snapshot(vault, name)
    return None


def contents_of(vault: Vault, digests: Collection[bytes]) -> dict[bytes, Content]:
    """The contents whose objects have these digests, as far as an authentic snapshot names them; raises VaultError."""
    wanted = {digest.hex().encode(): digest for digest in digests}
    found: dict[bytes, Content] = {}
    for name in (*reversed(snapshot_names(vault.root)), *partial_names(vault.root)):
        if not wanted:
            break
        with suppress(VaultError, BadLine), open_snapshot(vault, name) as opened:
            for line in opened.lines():
                digest = wanted.get(line.partition(b'"object":"')[2][:64])
                if digest is not None and isinstance(entry := decode_entry(line), FileEntry):
                    found[digest] = entry.content
                    del wanted[digest.hex().encode()]
    return found


def unbelievable(vault: Vault, since: str) -> list[str]:
    """Damaged snapshots as young as a given one, or younger, by the seconds in their names, newest first.

    Their numbers and sources cannot be trusted: each may come after the given one, and be of the same sources.
    """
    second = since.partition("-")[0]
    younger = (name for name in snapshot_names(vault.root) if name != since and name.partition("-")[0] >= second)
    found = []
    for name in sorted(younger, reverse=True):
        try:
            read_snapshot(vault, name)
        except VaultError:
            found.append(name)
    return found


def newest_of(vault: Vault, sources: Sequence[bytes], stack: ExitStack) -> tuple[OpenSnapshot | None, tuple[str, ...]]:
    """The newest good snapshot of the sources, and damaged snapshots that may be newer."""
    headers = {name: peek(vault.root, name) for name in snapshot_names(vault.root)}
    newest_first = sorted(headers, key=lambda name: (headers[name].sequence, name), reverse=True)
    for name in newest_first:
        if headers[name].sources == tuple(sources):
            with suppress(VaultError):
                return stack.enter_context(open_snapshot(vault, name)), tuple(unbelievable(vault, name))
    # There is no good one; a damaged snapshot as new as the newest of other sources may have been one.
    return None, tuple(unbelievable(vault, newest_first[0])) if newest_first else ()


def abandoned_parts(vault: Vault, sources: Sequence[bytes]) -> list[str]:
    """The partial snapshots of the sources whose runs are not alive, the oldest first."""
    headers = [peek(vault.root, name) for name in partial_names(vault.root)]
    alike = [header for header in headers if header.partial is not None and header.sources == tuple(sources)]
    alive = {header.id for header in alike if is_running(vault.root, header.id)}
    return [one.name for one in sorted(alike, key=lambda one: one.created) if one.id not in alive]


def peek(root: str, name: str) -> Header:
    """The first line of a snapshot, unchecked, to choose which snapshot to open.

    UNKNOWN, with sequence 0, if it cannot be read or is the line of another snapshot.
    """
    try:
        with closed_after(open_folder(root, snapshot_folder(name))) as folder:
            descriptor, _ = open_regular(name, folder)
        with os.fdopen(descriptor, "rb") as file:
            header = decode_header(_first_line(file))
    except (OSError, BadLine, zstandard.ZstdError):
        return UNKNOWN
    return header if header.name == name else UNKNOWN


def _first_line(file: BinaryIO) -> bytes:
    text = b""
    with zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).stream_reader(file, read_size=_PEEK_BYTES) as reader:
        while b"\n" not in text and len(text) < LONGEST_HEADER and (piece := reader.read(_PEEK_BYTES)):
            text += piece
    first, newline, _ = text.partition(b"\n")
    return first if newline else b""


def open_or_recover(path: str, secret: Secret | None) -> tuple[Vault, Verdict | None]:
    """The vault, and the fault of its `vault.json` if a snapshot had to stand in for it.

    Raises as `open_vault` if no snapshot is authentic under the secret.
    """
    try:
        return open_vault(path, secret), None
    except VaultError as error:
        vault = None if secret is None else recover(path, secret)
        if vault is None:
            raise
        return vault, _fault(vault, error)


def open_place(place: Place, key: KeySource | None) -> Vault:
    """Open the vault that a run was planned for, in any process.

    Raises KeyFileError; or VaultError, also if another folder or another vault is at the path by now.
    """
    if place.folder.was_replaced():
        raise VaultError(place.path, "another folder is there than when this run was planned; start it again")
    vault, _ = open_or_recover(place.path, None if key is None else key.secret())
    if vault.id != place.vault_id:
        raise VaultError(place.path, "another vault is there than when this run was planned; start it again")
    return vault


def _fault(vault: Vault, error: VaultError) -> Verdict:
    if isinstance(error, NoVault):
        return judged("vault", vault.id, "missing", "vault.json is missing: restore it from a copy")
    if isinstance(error, OtherFormat):
        reason = "vault.json was changed: restore it from a copy; unless another threadmill made it: then use that"
        return judged("vault", vault.id, "changed", reason)
    if isinstance(error, VaultChanged | WrongKey):
        return judged("vault", vault.id, "changed", "vault.json was changed: restore it from a copy")
    return judged("vault", vault.id, "unreadable", error.reason)


def recover(path: str, secret: Secret) -> Vault | None:
    """The vault by the newest snapshot that is authentic under the secret; None if there is none.

    Under a wrong key file nothing is authentic, which tells it from a `vault.json` that was changed.
    """
    root = os.path.realpath(path)
    with suppress(VaultError):
        for name in (*reversed(snapshot_names(root)), *partial_names(root)):
            vault_id = peek(root, name).vault_id
            # Nothing is added without `vault.json`. If something were, random salts would be the careful choice.
            vault = Vault(root, vault_id, VaultKey(secret, vault_id), random_salts=True)
            with suppress(VaultError):
                read_snapshot(vault, name)
                return vault
    return None
