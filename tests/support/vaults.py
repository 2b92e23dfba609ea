"""Vaults for tests: made by the engine, changed behind its back, or with snapshots that only its key makes."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Encryption, Limits
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import Chosen
from tasks.crypto.scan import source_folders
from tasks.crypto.secret import KeyFile, Secret
from tasks.suites import Compression
from tasks.vault import add as engine
from tasks.vault.batch import AddedBatch, add_batch
from tasks.vault.entries import Content, Entry, FileEntry
from tasks.vault.errors import Verdict
from tasks.vault.format import OBJECTS, PACKS, snapshot_folder
from tasks.vault.index import ObjectIndex
from tasks.vault.locks import alone, pruning, reading, writing
from tasks.vault.lookup import find_snapshot
from tasks.vault.named import NamedObjects
from tasks.vault.objects import read_object
from tasks.vault.packs import stored
from tasks.vault.policy import Policy
from tasks.vault.portions import RestorePlan, Wanted
from tasks.vault.prune import Copied, Names, Removal, copy_living, going, plan_removal, tidy
from tasks.vault.prune import remove as remove_all
from tasks.vault.restore import PortionRestored, restore_portion
from tasks.vault.snapshots import open_snapshot
from tasks.vault.target import make_target
from tasks.vault.vault import Vault, init_vault
from tasks.vault.verify import KnownSnapshot, check_stored, damaged, inspect
from tasks.vault.walk import SourceSelection, sources_of
from tests.support.crypto_fakes import BOUND_S, SECRET, chosen

OTHER = Secret(b"f" * 64)
# What no file of a test has by chance.
MARK = b"plaintext that nobody may see "


def settle() -> None:
    """Wait until what was written has a time that the next run believes."""
    time.sleep(0.07)


@dataclass(frozen=True)
class Adding:
    """What one run came to."""

    name: str
    found: engine.AdditionPlan
    added: engine.Added
    results: tuple[Encryption, ...]
    packs: tuple[str, ...]
    proven: tuple[str, ...]

    def statuses(self) -> dict[str, str]:
        """Of those that were read, by the file's own name."""
        return {os.path.basename(one.payload.name).decode(): one.status for one in self.results}


