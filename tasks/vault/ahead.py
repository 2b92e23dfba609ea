"""Reading ahead: the plaintexts of the next small files, in a thread of its own, while the files before are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tasks.vault.entries import Content, Entry, FileEntry, decode_entry
from tasks.vault.errors import VaultError
from tasks.vault.format import PACKED_BYTES
from tasks.vault.index import Location, ObjectIndex
from tasks.vault.objects import decrypt_whole, fits
from tasks.vault.vault import Vault

# So many files are read from their packs at once, in the order in which they lie there: a vault that one run has
# written is read from front to back, whatever the order of paths. Neighbours are one read.
_READ_AT_ONCE = 256
_HELD_BYTES = 8 << 20
_GAP_BYTES = 64 << 10
_LONGEST_READ = 1 << 20

# Plaintexts in pieces. An object may be the content of one file, and a compressed form of another one's.
Plain = Mapping[Content, Sequence[memoryview]]


def read_ahead(vault: Vault, index: ObjectIndex, lines: bytes) -> Iterator[tuple[list[Entry], Plain]]:
    """The entries of some lines in their order, some at a time, with those plaintexts that are small and good.

    Hashing, opening and writing release the interpreter's lock: 10,000 files of 4 KiB take a third less.
    """
    batches = (
        (entries, _plain(vault, index, packed)) for entries, packed in _batches(map(decode_entry, lines.splitlines()))
    )
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        following = pool.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield batch


def _batches(entries: Iterable[Entry]) -> Iterator[tuple[list[Entry], dict[str, Content]]]:
    """Entries in their order, as many at a time as are read from packs at once, and the objects to read for them."""
    held: list[Entry] = []
    packed: dict[str, Content] = {}
    held_bytes = 0
    for entry in entries:
        held.append(entry)
        if isinstance(entry, FileEntry):
            content = entry.content
            if (length := max(content.stored_bytes, content.plain_bytes)) <= PACKED_BYTES:
                packed[content.object] = content
                held_bytes += length
        if len(held) >= _READ_AT_ONCE or held_bytes >= _HELD_BYTES:
            yield held, packed
            held, packed, held_bytes = [], {}, 0
    yield held, packed


def _plain(vault: Vault, index: ObjectIndex, packed: Mapping[str, Content]) -> Plain:
    """The plaintexts of those objects whose first copy is good; the others are read again, and say what is wrong."""
    found: dict[Content, list[memoryview]] = {}
    for name, stored in _stored(index, packed):
        content, pieces = packed[name], list[memoryview]()
        if fits(content, stored):
            with suppress(VaultError):
                decrypt_whole(vault, content, stored, pieces.append)
                found[content] = pieces
    return found


def _stored(index: ObjectIndex, objects: Iterable[str]) -> Iterator[tuple[str, memoryview]]:
    """The bytes of one copy of each object, as far as they can be read; nothing about them is checked."""
    runs: list[list[tuple[Location, str]]] = []
    for place, digest in index.first_copies([*map(bytes.fromhex, objects)]):
        if not runs or not _follows(place, runs[-1][0][0], runs[-1][-1][0]):
            runs.append([])
        runs[-1].append((place, digest.hex()))
    for run in runs:
        first, last = run[0][0], run[-1][0]
        with suppress(VaultError):
            read = memoryview(index.read(Location(first.pack, first.offset, last.offset + last.length - first.offset)))
            for place, name in run:
                yield name, read[place.offset - first.offset :][: place.length]


def _follows(place: Location, first: Location, last: Location) -> bool:
    """Whether one read from the first of a run on is better than another read."""
    return (
        place.pack == first.pack
        and place.offset <= last.offset + last.length + _GAP_BYTES
        and place.offset + place.length - first.offset <= _LONGEST_READ
    )
