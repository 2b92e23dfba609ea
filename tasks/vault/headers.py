"""The first line of a snapshot, and the last but one: what it is of, and what its entries come to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.vault.lines import (
    BadLine,
    Json,
    decode_line,
    decode_path,
    encode_path,
    need_int,
    need_keys,
    need_text,
)

FORMAT = "threadmill-snapshot"
VERSION = 1

_KEYS = frozenset(("format", "version", "vault", "id", "created", "sequence", "sources"))
_FOOTER_KEYS = frozenset(("entries", "files", "size_bytes"))
_ID = re.compile(r"[0-9a-f]{16}")
_VAULT = re.compile(r"[0-9a-f]{32}")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: `created` is when the run began, `sequence` counts a vault's snapshots, `sources` are paths."""

    vault_id: str
    id: str
    created: datetime
    sequence: int
    sources: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """What the file is called."""
        return f"{self.created:%Y%m%dT%H%M%SZ}-{self.id}"

    @property
    def created_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return int(self.created.timestamp()) * 10**9 + self.created.microsecond * 1000

    def values(self) -> dict[str, Json]:
        """As it stands in the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "vault": self.vault_id,
            "id": self.id,
            "created": f"{self.created:%Y-%m-%dT%H:%M:%S.%fZ}",
            "sequence": self.sequence,
            "sources": [encode_path(source) for source in self.sources],
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """The line before the last: what all entries come to."""

    entries: int
    files: int
    size_bytes: int

    def values(self) -> dict[str, Json]:
        """As it stands in the file."""
        return {"entries": self.entries, "files": self.files, "size_bytes": self.size_bytes}


def decode_header(line: bytes) -> Header:
    """The header of a first line.

    Raises:
        BadLine: it is none.
    """
    value = decode_line(line)
    if value.get("format") != FORMAT or value.get("version") != VERSION:
        raise BadLine("is not a snapshot of a known format")
    need_keys(value, _KEYS)
    need_int(value["version"], "version")
    created = need_text(value["created"], "time", _CREATED)
    sources = value["sources"]
    if not isinstance(sources, list):
        raise BadLine("has no sources")
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        raise BadLine("has no time") from None
    return Header(
        need_text(value["vault"], "vault", _VAULT),
        need_text(value["id"], "id", _ID),
        time,
        need_int(value["sequence"], "sequence", 1, 2**62),
        tuple(decode_path(source) for source in sources),
    )


def decode_totals(value: Mapping[str, Json]) -> Totals:
    """The totals of a line that was decoded; raises BadLine."""
    need_keys(value, _FOOTER_KEYS)
    return Totals(*(need_int(value[key], "totals", most=2**80) for key in ("entries", "files", "size_bytes")))
