"""Header and totals of a snapshot, or of a partial one, and the order of the entries between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from tasks.vault.entries import Entry, FolderEntry
from tasks.vault.format import BadLine, Json, decode_line, decode_path, encode_path, need_int, need_keys, need_text

FORMAT = "threadmill-snapshot"
PARTIAL_FORMAT = "threadmill-partial"
VERSION = 2
_KEYS = frozenset(("format", "version", "vault", "id", "created", "sequence", "sources"))
_PARTIAL_KEYS = frozenset(("format", "version", "vault", "run", "part", "created", "sequence", "sources"))
_TOTALS = "entries", "files", "size_bytes", "marked", "missed", "gone"
_ID = re.compile(r"[0-9a-f]{16}")
_VAULT = re.compile(r"[0-9a-f]{32}")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: `created` is when the run began, `sequence` counts a vault's snapshots, `sources` are paths.

    A partial snapshot has the id of its run and is one `part` of it, from 1; its number is that of the newest snapshot
    when the run began (0 without one).
    """

    vault_id: str
    id: str
    created: datetime
    sequence: int
    sources: tuple[bytes, ...]
    part: int = 0

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.id}-{self.part:04d}" if self.part else f"{self.created:%Y%m%dT%H%M%SZ}-{self.id}"

    @property
    def created_ns(self) -> int:
        """The time in nanoseconds since the epoch."""
        return int(self.created.timestamp()) * 10**9 + self.created.microsecond * 1000

    def values(self) -> dict[str, Json]:
        """The values of its line."""
        kind = PARTIAL_FORMAT if self.part else FORMAT
        values: dict[str, Json] = {"format": kind, "version": VERSION, "vault": self.vault_id}
        values |= {"run": self.id, "part": self.part} if self.part else {"id": self.id}
        values["created"] = f"{self.created:%Y-%m-%dT%H:%M:%S.%fZ}"
        return values | {"sequence": self.sequence, "sources": [encode_path(source) for source in self.sources]}


@dataclass(frozen=True, slots=True)
class Totals:
    """The last line: the sums over all entries, of which `marked` are marked.

    `missed` are files that could not be read and have no entry, `gone` those that only the snapshot before has. A
    snapshot that does not count is not compared with, and is no reason to remove another.
    """

    entries: int
    files: int
    size_bytes: int
    marked: int = 0
    missed: int = 0
    gone: int = 0
    counts: bool = True


def decode_header(line: bytes) -> Header:
    """The header of a first line; raises BadLine."""
    value = decode_line(line)
    is_partial = value.get("format") == PARTIAL_FORMAT
    if not (is_partial or value.get("format") == FORMAT) or value.get("version") != VERSION:
        raise BadLine("is not a snapshot of a known format")
    need_keys(value, _PARTIAL_KEYS if is_partial else _KEYS)
    need_int(value["version"], "version")
    created, sources = need_text(value["created"], "time", _CREATED), value["sources"]
    if not isinstance(sources, list):
        raise BadLine("has no sources")
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        raise BadLine("has no time") from None
    return Header(
        need_text(value["vault"], "vault", _VAULT),
        need_text(value["run" if is_partial else "id"], "id", _ID),
        time,
        need_int(value["sequence"], "sequence", 0 if is_partial else 1, 2**62),
        tuple(decode_path(source) for source in sources),
        need_int(value["part"], "part", 1, 10**9 - 1) if is_partial else 0,
    )


def decode_totals(line: bytes) -> Totals:
    """The totals of a last line; raises BadLine."""
    value = decode_line(line)
    need_keys(value, frozenset((*_TOTALS, "counts")))
    if not isinstance(counts := value["counts"], bool):
        raise BadLine("has no totals")
    entries, files, size_bytes, marked, missed, gone = (need_int(value[key], "totals", most=2**80) for key in _TOTALS)
    return Totals(entries, files, size_bytes, marked, missed, gone, counts)


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
