"""Reading and writing a snapshot. Nothing in one is believed before its MAC is checked."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.files import ReadFailed, ReadTwice, closed_after, open_regular, write_all
from tasks.vault.entries import Entry, FileEntry, Header, Order, Totals, decode_entry, decode_header, decode_totals
from tasks.vault.errors import NoSuchSnapshot, SnapshotInvalid, VaultChanged, VaultError
from tasks.vault.format import (
    LONGEST_LINE,
    MAC_LINE_BYTES,
    BadLine,
    decode_line,
    decode_mac,
    encode_mac,
    snapshot_path,
    split_lines,
)
from tasks.vault.vault import Vault

# Ten million entries have about 3 GB. A larger file is not read at all, authentic or not.
LARGEST_BYTES = 4 << 30
# The sources of a run stand in the first line.
LONGEST_HEADER = 1 << 20
FOOTER = b'{"entries":'


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot whose MAC (64 hex digits) was checked, unless the vault was opened without its key."""

    header: Header
    totals: Totals
    mac: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.header.name


class OpenSnapshot:
    """A snapshot whose entries can be read, in constant memory."""

    def __init__(self, vault: Vault, name: str, content: ReadTwice, snapshot: Snapshot) -> None:
        self._vault = vault
        self._name = name
        self._content = content
        self.snapshot = snapshot

    @property
    def entries_at(self) -> int:
        """The offset of the first entry in the file."""
        return len(next(self._all_lines()))

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self._content.size_bytes

    def lines(self) -> Iterator[bytes]:
        """The line of each entry, newline included; raises SnapshotInvalid or VaultError."""
        lines = self._all_lines()
        next(lines)
        for line in lines:
            if not line.startswith(FOOTER):
                yield line
            elif next(lines, None) is not None:
                raise SnapshotInvalid(self._vault.root, f"snapshot {self._name}: goes on after its totals")

    def entries(self) -> Iterator[Entry]:
        """The entries, each checked, and at the end their totals; raises SnapshotInvalid or VaultError."""
        for _, entry in self.lines_and_entries():
            yield entry

    def objects(self) -> Iterator[tuple[str, int]]:
        """The object of each file, and the size of the file; raises as `entries`."""
        return ((entry.object, entry.facts.size_bytes) for entry in self.entries() if isinstance(entry, FileEntry))

    def lines_and_entries(self) -> Iterator[tuple[bytes, Entry]]:
        """The entries, each with its line. Raises as `entries`."""
        order = Order()
        entries = files = size_bytes = 0
        try:
            for line in self.lines():
                entry = decode_entry(line)
                order.check(entry)
                entries += 1
                if isinstance(entry, FileEntry):
                    files += 1
                    size_bytes += entry.facts.size_bytes
                yield line, entry
        except BadLine as error:
            raise SnapshotInvalid(self._vault.root, f"snapshot {self._name}: line {entries + 2} {error}") from None
        if Totals(entries, files, size_bytes) != self.snapshot.totals:
            raise SnapshotInvalid(self._vault.root, f"snapshot {self._name}: its totals do not fit its entries")

    def _all_lines(self) -> Iterator[bytes]:
        """Every line but the MAC's."""
        try:
            yield from split_lines(self._but_for_the_mac(), LONGEST_HEADER)
        except BadLine as error:
            raise SnapshotInvalid(self._vault.root, f"snapshot {self._name}: {error}") from None
        except ReadFailed as error:
            raise VaultError(self._vault.root, f"snapshot {self._name} cannot be read: {error}") from None

    def _but_for_the_mac(self) -> Iterator[bytes]:
        left = self._content.size_bytes - MAC_LINE_BYTES
        for piece in self._content.again():
            yield piece[:left]
            left -= min(left, len(piece))


