"""Reading and writing a snapshot: a zstd frame, then a skippable one with the MAC over everything before it.

Nothing in one is believed, nor decompressed, before its MAC is checked.
"""

from __future__ import annotations

import hmac
import re
from binascii import unhexlify
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain

import zstandard

from tasks.files import ReadFailed, ReadTwice, closed_after, open_folder, open_regular, write_all
from tasks.suites import HEADER_BYTES
from tasks.vault.entries import Content, Entry, FileEntry, decode_entry
from tasks.vault.errors import NoSuchSnapshot, SnapshotInvalid, VaultChanged, VaultError
from tasks.vault.format import BadLine, encode_line, snapshot_folder, split_lines, unpack_frame
from tasks.vault.header import Header, Order, Totals, decode_header, decode_totals
from tasks.vault.vault import Vault

# Ten million entries have about 3 GB of text, and a fifth of it compressed. Larger ones are neither written nor read.
LARGEST_BYTES = 4 << 30
# The sources of a run stand in the first line.
LONGEST_HEADER = 1 << 20
FOOTER = b'{"entries":'
_LONGEST_TOTALS = 1 << 10
MAC_BYTES = 32
# A skippable frame: the zstd program passes over it.
SKIPPABLE = b"\x5d\x2a\x4d\x18" + MAC_BYTES.to_bytes(4, "little")
_END_BYTES = len(SKIPPABLE) + MAC_BYTES
# The fastest level: digests do not compress, and the rest does well.
_LEVEL = 1
# Every file in a block of lines, as long as none has extents, attributes or marks.
_PLAIN_OBJECT = re.compile(
    rb'"size":([0-9]{1,18}),"object":"([0-9a-f]{64})"(?:,"zstd":([0-9]{1,18}))?(?:,"mac":"[0-9a-f]{32}")?\}\n'
)


@dataclass(frozen=True, slots=True)
class Authentic:
    """A snapshot whose MAC (64 hex digits) was checked, unless the vault was opened without its key."""

    header: Header
    mac: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.header.name


@dataclass(frozen=True, slots=True)
class Snapshot(Authentic):
    """A snapshot that was read to its end."""

    totals: Totals


class OpenSnapshot:
    """A snapshot, or a partial one, whose entries can be read as often as needed, in constant memory."""

    def __init__(self, vault: Vault, name: str, content: ReadTwice, mac: str) -> None:
        """Raises VaultChanged or SnapshotInvalid if the first line is not the header of this snapshot."""
        self._vault = vault
        self._name = name
        self._content = content
        self.size_bytes = content.size_bytes
        """Length of the file."""
        self.header = self._header()
        self.authentic = Authentic(self.header, mac)
        self._totals: Totals | None = None

    @property
    def snapshot(self) -> Snapshot:
        """Header, totals and MAC; raises SnapshotInvalid or VaultError."""
        return Snapshot(self.header, self.authentic.mac, self.totals)

    @property
    def totals(self) -> Totals:
        """The last line, for which no other one is looked at; raises SnapshotInvalid or VaultError."""
        if self._totals is None:
            end = b""
            with self._reading():
                for piece in self._text():
                    end = (end + piece)[-_LONGEST_TOTALS:]
                self._totals = decode_totals(end[end.rfind(b"\n", 0, -1) + 1 :])
        return self._totals

    def lines(self) -> Iterator[bytes]:
        """The line of each entry, newline included; raises SnapshotInvalid or VaultError."""
        lines = self._all_lines()
        next(lines)
        for line in lines:
            if line.startswith(FOOTER):
                break
            yield line
        else:
            raise self._invalid("has no totals")
        with self._reading():
            self._totals = decode_totals(line)
        if next(lines, None) is not None:
            raise self._invalid("goes on after its totals")

    def entries(self) -> Iterator[Entry]:
        """The entries, each checked, and at the end their totals; raises SnapshotInvalid or VaultError."""
        for _, entry in self.lines_and_entries():
            yield entry

    def contents(self) -> Iterator[Content]:
        """All that the entries need; raises as `entries`."""
        for entry in self.entries():
            if isinstance(entry, FileEntry):
                yield from entry.contents()

    def lines_and_entries(self) -> Iterator[tuple[bytes, Entry]]:
        """The entries, each with its line. Raises as `entries`."""
        order = Order()
        entries = files = size_bytes = marked = 0
        for line in self.lines():
            try:
                entry = decode_entry(line)
                order.check(entry)
            except BadLine as error:
                raise self._invalid(f"line {entries + 2} {error}") from None
            entries += 1
            marked += entry.mark is not None
            if isinstance(entry, FileEntry):
                files += 1
                size_bytes += entry.facts.size_bytes
            yield line, entry
        totals = self.snapshot.totals
        if totals != replace(totals, entries=entries, files=files, size_bytes=size_bytes, marked=marked):
            raise self._invalid("its totals do not fit its entries")

    def named(self) -> Iterator[tuple[bytes, int]]:
        """Digest and stored length of each object that is needed, some more than once; raises as `entries`.

        Entries are not checked one by one, which would take ten times as long.
        """
        rest = last = b""
        with self._reading():
            for piece in self._text():
                block, newline, rest = (rest + piece).rpartition(b"\n")
                if len(rest) > LONGEST_HEADER:
                    raise BadLine("has a line that is too long")
                block += newline
                last = block or last
                plain = _PLAIN_OBJECT.findall(block)
                if len(plain) == block.count(b'"object":"'):
                    for size, digest, zstd in plain:
                        yield unhexlify(digest), HEADER_BYTES + int(zstd or size)
                    continue
                for line in block.splitlines(keepends=True):
                    if b'"object":"' in line and isinstance(entry := decode_entry(line), FileEntry):
                        for content in entry.contents():
                            yield unhexlify(content.object), content.stored_bytes
            if rest:
                raise BadLine("does not end with a line")
            self._totals = decode_totals(last[last.rfind(b"\n", 0, -1) + 1 :])

    def _header(self) -> Header:
        with self._reading():
            header = decode_header(next(self._all_lines(), b""))
        if header.vault_id != self._vault.id:
            raise _changed(self._vault, self._name, "it belongs to another vault")
        if header.name != self._name:
            raise _changed(self._vault, self._name, f"it is the snapshot {header.name} under another name")
        return header

    def _all_lines(self) -> Iterator[bytes]:
        with self._reading():
            yield from split_lines(self._text(), LONGEST_HEADER)

    def _text(self) -> Iterator[bytes]:
        def frame() -> Iterator[memoryview]:
            left = self.size_bytes - _END_BYTES
            for piece in self._content.again():
                yield memoryview(piece)[:left]
                left -= min(left, len(piece))

        return unpack_frame(frame(), LARGEST_BYTES)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except BadLine as error:
            raise self._invalid(f"it {error}") from None
        except ReadFailed as error:
            raise VaultError(self._vault.root, f"snapshot {self._name} cannot be read: {error}") from None

    def _invalid(self, reason: str) -> SnapshotInvalid:
        return SnapshotInvalid(self._vault.root, f"snapshot {self._name}: {reason}")


