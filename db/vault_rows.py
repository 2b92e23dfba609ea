"""What the record gives back about vaults."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VaultRow:
    """A vault and its high-water mark: the newest snapshot that any run put in, None if no run here did.

    `vault_id` is 32 hex digits, `path` where it was last seen, `last_mac` hex. The mark survives removed runs; a vault
    whose newest snapshot has a lower sequence number was rolled back.
    """

    vault_id: str
    path: str
    last_sequence: int | None
    last_snapshot: str | None
    last_mac: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """What a run put into a vault; `vault_path` is where that was last seen.

    `entries` are files, folders and links; of the `files`, `new` ones were encrypted and `unchanged` ones taken over.
    `size_bytes` is the plaintext of all files in it, `stored_bytes` the ciphertext that the run added.
    """

    run_id: int
    vault_id: str
    vault_path: str
    name: str
    sequence: int
    mac: str
    created_at: datetime
    sources: tuple[str, ...]
    entries: int
    files: int
    new: int
    unchanged: int
    unstable: int
    skipped: int
    failed: int
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What a run found at one thing in a vault; `kind` is vault, snapshot, object or file.

    `path` is one path that it is about, as text for people; `path_bytes` holds the path where the text is not exact.
    `wall_ns` is how long it took to look.
    """

    run_id: int
    ordinal: int
    vault_id: str
    vault_path: str
    kind: str
    name: str
    status: str
    size_bytes: int | None
    path: str | None
    path_bytes: bytes | None
    error: str | None
    checked_at: datetime
    wall_ns: int


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """How many things of a kind a run found in one state; `size_bytes` is their sum."""

    kind: str
    status: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ProofRow:
    """When an object of a vault was last proven to be whole, None for never; `run_id` and `flow` did that.

    `path` and `encrypted_at` are of the newest payload that was encrypted to it, None where that is not on record any
    more. `status` is the newest verdict, None if nobody ever looked.
    """

    vault_id: str
    vault_path: str
    name: str
    path: str | None
    encrypted_at: datetime | None
    proven_at: datetime | None
    run_id: int | None
    flow: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class ProofTotalsRow:
    """How well a vault is proven as far as the record knows: its objects, and how many of them nobody found whole.

    `oldest_proof` is when the object that was proven longest ago was; None if none ever was.
    """

    objects: int
    never: int
    oldest_proof: datetime | None
