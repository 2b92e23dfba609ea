"""Packs: small objects one after another in a plain tar file, each a member that is named by its SHA-256.

The header of a member is a function of its name and size alone, and readers take no other header, so that the digests
of its members and a check for zeros account for every byte of a pack. Beside each pack is a sidecar in `index/`, which
tells where its members lie; it is made again from the headers where it is missing or damaged.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from tasks.crypto.ciphers import SLACK_BYTES
from tasks.files import closed_after, new_file, open_folder, open_new, open_regular, write_all
from tasks.suites import HEADER_BYTES
from tasks.vault.errors import ObjectMissing, VaultChanged, VaultError, VaultFull, on_disk
from tasks.vault.format import INDEX, OBJECT_NAME, PACK_BYTES, PACKED_BYTES, PACKS, TEMPORARY
from tasks.vault.vault import Vault

BLOCK = 512
DIGEST_BYTES = 32
# The writer ends a pack at a fourth of this. A longer file was planted, and nobody reads it to its end.
LONGEST_PACK = 64 << 20
# All of a member's header (POSIX ustar) but name, size and checksum.
_AFTER_NAME = b"\0" * 36 + b"0000600\0" + b"0000000\0" * 2
_AFTER_SIZE = b"\0" + b"00000000000\0"
_AFTER_SUM = b"\0 0" + b"\0" * 100 + b"ustar\0" + b"00" + b"\0" * 64 + b"0000000\0" * 2 + b"\0" * 167
# The checksum counts itself as eight spaces.
_SUM = sum(_AFTER_NAME + _AFTER_SIZE + _AFTER_SUM) - ord(" ") + 8 * ord(" ")
END = bytes(2 * BLOCK)
ZEROS = bytes(BLOCK)

# Of a sidecar: `tmidx 2`, length of the pack, number of records; then the records, and SHA-256 of the pack's name and
# all before.
_MAGIC = b"tmidx 2\n"
_LENGTHS = struct.Struct("<QQ")
RECORD = struct.Struct(f"<{DIGEST_BYTES}sII")
"""A member: its digest, the block of its header, the length of its body."""
_BEFORE = len(_MAGIC) + _LENGTHS.size

# A pack is written in pieces of about this length.
_WRITTEN_AT_ONCE = 1 << 20


def header(name: bytes, size: int) -> bytes:
    """The header of a member, by the 64 hex digits of its digest."""
    octal = b"%011o" % size
    total = _SUM + sum(name) + sum(octal)
    return b"%b%b%b%b%06o%b" % (name, _AFTER_NAME, octal, _AFTER_SIZE, total, _AFTER_SUM)


def parse_header(block: bytes) -> tuple[bytes, int] | None:
    """Digest and size of a member; None unless the block is the header that a writer makes for them."""
    try:
        digest, size = bytes.fromhex(block[:64].decode("ascii")), int(block[124:135], 8)
    except ValueError:
        return None
    if not HEADER_BYTES <= size <= PACKED_BYTES or header(digest.hex().encode(), size) != block:
        return None
    return digest, size


def padding(size: int) -> int:
    """The zeros after a body."""
    return -size % BLOCK


def open_stored(root: str, kind: str, name: str) -> tuple[int, int]:
    """A descriptor to read a pack or large object, and its length.

    Raises ObjectMissing, VaultChanged (if it is no file) or VaultError.
    """
    what = f"{kind[:-1]} {name}"
    try:
        with closed_after(open_folder(root, kind, name[:2])) as parent:
            return open_regular(name, parent)
    except FileNotFoundError:
        raise ObjectMissing(root, f"{what} is missing") from None
    except OSError as error:
        fault = VaultChanged if error.errno in (errno.EINVAL, errno.ELOOP, errno.ENOTDIR) else VaultError
        raise fault(root, f"{what} cannot be read: {error.strerror}") from None


@contextmanager
def opened_stored(root: str, kind: str, name: str) -> Iterator[tuple[int, int]]:
    """The same, closed at the end."""
    descriptor, length = open_stored(root, kind, name)
    with closed_after(descriptor):
        yield descriptor, length


def stored(root: str, kind: str) -> Iterator[tuple[str, int]]:
    """Name and length of all packs, or of all large objects, sorted; one folder of them at a time is in memory.

    Links, FIFOs and folders are none, and an unreadable folder has none; `verify` reports them.
    """
    begins: list[str] = []
    with suppress(OSError), closed_after(open_folder(root, kind)) as above:
        begins = sorted(os.listdir(above))
    for begin in begins:
        with suppress(OSError), closed_after(open_folder(root, kind, begin)) as parent:
            for name in sorted(os.listdir(parent)):
                if name[:2] == begin and OBJECT_NAME.fullmatch(name):
                    with suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            yield name, status.st_size


def move(root: str, kind: str, part: str, temporary: int, name: str) -> None:
    """Give a file of `tmp/`, whose bytes are on disk, its name; raises OSError."""
    with closed_after(open_folder(root, kind, name[:2], make=True)) as parent:
        os.rename(part, name, src_dir_fd=temporary, dst_dir_fd=parent)


def sync_names(root: str, kind: str, names: Iterable[str]) -> None:
    """Put the folders of new names on disk; raises OSError."""
    # The one above always: another process may just have made a folder in it, and not have put that on disk yet.
    for parts in (*sorted({(kind, name[:2]) for name in names}), (kind,)):
        with closed_after(open_folder(root, *parts)) as folder:
            os.fsync(folder)


class PackWriter:
    """Writes objects into packs; no pack has its name before its bytes are on disk.

    Each body is made in place: `reserve` gives the room for it, `add` makes it a member. What is not committed is
    discarded at the end. Every method raises VaultUnwritable; after VaultFull the pack at hand is `lost`, and the next
    member begins another one.
    """

    def __init__(self, vault: Vault) -> None:
        self.packs: list[tuple[str, int, int]] = []
        """Name, length and number of members of each committed pack."""
        self.lost: dict[bytes, str] = {}
        """The digests of members that the disk had no room for, with the reason."""
        self.enough_bytes = PACK_BYTES
        """The length from which on a pack is complete."""
        self._root = vault.root
        # A member is begun below the limit of a piece, and a cipher wants more room than its output takes.
        self._buffer = bytearray(_WRITTEN_AT_ONCE + BLOCK + PACKED_BYTES + BLOCK + len(END))
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._written = 0
        self._records: list[bytes] = []
        self._part = ""
        self._temporary = self._descriptor = -1

    def reserve(self, length: int) -> memoryview:
        """The room for the next body, and the cipher's slack."""
        begin = self._filled + BLOCK
        return self._view[begin : begin + length + SLACK_BYTES]

    def add(self, digest: bytes, length: int) -> None:
        """Make the body in the reserved room a member; writes a pack that is long enough."""
        begin = self._filled
        self.lost.pop(digest, None)
        self._records.append(RECORD.pack(digest, (self._written + begin) // BLOCK, length))
        body = begin + BLOCK
        self._buffer[begin:body] = header(digest.hex().encode(), length)
        end = body + length
        self._filled = end + padding(length)
        self._buffer[end : self._filled] = ZEROS[: self._filled - end]
        if self._written + self._filled >= self.enough_bytes:
            self.commit()
        elif self._filled >= _WRITTEN_AT_ONCE:
            self._write()

    def commit(self) -> None:
        """End the pack at hand, if there is one: put its bytes, name and folders on disk, and then write its sidecar.

        A sidecar may get lost: readers notice, and find its members by their headers.
        """
        if not self._records:
            return
        self._buffer[self._filled : self._filled + len(END)] = END
        self._filled += len(END)
        self._write()
        name = self._hasher.hexdigest()
        with self._taken():
            os.fsync(self._descriptor)
            move(self._root, PACKS, self._part, self._temporary, name)
            sync_names(self._root, PACKS, (name,))
        with suppress(OSError):
            write_sidecar(self._root, name, self._written, self._records)
        self.packs.append((name, self._written, len(self._records)))
        self._close()

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """Discard the pack at hand if the disk does not take it; raises VaultUnwritable."""
        try:
            with on_disk(self._root):
                yield
        except VaultFull as error:
            self.lost |= dict.fromkeys((RECORD.unpack(record)[0] for record in self._records), str(error))
            self._discard()
            raise

    def _discard(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.unlink(self._part, dir_fd=self._temporary)
        self._close()

    def _write(self) -> None:
        with self._taken():
            if self._descriptor < 0:
                self._hasher = hashlib.sha256()
                self._part = secrets.token_hex(8)
                self._temporary = open_folder(self._root, TEMPORARY, make=True)
                self._descriptor = open_new(self._part, self._temporary)
            piece = self._view[: self._filled]
            self._hasher.update(piece)
            write_all(self._descriptor, piece)
        self._written += self._filled
        self._filled = 0

    def _close(self) -> None:
        for descriptor in (self._descriptor, self._temporary):
            if descriptor >= 0:
                os.close(descriptor)
        self._temporary = self._descriptor = -1
        self._records = []
        self._written = self._filled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._discard()


def write_sidecar(root: str, name: str, pack_bytes: int, records: list[bytes]) -> None:
    """Write the sidecar of a pack; raises OSError. It is not put on disk: damage is noticed, and costs a rebuild."""
    content = _MAGIC + _LENGTHS.pack(pack_bytes, len(records)) + b"".join(sorted(records))
    digest = hashlib.sha256(bytes.fromhex(name) + content).digest()
    with (
        closed_after(open_folder(root, TEMPORARY, make=True)) as temporary,
        closed_after(open_folder(root, INDEX, make=True)) as index,
        new_file(temporary) as (part, descriptor),
    ):
        write_all(descriptor, content + digest)
        os.rename(part, name, src_dir_fd=temporary, dst_dir_fd=index)


def read_sidecar(root: str, name: str, pack_bytes: int) -> bytes | None:
    """The records of a pack's sidecar; None if it is missing, damaged, or that of another pack.

    It has no MAC, since readers without the key need it: a record is a hint, and the bytes in the pack decide.
    """
    longest = _BEFORE + RECORD.size * (pack_bytes // (2 * BLOCK)) + DIGEST_BYTES
    try:
        with closed_after(open_folder(root, INDEX)) as index:
            descriptor, length = open_regular(name, index)
        with closed_after(descriptor):
            raw = os.read(descriptor, length) if length <= longest else b""
    except OSError:
        return None
    records = raw[_BEFORE:-DIGEST_BYTES]
    before = _MAGIC + _LENGTHS.pack(pack_bytes, len(records) // RECORD.size)
    fits = raw[:_BEFORE] == before and not len(records) % RECORD.size
    digest = hashlib.sha256(bytes.fromhex(name) + raw[:-DIGEST_BYTES]).digest()
    return records if fits and digest == raw[-DIGEST_BYTES:] else None


def scan_pack(root: str, name: str, pack_bytes: int) -> list[bytes]:
    """The records of a pack by its headers; as far as it can be read, and none of a file that is no pack."""
    records: list[bytes] = []
    if pack_bytes <= LONGEST_PACK:
        with suppress(OSError, VaultError), opened_stored(root, PACKS, name) as (descriptor, _):
            for digest, at, size in members(lambda at: os.pread(descriptor, BLOCK, at), pack_bytes):
                if at + size <= pack_bytes:
                    records.append(RECORD.pack(digest, at // BLOCK - 1, size))
    return records


def members(block_at: Callable[[int], bytes], pack_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Digest, and offset and length of the body, of each member of a pack; a body may go beyond the pack's end.

    After a block that is no header, or the header of such a body, the next block is tried, so that a damaged header
    costs one object.
    """
    at = 0
    while at + BLOCK <= pack_bytes:
        found = parse_header(block_at(at))
        at += BLOCK
        if found is not None:
            digest, size = found
            yield digest, at, size
            if at + size <= pack_bytes:
                at += size + padding(size)
