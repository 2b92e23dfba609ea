"""What can go wrong with a vault, one leaf per cause."""

from __future__ import annotations

import os

from tasks.crypto.errors import CryptoError


class VaultError(CryptoError):
    """Base of everything that is wrong with a vault and not with one payload; `where` is the vault, or a file of it."""

    cause = "vault"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"vault {self.where}: {self.reason}"


class NoVault(VaultError):
    """There is no vault at that path, and none can be made there."""


class VaultBusy(VaultError):
    """Somebody else works on the vault, and does not end."""


class WrongKey(VaultError):
    """The key file is not the one that the vault was made with."""


class NewerFormat(VaultError):
    """`vault.json` says that the vault has a format which is not known yet."""


class VaultChanged(VaultError):
    """A file of the vault is not what threadmill wrote: `vault.json`, a snapshot, an object."""

    cause = "changed"


class ObjectMissing(VaultError):
    """An object is not there."""


class SnapshotInvalid(VaultChanged):
    """A snapshot that is authentic, or of which that cannot be told, and says what no snapshot may say."""

    cause = "invalid"


class NoSuchSnapshot(VaultError):
    """No snapshot has that name, or several do."""


class VaultUnwritable(VaultError):
    """The file system does not take what is to be kept, or the vault is gone: the run cannot go on."""

    cause = "store"
    ends_run = True

    def __init__(self, where: str, errno: int) -> None:
        super().__init__(where, f"cannot be written: {os.strerror(errno)}")
        self.args = (where, errno)
        self.errno = errno


class TargetUnusable(CryptoError):
    """Where files are to be restored to: it is no folder, cannot be made, or takes no more."""

    cause = "target"

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"target {self.target}: {self.reason}"


class ScratchFull(CryptoError):
    """The list of a vault's objects does not go into the folder for temporary files."""

    cause = "scratch"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the list of the vault's objects cannot be kept among temporary files: {self.reason}; "
            "set TMPDIR to a folder with more room"
        )
