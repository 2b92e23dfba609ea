"""Checking packs and large objects: each byte of them is read."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault.errors import VaultChanged, VaultError
from tasks.vault.format import INDEX, OBJECTS, PACKS
from tasks.vault.packs import (
    BLOCK,
    END,
    LONGEST_PACK,
    RECORD,
    ZEROS,
    folder,
    opened_stored,
    padding,
    parse_header,
    read_sidecar,
)
from tasks.vault.vault import Vault

_PIECE_BYTES = 4 << 20
# Where a piece cannot be read, its sectors are tried one by one.
_SECTOR = 4096
_UNREADABLE = "it cannot be read everywhere"


@dataclass(frozen=True, slots=True)
class PackFacts:
    """The result of reading a pack; without `faults` it is whole, and so are all of its members.

    `members` are the digests of whole members, `bad` those of members that are damaged, or gone although the sidecar
    names them. With two copies of an object a digest may be in both.
    """

    name: str
    size_bytes: int
    members: tuple[bytes, ...]
    bad: tuple[bytes, ...]
    faults: tuple[str, ...]


def check_pack(vault: Vault, name: str, cancel: CancelToken) -> PackFacts:
    """Read a pack from front to back, and account for each of its bytes.

    Raises ObjectMissing, VaultChanged (something else is in its place), VaultError or Cancelled.
    """
    with opened_stored(vault.root, PACKS, name) as (descriptor, length):
        if length > LONGEST_PACK:
            raise VaultChanged(vault.root, f"pack {name} is longer than a pack can be: {length:,} bytes")
        check = _PackCheck(descriptor, length, cancel)
        check.run()
    if check.hasher.hexdigest() != name:
        check.faults.append("its bytes do not fit its name")
    with suppress(OSError), folder(vault.root, INDEX) as index:
        records = read_sidecar(index, name, length)
        if records is not None and records != b"".join(sorted(check.records)):
            check.bad |= {digest for digest, _, _ in RECORD.iter_unpack(records)}.difference(check.members)
            if not check.faults:
                check.faults.append(f"its index does not fit it; remove {INDEX}/{name}")
    return PackFacts(name, length, tuple(check.members), tuple(sorted(check.bad)), tuple(check.faults))


class _PackCheck:
    """Reads a pack to the end that it had when it was opened."""

    def __init__(self, descriptor: int, length: int, cancel: CancelToken) -> None:
        self.records: list[bytes] = []
        self.members: list[bytes] = []
        self.bad: set[bytes] = set()
        self.faults: list[str] = []
        self.hasher = hashlib.sha256()
        self._descriptor = descriptor
        self._length = length
        self._cancel = cancel
        self._stray = 0
        self._view = memoryview(bytearray(min(length, _PIECE_BYTES)))
        # The part of the buffer that is not checked yet, and the place in the pack that comes after it.
        self._begin = self._end = self._at = 0

    def run(self) -> None:
        """Check header after header; a block that is none is passed over."""
        while (left := self._fill(len(END) + 1)) >= BLOCK:
            if left == len(END) and self._view[self._begin : self._end] == END:
                self._begin = self._end
                break
            found = parse_header(bytes(self._view[self._begin : self._begin + BLOCK]))
            if found is None:
                self._stray += BLOCK
                self._begin += BLOCK
            else:
                self._member(*found)
        else:
            self.faults.append("it has another end than a pack")
        if self._stray:
            self.faults.append(f"{self._stray:,} of its bytes are of no object")

    def _member(self, digest: bytes, size: int) -> None:
        end = BLOCK + size + padding(size)
        left = self._fill(end)
        header_at, self._begin = self._begin, self._begin + BLOCK
        if left < BLOCK + size:
            # It is cut, or was planted.
            self.bad.add(digest)
            return
        self.records.append(RECORD.pack(digest, (self._at - left) // BLOCK, size))
        body = self._view[self._begin : self._begin + size]
        if hashlib.sha256(body).digest() == digest:
            self.members.append(digest)
        else:
            self.bad.add(digest)
        self._begin = min(header_at + end, self._end)
        zeros = bytes(self._view[header_at + BLOCK + size : self._begin])
        if zeros != ZEROS[: len(zeros)]:
            self._stray += len(zeros)

    def _fill(self, wanted: int) -> int:
        """Have so many bytes in the buffer, or all that are left; the number of them."""
        if self._end - self._begin < wanted and self._at < self._length:
            left = self._end - self._begin
            self._view[:left] = self._view[self._begin : self._end]
            self._begin, self._end = 0, left
            while self._at < self._length and self._end < len(self._view):
                if self._cancel.cancelled:
                    raise Cancelled
                piece = self._view[self._end :][: self._length - self._at]
                count = self._read(piece)
                if not count:
                    self._length = self._at
                self.hasher.update(piece[:count])
                self._end += count
                self._at += count
        return self._end - self._begin

    def _read(self, piece: memoryview) -> int:
        """Read on. A sector that cannot be read is taken for zeros, so that it costs the objects in it only."""
        sector = piece[: _SECTOR - self._at % _SECTOR]
        try:
            return os.preadv(self._descriptor, [piece], self._at)
        except OSError:
            with suppress(OSError):
                return os.preadv(self._descriptor, [sector], self._at)
        sector[:] = bytes(len(sector))
        if _UNREADABLE not in self.faults:
            self.faults.append(_UNREADABLE)
        return len(sector)


def check_object(vault: Vault, name: str, cancel: CancelToken) -> int:
    """Hash a large object (64 hex digits); its length. Raises ObjectMissing, VaultChanged, VaultError or Cancelled."""
    buffer = memoryview(bytearray(1 << 20))
    hasher = hashlib.sha256()
    with opened_stored(vault.root, OBJECTS, name) as (descriptor, length):
        left = length
        try:
            while left and (count := os.readv(descriptor, [buffer[:left]])):
                if cancel.cancelled:
                    raise Cancelled
                hasher.update(buffer[:count])
                left -= count
        except OSError as error:
            raise VaultError(vault.root, f"object {name} cannot be read: {error.strerror}") from None
    if hasher.hexdigest() != name:
        raise VaultChanged(vault.root, f"object {name}: its bytes do not fit its name")
    return length
