"""Objects: small ones are members of packs, large ones are files of their own; either way the bytes are the same.

CTR takes any bytes and any key without complaint, and who writes to a vault can bend what it gives: plaintext is good
only once the digest of its object fits, and no decompressor sees a byte of it before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

import zstandard

from tasks.cancel import CancelToken
from tasks.crypto.ciphers import SLACK_BYTES, Encryptor
from tasks.crypto.errors import Cancelled
from tasks.crypto.holes import Take
from tasks.files import ReadFailed, ReadTwice, closed_after, hashed, open_folder, open_new, sync_file_system, write_all
from tasks.suites import HEADER_BYTES, MAGIC
from tasks.vault.entries import Content
from tasks.vault.errors import VaultChanged, VaultError, VaultFull, on_disk
from tasks.vault.format import OBJECTS, PACKED_BYTES, TEMPORARY, WINDOW_BYTES, BadFrame, unpack_frame
from tasks.vault.index import Location, ObjectIndex
from tasks.vault.packs import move, opened_stored, sync_names
from tasks.vault.vault import Vault

# Of more objects than this the file system is told to write everything down at once: one wait instead of many.
_ONE_BY_ONE = 8


class NewObject:
    """Ciphertext on its way into the vault; `write` is the `store` of a backend."""

    __slots__ = ("_descriptor", "_root", "part")

    def __init__(self, root: str, part: str, descriptor: int) -> None:
        self._root = root
        self._descriptor = descriptor
        self.part = part

    def write(self, piece: bytes | memoryview) -> None:
        """The next piece; raises VaultUnwritable."""
        with on_disk(self._root):
            write_all(self._descriptor, piece)


class ObjectBatch:
    """The large objects of one batch: none has its name before all of them are on disk.

    Leaving without `commit` removes the written files.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._prefix = secrets.token_hex(8)
        self._made = 0
        self._temporary = -1
        self._waiting: dict[str, str] = {}
        self.lost: dict[bytes, str] = {}
        """The digests of objects that the disk had no room for, with the reason."""

    @contextmanager
    def new(self) -> Iterator[NewObject]:
        """A new object, to be written; removed unless it is whole at the end. Raises VaultUnwritable."""
        self._made += 1
        part = f"{self._prefix}-{self._made}"
        with on_disk(self._root):
            if self._temporary < 0:
                self._temporary = open_folder(self._root, TEMPORARY, make=True)
            descriptor = open_new(part, self._temporary)
        try:
            try:
                yield NewObject(self._root, part, descriptor)
            finally:
                with on_disk(self._root):
                    os.close(descriptor)
        except BaseException:
            self._remove(part)
            raise

    def need_room(self, length: int) -> None:
        """Raises VaultFull if the disk has not so much room: whoever fills it first takes the room of others."""
        with on_disk(self._root):
            disk = os.statvfs(self._root)
            # Some file systems do not tell.
            if disk.f_blocks and length > disk.f_bfree * disk.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def keep(self, made: NewObject, digest: str) -> None:
        """Have `commit` give a whole object its name (64 hex digits)."""
        self._waiting[made.part] = digest

    def commit(self) -> None:
        """Put data on disk, then give names, then put the folders of the names on disk.

        Objects that the disk has no room for are `lost`. After another VaultUnwritable no further one gets its name.
        """
        if not self._waiting:
            return
        at_once = len(self._waiting) > _ONE_BY_ONE
        if at_once:
            self._taken(self._waiting, sync_file_system, self._root)
        for part in () if at_once else tuple(self._waiting):
            self._taken((part,), self._sync, part)
        for part, digest in tuple(self._waiting.items()):
            self._taken((part,), move, self._root, OBJECTS, part, self._temporary, digest)
        if at_once:
            self._taken(self._waiting, sync_file_system, self._root)
        else:
            self._taken(self._waiting, sync_names, self._root, OBJECTS, tuple(self._waiting.values()))
        self._waiting.clear()

    def _taken(self, parts: Iterable[str], act: Callable[..., object], *arguments: object) -> None:
        """Act on some objects, which are lost if the disk does not take them; raises VaultUnwritable."""
        try:
            with on_disk(self._root):
                act(*arguments)
        except VaultFull as error:
            for part in tuple(parts):
                self.lost[bytes.fromhex(self._waiting.pop(part))] = str(error)
                self._remove(part)

    def _sync(self, part: str) -> None:
        with closed_after(os.open(part, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._temporary)) as descriptor:
            os.fsync(descriptor)

    def _remove(self, part: str) -> None:
        with suppress(OSError):
            os.unlink(part, dir_fd=self._temporary)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for part in self._waiting:
            self._remove(part)
        if self._temporary >= 0:
            os.close(self._temporary)


