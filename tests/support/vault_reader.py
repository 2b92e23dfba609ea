"""A reader of vaults, made from `docs/vault-format.md` alone, with openssl and zstd (or the zstandard package).

`python vault_reader.py VAULT KEY_FILE [SNAPSHOT]` prints the entries of a snapshot, or of all snapshots, with the
SHA-256 of each file.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

Json = dict[str, Any]
# An object in a pack: its digest (or the pack's name), the offset of its header, and its length.
Member = tuple[str, int, int]

MIB = 1 << 20
# Contents of more bytes have random salts, and a content MAC only where they are compressed.
LARGEST_DERIVED = 16 * MIB
LARGEST_PACK = 64 * MIB
SMALLEST_MEMBER, LARGEST_MEMBER = 16, MIB
LARGEST_SNAPSHOT = 4 << 30
LARGEST_WINDOW = 8 * MIB
HEX32, HEX64, ID = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{16}")
GROUP = re.compile("(0|[1-9][0-9]{0,19}):(0|[1-9][0-9]{0,19})")
VAULT_MAC = re.compile(rb'\{"hmac_sha256":"([0-9a-f]{64})"\}\n')
SNAPSHOT_NAME = re.compile("[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
PARTIAL_NAME = re.compile("[0-9a-f]{16}-[0-9]{4,9}")
SKIPPABLE = bytes.fromhex("5d2a4d18 20000000")
# Keys in their order; those in brackets may be missing.
VAULT = "format version id [instance] created suite salts key_check"
HEADER = "format version vault id created sequence sources"
PARTIAL_HEADER = "format version vault run part created sequence sources"
ENTRY = {
    "folder": "path type mode [owner] mtime_ns [xattrs] [acl] [mark]",
    "link": "path type [owner] mtime_ns target [xattrs] [acl] [mark]",
    "file": "path type mode [owner] mtime_ns ctime_ns inode size object [zstd] [mac] [extents] [xattrs] [acl] [link] "
    "[mark] [good]",
}
GOOD = "object [zstd] [mac] [extents] size"
TOTALS = "entries files size_bytes marked missed gone counts"


class Damaged(ValueError):
    """A file of the vault is not what a writer writes; some of these faults are other ValueErrors."""


def need(condition: object, fault: str) -> None:
    if not condition:
        raise Damaged(fault)


def opened(root: str, *parts: str) -> int:
    """A descriptor of a file or folder of the vault; no link is followed on the way, and no FIFO waited for."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for part in parts:
        above = descriptor
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
        finally:
            os.close(above)
    return descriptor


def read(limit: int, root: str, *parts: str) -> bytes:
    """Read a regular file of at most `limit` bytes."""
    with os.fdopen(opened(root, *parts), "rb") as file:
        status, name = os.fstat(file.fileno()), "/".join(parts)
        need(stat.S_ISREG(status.st_mode), f"{name} is no file")
        need(status.st_size <= limit, f"{name} is too long")
        content = file.read(status.st_size)
        need(len(content) == status.st_size and not file.read(1), f"{name} changed while it was read")
    return content


def listed(root: str, *parts: str) -> list[str]:
    """The names in a folder; a copy may lack an empty one."""
    try:
        descriptor = opened(root, *parts)
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def derive(secret: bytes, vault_id: str, label: str, length: int) -> bytes:
    """Derive a key by HKDF-SHA-256; one block is enough for each."""
    prk = hmac.digest(bytes.fromhex(vault_id), secret, "sha256")
    return hmac.digest(prk, f"threadmill vault 2: {label}".encode() + b"\x01", "sha256")[:length]


# Lines


def decode(line: bytes) -> Json:
    """Parse a line in the one form that a writer gives it."""
    need(len(line) <= MIB, "a line is too long")
    try:
        value = json.loads(line.decode("ascii"))
    except RecursionError:
        raise Damaged("a line is no JSON") from None
    need(isinstance(value, dict), "a line is no object")
    # A key that is there twice, a space, another escape and a number such as -0 are lost here.
    need(json.dumps(value, separators=(",", ":")).encode() + b"\n" == line, "a line has another form")
    return dict(value)


