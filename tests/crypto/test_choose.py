"""Which backend runs, and the reason that the record gets for it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto import probe
from tasks.crypto.errors import BackendUnavailable, Cancelled
from tasks.crypto.inputs import Payload
from tasks.crypto.native import NativeBackend
from tasks.crypto.probe import Chosen, choose_backend
from tasks.suites import SUITES, BackendChoice, SuiteName
from tests.support.crypto_fakes import OPENSSL, encrypt_bytes, needs_openssl, run_batch, script


def pick(choice: BackendChoice, program: str = "openssl", suite: SuiteName = "modern") -> Chosen:
    return choose_backend(choice, SUITES[suite], program, CancelToken())


@needs_openssl
@pytest.mark.parametrize("name", ["modern", "modern-blake2", "chacha", "cbc"])
def test_auto_takes_openssl_where_it_can(name: SuiteName) -> None:
    """A good openssl is taken, and the record learns its version and path."""
    chosen = pick("auto", suite=name)
    assert (chosen.backend, chosen.program) == ("openssl", os.path.abspath(OPENSSL))
    assert chosen.reason == "openssl can run this suite"
    assert os.path.abspath(OPENSSL) in chosen.detail


@pytest.mark.parametrize("name", SUITES)
def test_native_is_taken_when_asked_for(name: SuiteName) -> None:
    """Asked for, the native backend runs every suite, and no openssl is looked for."""
    chosen = pick("native", "/no/such/openssl", name)
    assert (chosen.backend, chosen.program, chosen.reason) == ("native", None, "asked for")
    assert isinstance(chosen.open(SUITES[name], CancelToken()), NativeBackend)


@needs_openssl
def test_openssl_is_taken_when_asked_for() -> None:
    """Asked for and good, openssl runs, and says that it was asked for."""
    assert (pick("openssl").backend, pick("openssl").reason) == ("openssl", "asked for")


BROKEN = [
    ("", "no program"),
    ("exit 1", "exited with 1"),
    ("exec sleep 600", "not finished after"),
    ("echo rubbish; echo rubbish >&2", "cannot run suite modern"),
    ("kill -KILL $$", "was killed by SIGKILL"),
]


@pytest.mark.parametrize(("body", "reason"), BROKEN)
def test_auto_falls_back_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str) -> None:
    """Where openssl is absent or no good, native takes over with the reason; asked for, openssl is refused with it."""
    monkeypatch.setattr(probe, "_DEADLINE_S", 0.3 if "sleep" in body else 10.0)
    if body:
        script(tmp_path, body)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if body else str(tmp_path))
    chosen = pick("auto")
    assert (chosen.backend, chosen.program) == ("native", None)
    assert chosen.reason.startswith("native took over: ")
    assert reason in chosen.reason
    assert chosen.detail == NativeBackend.detail()
    with pytest.raises(BackendUnavailable, match=reason):
        pick("openssl")


@needs_openssl
def test_auto_goes_by_the_suite(tmp_path: Path) -> None:
    """An openssl without Whirlpool runs `modern`, while native takes over `classic`."""
    program = script(tmp_path, f'case "$*" in *-whirlpool*) exit 1;; esac\nexec {OPENSSL} "$@"')
    assert pick("auto", program).backend == "openssl"
    assert pick("auto", program, "classic").backend == "native"


def test_a_native_that_cannot_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither backend can run the suite, that is said and nothing is chosen."""

    def fail(*_: object) -> str:
        raise BackendUnavailable("native", "this build of `cryptography` has no Whirlpool")

    monkeypatch.setattr(probe, "prove_native", fail)
    for choice in ("auto", "native"):
        with pytest.raises(BackendUnavailable, match="no Whirlpool"):
            pick(choice, str(tmp_path / "none"), "classic")


def test_choosing_can_be_cancelled(tmp_path: Path) -> None:
    """A token that is set ends the choice, and is not taken for a broken openssl."""
    token = CancelToken()
    token.cancel()
    program = script(tmp_path, "exec sleep 600")
    for choice in ("auto", "openssl"):
        with pytest.raises(Cancelled):
            choose_backend(choice, SUITES["modern"], program, token)


@needs_openssl
def test_a_choice_travels() -> None:
    """A choice pickles, and opens in another place as the same backend."""
    chosen = pick("openssl")
    back: Chosen = pickle.loads(pickle.dumps(chosen))  # noqa: S301 - our own bytes
    assert back == chosen
    token = CancelToken()
    one, two = (encrypt_bytes(each.open(SUITES["modern"], token), "modern", b"abc") for each in (chosen, back))
    assert one.digest == two.digest


@needs_openssl
@pytest.mark.parametrize("body", [None, "exit 1", "echo OpenSSL 9; exit 0"])
def test_an_openssl_that_went_bad_fails_every_payload(tmp_path: Path, body: str | None) -> None:
    """A program that is gone or replaced since the choice gives failed payloads with the reason, not a crash."""
    program = script(tmp_path, f'exec {OPENSSL} "$@"')
    chosen = pick("openssl", program)
    os.unlink(program)
    if body:
        script(tmp_path, body)
    with pytest.raises(BackendUnavailable):
        chosen.open(SUITES["modern"], CancelToken())
    results = run_batch(chosen, [Payload("random", b"random 1", 100), Payload("random", b"random 2", 100)])
    assert [(result.ordinal, result.status, result.cause) for result in results] == [
        (0, "failed", "backend"),
        (1, "failed", "backend"),
    ]
    assert program in (results[0].error or "") or body is None
