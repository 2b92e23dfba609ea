"""The check of files against the record: by their digests, or by the content MAC where a vault keeps them."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Literal

from db.history import History
from db.rows import PayloadRow
from flows.errors import RequestRefused
from flows.jobs.listed import Listed, Missing, names_of, open_recorded
from flows.text import parse_share, shown_path
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Cipher, Limits
from tasks.crypto.errors import CryptoError, SourceChanged, SourceSkipped, SourceUnreadable
from tasks.crypto.inputs import TOO_LARGE, Payload, open_payload
from tasks.crypto.native import NativeBackend
from tasks.crypto.scan import outermost, source_folders, walk
from tasks.crypto.secret import KeyFile, Secret
from tasks.crypto.sources import OpenFile, Sources
from tasks.files import FolderIdentity, closed_after
from tasks.suites import SUITES
from tasks.vault.content import is_still
from tasks.vault.entries import Content
from tasks.vault.errors import VaultError, WrongKey
from tasks.vault.lookup import contents_of
from tasks.vault.vault import SUITE, Vault

CheckVerdict = Literal[
    "same", "differs", "removed", "new", "not recorded", "unreadable", "unstable", "skipped", "failed"
]
# The file is not as it is on record, or that cannot be told.
DIFFERENCES: tuple[CheckVerdict, ...] = ("differs", "removed", "new", "not recorded", "failed")
UNREAD: tuple[CheckVerdict, ...] = ("unreadable", "unstable")

# The snapshots of a vault are read once for so many files.
_AT_ONCE = 10_000
_DIFFERS = "its content, or the key file, is not the recorded one"


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on one file; `recorded_at` and `run_id` name the record that it was compared with."""

    name: str
    verdict: CheckVerdict
    run_id: int | None = None
    recorded_at: datetime | None = None
    suite: str | None = None
    recorded_digest: str | None = None
    digest: str | None = None
    error: str | None = None


# What a vault says about the object of a row: its content, or why it says nothing.
_Kept = tuple[Vault, Content] | VaultError


def listings_of(paths: Sequence[str], history: History) -> list[Listed]:
    """What the record knows of each path; RequestRefused if that is nothing."""
    listings = [Listed(path, history) for path in outermost(paths)]
    for listed in listings:
        if not listed.runs:
            shown = shown_path(listed.path)
            if not os.path.lexists(listed.path):
                raise RequestRefused(f"no such file or folder: {shown}")
            raise RequestRefused(f"{shown} is not on record; encrypt it first: threadmill encrypt PATH")
    return listings


def check(
    listings: Iterable[Listed], key: KeyFile, history: History, *, jobs: int, limits: Limits, cancel: CancelToken
) -> Iterator[Checked]:
    """Compare every file at or below the paths with its newest record, `jobs` at once; then name those that are gone.

    The native backend re-encrypts: it gives the same bytes as openssl, and needs no child processes. Of a file that a
    vault keeps, which may be compressed, the entry of a snapshot tells whether the content is the same.
    """
    cipher = Cipher(SUITE, NativeBackend(), key.secret(), limits, cancel)
    return chain.from_iterable(_check_path(listed, history, cipher, jobs) for listed in listings)


def _check_path(listed: Listed, history: History, cipher: Cipher, jobs: int) -> Iterator[Checked]:
    """The verdicts on all that is, or belongs, at and below a path."""
    unlisted: set[int] = set()
    with closing(Missing()) as missing:
        for run in listed.runs:
            try:
                missing.add(names_of(run, listed, history, cipher.secret), run.run_id)
            except VaultError as error:
                unlisted.add(run.run_id)
                text = f"vault {run.vault_path} is needed to tell which files are gone: {error.reason}"
                yield Checked(", ".join(run.sources), "failed", run.run_id, run.started_at, error=text)
        if not os.path.lexists(listed.path) and not unlisted and missing.is_empty:
            run_id = listed.runs[0].run_id
            raise RequestRefused(
                f"no such file or folder: {shown_path(listed.path)}; run {run_id} did not find it either"
            )
        yield from _check_files(listed, missing, unlisted, history, cipher, jobs)
        times = {run.run_id: run.started_at for run in listed.runs}
        for name, run_id in missing.left():
            yield Checked(shown_path(name), "removed", run_id, times[run_id])


def _check_files(
    listed: Listed, missing: Missing, unlisted: Collection[int], history: History, cipher: Cipher, jobs: int
) -> Iterator[Checked]:
    """The verdicts on all that is there."""
    waiting: deque[Future[Checked]] = deque()
    folders = source_folders([os.fsdecode(path) for path in listed.roots])
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        try:
            for some in _portions(listed):
                rows = [history.last_digest(payload.name) for payload in some]
                kept = _kept(zip((payload.name for payload in some), rows, strict=True), cipher.secret, history)
                for payload, row in zip(some, rows, strict=True):
                    if (told := _told_by_list(payload, row, listed, missing, unlisted)) is not None:
                        yield told
                    elif row is not None:
                        waiting.append(pool.submit(_check, payload, folders, row, kept.get(payload.name), cipher))
                    while len(waiting) > 4 * jobs:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            cipher.cancel.cancel()
            pool.shutdown(cancel_futures=True)
            raise