def shaped(value: Any, keys: str) -> None:
    need(isinstance(value, dict), "no object")
    present = [key.strip("[]") for key in keys.split() if key[0] != "[" or key[1:-1] in value]
    need(list(value) == present, "other keys")


def whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def text(value: Any, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def path_of(value: Any) -> bytes:
    """The bytes of a path; only those that are not UTF-8 are in hex."""
    if isinstance(value, dict):
        need(list(value) == ["hex"] and text(value["hex"], re.compile("([0-9a-f]{2})+")), "no path")
        path = bytes.fromhex(value["hex"])
        need(path.decode(errors="replace").encode() != path, "a path in hex that is UTF-8")
    else:
        need(isinstance(value, str), "no path")
        path = value.encode()
    need(path and b"\0" not in path, "no path")
    return path


def order_of(path: bytes) -> bytes:
    return path.replace(b"/", b"\0")


def check_entry_path(path: bytes) -> None:
    need(not {b"", b".", b".."} & set(path.split(b"/")), "a path that leads elsewhere")


def moment(value: Any, form: str) -> datetime:
    need(isinstance(value, str), "no time")
    time = datetime.strptime(value, form).replace(tzinfo=UTC)
    need(time.strftime(form) == value, "no time")
    return time


def sources_of(value: Any) -> list[bytes]:
    need(isinstance(value, list), "no list of sources")
    sources = [path_of(source) for source in value]
    for number, source in enumerate(sources):
        need(source[:1] == b"/", "a source that is not absolute")
        if source != b"/":
            check_entry_path(source[1:])
        if number:
            before = order_of(sources[number - 1]).rstrip(b"\0") + b"\0"
            need(before < order_of(source) + b"\0", "sources out of order")
            need(not order_of(source).startswith(before), "a source inside another")
    return sources


# Entries


def check_attributes(entry: Json) -> None:
    if "owner" in entry:
        need(isinstance(entry["owner"], list) and len(entry["owner"]) == 4, "no owner")
        *ids, user, group = entry["owner"]
        need(all(whole(number, 0, 2**32) for number in ids), "no owner")
        need(all(text(name, re.compile("[^\\0]{0,256}")) for name in (user, group)), "no owner")
    for kind in ("xattrs", "acl"):
        if kind not in entry:
            continue
        values = entry[kind]
        need(isinstance(values, dict) and values, f"no {kind}")
        names = [name.encode() for name in values]
        need(names == sorted(names), f"{kind} out of order")
        need(all(text(name, re.compile("[^\\0]{1,255}")) for name in values), f"no {kind}")
        need(kind == "xattrs" or set(names) <= {b"access", b"default"}, "no acl")
        for value in values.values():
            need(isinstance(value, str), f"no {kind}")
            need(base64.b64encode(base64.b64decode(value, validate=True)).decode() == value, f"no {kind}")


def check_content(content: Json) -> None:
    """Check `object`, `zstd`, `mac`, `size` and `extents`, of an entry or of `good`."""
    need(whole(content["size"], 0, 2**63 - 1), "no size")
    need(text(content["object"], HEX64), "no object")
    end = -1
    need(isinstance(content.get("extents", []), list), "no extents")
    for extent in content.get("extents", []):
        need(isinstance(extent, list) and len(extent) == 2, "no extent")
        offset, length = extent
        need(whole(offset, end + 1, content["size"]) and whole(length, 1, content["size"] - offset), "no extent")
        end = offset + length
    need(whole(content.get("zstd", length := length_of(content)), 0, 2**63 - 17), "an object that is too long")
    if "zstd" in content:
        # Of more content only the beginning tells whether it is compressed.
        longest = length - length // 32 - 16 if length <= LARGEST_DERIVED else 2**63 - 1
        need(whole(content["zstd"], 1, longest), "no length of a frame")
    has_mac = length <= LARGEST_DERIVED or "zstd" in content
    need(text(content.get("mac"), HEX32) if has_mac else "mac" not in content, "no content MAC, or one too many")


def length_of(content: Json) -> int:
    """How long the content is: a file has that and its holes."""
    if "extents" in content:
        return sum(length for _, length in content["extents"])
    return int(content["size"])


def check_file(entry: Json) -> None:
    need(whole(entry["ctime_ns"], -(2**63) * 10**9, 2**63 * 10**9 - 1), "no time")
    need(whole(entry["inode"], 0, 2**64), "no inode")
    check_content(entry)
    need(text(entry.get("link", "0:0"), GROUP), "no link")
    if "good" in entry:
        need("mark" in entry, "a last good content of what is good")
        shaped(entry["good"], GOOD)
        check_content(entry["good"])


def checked(lines: list[bytes]) -> Iterator[Json]:
    """The entries, each checked; paths and targets become bytes."""
    last, barrier = b"", None
    for line in lines:
        entry = decode(line)
        need(entry.get("type") in [*ENTRY], "no type")
        shaped(entry, ENTRY[entry["type"]])
        path = path_of(entry["path"])
        check_entry_path(path)
        order = order_of(path)
        need(order > last, "out of order")
        need(barrier is None or not order.startswith(barrier), "below what is no folder")
        last, barrier = order, None if entry["type"] == "folder" else order + b"\0"
        need(whole(entry["mtime_ns"], -(2**63) * 10**9, 2**63 * 10**9 - 1), "no time")
        need(whole(entry.get("mode", 0), 0, 0o7777), "no mode")
        need(entry.get("mark", "changed") in ("changed", "unreadable"), "no mark")
        check_attributes(entry)
        if entry["type"] == "file":
            check_file(entry)
        if entry["type"] == "link":
            entry["target"] = path_of(entry["target"])
        yield entry | {"path": path}


# Zstd


def frame_of(data: bytes) -> tuple[int, int, int | None]:
    """The length, window and said content size of the zstd frame that data begin with (RFC 8878, 3.1.1)."""
    need(data[:4] == b"\x28\xb5\x2f\xfd" and len(data) > 6, "no zstd frame")
    flags = data[4]
    need(not flags & 0b1011, "a zstd frame with a dictionary or reserved bits")
    single, at = flags >> 5 & 1, 5
    window, said = 0, None
    if not single:
        base = 1 << (10 + (data[5] >> 3))
        window, at = base + (base >> 3) * (data[5] & 7), 6
    if width := (single, 2, 4, 8)[flags >> 6]:
        said = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
        window, at = window if not single else said, at + width
    is_last = False
    while not is_last:
        need(at + 3 <= len(data), "a zstd frame that is cut off")
        block = int.from_bytes(data[at : at + 3], "little")
        is_last, is_run, size = bool(block & 1), block >> 1 & 3 == 1, block >> 3
        at += 3 + (1 if is_run else size)
    at += 4 if flags & 4 else 0
    need(at <= len(data), "a zstd frame that is cut off")
    return at, window, said


def inflate(frame: bytes, limit: int) -> bytes:
    """Decompress one frame that is all of the data, to at most `limit` bytes."""
    end, window, said = frame_of(frame)
    need(end == len(frame), "something after the zstd frame")
    need(window <= LARGEST_WINDOW, "a zstd frame with too large a window")
    need(said is None or said <= limit, "a zstd frame that is too long")
    with tempfile.TemporaryFile() as file:
        file.write(frame)
        file.seek(0)
        content = unzstd(file, limit + 1)
    need(len(content) <= limit, "a zstd frame that is too long")
    return content


def unzstd(file: BinaryIO, limit: int) -> bytes:
    """The first bytes of what a frame decompresses to."""
    if not shutil.which("zstd"):
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(file) as reader:
                return b"".join(iter(lambda: reader.read(MIB) if reader.tell() < limit else b"", b""))
        except zstandard.ZstdError:
            raise Damaged("a zstd frame that does not open") from None
    with subprocess.Popen(["zstd", "-dcq"], stdin=file, stdout=subprocess.PIPE) as child:
        assert child.stdout
        content = child.stdout.read(limit)
        if len(content) == limit:
            child.kill()
    need(len(content) == limit or child.returncode == 0, "a zstd frame that does not open")
    return content


# Packs


def member_header(name: bytes, size: int) -> bytes:
    """The one tar header that an object of a pack may have."""
    first = name.ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    last = b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    return first + b"%06o\0 " % (sum(first) + sum(last) + 8 * ord(" ")) + last


def members(pack: bytes) -> Iterator[Member]:
    """Digest, offset of the header, and length of each object; a block that is no header is passed over."""
    at = 0
    while at < len(pack):
        header = pack[at : at + 512]
        name, size = header[:64], header[124:135]
        if re.fullmatch(rb"[0-9a-f]{64}", name) and re.fullmatch(rb"[0-7]{11}", size):
            length = int(size, 8)
            if SMALLEST_MEMBER <= length <= LARGEST_MEMBER and header == member_header(name, length):
                yield name.decode(), at, length
                at += (length + 511) // 512 * 512
        at += 512


def check_pack(name: str, pack: bytes) -> None:
    """Every byte of a pack is accounted for by its name and by the digests of its members."""
    need(hashlib.sha256(pack).hexdigest() == name, "a changed pack")
    rebuilt = b""
    for digest, at, length in members(pack):
        stored = pack[at + 512 : at + 512 + length]
        need(hashlib.sha256(stored).hexdigest() == digest, "a changed object")
        rebuilt += member_header(digest.encode(), length) + stored + bytes(-length % 512)
    need(rebuilt + bytes(1024) == pack, "a byte that belongs to no member")


def parse_index(index: bytes, pack_name: str, pack_length: int) -> list[Member] | None:
    """Digest, offset of the header, and length of each object; None if the index does not fit."""
    body, digest = index[:-32], index[-32:]
    if hashlib.sha256(bytes.fromhex(pack_name) + body).digest() != digest or body[:8] != b"tmidx 2\n" or len(body) < 24:
        return None
    length, count = struct.unpack("<QQ", body[8:24])
    if length != pack_length or len(body) != 24 + 40 * count:
        return None
    return [(name.hex(), blocks * 512, size) for name, blocks, size in struct.iter_unpack("<32sII", body[24:])]


class Reader:
    """An open vault. All that it reads is in memory; other readers go line by line and piece by piece."""

    def __init__(self, root: str, key_file: str) -> None:
        self.root = root
        self.key_file = key_file
        self.lock()
        secret = Path(key_file).read_bytes()
        need(re.fullmatch(rb"[0-9a-f]{64}\n", secret), "no key file")
        raw = read(4096, root, "vault.json")
        need(raw.count(b"\n") == 2 and raw.endswith(b"\n"), "vault.json has other lines")
        first = raw[: raw.index(b"\n") + 1]
        values = decode(first)
        need(values.get("format") == "threadmill-vault" and whole(values.get("version"), 2, 2), "another format")
        shaped(values, VAULT)
        need(all(text(values[key], HEX32) for key in values if key in ("id", "instance", "key_check")), "other numbers")
        self.id = values["id"]
        check = derive(secret[:64], self.id, "key check", 16)
        need(hmac.compare_digest(check.hex(), values["key_check"]), "the wrong key file")
        self.snapshot_key, self.salt_key, self.content_key, parameters_key = (
            derive(secret[:64], self.id, label, 32) for label in ("snapshot mac", "salt", "content mac", "parameters")
        )
        said = VAULT_MAC.fullmatch(raw[len(first) :])
        mac = hmac.new(parameters_key, first, "sha256").hexdigest()
        need(said and hmac.compare_digest(said[1].decode(), mac), "vault.json was changed")
        moment(values["created"], "%Y-%m-%dT%H:%M:%SZ")
        need(values["suite"] == "modern" and values["salts"] in ("content", "random"), "vault.json has other values")
        self.salts = values["salts"]

    def lock(self) -> None:
        """Keep a process that removes out as long as this reader is there; a copy may have no lock."""
        with suppress(FileNotFoundError):
            descriptor = opened(self.root, "lock")
            weakref.finalize(self, os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)

    def names(self, folder: str = "snapshots") -> list[str]:
        """The names of the snapshots, or of the partial ones."""
        form = SNAPSHOT_NAME if folder == "snapshots" else PARTIAL_NAME
        return [name for name in listed(self.root, folder) if form.fullmatch(name)]

    def snapshot(self, name: str) -> tuple[Json, list[Json]]:
        """Header and entries of a snapshot, or of a partial one."""
        is_partial = PARTIAL_NAME.fullmatch(name)
        raw = read(LARGEST_SNAPSHOT, self.root, "partials" if is_partial else "snapshots", name)
        mac = hmac.digest(self.snapshot_key, raw[:-32], "sha256")
        need(hmac.compare_digest(mac, raw[-32:]), f"snapshot {name} was changed")
        need(raw[-40:-32] == SKIPPABLE, "no MAC at its end")
        lines = inflate(raw[:-40], LARGEST_SNAPSHOT).split(b"\n")
        need(lines.pop() == b"" and len(lines) >= 2, "lines that are cut off")
        first, *others, last = [line + b"\n" for line in lines]
        header, totals = decode(first), decode(last)
        kind = "threadmill-partial" if is_partial else "threadmill-snapshot"
        need(header.get("format") == kind and whole(header.get("version"), 2, 2), "another format")
        shaped(totals, TOTALS)
        self.check_header(header, name)
        entries = list(checked(others))
        need(not is_partial or all(entry["type"] == "file" for entry in entries), "a part that has more than files")
        sizes = [entry["size"] for entry in entries if entry["type"] == "file"]
        true = [len(entries), len(sizes), sum(sizes), sum("mark" in entry for entry in entries)]
        need(all(map(whole, totals.values(), true, true)) and isinstance(totals["counts"], bool), "totals that lie")
        need(whole(totals["missed"], 0, 2**80) and whole(totals["gone"], 0, 2**80), "totals that are no numbers")
        return header, entries

    def check_header(self, header: Json, name: str) -> None:
        is_partial = header["format"] == "threadmill-partial"
        shaped(header, PARTIAL_HEADER if is_partial else HEADER)
        created = moment(header["created"], "%Y-%m-%dT%H:%M:%S.%fZ")
        need(whole(header["sequence"], not is_partial, 2**62), "no id or number")
        if is_partial:
            need(text(header["run"], ID) and whole(header["part"], 1, 10**9 - 1), "no run or part")
        need(is_partial or text(header["id"], ID), "no id or number")
        named = f"{header['run']}-{header['part']:04}" if is_partial else f"{created:%Y%m%dT%H%M%SZ}-{header['id']}"
        sources_of(header["sources"])
        need(header["vault"] == self.id, "a snapshot of another vault")
        need(named == name, "a snapshot under another name")

    def packs(self) -> Iterator[str]:
        for folder in listed(self.root, "packs"):
            for name in listed(self.root, "packs", folder):
                need(HEX64.fullmatch(name) and name[:2] == folder, "no pack")
                yield name

    def pack(self, name: str) -> bytes:
        return read(LARGEST_PACK, self.root, "packs", name[:2], name)

    def index(self, pack: str) -> list[Member] | None:
        """The records of a pack's index; None if there is none that fits."""
        try:
            index = read(LARGEST_PACK, self.root, "index", pack)
        except FileNotFoundError:
            return None
        with os.fdopen(opened(self.root, "packs", pack[:2], pack), "rb") as file:
            return parse_index(index, pack, os.fstat(file.fileno()).st_size)

    def check_packs(self) -> None:
        """Each pack is whole, and has an index that fits, or none."""
        for name in self.packs():
            pack = self.pack(name)
            check_pack(name, pack)
            with suppress(FileNotFoundError):
                index = read(LARGEST_PACK, self.root, "index", name)
                need(parse_index(index, name, len(pack)) == sorted(members(pack)), "an index of another pack")

    def places(self, *, by_index: bool) -> dict[str, list[Member]]:
        """Pack, offset of the header, and length, of each object that lies in packs."""
        found: dict[str, list[Member]] = {}
        for pack in self.packs():
            records = self.index(pack) if by_index else None
            for digest, at, length in members(self.pack(pack)) if records is None else records:
                found.setdefault(digest, []).append((pack, at, length))
        return found

    @cached_property
    def indexed(self) -> dict[str, list[Member]]:
        return self.places(by_index=True)

    @cached_property
    def scanned(self) -> dict[str, list[Member]]:
        return self.places(by_index=False)

    def copies(self, digest: str, length: int) -> Iterator[bytes]:
        """Everything that may be the object: its own file, and members of packs."""
        with suppress(FileNotFoundError):
            yield read(length, self.root, "objects", digest[:2], digest)
        if length > LARGEST_MEMBER:
            return
        for pack, at, size in self.indexed.get(digest, []):
            with os.fdopen(opened(self.root, "packs", pack[:2], pack), "rb") as file:
                file.seek(at + 512)
                yield file.read(min(size, LARGEST_MEMBER))
        # The index is not trusted over the bytes: it may name another place, or none.
        for pack, at, size in self.scanned.get(digest, []):
            yield self.pack(pack)[at + 512 : at + 512 + size]

    def object(self, content: Json) -> bytes:
        length = 16 + content.get("zstd", length_of(content))
        fault = "a missing object"
        for copy in self.copies(content["object"], length):
            if len(copy) == length and hashlib.sha256(copy).hexdigest() == content["object"]:
                return copy
            fault = "a changed object"
        raise Damaged(fault)

    def plaintext(self, content: Json) -> bytes:
        """What an entry, or its `good`, has as content, after the object was checked; holes are left out."""
        stored_object = self.object(content)
        need(stored_object[:8] == b"Salted__", "no object of openssl")
        salt = stored_object[8:16]
        command = ["openssl", "enc", "-d", "-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256", "-pass"]
        command.append(f"file:{self.key_file}")
        stored = subprocess.run(command, input=stored_object, capture_output=True, check=True).stdout
        length = length_of(content)
        need("zstd" not in content or frame_of(stored)[2] == length, "a zstd frame of another length")
        found = inflate(stored, length) if "zstd" in content else stored
        need(len(found) == length, "a content of another length")
        is_derived = self.salts == "content" and length <= LARGEST_DERIVED
        if is_derived:
            need(salt == hmac.digest(self.salt_key, stored, "sha256")[:8], "a salt that is not of its content")
        if "mac" in content:
            mac = hmac.digest(self.content_key, found if is_derived else salt + found, "sha256")[:16]
            need(hmac.compare_digest(mac.hex(), content["mac"]), "a content of another MAC")
        return found

    def pieces(self, content: Json) -> Iterator[bytes]:
        """The bytes of the file, its holes filled with zeros."""
        found, end = self.plaintext(content), 0
        for offset, length in [*content.get("extents", [[0, len(found)]]), [content["size"], 0]]:
            for at in range(end, offset, MIB):
                yield bytes(min(MIB, offset - at))
            yield found[:length]
            found, end = found[length:], offset + length

    def content(self, content: Json) -> bytes:
        return b"".join(self.pieces(content))


if __name__ == "__main__":
    reader = Reader(*sys.argv[1:3])
    reader.check_packs()
    for wanted in sys.argv[3:] or reader.names():
        for one in reader.snapshot(wanted)[1]:
            summed = hashlib.sha256()
            for piece in reader.pieces(one) if one["type"] == "file" else ():
                summed.update(piece)
            print(wanted, summed.hexdigest() if one["type"] == "file" else one["type"], one["path"])
