"""Making and opening a vault; `vault.json` has its id and format, and is authenticated like a snapshot."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.crypto.secret import Secret
from tasks.files import FolderIdentity, closed_after, open_new, open_regular, rename_new, sync_folder, write_all
from tasks.suites import SUITES, Suite
from tasks.vault.errors import NewerFormat, NoVault, VaultChanged, VaultError, WrongKey, on_disk
from tasks.vault.format import (
    FOLDER_MODE,
    LOCK,
    LOST_AND_FOUND,
    OBJECTS,
    PARAMETERS,
    SNAPSHOTS,
    TEMPORARY,
    BadLine,
    VaultKey,
    decode_line,
    decode_mac,
    encode_line,
    encode_mac,
    need_int,
    need_keys,
    need_text,
)

FORMAT = "threadmill-vault"
VERSION = 1
# The only suite of vaults: no legacy, and a reader has to know one way.
SUITE: Suite = SUITES["modern"]

_KEYS = frozenset(("format", "version", "id", "created", "suite", "key_check"))
_LONGEST = 4096
_ID = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_OWN = frozenset((OBJECTS, SNAPSHOTS, TEMPORARY, LOCK, LOST_AND_FOUND))


@dataclass(frozen=True, slots=True)
class Place:
    """A vault as a value: where it was when a run was planned, and its id; `lookup.open_place` opens it again."""

    folder: FolderIdentity
    vault_id: str

    @property
    def path(self) -> str:
        """Its absolute path."""
        return self.folder.path


@dataclass(frozen=True, slots=True)
class Vault:
    """An open vault: `root` is its absolute path, `id` 32 hex digits; `key` is None without the secret."""

    root: str
    id: str
    key: VaultKey | None

    def place(self) -> Place:
        """The place of the vault, as a value; raises VaultError."""
        try:
            return Place(FolderIdentity.of(self.root), self.id)
        except OSError as error:
            raise VaultError(self.root, f"cannot be read: {error.strerror}") from None

    def need_key(self) -> VaultKey:
        """The key, where there must be one."""
        if self.key is None:
            raise VaultError(self.root, "needs its key file for this")
        return self.key


def is_vault(path: str) -> bool:
    """Whether there is a vault at that path, whole or not."""
    return os.path.lexists(os.path.join(path, PARAMETERS))


def open_vault(path: str, secret: Secret | None) -> Vault:
    """Open the vault at a path; a secret is checked, and authenticates `vault.json`.

    Raises NoVault, WrongKey, VaultChanged or NewerFormat.
    """
    root = os.path.realpath(path)
    if not is_vault(root):
        there, fault = _look(root)
        what = "is not there" if there is None else "is no vault"
        raise NoVault(root, fault or f"{what}; `threadmill encrypt PATH --vault DIR` makes one")
    raw = _read(root)
    vault_id, key_check = _decode(root, raw)
    if secret is None:
        return Vault(root, vault_id, None)
    key = VaultKey(secret, vault_id)
    authentic = _mac(key, raw) == raw[raw.rfind(b"\n", 0, -1) + 1 :]
    if authentic and hmac.compare_digest(key.key_check, key_check):
        return Vault(root, vault_id, key)
    if hmac.compare_digest(key.key_check, key_check):
        raise VaultChanged(root, f"{PARAMETERS} was changed: its MAC does not fit; restore it from a copy")
    raise WrongKey(root, "the key file is not the one that it was made with (or vault.json was changed)")


def _look(root: str) -> tuple[set[str] | None, str | None]:
    """The names in a folder without `vault.json`, None if there is no folder; or the fault that rules out a vault."""
    try:
        there = set(os.listdir(root))
    except FileNotFoundError:
        return None, None
    except NotADirectoryError:
        return set(), "is not a folder"
    except OSError as error:
        return set(), f"cannot be read: {error.strerror}"
    # A folder that was only begun has no objects and no snapshots.
    had = {OBJECTS, SNAPSHOTS} <= there and not all(_is_empty(os.path.join(root, one)) for one in (OBJECTS, SNAPSHOTS))
    return there, f"{PARAMETERS} is missing: restore it from a copy" if had else None


def make_vault(path: str, secret: Secret) -> Vault:
    """Make a vault in a folder that is empty or not there, or open the vault that is there; raises VaultError.

    Safe when several processes start at once, and when it is killed in the middle: `vault.json` comes last.
    """
    root = os.path.realpath(path)
    if is_vault(root):
        return open_vault(root, secret)
    if unfit := why_no_vault(root):
        # Another process may have made it between the two checks.
        if is_vault(root):
            return open_vault(root, secret)
        raise NoVault(root, unfit)
    vault_id = secrets.token_hex(16)
    key = VaultKey(secret, vault_id)
    with on_disk(root):
        for folder in (root, *(os.path.join(root, name) for name in (OBJECTS, SNAPSHOTS, TEMPORARY))):
            with suppress(FileExistsError):
                os.mkdir(folder, FOLDER_MODE)
        _write(root, _encode(vault_id, key))
        sync_folder(os.path.dirname(root))
    return open_vault(root, secret)


def why_no_vault(path: str) -> str | None:
    """Why no vault can be made in a folder, None where one can: it is not there, is empty, or was begun before."""
    root = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(root)):
        return "cannot be made: the folder above it is not there"
    there, fault = _look(root)
    if there is None or fault is not None:
        return fault
    begun = there <= _OWN and all(_is_empty(os.path.join(root, name)) for name in there & {OBJECTS, SNAPSHOTS})
    return None if begun else "is neither empty nor a vault; choose another folder"


def _is_empty(folder: str) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def _encode(vault_id: str, key: VaultKey) -> bytes:
    line = encode_line(
        {
            "format": FORMAT,
            "version": VERSION,
            "id": vault_id,
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "suite": SUITE.name,
            "key_check": key.key_check,
        }
    )
    return line + _mac(key, line)


def _mac(key: VaultKey, raw: bytes) -> bytes:
    """The line with the MAC over the first line of `raw`."""
    mac = key.mac()
    mac.update(raw[: raw.index(b"\n") + 1])
    return encode_mac(mac.hexdigest())


def _write(root: str, content: bytes) -> None:
    part = os.path.join(root, TEMPORARY, secrets.token_hex(8))
    descriptor = open_new(part)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
        # Another process may have put its own there; and if that one has begun to add, it has swept this away.
        with suppress(FileExistsError, FileNotFoundError):
            rename_new(part, os.path.join(root, PARAMETERS))
        sync_folder(root)
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(part)


def _read(root: str) -> bytes:
    try:
        descriptor, _ = open_regular(os.path.join(root, PARAMETERS))
        with closed_after(descriptor):
            return os.read(descriptor, _LONGEST + 1)
    except OSError as error:
        raise VaultError(root, f"{PARAMETERS} cannot be read: {error.strerror}") from None


def _decode(root: str, raw: bytes) -> tuple[str, str]:
    """Id and key check."""
    first, _, last = raw.partition(b"\n")
    try:
        value = decode_line(first if decode_mac(last) else b"")
        version = value.get("version")
        if value.get("format") == FORMAT and type(version) is int and version > VERSION:
            unknown = f"has format {version} (or {PARAMETERS} was changed); this program knows {VERSION}"
            raise NewerFormat(root, unknown)
        need_keys(value, _KEYS)
        need_text(value["format"], "format", re.compile(FORMAT))
        need_int(version, "version", VERSION, VERSION)
        need_text(value["created"], "time", _TIME)
        need_text(value["suite"], "suite", re.compile(SUITE.name))
        return need_text(value["id"], "id", _ID), need_text(value["key_check"], "key check", _ID)
    except BadLine as error:
        raise VaultChanged(root, f"{PARAMETERS} was changed: it {error}; restore it from a copy") from None
