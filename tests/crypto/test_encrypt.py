"""Batches of payloads: one result for each, in order, with the truth about it."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto import chain, encrypt
from tasks.crypto.encrypt import Batch, Cipher, Encryption, Limits, encrypt_batch
from tasks.crypto.errors import SourceReplaced, StageNotStarted, WrongLength
from tasks.crypto.inputs import Attempt, Backend, Encrypted, Payload, memory_input
from tasks.crypto.native import NativeBackend
from tasks.crypto.probe import Chosen
from tasks.crypto.scan import scan, source_folders
from tasks.crypto.secret import KeyFile, write_key_file
from tasks.suites import SUITES, Suite, SuiteName
from tests.support.crypto_fakes import (
    BACKENDS,
    BOUND_S,
    OPENSSL,
    SECRET,
    children,
    chosen,
    descriptors,
    encrypt_bytes,
    file_payload,
    needs_openssl,
    opened,
    run_batch,
    run_python,
    script,
    standard_input,
    wait_until,
    without_root_rights,
)

MIB = 1 << 20
RANDOM = Payload("random", b"random 1", 100)
STDIN = Payload("stdin", b"-", None)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend's name."""
    return str(request.param)


@pytest.fixture
def key(tmp_path: Path) -> KeyFile:
    """A key file."""
    path = str(tmp_path / "key")
    write_key_file(path)
    return KeyFile(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 100 kB."""
    path = tmp_path / "file"
    path.write_bytes(random.randbytes(100_000))
    return path


def statuses(results: tuple[Encryption, ...]) -> list[str]:
    return [result.status for result in results]


def digest_again(result: Encryption, data: bytes, key: KeyFile) -> bytes:
    """The digest of the payload's bytes under the salt that was recorded."""
    assert result.salt is not None
    backend = NativeBackend()
    return encrypt_bytes(backend, result.suite.name, data, secret=key.secret(), salt=result.salt).digest


@pytest.mark.parametrize("name", SUITES)
def test_a_good_payload_is_told_in_full(backend: str, name: SuiteName, path: Path, key: KeyFile) -> None:
    """A good result has sizes, salt and digest, and re-encrypting under that salt gives that digest."""
    (result,) = run_batch(chosen(backend, name), [file_payload(path)], suite=name, key=key)
    assert (result.status, result.cause, result.error) == ("ok", None, None)
    assert (result.ordinal, result.payload, result.suite) == (0, file_payload(path), SUITES[name])
    assert (result.size_bytes, result.ciphertext_bytes) == (100_000, SUITES[name].ciphertext_bytes(100_000))
    assert result.digest == digest_again(result, path.read_bytes(), key)
    assert result.wall_ns > 0
    assert [stage.exit_code for stage in result.stages] == ([0, 0] if backend == "openssl" else [])
    assert all(0 < stage.wall_ns <= result.wall_ns for stage in result.stages)


@pytest.mark.parametrize("name", SUITES)
def test_an_empty_file_is_a_payload(backend: str, name: SuiteName, tmp_path: Path, key: KeyFile) -> None:
    """A file of no bytes is encrypted as well: its ciphertext is the header, and padding where there is any."""
    empty = tmp_path / "empty"
    empty.touch()
    (result,) = run_batch(chosen(backend, name), [file_payload(empty)], suite=name, key=key)
    assert (result.status, result.size_bytes) == ("ok", 0)
    assert result.digest == digest_again(result, b"", key)


def test_every_payload_has_a_salt_of_its_own(backend: str, path: Path, key: KeyFile) -> None:
    """The same file twice has two salts and two digests."""
    one, two = run_batch(chosen(backend), [file_payload(path)] * 2, key=key)
    assert one.salt != two.salt
    assert one.digest != two.digest


@pytest.mark.parametrize(
    "name", [b"new\nline", b"-help", b"n" * 255, b"not utf-8 \xff", b"$(exit 1)", "é".encode()], ids=repr
)
def test_names_are_only_names(backend: str, tmp_path: Path, name: bytes) -> None:
    """No name is taken for an option, a command, or text."""
    with open(os.path.join(bytes(tmp_path), name), "wb") as file:
        file.write(b"content")
    (result,) = run_batch(chosen(backend), list(scan([str(tmp_path)])))
    assert (result.status, result.size_bytes, os.path.basename(result.payload.name)) == ("ok", 7, name)


def test_one_bad_payload_does_not_hide_the_others(backend: str, tmp_path: Path, path: Path) -> None:
    """Each payload has its own result in the order given, whatever is wrong with its neighbours."""
    os.mkfifo(tmp_path / "fifo")
    before = descriptors()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        payloads = [
            file_payload(path),
            Payload("file", bytes(tmp_path / "gone"), 5),
            Payload("file", bytes(tmp_path / "fifo"), 0, skip="FIFO"),
            Payload("file", bytes(tmp_path / "fifo"), 5),
            Payload("file", bytes(tmp_path / "s"), 5),
            Payload("file", bytes(tmp_path), 5),
            Payload("file", b"/dev/null", 5),
            Payload("file", b"/closed", 0, errno=errno.EACCES),
            RANDOM,
        ]
        results = run_batch(chosen(backend), payloads)
    assert [(result.ordinal, result.status, result.cause) for result in results] == [
        (0, "ok", None),
        (1, "failed", "unreadable"),
        (2, "skipped", "not-a-file"),
        (3, "skipped", "not-a-file"),
        (4, "failed", "unreadable"),
        (5, "skipped", "not-a-file"),
        (6, "skipped", "not-a-file"),
        (7, "failed", "unreadable"),
        (8, "ok", None),
    ]
    assert [result.error for result in results[1:4]] == ["cannot be read: No such file or directory", "FIFO", "FIFO"]
    assert all((result.salt, result.digest, result.size_bytes) == (None, None, None) for result in results[1:8])
    assert descriptors() == before


def test_a_whole_tree_with_all_kinds(backend: str, tmp_path: Path) -> None:
    """What `scan` finds is encrypted or told, in the order of a walk."""
    (tmp_path / "a").mkdir()
    for name in ("one", "a/two"):
        (tmp_path / name).write_bytes(b"x" * 10)
    os.mkfifo(tmp_path / "a" / "fifo")
    (tmp_path / "link").symlink_to("one")
    results = run_batch(chosen(backend), list(scan([str(tmp_path)])))
    assert [(os.path.basename(result.payload.name), result.status) for result in results] == [
        (b"fifo", "skipped"),
        (b"two", "ok"),
        (b"link", "skipped"),
        (b"one", "ok"),
    ]


def test_an_unreadable_file_is_told(backend: str, tmp_path: Path, path: Path) -> None:
    """A file without read permission fails as unreadable beside a good one."""
    path.chmod(0)
    (tmp_path / "good").write_bytes(b"good")
    code = """
import sys
from tasks.crypto.scan import scan
from tests.support.crypto_fakes import chosen, run_batch
for result in run_batch(chosen(sys.argv[1]), list(scan(sys.argv[2:]))):
    print(result.status, result.cause, result.error)
"""
    ended = run_python(code, backend, str(path), str(tmp_path / "good"), before=without_root_rights())
    assert ended.stdout.decode().splitlines() == [
        "failed unreadable cannot be read: Permission denied",
        "ok None None",
    ], ended.stderr


def test_a_bad_key_file_fails_every_payload(backend: str, path: Path, key: KeyFile) -> None:
    """A key file that went bad since the plan gives failed payloads with the reason, not a crash."""
    os.chmod(key.path, 0o644)
    results = run_batch(chosen(backend), [file_payload(path), RANDOM], key=key)
    assert [(result.status, result.cause) for result in results] == [("failed", "key-file")] * 2
    assert all("chmod 600" in (result.error or "") for result in results)


class Meddling:
    """A backend before which something happens to the open file, in the middle of the reading for all it knows."""

    def __init__(self, inner: Backend, meddle: Callable[[int], object]) -> None:
        self.inner = inner
        self.meddle = meddle
        self.salts: list[bytes] = []

    def encrypt(self, attempt: Attempt) -> Encrypted:
        """Meddle, with the number of the attempt, then encrypt."""
        self.salts.append(attempt.salt)
        self.meddle(len(self.salts))
        return self.inner.encrypt(attempt)


@dataclass(frozen=True)
class Rigged(Chosen):
    """A choice that opens a meddling backend."""

    meddling: Meddling | None = None

    def open(self, suite: Suite, cancel: CancelToken) -> Backend:
        """The meddling backend."""
        del suite, cancel
        assert self.meddling is not None
        return self.meddling


def rigged(backend: str, meddle: Callable[[int], object]) -> Rigged:
    choice = chosen(backend)
    return Rigged(choice.backend, choice.detail, choice.reason, choice.program, Meddling(opened(backend), meddle))


@pytest.mark.parametrize("change", ["shrinks", "is emptied", "grows", "is rewritten"])
def test_a_file_that_keeps_changing_is_unstable(backend: str, path: Path, change: str) -> None:
    """A file that changes in each of two tries, under two salts, is unstable and has no digest."""
    sizes = {"shrinks": (99_999, 99_998), "is emptied": (0, 5), "grows": (100_001, 200_000)}

    def meddle(attempt: int) -> None:
        if change == "is rewritten":
            path.write_bytes(random.randbytes(100_000))
            os.utime(path, (attempt, attempt))
        else:
            os.truncate(path, sizes[change][attempt - 1])

    choice = rigged(backend, meddle)
    (result,) = run_batch(choice, [file_payload(path)])
    assert (result.status, result.cause) == ("unstable", "changed"), result.error
    assert (result.salt, result.digest, result.size_bytes) == (None, None, None)
    assert choice.meddling is not None
    assert len(choice.meddling.salts) == len(set(choice.meddling.salts)) == 2


def test_a_file_that_changed_once_is_good(backend: str, path: Path, key: KeyFile) -> None:
    """A file that is quiet at the second try is good, as it is then, under the second salt."""
    choice = rigged(backend, lambda attempt: path.write_bytes(b"final") if attempt == 1 else None)
    (result,) = run_batch(choice, [file_payload(path)], key=key)
    assert choice.meddling is not None
    assert (result.status, result.size_bytes) == ("ok", 5)
    assert [result.salt] == choice.meddling.salts[1:]
    assert result.digest == digest_again(result, b"final", key)


def test_what_may_pass_is_tried_again(backend: str, path: Path) -> None:
    """A lack of processes or descriptors is met with one more try under a new salt."""
    for error in (StageNotStarted("openssl enc", errno.EAGAIN), OSError(errno.EMFILE, "Too many open files")):

        def meddle(attempt: int, error: Exception = error) -> None:
            if attempt == 1:
                raise error

        choice = rigged(backend, meddle)
        assert statuses(run_batch(choice, [file_payload(path)])) == ["ok"]
        assert choice.meddling is not None
        assert len(set(choice.meddling.salts)) == 2


def test_what_does_not_pass_is_not_tried_again(backend: str, path: Path) -> None:
    """A missing program or a full disk is not tried again."""
    for error, cause in (
        (StageNotStarted("openssl enc", errno.ENOENT), "not-started"),
        (OSError(errno.ENOSPC, "No space left on device"), "system"),
    ):

        def meddle(_attempt: int, error: Exception = error) -> None:
            raise error

        choice = rigged(backend, meddle)
        (result,) = run_batch(choice, [file_payload(path)])
        assert (result.status, result.cause) == ("failed", cause)
        assert choice.meddling is not None
        assert len(choice.meddling.salts) == 1


def feeding(data: bytes) -> tuple[int, threading.Thread]:
    """A pipe, and a thread that writes to it until all is written or nobody reads any more."""
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as file:
            view = memoryview(data)
            try:
                while view:
                    view = view[file.write(view) or 0 :]
            except BrokenPipeError:
                return

    thread = threading.Thread(target=feed)
    thread.start()
    return read_end, thread


def from_pipe(choice: Chosen, data: bytes, **options: object) -> Encryption:
    read_end, thread = feeding(data)
    with standard_input(read_end):
        os.close(read_end)
        (result,) = run_batch(choice, [STDIN], **options)  # type: ignore[arg-type]
    thread.join(BOUND_S)
    assert not thread.is_alive()
    return result


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 40_000_003])
def test_a_pipe_is_encrypted_to_its_end(backend: str, size: int, key: KeyFile) -> None:
    """Standard input from a pipe comes through with its exact length and digest, at any size."""
    data = random.randbytes(1000) * (size // 1000 + 1)
    result = from_pipe(chosen(backend), data[:size], key=key)
    assert (result.status, result.error, result.size_bytes, result.ciphertext_bytes) == ("ok", None, size, size + 16)
    assert result.digest == digest_again(result, data[:size], key)


@pytest.mark.parametrize("offset", [0, 1, 99_999, 100_000])
def test_a_redirected_file_is_encrypted_from_its_offset(backend: str, path: Path, key: KeyFile, offset: int) -> None:
    """Standard input from a file is what is left of it."""
    descriptor = os.open(path, os.O_RDONLY)
    os.lseek(descriptor, offset, os.SEEK_SET)
    with standard_input(descriptor):
        (result,) = run_batch(chosen(backend), [STDIN], key=key)
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 100_000
    os.close(descriptor)
    assert (result.status, result.size_bytes) == ("ok", 100_000 - offset)
    assert result.digest == digest_again(result, path.read_bytes()[offset:], key)


def test_a_device_as_standard_input(backend: str, key: KeyFile) -> None:
    """`/dev/null` as standard input is an empty payload."""
    with open(os.devnull, "rb") as nothing, standard_input(nothing.fileno()):
        (result,) = run_batch(chosen(backend), [STDIN], key=key)
    assert (result.status, result.size_bytes) == ("ok", 0)
    assert result.digest == digest_again(result, b"", key)


def test_a_folder_as_standard_input(backend: str, tmp_path: Path) -> None:
    """A folder as standard input is unreadable, not a crash and not an empty payload."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with standard_input(descriptor):
        (result,) = run_batch(chosen(backend), [STDIN])
    os.close(descriptor)
    assert (result.status, result.cause, result.error) == ("failed", "unreadable", "cannot be read: Is a directory")


def test_standard_input_is_never_read_twice(backend: str, path: Path) -> None:
    """Standard input that changed is not tried again: what was read of it is gone."""
    descriptor = os.open(path, os.O_RDONLY)
    choice = rigged(backend, lambda _: os.truncate(path, 10))
    with standard_input(descriptor):
        (result,) = run_batch(choice, [STDIN])
    os.close(descriptor)
    assert result.status == "unstable"
    assert choice.meddling is not None
    assert len(choice.meddling.salts) == 1


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_classic_takes_eight_mebibytes(backend: str, tmp_path: Path, extra: int) -> None:
    """A file of exactly 8 MiB is taken, one byte more is refused with the way on, and taken where allowed."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8 * MIB + extra))
    choice = chosen(backend, "classic")
    (result,) = run_batch(choice, [file_payload(path)], suite="classic")
    if extra <= 0:
        assert (result.status, result.size_bytes) == ("ok", 8 * MIB + extra)
        return
    assert (result.status, result.cause, result.digest) == ("failed", "legacy-size", None)
    assert "--allow-legacy-size" in (result.error or "")
    allowed = Limits(deadline_s=BOUND_S, allow_legacy_size=True)
    assert statuses(run_batch(choice, [file_payload(path)], suite="classic", limits=allowed)) == ["ok"]


def test_classic_refuses_a_large_random_payload(backend: str) -> None:
    """Random payloads have the same limit as files."""
    payload = Payload("random", b"random 1", 8 * MIB + 1)
    (result,) = run_batch(chosen(backend, "classic"), [payload], suite="classic")
    assert (result.status, result.cause) == ("failed", "legacy-size")


def test_other_suites_have_no_limit(backend: str, tmp_path: Path) -> None:
    """A suite with 128-bit blocks takes what `classic` does not."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(8 * MIB + 1)
    for name in ("cbc", "chacha"):
        assert statuses(run_batch(chosen(backend, name), [file_payload(path)], suite=name)) == ["ok"]


@pytest.mark.parametrize("extra", [0, 1])
def test_classic_takes_eight_mebibytes_of_a_pipe(backend: str, extra: int) -> None:
    """A pipe's length is not known beforehand: it is refused as soon as it is too long, and not read to its end."""
    data = bytes(8 * MIB + extra * (1 + 32 * MIB))
    result = from_pipe(chosen(backend, "classic"), data, suite="classic")
    expected = ("failed", "legacy-size", None) if extra else ("ok", None, 8 * MIB)
    assert (result.status, result.cause, result.size_bytes) == expected


def test_a_long_pipe_is_taken_where_allowed(backend: str, key: KeyFile) -> None:
    """With the limit lifted, `classic` reads a pipe to its end."""
    limits = Limits(deadline_s=BOUND_S, allow_legacy_size=True)
    data = bytes(8 * MIB + 1)
    result = from_pipe(chosen(backend, "classic"), data, suite="classic", limits=limits, key=key)
    assert (result.status, result.size_bytes) == ("ok", 8 * MIB + 1)
    assert result.digest == digest_again(result, data, key)


def test_deadlines_go_by_size() -> None:
    """A payload has a minute and a second per megabyte, a pipe has days, and a given deadline holds for all."""
    assert Limits().deadline(0) == 60
    assert Limits().deadline(10**9) == 1060
    assert Limits().deadline(None) > 86400
    assert Limits(deadline_s=5).deadline(10**9) == Limits(deadline_s=5).deadline(None) == 5


def test_the_deadline_fails_the_payload(backend: str) -> None:
    """A pipe that goes silent fails its payload at the deadline."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"a few bytes")
    with standard_input(read_end):
        (result,) = run_batch(chosen(backend), [STDIN], limits=Limits(deadline_s=0.3))
    os.close(read_end)
    os.close(write_end)
    assert (result.status, result.cause) == ("failed", "deadline")
    assert "0.3 s" in (result.error or "")


def test_a_cancelled_batch_has_what_was_done(backend: str) -> None:
    """Payloads done before the token was set have their results, the one in work and the rest have none."""
    token = CancelToken()
    read_end, write_end = os.pipe()
    os.write(write_end, b"a few bytes")
    timer = threading.Timer(0.5, token.cancel)
    before = children(os.getpid())
    with standard_input(read_end):
        timer.start()
        results = run_batch(chosen(backend), [RANDOM, RANDOM, STDIN, RANDOM], cancel=token)
    timer.join()
    os.close(read_end)
    os.close(write_end)
    assert statuses(results) in (["ok", "ok"], ["ok"], [])
    assert children(os.getpid()) == before


def test_a_set_token_starts_nothing(backend: str) -> None:
    """A batch under a token that is set already has no results."""
    choice, token = chosen(backend), CancelToken()
    token.cancel()
    assert run_batch(choice, [RANDOM, RANDOM], cancel=token) == ()


def armed_openssl(tmp_path: Path, body: str) -> tuple[Chosen, Path]:
    """An openssl that is good until the file is there, and then does something else instead of `enc`."""
    armed = tmp_path / "armed"
    program = script(tmp_path, f'if [ "$1" = enc ] && [ -e {armed} ]; then {body}; fi\nexec {OPENSSL} "$@"')
    return chosen("openssl", program=program), armed


@needs_openssl
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_is_a_cancel(tmp_path: Path, number: signal.Signals) -> None:
    """A stage that dies of the signal that cancels us too, a moment before we know, is no failed payload."""
    dying = tmp_path / "dying"
    choice, armed = armed_openssl(tmp_path, f"touch {dying}; kill -{int(number)} $$")
    armed.touch()
    token = CancelToken()

    def cancel_late() -> None:
        wait_until(dying.exists, "the stage was not started")
        token.cancel()

    thread = threading.Thread(target=cancel_late)
    thread.start()
    assert run_batch(choice, [RANDOM, RANDOM], cancel=token) == ()
    thread.join()


@needs_openssl
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_a_stage_alone_is_a_failure(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that somebody else killed is a failed payload, and the next one is tried."""
    monkeypatch.setattr(encrypt, "_SIGNAL_WAIT_S", 0.05)
    choice, armed = armed_openssl(tmp_path, f"rm {tmp_path}/armed; kill -{int(number)} $$")
    armed.touch()
    first, second = run_batch(choice, [RANDOM, RANDOM])
    assert (first.status, first.cause) == ("failed", "stage")
    assert f"was killed by {number.name}" in (first.error or "")
    assert second.status == "ok"


def test_a_kernel_without_accounts_still_gives_a_length(
    backend: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel does not count what a stage wrote, the length is the one that the ciphertext must have."""
    monkeypatch.setattr(chain, "_written_bytes", lambda _pid: None)
    (result,) = run_batch(chosen(backend), [file_payload(path)])
    assert (result.status, result.ciphertext_bytes) == ("ok", 100_016)


@pytest.mark.parametrize(("digest", "ciphertext_bytes"), [(bytes(31), 116), (b"", 116), (bytes(32), 115)])
def test_a_backend_that_miscounts_is_found(digest: bytes, ciphertext_bytes: int) -> None:
    """A digest or a ciphertext of the wrong length is never recorded, whichever backend gave it."""

    class Wrong(Meddling):
        def encrypt(self, *_: object, **__: object) -> Encrypted:
            return Encrypted(digest, 100, ciphertext_bytes)

    wrong = Wrong(NativeBackend(), lambda _: None)
    with pytest.raises(WrongLength), memory_input([b""]) as source:
        Cipher(SUITES["modern"], wrong, SECRET, Limits(), CancelToken()).encrypt(source, bytes(8))


def test_many_batches_at_once(backend: str) -> None:
    """Batches in many threads do not disturb each other, and leave no descriptor, thread or child."""
    choice = chosen(backend)
    before = descriptors(), threading.active_count(), children(os.getpid())
    results: list[Encryption] = []
    payloads = [Payload("random", b"random", size) for size in (0, 100, 70_000, 2 * MIB)]

    def work() -> None:
        results.extend(run_batch(choice, payloads))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert [result.error for result in results] == [None] * 32
    assert len({result.salt for result in results}) == 32
    assert (descriptors(), threading.active_count(), children(os.getpid())) == before


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(backend: str, tmp_path: Path) -> None:
    """The peak memory of this process for a file of 1 GiB is within 20 MiB of that for one of 4 KiB."""
    code = """
import sys
from pathlib import Path
from tests.support.crypto_fakes import chosen, file_payload, peak_bytes, run_batch
(result,) = run_batch(chosen(sys.argv[1]), [file_payload(Path(sys.argv[2]))])
print(result.status, peak_bytes())
"""
    peaks = []
    for size in (4096, 1 << 30):
        path = tmp_path / str(size)
        with path.open("wb") as file:
            file.truncate(size)
        ended = run_python(code, backend, str(path))
        status, peak = ended.stdout.split()
        assert status == b"ok", ended
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 20 * MIB, peaks


def test_a_source_that_was_replaced_ends_the_batch(tmp_path: Path, key: KeyFile) -> None:
    """A source that is another folder than when the batch was planned is not read; if it is gone, each file says so."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x")
    sources = source_folders([str(tree), str(tree / "file")])
    assert [one.path for one in sources] == [str(tree)]
    payload = Payload("file", bytes(tree / "file"), 1)
    batch = Batch(1, "modern", chosen("native"), ((0, payload),), sources)
    assert [one.status for one in encrypt_batch(batch, key, Limits(), CancelToken())] == ["ok"]
    tree.rename(tmp_path / "moved")
    assert [one.cause for one in encrypt_batch(batch, key, Limits(), CancelToken())] == ["unreadable"]
    tree.mkdir()
    (tree / "file").write_bytes(b"y")
    with pytest.raises(SourceReplaced, match="another folder is there"):
        encrypt_batch(batch, key, Limits(), CancelToken())
