"""Finding out what an openssl can do by running it, and not being taken in, held up or brought down by it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto import probe
from tasks.crypto.errors import BackendUnavailable, Cancelled
from tasks.crypto.openssl import OpensslBackend, Recipe
from tasks.crypto.probe import OpensslProgram, find_program, find_recipe, prove_native
from tasks.suites import SUITES, SuiteName
from tests.support.crypto_fakes import (
    BOUND_S,
    OPENSSL,
    children,
    descriptors,
    encrypt_bytes,
    needs_openssl,
    opened,
    openssl,
    script,
    wait_until,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that a good openssl meets easily, and a hanging one soon."""
    monkeypatch.setattr(probe, "_DEADLINE_S", 2.0)


def find(path: str, cancel: CancelToken | None = None) -> OpensslProgram:
    return find_program(path, cancel or CancelToken())


def refusal(path: str, suite: SuiteName = "modern") -> str:
    """Why that program is not usable; no child and no descriptor stays behind."""
    before = children(os.getpid()), descriptors()
    with pytest.raises(BackendUnavailable) as caught:
        find_recipe(find(path), SUITES[suite], CancelToken())
    assert caught.value.backend == "openssl"
    reason = caught.value.reason
    del caught
    assert (children(os.getpid()), descriptors()) == before
    assert "\n" not in reason
    return reason


@needs_openssl
def test_a_real_openssl_is_found() -> None:
    """The program on PATH has its absolute path and what it says of itself."""
    program = find("openssl")
    assert program.path == os.path.abspath(OPENSSL)
    assert program.version.split()[0] in ("OpenSSL", "LibreSSL")


@needs_openssl
@pytest.mark.parametrize("name", ["modern", "modern-blake2", "chacha", "cbc"])
def test_a_real_openssl_runs_the_suites(name: SuiteName) -> None:
    """Every suite but the legacy one needs no provider option of a current openssl."""
    assert find_recipe(find("openssl"), SUITES[name], CancelToken()).providers == ()


@pytest.mark.parametrize("name", SUITES)
def test_the_native_backend_proves_itself(name: SuiteName) -> None:
    """The native backend runs every suite here, and names its package and the OpenSSL inside."""
    detail = prove_native(SUITES[name], CancelToken())
    assert detail.startswith("cryptography ")
    assert "OpenSSL" in detail


def test_no_openssl_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An openssl that is absent is told as absent."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal("openssl") == "no program openssl on PATH"


