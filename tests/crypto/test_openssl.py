"""The openssl backend: what it gives, what its children show, and what openssl itself does not tell."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.chain import Sink
from tasks.crypto.encrypt import Limits
from tasks.crypto.errors import Cancelled, InputNotRead, LegacySize, SourceChanged, StageFailed
from tasks.crypto.inputs import Attempt, Input, Payload, memory_input
from tasks.crypto.native import NativeBackend
from tasks.crypto.openssl import complaint
from tasks.crypto.secret import KeyFile, Secret, write_key_file
from tasks.suites import SUITES, SuiteName
from tests.support.account import Account
from tests.support.crypto_fakes import (
    BOUND_S,
    CLI_ENC,
    OPENSSL,
    SALT,
    SECRET,
    children,
    chosen,
    descriptors,
    encrypt_bytes,
    encrypt_input,
    file_input,
    file_payload,
    needs_openssl,
    needs_setpriv,
    opened,
    openssl,
    run_batch,
    script,
    standard_input,
    stock_digest,
    wait_until,
)

pytestmark = needs_openssl
MIB = 1 << 20


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100_000, 5 * MIB + 3])
def test_stock_openssl_opens_what_is_stored(name: SuiteName, size: int, tmp_path: Path) -> None:
    """What is stored opens with `openssl enc -d` and the key file, and has the digest that `openssl dgst` gives."""
    key, stored = tmp_path / "key", tmp_path / "stored"
    write_key_file(str(key))
    data = random.Random(size).randbytes(size)
    secret = Secret(key.read_bytes().strip())
    with stored.open("wb") as file:
        done = encrypt_bytes(opened("openssl", name), name, data, secret=secret, store=file.write)
    assert done.ciphertext_bytes == stored.stat().st_size == SUITES[name].ciphertext_bytes(size)
    back = openssl("enc", "-d", *CLI_ENC[name], "-pass", f"file:{key}", "-in", str(stored))
    assert back.returncode == 0
    assert back.stdout == data
    assert stock_digest(name, stored) in (done.digest, None)


@pytest.mark.parametrize("name", SUITES)
def test_storing_and_discarding_agree(name: SuiteName) -> None:
    """Digest and lengths are the same whether the ciphertext is stored (one child) or discarded (two)."""
    data = bytes(2 * MIB)
    discarded = encrypt_bytes(opened("openssl", name), name, data)
    stored = encrypt_bytes(opened("openssl", name), name, data, store=len)
    assert [stage.program for stage in discarded.stages] == ["openssl enc", "openssl dgst"]
    assert [stage.program for stage in stored.stages] == ["openssl enc"]
    assert (discarded.digest, discarded.size_bytes, discarded.ciphertext_bytes) == (
        stored.digest,
        stored.size_bytes,
        stored.ciphertext_bytes,
    )


@pytest.mark.parametrize("name", SUITES)
def test_enc_draws_the_salt_of_a_large_payload(
    name: SuiteName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the ciphertext is discarded, `enc` writes its own header; the salt in it is the one on record."""
    monkeypatch.setattr("tasks.crypto.openssl._OWN_SALT_BYTES", MIB)
    path, key = tmp_path / "file", tmp_path / "key"
    write_key_file(str(key))
    data = random.Random(1).randbytes(3 * MIB)
    path.write_bytes(data)
    choice = chosen("openssl", name)
    (result,) = run_batch(choice, [file_payload(path)], suite=name, key=KeyFile(str(key)))
    assert result.status == "ok", result.error
    assert result.ciphertext_bytes == SUITES[name].ciphertext_bytes(len(data))
    assert result.salt is not None
    secret = KeyFile(str(key)).secret()
    assert result.digest == encrypt_bytes(NativeBackend(), name, data, secret=secret, salt=result.salt).digest


