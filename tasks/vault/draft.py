"""The draft of a snapshot: the entries that a walk found, and a place for the object of each file to encrypt.

Both are files without a name in `tmp/`: a million entries take no memory, batches may end in any order, and nobody else
can open what is to be authenticated at the end.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from typing import IO

from tasks.crypto.inputs import Payload
from tasks.vault.entries import FileFacts, begin_file, content_tail, path_field
from tasks.vault.errors import VaultUnwritable, on_disk
from tasks.vault.format import LONGEST_LINE, TEMPORARY, encode_json, split_lines

# Before the line of a file that has no object yet: then come its path, as it will stand in the entry, a tab (which is
# in no JSON text), and its other facts.
_OPEN = b"?"
# Status, digest, mode, mtime and ctime (seconds, nanoseconds), inode, size.
_RESULT = struct.Struct("<B32sIqIqIQQ")
_SECOND_NS = 10**9
_NOTHING, _NEW, _SAME = range(3)
_PIECE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class DraftResult:
    """The object of a file, and the facts of the file as it was read; `same` if the object is an old one."""

    object: str
    facts: FileFacts
    same: bool = False


class Draft:
    """A draft is written once, then read as often as needed, while results come in from any thread."""

    def __init__(self, root: str) -> None:
        """Raises VaultUnwritable."""
        self._root = root
        self._files: list[IO[bytes]] = []
        try:
            for _ in range(2):
                # Open until `close`.
                self._files.append(tempfile.TemporaryFile(dir=f"{root}/{TEMPORARY}"))  # noqa: SIM115
        except OSError as error:
            self.close()
            raise VaultUnwritable(root, error.errno or 0) from None
        self._lines, self._results = self._files

    def add_line(self, line: bytes) -> None:
        """Add an entry that is done; raises VaultUnwritable."""
        try:
            self._lines.write(line)
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None

    def add_to_do(self, payload: Payload) -> None:
        """Add a file that is to be encrypted; its number is its place in the order of these calls."""
        values = encode_json([payload.size_bytes, payload.skip, payload.errno, payload.known])
        self.add_line(b"%b%b\t%b\n" % (_OPEN, path_field(payload.name), values))

    def end(self) -> None:
        """Write down all entries, before the first one is read; raises VaultUnwritable."""
        with on_disk(self._root):
            self._lines.flush()

    def to_do(self) -> Iterator[Payload]:
        """The files to encrypt, in their order."""
        for line in self._all():
            if line.startswith(_OPEN):
                path, _, values = line[len(_OPEN) :].partition(b"\t")
                yield Payload("file", _name(json.loads(path)), *json.loads(values))

    def set(self, results: Sequence[tuple[int, DraftResult]]) -> None:
        """Enter the results of one batch by ordinal, ascending; no other batch has an ordinal in between.

        A file without a result is left out of the snapshot.
        """
        if not results:
            return
        first = results[0][0]
        records = bytearray(_RESULT.size * (results[-1][0] - first + 1))
        for number, result in results:
            facts = result.facts
            _RESULT.pack_into(
                records,
                _RESULT.size * (number - first),
                _SAME if result.same else _NEW,
                bytes.fromhex(result.object),
                facts.mode,
                *divmod(facts.mtime_ns, _SECOND_NS),
                *divmod(facts.ctime_ns, _SECOND_NS),
                facts.inode,
                facts.size_bytes,
            )
        with on_disk(self._root):
            written = os.pwrite(self._results.fileno(), records, _RESULT.size * first)
        # A partial write, on a disk that is just full, would be taken for fewer results.
        if written < len(records):
            raise VaultUnwritable(self._root, errno.ENOSPC)

    def entry_lines(self) -> Iterator[tuple[bytes, DraftResult | None]]:
        """The lines of the snapshot, once all results are in; each encrypted file with its result."""
        results = self._all_results()
        for line in self._all():
            if not line.startswith(_OPEN):
                yield line, None
            elif (result := next(results)) is not None:
                path = line[len(_OPEN) : line.index(b"\t")]
                yield begin_file(path, result.facts) + content_tail(result.object.encode(), None, None, None), result

    def close(self) -> None:
        """Remove both files."""
        for file in self._files:
            # On a full disk `close` tries once more to write its buffer, which is not needed any more.
            with suppress(OSError):
                file.close()

    def _all(self) -> Iterator[bytes]:
        return split_lines(_pieces(self._lines, _PIECE_BYTES), LONGEST_LINE)

    def _all_results(self) -> Iterator[DraftResult | None]:
        """The results by ordinal, then None without end."""
        for piece in _pieces(self._results, _PIECE_BYTES // _RESULT.size * _RESULT.size):
            for status, digest, mode, mtime_s, mtime_ns, ctime_s, ctime_ns, inode, size in _RESULT.iter_unpack(piece):
                if status == _NOTHING:
                    yield None
                else:
                    times_ns = mtime_s * _SECOND_NS + mtime_ns, ctime_s * _SECOND_NS + ctime_ns
                    yield DraftResult(digest.hex(), FileFacts(mode, *times_ns, inode, size), status == _SAME)
        yield from repeat(None)


def _pieces(file: IO[bytes], length: int) -> Iterator[bytes]:
    """The whole content of a file, whatever its position is."""
    offset = 0
    while piece := os.pread(file.fileno(), length, offset):
        offset += len(piece)
        yield piece


def _name(path: str | dict[str, str]) -> bytes:
    """An absolute path from its `path_field`; the field of `/`, which no entry can have, is empty."""
    return b"/" + (path.encode() if isinstance(path, str) else bytes.fromhex(path["hex"]))
