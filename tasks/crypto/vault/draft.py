"""A snapshot in the making: what a walk found, and for each file that is to be encrypted a place for its object.

Both are files in `tmp/`, so that a million entries take no memory, and batches may end in any order.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, cast

from tasks.crypto.inputs import Payload
from tasks.crypto.vault.entries import FileEntry, FileFacts
from tasks.crypto.vault.errors import VaultUnwritable
from tasks.crypto.vault.layout import TEMPORARY, open_new
from tasks.crypto.vault.lines import Json, decode_line, decode_path, encode_line, encode_path

# What stands before the line of a file that has no object yet.
_OPEN = b"?"
# Status, digest, mode, mtime and ctime (seconds, nanoseconds), inode, size.
_RESULT = struct.Struct("<B32sIqIqIQQ")
_SECOND_NS = 10**9
_NOTHING, _NEW, _SAME = range(3)


@dataclass(frozen=True, slots=True)
class Result:
    """The object of a file, and the facts of the file as it was read; `same` if the object is an old one."""

    object: str
    facts: FileFacts
    same: bool = False


class Draft:
    """Written once, from first entry to last; then read as often as needed, while results come in from any thread."""

    def __init__(self, root: str) -> None:
        """Raises VaultUnwritable."""
        self.token = secrets.token_hex(8)
        self._root = root
        self._paths = [f"{root}/{TEMPORARY}/{self.token}.{what}" for what in ("draft", "results")]
        self._lines: IO[bytes] | None = None
        self._results: IO[bytes] | None = None
        try:
            self._lines, self._results = (os.fdopen(open_new(path), "w+b") for path in self._paths)
        except OSError as error:
            self.close()
            raise VaultUnwritable(root, error.errno or 0) from None

    def add_line(self, line: bytes) -> None:
        """An entry that is done."""
        self._write(line)

    def add_to_do(self, payload: Payload) -> None:
        """A file that is not; they are numbered in the order in which they come."""
        values: dict[str, Json] = {
            "path": encode_path(payload.name),
            "size": payload.size_bytes,
            "skip": payload.skip,
            "errno": payload.errno,
            "known": payload.known,
        }
        self._write(_OPEN + encode_line(values))

    def end(self) -> None:
        """All entries are there; raises VaultUnwritable."""
        assert self._lines is not None  # noqa: S101 - opened in __init__
        try:
            self._lines.flush()
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None

    def to_do(self) -> Iterator[Payload]:
        """The files that are not done, in their order."""
        for line in self._all():
            if line.startswith(_OPEN):
                value = cast("dict[str, Any]", decode_line(line[len(_OPEN) :]))
                name = decode_path(value.pop("path"))
                yield Payload("file", name, value["size"], value["skip"], value["errno"], value["known"])

    def set(self, number: int, result: Result) -> None:
        """What became of a file; those of which nothing is said are left out of the snapshot."""
        facts = result.facts
        record = _RESULT.pack(
            _SAME if result.same else _NEW,
            bytes.fromhex(result.object),
            facts.mode,
            *divmod(facts.mtime_ns, _SECOND_NS),
            *divmod(facts.ctime_ns, _SECOND_NS),
            facts.inode,
            facts.size_bytes,
        )
        assert self._results is not None  # noqa: S101 - opened in __init__
        try:
            written = os.pwrite(self._results.fileno(), record, number * _RESULT.size)
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None
        # One that is written in part, on a disk that is just full, would be taken for none.
        if written < len(record):
            raise VaultUnwritable(self._root, errno.ENOSPC)

    def get(self, number: int) -> Result | None:
        """What became of a file."""
        assert self._results is not None  # noqa: S101 - opened in __init__
        record = os.pread(self._results.fileno(), _RESULT.size, number * _RESULT.size)
        if len(record) < _RESULT.size:
            return None
        status, digest, mode, mtime_s, mtime_ns, ctime_s, ctime_ns, inode, size_bytes = _RESULT.unpack(record)
        if status == _NOTHING:
            return None
        times_ns = mtime_s * _SECOND_NS + mtime_ns, ctime_s * _SECOND_NS + ctime_ns
        return Result(digest.hex(), FileFacts(mode, *times_ns, inode, size_bytes), status == _SAME)

    def entry_lines(self) -> Iterator[tuple[bytes, Result | None]]:
        """The lines of the snapshot, now that all results are in; with its result where there was something to do."""
        number = 0
        for line in self._all():
            if not line.startswith(_OPEN):
                yield line, None
                continue
            result = self.get(number)
            number += 1
            if result is not None:
                path = decode_path(decode_line(line[len(_OPEN) :])["path"])
                yield FileEntry(path[1:], result.facts, result.object).line(), result

    def close(self) -> None:
        """Remove both files."""
        for file in (self._lines, self._results):
            if file is not None:
                # On a full disk it tries once more to write what it holds; nobody needs it any more.
                with suppress(OSError):
                    file.close()
        for path in self._paths:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _write(self, line: bytes) -> None:
        assert self._lines is not None  # noqa: S101 - opened in __init__
        try:
            self._lines.write(line)
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None

    def _all(self) -> Iterator[bytes]:
        with open(self._paths[0], "rb", buffering=256 << 10) as lines:
            yield from lines
