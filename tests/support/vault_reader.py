"""A reader of vaults by `docs/vault-format.md` alone: the standard library and the openssl program, nothing of ours.

`python vault_reader.py VAULT KEY_FILE [SNAPSHOT]` prints what a snapshot lists, with SHA-256 of each content.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

# All of it is in memory here; other readers go line by line.
MAC_LINE = re.compile(rb'\{"hmac_sha256":"([0-9a-f]{64})"\}\n')
LARGEST = 4 << 30


class Damaged(Exception):
    """A file of the vault is not what a writer wrote."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise Damaged(what)


def read(path: str, limit: int) -> bytes:
    """A regular file of no more than so many bytes; links and FIFOs are neither followed nor waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        need(stat.S_ISREG(os.fstat(descriptor).st_mode), f"{path} is no file")
        content = file.read(limit + 1)
    need(len(content) <= limit, f"{path} is too long")
    return content


def derive(secret: bytes, vault_id: str, info: bytes, length: int) -> bytes:
    """HKDF-SHA-256 of one block."""
    prk = hmac.digest(bytes.fromhex(vault_id), secret, "sha256")
    return hmac.digest(prk, info + b"\x01", "sha256")[:length]


def decode(line: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs), "a key twice")
        return dict(pairs)

    value = json.loads(line.decode("ascii"), object_pairs_hook=once)
    need(isinstance(value, dict), "a line that is no object")
    return dict(value)


def path_of(value: Any) -> bytes:
    path = bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()
    need(path and b"\0" not in path, "no path")
    return bytes(path)


def whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


class Reader:
    """An open vault."""

    def __init__(self, root: str, key_file: str) -> None:
        self.root = root
        self.key_file = key_file
        secret = read(key_file, 65)
        need(re.fullmatch(rb"[0-9a-f]{64}\n", secret), "no key file")
        raw = read(f"{root}/vault.json", 4096)
        first = raw[: raw.index(b"\n") + 1]
        values = decode(first)
        need(values["format"] == "threadmill-vault" and whole(values["version"], 1, 1), "another format")
        self.id = values["id"]
        check = derive(secret[:64], self.id, b"threadmill vault 1: key check", 16)
        need(hmac.compare_digest(check.hex(), values["key_check"]), "the wrong key file")
        self.mac_key = derive(secret[:64], self.id, b"threadmill vault 1: mac", 32)
        need(self.authentic(first, raw[len(first) :]), "vault.json was changed")

    def authentic(self, content: bytes, last: bytes) -> bool:
        found = MAC_LINE.fullmatch(last)
        mac = hmac.new(self.mac_key, content, "sha256").hexdigest()
        return found is not None and hmac.compare_digest(found[1].decode(), mac)

    def names(self) -> list[str]:
        form = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
        return [name for name in os.listdir(f"{self.root}/snapshots") if form.fullmatch(name)]

    def snapshot(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Header and entries; a path has become bytes."""
        raw = read(f"{self.root}/snapshots/{name}", LARGEST)
        need(self.authentic(raw[:-83], raw[-83:]), f"snapshot {name} was changed")
        need(raw[:-83].endswith(b"\n"), "no end of a line before the MAC")
        header, *entries, totals = [decode(line) for line in raw[:-83].split(b"\n")[:-1]]
        need(header["format"] == "threadmill-snapshot" and whole(header["version"], 1, 1), "another format")
        created = datetime.fromisoformat(header["created"])
        need(header["vault"] == self.id, "a snapshot of another vault")
        need(f"{created:%Y%m%dT%H%M%SZ}-{header['id']}" == name, "a snapshot under another name")
        checked = list(self.checked(entries))
        sizes = [entry["size"] for entry in checked if entry["type"] == "file"]
        need(totals == {"entries": len(entries), "files": len(sizes), "size_bytes": sum(sizes)}, "totals that lie")
        return header, checked

    @staticmethod
    def checked(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        keys = {"folder": "mode", "link": "target", "file": "mode ctime_ns inode size object"}
        last, barrier = b"", None
        for entry in entries:
            need(entry.keys() == {"path", "type", "mtime_ns", *keys[entry["type"]].split()}, "other keys")
            path = path_of(entry["path"])
            need(not {b"", b".", b".."} & set(path.split(b"/")), "a path that leads elsewhere")
            order = path.replace(b"/", b"\0")
            need(order > last, "out of order")
            need(barrier is None or not order.startswith(barrier), "below what is no folder")
            last, barrier = order, None if entry["type"] == "folder" else order + b"\0"
            need(whole(entry["mtime_ns"], -(2**63) * 10**9, 2**63 * 10**9 - 1), "no time")
            need(whole(entry.get("mode", 0), 0, 0o7777), "no mode")
            if entry["type"] == "file":
                need(whole(entry["size"], 0, 2**63 - 1) and re.fullmatch("[0-9a-f]{64}", entry["object"]), "no object")
            if entry["type"] == "link":
                entry["target"] = path_of(entry["target"])
            yield entry | {"path": path}

    def content(self, entry: dict[str, Any]) -> bytes:
        """The content of a file, after its object was checked."""
        name = entry["object"]
        ciphertext = read(f"{self.root}/objects/{name[:2]}/{name}", entry["size"] + 16)
        need(
            len(ciphertext) == entry["size"] + 16 and hashlib.sha256(ciphertext).hexdigest() == name, "a changed object"
        )
        command = ["openssl", "enc", "-d", "-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256", "-pass"]
        return subprocess.run(
            [*command, f"file:{self.key_file}"], input=ciphertext, capture_output=True, check=True
        ).stdout


if __name__ == "__main__":
    reader = Reader(*sys.argv[1:3])
    for wanted in sys.argv[3:] or sorted(reader.names()):
        for one in reader.snapshot(wanted)[1]:
            summed = hashlib.sha256(reader.content(one)).hexdigest() if one["type"] == "file" else one["type"]
            print(wanted, summed, one["path"])
