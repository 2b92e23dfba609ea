"""Settle an encryption before any work: check what is asked for, count the payloads, and cut them into batches.

In bounded memory: a tree is walked twice, first to count, then batch by batch.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from flows.errors import RequestRefused
from flows.jobs.arguments import check_paths, need_key_file, need_outside, need_path
from flows.jobs.parameters import EncryptFiles, EncryptPayloads
from flows.jobs.run import cut
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, plural, shown_path
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Limits
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import Chosen, choose_backend
from tasks.crypto.secret import KeySource, ThrowAway
from tasks.files import FolderIdentity
from tasks.suites import SUITES, Suite

if TYPE_CHECKING:
    from tasks.vault.add import Addition, AdditionPlan

P = TypeVar("P", bound=EncryptFiles | EncryptPayloads)

# A payload that an earlier attempt of the same flow run has done: name, suite, backend.
Done = tuple[bytes, str, str]

# The rough cost of a payload: its start, and then bytes per second.
_START_S = {"openssl": 1e-2, "native": 1e-4}
_BYTES_PER_S = 5e8
_LEGACY_BYTES_PER_S = 2.5e7

# Prefect costs about 25 ms of CPU per batch (two task runs): a batch should take a second, and a run have at most
# 64 of them, but each worker should get some.
_BATCHES = 64
_BATCH_S = 1.0
_SHORTEST_BATCH_S = 0.1
# The results of a batch are in memory twice, as they are and as rows: 5 KB a payload.
_BATCH_PAYLOADS = 3_000

# Below this size the native backend spends its time in Python, where more threads only wait for each other.
_PARALLEL_NATIVE_BYTES = 256 << 10
# Into a vault, where content is compressed and files are written meanwhile, it pays earlier.
_PARALLEL_KEPT_BYTES = 8 << 10


def vault_of(parameters: EncryptFiles | EncryptPayloads, settings: Settings) -> str | None:
    """The vault that keeps the ciphertext; None if it is discarded."""
    return settings.vault if isinstance(parameters, EncryptFiles) and not parameters.discard else None


def settled(parameters: P, settings: Settings) -> P:
    """The parameters with what the settings of this process add to them, checked: paths, vault and key file."""
    parameters = replace(
        parameters,
        suites=tuple(dict.fromkeys(parameters.suites)),
        backends=tuple(dict.fromkeys(parameters.backends)),
        jobs=parameters.jobs or settings.usable_jobs,
    )
    if isinstance(parameters, EncryptFiles):
        parameters = replace(parameters, paths=parameters.paths or settings.path_list)
        if not parameters.paths:
            raise RequestRefused("nothing to encrypt: name paths, or set THREADMILL_PATHS for the worker")
        check_paths(parameters.paths, some=True)
        need_key_file(settings.key_file)
        if not parameters.discard:
            _check_vault(parameters, settings.vault)
        if vault_of(parameters, settings) is not None:
            # Of those for all runs, an absolute one may be for the paths of another.
            patterns = (*_below(settings.may_change_list, parameters.paths), *parameters.may_change)
            parameters = replace(parameters, may_change=tuple(dict.fromkeys(patterns)))
    return parameters


def _below(patterns: Sequence[str], paths: Sequence[str]) -> Iterator[str]:
    """The patterns that are none of an absolute path below none of these."""
    from tasks.vault.excludes import BadPattern, Excludes, usable
    from tasks.vault.walk import sources_of

    try:
        Excludes(patterns)
    except BadPattern as error:
        raise RequestRefused(f"THREADMILL_MAY_CHANGE: {shown_path(str(error))}") from None
    return usable(patterns, sources_of(paths))


def _check_vault(parameters: EncryptFiles, vault: str | None) -> None:
    """Refuse parameters that do not go with the vault, or that make sense only with one."""
    if vault is None:
        if parameters.is_of_vault:
            raise RequestRefused(
                "--exclude, --max-size, --may-change, --rehash and --compression are for a vault: "
                "give --vault DIR or set THREADMILL_VAULT"
            )
        return
    # Late: an encryption without a vault loads nothing of it.
    from tasks.vault.excludes import BadPattern, Excludes
    from tasks.vault.vault import SUITE
    from tasks.vault.walk import sources_of

    if "-" in parameters.paths:
        raise RequestRefused("a vault keeps files and folders only; leave --vault out, or give --discard")
    if parameters.suites != (SUITE.name,):
        raise RequestRefused(f"a vault keeps suite {SUITE.name} only; leave --vault out, or give --discard")
    if len(parameters.backends) > 1:
        raise RequestRefused("a vault keeps each file once: give one backend")
    for path in parameters.paths:
        need_outside(path, vault)
    sources = sources_of(parameters.paths)
    for option, patterns in (("--exclude", parameters.exclude), ("--may-change", parameters.may_change)):
        try:
            Excludes(patterns, sources)
        except BadPattern as error:
            raise RequestRefused(f"{option}: {shown_path(str(error))}") from None


def recorded(parameters: EncryptFiles | EncryptPayloads, settings: Settings) -> dict[str, object]:
    """Settled parameters as a run records them, with the vault and the kind of key."""
    vault = vault_of(parameters, settings)
    key = "key file" if isinstance(parameters, EncryptFiles) else "throw-away"
    if isinstance(parameters, EncryptFiles):
        # Absolute, since nobody knows later in which folder the run was started.
        parameters = replace(parameters, paths=tuple(one if one == "-" else need_path(one) for one in parameters.paths))
    return parameters.recorded() | {"key": key} | ({"vault": shown_path(vault)} if vault else {})


@dataclass(frozen=True, slots=True)
class Part:
    """All payloads under one suite and backend; `workers` batches of it run at once."""

    suite: Suite
    chosen: Chosen
    workers: int
    batch_s: float

    def cost_s(self, numbered: tuple[int, Payload]) -> float:
        """Rough time that a payload takes."""
        return _cost_s(self.suite, self.chosen, 1, numbered[1].size_bytes or 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of an encryption. Its totals come from a first walk, and serve progress and batch sizes only."""

    key: KeySource
    limits: Limits
    parts: tuple[Part, ...]
    payloads: int
    size_bytes: int
    source: Callable[[], Iterable[Payload]]
    sources: tuple[FolderIdentity, ...] = ()

    @property
    def total(self) -> int:
        """Payloads times suites times backends."""
        return self.payloads * len(self.parts)

    def batches(self, done_before: frozenset[Done] = frozenset()) -> Iterator[tuple[Part, Batch]]:
        """Yield the batches of one part after the other, without payloads done before."""
        numbers, ordinals = itertools.count(), itertools.count()
        for part in self.parts:
            suite, chosen = part.suite.name, part.chosen
            # The counter comes second: zip asks the first iterator first, and would lose a number at its end.
            found = zip(self.source(), ordinals, strict=False)
            left = ((n, one) for one, n in found if (one.name, suite, chosen.backend) not in done_before)
            for payloads in cut(left, part.cost_s, part.batch_s, _BATCH_PAYLOADS):
                yield part, Batch(next(numbers), suite, chosen, payloads, self.sources)


