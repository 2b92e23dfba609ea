"""From the content of files to objects: it is read once, known again if it has not changed, or else made an object.

Key and IV of an object come from its salt, so that one salt over two different plaintexts would be a two-time pad. The
salt is therefore a MAC of the very buffer that is encrypted: after compression, since another version of zstd makes
other frames. Where the content is not in memory in one piece, the salt is random.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import ExitStack, suppress
from dataclasses import replace

import zstandard

from tasks.crypto.chain import Sink, StageResult
from tasks.crypto.ciphers import SLACK_BYTES
from tasks.crypto.encrypt import Cipher, Workbench
from tasks.crypto.errors import OddSize
from tasks.crypto.inputs import Encrypted, memory_input
from tasks.crypto.sources import OpenFile
from tasks.suites import HEADER_BYTES, MAGIC, SALT_BYTES, Compression
from tasks.vault.check import check_object
from tasks.vault.entries import Content
from tasks.vault.errors import VaultError
from tasks.vault.format import CONTENT_MAC_BYTES, OBJECTS, PACKED_BYTES, WHOLE_BYTES
from tasks.vault.index import ObjectIndex
from tasks.vault.objects import NewObject, ObjectBatch
from tasks.vault.packs import PackWriter, opened_stored
from tasks.vault.vault import Vault
from tasks.vault.walk import SourceSelection

# Level 3 makes frames a twentieth smaller than level 1, at three quarters of its speed.
_LEVELS: dict[Compression, int] = {"auto": 3, "max": 19}
# The beginning of a large file tells whether it shrinks. Of content in memory the look would cost more than it saves:
# zstd passes over random bytes at 8 GB/s.
_LOOK_BYTES = 64 << 10


class ContentWriter:
    """Makes the objects of a batch."""

    def __init__(
        self, vault: Vault, selection: SourceSelection, index: ObjectIndex, packs: PackWriter, objects: ObjectBatch
    ) -> None:
        self.proven: dict[str, int] = {}
        """The distrusted objects that have turned out to be whole, with their lengths."""
        self.packed: dict[bytes, int] = {}
        """The new members of packs, in their order, with their lengths."""
        self.large: dict[bytes, int] = {}
        """The new objects that are in no pack, with their lengths."""
        self.found: list[bytes] = []
        """The digests of new files that were in the vault already."""
        self._key = vault.need_key()
        self._vault = vault
        self._selection = selection
        self._index = index
        self._packs = packs
        self._objects = objects
        level = _LEVELS.get(selection.compression)
        # Making one takes longer than compressing a small file.
        self._compressor = None if level is None else zstandard.ZstdCompressor(level)
        self._made: set[bytes] = set()

    def use(self, bench: Workbench) -> None:
        """Take the means of a batch; comes before all else."""
        self._bench = bench
        self._native = bench.batch.chosen.backend == "native"

    def read(self, file: OpenFile, known: Content | None) -> tuple[Encrypted, Content]:
        """Read a file, and make its object unless the vault has it; the content is `known` if that has not changed.

        Only the size of the file may be another one, if it ends in a hole.
        """
        if known is not None and not self._may_be(known, file):
            known = None
        if file.plain_bytes > WHOLE_BYTES:
            try:
                # The comparison could not tell what it has read.
                return self._large(file, None if file.tolerant else known)
            except OddSize:
                os.lseek(file.descriptor, 0, os.SEEK_SET)
        data = file.whole(WHOLE_BYTES)
        if len(data) > WHOLE_BYTES:
            return self._large(file, None, data)
        return self._whole(file, data, known)

    def lose(self) -> dict[bytes, str]:
        """The digests of new objects that the disk had no room for, with the reason; they are forgotten."""
        lost = self._packs.lost | self._objects.lost
        for digest in lost:
            self._made.discard(digest)
            self.packed.pop(digest, None)
            self.large.pop(digest, None)
            self.proven.pop(digest.hex(), None)
        self._packs.lost.clear()
        self._objects.lost.clear()
        return lost

    def is_there(self, content: Content) -> bool:
        """Whether an object is there, in full length, and not damaged as far as the record knows."""
        there = self._index.has(bytes.fromhex(content.object), content.stored_bytes)
        return there and content.object not in self._selection.distrusted

    def _may_be(self, known: Content, file: OpenFile) -> bool:
        """Whether a file may still have that content, and its object may be taken over."""
        if known.extents != file.extents or not self._index.has(bytes.fromhex(known.object), known.stored_bytes):
            return False
        if known.object in self._selection.distrusted or self._selection.rehash:
            if not self._is_whole(known):
                return False
            self._prove(known.object, known.stored_bytes)
        return True

    def _is_whole(self, known: Content) -> bool:
        """Whether the bytes of an object fit its name."""
        with suppress(OSError, VaultError):
            if known.packed:
                bodies = map(self._index.read, self._index.find(bytes.fromhex(known.object)))
                return any(hashlib.sha256(body).hexdigest() == known.object for body in bodies)
            return check_object(self._vault, known.object, self._bench.cipher.cancel) == known.stored_bytes
        return False

    def _prove(self, name: str, length: int) -> None:
        if name in self._selection.distrusted:
            self.proven[name] = length

    def _whole(self, file: OpenFile, data: bytes, known: Content | None) -> tuple[Encrypted, Content]:
        """Work on content that fits into memory, in one buffer."""
        size_bytes = len(data) if file.extents is None else file.before.st_size
        mac = None if self._vault.random_salts else self._key.content_mac(data)
        if known is not None and known.mac == (mac or self._key.content_mac(self.beginning(known)[1], data)).hex():
            return _unchanged(size_bytes, known), known
        body, zstd = data, None
        if self._compressor is not None:
            frame = self._compressor.compress(data)
            if len(frame) <= len(data) - len(data) // 32 - 16:
                body, zstd = frame, len(frame)
        salt = os.urandom(SALT_BYTES) if mac is None else self._key.salt_of(body)
        if mac is None:
            mac = self._key.content_mac(salt, data)
        done = self._keep(salt, body, size_bytes)
        return done, Content(done.digest.hex(), size_bytes, zstd, mac.hex(), file.extents)

    def _keep(self, salt: bytes, body: bytes, size_bytes: int) -> Encrypted:
        """Encrypt a buffer, and store it unless the very bytes are there."""
        length = HEADER_BYTES + len(body)
        packed = length <= PACKED_BYTES
        room = self._packs.reserve(length) if packed else memoryview(bytearray(length + SLACK_BYTES))
        stored = room[:length]
        stages: tuple[StageResult, ...] = ()
        if self._native:
            room[:HEADER_BYTES] = MAGIC + salt
            self._key.cipher(salt).update_into(body, room[HEADER_BYTES:])
            digest = hashlib.sha256(stored).digest()
        else:
            output = io.BytesIO()
            with memory_input((body,)) as source:
                done = self._bench.cipher.encrypt(source, salt, output.write)
            stored[:] = output.getbuffer()
            digest, stages = done.digest, done.stages
        if digest not in self._made:
            if self._index.same(digest, stored):
                self.found.append(digest)
            elif packed:
                self._add_packed(digest, length)
            else:
                with self._objects.new() as made:
                    made.write(stored)
                self._add_large(made, digest, length)
            self._made.add(digest)
            # Of two copies one is whole from now on.
            self._prove(digest.hex(), length)
        return Encrypted(digest, size_bytes, length, stages, salt)

    def _add_packed(self, digest: bytes, length: int) -> None:
        self._packs.add(digest, length)
        self.packed[digest] = length

    def _add_large(self, made: NewObject, digest: bytes, length: int) -> None:
        self._objects.keep(made, digest.hex())
        self.large[digest] = length

    def _large(self, file: OpenFile, known: Content | None, beginning: bytes = b"") -> tuple[Encrypted, Content]:
        """Work on content that is read piece by piece; its `beginning` if its size says something else."""
        if known is not None and self._still_large(known, file):
            return _unchanged(file.before.st_size, known), known
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

            done, mac, zstd = self._pour(file, salt, store, beginning)
            if done.flaw is not None:
                raise done.flaw
        length = done.ciphertext_bytes or 0
        if made is not None:
            self._add_large(made, done.digest, length)
        else:
            # It has shrunk so much that it goes into a pack.
            self._packs.reserve(length)[:length] = held
            self._add_packed(done.digest, length)
        size_bytes = done.size_bytes if beginning else file.before.st_size
        content = Content(done.digest.hex(), size_bytes, zstd, mac, file.extents)
        return replace(done, size_bytes=size_bytes), content

    def _still_large(self, known: Content, file: OpenFile) -> bool:
        beginning, salt = self.beginning(known, _LOOK_BYTES)
        if known.mac is None:
            # Where the first bytes differ, the others need not be read.
            first = next(file.pieces())[:_LOOK_BYTES]
            room = bytearray(len(first) + SLACK_BYTES)
            self._key.cipher(salt).update_into(first, room)
            if not beginning.startswith(bytes(room[: len(first)])):
                return False
        return is_still(self._vault, known, salt, file, self._bench.cipher)

    def _pour(
        self, file: OpenFile, salt: bytes, store: Sink, beginning: bytes
    ) -> tuple[Encrypted, str | None, int | None]:
        """Encrypt a file piece by piece; also the hex digits of its MAC and the length of its frame, if compressed."""
        # A frame says how long its content is, before that is read.
        compressor = None if beginning else self._compressor
        if compressor is None or not _shrinks(compressor, next(file.pieces())[:_LOOK_BYTES]):
            self._objects.need_room(file.plain_bytes)
            with file.input(beginning=beginning) as source:
                return self._bench.cipher.encrypt(source, salt, store), None, None
        mac = self._key.content_macs()
        mac.update(salt)
        frame = compressor.compressobj(size=file.plain_bytes)

        def change(piece: bytes) -> bytes:
            mac.update(piece)
            return frame.compress(piece)

        with file.input(change, frame.flush) as source:
            done = self._bench.cipher.encrypt(source, salt, store)
        return done, mac.finalize()[:CONTENT_MAC_BYTES].hex(), done.size_bytes

    def beginning(self, known: Content, length: int = 0) -> tuple[bytes, bytes]:
        """The first bytes of an object, unchecked, and its salt; empty if they cannot be read."""
        head = b""
        with suppress(OSError, VaultError):
            if known.packed:
                for location in self._index.find(bytes.fromhex(known.object))[:1]:
                    head = self._index.read(location._replace(length=min(HEADER_BYTES + length, location.length)))
            else:
                with opened_stored(self._vault.root, OBJECTS, known.object) as (descriptor, _):
                    head = os.pread(descriptor, HEADER_BYTES + length, 0)
        return head[HEADER_BYTES:], head[len(MAGIC) : HEADER_BYTES]


def _shrinks(compressor: zstandard.ZstdCompressor, look: bytes) -> bool:
    return len(compressor.compress(look)) <= len(look) - len(look) // 32


def _unchanged(size_bytes: int, known: Content) -> Encrypted:
    return Encrypted(bytes.fromhex(known.object), size_bytes, known.stored_bytes)


def is_still(vault: Vault, known: Content, salt: bytes, file: OpenFile, cipher: Cipher) -> bool:
    """Whether a file has the content of an entry, whose object has that salt.

    Where the entry has no MAC (of a large file that was not compressed), the file is encrypted under the salt, and the
    ciphertext discarded. Raises SourceUnreadable, SourceChanged or Cancelled.
    """
    # The size of a small file is not compared: those of /proc have none.
    small = max(known.plain_bytes, file.plain_bytes) <= WHOLE_BYTES
    if known.extents != file.extents or not (small or known.plain_bytes == file.plain_bytes):
        return False
    if known.mac is None:
        if known.zstd is not None:
            return False
        with file.input() as source:
            done = cipher.encrypt(source, salt)
        return done.digest.hex() == known.object
    mac = vault.need_key().content_macs()
    if vault.random_salts or known.plain_bytes > WHOLE_BYTES:
        mac.update(salt)
    if small:
        mac.update(file.whole(WHOLE_BYTES))
    else:
        file.feed(mac.update, cipher.cancel)
    return mac.finalize()[:CONTENT_MAC_BYTES].hex() == known.mac
