"""The engine at the limits of its process: many descriptors, no threads, huge files, paths through links."""

from __future__ import annotations

import os
import resource
import shlex
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto import probe
from tasks.crypto.chain import Stage, run_chain
from tasks.crypto.encrypt import Batch, Limits, encrypt_batch
from tasks.crypto.errors import BackendUnavailable, DeadlineExceeded, KeyFileError, StageNotStarted
from tasks.crypto.inputs import Payload, memory_input
from tasks.crypto.scan import scan
from tasks.crypto.secret import KeyFile, ThrowAway
from tests.support.crypto_fakes import (
    OPENSSL,
    chosen,
    file_payload,
    needs_openssl,
    peak_bytes,
    run_batch,
    run_python,
    script,
    standard_input,
)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Every descriptor opened from now on has a number over 1024, which select(2) cannot take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"a process may have {hard} descriptors here")
    # The usual soft limit is 1024.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            held.enter_context(open(os.devnull, "rb"))
        yield


@needs_openssl
def test_standard_input_behind_many_descriptors_is_whole(many_descriptors: None) -> None:
    """A pipe is read to its end, or the payload fails; it is never shorter and good."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"x" * 1000)
    os.close(write_end)
    with standard_input(read_end):
        (result,) = run_batch(chosen("openssl"), [Payload("stdin", b"-", None)])
    os.close(read_end)
    assert (result.status, result.size_bytes) == ("ok", 1000)


def test_chain_behind_many_descriptors_is_ended_by_its_deadline(many_descriptors: None) -> None:
    """The way out works for descriptors of any number."""
    with memory_input([b""]) as source, pytest.raises(DeadlineExceeded):
        run_chain(
            [Stage(("sleep", "60"))],
            stdin=source.descriptor,
            sink=len,
            cancel=CancelToken(),
            deadline_s=0.2,
            guarded=False,
        )


@needs_openssl
def test_deadline_of_a_huge_file_is_waited_for_in_pieces(tmp_path: Path) -> None:
    """The deadline of 3 TiB is longer than poll(2) can wait at once; a cancel still gets through."""
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(3 << 40)
    cancel = CancelToken()
    timer = threading.Timer(0.5, cancel.cancel)
    timer.start()
    batch = Batch(0, "modern", chosen("openssl"), ((0, file_payload(path)),))
    assert encrypt_batch(batch, ThrowAway(), Limits(), cancel) == ()
    timer.join()


def test_file_named_through_a_link_below_a_folder_is_not_lost(tmp_path: Path) -> None:
    """The walk of the folder does not follow the link, so the path named beside it stays."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"x")
    (tmp_path / "folder" / "link").symlink_to("../other")
    named = [str(tmp_path / "folder"), str(tmp_path / "folder" / "link" / "file")]
    assert [payload.name for payload in scan(named) if payload.skip is None] == [os.fsencode(named[1])]
    linked = [str(tmp_path / "folder"), str(tmp_path / "folder" / "link")]
    assert len([payload for payload in scan(linked) if payload.skip is None]) == 1


def test_dots_behind_a_link_lead_where_the_kernel_goes(tmp_path: Path) -> None:
    """`link/../file` lies beside the folder that the link leads to, not beside the link."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a/b")
    (payload,) = scan([str(tmp_path / "link" / ".." / "file")])
    assert (payload.skip, payload.name) == (None, os.fsencode(tmp_path / "a" / "file"))


def test_version_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that prints for ever costs no memory."""
    monkeypatch.setattr(probe, "_DEADLINE_S", 1.0)
    before = peak_bytes()
    with pytest.raises(BackendUnavailable):
        probe.find_program(script(tmp_path, "exec yes"), CancelToken())
    assert peak_bytes() - before < 20 << 20


@needs_openssl
def test_stage_that_died_is_blamed_and_not_the_one_that_wrote_to_it(tmp_path: Path) -> None:
    """`openssl enc` reports a lost reader as its own failure; the error names the reader."""
    armed = tmp_path / "armed"
    program = script(tmp_path, f'[ "$1" = dgst ] && [ -e {armed} ] && kill -KILL $$\nexec {OPENSSL} "$@"')
    choice = chosen("openssl", program=program)
    armed.touch()
    path = tmp_path / "file"
    path.write_bytes(bytes(3 << 20))
    (result,) = run_batch(choice, [file_payload(path)])
    assert result.error == "openssl dgst was killed by SIGKILL"


def test_missing_program_is_missing_behind_the_guard_too(tmp_path: Path) -> None:
    """The program that asks for the death signal does not stand in for the one that is not there."""
    with memory_input([b""]) as source, pytest.raises(StageNotStarted):
        run_chain(
            [Stage((str(tmp_path / "no"),))],
            stdin=source.descriptor,
            sink=len,
            cancel=CancelToken(),
            deadline_s=5,
            guarded=True,
        )


@needs_openssl
def test_batch_without_descriptors_fails_payload_by_payload() -> None:
    """When the process may open nothing more, each payload says so."""
    ended = run_python(
        "import os, resource\n"
        "from tests.support.crypto_fakes import chosen, run_batch\n"
        "from tasks.crypto.inputs import Payload\n"
        "choice = chosen('openssl')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) + 2, 4096))\n"
        "print([result.status for result in run_batch(choice, [Payload('random', b'r', 1)], suite='cbc')])\n"
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, b"['failed']"), ended.stderr


def test_payload_without_a_thread_does_not_hide_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large payload needs a second thread; where there is none to be had, only that payload fails."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "file"
    path.write_bytes(bytes(5 << 20))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    large, small = run_batch(chosen("native"), [file_payload(path), Payload("random", b"r", 100)])
    assert (large.status, small.status) == ("failed", "ok")


def test_command_to_run_can_be_pasted(tmp_path: Path) -> None:
    """The `chmod` that is suggested for a key file works for a path with a space in it."""
    path = tmp_path / "my key"
    path.write_bytes(b"0" * 64 + b"\n")
    path.chmod(0o644)
    with pytest.raises(KeyFileError) as caught:
        KeyFile(str(path)).secret()
    assert f"chmod 600 {shlex.quote(str(path))}" in caught.value.reason
