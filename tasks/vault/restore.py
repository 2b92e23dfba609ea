"""Restoring files: none outside the target, none over another, and none under its name before it is proven."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled, CryptoError
from tasks.crypto.holes import Take, has_holes, placed, written
from tasks.files import FolderIdentity, closed_after, open_new, rename_new
from tasks.vault.ahead import Plain, read_ahead
from tasks.vault.entries import Content, Entry, FileEntry, FolderEntry, LinkEntry
from tasks.vault.errors import TargetUnusable, VaultError, Verdict, Verdicts, judged, status_of
from tasks.vault.index import shared_index
from tasks.vault.objects import read_object
from tasks.vault.portions import RestorePortion
from tasks.vault.target import MODES, Target, drop_acl, open_own, resolved
from tasks.vault.vault import Vault

# After one of these, the remaining files would fail as well.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, slots=True)
class PortionRestored(Verdicts):
    """What was not restored, as verdicts, and counts; `same` files were there already, `size_bytes` is of both."""

    restored: int = 0
    same: int = 0
    links: int = 0
    size_bytes: int = 0


def restore_portion(
    vault: Vault, portion: RestorePortion, target: FolderIdentity, overwrite: bool, cancel: CancelToken
) -> PortionRestored:
    """Restore the entries of a portion, after all portions before it, into the folder of `make_target`.

    `overwrite` replaces files and links. An error that ends the portion is in the result, unless nothing was done yet.
    """
    into = Target(target, portion, overwrite=overwrite)
    work = _Restoration(vault, portion.snapshot, into, overwrite=overwrite, cancel=cancel)
    verdicts: list[Verdict] = []
    error: CryptoError | None = None
    try:
        with work.index.kept_open():
            verdicts.extend(work.restore(portion))
    except CryptoError as ended:
        if not (verdicts or work.restored or work.same or work.links):
            raise
        error = ended
    counts = work.restored, work.same, work.links, work.size_bytes
    return PortionRestored(tuple(verdicts), error, *counts)


class _Restoration:
    """Restores entry after entry of a portion."""

    def __init__(self, vault: Vault, snapshot: str, target: Target, *, overwrite: bool, cancel: CancelToken) -> None:
        self._vault = vault
        self.index = shared_index(vault)
        self._target = target
        self._overwrite = overwrite
        self._cancel = cancel
        # Always the same, so that the next restore removes an interrupted one's rest. Each snapshot has another name: a
        # rest in a tree that is encrypted again is a file like any other.
        self._part = b".threadmill-%b.part" % hashlib.sha256(snapshot.encode()).hexdigest()[:16].encode()
        self._plain: Plain = {}
        self.restored = self.same = self.links = self.size_bytes = 0

    def restore(self, portion: RestorePortion) -> Iterator[Verdict]:
        """Go through the portion; folders that it leaves get their modes and times."""
        next_path: bytes | None = None
        try:
            for entries, plain in read_ahead(self._vault, self.index, portion.lines):
                self._plain = plain
                for entry in entries:
                    if self._cancel.cancelled:
                        raise Cancelled
                    if (verdict := self._restore(entry)) is not None:
                        yield verdict
            next_path = portion.next_path
        finally:
            self._target.close(next_path)

    def _restore(self, entry: Entry) -> Verdict | None:
        """Restore an entry; the verdict if that failed."""
        begin, started_ns = time.time_ns(), time.perf_counter_ns()
        folder, _, name = entry.path.rpartition(b"/")
        try:
            parent = self._target.enter(folder)
            if isinstance(entry, FileEntry):
                if entry.path in self._target.followed:
                    with resolved(name, parent) as place:
                        self._file(entry, *place)
                else:
                    self._file(entry, parent, name)
            elif isinstance(entry, FolderEntry):
                self._target.make(entry, parent, name)
            else:
                self._link(entry, parent, name)
        except VaultError as error:
            assert isinstance(entry, FileEntry)  # noqa: S101 - nothing else has an object
            about = entry.facts.size_bytes, b"/" + entry.path, error.reason
            verdict = Verdict("object", entry.content.object, status_of(error), *about)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise TargetUnusable(self._target.path, f"cannot be written: {error.strerror}") from None
            shown = entry.path.decode(errors="backslashreplace")
            verdict = judged("file", shown, "not-written", _reason(error), b"/" + entry.path)
        else:
            return None
        return replace(verdict, checked_at_ns=begin, wall_ns=time.perf_counter_ns() - started_ns)

    def _link(self, entry: LinkEntry, parent: int, name: bytes) -> None:
        with suppress(OSError):
            if os.readlink(name, dir_fd=parent) == entry.target:
                self.same += 1
                return
        self._put(name, parent, lambda part: self._make_link(entry, part, parent))
        self.links += 1

    @staticmethod
    def _make_link(entry: LinkEntry, part: bytes, parent: int) -> None:
        os.symlink(entry.target, part, dir_fd=parent)
        # Some file systems have no times for links.
        with suppress(OSError):
            os.utime(part, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _file(self, entry: FileEntry, parent: int, name: bytes) -> None:
        # In a folder that was just made there is nothing.
        if not self._target.at.is_new and self._is_there(entry, parent, name):
            self.same += 1
            self.size_bytes += entry.facts.size_bytes
            return
        self._put(name, parent, lambda part: self._write(entry, part, parent))
        self.restored += 1
        self.size_bytes += entry.facts.size_bytes

    def _write(self, entry: FileEntry, part: bytes, parent: int) -> None:
        content, size_bytes = entry.content, entry.facts.size_bytes
        descriptor = open_new(part, parent)
        try:
            self._decrypt(content, written(descriptor, content.extents, size_bytes))
            if content.extents is not None:
                os.ftruncate(descriptor, size_bytes)
            if self._target.at.inherited:
                drop_acl(descriptor)
            _settle(entry, descriptor)
        finally:
            os.close(descriptor)

    def _is_there(self, entry: FileEntry, parent: int, name: bytes) -> bool:
        """Whether the target has the very file already: an interrupted restore is taken up by doing it again."""
        flags, mode = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, None
        try:
            try:
                descriptor = os.open(name, flags, dir_fd=parent)
            except PermissionError:
                descriptor, mode = open_own(name, parent, flags)
        except OSError:
            return False
        with closed_after(descriptor):
            same = self._is_same(entry, descriptor)
            if mode is not None:
                os.fchmod(descriptor, mode)
            return same and (not self._overwrite or _settle_own(entry, descriptor))

    def _is_same(self, entry: FileEntry, descriptor: int) -> bool:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.facts.size_bytes:
            return False
        where = entry.content.extents, entry.facts.size_bytes
        same = has_holes(descriptor, *where)

        def compare(piece: memoryview, at: int) -> None:
            nonlocal same
            same = same and os.pread(descriptor, len(piece), at) == piece

        self._decrypt(entry.content, placed(*where, compare))
        return same

    def _decrypt(self, content: Content, take: Take) -> None:
        """Hand over the plaintext; it is good when this returns."""
        pieces = self._plain.get(content)
        if pieces is None:
            read_object(self._vault, self.index, content, take, self._cancel)
            return
        for piece in pieces:
            take(piece)

    def _put(self, name: bytes, parent: int, make: Callable[[bytes], None]) -> None:
        """Have a file or link made under a temporary name, and give it its own; nothing is left after an error."""
        part = self._part
        try:
            try:
                make(part)
            except FileExistsError:
                # An interrupted restore left it.
                os.unlink(part, dir_fd=parent)
                make(part)
            if self._overwrite:
                os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
            else:
                rename_new(part, name, parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)
            raise


def _settle_own(entry: FileEntry, descriptor: int) -> bool:
    """Give a file that is there its mode and time; False if it has another name too, which must stay as it is."""
    status = os.fstat(descriptor)
    if (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (entry.facts.mode & MODES, entry.facts.mtime_ns):
        return True
    if status.st_nlink == 1:
        _settle(entry, descriptor)
    return status.st_nlink == 1


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
