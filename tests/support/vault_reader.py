"""A reader of vaults by `docs/vault-format.md` alone: the standard library, openssl and zstd, nothing of ours.

`python vault_reader.py VAULT KEY_FILE [SNAPSHOT]` prints what a snapshot lists, with SHA-256 of each content.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

# All of it is in memory here; other readers go line by line.
LARGEST, LARGEST_PACK, WINDOW = 4 << 30, 64 << 20, 8 << 20
WHOLE, PACKED = 16 << 20, 1 << 20
SKIPPABLE = bytes.fromhex("5d2a4d1820000000")
MAC_LINE = re.compile(rb'\{"hmac_sha256":"([0-9a-f]{64})"\}\n')
LABELS = {"snapshot mac": 32, "parameters": 32, "salt": 32, "content mac": 32, "key check": 16}


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


def derive(secret: bytes, vault_id: str, label: str, length: int) -> bytes:
    """HKDF-SHA-256 of one block."""
    prk = hmac.digest(bytes.fromhex(vault_id), secret, "sha256")
    return hmac.digest(prk, f"threadmill vault 2: {label}\x01".encode(), "sha256")[:length]


def frame_of(data: bytes) -> tuple[int, int | None]:
    """The length of the zstd frame that data begin with, and of its content if it says so (RFC 8878, 3.1.1)."""
    need(data.startswith(b"\x28\xb5\x2f\xfd"), "no frame")
    flags, at = data[4], 5
    single = flags >> 5 & 1
    window = 0 if single else (1 << 10 + (data[at] >> 3)) * (8 + (data[at] & 7)) // 8
    need(not flags & 3, "a dictionary")
    at += 1 - single
    size_bytes = (single, 2, 4, 8)[flags >> 6]
    says = int.from_bytes(data[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    at += size_bytes
    need((says if single else window) <= WINDOW, "a frame that asks for too much memory")
    last = 0
    while not last:
        need(len(data) >= at + 3, "half a frame")
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind = header & 1, header >> 1 & 3
        at += 3 + (1 if kind == 1 else header >> 3)
    return at + 4 * (flags >> 2 & 1), says if size_bytes else None


def unpack(frame: bytes, most: int) -> bytes:
    """The content of one frame and nothing else."""
    length, says = frame_of(frame)
    need(length == len(frame) and (says is None or says <= most), "not one frame")
    content = subprocess.run(["zstd", "-dcq", "-M8MiB"], input=frame, capture_output=True, check=True).stdout
    need(len(content) <= most, "a frame of too much")
    return content


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


def tar_header(name: str, size: int) -> bytes:
    """The only one that a member may have."""
    begin = name.encode().ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"0" * 11 + b"\0"
    end = (b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(64) + b"0000000\0" * 2).ljust(356, b"\0")
    return begin + b"%06o\0 " % (sum(begin) + sum(end) + 8 * 32) + end


def members(pack: bytes) -> dict[str, int]:
    """The offset of each member's header in a pack, every byte of which is accounted for."""
    found, at = {}, 0
    while pack[at:] != bytes(1024):
        header = pack[at : at + 512]
        name, size = header[:64].decode("ascii"), int(header[124:135], 8)
        need(re.fullmatch("[0-9a-f]{64}", name) and header == tar_header(name, size), "no header of a member")
        end = at + 512 + size
        need(hashlib.sha256(pack[at + 512 : end]).hexdigest() == name, "a changed member")
        need(pack[end : end + -size % 512] == bytes(-size % 512), "padding that is not zeros")
        found[name] = at
        at = end + -size % 512
    return found


