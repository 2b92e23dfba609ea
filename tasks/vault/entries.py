"""Entries of a snapshot: files, folders and links in the order of a walk, a line each."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from tasks.crypto.holes import Extents
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
_FOLDER_KEYS = frozenset(("path", "type", "mode", "mtime_ns"))
_LINK_KEYS = frozenset(("path", "type", "mtime_ns", "target"))
_FILE_KEYS = frozenset(("path", "type", "mode", "mtime_ns", "ctime_ns", "inode", "size", "object"))
_CONTENT_KEYS = frozenset(("zstd", "mac", "extents"))
_MAC = re.compile(r"[0-9a-f]{32}")
_MARK = re.compile("changed|unreadable")
_LINK = re.compile(r"(0|[1-9][0-9]{0,19}):(0|[1-9][0-9]{0,19})")
_OWNER_NAME = re.compile(r"[^\0]{0,256}")
_XATTR_NAME = re.compile(r"[^\0\ud800-\udfff]{1,255}")
_ACL_KIND = re.compile(r"access|default")
# In one form: the bits that the last character has too many are zero.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?")
# Nearly all lines are of this form: a file with a path of plain characters, numbers in their bounds, and no attributes.
# The patterns read the same as the JSON decoder, in a quarter of the time.
_TAIL = rb'"object":"([0-9a-f]{64})"(?:,"zstd":(0|[1-9][0-9]{0,17}))?(?:,"mac":"([0-9a-f]{32})")?\}\n?'
_PLAIN_FILE = re.compile(
    rb'\{"path":"([ !#-\[\]-~]+)","type":"file","mode":(0|[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-5]),'
    rb'"mtime_ns":(0|[1-9][0-9]{0,18}),"ctime_ns":(0|[1-9][0-9]{0,18}),"inode":(0|[1-9][0-9]{0,18}),'
    rb'"size":(0|[1-9][0-9]{0,17}),' + _TAIL
)
# An empty part, or one that means this folder or the one above: `/x`, `x//y`, `x/`, `./x`, `x/../y`.
_ODD_PART = re.compile(rb"(?:\A|/)\.{0,2}(?=/|\Z)")

# The bytes of a file are those that were read while it changed; or it could not be read, and this is its entry in the
# snapshot before.
Mark = Literal["changed", "unreadable"]

# Everything that an entry may say besides, as it stands in the line: it is checked, and not used yet.
More = dict[str, Json]


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A folder. `path` is relative, with `/` between its parts; `mode` has permissions only, as of `S_IMODE`."""

    path: bytes
    mode: int
    mtime_ns: int
    more: More | None = None
    mark: Mark | None = None

    def line(self) -> bytes:
        """Its line in a snapshot."""
        path = encode_path(self.path)
        return encode_line({"path": path, "type": "folder", "mode": self.mode, "mtime_ns": self.mtime_ns})


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A symbolic link and its target, which is not followed."""

    path: bytes
    mtime_ns: int
    target: bytes
    more: More | None = None
    mark: Mark | None = None

    def line(self) -> bytes:
        """Its line in a snapshot."""
        path, target = encode_path(self.path), encode_path(self.target)
        return encode_line({"path": path, "type": "link", "mtime_ns": self.mtime_ns, "target": target})


class FileFacts(NamedTuple):
    """The facts by which a changed file is known; a tuple, which a walk makes of each file in half of the time."""

    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    size_bytes: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileFacts:
        """The facts that the operating system gives."""
        return cls(stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)


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


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file and its content; `good` is the last good content of a file that changed or could not be read."""

    path: bytes
    facts: FileFacts
    content: Content
    more: More | None = None
    mark: Mark | None = None
    good: Content | None = None

    @property
    def last_good(self) -> Content | None:
        """The last content that was read while nothing changed; None if it is not known."""
        return self.content if self.mark is None else self.good

    def contents(self) -> tuple[Content, ...]:
        """Everything that must be kept for it."""
        return (self.content,) if self.good is None else (self.content, self.good)


def path_field(path: bytes) -> bytes:
    """The JSON of an absolute path in an entry: without its first slash."""
    return encode_json(encode_path(path[1:]))


def begin_file(path: bytes, facts: FileFacts) -> bytes:
    """The line of a file up to its object, from its `path_field`. Files are many, so this does without a dictionary."""
    return b'{"path":%b,"type":"file","mode":%d,"mtime_ns":%d,"ctime_ns":%d,"inode":%d,"size":%d,' % (path, *facts)


def end_file(content: Content, mark: Mark | None = None, good: Content | None = None) -> bytes:
    """The rest of the line of a file; one that is marked names the last good content, if there is one."""
    if mark is None:
        return b"%b}\n" % _content_fields(content)
    last = b"" if good is None else b',"good":{%b,"size":%d}' % (_content_fields(good), good.size_bytes)
    return b'%b,"mark":"%b"%b}\n' % (_content_fields(content), mark.encode(), last)


def _content_fields(content: Content) -> bytes:
    return b'"object":"%b"%b%b%b' % (
        content.object.encode(),
        b"" if content.zstd is None else b',"zstd":%d' % content.zstd,
        b"" if content.mac is None else b',"mac":"%b"' % content.mac.encode(),
        b"" if content.extents is None else b',"extents":' + encode_json([list(one) for one in content.extents]),
    )