def test_only_large_payloads_that_are_not_kept_have_a_salt_of_enc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A given salt is used where the payload is small or stored, where it must be, and where no pipe can be copied."""
    backend = opened("openssl")

    def salt_of(size: int, *, any_salt: bool = True, store: Sink | None = None) -> bytes | None:
        with memory_input([bytes(size)]) as source:
            attempt = Attempt(source, SUITES["modern"], SECRET, SALT, None, BOUND_S, CancelToken(), store, any_salt)
            return backend.encrypt(attempt).salt

    assert salt_of(MIB) is None
    monkeypatch.setattr("tasks.crypto.openssl._OWN_SALT_BYTES", MIB)
    assert salt_of(MIB) not in (None, SALT)
    assert salt_of(MIB) != salt_of(MIB)
    assert salt_of(MIB - 1) is None
    assert salt_of(MIB, any_salt=False) is None
    assert salt_of(MIB, store=len) is None
    monkeypatch.setattr("tasks.crypto.openssl.can_peek", lambda: False)
    assert salt_of(MIB) is None


@pytest.mark.parametrize("size", [0, 100, 3 * MIB])
def test_a_pipe_gives_what_a_file_gives(size: int) -> None:
    """The same bytes through a pipe have the same digest."""
    data = bytes(size)
    read_end, write_end = os.pipe()
    writer = threading.Thread(target=feed, args=(write_end, data))
    writer.start()
    done = encrypt_input(opened("openssl"), "modern", Input(read_end, None))
    writer.join()
    os.close(read_end)
    assert done.digest == encrypt_bytes(NativeBackend(), "modern", data).digest
    assert done.size_bytes == size


def feed(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file, suppress(BrokenPipeError):
        file.write(data)


def test_a_pipe_past_its_limit_is_refused() -> None:
    """A pipe that brings more than the limit is refused although the stages did well."""
    read_end, write_end = os.pipe()
    os.write(write_end, bytes(1001))
    os.close(write_end)
    with pytest.raises(LegacySize) as caught:
        encrypt_input(opened("openssl", "classic"), "classic", Input(read_end, None), limit_bytes=1000)
    os.close(read_end)
    assert [stage.exit_code for stage in caught.value.stages] == [0, 0]


def test_a_failed_store_ends_the_chain() -> None:
    """What the store raises comes out, and no child stays."""

    def fail(_data: bytes | memoryview) -> None:
        raise OSError(28, "No space left on device")

    before = descriptors(), children(os.getpid())
    with pytest.raises(OSError, match="No space left"):
        encrypt_bytes(opened("openssl"), "modern", bytes(MIB), store=fail)
    assert (descriptors(), children(os.getpid())) == before


@pytest.fixture(params=[pytest.param("setpriv", marks=needs_setpriv), "wrapper"])
def path_without(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`PATH` as it is, and one on which there is openssl but no setpriv."""
    if request.param == "wrapper":
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "openssl").symlink_to(OPENSSL)
        monkeypatch.setenv("PATH", str(folder))


@pytest.mark.usefixtures("path_without")
def test_the_secret_shows_nowhere() -> None:
    """While a chain runs, the secret is in no child's arguments and in no child's environment."""
    backend, token = opened("openssl"), CancelToken()
    before = set(children(os.getpid()))
    read_end, write_end = os.pipe()

    def work() -> None:
        with pytest.raises(Cancelled):
            encrypt_input(backend, "modern", Input(read_end, None), cancel=token)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        os.write(write_end, b"a first few bytes")
        seen = wait_for_openssl(before)
    finally:
        token.cancel()
        thread.join(BOUND_S)
        os.close(read_end)
        os.close(write_end)
    assert sum(b"enc" in shown for shown in seen) == 1
    assert sum(b"dgst" in shown for shown in seen) == 1
    for shown in seen:
        assert SECRET.password not in shown
        assert SECRET.password.upper() not in shown
        assert bytes.fromhex(SECRET.password.decode()) not in shown


def wait_for_openssl(before: set[int]) -> list[bytes]:
    """Arguments and environment of our new children, as soon as both are openssl."""
    found: list[bytes] = []

    def both() -> bool:
        found.clear()
        for pid in set(children(os.getpid())) - before:
            folder = Path(f"/proc/{pid}")
            with suppress(FileNotFoundError, ProcessLookupError):
                if (folder / "comm").read_text() == "openssl\n":
                    found.append((folder / "cmdline").read_bytes() + (folder / "environ").read_bytes())
        return len(found) == 2

    wait_until(both, "the chain did not start")
    return found