class Reader:
    """An open vault."""

    def __init__(self, root: str, key_file: str) -> None:
        self.root, self.key_file = root, key_file
        secret = read(key_file, 65)
        need(re.fullmatch(rb"[0-9a-f]{64}\n", secret), "no key file")
        raw = read(f"{root}/vault.json", 4096)
        first = raw[: raw.index(b"\n") + 1]
        values = decode(first)
        need(values["format"] == "threadmill-vault" and whole(values["version"], 2, 2), "another format")
        need(values["suite"] == "modern" and values["salts"] in ("content", "random"), "another suite, or other salts")
        self.id, self.random = values["id"], values["salts"] == "random"
        self.keys = {label: derive(secret[:64], self.id, label, length) for label, length in LABELS.items()}
        need(hmac.compare_digest(self.keys["key check"].hex(), values["key_check"]), "the wrong key file")
        last = MAC_LINE.fullmatch(raw[len(first) :])
        need(last is not None and self.mac("parameters", first).hex().encode() == last[1], "vault.json was changed")
        self.packs: dict[str, bytes] = {}

    def mac(self, label: str, data: bytes) -> bytes:
        return hmac.digest(self.keys[label], data, "sha256")

    def names(self, folder: str = "snapshots") -> list[str]:
        form = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}|[0-9a-f]{16}-[0-9]{4,}")
        return [name for name in os.listdir(f"{self.root}/{folder}") if form.fullmatch(name)]

    def snapshot(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Header and entries of a snapshot or a partial one; a path has become bytes."""
        folder = "snapshots" if "T" in name else "partials"
        raw = read(f"{self.root}/{folder}/{name}", LARGEST)
        need(hmac.compare_digest(raw[-32:], self.mac("snapshot mac", raw[:-32])), f"snapshot {name} was changed")
        need(raw[-40:-32] == SKIPPABLE, "no frame of a MAC")
        text = unpack(raw[:-40], LARGEST)
        need(text.endswith(b"\n"), "no end of a line")
        header, *entries, totals = [decode(line) for line in text.split(b"\n")[:-1]]
        kind = "threadmill-snapshot" if folder == "snapshots" else "threadmill-partial"
        need(header["format"] == kind and whole(header["version"], 2, 2), "another format")
        need(header["vault"] == self.id, "a snapshot of another vault")
        created = datetime.fromisoformat(header["created"])
        named = (
            f"{header['run']}-{header['part']:04d}" if "run" in header else f"{created:%Y%m%dT%H%M%SZ}-{header['id']}"
        )
        need(named == name, "a snapshot under another name")
        checked = list(self.checked(entries))
        sizes = [entry["size"] for entry in checked if entry["type"] == "file"]
        need(totals == {"entries": len(entries), "files": len(sizes), "size_bytes": sum(sizes)}, "totals that lie")
        return header, checked

    @staticmethod
    def checked(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        keys = {"folder": "mode", "link": "target", "file": "mode ctime_ns inode size object"}
        more = {"owner", "xattrs", "acl"}
        last, barrier = b"", None
        for entry in entries:
            kind = entry["type"]
            may = more | ({"zstd", "mac", "extents", "link", "mark", "good"} if kind == "file" else set())
            need(entry.keys() - may == {"path", "type", "mtime_ns", *keys[kind].split()}, "other keys")
            path = path_of(entry["path"])
            need(not {b"", b".", b".."} & set(path.split(b"/")), "a path that leads elsewhere")
            order = path.replace(b"/", b"\0")
            need(order > last, "out of order")
            need(barrier is None or not order.startswith(barrier), "below what is no folder")
            last, barrier = order, None if kind == "folder" else order + b"\0"
            need(whole(entry["mtime_ns"], -(2**63) * 10**9, 2**63 * 10**9 - 1), "no time")
            need(whole(entry.get("mode", 0), 0, 0o7777), "no mode")
            if kind == "file":
                need(whole(entry["size"], 0, 2**63 - 1) and re.fullmatch("[0-9a-f]{64}", entry["object"]), "no object")
                end = -1
                for offset, length in entry.get("extents", []):
                    need(
                        whole(offset, end + 1, entry["size"]) and whole(length, 1, entry["size"] - offset), "no extents"
                    )
                    end = offset + length
            if kind == "link":
                entry["target"] = path_of(entry["target"])
            yield entry | {"path": path}

    def object(self, name: str, length: int) -> bytes:
        """The bytes of an object, checked."""
        if length > PACKED:
            found = read(f"{self.root}/objects/{name[:2]}/{name}", length)
        else:
            self.packs = self.packs or dict(self.packed())
            need(name in self.packs, "a missing object")
            found = self.packs[name]
        need(len(found) == length and hashlib.sha256(found).hexdigest() == name, "a changed object")
        return found

    def packed(self) -> Iterator[tuple[str, bytes]]:
        """Every object in a pack, by name; the index of a pack, where there is one, has to say the same."""
        for folder in sorted(os.listdir(f"{self.root}/packs")):
            for pack in sorted(os.listdir(f"{self.root}/packs/{folder}")):
                raw = read(f"{self.root}/packs/{folder}/{pack}", LARGEST_PACK)
                need(hashlib.sha256(raw).hexdigest() == pack, "a changed pack")
                found = {name: (at, int(raw[at + 124 : at + 135], 8)) for name, at in members(raw).items()}
                if os.path.exists(f"{self.root}/index/{pack}"):
                    records = [bytes.fromhex(name) + struct.pack("<II", at >> 9, n) for name, (at, n) in found.items()]
                    body = b"tmidx 2\n" + struct.pack("<QQ", len(raw), len(records)) + b"".join(sorted(records))
                    index = read(f"{self.root}/index/{pack}", LARGEST_PACK)
                    need(index == body + hashlib.sha256(body).digest(), "an index of another pack")
                yield from ((name, raw[at + 512 : at + 512 + n]) for name, (at, n) in found.items())

    def content(self, entry: dict[str, Any]) -> bytes:
        """The content of a file, after its object was checked; and whether its salt and MAC are what they must be."""
        extents = entry.get("extents", [[0, entry["size"]]])
        length = sum(one for _, one in extents)
        ciphertext = self.object(entry["object"], 16 + entry.get("zstd", length))
        command = ["openssl", "enc", "-d", "-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256", "-pass"]
        stored = subprocess.run(
            [*command, f"file:{self.key_file}"], input=ciphertext, capture_output=True, check=True
        ).stdout
        plain = unpack(stored, length) if "zstd" in entry else stored
        need(len(plain) == length, "a content of another length")
        salt, random = ciphertext[8:16], self.random or length > WHOLE
        need(random or salt == self.mac("salt", stored)[:8], "a salt of other bytes")
        if length <= WHOLE or "zstd" in entry:
            mac = self.mac("content mac", salt + plain if random else plain)[:16]
            need(hmac.compare_digest(mac.hex(), entry["mac"]), "a MAC of another content")
        file = bytearray(entry["size"])
        for offset, one in extents:
            file[offset : offset + one], plain = plain[:one], plain[one:]
        return bytes(file)


if __name__ == "__main__":
    reader = Reader(*sys.argv[1:3])
    for wanted in sys.argv[3:] or sorted(reader.names()):
        for one in reader.snapshot(wanted)[1]:
            summed = hashlib.sha256(reader.content(one)).hexdigest() if one["type"] == "file" else one["type"]
            print(wanted, summed, one["path"])
