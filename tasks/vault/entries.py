"""The lines of a snapshot: a header, then files, folders and links in the order of a walk, then the totals."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from tasks.suites import HEADER_BYTES
from tasks.vault.format import (
    OBJECT_NAME,
    PACKED_BYTES,
    BadLine,
    Json,
    decode_line,
    decode_path,
    encode_json,
    encode_line,
    encode_path,
    need_int,
    need_keys,
    need_text,
)

# File systems have 64 bits of seconds. 64 bits of nanoseconds would end in the year 2262.
_TIME = -(2**63) * 10**9, 2**63 * 10**9 - 1
_LARGEST = 2**63 - 1
_ATTRIBUTE_KEYS = frozenset(("owner", "xattrs", "acl"))
_FOLDER_KEYS = frozenset(("path", "type", "mode", "mtime_ns"))
_LINK_KEYS = frozenset(("path", "type", "mtime_ns", "target"))
_FILE_KEYS = frozenset(("path", "type", "mode", "mtime_ns", "ctime_ns", "inode", "size", "object"))
_CONTENT_KEYS = frozenset(("zstd", "mac", "extents"))
_MORE_KEYS = _CONTENT_KEYS | _ATTRIBUTE_KEYS | {"link", "mark", "good"}
_MAC = re.compile(r"[0-9a-f]{32}")
_LINK = re.compile(r"(0|[1-9][0-9]{0,19}):(0|[1-9][0-9]{0,19})")
_OWNER_NAME = re.compile(r"[^\0]{0,256}")
_XATTR_NAME = re.compile(r"[^\0]{1,255}")
_ACL_KIND = re.compile(r"access|default")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
# Nearly all lines are of this form: a file with a path of plain characters, numbers in their bounds, and no attributes.
# The pattern reads the same as the JSON decoder, in a quarter of the time.
_PLAIN_TAIL = (
    rb'"object":"([0-9a-f]{64})"(?:,"zstd":(0|[1-9][0-9]{0,17}))?(?:,"mac":"([0-9a-f]{32})")?\}\n?'  # groups 1 to 3
)
_PLAIN_FILE = re.compile(
    rb'\{"path":"([ !#-\[\]-~]+)","type":"file","mode":(0|[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-5]),'
    rb'"mtime_ns":(0|[1-9][0-9]{0,18}),"ctime_ns":(0|[1-9][0-9]{0,18}),"inode":(0|[1-9][0-9]{0,18}),'
    rb'"size":(0|[1-9][0-9]{0,17}),' + _PLAIN_TAIL
)
# An empty part, or one that means this folder or the one above: `/x`, `x//y`, `x/`, `./x`, `x/../y`.
_ODD_PART = re.compile(rb"(?:\A|/)\.{0,2}(?=/|\Z)")
FORMAT = "threadmill-snapshot"
PARTIAL_FORMAT = "threadmill-partial"
VERSION = 2
_KEYS = frozenset(("format", "version", "vault", "id", "created", "sequence", "sources"))
_PARTIAL_KEYS = frozenset(("format", "version", "vault", "run", "part", "created", "sources"))
_FOOTER_KEYS = frozenset(("entries", "files", "size_bytes"))
_ID = re.compile(r"[0-9a-f]{16}")
_VAULT = re.compile(r"[0-9a-f]{32}")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)

Mark = Literal["changed", "unreadable"]
_MARK = re.compile("|".join(get_args(Mark)))


@dataclass(frozen=True, slots=True)
class Attributes:
    """Everything that an entry may say besides: `owner` is uid, gid and their names; values are base64.

    `xattrs` are extended attributes, `acl` lists by kind (`access`, `default`), both sorted by the bytes of the name.
    """

    owner: tuple[int, int, str, str] | None = None
    xattrs: tuple[tuple[str, str], ...] = ()
    acl: tuple[tuple[str, str], ...] = ()

    def owner_values(self) -> dict[str, Json]:
        """The owner of its line, which comes before the times."""
        return {} if self.owner is None else {"owner": list(self.owner)}

    def values(self) -> dict[str, Json]:
        """The other values of its line, each if there is one."""
        named: tuple[tuple[str, dict[str, Json]], ...] = ("xattrs", dict(self.xattrs)), ("acl", dict(self.acl))
        return {key: value for key, value in named if value}


NO_ATTRIBUTES = Attributes()


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A folder. `path` is relative, with `/` between its parts; `mode` has permissions only, as of `S_IMODE`."""

    path: bytes
    mode: int
    mtime_ns: int
    attributes: Attributes = NO_ATTRIBUTES

    def line(self) -> bytes:
        """Its line in a snapshot."""
        begin: dict[str, Json] = {"path": encode_path(self.path), "type": "folder", "mode": self.mode}
        end: dict[str, Json] = {"mtime_ns": self.mtime_ns}
        return encode_line(begin | self.attributes.owner_values() | end | self.attributes.values())


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A symbolic link and its target, which is not followed."""

    path: bytes
    mtime_ns: int
    target: bytes
    attributes: Attributes = NO_ATTRIBUTES

    def line(self) -> bytes:
        """Its line in a snapshot."""
        begin: dict[str, Json] = {"path": encode_path(self.path), "type": "link"}
        end: dict[str, Json] = {"mtime_ns": self.mtime_ns, "target": encode_path(self.target)}
        return encode_line(begin | self.attributes.owner_values() | end | self.attributes.values())


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The facts by which a changed file is known, and which a restore gives back to it."""

    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    size_bytes: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileFacts:
        """The facts that the operating system gives."""
        return cls(stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)


