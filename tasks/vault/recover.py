"""A vault whose `vault.json` is gone or changed: its snapshots still say what it is."""

from __future__ import annotations

import os
from contextlib import suppress

from tasks.crypto.secret import Secret
from tasks.vault.errors import NewerFormat, NoVault, VaultChanged, VaultError, WrongKey
from tasks.vault.keys import VaultKey
from tasks.vault.snapshots import peek, read_snapshot, snapshot_names
from tasks.vault.vault import Vault, open_vault
from tasks.vault.verdicts import Verdict, judged


def open_or_recover(path: str, secret: Secret | None) -> tuple[Vault, Verdict | None]:
    """The vault, and what is wrong with its `vault.json`, where its snapshots tell what that must have been.

    Raises:
        VaultError: as `open_vault`; and no snapshot is authentic under the secret.
    """
    try:
        return open_vault(path, secret), None
    except VaultError as error:
        vault = None if secret is None else recover(path, secret)
        if vault is None:
            raise
        return vault, _fault(vault, error)


def _fault(vault: Vault, error: VaultError) -> Verdict:
    if isinstance(error, NoVault):
        return judged("vault", vault.id, "missing", "vault.json is missing: restore it from a copy")
    if isinstance(error, NewerFormat):
        reason = "vault.json was changed: restore it from a copy; unless a newer threadmill made it: then use that"
        return judged("vault", vault.id, "changed", reason)
    if isinstance(error, VaultChanged | WrongKey):
        return judged("vault", vault.id, "changed", "vault.json was changed: restore it from a copy")
    return judged("vault", vault.id, "unreadable", error.reason)


def recover(path: str, secret: Secret) -> Vault | None:
    """The vault by the newest snapshot that is authentic under the secret; None if there is none.

    It tells a wrong key file, under which nothing is authentic, from a `vault.json` that was changed.
    """
    root = os.path.realpath(path)
    with suppress(VaultError):
        for name in reversed(snapshot_names(root)):
            vault_id = peek(root, name).vault_id
            vault = Vault(root, vault_id, VaultKey(secret, vault_id))
            with suppress(VaultError):
                read_snapshot(vault, name)
                return vault
    return None
