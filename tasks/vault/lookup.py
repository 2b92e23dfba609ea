"""The snapshots of a vault, the one that a user means, and a vault whose `vault.json` is gone, by its snapshots."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from tasks.crypto.secret import KeySource, Secret
from tasks.files import closed_after, open_folder, open_regular
from tasks.vault.entries import Content, FileEntry, decode_entry
from tasks.vault.errors import NoSuchSnapshot, NoVault, OtherFormat, VaultChanged, VaultError, Verdict, WrongKey, judged
from tasks.vault.format import (
    PARTIAL_NAME,
    PARTIALS,
    SNAPSHOT_NAME,
    SNAPSHOTS,
    BadLine,
    VaultKey,
    snapshot_folder,
    split_lines,
    unpack_frame,
)
from tasks.vault.header import Header, decode_header
from tasks.vault.locks import is_running
from tasks.vault.snapshots import LARGEST_BYTES, LONGEST_HEADER, Authentic, OpenSnapshot, Snapshot, open_snapshot
from tasks.vault.vault import Place, Vault, open_vault

# The users' word for the newest snapshot.
LATEST = "latest"
_PEEK_BYTES = 64 << 10
_CLOCKS_DIFFER = timedelta(minutes=5)
UNKNOWN = Header("0" * 32, "0" * 16, datetime(1970, 1, 1, tzinfo=UTC), 0, ())


def snapshot_names(root: str) -> list[str]:
    """The names in `snapshots/` that are names of snapshots, oldest first; raises VaultError."""
    return sorted(_names(root, SNAPSHOTS, SNAPSHOT_NAME))


def partial_names(root: str) -> list[str]:
    """The names in `partials/` that are names of partial snapshots, the parts of a run in order; raises VaultError."""
    # Parts above 9,999 have more digits.
    return sorted(_names(root, PARTIALS, PARTIAL_NAME), key=lambda name: (name[:16], len(name), name))


def _names(root: str, folder: str, form: re.Pattern[str]) -> list[str]:
    try:
        with closed_after(open_folder(root, folder)) as descriptor:
            return [name for name in os.listdir(descriptor) if form.fullmatch(name)]
    except FileNotFoundError:
        if folder == PARTIALS:
            # A program that copied the vault may have left it out: it is empty as a rule.
            return []
        raise VaultError(root, f"its folder {folder} is missing") from None
    except OSError as error:
        raise VaultError(root, f"its folder {folder} cannot be read: {error.strerror}") from None


def read_snapshot(vault: Vault, name: str) -> Snapshot:
    """Check a snapshot, and give its header and totals. Raises as `open_snapshot`."""
    with open_snapshot(vault, name) as opened:
        return opened.snapshot


def find_snapshot(vault: Vault, wanted: str) -> str:
    """The name of the snapshot that a user means: `latest`, a name, its id, or the beginning of either.

    NoSuchSnapshot if there is none, or if there are several.
    """
    if wanted == LATEST:
        headers = _newest_first(vault.root)
        if not headers:
            raise NoSuchSnapshot(vault.root, "has no snapshot yet")
        newest = next(iter(headers))
        # Opening a damaged snapshot that may be the latest says what is wrong with it.
        return next(iter(_damaged_since(vault, headers, newest, (newest,))), newest)
    names = snapshot_names(vault.root)
    # A partial one is found by its name alone: a part is no state of the sources.
    found = [name for name in names if name.startswith(wanted) or name.partition("-")[2].startswith(wanted)]
    found += [name for name in partial_names(vault.root) if name.startswith(wanted)]
    if wanted in found:
        return wanted
    if not wanted or len(found) != 1:
        which = "several snapshots begin" if found else "no snapshot begins"
        raise NoSuchSnapshot(vault.root, f"{which} with {wanted!r}; see: threadmill snapshots")
    return found[0]


def snapshots_for(vault: Vault, wanted: str, paths: Collection[bytes]) -> Iterator[str]:
    """The name of the snapshot that a user means; for paths of `latest` then those of older ones that may have them.

    The paths are relative, as a snapshot has them. Raises as `find_snapshot`.
    """
    first = find_snapshot(vault, wanted)
    yield first
    if wanted == LATEST and paths:
        for name, header in _newest_first(vault.root).items():
            if name != first and all(_may_have(header.sources, path) for path in paths):
                yield name


def others_newest(vault: Vault, name: str, paths: Collection[bytes]) -> dict[str, tuple[bytes, ...]]:
    """For each other set of sources than a snapshot's that may have one of the paths, or any: its newest snapshot.

    Only headers are read, unchecked.
    """
    sources = {peek(vault.root, name).sources, UNKNOWN.sources}
    found = {}
    for other, header in _newest_first(vault.root).items():
        if header.sources not in sources and (not paths or any(_may_have(header.sources, path) for path in paths)):
            sources.add(header.sources)
            found[other] = header.sources
    return found


def _may_have(sources: tuple[bytes, ...], path: bytes) -> bool:
    """Whether one of the sources is at, above or below a path; one that was typed as it is shown may be anywhere."""
    absolute = b"/" + path + b"/"
    return b"\\" in path or any(
        absolute.startswith(source.rstrip(b"/") + b"/") or source.startswith(absolute) for source in sources
    )


def newest_snapshot(vault: Vault) -> Authentic | None:
    """The good snapshot with the highest number."""
    for name in _newest_first(vault.root):
        with suppress(VaultError), open_snapshot(vault, name) as opened:
            return opened.authentic
    return None


def contents_of(vault: Vault, digests: Mapping[bytes, bytes]) -> dict[bytes, Content]:
    """The contents of files whose objects have these digests, both by path, from the newest authentic snapshots.

    Two files may have one object and yet differ: by their holes. Raises VaultError.
    """
    left = dict(digests)
    names = {digest.hex().encode() for digest in digests.values()}
    found: dict[bytes, Content] = {}
    for name in (*_newest_first(vault.root), *partial_names(vault.root)):
        if not left:
            break
        with suppress(VaultError, BadLine), open_snapshot(vault, name) as opened:
            for line in opened.lines():
                if line.partition(b'"object":"')[2][:64] in names and isinstance(
                    entry := decode_entry(line), FileEntry
                ):
                    path = b"/" + entry.path
                    if left.get(path) == bytes.fromhex(entry.content.object):
                        found[path] = entry.content
                        del left[path]
    return found


@dataclass(frozen=True, slots=True)
class Before:
    """The snapshots before a run. `newest` is the newest good one, `alike` the newest good one of the same sources.

    `basis` is the newest of them that counts, or else the oldest, which the run is compared with; `counts` tells which.
    `damaged` are those that cannot be believed and may be newer than `alike`.
    """

    newest: Authentic | None = None
    alike: OpenSnapshot | None = None
    basis: OpenSnapshot | None = None
    counts: bool = False
    damaged: tuple[str, ...] = ()


def find_before(vault: Vault, sources: tuple[bytes, ...], accepted: Collection[str], stack: ExitStack) -> Before:
    """The snapshots before a run; those that are `accepted` count. They are open until the stack is closed."""
    headers = _newest_first(vault.root)
    good: dict[str, Authentic] = {}
    alike: OpenSnapshot | None = None
    for name, header in headers.items():
        if not good or header.sources == sources:
            with suppress(VaultError):
                opened = stack.enter_context(open_snapshot(vault, name))
                good[name] = opened.authentic
                if opened.header.sources == sources:
                    alike = opened
                    break
    newest = next(iter(good.values()), None)
    if alike is None:
        # A damaged snapshot as new as the newest of other sources may have been one of these.
        return Before(newest, damaged=_damaged_since(vault, headers, next(iter(headers), ""), good))
    damaged = _damaged_since(vault, headers, alike.header.name, good)
    basis, counts = alike.header.name, alike.header.name in accepted or alike.totals.counts
    for name in (name for name, header in headers.items() if header.sources == sources and name not in good):
        if counts:
            break
        with suppress(VaultError), open_snapshot(vault, name) as opened:
            counts, basis = name in accepted or opened.totals.counts, name
    if basis == alike.header.name:
        return Before(newest, alike, alike, counts, damaged)
    return Before(newest, alike, stack.enter_context(open_snapshot(vault, basis)), counts, damaged)


def _newest_first(root: str) -> dict[str, Header]:
    """The headers of all snapshots, unchecked, by name; those with the highest numbers first."""
    headers = [(name, peek(root, name)) for name in snapshot_names(root)]
    return dict(sorted(headers, key=lambda one: (one[1].sequence, one[0]), reverse=True))


def _damaged_since(vault: Vault, names: Iterable[str], since: str, known: Collection[str]) -> tuple[str, ...]:
    """Damaged snapshots as young as a given one, or younger, by the seconds in their names, newest first.

    Their numbers and sources cannot be trusted: each may come after the given one, and be of the same sources.
    """
    second, found = since.partition("-")[0], []
    if second > f"{datetime.now(UTC) + _CLOCKS_DIFFER:%Y%m%dT%H%M%SZ}":
        # A clock was ahead: what is younger cannot be told.
        second = ""
    for name in sorted(names, reverse=True):
        if name not in known and name.partition("-")[0] >= second:
            try:
                with open_snapshot(vault, name):
                    pass
            except VaultError:
                found.append(name)
    return tuple(found)


def abandoned_parts(vault: Vault, sources: tuple[bytes, ...]) -> list[str]:
    """The partial snapshots of the sources whose runs are not alive, the oldest first."""
    headers = (peek(vault.root, name) for name in partial_names(vault.root))
    alike = [header for header in headers if header.sources == sources]
    alive = {header.id for header in alike if is_running(vault.root, header.id)}
    return [one.name for one in sorted(alike, key=lambda one: (one.sequence, one.created)) if one.id not in alive]


def peek(root: str, name: str) -> Header:
    """The first line of a snapshot, unchecked, to choose which snapshot to open.

    UNKNOWN, with sequence 0, if it cannot be read or is the line of another snapshot.
    """
    try:
        with (
            closed_after(open_folder(root, snapshot_folder(name))) as folder,
            closed_after(open_regular(name, folder)[0]) as file,
        ):
            text = unpack_frame(iter(partial(os.read, file, _PEEK_BYTES), b""), LARGEST_BYTES)
            header = decode_header(next(split_lines(text, LONGEST_HEADER), b""))
    except (OSError, BadLine):
        return UNKNOWN
    return header if header.name == name else UNKNOWN


def open_or_recover(path: str, secret: Secret | None) -> tuple[Vault, Verdict | None]:
    """The vault, and the fault of its `vault.json` if a snapshot had to stand in for it.

    Raises as `open_vault` if no snapshot is authentic under the secret.
    """
    try:
        return open_vault(path, secret), None
    except VaultError as error:
        if secret is None or (vault := _recovered(path, secret)) is None:
            raise
        return vault, _fault(vault, error)


def open_place(place: Place, key: KeySource | None) -> Vault:
    """Open the vault that a run was planned for, in any process.

    Raises KeyFileError; or VaultError, also if another folder or another vault is at the path by now.
    """
    if place.folder.was_replaced():
        raise VaultError(place.path, "another folder is there than when this run was planned; start it again")
    vault, _ = open_or_recover(place.path, None if key is None else key.secret())
    if vault.id != place.vault_id:
        raise VaultError(place.path, "another vault is there than when this run was planned; start it again")
    return vault


def _fault(vault: Vault, error: VaultError) -> Verdict:
    if isinstance(error, NoVault):
        return judged("vault", vault.id, "missing", "vault.json is missing: restore it from a copy")
    if not isinstance(error, VaultChanged | WrongKey | OtherFormat):
        return judged("vault", vault.id, "unreadable", error.reason)
    newer = "; unless another threadmill made it: then use that" if isinstance(error, OtherFormat) else ""
    return judged("vault", vault.id, "changed", f"vault.json was changed: restore it from a copy{newer}")


def _recovered(path: str, secret: Secret) -> Vault | None:
    """The vault by the newest snapshot that is authentic under the secret; None if there is none.

    Under a wrong key file nothing is authentic, which tells it from a `vault.json` that was changed.
    """
    root = os.path.realpath(path)
    with suppress(VaultError):
        for name in (*reversed(snapshot_names(root)), *partial_names(root)):
            vault_id = peek(root, name).vault_id
            # Nothing is added without `vault.json`. If something were, random salts would be the careful choice.
            vault = Vault(root, vault_id, vault_id, VaultKey(secret, vault_id), random_salts=True)
            with suppress(VaultError), open_snapshot(vault, name):
                return vault
    return None