def test_the_secret_is_not_in_the_stages() -> None:
    """Neither the results nor their text have the secret."""
    done = encrypt_bytes(opened("openssl"), "modern", b"abc")
    assert SECRET.password.decode() not in repr(done)


@pytest.mark.parametrize("size", [1, 100, 2 * MIB])
def test_an_input_that_cannot_be_read_is_found(tmp_path: Path, size: int) -> None:
    """`enc` exits 0 when its input cannot be read at all; the chain is not good."""
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    with file_input(path, os.O_WRONLY) as source, pytest.raises((InputNotRead, StageFailed)):
        encrypt_input(opened("openssl"), "modern", source)


@pytest.mark.parametrize("name", SUITES)
def test_an_input_that_cannot_be_read_is_found_in_silence(tmp_path: Path, name: SuiteName) -> None:
    """The offset alone gives it away, whatever `enc` prints or does not print, in every suite."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    program = script(tmp_path, f'exec {OPENSSL} "$@" 2>/dev/null')
    backend = chosen("openssl", name, program).open(SUITES[name], CancelToken())
    with file_input(path, os.O_WRONLY) as source, pytest.raises(InputNotRead, match="byte 0 of 100"):
        encrypt_input(backend, name, source)


def test_an_input_that_cannot_be_read_is_found_without_a_count(tmp_path: Path) -> None:
    """Where a wrapper's own writes spoil the count of the ciphertext, the offset still gives a read error away."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    program = script(tmp_path, f'echo called >> {tmp_path}/log\nexec {OPENSSL} "$@" 2>/dev/null')
    backend = chosen("openssl", "modern", program).open(SUITES["modern"], CancelToken())
    with file_input(path, os.O_WRONLY) as source, pytest.raises(InputNotRead, match="byte 0 of 100"):
        encrypt_input(backend, "modern", source)


def strace_options(number: int) -> str:
    return f"-D -f -qq -o /dev/null -e trace=read -e inject=read:error=EIO:when={number}"


@pytest.fixture
def strace() -> str:
    """The path of a strace that may inject errors here."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("there is no strace on PATH")
    tried = subprocess.run(
        [program, *strace_options(60_000).split(), "true"], capture_output=True, timeout=BOUND_S, check=False
    )
    if tried.returncode or tried.stderr:
        pytest.skip(f"strace cannot inject errors here: {tried.stderr.decode(errors='replace').strip()}")
    return program


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file that takes `enc` hundreds of reads."""
    path = tmp_path / "big"
    path.write_bytes(random.Random(3).randbytes(2 * MIB))
    return path


@pytest.mark.parametrize("name", ["modern", "cbc"])
@pytest.mark.parametrize("stderr", ["", "2>/dev/null"], ids=["noisy", "silent"])
@pytest.mark.parametrize("number", [40, 100, 200])
def test_a_read_error_is_never_good(
    strace: str, tmp_path: Path, big: Path, name: SuiteName, stderr: str, number: int
) -> None:
    """An input that fails in the middle, after which `enc` exits 0, fails the payload: by the offset if in silence."""
    program = script(
        tmp_path,
        f'[ "$1" = enc ] && exec {strace} {strace_options(number)} {OPENSSL} "$@" {stderr}\nexec {OPENSSL} "$@"',
    )
    (result,) = run_batch(chosen("openssl", name, program), [file_payload(big)], suite=name)
    assert result.status == "failed"
    assert [stage.exit_code for stage in result.stages] == [0, 0]
    if stderr:
        assert result.cause == "not-read"
        assert result.error is not None
        assert f"of {2 * MIB}" in result.error
    else:
        assert result.cause in ("not-read", "stage")


def test_strace_alone_changes_nothing(strace: str, tmp_path: Path, big: Path) -> None:
    """The same wrapper without an error gives a good payload, so it is the error that the tests above find."""
    program = script(tmp_path, f'exec {strace} {strace_options(60_000)} {OPENSSL} "$@"')
    (result,) = run_batch(chosen("openssl", program=program), [file_payload(big)])
    assert (result.status, result.error) == ("ok", None)


