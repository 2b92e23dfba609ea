"""The one rule for equal content: whether a file still has the content of an entry, without the object's bytes."""

from __future__ import annotations

from collections.abc import Callable

from tasks.cancel import CancelToken
from tasks.crypto.inputs import Encrypted, Input
from tasks.crypto.plaintext import OpenFile
from tasks.vault.entries import Content
from tasks.vault.format import CONTENT_MAC_BYTES, WHOLE_BYTES
from tasks.vault.vault import Vault


def has_salted_mac(vault: Vault, plain_bytes: int) -> bool:
    """Whether the content MAC is of the salt and the plaintext, and tells nothing about equal content."""
    return vault.random_salts or plain_bytes > WHOLE_BYTES


def is_still(
    vault: Vault,
    known: Content,
    salt: bytes,
    file: OpenFile,
    encrypt: Callable[[Input, bytes], Encrypted],
    cancel: CancelToken,
) -> bool:
    """Whether a file has the content of an entry, whose object has that salt.

    Where the entry has no MAC (of a large file that was not compressed), the file is encrypted under the salt, and the
    ciphertext discarded. Raises SourceUnreadable, SourceChanged or Cancelled.
    """
    if (known.extents, known.plain_bytes) != (file.extents, file.plain_bytes):
        return False
    if known.mac is None:
        if known.zstd is not None:
            return False
        with file.input() as source:
            done = encrypt(source, salt)
        return done.digest.hex() == known.object
    mac = vault.need_key().content_macs()
    if has_salted_mac(vault, known.plain_bytes):
        mac.update(salt)
    file.feed(mac.update, cancel)
    return mac.finalize()[:CONTENT_MAC_BYTES].hex() == known.mac
