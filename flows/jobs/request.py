"""The request of an encryption job: its parameters with the settings of this process, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.errors import RequestRefused
from flows.jobs.arguments import check_paths, need_key_file, need_outside
from flows.jobs.parameters import EncryptFiles, EncryptPayloads
from flows.settings import Settings
from flows.text import shown_path
from tasks.crypto.encrypt import Limits
from tasks.crypto.secret import KeySource, ThrowAway
from tasks.suites import BackendChoice, SuiteName


@dataclass(frozen=True, slots=True)
class RandomSpec:
    """`count` payloads of `size_bytes` random bytes each."""

    size_bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class VaultRequest:
    """The vault to keep ciphertext in, patterns of files to leave out, and whether to read unchanged files too."""

    path: str
    excludes: tuple[str, ...] = ()
    rehash: bool = False


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
    recorded: Mapping[str, object] = field(default_factory=dict)


def encryption_request(parameters: EncryptFiles | EncryptPayloads, settings: Settings) -> EncryptionRequest:
    """The parameters with the settings of this process, checked.

    Raises:
        RequestRefused: there is nothing at a path, or it cannot go into the vault.
        KeyFileError: the key file is not usable.
    """
    jobs = parameters.jobs or settings.usable_jobs
    recorded = replace(parameters, jobs=jobs).recorded()
    shared = EncryptionRequest(
        ThrowAway(),
        suites=tuple(dict.fromkeys(parameters.suites)),
        backends=tuple(dict.fromkeys(parameters.backends)),
        openssl=settings.openssl,
        jobs=jobs,
        limits=Limits(settings.chain_timeout_s, parameters.allow_legacy_size),
        recorded=recorded | {"key": "throw-away"},
    )
    if isinstance(parameters, EncryptPayloads):
        return replace(shared, random=RandomSpec(parameters.size_bytes, parameters.count))
    paths = parameters.paths or settings.path_list
    if not paths:
        raise RequestRefused("nothing to encrypt: name paths, or set THREADMILL_PATHS for the worker")
    vault = None
    named = check_paths(paths)
    key = need_key_file(settings.key_file)
    if not parameters.discard:
        vault = vault_request(
            settings.vault, named, shared.suites, shared.backends, parameters.exclude, rehash=parameters.rehash
        )
    recorded |= {"paths": [shown_path(path) for path in named], "key": "key file"}
    recorded |= {"vault": shown_path(vault.path)} if vault else {}
    return replace(shared, key=key, paths=named, vault=vault, recorded=recorded)


def vault_request(
    path: str | None,
    paths: Sequence[str],
    suites: Sequence[str],
    backends: Sequence[str],
    excludes: Sequence[str] = (),
    *,
    rehash: bool = False,
) -> VaultRequest | None:
    """The part of the request that is about the vault at `path`; None without one.

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