@pytest.mark.parametrize("stderr", ["", "2>/dev/null"], ids=["noisy", "silent"])
def test_a_read_error_on_a_pipe_is_never_good(strace: str, tmp_path: Path, big: Path, stderr: str) -> None:
    """Standard input that `enc` stops reading in the middle fails the payload by the ciphertext's length."""
    program = script(
        tmp_path,
        f'[ "$1" = enc ] && exec {strace} {strace_options(100)} {OPENSSL} "$@" {stderr}\nexec {OPENSSL} "$@"',
    )
    choice = chosen("openssl", program=program)
    read_end, write_end = os.pipe()
    writer = threading.Thread(target=feed, args=(write_end, big.read_bytes()))
    writer.start()
    with standard_input(read_end):
        os.close(read_end)
        (result,) = run_batch(choice, [Payload("stdin", b"-", None)])
    writer.join(BOUND_S)
    assert result.status == "failed"
    assert result.cause == ("wrong-length" if stderr else "stage")


def test_a_read_error_of_dgst_is_never_good(strace: str, tmp_path: Path, big: Path) -> None:
    """A pipe that fails under `dgst` fails the payload."""
    program = script(
        tmp_path, f'[ "$1" = dgst ] && exec {strace} {strace_options(40)} {OPENSSL} "$@"\nexec {OPENSSL} "$@"'
    )
    (result,) = run_batch(chosen("openssl", program=program), [file_payload(big)])
    assert result.status == "failed"


