"""Objects: each is written to `tmp/`, put on disk with its batch, and only then given its name.

CTR takes any bytes and any key without complaint: plaintext is good only once the digest of its object fits.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from tasks.cancel import CancelToken
from tasks.crypto.ciphers import ENCRYPTORS, Encryptor, derive
from tasks.crypto.errors import Cancelled
from tasks.crypto.secret import Secret
from tasks.files import (
    FOLDER_MODE,
    ReadFailed,
    ReadTwice,
    closed_after,
    open_new,
    open_regular,
    sync_file_system,
    sync_folder,
    write_all,
)
from tasks.suites import HEADER_BYTES, MAGIC
from tasks.vault.errors import ObjectMissing, VaultChanged, VaultError, on_disk
from tasks.vault.format import OBJECT_NAME, OBJECTS, TEMPORARY, object_path
from tasks.vault.vault import SUITE, Vault

# Of more objects than this the file system is told to write everything down at once: one wait instead of thousands.
_ONE_BY_ONE = 8
_PIECE_BYTES = 256 << 10


class NewObject:
    """Ciphertext on its way into the vault; `write` is the `store` of a backend."""

    __slots__ = ("_descriptor", "_root", "path")

    def __init__(self, root: str, path: str) -> None:
        """Raises VaultUnwritable."""
        self._root = root
        self.path = path
        with on_disk(root):
            self._descriptor = open_new(path)

    def write(self, piece: bytes | memoryview) -> None:
        """The next piece; raises VaultUnwritable."""
        with on_disk(self._root):
            write_all(self._descriptor, piece)

    def close(self) -> None:
        """End it; raises VaultUnwritable."""
        with on_disk(self._root):
            os.close(self._descriptor)


class ObjectBatch:
    """The objects of one batch: none has its name before all of them are on disk.

    Leaving without `commit` removes the written files.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._prefix = f"{root}/{TEMPORARY}/{secrets.token_hex(8)}"
        self._made = 0
        self._waiting: dict[str, str] = {}

    @contextmanager
    def new(self) -> Iterator[NewObject]:
        """A new object, to be written; removed unless it is whole at the end. Raises VaultUnwritable."""
        self._made += 1
        made = NewObject(self._root, f"{self._prefix}-{self._made}")
        try:
            try:
                yield made
            finally:
                made.close()
        except BaseException:
            with suppress(OSError):
                os.unlink(made.path)
            raise

    def keep(self, made: NewObject, digest: str) -> None:
        """Have `commit` give a whole object its name (64 hex digits)."""
        self._waiting[made.path] = digest

    def commit(self) -> None:
        """Put data on disk, then give names, then put the folders of the names on disk.

        After VaultUnwritable no further object gets its name.
        """
        if not self._waiting:
            return
        with on_disk(self._root):
            self._sync()
            folders = {f"{self._root}/{OBJECTS}/{digest[:2]}" for digest in self._waiting.values()}
            for path, digest in tuple(self._waiting.items()):
                _move(path, object_path(self._root, digest))
                del self._waiting[path]
            if len(folders) > _ONE_BY_ONE:
                sync_file_system(self._root)
            else:
                for folder in (*sorted(folders), f"{self._root}/{OBJECTS}"):
                    sync_folder(folder)

    def _sync(self) -> None:
        if len(self._waiting) > _ONE_BY_ONE:
            sync_file_system(self._root)
            return
        for path in self._waiting:
            with closed_after(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
                os.fsync(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for path in self._waiting:
            with suppress(OSError):
                os.unlink(path)


def _move(path: str, new: str) -> None:
    try:
        os.rename(path, new)
    except FileNotFoundError:
        # The folder of the first object that begins like this.
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(new), FOLDER_MODE)
        os.rename(path, new)


def object_names(root: str) -> Iterator[str]:
    """The digests of all objects that are there, sorted; a folder of them at a time is in memory.

    An unreadable folder has none; `verify` reports it.
    """
    objects = f"{root}/{OBJECTS}"
    for folder in _listed(objects, folders=True):
        for name in _listed(f"{objects}/{folder}", folders=False):
            if name[:2] == folder and OBJECT_NAME.fullmatch(name):
                yield name


def _listed(folder: str, *, folders: bool) -> list[str]:
    """The names of folders, or of files, sorted; links are neither, and not followed."""
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(folder).st_mode):
            with os.scandir(folder) as listing:
                kept = (one for one in listing if (one.is_dir if folders else one.is_file)(follow_symlinks=False))
                return sorted(one.name for one in kept)
    return []


