"""From files to objects: each file is read once, known again if it has not changed, or else made an object.

Key and IV of an object come from its salt, so that one salt over two different plaintexts would be a two-time pad. The
salt is therefore a MAC of the very buffer that is encrypted: after compression, since another version of zstd makes
other frames. Where the content is not in memory in one piece, the salt is random.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Self

import zstandard

from tasks.crypto.chain import Sink
from tasks.crypto.encrypt import Attempted, Workbench, encrypt_input
from tasks.crypto.inputs import Encrypted, Input, Payload, memory_input
from tasks.crypto.plaintext import OpenFile, need_unchanged, piped
from tasks.crypto.sources import Ahead
from tasks.files import closed_after
from tasks.suites import HEADER_BYTES, MAGIC, SALT_BYTES, Compression
from tasks.vault.entries import Content, FileFacts, begin_file, content_tail, decode_tail, path_field
from tasks.vault.equal import is_still
from tasks.vault.errors import VaultError
from tasks.vault.format import CONTENT_MAC_BYTES, OBJECTS, PACKED_BYTES, WHOLE_BYTES, BadLine
from tasks.vault.index import ObjectIndex
from tasks.vault.objects import NewObject, ObjectBatch
from tasks.vault.packs import PackWriter, open_stored
from tasks.vault.vault import Vault

# Level 3 makes frames a twentieth smaller than level 1, at three quarters of its speed.
_LEVELS: dict[Compression, int] = {"auto": 3, "max": 19}
# A cipher wants so much more room than its output takes.
_SLACK_BYTES = 15
# The beginning of a large file tells whether it shrinks. Of content in memory the look would cost more than it saves:
# zstd passes over random bytes at 8 GB/s.
_LOOK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Making:
    """How objects are made. `distrusted` ones (64 hex digits), or all with `rehash`, count only if they are whole."""

    compression: Compression = "auto"
    distrusted: frozenset[str] = frozenset()
    rehash: bool = False


class ContentWriter:
    """Makes the objects of a batch, and the lines of its files."""

    def __init__(
        self, vault: Vault, making: Making, index: ObjectIndex, packs: PackWriter, objects: ObjectBatch
    ) -> None:
        self.lines: dict[int, bytes] = {}
        """The line of each good file, by ordinal."""
        self.proven: dict[str, int] = {}
        """The distrusted objects that have turned out to be whole, with their lengths."""
        self.packed: list[bytes] = []
        """The new members of packs, in their order."""
        self.found: list[bytes] = []
        """The digests of new files that were in the vault already."""
        self.stored_bytes = 0
        self._key = vault.need_key()
        self._vault = vault
        self._making = making
        self._index = index
        self._packs = packs
        self._objects = objects
        level = _LEVELS.get(making.compression)
        # Making one takes longer than compressing a small file.
        self._compressor = None if level is None else zstandard.ZstdCompressor(level)
        self._made: set[bytes] = set()
        self._ahead: Ahead | None = None

    def attempt_on(self, bench: Workbench) -> Self:
        """See `encrypt_batch`; the attempt is this writer."""
        self._bench = bench
        self._native = bench.batch.chosen.backend == "native"
        self._ahead = Ahead(bench.sources, bench.batch.payloads)
        return self

    def close(self) -> None:
        """Close the files that were opened ahead."""
        if self._ahead is not None:
            self._ahead.close()

    def __call__(self, ordinal: int, payload: Payload) -> Attempted:
        """Read a file, make its object unless the vault has it, and enter its line."""
        assert self._ahead is not None  # noqa: S101 - `attempt_on` comes first
        with closed_after(self._ahead.open(ordinal, payload)) as descriptor:
            file = OpenFile.of(descriptor)
            known = None if payload.known is None else self._known(payload.known, file)
            way = self._whole if file.plain_bytes <= WHOLE_BYTES else self._large
            attempted, tail = way(file, known)
            if known is not None and payload.moved and not tail:
                # New under this name, and on record as such.
                self.found.append(attempted[2].digest)
                attempted = "ok", self._beginning(known, HEADER_BYTES)[len(MAGIC) :], attempted[2]
        begin = begin_file(path_field(payload.name), FileFacts.of(file.before))
        # Of content that is still the same, the end of the line is too.
        self.lines[ordinal] = begin + (tail or payload.known or b"")
        return attempted

    def _known(self, tail: bytes, file: OpenFile) -> Content | None:
        """The content that a file may still have; None if its object must not be taken over."""
        try:
            known = decode_tail(tail, file.before.st_size)
        except BadLine:
            # The extents of a file that was larger.
            return None
        if known.extents != file.extents or not self._index.has(bytes.fromhex(known.object), known.stored_bytes):
            return None
        if known.object in self._making.distrusted or self._making.rehash:
            if not self._is_whole(known):
                return None
            self._prove(known.object, known.stored_bytes)
        return known

    def _is_whole(self, known: Content) -> bool:
        """Whether the bytes of an object fit its name."""
        with suppress(OSError, VaultError):
            if known.packed:
                bodies = map(self._index.read, self._index.find(bytes.fromhex(known.object)))
                return any(hashlib.sha256(body).hexdigest() == known.object for body in bodies)
            descriptor, _ = open_stored(self._vault.root, OBJECTS, known.object)
            with closed_after(descriptor), open(descriptor, "rb", closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == known.object
        return False

    def _prove(self, name: str, length: int) -> None:
        if name in self._making.distrusted:
            self.proven[name] = length

    def _whole(self, file: OpenFile, known: Content | None) -> tuple[Attempted, bytes]:
        """Work on content that fits into memory, in one buffer; also the end of its line, empty for that of before."""
        data = file.whole()
        mac = None if self._vault.random_salts else self._key.content_mac(data)
        if known is not None and self._still(known, data, mac):
            return _unchanged(file, known), b""
        body, zstd = data, None
        if self._compressor is not None:
            frame = self._compressor.compress(data)
            if len(frame) <= len(data) - len(data) // 32 - 16:
                body, zstd = frame, len(frame)
        salt = os.urandom(SALT_BYTES) if mac is None else self._key.salt_of(body)
        if mac is None:
            mac = self._key.content_mac(salt, data)
        done = self._keep(salt, body, file)
        return ("ok", salt, done), content_tail(done.digest.hex().encode(), zstd, mac.hex().encode(), file.extents)

    def _still(self, known: Content, data: bytes, mac: bytes | None) -> bool:
        """Whether content in memory is that of an object; `mac` is its MAC where no salt belongs to it."""
        if known.mac is None:
            return False
        if mac is None:
            beginning = self._beginning(known, HEADER_BYTES)
            mac = self._key.content_mac(beginning[len(MAGIC) :], data)
        return mac.hex() == known.mac

    def _keep(self, salt: bytes, body: bytes, file: OpenFile) -> Encrypted:
        """Encrypt a buffer, and store it unless the very bytes are there."""
        length = HEADER_BYTES + len(body)
        packed = length <= PACKED_BYTES
        room = self._packs.reserve(length) if packed else memoryview(bytearray(length + _SLACK_BYTES))
        stored = room[:length]
        if self._native:
            room[:HEADER_BYTES] = MAGIC + salt
            self._key.cipher(salt).update_into(body, room[HEADER_BYTES:])
            done = Encrypted(hashlib.sha256(stored).digest(), file.before.st_size, length, (), file.before)
        else:
            done = self._by_backend(salt, body, stored, file)
        digest = done.digest
        if digest in self._made:
            return done
        self._made.add(digest)
        # Of two copies one is whole from now on.
        self._prove(digest.hex(), length)
        if self._index.same(digest, stored):
            self.found.append(digest)
            return done
        self.stored_bytes += length
        if packed:
            self._add_packed(digest, length)
        else:
            with self._objects.new() as made:
                made.write(stored)
            self._objects.keep(made, digest.hex())
        return done

    def _add_packed(self, digest: bytes, length: int) -> None:
        self._packs.add(digest, length)
        self.packed.append(digest)

    def _by_backend(self, salt: bytes, body: bytes, stored: memoryview, file: OpenFile) -> Encrypted:
        at = 0

        def put(piece: bytes | memoryview) -> None:
            nonlocal at
            stored[at : at + len(piece)] = piece
            at += len(piece)

        with memory_input((body,)) as source:
            done = self._encrypt(source, salt, put)
        return Encrypted(done.digest, file.before.st_size, len(stored), done.stages, file.before)

    def _large(self, file: OpenFile, known: Content | None) -> tuple[Attempted, bytes]:
        """Work on content that is read piece by piece; also the end of its line, empty for that of before."""
        if known is not None and self._still_large(known, file):
            return _unchanged(file, known), b""
        salt = os.urandom(SALT_BYTES)
        held = bytearray()
        with ExitStack() as stack:
            made: NewObject | None = None

            def store(piece: bytes | memoryview) -> None:
                nonlocal made
                if made is None:
                    held.extend(piece)
                    if len(held) <= PACKED_BYTES:
                        return
                    made = stack.enter_context(self._objects.new())
                    piece = bytes(held)
                made.write(piece)

            done, mac, zstd = self._pour(file, salt, store)
        if made is not None:
            self._objects.keep(made, done.digest.hex())
        else:
            # It has shrunk so much that it goes into a pack.
            self._packs.reserve(len(held))[: len(held)] = held
            self._add_packed(done.digest, len(held))
        length = done.ciphertext_bytes or 0
        self.stored_bytes += length
        done = Encrypted(done.digest, file.before.st_size, length, done.stages, file.before)
        return ("ok", salt, done), content_tail(done.digest.hex().encode(), zstd, mac, file.extents)

    def _still_large(self, known: Content, file: OpenFile) -> bool:
        beginning = self._beginning(known, HEADER_BYTES + _LOOK_BYTES)
        salt = beginning[len(MAGIC) : HEADER_BYTES]
        if known.mac is None:
            # Where the first bytes differ, the others need not be read.
            first = next(file.pieces())[:_LOOK_BYTES]
            room = bytearray(len(first) + _SLACK_BYTES)
            self._key.cipher(salt).update_into(first, room)
            if not beginning.startswith(bytes(room[: len(first)]), HEADER_BYTES):
                return False
        return is_still(self._vault, known, salt, file, self._encrypt, self._bench.cancel)

    def _pour(self, file: OpenFile, salt: bytes, store: Sink) -> tuple[Encrypted, bytes | None, int | None]:
        """Encrypt a file piece by piece; also the hex digits of its MAC and the length of its frame, if compressed."""
        if self._compressor is None or not self._shrinks(file):
            with file.input() as source:
                return self._encrypt(source, salt, store), None, None
        mac = self._key.content_macs()
        mac.update(salt)
        frame = self._compressor.compressobj(size=file.plain_bytes)

        def change(piece: bytes) -> bytes:
            mac.update(piece)
            return frame.compress(piece)

        with piped(file.pieces(), change, frame.flush) as source:
            done = self._encrypt(source, salt, store)
        need_unchanged(file.descriptor, file.before)
        return done, mac.finalize()[:CONTENT_MAC_BYTES].hex().encode(), done.size_bytes

    def _shrinks(self, file: OpenFile) -> bool:
        assert self._compressor is not None  # noqa: S101 - asked for before
        look = next(file.pieces())[:_LOOK_BYTES]
        return len(self._compressor.compress(look)) <= len(look) - len(look) // 32

    def _encrypt(self, source: Input, salt: bytes, store: Sink | None = None) -> Encrypted:
        bench = self._bench
        return encrypt_input(source, bench.suite, bench.backend, bench.secret, salt, bench.limits, bench.cancel, store)

    def _beginning(self, known: Content, length: int) -> bytes:
        """The first bytes of an object that is there, unchecked; empty if they cannot be read."""
        with suppress(OSError, VaultError):
            if known.packed:
                for location in self._index.find(bytes.fromhex(known.object)):
                    return self._index.read(location._replace(length=min(length, location.length)))
            descriptor, _ = open_stored(self._vault.root, OBJECTS, known.object)
            with closed_after(descriptor):
                return os.pread(descriptor, length, 0)
        return b""


def _unchanged(file: OpenFile, known: Content) -> Attempted:
    digest = bytes.fromhex(known.object)
    return "unchanged", None, Encrypted(digest, file.before.st_size, known.stored_bytes, (), file.before)
