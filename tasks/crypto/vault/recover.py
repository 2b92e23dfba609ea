"""A vault whose `vault.json` is gone or changed: its snapshots still say what it is."""

from __future__ import annotations

import os
from contextlib import suppress

from tasks.crypto.secret import Secret
from tasks.crypto.vault.errors import VaultError
from tasks.crypto.vault.keys import VaultKey
from tasks.crypto.vault.snapshots import peek, read_snapshot, snapshot_names
from tasks.crypto.vault.vault import Vault


def recover(path: str, secret: Secret) -> Vault | None:
    """The vault by the newest snapshot that is authentic under the secret; None if there is none.

    It tells a wrong key file, under which nothing is authentic, from a `vault.json` that was changed.
    """
    root = os.path.realpath(path)
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in reversed(snapshot_names(root)):
            vault_id = peek(root, name).vault_id
            vault = Vault(root, vault_id, VaultKey(secret, vault_id))
            with suppress(VaultError):
                read_snapshot(vault, name)
                return vault
    return None