def make_plan(parameters: EncryptFiles | EncryptPayloads, settings: Settings, cancel: CancelToken) -> Plan:
    """Choose backends and count the payloads of settled parameters; BackendUnavailable if a backend cannot be had."""
    source: Callable[[], Iterable[Payload]]
    if isinstance(parameters, EncryptPayloads):
        source = partial(_random_payloads, parameters)
    elif parameters.paths == ("-",):
        if len(parameters.suites) * len(parameters.backends) > 1:
            raise RequestRefused("standard input can be read only once: give one suite and one backend")
        source = partial(iter, (Payload("stdin", b"-", None),))
    else:
        # Late: random payloads need no walk.
        from tasks.crypto.scan import scan

        source = partial(scan, parameters.paths)
    payloads = size_bytes = 0
    refused = []
    for payload in source():
        payloads += 1
        size_bytes += payload.size_bytes or 0
        if payload.refused:
            refused.append(f"{shown_path(os.fsdecode(payload.name))} {payload.fault}")
    if isinstance(parameters, EncryptFiles) and payloads == len(refused):
        raise nothing_to_encrypt(parameters, refused)
    return _plan(parameters, settings, payloads, size_bytes, source, cancel)


def plan_addition(parameters: EncryptFiles, settings: Settings, addition: Addition, cancel: CancelToken) -> Plan:
    """Plan the files that go into a vault: only those that are new or changed since the snapshot before."""
    found = addition.found
    need_something(parameters, found)
    payloads = found.to_do + found.skipped
    # A source that is inside another by way of a link has another path than the user gave.
    paths = tuple(os.fsdecode(path) for path in addition.selection.sources)
    return _plan(replace(parameters, paths=paths), settings, payloads, found.to_do_bytes, addition.to_do, cancel)