def digest_of(descriptor: int, size_bytes: int, buffer: bytearray) -> str:
    """SHA-256 of the first bytes of an open file, as far as it goes; `buffer` takes each piece."""
    hasher = hashlib.sha256()
    view = memoryview(buffer)
    left = size_bytes
    while left > 0 and (count := os.readv(descriptor, [view[:left]])):
        hasher.update(view[:count])
        left -= count
    return hasher.hexdigest()


Take = Callable[[memoryview], object]


def decrypt_once(vault: Vault, digest: str, size_bytes: int, take: Take, cancel: CancelToken) -> None:
    """Hash an object and decrypt the same bytes, in one pass; the plaintext is good when this returns, and not before.

    `digest` is the object's 64 hex digits, `size_bytes` the length of the plaintext. `take` is given the plaintext
    piece by piece; each is gone when it returns. After VaultChanged the plaintext must be thrown away.
    """
    with _opened(vault, digest, size_bytes) as descriptor:
        beginning = memoryview(bytearray(HEADER_BYTES))
        header = bytes(beginning[: _read(descriptor, beginning)])
        hasher, length = hashlib.sha256(header), len(header)
        decryptor = _decryptor(vault.need_key().secret, header)
        data = memoryview(bytearray(min(_PIECE_BYTES, size_bytes + 1)))
        plain = bytearray(len(data))
        # None if it does not begin as an object does: then its digest does not fit either.
        while decryptor is not None and (count := _read(descriptor, data)):
            if cancel.cancelled:
                raise Cancelled
            length += count
            if length > HEADER_BYTES + size_bytes:
                break
            hasher.update(data[:count])
            decryptor.update_into(data[:count], plain)
            take(memoryview(plain)[:count])
        _check(vault, digest, hasher.hexdigest())


def decrypt_checked(vault: Vault, digest: str, size_bytes: int, take: Take, cancel: CancelToken) -> None:
    """Decrypt an object in two passes: nothing is given out before all of it was checked. For output that stays."""
    with _opened(vault, digest, size_bytes) as descriptor:
        content, hasher = ReadTwice(descriptor), hashlib.sha256()
        content.first(hasher.update)
        _check(vault, digest, hasher.hexdigest())
        decryptor = None
        for piece in content.again():
            if cancel.cancelled:
                raise Cancelled
            data = memoryview(piece)
            if decryptor is None:
                decryptor = _decryptor(vault.need_key().secret, piece[:HEADER_BYTES])
                assert decryptor is not None  # noqa: S101 - its digest is that of an object
                data = data[HEADER_BYTES:]
            plain = bytearray(len(data))
            decryptor.update_into(data, plain)
            take(memoryview(plain))


def _decryptor(secret: Secret, header: bytes) -> Encryptor | None:
    """In counter mode decrypting is encrypting. None unless the header is that of an object."""
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        return None
    return ENCRYPTORS[SUITE.cipher](*derive(SUITE, secret, header[len(MAGIC) :]))


def _check(vault: Vault, digest: str, found: str) -> None:
    if found != digest:
        raise VaultChanged(vault.root, f"object {digest}: its bytes do not fit its name")


@contextmanager
def _opened(vault: Vault, digest: str, size_bytes: int) -> Iterator[int]:
    try:
        descriptor, length = open_regular(object_path(vault.root, digest))
    except FileNotFoundError:
        raise ObjectMissing(vault.root, f"object {digest} is missing") from None
    except OSError as error:
        raise VaultError(vault.root, f"object {digest} cannot be read: {error.strerror}") from None
    with closed_after(descriptor):
        # Check the size first, so that a huge sparse object is not read to its end.
        if length != HEADER_BYTES + size_bytes:
            reason = f"object {digest} does not have the {HEADER_BYTES + size_bytes:,} bytes of its file"
            raise VaultChanged(vault.root, reason)
        try:
            yield descriptor
        except ReadFailed as error:
            raise VaultError(vault.root, f"object {digest} cannot be read: {error}") from None


def _read(descriptor: int, data: memoryview) -> int:
    try:
        return os.readv(descriptor, [data])
    except OSError as error:
        raise ReadFailed(error.strerror) from None
