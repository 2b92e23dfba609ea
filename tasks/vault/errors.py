"""Errors of a vault. `where` is its folder, or a file in it."""

from __future__ import annotations

import os

from tasks.crypto.errors import CryptoError


class VaultError(CryptoError):
    """Base of everything that is wrong with a vault and not with one payload; without a leaf: cannot be read."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"vault {self.where}: {self.reason}"


class NoVault(VaultError):
    """No vault is at that path, and none can be made there."""


class VaultBusy(VaultError):
    """Another process works on the vault, and does not end."""


class WrongKey(VaultError):
    """The vault was made with another key file."""


class NewerFormat(VaultError):
    """`vault.json` names a format that this program does not know yet."""


class VaultChanged(VaultError):
    """A file of the vault (`vault.json`, a snapshot, an object) is not what threadmill wrote."""


class ObjectMissing(VaultError):
    """An object is not there."""


class SnapshotInvalid(VaultChanged):
    """A snapshot breaks the format, although it is authentic (or the key to check that is not given)."""


class NoSuchSnapshot(VaultError):
    """No snapshot has that name, or several have it."""


class VaultUnwritable(VaultError):
    """The disk takes no more, or the vault is gone: the run cannot go on."""

    cause = "store"
    ends_run = True

    def __init__(self, where: str, errno: int) -> None:
        super().__init__(where, f"cannot be written: {os.strerror(errno)}")
        self.args = (where, errno)
        self.errno = errno


class TargetUnusable(CryptoError):
    """target {target}: {reason}"""

    target: str
    reason: str


class ScratchFull(CryptoError):
    """the list of the vault's objects cannot be kept among temporary files: {reason}; set TMPDIR to a folder with more room"""  # noqa: E501

    reason: str