def need_something(parameters: EncryptFiles, found: AdditionPlan) -> None:
    """Raises RequestRefused if there is nothing in or at any of the paths."""
    if found.to_do + found.skipped + found.unchanged == len(found.refused):
        gone = sum(source.gone for source in found.sources)
        raise nothing_to_encrypt(parameters, found.refused, gone)


def nothing_to_encrypt(parameters: EncryptFiles, refused: Sequence[str], gone: int = 0) -> RequestRefused:
    """The refusal of paths below which there are no files; `refused` says which of them cannot be read, and why.

    `gone` files were there in the snapshot before.
    """
    if refused:
        return RequestRefused(f"nothing to encrypt: {named(refused[:FAULTS_NAMED], len(refused))}")
    before = f"; the snapshot before has {plural(gone, 'file')} of them" if gone else ""
    paths = ", ".join(shown_path(path) for path in parameters.paths)
    why = ", or --exclude leaves all of them out" if parameters.exclude else ""
    return RequestRefused(f"nothing to encrypt: there are no files in {paths}{why}{before}")


def _plan(
    parameters: EncryptFiles | EncryptPayloads,
    settings: Settings,
    payloads: int,
    size_bytes: int,
    source: Callable[[], Iterable[Payload]],
    cancel: CancelToken,
) -> Plan:
    jobs = parameters.jobs or 1
    kept = vault_of(parameters, settings) is not None
    parts = []
    for suite, choice in itertools.product((SUITES[name] for name in parameters.suites), parameters.backends):
        if kept and choice == "auto":
            chosen = choose_backend("native", suite, settings.openssl, cancel)
            chosen = replace(chosen, reason="the default of vaults")
        else:
            chosen = choose_backend(choice, suite, settings.openssl, cancel)
        parallel_bytes = _PARALLEL_KEPT_BYTES if kept else _PARALLEL_NATIVE_BYTES
        small = chosen.backend == "native" and size_bytes < parallel_bytes * payloads
        cost_s = _cost_s(suite, chosen, payloads, size_bytes)
        workers = 1 if small else jobs
        # A batch ends a pack, and small packs are many files.
        share_s = cost_s if small and kept else cost_s / (4 * jobs)
        batch_s = max(cost_s / _BATCHES, min(_BATCH_S, share_s), _SHORTEST_BATCH_S)
        parts.append(Part(suite, chosen, workers, batch_s))
    key: KeySource = ThrowAway()
    sources: tuple[FolderIdentity, ...] = ()
    if isinstance(parameters, EncryptFiles):
        key = need_key_file(settings.key_file)
        from tasks.crypto.scan import source_folders

        sources = () if parameters.paths == ("-",) else source_folders(parameters.paths)
    limits = Limits(settings.chain_timeout_s, parameters.allow_legacy_size)
    return Plan(key, limits, tuple(parts), payloads, size_bytes, source, sources)


def _random_payloads(parameters: EncryptPayloads) -> Iterator[Payload]:
    for number in range(1, parameters.count + 1):
        yield Payload("random", b"random #%d" % number, parameters.size_bytes)


def _cost_s(suite: Suite, chosen: Chosen, payloads: int, size_bytes: int) -> float:
    rate = _LEGACY_BYTES_PER_S if suite.legacy else _BYTES_PER_S
    return payloads * _START_S[chosen.backend] + size_bytes / rate
