"""Files of a vault that no engine writes: snapshots that only its key makes, and files that were changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from tasks.vault.entries import Content, Entry, FileEntry, FolderEntry, LinkEntry
from tasks.vault.format import Json, encode_line, encode_path, snapshot_folder
from tasks.vault.header import Header, Totals
from tasks.vault.snapshots import SKIPPABLE
from tasks.vault.vault import Vault

_TYPES: dict[type[Entry], str] = {FileEntry: "file", FolderEntry: "folder", LinkEntry: "link"}


def line_of(entry: Entry) -> bytes:
    """The line of an entry with everything that it has, written the long way."""
    path, more = encode_path(entry.path), (entry.more or {}) | _present(mark=entry.mark)
    first = {"path": path, "type": _TYPES[type(entry)]} | _present(mode=getattr(entry, "mode", None))
    by = _present(owner=more.pop("owner", None))
    if isinstance(entry, FolderEntry):
        return encode_line(first | by | {"mtime_ns": entry.mtime_ns} | more)
    if isinstance(entry, LinkEntry):
        return encode_line(first | by | {"mtime_ns": entry.mtime_ns, "target": encode_path(entry.target)} | more)
    facts = entry.facts
    times = {"mtime_ns": facts.mtime_ns, "ctime_ns": facts.ctime_ns, "inode": facts.inode, "size": facts.size_bytes}
    # The size of the last good content does not stand before its object: beside the other there is one pair in a line.
    good = None if entry.good is None else _content_values(entry.good) | {"size": entry.good.size_bytes}
    return encode_line(
        first | {"mode": facts.mode} | by | times | _content_values(entry.content) | more | _present(good=good)
    )


def _content_values(content: Content) -> dict[str, Any]:
    extents = None if content.extents is None else [[*extent] for extent in content.extents]
    return _present(object=content.object, zstd=content.zstd, mac=content.mac, extents=extents)


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def craft(
    vault: Vault,
    lines: Iterable[bytes],
    *,
    sequence: int = 1,
    created: datetime | None = None,
    sources: tuple[bytes, ...] = (b"/x",),
    totals: tuple[int, int, int] | bytes | None = None,
    header: Mapping[str, Json] | bytes = {},
    partial: tuple[str, int] | None = None,
    frame: Callable[[bytes], bytes] = zstandard.compress,
) -> str:
    """Write a snapshot of just these lines with a MAC that fits, as only a holder of the key can; its name.

    `header` replaces keys of the first line, or the line; `totals` are entries, files, bytes, or the last line; `frame`
    makes of the text everything that comes before the MAC. `partial` are the run and the number of a part.
    """
    lines = list(lines)
    created = created or datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=sequence)
    run, part = partial or (f"{sequence:016x}", 0)
    facts = Header(vault.id, run, created, sequence, sources, part)
    first = header if isinstance(header, bytes) else encode_line(facts.values() | dict(header))
    entries, files, size_bytes = totals if isinstance(totals, tuple) else (len(lines), 0, 0)
    last = encode_line(asdict(Totals(entries, files, size_bytes, sum(b'"mark":"' in line for line in lines))))
    path = Path(vault.root, snapshot_folder(facts.name), facts.name)
    path.write_bytes(frame(first + b"".join(lines) + (totals if isinstance(totals, bytes) else last)))
    seal(vault, path)
    return facts.name


def seal(vault: Vault, path: Path) -> None:
    """Put a MAC that fits after what is in a file."""
    begin = path.read_bytes() + SKIPPABLE
    mac = vault.need_key().mac()
    mac.update(begin)
    path.write_bytes(begin + mac.digest())


def reseal(vault: Vault, path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the text of a snapshot, as only a holder of the key can without being found."""
    stored = path.read_bytes()
    path.write_bytes(zstandard.compress(change(zstandard.decompress(stored, max_output_size=1 << 30))))
    seal(vault, path)


def put_in_place(kind: str, path: Path) -> None:
    """Move a file, if it is there, to `kept` beside the vault, and put a link to it, a FIFO or a folder there."""
    kept = next(parent for parent in path.parents if parent.name == "vault").with_name("kept")
    if path.exists():
        path.rename(kept)
    if kind == "link":
        path.symlink_to(kept)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Change one bit of a file; a negative offset counts from its end."""
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1 << bit]))