@pytest.mark.parametrize("kind", ["file", "folder", "dangling"])
def test_what_cannot_be_executed_is_not_a_program(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not executable, a folder and a dangling link of that name are no programs."""
    path = tmp_path / "openssl"
    if kind == "file":
        path.write_text("#!/bin/sh\n")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no program openssl" in refusal("openssl")
    assert "no program" in refusal(str(path))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 1", "exited with 1: no version printed"),
        ("echo 'cannot load libcrypto' >&2; exit 127", "exited with 127: cannot load libcrypto"),
        ("exit 0", "no version printed"),
        ("kill -KILL $$", "was killed by SIGKILL"),
        ("exec sleep 600", "not finished after"),
        ("trap '' TERM; while :; do sleep 0.05; done", "not finished after"),
        (r"printf '\377\376\033[31m'", "cannot run suite modern"),
        ("echo OpenSSL 9.9.9", "cannot run suite modern"),
        ("cat", "no version printed"),
        ("head -c 3000000 /dev/zero", "the version has"),
        ("head -c 3000000 /dev/zero >&2; exit 1", "exited with 1"),
    ],
)
def test_a_program_that_is_no_openssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str) -> None:
    """Whatever a program does instead of answering as openssl does, it is refused with what it did."""
    if "not finished" in said:
        monkeypatch.setattr(probe, "_DEADLINE_S", 0.3)
    reason = refusal(script(tmp_path, body))
    assert said in reason
    assert "\x1b" not in reason


def test_a_program_of_another_format(tmp_path: Path) -> None:
    """A file that is executable and no program is refused."""
    path = tmp_path / "openssl"
    path.write_bytes(b"\x7fELF" + bytes(100))
    path.chmod(0o755)
    refusal(str(path))


def answering(folder: Path, body: str) -> str:
    """A program that answers `version` like the real one, and otherwise does something else."""
    return script(folder, f'[ "$1" = version ] && exec {OPENSSL} "$@"\n{body}')


@needs_openssl
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 1", "exited with 1"),
        (f'[ "$1" = dgst ] && exit 1; exec {OPENSSL} "$@"', "exited with 1"),
        (f'[ "$1" = enc ] && exit 1; exec {OPENSSL} "$@"', "openssl enc exited with 1"),
        (f'[ "$1" = enc ] && kill -KILL $$; exec {OPENSSL} "$@"', "openssl enc was killed by SIGKILL"),
        (f'[ "$1" = dgst ] && {{ cat >/dev/null; kill -SEGV $$; }}; exec {OPENSSL} "$@"', "dgst was killed by SIGSEGV"),
        ("exec sleep 600", "not finished after"),
        (f'[ "$1" = dgst ] && exec sleep 600; exec {OPENSSL} "$@"', "not finished after"),
        (f'echo rubbish >&2; exec {OPENSSL} "$@"', "complained: rubbish"),
        (f'echo rubbish; exec {OPENSSL} "$@"', "not what the suite must give"),
        (f'[ "$1" = dgst ] && exec cat; exec {OPENSSL} "$@"', "not what the suite must give"),
        (f'[ "$1" = dgst ] && {{ cat >/dev/null; exec head -c 32 /dev/zero; }}; exec {OPENSSL} "$@"', "must give"),
        ("exec cat", "not what the suite must give"),
        ("exec yes", "the digest has"),
        ("exit 0", "input was read to byte 0 of 3"),
    ],
)
def test_a_program_that_cannot_run_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    """A program that says that it is openssl is refused by what it does with three bytes."""
    if "not finished" in said:
        monkeypatch.setattr(probe, "_DEADLINE_S", 0.5)
    reason = refusal(answering(tmp_path, body))
    assert "cannot run suite modern" in reason
    assert said in reason


@needs_openssl
def test_a_hang_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that hangs is given up after the first try, not after one try for each recipe."""
    monkeypatch.setattr(probe, "_DEADLINE_S", 0.5)
    tries = tmp_path / "tries"
    refusal(answering(tmp_path, f'echo "$1" >> {tries}; exec sleep 600'))
    assert sorted(tries.read_text().split()) == ["dgst", "enc"]


@needs_openssl
def test_a_missing_legacy_module_costs_only_its_suite(tmp_path: Path) -> None:
    """An openssl without Whirlpool is refused for `classic` and good for the others."""
    refuse = 'case "$*" in *-whirlpool*) cat >/dev/null; echo unsupported >&2; exit 1;; esac'
    program = answering(tmp_path, f'{refuse}\nexec {OPENSSL} "$@"')
    reason = refusal(program, "classic")
    assert "suite classic" in reason
    assert "unsupported" in reason
    for name in ("modern", "cbc"):
        find_recipe(find(program), SUITES[name], CancelToken())


# What sets OpenSSL 1.1.1 apart, put around a current one: `enc -S` writes the header itself, `-provider` is no
# option, and Whirlpool needs none.
OLD = f"""
case "$*" in *-provider*) echo 'Unknown option -provider' >&2; exit 1;; esac
if [ "$1" = enc ]; then
    for word; do [ "$before" = -S ] && salt=$word; before=$word; done
    printf Salted__
    while [ -n "$salt" ]; do
        rest=${{salt#??}} byte=$((0x${{salt%"${{salt#??}}"}}))
        printf "\\\\$((byte / 64))$((byte / 8 % 8))$((byte % 8))"
        salt=$rest
    done
elif [ "$2" = -whirlpool ]; then
    shift
    exec {OPENSSL} dgst -provider legacy -provider default "$@"
fi
exec {OPENSSL} "$@"
"""


@needs_openssl
@pytest.mark.parametrize("name", SUITES)
def test_an_old_openssl_is_run_its_own_way(tmp_path: Path, name: SuiteName) -> None:
    """Where `enc -S` writes the header itself (1.1.1), it is not written twice, and the result is the same."""
    if openssl("list", "-providers").returncode:
        pytest.skip("this openssl is an old one already")
    program = answering(tmp_path, OLD)
    recipe = find_recipe(find(program), SUITES[name], CancelToken())
    assert recipe == Recipe((), writes_header=True)
    old = encrypt_bytes(OpensslBackend(program, recipe), name, bytes(5000))
    new = encrypt_bytes(opened("native", name), name, bytes(5000))
    assert (old.digest, old.ciphertext_bytes) == (new.digest, new.ciphertext_bytes)


@needs_openssl
@pytest.mark.parametrize(("body", "counted"), [("", True), ("echo called >> LOG", False)])
def test_a_wrapper_is_found_to_write_elsewhere(tmp_path: Path, body: str, counted: bool) -> None:
    """What `enc` writes is counted where the count is the ciphertext alone, and not where a wrapper keeps a log."""
    program = script(tmp_path, f'{body}\nexec {OPENSSL} "$@"'.replace("LOG", str(tmp_path / "log")))
    recipe = find_recipe(find(program), SUITES["modern"], CancelToken())
    assert recipe == Recipe((), writes_header=False, counted=counted)
    done = encrypt_bytes(OpensslBackend(program, recipe), "modern", bytes(5000))
    assert done.digest == encrypt_bytes(opened("native"), "modern", bytes(5000)).digest
    assert done.ciphertext_bytes == (5016 if counted else None)


@needs_openssl
def test_answers_are_kept(tmp_path: Path) -> None:
    """A program is asked once for its version and tried once for each suite."""
    log = tmp_path / "log"
    program = script(tmp_path, f'echo "$1" >> {log}\nexec {OPENSSL} "$@"')
    for _ in range(3):
        for name in ("modern", "cbc"):
            find_recipe(find(program), SUITES[name], CancelToken())
    assert sorted(log.read_text().split()) == ["dgst", "dgst", "enc", "enc", "version"]


@needs_openssl
def test_a_replaced_program_is_asked_again(tmp_path: Path) -> None:
    """Another program at the same path is not taken for the one before."""
    program = script(tmp_path, f'exec {OPENSSL} "$@"')
    find_recipe(find(program), SUITES["modern"], CancelToken())
    os.unlink(program)
    script(tmp_path, "exit 1")
    assert "version exited with 1" in refusal(program)
    os.unlink(program)
    assert "no program" in refusal(program)


@needs_openssl
def test_a_refused_program_gets_another_chance(tmp_path: Path) -> None:
    """Only good answers are kept: what failed once is tried again."""
    marker = tmp_path / "good now"
    program = answering(tmp_path, f'[ -e "{marker}" ] || exit 1\nexec {OPENSSL} "$@"')
    refusal(program)
    marker.touch()
    find_recipe(find(program), SUITES["modern"], CancelToken())


@needs_openssl
@pytest.mark.parametrize("stage", ["version", "enc"])
def test_probing_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """A program that hangs in either part of the probe does not keep a cancelled run."""
    monkeypatch.setattr(probe, "_DEADLINE_S", BOUND_S)
    marker = tmp_path / "hanging"
    program = script(tmp_path, f'[ "$1" = {stage} ] && {{ touch {marker}; exec sleep 600; }}\nexec {OPENSSL} "$@"')
    token = CancelToken()

    def cancel_then() -> None:
        wait_until(marker.exists, "the program was not started")
        token.cancel()

    thread = threading.Thread(target=cancel_then)
    thread.start()
    with pytest.raises(Cancelled):
        find_recipe(find(program, token), SUITES["modern"], token)
    thread.join()


@needs_openssl
def test_many_threads_probe_once(tmp_path: Path) -> None:
    """Threads that ask at the same time share one probe."""
    log = tmp_path / "log"
    program = script(tmp_path, f'echo "$1" >> {log}\nexec {OPENSSL} "$@"')
    threads = [
        threading.Thread(target=lambda: find_recipe(find(program), SUITES["modern"], CancelToken())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert sorted(log.read_text().split()) == ["dgst", "enc", "version"]