@contextmanager
def open_snapshot(vault: Vault, name: str) -> Iterator[OpenSnapshot]:
    """Open a snapshot, or a partial one, and check its MAC where the key is there, before anything is decompressed.

    Raises NoSuchSnapshot, VaultChanged, SnapshotInvalid if its first line breaks the format, or VaultError.
    """
    try:
        with closed_after(open_folder(vault.root, snapshot_folder(name))) as folder:
            descriptor, size_bytes = open_regular(name, folder)
    except FileNotFoundError:
        raise NoSuchSnapshot(vault.root, f"there is no snapshot {name}") from None
    except OSError as error:
        raise VaultError(vault.root, f"snapshot {name} cannot be read: {error.strerror}") from None
    with closed_after(descriptor):
        if size_bytes > LARGEST_BYTES:
            raise _changed(vault, name, f"{size_bytes:,} bytes are more than any snapshot has")
        content = ReadTwice(descriptor)
        mac = _authenticate(vault, name, content, size_bytes)
        yield OpenSnapshot(vault, name, content, mac)


def _authenticate(vault: Vault, name: str, content: ReadTwice, size_bytes: int) -> str:
    """The MAC at the end (64 hex digits), checked if the key is given."""
    mac = None if vault.key is None else vault.key.mac()
    end = b""

    def take(piece: bytes) -> None:
        nonlocal end
        held = end + piece
        end = held[-_END_BYTES:]
        if mac is not None:
            mac.update(memoryview(held)[:-_END_BYTES])

    try:
        content.first(take)
    except ReadFailed as error:
        raise VaultError(vault.root, f"snapshot {name} cannot be read: {error}") from None
    if content.size_bytes != size_bytes:
        raise _changed(vault, name, "it changed while it was read")
    skippable, found = end[:-MAC_BYTES], end[-MAC_BYTES:]
    if skippable != SKIPPABLE:
        raise _changed(vault, name, "it was changed or cut off: it does not end in a MAC")
    if mac is not None:
        mac.update(skippable)
        if not hmac.compare_digest(found, mac.digest()):
            raise _changed(vault, name, "it was changed: its MAC does not fit")
    return found.hex()


def _changed(vault: Vault, name: str, how: str) -> VaultChanged:
    return VaultChanged(vault.root, f"snapshot {name}: {how}")


def write_snapshot(descriptor: int, vault: Vault, header: Header, pieces: Iterable[bytes], totals: Totals) -> str:
    """Write a snapshot whose entries come as whole lines, many in a piece; its MAC (64 hex digits).

    Raises VaultError if there are too many, or OSError where the disk takes no more.
    """
    mac = vault.need_key().mac()
    frame = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def write(data: bytes) -> None:
        mac.update(data)
        write_all(descriptor, data)

    left = LARGEST_BYTES
    for piece in chain((encode_line(header.values()),), pieces, (encode_line(asdict(totals)),)):
        left -= len(piece)
        if left < 0:
            reason = "a snapshot cannot have so many entries; back up parts of the sources"
            raise VaultError(vault.root, reason)
        write(frame.compress(piece))
    write(frame.flush() + SKIPPABLE)
    write_all(descriptor, mac.digest())
    return mac.hexdigest()
