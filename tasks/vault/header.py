"""Header and totals of a snapshot, or of a partial one, and the order of the entries between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.vault.entries import Entry, FolderEntry
from tasks.vault.format import BadLine, Json, decode_line, decode_path, encode_path, need_int, need_keys, need_text

FORMAT = "threadmill-snapshot"
PARTIAL_FORMAT = "threadmill-partial"
VERSION = 2
_KEYS = frozenset(("format", "version", "vault", "id", "created", "sequence", "sources"))
_PARTIAL_KEYS = frozenset(("format", "version", "vault", "run", "part", "created", "sources"))
_FOOTER_KEYS = frozenset(("entries", "files", "size_bytes"))
_ID = re.compile(r"[0-9a-f]{16}")
_VAULT = re.compile(r"[0-9a-f]{32}")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


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
        created: dict[str, Json] = {"created": f"{self.created:%Y-%m-%dT%H:%M:%S.%fZ}"}
        sources: dict[str, Json] = {"sources": [encode_path(source) for source in self.sources]}
        if self.partial is None:
            begin: dict[str, Json] = {"format": FORMAT, "version": VERSION, "vault": self.vault_id, "id": self.id}
            return begin | created | {"sequence": self.sequence} | sources
        begin = {"format": PARTIAL_FORMAT, "version": VERSION, "vault": self.vault_id}
        return begin | {"run": self.partial.run, "part": self.partial.part} | created | sources


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
