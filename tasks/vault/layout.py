"""Where things are in a vault, and what they are called."""

from __future__ import annotations

import re

PARAMETERS = "vault.json"
OBJECTS = "objects"
SNAPSHOTS = "snapshots"
TEMPORARY = "tmp"
LOCK = "lock"
# What a new ext4 file system has at its root.
LOST_AND_FOUND = "lost+found"

OBJECT_NAME = re.compile(r"[0-9a-f]{64}")
SNAPSHOT_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")

# Everything in a vault is for its owner: snapshots have names in clear.
FOLDER_MODE = 0o700


def object_path(root: str, digest: str) -> str:
    """The file of an object, by the 64 hex digits of its digest."""
    return f"{root}/{OBJECTS}/{digest[:2]}/{digest}"


def snapshot_path(root: str, name: str) -> str:
    """The file of a snapshot."""
    return f"{root}/{SNAPSHOTS}/{name}"
