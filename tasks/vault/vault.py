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
from tasks.files import (
    FOLDER_MODE,
    FolderIdentity,
    closed_after,
    new_file,
    open_folder,
    open_regular,
    rename_new,
    sync_folder,
    write_all,
)
from tasks.suites import SUITES, Suite
from tasks.vault.errors import NoVault, OtherFormat, VaultAbsent, VaultChanged, VaultError, WrongKey, on_disk
from tasks.vault.format import (
    INDEX,
    LOST_AND_FOUND,
    OBJECTS,
    PACKS,
    PARAMETERS,
    PARTIALS,
    SNAPSHOTS,
    TEMPORARY,
    TEMPORARY_NAME,
    BadLine,
    VaultKey,
    decode_line,
    encode_line,
    need_int,
    need_keys,
    need_text,
)

FORMAT = "threadmill-vault"
VERSION = 2
# The only suite of vaults: no legacy, and a reader has to know one way.
SUITE: Suite = SUITES["modern"]

_KEYS = ("format", "version", "id", "instance", "created", "suite", "salts", "key_check")
_LONGEST = 4096
_ID = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MAC_LINE = re.compile(rb'\{"hmac_sha256":"[0-9a-f]{64}"\}\n')
_SALTS = re.compile("content|random")
_FOLDERS = (PACKS, OBJECTS, INDEX, SNAPSHOTS, PARTIALS, TEMPORARY)


@dataclass(frozen=True, slots=True)
class Place:
    """A vault as a value: where it was when a run was planned, and its ids; `lookup.open_place` opens it again."""

    folder: FolderIdentity
    vault_id: str
    instance: str

    @property
    def path(self) -> str:
        """Its absolute path."""
        return self.folder.path