@contextmanager
def open_snapshot(vault: Vault, name: str) -> Iterator[OpenSnapshot]:
    """Open a snapshot and, where the key is there, check its MAC before anything is parsed.

    Raises NoSuchSnapshot, VaultChanged, SnapshotInvalid if its first or last line breaks the format, or VaultError.
    """
    try:
        descriptor, size_bytes = open_regular(snapshot_path(vault.root, name))
    except FileNotFoundError:
        raise NoSuchSnapshot(vault.root, f"there is no snapshot {name}") from None
    except OSError as error:
        raise VaultError(vault.root, f"snapshot {name} cannot be read: {error.strerror}") from None
    with closed_after(descriptor):
        if size_bytes > LARGEST_BYTES:
            raise VaultChanged(vault.root, f"snapshot {name}: {size_bytes:,} bytes are more than any snapshot has")
        content = ReadTwice(descriptor)
        mac, head, tail = _authenticate(vault, name, content, size_bytes)
        yield OpenSnapshot(vault, name, content, Snapshot(*_ends(vault, name, head, tail), mac))


def _authenticate(vault: Vault, name: str, content: ReadTwice, size_bytes: int) -> tuple[str, bytes, bytes]:
    """The MAC of the last line, checked if the key is given; the first bytes, and the last bytes before the MAC."""
    mac = None if vault.key is None else vault.key.mac()
    left = size_bytes - MAC_LINE_BYTES
    head = tail = b""

    def take(piece: bytes) -> None:
        nonlocal left, head, tail
        if mac is not None:
            mac.update(piece[: max(left, 0)])
        left -= len(piece)
        head = head or piece
        tail = (tail + piece)[-LONGEST_LINE - MAC_LINE_BYTES :]

    try:
        content.first(take)
    except ReadFailed as error:
        raise VaultError(vault.root, f"snapshot {name} cannot be read: {error}") from None
    if left != -MAC_LINE_BYTES:
        raise VaultChanged(vault.root, f"snapshot {name}: it changed while it was read")
    found = decode_mac(tail[-MAC_LINE_BYTES:])
    if found is None:
        raise VaultChanged(vault.root, f"snapshot {name}: it was changed or cut off: it does not end in a MAC")
    if mac is not None and not hmac.compare_digest(found, mac.hexdigest()):
        raise VaultChanged(vault.root, f"snapshot {name}: it was changed: its MAC does not fit")
    return found, head, tail[:-MAC_LINE_BYTES]


def _ends(vault: Vault, name: str, head: bytes, tail: bytes) -> tuple[Header, Totals]:
    """The header and the totals, decoded from bytes that are authentic by now."""
    first, newline, _ = head.partition(b"\n")
    try:
        header = decode_header(first if newline else b"")
        totals = decode_totals(decode_line(tail[tail.rfind(b"\n", 0, -1) + 1 :] if tail.endswith(b"\n") else b""))
    except BadLine as error:
        raise SnapshotInvalid(vault.root, f"snapshot {name}: it {error}") from None
    if header.vault_id != vault.id:
        raise VaultChanged(vault.root, f"snapshot {name}: it belongs to another vault")
    if header.name != name:
        raise VaultChanged(vault.root, f"snapshot {name}: it is the snapshot {header.name} under another name")
    return header, totals


class SnapshotWriter:
    """Lines, a few KiB at a time, and their MAC; raises OSError where the disk takes no more."""

    def __init__(self, descriptor: int, vault: Vault) -> None:
        self._descriptor = descriptor
        self._root = vault.root
        self._mac = vault.need_key().mac()
        self._held = bytearray()
        self._left = LARGEST_BYTES

    def put(self, line: bytes) -> None:
        """Write the next line; raises VaultError if the snapshot becomes too large."""
        self._held += line
        if len(self._held) > LONGEST_LINE:
            self._flush()

    def end(self) -> str:
        """Write the MAC; its 64 hex digits."""
        self._flush()
        mac = self._mac.hexdigest()
        write_all(self._descriptor, encode_mac(mac))
        return mac

    def _flush(self) -> None:
        self._left -= len(self._held)
        if self._left < MAC_LINE_BYTES:
            raise VaultError(self._root, "a snapshot cannot have so many entries; back up parts of the sources")
        self._mac.update(self._held)
        write_all(self._descriptor, bytes(self._held))
        self._held.clear()