@dataclass(frozen=True)
class Place:
    """A vault, its key file, and a tree to fill it from."""

    vault: Vault
    key: KeyFile
    tree: Path

    @property
    def root(self) -> Path:
        """The vault's folder."""
        return Path(self.vault.root)

    def put(self, name: str, content: bytes | None = None) -> Path:
        """Write a file of the tree."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MARK + name.encode() if content is None else content)
        return path

    def add(
        self,
        *sources: Path,
        excludes: Sequence[str] = (),
        rehash: bool = False,
        backend: str = "native",
        compression: Compression = "auto",
        interval: engine.PartialInterval | None = None,
    ) -> Adding:
        """Everything that a run does."""
        names = sources_of([os.fspath(source) for source in sources or (self.tree,)])
        selection = SourceSelection(names, tuple(excludes), rehash, compression=compression)
        return add(self.vault, self.key, selection, backend, interval)

    def settled_add(self, *sources: Path) -> Adding:
        """A run so long after the last change of the tree that the next run takes over what it lists."""
        settle()
        return self.add(*sources)

    def faults(self, known: KnownSnapshot | None = None) -> dict[str, str]:
        """Everything that verify finds wrong: statuses by name."""
        return {verdict.name: verdict.status for verdict in verify(self.vault, known) if verdict.is_fault}

    def content_of(self, name: str, path: Path) -> Content:
        """The content of a file in a snapshot."""
        return next(one.content for one in files(self.vault, name) if one.path == bytes(path)[1:])

    def object_of(self, name: str, path: Path) -> bytes:
        """The object of a file in a snapshot, byte for byte."""
        return stored_object(self.vault, self.content_of(name, path))

    def snapshot(self, name: str) -> Path:
        """The file of a snapshot."""
        return Path(self.vault.root, snapshot_folder(name), name)

    def restored(self, target: Path, name: str = "latest") -> Path:
        """The tree as it is brought back below the target, with no fault."""
        assert not [verdict for verdict in restore(self.vault, name, target) if verdict.is_fault]
        return Path(f"{target}{self.tree}")


def make_place(folder: Path, *, random_salts: bool = False) -> Place:
    """A new vault in a folder."""
    key = folder / "key"
    key.write_bytes(SECRET.password + b"\n")
    key.chmod(0o600)
    tree = folder / "tree"
    tree.mkdir()
    return Place(init_vault(str(folder / "vault"), SECRET, random_salts=random_salts), KeyFile(str(key)), tree)


def add(
    vault: Vault,
    key: KeyFile,
    selection: SourceSelection,
    backend: str = "native",
    interval: engine.PartialInterval | None = None,
) -> Adding:
    """Encrypt what is to be encrypted, batch by batch, and write the snapshot."""
    choice, cancel = chosen(backend), CancelToken()
    done: list[AddedBatch] = []
    with engine.adding(vault, selection, cancel) as addition:
        to_do = enumerate(addition.to_do())
        while some := tuple(islice(to_do, 50)):
            done.append(put(addition, some, key, cancel, choice, interval))
        added = addition.add_snapshot(1, cancel)
    results = tuple(one for batch in done for one in batch.encryptions)
    verdicts = [one for batch in done for one in batch.verdicts]
    packs = tuple(one.name for one in verdicts if one.kind == "pack")
    proven = tuple(one.name for one in verdicts if one.status != "stored")
    return Adding(added.snapshot.name, addition.found, added, results, packs, proven)


def put(
    addition: engine.Addition,
    payloads: Iterable[tuple[int, Payload]],
    key: KeyFile,
    cancel: CancelToken | None = None,
    choice: Chosen | None = None,
    interval: engine.PartialInterval | None = None,
) -> AddedBatch:
    """Encrypt a batch into a vault and its draft."""
    selection, cancel = addition.selection, cancel or CancelToken()
    folders = source_folders([os.fsdecode(path) for path in selection.sources])
    batch = Batch(1, "modern", choice or chosen("native"), tuple(payloads), folders)
    done = add_batch(addition.vault, batch, selection, key, Limits(BOUND_S), cancel)
    addition.put(done, interval)
    return done


def objects(vault: Vault) -> dict[str, bytes]:
    """All objects that are stored, in packs and as files, by their names; each byte for byte."""
    found: dict[str, bytes] = {}
    for pack, _ in stored(vault.root, PACKS):
        with tarfile.open(f"{vault.root}/{PACKS}/{pack[:2]}/{pack}") as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    return found | {name: object_path(vault, name).read_bytes() for name, _ in stored(vault.root, OBJECTS)}


def object_path(vault: Vault, name: str) -> Path:
    """The file of a large object."""
    return Path(vault.root, OBJECTS, name[:2], name)


def stored_object(vault: Vault, content: Content) -> bytes:
    """An object, byte for byte."""
    return objects(vault)[content.object]


def pack_of(vault: Vault, name: str) -> tuple[Path, int]:
    """The file with an object, and where in it the object begins."""
    with ObjectIndex(vault) as index:
        for location in index.find(bytes.fromhex(name)):
            return Path(f"{vault.root}/{PACKS}/{location.pack[:2]}/{location.pack}"), location.offset
    return object_path(vault, name), 0


def entries(vault: Vault, name: str = "latest") -> list[Entry]:
    """What a snapshot lists."""
    with open_snapshot(vault, find_snapshot(vault, name)) as opened:
        return list(opened.entries())


def files(vault: Vault, name: str = "latest") -> list[FileEntry]:
    """The files that a snapshot lists."""
    return [entry for entry in entries(vault, name) if isinstance(entry, FileEntry)]


def verify(vault: Vault, known: KnownSnapshot | None = None, on_record: Collection[str] = ()) -> list[Verdict]:
    """All that can be found out about a vault."""
    cancel = CancelToken()
    with reading(vault.root, cancel), NamedObjects(vault) as named:
        found = list(inspect(vault, named, known, cancel))
        named.list_stored(())
        found += check_stored(vault, [(kind, name) for kind, name, _ in named.to_check()], cancel)
        packs = [one.name for one in found if one.is_fault and one.kind == "pack"]
        return [*found, *damaged(vault, named, packs, on_record, cancel)]


def restore(vault: Vault, name: str, target: Path, *paths: bytes, overwrite: bool = False) -> list[Verdict]:
    """Bring a snapshot back, portion after portion; the faults. Raises the error that ended one."""
    return [verdict for done in restored(vault, name, target, *paths, overwrite=overwrite) for verdict in done.verdicts]


def restored(
    vault: Vault, name: str, target: Path, *paths: bytes, overwrite: bool = False
) -> Iterator[PortionRestored]:
    """The portions of a snapshot as they come back; raises the error that ended one."""
    with (
        open_snapshot(vault, find_snapshot(vault, name)) as opened,
        RestorePlan(opened, Wanted.below(paths)) as plan,
    ):
        folder = make_target(str(target))
        for portion in plan.portions():
            done = restore_portion(vault, portion, folder, overwrite, CancelToken())
            yield done
            if done.error is not None:
                raise done.error


@contextmanager
def plan(vault: Vault, policy: Policy, unused: float = 0.1) -> Iterator[tuple[NamedObjects, Removal]]:
    """The plan of a removal; of the whole, the share of dead bytes that may stay."""
    cancel = CancelToken()
    with pruning(vault.root, cancel), NamedObjects(vault, fix=True) as named:
        with writing(vault.root, cancel):
            removal = plan_removal(vault, policy, lambda whole: int(unused * whole), named, cancel)
        yield named, removal


def remove(
    vault: Vault, named: NamedObjects, removal: Removal, moved: Mapping[str, Names] | None = None
) -> list[Verdict]:
    """Remove packs that were moved, or without any what nobody needs."""
    cancel = CancelToken()
    with alone(vault.root, cancel):
        things = going(vault, named, removal, moved)
        verdicts = list(remove_all(vault, things, cancel))
        named.forget(name for kind, name, _ in things if kind == "pack")
        tidy(vault.root)
    return verdicts


def copy(vault: Vault, named: NamedObjects, packs: Sequence[str]) -> Copied:
    """Copy the living objects of packs."""
    cancel = CancelToken()
    with writing(vault.root, cancel):
        return copy_living(vault, [(name, named.living_members(name)) for name in packs], cancel)


def prune(vault: Vault, policy: Policy, unused: float = 0.1) -> list[Verdict]:
    """Remove what the policy does not keep, and what nobody names then."""
    with plan(vault, policy, unused) as (named, removal):
        verdicts = remove(vault, named, removal)
        if rewrites := (*removal.rewrites, *removal.merges):
            copied = copy(vault, named, rewrites)
            verdicts += copied.verdicts
            if copied.full is not None:
                raise copied.full
            if copied.moved:
                verdicts += remove(vault, named, removal, copied.moved)
        return verdicts


def content(vault: Vault, entry: FileEntry) -> bytes:
    """The plaintext of a file: of one with holes, without them."""
    pieces: list[bytes] = []
    with ObjectIndex(vault) as index:
        take = lambda piece: pieces.append(bytes(piece))  # noqa: E731 - one argument
        read_object(vault, index, entry.content, take, CancelToken(), checked=True)
    return b"".join(pieces)


def everything(folder: Path) -> dict[str, object]:
    """All that is below a folder: type, mode, time, and content or where a link points to, by path."""
    found: dict[str, object] = {}
    for name in sorted(os.listdir(folder)):
        path = folder / name
        status = path.lstat()
        facts: tuple[object, ...] = (stat.S_IFMT(status.st_mode), status.st_mtime_ns)
        if path.is_symlink():
            found[name] = (*facts, os.readlink(path))
        elif path.is_dir():
            found[name] = (*facts, stat.S_IMODE(status.st_mode))
            found |= {f"{name}/{below}": fact for below, fact in everything(path).items()}
        else:
            found[name] = (*facts, stat.S_IMODE(status.st_mode), path.read_bytes())
    return found


def leaks(folder: Path) -> list[Path]:
    """Files below a folder that have something of the plaintext."""
    return [path for path in folder.rglob("*") if path.is_file() and MARK in path.read_bytes()]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system with little room."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def more_room(disk: Path, size: str) -> None:
    """Give a small disk another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
