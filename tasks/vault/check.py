"""Checking packs and large objects: each byte of them is read."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.crypto.holes import extents_of
from tasks.files import ReadFailed, hashed
from tasks.vault.errors import VaultChanged, VaultError
from tasks.vault.format import OBJECTS, PACKS
from tasks.vault.packs import BLOCK, END, LONGEST_PACK, RECORD, ZEROS, members, opened_stored, padding, read_sidecar
from tasks.vault.vault import Vault

_PIECE_BYTES = 1 << 20
# Where a piece cannot be read, its sectors are tried one by one.
_SECTOR = 4096
_UNREADABLE = "it cannot be read everywhere"


@dataclass(frozen=True, slots=True)
class PackFacts:
    """The result of reading a pack; without `faults` it is whole, and so are all of its members.

    `members` are the digests of whole members, `bad` those of members that are damaged, or gone although the sidecar
    names them. With two copies of an object a digest may be in both. `records` are what the sidecar of a whole pack has
    to say, where it says something else; None where it is right, or is not there.
    """

    name: str
    size_bytes: int
    members: tuple[bytes, ...]
    bad: tuple[bytes, ...]
    faults: tuple[str, ...]
    records: list[bytes] | None = None


def check_pack(vault: Vault, name: str, cancel: CancelToken) -> PackFacts:
    """Read a pack from front to back, and account for each of its bytes.

    Raises ObjectMissing, VaultChanged (something else is in its place), VaultError or Cancelled.
    """
    faults: list[str] = []
    whole: list[bytes] = []
    bad: set[bytes] = set()
    records: list[bytes] = []
    with opened_stored(vault.root, PACKS, name) as (descriptor, length):
        if length > LONGEST_PACK:
            raise VaultChanged(vault.root, f"pack {name} is longer than a pack can be: {length:,} bytes")
        pack, pack_name = _read_pack(descriptor, length, faults, cancel)
    end = stray = 0
    for digest, at, size in members(lambda at: bytes(pack[at : at + BLOCK]), len(pack)):
        body, zeros = pack[at : at + size], pack[at + size : at + size + padding(size)]
        if len(body) < size:
            # It is cut, or was planted.
            bad.add(digest)
            continue
        records.append(RECORD.pack(digest, at // BLOCK - 1, size))
        if hashlib.sha256(body).digest() == digest:
            whole.append(digest)
        else:
            bad.add(digest)
        stray += at - BLOCK - end + (len(zeros) if zeros != ZEROS[: len(zeros)] else 0)
        end = at + size + len(zeros)
    has_end = pack[end:][-len(END) :] == END
    stray += len(pack) - end - (len(END) if has_end else 0)
    if not has_end:
        faults.append("it has another end than a pack")
    if stray:
        faults.append(f"{stray:,} of its bytes are of no object")
    if pack_name != name:
        faults.append("its bytes do not fit its name")
    named = read_sidecar(vault.root, name, length)
    misled = named is not None and named != b"".join(sorted(records))
    if misled and faults:
        bad |= {digest for digest, _, _ in RECORD.iter_unpack(named or b"")}.difference(whole)
    # A pack that fits its name has lost nothing, whatever a forged sidecar says.
    right = records if misled and not faults else None
    return PackFacts(name, length, tuple(whole), tuple(sorted(bad)), tuple(faults), right)


def _read_pack(descriptor: int, length: int, faults: list[str], cancel: CancelToken) -> tuple[memoryview, str]:
    """The bytes of a pack, and the name that fits them.

    A sector that cannot be read is taken for zeros, so that it costs the objects in it only.
    """
    pack = memoryview(bytearray(length))
    hasher = hashlib.sha256()
    at = 0
    while at < length:
        if cancel.cancelled:
            raise Cancelled
        count = _read(descriptor, pack[at : at + _PIECE_BYTES], at)
        if count is None:
            count = min(_SECTOR - at % _SECTOR, length - at)
            if _UNREADABLE not in faults:
                faults.append(_UNREADABLE)
        if not count:
            break
        hasher.update(pack[at : at + count])
        at += count
    return pack[:at], hasher.hexdigest()


def _read(descriptor: int, piece: memoryview, at: int) -> int | None:
    """Read a piece, or else its first sector; None if that cannot be read either."""
    for room in (piece, piece[: _SECTOR - at % _SECTOR]):
        with suppress(OSError):
            return os.preadv(descriptor, [room], at)
    return None


def check_object(vault: Vault, name: str, cancel: CancelToken) -> int:
    """Hash a large object (64 hex digits); its length. Raises ObjectMissing, VaultChanged, VaultError or Cancelled."""
    hasher = hashlib.sha256()
    with opened_stored(vault.root, OBJECTS, name) as (descriptor, length):
        # Whoever plants a file of exabytes pays for no block of it, and nobody could read it to its end.
        if extents_of(descriptor, os.fstat(descriptor)) is not None:
            raise VaultChanged(vault.root, f"object {name} has holes, which no ciphertext has")
        try:
            for _ in hashed(descriptor, length, hasher.update):
                if cancel.cancelled:
                    raise Cancelled
        except ReadFailed as error:
            raise VaultError(vault.root, f"object {name} cannot be read: {error}") from None
    if hasher.hexdigest() != name:
        raise VaultChanged(vault.root, f"object {name}: its bytes do not fit its name")
    return length
