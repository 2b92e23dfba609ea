"""What is asked of an encryption job, checked before any work."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from flows.errors import RequestRefused
from flows.jobs.names import need_outside
from flows.text import shown_path
from tasks.crypto.encrypt import Limits
from tasks.crypto.probe import BackendChoice
from tasks.crypto.scan import missing_paths
from tasks.crypto.secret import KeyFile, KeySource
from tasks.crypto.suites import SuiteName
from tasks.files import absolute

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_RANDOM = re.compile(r"(\d+)\s*(?:([kmg])(?:i?b)?|b)?\s*x\s*(\d+)", re.IGNORECASE)

# Random payloads lie in memory while they are encrypted.
_RANDOM_BYTES = 1 << 30
_RANDOM_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class RandomSpec:
    """`count` payloads of `size_bytes` random bytes each."""

    size_bytes: int
    count: int

    @classmethod
    def parse(cls, text: str) -> RandomSpec:
        """`100x3` or `4KiBx1000`.

        Raises:
            RequestRefused: it is not of that form, or over the bounds.
        """
        match = _RANDOM.fullmatch(text.strip())
        if match is None:
            raise RequestRefused(f"random payloads are given as SIZExCOUNT, such as 100x3 or 4KiBx1000, not {text!r}")
        spec = cls(int(match[1]) * _UNITS[(match[2] or "").lower()], int(match[3]))
        if spec.size_bytes > _RANDOM_BYTES:
            raise RequestRefused("a random payload has at most 1 GiB (it is held in memory)")
        if not 1 <= spec.count <= _RANDOM_COUNT:
            raise RequestRefused(f"the number of random payloads is between 1 and {_RANDOM_COUNT:,}")
        return spec

    def __str__(self) -> str:
        return f"{self.size_bytes}x{self.count}"


@dataclass(frozen=True, slots=True)
class VaultRequest:
    """The vault to keep ciphertext in, patterns of what to leave out, and whether to read what looks unchanged too."""

    path: str
    excludes: tuple[str, ...] = ()
    rehash: bool = False

    def parameters(self) -> dict[str, object]:
        """For the record."""
        return {"vault": shown_path(self.path), "exclude": list(self.excludes), "rehash": self.rehash}


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """Payloads (either `paths`, where `-` is standard input, or `random`) times suites times backends.

    `openssl` is the program's name or path, `jobs` how many chains run at once. Without a `vault` the ciphertext is
    discarded.
    """

    key: KeySource
    paths: tuple[str, ...] = ()
    random: RandomSpec | None = None
    suites: tuple[SuiteName, ...] = ("modern",)
    backends: tuple[BackendChoice, ...] = ("auto",)
    openssl: str = "openssl"
    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    vault: VaultRequest | None = None

    def parameters(self) -> dict[str, object]:
        """For the record: JSON values, no secret."""
        source: dict[str, object] = (
            {"paths": [shown_path(path) for path in self.paths]}
            if self.random is None
            else {"random": str(self.random)}
        )
        return source | {
            "suites": list(self.suites),
            "backends": list(self.backends),
            "jobs": self.jobs,
            "key": "key file" if isinstance(self.key, KeyFile) else "throw-away",
            **(self.vault.parameters() if self.vault else {}),
        }


def check_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths, if there is something at each of them.

    Raises:
        RequestRefused: no paths, a path at which there is nothing, or `-` beside others.
    """
    if not paths:
        raise RequestRefused("nothing to encrypt: name files or folders, or use --random SIZExCOUNT")
    if "-" in paths and len(paths) > 1:
        raise RequestRefused("standard input (-) cannot be combined with other paths")
    missing = [] if "-" in paths else missing_paths(paths)
    if missing:
        hint = " (options: see --help)" if missing[0].startswith("-") else ""
        raise RequestRefused("no such file or folder: " + ", ".join(shown_path(path) for path in missing) + hint)
    return tuple(paths)


def need_path(path: str) -> str:
    """The absolute path, as for files that are encrypted, whether or not there is something.

    Raises:
        RequestRefused: it is empty.
    """
    if not path:
        raise RequestRefused("a path is empty")
    return os.fsdecode(absolute(path))


def vault_request(
    path: str | None,
    paths: Sequence[str],
    suites: Sequence[str],
    backends: Sequence[str],
    excludes: Sequence[str] = (),
    *,
    rehash: bool = False,
) -> VaultRequest | None:
    """What is to go into the vault at `path`; None without one.

    Raises:
        RequestRefused: what is asked for cannot go into a vault, or makes sense only with one.
    """
    if path is None:
        if excludes or rehash:
            raise RequestRefused("--exclude and --rehash are for a vault: give --vault DIR or set THREADMILL_VAULT")
        return None
    # Late: a request without a vault loads nothing of it.
    from tasks.vault.vault import SUITE
    from tasks.vault.walk import BadPattern, Excludes

    if not paths or "-" in paths:
        raise RequestRefused("a vault keeps files and folders only; leave --vault out, or give --discard")
    if tuple(suites) != (SUITE.name,):
        raise RequestRefused(f"a vault keeps suite {SUITE.name} only; leave --vault out, or give --discard")
    if len(backends) > 1:
        raise RequestRefused("into a vault everything goes once: give one backend")
    for one in paths:
        need_outside(one, path)
    try:
        Excludes(excludes)
    except BadPattern as error:
        raise RequestRefused(f"--exclude: {error}") from None
    return VaultRequest(path, tuple(excludes), rehash)


def need_vault(path: str | None) -> str:
    """The vault's folder.

    Raises:
        RequestRefused: none is given.
    """
    if path is None:
        raise RequestRefused("which vault? give --vault DIR or set THREADMILL_VAULT")
    return path


def need_key_file(path: str | None) -> KeyFile:
    """The key file, if it is one.

    Raises:
        RequestRefused: none is given.
        KeyFileError: it is not usable.
    """
    if path is None:
        raise RequestRefused(
            "files need a key file: make one with `threadmill keygen PATH`, "
            "then give --key-file PATH or set THREADMILL_KEY_FILE"
        )
    key = KeyFile(path)
    key.secret()
    return key
