"""Restoring files: none outside the target, none over another, and none under its name before it is proven."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import FolderIdentity, open_new, rename_new, sync_file_system, write_all
from tasks.vault.entries import Entry, FileEntry, FolderEntry, LinkEntry
from tasks.vault.errors import TargetUnusable, VaultError, Verdict, Verdicts, collect, judged, status_of
from tasks.vault.objects import Take, decrypt_once
from tasks.vault.portions import RestorePortion, Wanted, read_portion
from tasks.vault.target import MODES, Target, on_target
from tasks.vault.vault import Vault

# After one of these, the remaining files would fail as well.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class PortionRestored(Verdicts):
    """A verdict for each file, and for everything else that was not restored; `same` files were there already."""

    restored: int = 0
    same: int = 0
    links: int = 0


def restore_portion(
    vault: Vault, portion: RestorePortion, wanted: Wanted, target: FolderIdentity, overwrite: bool, cancel: CancelToken
) -> PortionRestored:
    """Restore the wanted entries of a portion, after all portions before it, into the folder of `make_target`.

    `overwrite` replaces files and links. An error that ends the portion is in the result, unless it comes before the
    first verdict.
    """
    work = _Restoration(vault, portion.snapshot, Target(target, portion.inside), overwrite=overwrite, cancel=cancel)
    done = collect(work.restore(portion, wanted))
    return PortionRestored(done.verdicts, done.error, work.restored, work.same, work.links)


class _Restoration:
    """Restores entry after entry of a portion."""

    def __init__(self, vault: Vault, snapshot: str, target: Target, *, overwrite: bool, cancel: CancelToken) -> None:
        self._vault = vault
        self._target = target
        self._overwrite = overwrite
        self._cancel = cancel
        self._name = snapshot.encode()
        self.restored = self.same = self.links = 0

    def restore(self, portion: RestorePortion, wanted: Wanted) -> Iterator[Verdict]:
        """Go through the portion; folders that it leaves, or all if it ends early, get their modes and times."""
        next_path = b""
        try:
            for entry in read_portion(self._vault.root, portion):
                if entry in wanted:
                    if self._cancel.cancelled:
                        raise Cancelled
                    yield from self._restore(entry)
            next_path = portion.next_path
        finally:
            self._target.close(next_path)
        if not next_path:
            with on_target(self._target.path):
                sync_file_system(self._target.path)

    def _restore(self, entry: Entry) -> Iterator[Verdict]:
        begin, started_ns = time.time_ns(), time.perf_counter_ns()
        verdict: Verdict | None = None
        try:
            parent = self._target.enter(entry.path.rpartition(b"/")[0])
            name = entry.path.rpartition(b"/")[2]
            if isinstance(entry, FolderEntry):
                self._target.make(entry, parent, name)
            elif isinstance(entry, LinkEntry):
                self._link(entry, parent, name)
            else:
                self._file(entry, parent, name)
                verdict = Verdict("object", entry.object, "ok", entry.facts.size_bytes, b"/" + entry.path)
        except VaultError as error:
            assert isinstance(entry, FileEntry)  # noqa: S101 - nothing else has an object
            about = entry.facts.size_bytes, b"/" + entry.path, error.reason
            verdict = Verdict("object", entry.object, status_of(error), *about)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise TargetUnusable(self._target.path, f"cannot be written: {error.strerror}") from None
            shown = entry.path.decode(errors="backslashreplace")
            verdict = judged("file", shown, "not-written", _reason(error), b"/" + entry.path)
        if verdict is not None:
            yield replace(verdict, checked_at_ns=begin, wall_ns=time.perf_counter_ns() - started_ns)

    def _link(self, entry: LinkEntry, parent: int, name: bytes) -> None:
        with suppress(OSError):
            if os.readlink(name, dir_fd=parent) == entry.target:
                self.same += 1
                return
        part = self._part_name(name)
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=parent)
        os.symlink(entry.target, part, dir_fd=parent)
        # Some file systems have no times for links.
        with suppress(OSError):
            os.utime(part, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
        self._give_name(part, name, parent)
        self.links += 1

    def _file(self, entry: FileEntry, parent: int, name: bytes) -> None:
        part = self._part_name(name)
        # An interrupted restore left it.
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=parent)
        if self._is_there(entry, parent, name):
            self.same += 1
            return
        descriptor = open_new(part, parent)
        try:
            self._decrypt(entry, lambda piece: write_all(descriptor, piece))
            _settle(entry, descriptor)
            self._give_name(part, name, parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)
            raise
        finally:
            os.close(descriptor)
        self.restored += 1

    def _is_there(self, entry: FileEntry, parent: int, name: bytes) -> bool:
        """Whether the target has the very file already: an interrupted restore is taken up by doing it again."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != entry.facts.size_bytes:
                return False
            same = True

            def compare(piece: memoryview) -> None:
                nonlocal same
                same = same and file.read(len(piece)) == piece

            self._decrypt(entry, compare)
            if same:
                _settle(entry, descriptor)
            return same

    def _decrypt(self, entry: FileEntry, take: Take) -> None:
        decrypt_once(self._vault, entry.object, entry.facts.size_bytes, take, self._cancel)

    def _part_name(self, name: bytes) -> bytes:
        """The temporary name of a file: always the same, so that the next restore removes an interrupted one's rest.

        Each snapshot has other names: a rest in a tree that is encrypted again is a file like any other.
        """
        return b".threadmill-" + hashlib.sha256(self._name + b"/" + name).hexdigest()[:16].encode() + b".part"

    def _give_name(self, part: bytes, name: bytes, parent: int) -> None:
        try:
            if self._overwrite:
                os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
            else:
                rename_new(part, name, parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)


def _settle(entry: FileEntry, descriptor: int) -> None:
    try:
        os.fchmod(descriptor, entry.facts.mode & MODES)
    except PermissionError:
        # If the owner is refused, the file system has no modes.
        if os.geteuid() not in (0, os.fstat(descriptor).st_uid):
            raise
    os.utime(descriptor, ns=(entry.facts.mtime_ns, entry.facts.mtime_ns))


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "something else is there already; --overwrite replaces files and links"
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return "a file or link is in the place of its folder; move it away"
    return error.strerror or str(error)
