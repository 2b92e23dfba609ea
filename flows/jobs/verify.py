"""The verify job: parameters, snapshots and objects are checked, and each verdict is a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from db.rows import NewRun
from db.words import VERDICT_FAULTS
from flows.errors import RequestRefused
from flows.jobs.arguments import need_vault
from flows.jobs.parameters import VerifyVault
from flows.jobs.run import Job, OpenRun, PlannedWork, Tools, open_run
from flows.jobs.runner import Here
from flows.jobs.vault import VaultWork, VerdictTally, known_snapshot, record_at_once, run_on_vault
from flows.settings import Settings
from flows.text import shown_path, size
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import Verdict, Verdicts
from tasks.vault.index import ObjectIndex
from tasks.vault.locks import reading
from tasks.vault.lookup import open_or_recover, open_place
from tasks.vault.vault import Place
from tasks.vault.verify import check_objects, inspect

# A step takes about a second of hashing on one core, or of opening files.
_STEP_BYTES = 1 << 30
_STEP_OBJECTS = 5_000


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """The vault, and how much of it: all objects, a `sample` of those verified least recently, or `snapshots_only`.

    Without a key, digests are checked, and MACs are not.
    """

    vault: str
    key: KeyFile | None
    sample: int | None = None
    snapshots_only: bool = False
    jobs: int = 1

    def __post_init__(self) -> None:
        """Raises RequestRefused."""
        if self.sample is not None and self.sample < 1:
            raise RequestRefused("--sample is at least 1")

    def parameters(self) -> dict[str, object]:
        """For the record."""
        return {
            "vault": shown_path(self.vault),
            "sample": self.sample,
            "snapshots_only": self.snapshots_only,
            "key": "key file" if self.key else None,
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """The verdicts, how many objects there are, and how many no snapshot names."""

    tally: VerdictTally
    objects: int
    unnamed: int
    with_key: bool

    @property
    def exit_code(self) -> int:
        """See `PartOutcome`."""
        return 1 if self.tally.faulty else 0

    @property
    def message(self) -> str:
        """Good objects and snapshots, then faults."""
        whole = self.tally.count("object", "ok")
        text = f"objects: {whole:,} of {self.objects:,} proven, {size(self.tally.size_bytes)}; snapshots: "
        snapshots = self.tally.count("snapshot", "ok")
        text += f"{snapshots:,} authentic" if self.with_key else "not authenticated (no key file)"
        left = self.tally.count("file", "leftover")
        text += f"; leftovers of interrupted runs: {left:,}" if left else ""
        # One that is damaged may name them.
        damaged = any(kind == "snapshot" and status in VERDICT_FAULTS for kind, status in self.tally.counts)
        if self.unnamed and not damaged:
            text += f"; objects that no snapshot names, for prune to remove: {self.unnamed:,}"
        return f"{text}; {self.tally.message}"


@dataclass(frozen=True, slots=True)
class _VerificationPlan:
    """The verdicts of planning, and the objects of the vault, `count` of which are to be hashed."""

    place: Place
    index: ObjectIndex
    found: tuple[Verdict, ...]
    objects: int
    unnamed: int
    count: int
    size_bytes: int


def verification_job(parameters: VerifyVault, settings: Settings) -> Job:
    """The job for these parameters.

    Raises:
        RequestRefused: no vault is set, or both a sample and no objects are asked for.
    """
    if parameters.snapshots_only and parameters.sample is not None:
        raise RequestRefused("--sample is of objects, and --snapshots leaves them all out: give one of the two")
    key = KeyFile(settings.key_file) if settings.key_file else None
    vault = need_vault(settings.vault)
    request = VerificationRequest(vault, key, parameters.sample, parameters.snapshots_only, settings.usable_jobs)
    return partial(verify, request)


def verify(request: VerificationRequest, run: NewRun, tools: Tools) -> OpenRun:
    """Verify a vault; the run, closed.

    Raises:
        CryptoError: refused before any work: there is no vault, or the key file is another one's.
        RecordError: the record cannot be written.
    """
    with ExitStack() as stack:
        plan = tools.runner.plan(lambda: _plan(request, tools, stack))
        tools.reporter.planned(PlannedWork("verifying", "object", plan.count, plan.size_bytes))
        with open_run(replace(run, parameters=request.parameters()), tools) as opened:
            tally = VerdictTally()
            record_at_once(plan.found, plan.place, opened, tally)
            works = _works(plan, request)
            run_on_vault(works, "verify", plan.place, opened, tally, workers=request.jobs)
            opened.outcomes.append(Verified(tally, plan.objects, plan.unnamed, request.key is not None))
    return opened


def _plan(request: VerificationRequest, tools: Tools, stack: ExitStack) -> _VerificationPlan:
    secret = None if request.key is None else request.key.secret()
    vault, fault = open_or_recover(request.vault, secret)
    stack.enter_context(reading(vault.root, tools.cancel))
    index = stack.enter_context(ObjectIndex())
    found = list(inspect(vault, index, known_snapshot(tools.history, vault), tools.cancel))
    if fault is not None:
        found = [fault, *(verdict for verdict in found if (verdict.kind, verdict.status) != ("vault", "ok"))]
    if request.sample is not None:
        index.prove(tools.history.proven(vault.id))
    objects, _ = index.counts()
    unnamed = sum(1 for _ in index.unnamed())
    count, size_bytes = (0, 0) if request.snapshots_only else index.counts(request.sample)
    return _VerificationPlan(vault.place(), index, tuple(found), objects, unnamed, count, size_bytes)


def _works(plan: _VerificationPlan, request: VerificationRequest) -> Iterator[VaultWork[Verdicts]]:
    if not plan.count:
        return
    # Enough for every worker, so that none waits for the last one.
    step_bytes = max(1, min(_STEP_BYTES, plan.size_bytes // (4 * request.jobs)))
    step_objects = max(1, min(_STEP_OBJECTS, -(-plan.count // (4 * request.jobs))))
    held: list[tuple[str, int]] = []
    held_bytes = number = 0
    for one in plan.index.whole(request.sample):
        held.append(one)
        held_bytes += one[1]
        if held_bytes >= step_bytes or len(held) >= step_objects:
            yield _work(plan.place, request.key, number, held)
            held, held_bytes, number = [], 0, number + 1
    if held:
        yield _work(plan.place, request.key, number, held)


def _work(place: Place, key: KeyFile | None, number: int, objects: list[tuple[str, int]]) -> VaultWork[Verdicts]:
    name = f"verify batch {number}: {len(objects)} objects"
    return VaultWork(name, len(objects), partial(_check, place, key, objects))


def _check(place: Place, key: KeyFile | None, objects: list[tuple[str, int]], here: Here) -> Verdicts:
    return Verdicts(check_objects(open_place(place, key), objects, here.cancel))