Entry = FolderEntry | LinkEntry | FileEntry


def _plain(size_bytes: int, digest: bytes, zstd: bytes | None, mac: bytes | None) -> Content:
    return Content(digest.decode(), size_bytes, int(zstd) if zstd else None, mac.decode() if mac else None)


def decode_entry(line: bytes) -> Entry:
    """The entry of a line; BadLine also if its path leads out of the folder that it is restored into."""
    if (match := _PLAIN_FILE.fullmatch(line)) is not None and not _ODD_PART.search(match[1]):
        path, mode, mtime_ns, ctime_ns, inode, size, *tail = match.groups()
        facts = FileFacts(int(mode), int(mtime_ns), int(ctime_ns), int(inode), int(size))
        return FileEntry(path, facts, _plain(facts.size_bytes, *tail))
    value = decode_line(line)
    path, kind = decode_path(value.get("path")), value.get("type")
    if _ODD_PART.search(path):
        raise BadLine("has a path that is absolute, or has a part that is empty, `.` or `..`")
    if kind == "file":
        need_keys(value, _FILE_KEYS, _FILE_MORE)
        facts = FileFacts(
            _mode(value),
            need_int(value["mtime_ns"], "time", *_TIME),
            need_int(value["ctime_ns"], "time", *_TIME),
            need_int(value["inode"], "inode"),
            need_int(value["size"], "size", most=_LARGEST),
        )
        good = _good(value["good"]) if "good" in value else None
        content = _content(value, facts.size_bytes)
        return FileEntry(path, facts, content, _more(value, _OF_FILE), _mark(value), good)
    if kind in ("folder", "link"):
        need_keys(value, _FOLDER_KEYS if kind == "folder" else _LINK_KEYS, _OF_ALL.keys() | {"mark"})
        time, more, mark = need_int(value["mtime_ns"], "time", *_TIME), _more(value, _OF_ALL), _mark(value)
        if kind == "folder":
            return FolderEntry(path, _mode(value), time, more, mark)
        return LinkEntry(path, time, decode_path(value["target"]), more, mark)
    raise BadLine("is of no known type")


def _mode(value: More) -> int:
    return need_int(value["mode"], "mode", most=0o7777)


def _mark(value: More) -> Mark | None:
    return cast(Mark, need_text(value["mark"], "known mark", _MARK)) if "mark" in value else None


def _good(value: Json) -> Content:
    if not isinstance(value, dict):
        raise BadLine("has no last good content")
    need_keys(value, frozenset(("object", "size")), _CONTENT_KEYS)
    return _content(value, need_int(value["size"], "size", most=_LARGEST))


def _content(value: More, size_bytes: int) -> Content:
    content = Content(
        need_text(value["object"], "object", OBJECT_NAME),
        size_bytes,
        need_int(value["zstd"], "length of a frame", most=_LARGEST) if "zstd" in value else None,
        need_text(value["mac"], "content MAC", _MAC) if "mac" in value else None,
        _extents(value["extents"], size_bytes) if "extents" in value else None,
    )
    if content.stored_bytes > _LARGEST:
        raise BadLine("has an object that is longer than any file")
    return content


def _extents(value: Json, size_bytes: int) -> Extents:
    """Ascending, apart, and inside the file."""
    extents = []
    end = -1
    for extent in value if isinstance(value, list) else [value]:
        if not isinstance(extent, list) or len(extent) != 2:
            raise BadLine("has no extents")
        offset = need_int(extent[0], "extents that ascend", end + 1, size_bytes)
        end = offset + need_int(extent[1], "extents inside the file", 1, size_bytes - offset)
        extents.append((offset, end - offset))
    return tuple(extents)


def _more(value: More, checks: Mapping[str, Callable[[Json], object]]) -> More | None:
    more = {key: value[key] for key in checks if key in value}
    for key, one in more.items():
        checks[key](one)
    return more or None


def _check_owner(value: Json) -> None:
    if not isinstance(value, list) or len(value) != 4:
        raise BadLine("has no owner")
    for number in value[:2]:
        need_int(number, "owner", most=2**32)
    for name in value[2:]:
        need_text(name, "owner", _OWNER_NAME)


def _check_named(value: Json, form: re.Pattern[str]) -> None:
    if not isinstance(value, dict) or not value:
        raise BadLine("has no attributes")
    names = [need_text(name, "name of an attribute", form).encode() for name in value]
    if names != sorted(names):
        raise BadLine("has attributes that are not sorted by name")
    for text in value.values():
        need_text(text, "attribute in base64", _BASE64)


_OF_ALL: dict[str, Callable[[Json], object]] = {
    "owner": _check_owner,
    "xattrs": lambda value: _check_named(value, _XATTR_NAME),
    "acl": lambda value: _check_named(value, _ACL_KIND),
}
_OF_FILE = _OF_ALL | {"link": lambda value: need_text(value, "hard-link group", _LINK)}
_FILE_MORE = _CONTENT_KEYS | _OF_FILE.keys() | {"mark", "good"}