def _portions(listed: Listed) -> Iterator[list[Payload]]:
    """The files that are at and below a path, without those that the runs left out."""
    found = walk([path for path in listed.roots if os.path.lexists(path)], listed.leaves_out)
    payloads = (one.payload() for one in found if not one.is_folder or one.skip is not None)
    while some := list(islice(payloads, _AT_ONCE)):
        yield some


def _told_by_list(
    payload: Payload, row: PayloadRow | None, listed: Listed, missing: Missing, unlisted: Collection[int]
) -> Checked | None:
    """The verdict on a file by the lists of the runs; None if its content is to be compared with a row."""
    told = Checked(shown_path(payload.name), "new")
    if (run := listed.run_of(payload.name)) is not None:
        told = replace(told, run_id=run.run_id, recorded_at=run.started_at)
    belongs = missing.found(payload.name)
    if not belongs and run is not None and run.max_size and (payload.size_bytes or 0) > parse_share(run.max_size, 0):
        return replace(told, verdict="skipped", error=TOO_LARGE)
    if payload.skip is not None:
        return replace(told, verdict="removed" if belongs else "skipped", error=payload.skip)
    if payload.errno is not None:
        # It may be a folder that cannot be listed: nobody knows what is below it.
        missing.pass_over(payload.name)
        return replace(told, verdict="unreadable", error=f"cannot be read: {os.strerror(payload.errno)}")
    if belongs and row is None:
        return replace(told, verdict="not recorded", error="no run on record has encrypted it")
    known = belongs or (row is not None and run is not None and run.run_id in unlisted)
    return None if known else told


def _kept(rows: Iterable[tuple[bytes, PayloadRow | None]], secret: Secret, history: History) -> dict[bytes, _Kept]:
    """By the names of files, what the vaults say about the objects of their rows."""
    digests: dict[tuple[str, str], dict[bytes, bytes]] = defaultdict(dict)
    for name, row in rows:
        if row is not None and row.vault_id and row.kept_in and row.digest:
            digests[row.vault_id, row.kept_in][name] = row.digest
    found: dict[bytes, _Kept] = {}
    for (vault_id, path), wanted in digests.items():
        try:
            vault = open_recorded(path, vault_id, secret, history)
            contents = contents_of(vault, wanted)
        except VaultError as error:
            found |= dict.fromkeys(wanted, error)
        else:
            found |= {name: (vault, content) for name, content in contents.items()}
    return found


def _check(
    payload: Payload, folders: Sequence[FolderIdentity], row: PayloadRow, told: _Kept | None, cipher: Cipher
) -> Checked:
    """The verdict on the content of a file, by its newest row."""
    digest = row.digest.hex() if row.digest else None
    same = Checked(shown_path(payload.name), "same", row.run_id, row.started_at, row.suite, digest)
    try:
        if isinstance(told, tuple):
            vault, content = told
            with Sources(folders) as sources, closed_after(sources.open(payload)) as descriptor:
                is_same = is_still(vault, content, row.salt or b"", OpenFile.of(descriptor), cipher)
            digest = same.recorded_digest if is_same else None
        elif row.suite not in SUITES:
            raise RequestRefused(f"unknown suite {row.suite!r}; there are: {', '.join(SUITES)}")
        else:
            cipher = replace(cipher, suite=SUITES[row.suite])
            with Sources(folders) as sources, open_payload(payload, sources.open) as source:
                digest = cipher.encrypt(source, row.salt or b"").digest.hex()
    except CryptoError as error:
        return replace(same, verdict=_FAULTS.get(type(error), "failed"), error=str(error))
    if digest == same.recorded_digest:
        return replace(same, digest=digest)
    if _may_be_compressed(row) and not isinstance(told, tuple | WrongKey):
        reason = "no snapshot names its object" if told is None else told.reason
        return replace(same, verdict="failed", error=f"vault {row.kept_in} is needed to tell: {reason}")
    return replace(same, verdict="differs", digest=digest, error=_DIFFERS)


def _may_be_compressed(row: PayloadRow) -> bool:
    plain = SUITE.ciphertext_bytes(row.size_bytes or 0)
    return row.vault_id is not None and row.ciphertext_bytes != plain


_FAULTS: dict[type[CryptoError], CheckVerdict] = {
    SourceUnreadable: "unreadable",
    SourceChanged: "unstable",
    SourceSkipped: "skipped",
}