@pytest.mark.parametrize("size", [0, 5 * MIB, 70 * MIB])
def test_a_file_that_changes_under_way_is_told(tmp_path: Path, size: int) -> None:
    """A file that is cut or grows after reading began does not come out as good."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    changed: list[bool] = []

    def meddle(_data: bytes | memoryview) -> None:
        if not changed:
            os.truncate(path, size)
            changed.append(True)

    with file_input(path) as source, pytest.raises(SourceChanged, match=f"{64 * MIB} bytes became {size}"):
        encrypt_input(opened("openssl"), "modern", source, store=meddle)


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    """The file whose presence makes a fake openssl fail."""
    path = tmp_path / "armed"
    yield path
    path.unlink(missing_ok=True)


FAILURES = [
    ("enc", "exit 1", "stage", "openssl enc exited with 1"),
    # A dgst that ends early takes the reader away from enc, which then fails as well.
    ("dgst", "exit 1", "stage", "openssl"),
    ("dgst", "cat >/dev/null; exit 1", "stage", "openssl dgst exited with 1"),
    ("enc", "echo 'no such cipher' >&2; exit 1", "stage", "openssl enc exited with 1: no such cipher"),
    ("enc", "head -c 100000; kill -KILL $$", "stage", "openssl enc was killed by SIGKILL"),
    ("dgst", "head -c 100000 >/dev/null; kill -KILL $$", "stage", "openssl"),
    ("enc", "head -c 100000; kill -SEGV $$", "stage", "openssl enc was killed by SIGSEGV"),
    ("dgst", "kill -TERM $$", "stage", "openssl"),
    ("dgst", "cat >/dev/null; kill -KILL $$", "stage", "openssl dgst was killed by SIGKILL"),
    ("enc", f'printf "rubbish \\033[31m" >&2; exec {OPENSSL} "$@"', "stage", "exited with 0 but complained: rubbish"),
    ("dgst", f'echo rubbish >&2; exec {OPENSSL} "$@"', "stage", "openssl dgst exited with 0 but complained: rubbish"),
    ("enc", f'echo rubbish; exec {OPENSSL} "$@"', "wrong-length", "the ciphertext has"),
    ("enc", f'{OPENSSL} "$@"; echo rubbish', "wrong-length", "the ciphertext has"),
    ("enc", f'{OPENSSL} "$@" | (head -c 999; cat >/dev/null)', "wrong-length", "the ciphertext has"),
    ("enc", f"{OPENSSL} dgst -sha256 >/dev/null", "wrong-length", "the ciphertext has"),
    ("enc", "exit 0", "not-read", "input was read to byte 0"),
    ("enc", f'head -c 1000 | {OPENSSL} "$@"', "not-read", "input was read to byte"),
    ("dgst", f'echo rubbish; exec {OPENSSL} "$@"', "wrong-length", "the digest has 40 bytes, must have 32"),
    ("dgst", "cat >/dev/null", "wrong-length", "the digest has 0 bytes"),
    ("dgst", "exec cat", "wrong-length", "the digest has"),
    ("dgst", "exec yes", "wrong-length", "the digest has"),
    ("enc", "exec sleep 600", "deadline", "not finished after 1 s"),
    ("dgst", "exec sleep 600", "deadline", "not finished after 1 s"),
]


@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["small", "guarded"])
@pytest.mark.parametrize(
    ("stage", "body", "cause", "text"), FAILURES, ids=[f"{stage}: {body[:30]}" for stage, body, _, _ in FAILURES]
)
def test_a_stage_that_fails_later_fails_the_payload(
    tmp_path: Path, armed: Path, stage: str, body: str, cause: str, text: str, size: int
) -> None:
    """An openssl that was good at the probe and is not any more gives failed payloads with the reason."""
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    program = script(tmp_path, f'if [ "$1" = {stage} ] && [ -e {armed} ]; then {body}; exit; fi\nexec {OPENSSL} "$@"')
    choice = chosen("openssl", program=program)
    good = run_batch(choice, [file_payload(path)])
    armed.touch()
    bad = run_batch(choice, [file_payload(path)] * 2, limits=Limits(deadline_s=1 if cause == "deadline" else BOUND_S))
    assert [result.status for result in (*good, *bad)] == ["ok", "failed", "failed"]
    for result in bad:
        assert (result.salt, result.digest, result.size_bytes) == (None, None, None)
        assert result.error is not None
        if size == 1000 and "head -c 1000" in body:
            continue  # a thousand bytes are the whole file: another check finds it, or nothing is wrong with it
        assert (result.cause, text in result.error) == (cause, True), result.error
        assert "\x1b" not in result.error
        assert "\n" not in result.error


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("", ""),
        ("*** WARNING : deprecated key derivation used.\nUsing -iter or -pbkdf2 would be better.\n", ""),
        ("WARNING: can't open config file: /etc/ssl/openssl.cnf\n", ""),
        ("Using -iter or -pbkdf2 would be better.\nreal trouble\n", "real trouble"),
        ("one\n\n  two  \n", "one; two"),
        ("\x1b[31mred\x07", "?[31mred?"),
        ("x" * 301, "x" * 299 + "…"),
        ("x" * 300, "x" * 300),
    ],
)
def test_complaints_are_what_is_not_harmless(stderr: str, said: str) -> None:
    """Known harmless lines are no complaint; the rest becomes one printable line of at most 300 characters."""
    assert complaint(stderr) == said


# Prints the lengths of ciphertexts, as counted by the kernel.
COUNT = """
from concurrent.futures import ThreadPoolExecutor
from tasks.cancel import CancelToken
from tasks.crypto.inputs import Attempt, memory_input
from tasks.crypto.probe import choose_backend
from tasks.crypto.secret import Secret
from tasks.suites import SUITES

suite, token = SUITES["modern"], CancelToken()
backend = choose_backend("openssl", suite, "openssl", token).open(suite, token)

def count(size):
    with memory_input([bytes(size)]) as source:
        return backend.encrypt(Attempt(source, suite, Secret.draw(), bytes(8), None, 60, token)).ciphertext_bytes

with ThreadPoolExecutor(4) as pool:
    print(*pool.map(count, range(100)))
"""


@needs_openssl
def test_the_ciphertext_of_a_plain_user_is_counted(account: Account) -> None:
    """However short a run is: of a process that has ended, only root can open the accounts."""
    counted = account.run(account.bin / "python", "-c", COUNT)
    assert counted.stdout.split() == [str(16 + size) for size in range(100)], counted.stderr