Extents = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Content:
    """The object (64 hex digits) that has the content of a file of `size_bytes`.

    `zstd` is the length of the frame if the plaintext was compressed; `mac` the content MAC (32 hex digits), which
    large uncompressed objects do not have. Of a file with holes the plaintext is the bytes of its `extents` (offset,
    length) in turn.
    """

    object: str
    size_bytes: int
    zstd: int | None = None
    mac: str | None = None
    extents: Extents | None = None

    @property
    def plain_bytes(self) -> int:
        """Length of the plaintext."""
        return self.size_bytes if self.extents is None else sum(length for _, length in self.extents)

    @property
    def stored_bytes(self) -> int:
        """Length of the object."""
        return HEADER_BYTES + (self.plain_bytes if self.zstd is None else self.zstd)

    @property
    def packed(self) -> bool:
        """Whether a pack has the object; or else a file of its own."""
        return self.stored_bytes <= PACKED_BYTES

    def tail_values(self) -> dict[str, Json]:
        """The values of a line from the object on."""
        extents: Json = None if self.extents is None else [list(extent) for extent in self.extents]
        values: dict[str, Json] = {"object": self.object, "zstd": self.zstd, "mac": self.mac, "extents": extents}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file and its content; `link` (device:inode) is the same for hard links of one file.

    `mark` says that the content changed while it was read, or was carried over since the file was unreadable; `good` is
    the last good content then.
    """

    path: bytes
    facts: FileFacts
    content: Content
    attributes: Attributes = NO_ATTRIBUTES
    link: str | None = None
    mark: Mark | None = None
    good: Content | None = None

    def contents(self) -> tuple[Content, ...]:
        """Everything that must be kept for it."""
        return (self.content,) if self.good is None else (self.content, self.good)

    def line(self) -> bytes:
        """Its line in a snapshot."""
        facts = self.facts
        begin: dict[str, Json] = {"path": encode_path(self.path), "type": "file", "mode": facts.mode}
        times: dict[str, Json] = {"mtime_ns": facts.mtime_ns, "ctime_ns": facts.ctime_ns, "inode": facts.inode}
        values = begin | self.attributes.owner_values() | times | {"size": facts.size_bytes}
        values |= self.content.tail_values() | self.attributes.values()
        good = None
        if self.good is not None:
            # Before its size, so that `"size":` and `"object":` stand side by side once in a line.
            good = self.good.tail_values()
            extents = {"extents": good.pop("extents")} if "extents" in good else {}
            good |= {"size": self.good.size_bytes} | extents
        more: dict[str, Json] = {"link": self.link, "mark": self.mark, "good": good}
        return encode_line(values | {key: value for key, value in more.items() if value is not None})


def path_field(path: bytes) -> bytes:
    """The JSON of an absolute path in an entry: without its first slash."""
    return encode_json(encode_path(path[1:]))


def begin_file(path: bytes, facts: FileFacts) -> bytes:
    """The line of a file up to its object, from its `path_field`. Files are many, so this does without a dictionary."""
    return b'{"path":%b,"type":"file","mode":%d,"mtime_ns":%d,"ctime_ns":%d,"inode":%d,"size":%d,' % (
        path,
        facts.mode,
        facts.mtime_ns,
        facts.ctime_ns,
        facts.inode,
        facts.size_bytes,
    )


def content_tail(digest: bytes, zstd: int | None, mac: bytes | None, extents: Extents | None) -> bytes:
    """The rest of the line of a file: object and MAC in hex digits, and the newline."""
    return b'"object":"%b"%b%b%b}\n' % (
        digest,
        b"" if zstd is None else b',"zstd":%d' % zstd,
        b"" if mac is None else b',"mac":"%b"' % mac,
        b"" if extents is None else b',"extents":' + encode_json([list(extent) for extent in extents]),
    )


Entry = FolderEntry | LinkEntry | FileEntry


def decode_tail(tail: bytes, size_bytes: int) -> Content:
    """The content of a file from the end of its line, from `"object":` on; raises BadLine."""
    value = decode_line(b"{" + tail)
    if "object" not in value:
        raise BadLine("has no object")
    return _content(value, size_bytes)


def decode_entry(line: bytes) -> Entry:
    """The entry of a line; BadLine also if its path leads out of the folder that it is restored into."""
    if (match := _PLAIN_FILE.fullmatch(line)) is not None and not _ODD_PART.search(match[1]):
        path, mode, mtime_ns, ctime_ns, inode, size, digest, zstd, mac = match.groups()
        size_bytes = int(size)
        content = Content(digest.decode(), size_bytes, int(zstd) if zstd else None, mac.decode() if mac else None)
        return FileEntry(path, FileFacts(int(mode), int(mtime_ns), int(ctime_ns), int(inode), size_bytes), content)
    value = decode_line(line)
    path = decode_path(value.get("path"))
    if _ODD_PART.search(path):
        raise BadLine("has a path that is absolute, or has a part that is empty, `.` or `..`")
    kind = value.get("type")
    if kind == "file":
        return _file(path, value)
    mtime_ns = need_int(value.get("mtime_ns"), "time", *_TIME)
    if kind == "folder":
        need_keys(value, _FOLDER_KEYS, _ATTRIBUTE_KEYS)
        return FolderEntry(path, need_int(value["mode"], "mode", most=0o7777), mtime_ns, _attributes(value))
    if kind == "link":
        need_keys(value, _LINK_KEYS, _ATTRIBUTE_KEYS)
        return LinkEntry(path, mtime_ns, decode_path(value["target"]), _attributes(value))
    raise BadLine("is of no known type")


def _file(path: bytes, value: dict[str, Json]) -> FileEntry:
    need_keys(value, _FILE_KEYS, _MORE_KEYS)
    facts = FileFacts(
        need_int(value["mode"], "mode", most=0o7777),
        need_int(value["mtime_ns"], "time", *_TIME),
        need_int(value["ctime_ns"], "time", *_TIME),
        need_int(value["inode"], "inode"),
        need_int(value["size"], "size", most=_LARGEST),
    )
    link = need_text(value["link"], "hard-link group", _LINK) if "link" in value else None
    mark: Mark | None = None
    if "mark" in value:
        mark = "changed" if need_text(value["mark"], "known mark", _MARK) == "changed" else "unreadable"
    good = None
    if "good" in value:
        last = value["good"]
        if not isinstance(last, dict):
            raise BadLine("has no last good content")
        need_keys(last, frozenset(("object", "size")), _CONTENT_KEYS)
        good = _content(last, need_int(last["size"], "size", most=_LARGEST))
    return FileEntry(path, facts, _content(value, facts.size_bytes), _attributes(value), link, mark, good)


def _content(value: Mapping[str, Json], size_bytes: int) -> Content:
    return Content(
        need_text(value["object"], "object", OBJECT_NAME),
        size_bytes,
        need_int(value["zstd"], "length of a frame", most=_LARGEST) if "zstd" in value else None,
        need_text(value["mac"], "content MAC", _MAC) if "mac" in value else None,
        _extents(value["extents"], size_bytes) if "extents" in value else None,
    )


def _extents(value: Json, size_bytes: int) -> Extents:
    """Ascending, apart, and inside the file."""
    if not isinstance(value, list):
        raise BadLine("has no extents")
    extents = []
    end = -1
    for extent in value:
        if not isinstance(extent, list) or len(extent) != 2:
            raise BadLine("has no extents")
        offset = need_int(extent[0], "extents that ascend", end + 1, size_bytes)
        length = need_int(extent[1], "extents inside the file", 1, size_bytes - offset)
        end = offset + length
        extents.append((offset, length))
    return tuple(extents)


def _attributes(value: Mapping[str, Json]) -> Attributes:
    if value.keys().isdisjoint(_ATTRIBUTE_KEYS):
        return NO_ATTRIBUTES
    owner = None
    if "owner" in value:
        match value["owner"]:
            case [uid, gid, user, group]:
                ids = need_int(uid, "owner", most=2**32), need_int(gid, "owner", most=2**32)
                owner = *ids, need_text(user, "owner", _OWNER_NAME), need_text(group, "owner", _OWNER_NAME)
            case _:
                raise BadLine("has no owner")
    return Attributes(
        owner,
        _named_values(value["xattrs"], _XATTR_NAME) if "xattrs" in value else (),
        _named_values(value["acl"], _ACL_KIND) if "acl" in value else (),
    )


def _named_values(value: Json, form: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not value or list(value) != sorted(value, key=str.encode):
        raise BadLine("has attributes that are not sorted by name")
    for name, text in value.items():
        need_text(name, "name of an attribute", form)
        if not _is_base64(need_text(text, "attribute", _BASE64)):
            raise BadLine("has an attribute that is not base64")
    return tuple((name, text) for name, text in value.items() if isinstance(text, str))


def _is_base64(text: str) -> bool:
    try:
        return base64.b64encode(base64.b64decode(text)).decode() == text
    except binascii.Error:
        return False


def order_key(path: bytes) -> bytes:
    """Sorts paths as a walk meets them: a folder, then all that is in it, then its next sibling."""
    # NUL is in no path and is less than every other byte.
    return path.replace(b"/", b"\0")


class Order:
    """Checks that entries come in the order of a walk, each once, and none below a file or link."""

    def __init__(self) -> None:
        self._last = b""
        self._barrier: bytes | None = None

    def check(self, entry: Entry) -> None:
        """Take the next one; raises BadLine."""
        key = order_key(entry.path)
        if key <= self._last:
            raise BadLine("is out of order, or lists a path twice")
        # Entries below a path follow it at once.
        if self._barrier is not None and key.startswith(self._barrier):
            raise BadLine("has a path below a file or a link")
        self._last = key
        self._barrier = None if isinstance(entry, FolderEntry) else key + b"\0"


@dataclass(frozen=True, slots=True)
class Partial:
    """The run (16 hex digits) that wrote a partial snapshot, and which part it is, from 1."""

    run: str
    part: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: `created` is when the run began, `sequence` counts a vault's snapshots, `sources` are paths.

    A partial snapshot has no number (0 here), and the id of its run.
    """

    vault_id: str
    id: str
    created: datetime
    sequence: int
    sources: tuple[bytes, ...]
    partial: Partial | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        if self.partial is not None:
            return f"{self.partial.run}-{self.partial.part:04d}"
        return f"{self.created:%Y%m%dT%H%M%SZ}-{self.id}"

    @property
    def created_ns(self) -> int:
        """The time in nanoseconds since the epoch."""
        return int(self.created.timestamp()) * 10**9 + self.created.microsecond * 1000

    def values(self) -> dict[str, Json]:
        """The values of its line."""
        created = f"{self.created:%Y-%m-%dT%H:%M:%S.%fZ}"
        sources: list[Json] = [encode_path(source) for source in self.sources]
        if self.partial is not None:
            return {
                "format": PARTIAL_FORMAT,
                "version": VERSION,
                "vault": self.vault_id,
                "run": self.partial.run,
                "part": self.partial.part,
                "created": created,
                "sources": sources,
            }
        return {
            "format": FORMAT,
            "version": VERSION,
            "vault": self.vault_id,
            "id": self.id,
            "created": created,
            "sequence": self.sequence,
            "sources": sources,
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """The last line: the sums over all entries."""

    entries: int
    files: int
    size_bytes: int

    def values(self) -> dict[str, Json]:
        """The values of its line."""
        return {"entries": self.entries, "files": self.files, "size_bytes": self.size_bytes}


def decode_header(line: bytes) -> Header:
    """The header of a first line; raises BadLine."""
    value = decode_line(line)
    is_partial = value.get("format") == PARTIAL_FORMAT
    if not (is_partial or value.get("format") == FORMAT) or value.get("version") != VERSION:
        raise BadLine("is not a snapshot of a known format")
    need_keys(value, _PARTIAL_KEYS if is_partial else _KEYS)
    need_int(value["version"], "version")
    created = need_text(value["created"], "time", _CREATED)
    sources = value["sources"]
    if not isinstance(sources, list):
        raise BadLine("has no sources")
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        raise BadLine("has no time") from None
    name = need_text(value["run" if is_partial else "id"], "id", _ID)
    return Header(
        need_text(value["vault"], "vault", _VAULT),
        name,
        time,
        0 if is_partial else need_int(value["sequence"], "sequence", 1, 2**62),
        tuple(decode_path(source) for source in sources),
        Partial(name, need_int(value["part"], "part", 1, 10**9 - 1)) if is_partial else None,
    )


def decode_totals(value: Mapping[str, Json]) -> Totals:
    """The totals of a line that was decoded; raises BadLine."""
    need_keys(value, _FOOTER_KEYS)
    return Totals(*(need_int(value[key], "totals", most=2**80) for key in ("entries", "files", "size_bytes")))
