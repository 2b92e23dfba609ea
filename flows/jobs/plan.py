"""Plan an encryption: count the payloads and cut them into batches.

In bounded memory: a tree is walked twice, first to count, then batch by batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flows.errors import RequestRefused
from flows.jobs.request import EncryptionRequest
from flows.text import shown_path
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import Chosen, choose_backend
from tasks.crypto.scan import scan, source_folders
from tasks.files import FolderIdentity
from tasks.suites import SUITES, BackendChoice, Suite

if TYPE_CHECKING:
    from tasks.vault.add import Addition

# What an earlier attempt of the same flow run has done: name, suite, backend.
Done = tuple[bytes, str, str]

# What a payload costs, roughly: its start, and then bytes per second.
_START_S = {"openssl": 1e-2, "native": 1e-4}
_BYTES_PER_S = 5e8
_LEGACY_BYTES_PER_S = 2.5e7

# Prefect costs about 25 ms of CPU per batch (two task runs): a batch should take a second, and a run have at most
# 64 of them, but each worker should get some.
_BATCHES = 64
_BATCH_S = 1.0
_SHORTEST_BATCH_S = 0.1
_BATCH_PAYLOADS = 10_000

# The native backend below this size spends its time in Python, where more threads only wait for each other.
_PARALLEL_NATIVE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """All payloads under one suite and backend; `workers` batches of it run at once."""

    suite: Suite
    chosen: Chosen
    workers: int
    batch_s: float

    def cost_s(self, payload: Payload) -> float:
        """Rough time that a payload takes."""
        return _cost_s(self.suite, self.chosen, 1, payload.size_bytes or 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Settled before the run starts: the totals are those of the first walk, for progress and batch sizes only."""

    request: EncryptionRequest
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
        """The batches of one part after the other, made as they are asked for, without what was done before."""
        number = itertools.count()
        ordinals = itertools.count()
        for part in self.parts:
            held: list[tuple[int, Payload]] = []
            cost_s = 0.0
            # The counter comes second: zip takes from the first until it ends.
            for payload, ordinal in zip(self.source(), ordinals, strict=False):
                if done_before and (payload.name, part.suite.name, part.chosen.backend) in done_before:
                    continue
                held.append((ordinal, payload))
                cost_s += part.cost_s(payload)
                if cost_s >= part.batch_s or len(held) == _BATCH_PAYLOADS:
                    yield part, Batch(next(number), part.suite.name, part.chosen, tuple(held), self.sources)
                    held, cost_s = [], 0.0
            if held:
                yield part, Batch(next(number), part.suite.name, part.chosen, tuple(held), self.sources)


def make_plan(request: EncryptionRequest, cancel: CancelToken) -> Plan:
    """Choose backends and count the payloads.

    Raises:
        BackendUnavailable: a backend that was asked for cannot run a suite here.
        RequestRefused: there is nothing to encrypt.
    """
    stdin = request.paths == ("-",)
    if stdin and len(request.suites) * len(request.backends) > 1:
        raise RequestRefused("standard input can be read only once: give one suite and one backend")
    payloads, size_bytes = _count(_payloads(request))
    if not payloads:
        raise nothing_to_encrypt(request)
    parts = _parts(request, payloads, size_bytes, cancel)
    return Plan(request, parts, payloads, size_bytes, lambda: _payloads(request), _sources(request))


def plan_addition(request: EncryptionRequest, addition: Addition, cancel: CancelToken) -> Plan:
    """Plan what goes into a vault: only what is new since the snapshot before.

    Raises:
        BackendUnavailable: the backend that was asked for cannot run the suite here.
        RequestRefused: there is nothing to encrypt.
    """
    found = addition.found
    payloads = found.to_do + found.skipped
    if not payloads + found.unchanged:
        raise nothing_to_encrypt(request)
    parts = _parts(request, payloads, found.to_do_bytes, cancel)
    return Plan(request, parts, payloads, found.to_do_bytes, addition.to_do, _sources(request))


def nothing_to_encrypt(request: EncryptionRequest) -> RequestRefused:
    """The refusal of paths below which there are no files."""
    named = ", ".join(shown_path(path) for path in request.paths)
    why = ", or --exclude leaves all of them out" if request.vault is not None and request.vault.excludes else ""
    return RequestRefused(f"nothing to encrypt: there are no files in {named}{why}")


def _parts(request: EncryptionRequest, payloads: int, size_bytes: int, cancel: CancelToken) -> tuple[Part, ...]:
    parts = []
    for suite in (SUITES[name] for name in request.suites):
        for choice in request.backends:
            chosen = _choose(choice, suite, request, cancel)
            small = chosen.backend == "native" and size_bytes < _PARALLEL_NATIVE_BYTES * payloads
            cost_s = _cost_s(suite, chosen, payloads, size_bytes)
            batch_s = max(cost_s / _BATCHES, min(_BATCH_S, cost_s / (4 * request.jobs)), _SHORTEST_BATCH_S)
            parts.append(Part(suite, chosen, 1 if small else request.jobs, batch_s))
    return tuple(parts)


def _choose(choice: BackendChoice, suite: Suite, request: EncryptionRequest, cancel: CancelToken) -> Chosen:
    if choice == "auto" and request.vault is not None:
        return replace(choose_backend("native", suite, request.openssl, cancel), reason="the default of vaults")
    return choose_backend(choice, suite, request.openssl, cancel)


def _payloads(request: EncryptionRequest) -> Iterable[Payload]:
    if request.random is not None:
        spec = request.random
        return (Payload("random", b"random #%d" % number, spec.size_bytes) for number in range(1, spec.count + 1))
    if request.paths == ("-",):
        return [Payload("stdin", b"-", None)]
    return scan(request.paths)


def _sources(request: EncryptionRequest) -> tuple[FolderIdentity, ...]:
    return () if request.random is not None or request.paths == ("-",) else source_folders(request.paths)


def _count(payloads: Iterable[Payload]) -> tuple[int, int]:
    count = size_bytes = 0
    for payload in payloads:
        count += 1
        size_bytes += payload.size_bytes or 0
    return count, size_bytes


def _cost_s(suite: Suite, chosen: Chosen, payloads: int, size_bytes: int) -> float:
    rate = _LEGACY_BYTES_PER_S if suite.legacy else _BYTES_PER_S
    return payloads * _START_S[chosen.backend] + size_bytes / rate