@dataclass(frozen=True, slots=True)
class Vault:
    """An open vault: `root` is its absolute path; `key` is None without the secret.

    `id` and `instance` are 32 hex digits. Keys and snapshots rest on the id, which all copies of a vault share; the
    record knows a vault by its instance, which is the id until a copy is adopted.

    With `random_salts` equal content makes different objects, and a content MAC is of the salt and the content.
    """

    root: str
    id: str
    instance: str
    key: VaultKey | None
    random_salts: bool

    def place(self) -> Place:
        """The place of the vault, as a value; raises VaultError."""
        try:
            return Place(FolderIdentity.of(self.root), self.id, self.instance)
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

    Raises NoVault, WrongKey, VaultChanged or OtherFormat.
    """
    root = os.path.realpath(path)
    if not is_vault(root):
        raise _look(root)[0]
    raw = _read(root)
    vault_id, instance, key_check, random_salts = _decode(root, raw)
    if secret is None:
        return Vault(root, vault_id, instance, None, random_salts)
    key = VaultKey(secret, vault_id)
    if not hmac.compare_digest(key.key_check, key_check):
        raise WrongKey(root, "the key file is not the one that it was made with (or vault.json was changed)")
    if not hmac.compare_digest(_mac(key, raw), raw[raw.rfind(b"\n", 0, -1) + 1 :]):
        raise VaultChanged(root, f"{PARAMETERS} was changed: its MAC does not fit; restore it from a copy")
    return Vault(root, vault_id, instance, key, random_salts)


def init_vault(path: str, secret: Secret, *, random_salts: bool = False) -> Vault:
    """Make a vault in a folder that is empty or not there; raises VaultError.

    Of several processes that start at once, one makes it. If it is killed in the middle there is no vault, and another
    try may use the folder: `vault.json` comes last.
    """
    with suppress(FileNotFoundError):
        if os.path.islink(path) and os.lstat(path).st_uid not in (0, os.geteuid()):
            raise NoVault(path, "is a link of another user, who chooses where it leads")
    root = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(root)):
        raise NoVault(root, "cannot be made: the folder above it is not there")
    absent, fit = _look(root)
    # After the look, which may have met with a vault that another process has just made.
    if is_vault(root):
        raise NoVault(root, "is a vault already")
    if not fit:
        raise absent
    vault_id = secrets.token_hex(16)
    key = VaultKey(secret, vault_id)
    line = encode_line(
        {
            "format": FORMAT,
            "version": VERSION,
            "id": vault_id,
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "suite": SUITE.name,
            "salts": "random" if random_salts else "content",
            "key_check": key.key_check,
        }
    )
    with on_disk(root):
        with suppress(FileExistsError):
            os.mkdir(root, FOLDER_MODE)
        with closed_after(open_folder(root)) as folder:
            for name in _FOLDERS:
                os.close(open_folder(folder, name, make=True))
            made = _write(folder, line + _mac(key, line))
        sync_folder(os.path.dirname(root))
    if not made:
        raise NoVault(root, "is a vault already")
    return open_vault(root, secret)


def adopt_vault(vault: Vault) -> Vault:
    """Give an open vault a new instance, so that the record tells it from the vault that it is a copy of.

    The caller is alone in the vault. Raises VaultError.
    """
    key = vault.need_key()
    value = decode_line(_read(vault.root).partition(b"\n")[0]) | {"instance": secrets.token_hex(16)}
    line = encode_line({name: value[name] for name in _KEYS if name in value})
    with on_disk(vault.root), closed_after(open_folder(vault.root)) as folder:
        _write(folder, line + _mac(key, line), replace=True)
    return open_vault(vault.root, key.secret)


def _look(root: str) -> tuple[NoVault, bool]:
    """Why no vault is opened in a folder without `vault.json`, and whether one can be made there.

    It can where nothing is, or only what a process left that was killed while it made one.
    """
    try:
        there = set(os.listdir(root))
    except FileNotFoundError:
        return VaultAbsent(root, "is not there"), True
    except NotADirectoryError:
        return NoVault(root, "is not a folder"), False
    except OSError as error:
        return NoVault(root, f"cannot be read: {error.strerror}"), False
    full = {name for name in there.intersection(_FOLDERS) if _names(root, name)}
    # A vault that was only begun has no packs, objects or snapshots.
    if {OBJECTS, SNAPSHOTS} <= there and full & {PACKS, OBJECTS, SNAPSHOTS}:
        return NoVault(root, f"{PARAMETERS} is missing: restore it from a copy"), False
    # Folders come in their order, so that `tmp/` alone is a user's, whatever is in it.
    begun = there - {LOST_AND_FOUND}
    return VaultAbsent(root, "is no vault"), not full and begun == set(_FOLDERS[: len(begun)])


def _names(root: str, folder: str) -> list[str]:
    """The names in a folder, but for files that are being written; anything but a folder counts as a name."""
    try:
        with closed_after(open_folder(root, folder)) as descriptor:
            names = os.listdir(descriptor)
    except OSError:
        return [folder]
    return [name for name in names if folder != TEMPORARY or not TEMPORARY_NAME.fullmatch(name)]


def _mac(key: VaultKey, raw: bytes) -> bytes:
    """The line with the MAC over the first line of `raw`."""
    mac = key.parameters_mac()
    mac.update(raw[: raw.index(b"\n") + 1])
    return encode_line({"hmac_sha256": mac.hexdigest()})


def _write(root: int, content: bytes, *, replace: bool = False) -> bool:
    """Write `vault.json`; False if another process was first."""
    try:
        # A program that copied the vault may have left the folder out: it is empty as a rule.
        temporary = open_folder(root, TEMPORARY, make=True)
        with closed_after(temporary), new_file(temporary) as (part, descriptor):
            write_all(descriptor, content)
            os.fsync(descriptor)
            if replace:
                os.replace(f"{TEMPORARY}/{part}", PARAMETERS, src_dir_fd=root, dst_dir_fd=root)
            else:
                rename_new(f"{TEMPORARY}/{part}", PARAMETERS, root)
            os.fsync(root)
    except (FileExistsError, FileNotFoundError):
        # The process that was first may have begun to add, and have swept the file away.
        return False
    return True


def _read(root: str) -> bytes:
    try:
        with closed_after(open_folder(root)) as folder, closed_after(open_regular(PARAMETERS, folder)[0]) as descriptor:
            return os.read(descriptor, _LONGEST + 1)
    except OSError as error:
        raise VaultError(root, f"{PARAMETERS} cannot be read: {error.strerror}") from None


def _decode(root: str, raw: bytes) -> tuple[str, str, str, bool]:
    """Id, instance, key check, and whether salts are random."""
    first, _, last = raw.partition(b"\n")
    try:
        value = decode_line(first if _MAC_LINE.fullmatch(last) else b"")
        version = value.get("version")
        if value.get("format") == FORMAT and type(version) is int and version != VERSION:
            unknown = f"has format {version} (or {PARAMETERS} was changed); this program knows {VERSION}"
            raise OtherFormat(root, unknown)
        need_keys(value, frozenset(_KEYS) - {"instance"}, {"instance"})
        need_text(value["format"], "format", re.compile(FORMAT))
        need_int(version, "version", VERSION, VERSION)
        need_text(value["created"], "time", _TIME)
        need_text(value["suite"], "suite", re.compile(SUITE.name))
        random_salts = need_text(value["salts"], "form of salts", _SALTS) == "random"
        vault_id, key_check = need_text(value["id"], "id", _ID), need_text(value["key_check"], "key check", _ID)
        return vault_id, need_text(value.get("instance", vault_id), "instance", _ID), key_check, random_salts
    except BadLine as error:
        raise VaultChanged(root, f"{PARAMETERS} was changed: it {error}; restore it from a copy") from None
