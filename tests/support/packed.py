"""Packs of chosen objects, and packs that no engine writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.vault.entries import Content
from tasks.vault.format import INDEX, OBJECTS, PACKS
from tasks.vault.packs import PackWriter, header, padding
from tasks.vault.vault import Vault, init_vault
from tests.support.crypto_fakes import SECRET


def new_vault(folder: Path) -> Vault:
    """A vault without objects."""
    return init_vault(str(folder / "vault"), SECRET)


def object_of(vault: Vault, content: bytes) -> bytes:
    """The object of these very bytes."""
    key = vault.need_key()
    salt = key.salt_of(content)
    room = bytearray(len(content) + 15)
    key.cipher(salt).update_into(content, room)
    return b"Salted__" + salt + room[: len(content)]


def digest(body: bytes) -> bytes:
    """By which an object is named."""
    return hashlib.sha256(body).digest()


def put_pack(vault: Vault, *bodies: bytes) -> str:
    """Have the engine write a pack of these objects; its name."""
    with PackWriter(vault) as packs:
        for body in bodies:
            packs.reserve(len(body))[: len(body)] = body
            packs.add(digest(body), len(body))
        packs.commit()
        ((name, _, _),) = packs.packs
    return name


def member(body: bytes, claim: bytes | None = None) -> bytes:
    """The bytes of a member, which may claim to be another object."""
    name = digest(body) if claim is None else claim
    return header(name.hex().encode(), len(body)) + body + bytes(padding(len(body)))


def plant(vault: Vault, raw: bytes, name: str | None = None) -> str:
    """Put bytes where a pack would be, by default under the name that fits them; the name."""
    name = name or hashlib.sha256(raw).hexdigest()
    path = pack_path(vault, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    return name


def plant_object(vault: Vault, raw: bytes, name: str | None = None) -> str:
    """The same where a large object would be."""
    name = name or hashlib.sha256(raw).hexdigest()
    path = Path(vault.root, OBJECTS, name[:2], name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    return name


def pack_path(vault: Vault, name: str) -> Path:
    """The file of a pack."""
    return Path(vault.root, PACKS, name[:2], name)


def sidecar_path(vault: Vault, name: str) -> Path:
    """The file of its sidecar."""
    return Path(vault.root, INDEX, name)


def plain_content(vault: Vault, content: bytes) -> tuple[Content, bytes]:
    """What an entry says of a file that is not compressed, and its object."""
    body = object_of(vault, content)
    return Content(digest(body).hex(), len(content)), body


def framed_content(vault: Vault, frame: bytes, size_bytes: int) -> tuple[Content, bytes]:
    """What an entry says of a file of that size whose object is of a frame, and that object."""
    body = object_of(vault, frame)
    return Content(digest(body).hex(), size_bytes, zstd=len(frame)), body