def read_object(
    vault: Vault, index: ObjectIndex, content: Content, take: Take, cancel: CancelToken, *, checked: bool = False
) -> None:
    """Decrypt content; the plaintext is good when this returns, and must be thrown away after an error.

    A large object that is not compressed is hashed as it is decrypted. With `checked` it is read twice, so that nothing
    is given out before all of it was hashed: for output that stays. Raises ObjectMissing, VaultChanged or VaultError.
    """
    if content.packed and (body := _packed(vault, index, content)) is not None:
        decrypt_whole(vault, content, memoryview(body), take)
        return
    with opened_stored(vault.root, OBJECTS, content.object) as (descriptor, length):
        # Check the length first, so that a huge sparse object is not read to its end.
        if length != content.stored_bytes:
            raise _changed(vault, content, f"does not have the {content.stored_bytes:,} bytes of its content")
        hasher = hashlib.sha256()
        try:
            if content.zstd is None and not checked:
                pieces: Iterator[bytes | memoryview] = hashed(descriptor, length, hasher.update)
            else:
                twice = ReadTwice(descriptor)
                twice.first(hasher.update)
                if hasher.hexdigest() != content.object or twice.size_bytes != length:
                    raise _misfit(vault, content)
                pieces = twice.again()
            _give(vault, content, _decrypted(vault, content, pieces, cancel), take)
        except ReadFailed as error:
            raise VaultError(vault.root, f"object {content.object} cannot be read: {error}") from None
        if hasher.hexdigest() != content.object:
            raise _misfit(vault, content)


def fits(content: Content, body: bytes | memoryview) -> bool:
    """Whether that is the object of the content, whole."""
    return len(body) == content.stored_bytes and hashlib.sha256(body).hexdigest() == content.object


def decrypt_whole(vault: Vault, content: Content, body: memoryview, take: Take) -> None:
    """Decrypt an object that is in memory and fits; raises VaultChanged."""
    plain = memoryview(bytearray(len(body) + SLACK_BYTES))
    plain = plain[: _decryptor(vault, content, body).update_into(body[HEADER_BYTES:], plain)]
    if content.zstd is not None and content.plain_bytes <= PACKED_BYTES:
        take(memoryview(_decompressed(vault, content, plain)))
    else:
        _give(vault, content, (plain,), take)


def _packed(vault: Vault, index: ObjectIndex, content: Content) -> bytes | None:
    """A good copy of an object in a pack; None if no pack has one. Raises the error of a bad one."""
    digest = bytes.fromhex(content.object)

    def copies() -> Iterator[Location]:
        yield from index.find(digest)
        # Before anything counts as lost: a sidecar can be forged, the headers of packs stand beside the bytes.
        if index.rescan():
            yield from index.find(digest)

    error: VaultError | None = None
    for location in copies():
        try:
            body = index.read(location)
        except VaultError as unreadable:
            error = unreadable
            continue
        if fits(content, body):
            return body
        error = _misfit(vault, content)
    if error is not None:
        raise error
    return None


def _decrypted(
    vault: Vault, content: Content, pieces: Iterable[bytes | memoryview], cancel: CancelToken
) -> Iterator[memoryview]:
    """The plaintext of an object in pieces, each gone with the next; raises VaultChanged or Cancelled."""
    decryptor: Encryptor | None = None
    room = memoryview(b"")
    for piece in pieces:
        if cancel.cancelled:
            raise Cancelled
        data = memoryview(piece)
        if decryptor is None:
            decryptor = _decryptor(vault, content, data)
            data = data[HEADER_BYTES:]
        if len(room) < len(data) + SLACK_BYTES:
            room = memoryview(bytearray(len(data) + SLACK_BYTES))
        yield room[: decryptor.update_into(data, room)]


def _give(vault: Vault, content: Content, plain: Iterable[memoryview], take: Take) -> None:
    """Hand over what was decrypted, or what its frame has; VaultChanged if that has not the content's length."""
    if content.zstd is None:
        for piece in plain:
            take(piece)
        return
    left = content.plain_bytes
    try:
        for text in unpack_frame(plain, left):
            left -= len(text)
            take(memoryview(text))
    except BadFrame:
        left = -1
    if left:
        raise _no_frame(vault, content)


def _decryptor(vault: Vault, content: Content, header: memoryview) -> Encryptor:
    """In counter mode decrypting is encrypting. VaultChanged unless that is how an object begins."""
    header = header[:HEADER_BYTES]
    if len(header) != HEADER_BYTES or header[: len(MAGIC)] != MAGIC:
        raise _misfit(vault, content)
    return vault.need_key().cipher(bytes(header[len(MAGIC) :]))


class _Decompressors(threading.local):
    """A decompressor for each thread: to make one takes longer than to use it."""

    def __init__(self) -> None:
        self.one = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)


_decompressors = _Decompressors()


def _decompressed(vault: Vault, content: Content, frame: memoryview) -> bytes:
    """The content of a frame that says its length, which must be that of the entry: it is what zstd makes room for."""
    try:
        if zstandard.frame_content_size(frame) == content.plain_bytes:
            return _decompressors.one.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError:
        pass
    raise _no_frame(vault, content)


def _misfit(vault: Vault, content: Content) -> VaultChanged:
    return VaultChanged(vault.root, f"object {content.object}: its bytes do not fit its name")


def _no_frame(vault: Vault, content: Content) -> VaultChanged:
    return _changed(vault, content, "is no frame of its content")


def _changed(vault: Vault, content: Content, how: str) -> VaultChanged:
    return VaultChanged(vault.root, f"object {content.object} {how}")
