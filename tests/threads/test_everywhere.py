"""The measured program on every interpreter of this host: small counts, real children."""

import json
import subprocess
from dataclasses import asdict

import pytest

from tasks.axes import Executor, Guard, Outcome, Shape, Workload
from tasks.threads.cases import Case, Sample
from tasks.threads.interpreters import Interpreter, discover
from tasks.threads.measure import run_case
from tasks.threads.measured.chains import CHAIN_DIGEST
from tasks.threads.measured.workloads import BLOCK, DIGESTS

FOUND = discover()

SPEEDUPS = [
    Case.speedup(Workload.FACTORIZE, Executor.THREAD),
    Case.speedup(Workload.DIGEST, Executor.THREAD_POOL, 2, 1),
    Case.speedup(Workload.DIGEST, Executor.PROCESS_POOL, 2, 1),
    Case.speedup(Workload.DIGEST, Executor.ASYNCIO, 1, 1),
    Case.speedup(Workload.WAIT, Executor.ASYNCIO),
    Case.speedup(Workload.WAIT, Executor.THREAD),
    Case.speedup(Workload.WAIT_BOOK, Executor.SERIAL),
    Case.speedup(Workload.CHILD, Executor.THREAD_POOL, 2, 1),
    Case.speedup(Workload.CHILD, Executor.ASYNCIO, 1, 1),
    Case.ceiling(2, 1),
]
GUARDED = [
    Case.race(Guard.LOCK, Shape.AUGMENTED, 3, 2000),
    Case.race(Guard.RLOCK, Shape.EXPANDED, 3, 2000),
    Case.race(Guard.SHARD, None, 3, 2000),
    Case.race(Guard.QUEUE, None, 3, 500),
    Case.race(Guard.ATOMIC, None, 3, 2000),
]

everywhere = pytest.mark.parametrize("interpreter", FOUND, ids=lambda one: str(one.label))


def fine(sample: Sample) -> bool:
    """Done and right, or impossible here for a recorded reason."""
    return sample.outcome is Outcome.OK or (sample.outcome is Outcome.SKIPPED and bool(sample.error))


@pytest.mark.slow
@everywhere
def test_outputs_are_right_everywhere(interpreter: Interpreter) -> None:
    """Every workload gives the known outputs on every interpreter, or says why it cannot run."""
    for case in SPEEDUPS:
        sample = run_case(case, interpreter)
        assert fine(sample), sample
        if sample.outcome is Outcome.OK:
            assert sample.found == sample.expected
            assert sample.wall_ns
            assert sample.context_switches is not None


@everywhere
def test_guards_lose_nothing_anywhere(interpreter: Interpreter) -> None:
    """Every update arrives under every guard and every alternative to one."""
    for case in GUARDED:
        sample = run_case(case, interpreter)
        assert sample.outcome is Outcome.OK, sample
        assert sample.found == str(case.workers * case.count)
        assert sample.expected == sample.found


@everywhere
@pytest.mark.parametrize("shape", Shape)
def test_unlocked_updates_are_never_called_ok(interpreter: Interpreter, shape: Shape) -> None:
    """An unlocked trial ends as lost, none-observed or not-exercised, and its control under a lock holds."""
    sample = run_case(Case.race(Guard.NONE, shape, 3, 1000), interpreter)
    assert sample.outcome in {Outcome.LOST, Outcome.NONE_OBSERVED, Outcome.NOT_EXERCISED}, sample
    assert sample.negative_lost == 0
    assert (sample.outcome is Outcome.LOST) == (sample.found != sample.expected)


@everywhere
def test_sub_interpreters_run_or_say_why_not(interpreter: Interpreter) -> None:
    """`interpreter-pool` works from 3.14 on and is skipped with the reason before."""
    sample = run_case(Case.speedup(Workload.DIGEST, Executor.INTERPRETER_POOL, 2, 1), interpreter)
    assert fine(sample), sample


@everywhere
def test_the_gil_setting_is_the_one_asked_for(interpreter: Interpreter) -> None:
    """A build with a GIL has one variant; a free-threaded one has two, and each measures as labelled."""
    variants = interpreter.variants()
    assert len(variants) == (1 if interpreter.gil_build else 2)
    for variant in variants:
        sample = run_case(Case.race(Guard.LOCK, Shape.AUGMENTED, 2, 100), variant)
        assert sample.gil_on is variant.gil_now


@pytest.mark.parametrize("index", range(len(DIGESTS)))
def test_known_digests_are_those_of_another_program(index: int) -> None:
    """The sha256sum of coreutils gives the digests that samples are checked against."""
    done = subprocess.run(["sha256sum"], input=bytes([index]) + BLOCK, capture_output=True, check=True)
    assert done.stdout.split()[0].decode() == DIGESTS[index]


def test_the_known_chain_is_that_of_another_program() -> None:
    """The `cryptography` package gives the digest that the `child` workload is checked against."""
    import hashlib

    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encryptor = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
    ciphertext = encryptor.update(bytes(1 << 20)) + encryptor.finalize()
    assert hashlib.sha256(ciphertext).hexdigest() == CHAIN_DIGEST


def test_requests_hold_plain_values_only() -> None:
    """A case is one small JSON object, the same for every interpreter."""
    request = json.loads(json.dumps(asdict(Case.race(Guard.NONE, Shape.AUGMENTED))))
    assert request == {
        "experiment": "race",
        "workers": 5,
        "count": 1_000_000,
        "workload": None,
        "executor": None,
        "shape": "augmented",
        "guard": "none",
    }
