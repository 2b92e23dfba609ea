"""The check of files against the record: by their digests, or by the content MAC where a vault keeps them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Literal

from db.history import History
from db.rows import PayloadRow
from flows.errors import RequestRefused
from flows.jobs.identity import open_known
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Cipher, Limits
from tasks.crypto.errors import CryptoError, SourceChanged, SourceSkipped, SourceUnreadable
from tasks.crypto.inputs import Payload, open_payload
from tasks.crypto.native import NativeBackend
from tasks.crypto.scan import scan
from tasks.crypto.secret import KeyFile, Secret
from tasks.crypto.sources import OpenFile, Sources
from tasks.files import closed_after
from tasks.suites import SUITES
from tasks.vault.content import is_still
from tasks.vault.entries import Content
from tasks.vault.errors import VaultError, WrongKey
from tasks.vault.lookup import contents_of
from tasks.vault.vault import SUITE, Vault

CheckVerdict = Literal["same", "differs", "not recorded", "unreadable", "unstable", "skipped", "failed"]

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


def check(
    paths: Sequence[str], key: KeyFile, history: History, *, jobs: int, limits: Limits, cancel: CancelToken
) -> Iterator[Checked]:
    """Compare every file at or below the paths with its newest record: in order, `jobs` at once.

    The native backend re-encrypts: it gives the same bytes as openssl, and needs no child processes. Of a file that a
    vault keeps, which may be compressed, the entry of a snapshot tells whether the content is the same.
    """
    cipher = Cipher(SUITE, NativeBackend(), key.secret(), limits, cancel)
    waiting: deque[Future[Checked]] = deque()
    payloads = scan(paths)
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        try:
            while some := list(islice(payloads, _AT_ONCE)):
                rows = [history.last_digest(payload.name) for payload in some]
                kept = _kept(zip((payload.name for payload in some), rows, strict=True), cipher.secret, history)
                for payload, row in zip(some, rows, strict=True):
                    waiting.append(pool.submit(_check, payload, row, kept.get(payload.name), cipher))
                    while len(waiting) > 4 * jobs:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            cancel.cancel()
            pool.shutdown(cancel_futures=True)
            raise


def _kept(rows: Iterable[tuple[bytes, PayloadRow | None]], secret: Secret, history: History) -> dict[bytes, _Kept]:
    """By the names of files, what the vaults say about the objects of their rows."""
    digests: dict[tuple[str, str], dict[bytes, bytes]] = defaultdict(dict)
    for name, row in rows:
        if row is not None and row.vault_id and row.kept_in and row.digest:
            digests[row.vault_id, row.kept_in][name] = row.digest
    found: dict[bytes, _Kept] = {}
    for (vault_id, path), wanted in digests.items():
        try:
            vault = open_known(path, secret, history)
            if vault.instance != vault_id:
                raise VaultError(path, "another vault is there now")  # noqa: TRY301 - as if it were missing
            contents = contents_of(vault, wanted)
        except VaultError as error:
            found |= dict.fromkeys(wanted, error)
        else:
            found |= {name: (vault, content) for name, content in contents.items()}
    return found


def _check(payload: Payload, row: PayloadRow | None, told: _Kept | None, cipher: Cipher) -> Checked:
    """The verdict on a file, by its newest row."""
    name = payload.name.decode(errors="backslashreplace")
    if payload.skip is not None:
        return Checked(name, "skipped", error=payload.skip)
    if row is None:
        return Checked(name, "not recorded")
    same = Checked(name, "same", row.run_id, row.started_at, row.suite, row.digest.hex() if row.digest else None)
    try:
        if isinstance(told, tuple):
            vault, content = told
            with Sources() as sources, closed_after(sources.open(payload)) as descriptor:
                is_same = is_still(vault, content, row.salt or b"", OpenFile.of(descriptor), cipher)
            digest = same.recorded_digest if is_same else None
        elif row.suite not in SUITES:
            raise RequestRefused(f"unknown suite {row.suite!r}; there are: {', '.join(SUITES)}")
        else:
            cipher = replace(cipher, suite=SUITES[row.suite])
            with Sources() as sources, open_payload(payload, sources.open) as source:
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
