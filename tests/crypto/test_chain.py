"""Chains of real children: joined, watched, and ended on every way out."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.chain import Sink, Stage, StageResult, run_chain
from tasks.crypto.errors import Cancelled, CryptoError, DeadlineExceeded, StageNotStarted
from tasks.crypto.inputs import memory_input
from tests.support.crypto_fakes import (
    BOUND_S,
    children,
    descriptors,
    is_gone,
    needs_setpriv,
    peak_bytes,
    run_python,
    script,
    wait_until,
)

MIB = 1 << 20


def sh(text: str) -> Stage:
    return Stage(("sh", "-c", text))


@contextmanager
def held(text: str, header: bytes = b"") -> Iterator[Stage]:
    """A shell that begins when what it writes is counted, however short it is; only root can count later."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    script = f"read -r _ </dev/fd/{read_end} || exit 9; {text}"
    try:
        with open(write_end, "wb", buffering=0) as pipe:
            yield Stage(("sh", "-c", script), (read_end,), lambda: pipe.write(b"\n"), header)
    finally:
        os.close(read_end)


CAT = Stage(("cat",))
SLEEP = Stage(("sleep", "600"))


def run(
    *stages: Stage,
    data: bytes = b"",
    sink: Sink | None = None,
    cancel: CancelToken | None = None,
    deadline_s: float = BOUND_S,
    guarded: bool = False,
) -> tuple[bytes, tuple[StageResult, ...]]:
    output = bytearray()
    with memory_input([data]) as source:
        results = run_chain(
            stages,
            stdin=source.descriptor,
            sink=sink or output.extend,
            cancel=cancel or CancelToken(),
            deadline_s=deadline_s,
            guarded=guarded,
        )
    return bytes(output), results


def codes(results: tuple[StageResult, ...]) -> list[int]:
    return [result.exit_code for result in results]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever a test here does, no child, no zombie, no descriptor and no thread stays."""
    before = children(os.getpid()), descriptors(), threading.active_count()
    yield
    assert (children(os.getpid()), descriptors(), threading.active_count()) == before


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_bytes_come_through_any_number_of_stages(count: int, guarded: bool) -> None:
    """One, two, three or five stages hand the input on unchanged, and each has a good result."""
    output, results = run(*[CAT] * count, data=b"payload", guarded=guarded)
    assert output == b"payload"
    assert codes(results) == [0] * count
    assert [result.program for result in results] == ["cat"] * count


def test_stages_are_joined_in_their_order() -> None:
    """Each stage reads what the one before it wrote."""
    output, _ = run(sh("cat; printf 1"), sh("cat; printf 2"), sh("cat; printf 3"), data=b"0")
    assert output == b"0123"


@pytest.mark.parametrize("count", [1, 3])
def test_sixty_four_mebibytes_do_not_deadlock(count: int) -> None:
    """Far more than all pipes together hold comes through whole."""
    seen = 0

    def count_bytes(data: bytes | memoryview) -> None:
        nonlocal seen
        seen += len(data)

    with ExitStack() as stack:
        stages = [stack.enter_context(held("exec cat")) for _ in range(count)]
        _, results = run(*stages, data=bytes(64 * MIB), sink=count_bytes)
    assert seen == 64 * MIB
    assert [result.written_bytes for result in results] == [64 * MIB] * count


def test_a_stage_that_reads_nothing_does_not_block_the_chain() -> None:
    """The first stage loses its reader and dies of SIGPIPE, the chain ends."""
    _, results = run(CAT, Stage(("true",)), data=bytes(MIB))
    assert codes(results) == [-signal.SIGPIPE, 0]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_every_exit_code_is_seen(position: int) -> None:
    """A failure in any position is seen, while the others are good (pipefail)."""
    stages = [sh("cat; exit 3") if place == position else CAT for place in range(3)]
    output, results = run(*stages, data=b"all")
    assert output == b"all"
    assert codes(results) == [3 if place == position else 0 for place in range(3)]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_signal_in_mid_stream_is_seen(position: int) -> None:
    """A stage that is killed in mid-stream has its signal as a negative code, and what it wrote is shorter."""
    stages = [sh("head -c 100000; kill -KILL $$") if place == position else CAT for place in range(3)]
    output, results = run(*stages, data=bytes(4 * MIB))
    assert results[position].exit_code == -signal.SIGKILL
    assert len(output) == 100_000
    assert codes(results[position + 1 :]) == [0] * (2 - position)


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(("kind", "number"), [("missing", errno.ENOENT), ("not executable", errno.EACCES)])
def test_a_program_that_cannot_be_executed(tmp_path: Path, kind: str, number: int, position: int) -> None:
    """A program that is not there, or not executable, is told as such; stages before it are ended."""
    program = tmp_path / "program"
    if kind != "missing":
        program.write_text("#!/bin/sh\n")
    stages = [CAT, SLEEP, CAT]
    stages[position] = Stage((str(program), "enc"))
    with pytest.raises(StageNotStarted) as caught:
        run(*stages[: position + 1])
    assert (caught.value.program, caught.value.errno) == ("program enc", number)


@pytest.mark.parametrize("wrapper", [pytest.param("setpriv", marks=needs_setpriv), "python"])
def test_a_guarded_program_that_cannot_be_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapper: str
) -> None:
    """Under the parent-death guard, which can always be executed, a missing program still fails the chain."""
    if wrapper == "python":
        monkeypatch.setenv("PATH", str(tmp_path))
    try:
        _, (result,) = run(Stage((str(tmp_path / "missing"),)), guarded=True)
    except StageNotStarted:
        return
    assert result.exit_code > 0
    assert "No such file or directory" in result.complaint


def test_a_flood_of_complaints_is_bounded() -> None:
    """100 MB on standard error neither block a stage nor fill the memory, and its last words are kept."""
    before = peak_bytes()
    flood = "head -c 100000000 /dev/zero >&2; echo the end >&2; cat"
    with held(flood) as first, held(flood) as second:
        output, results = run(first, second, data=b"in")
    assert output == b"in"
    for result in results:
        assert len(result.complaint) <= 4096
        assert result.complaint.endswith("the end")
        assert result.written_bytes == 2
    assert peak_bytes() - before < 20 * MIB


def test_complaints_need_not_be_text() -> None:
    """Bytes that are no UTF-8 on standard error are kept readable."""
    _, (result,) = run(sh(r"printf 'bad \377 byte' >&2"))
    assert result.complaint == "bad � byte"


def test_the_deadline_ends_every_stage() -> None:
    """A chain that does not end in time is ended and says how long it had."""
    with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        run(SLEEP, SLEEP, SLEEP, deadline_s=0.2)


def test_the_deadline_holds_while_bytes_flow() -> None:
    """A chain that is busy, not stuck, is ended as well."""
    with pytest.raises(DeadlineExceeded):
        run(Stage(("yes",)), sh("cat; :"), sink=lambda _: None, deadline_s=0.3)


@pytest.mark.parametrize("busy", [False, True])
def test_another_thread_cancels(busy: bool) -> None:
    """A token that another thread sets ends the chain, idle or busy."""
    token = CancelToken()
    timer = threading.Timer(0.1, token.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        run(Stage(("yes",)) if busy else SLEEP, CAT, sink=lambda _: None, cancel=token)
    timer.join()


def test_a_cancelled_token_starts_nothing_for_long() -> None:
    """A chain under a token that is set already is ended at once, and so is every further one."""
    token = CancelToken()
    token.cancel()
    for _ in range(3):
        with pytest.raises(Cancelled):
            run(SLEEP, cancel=token)


def test_one_token_cancels_many_chains() -> None:
    """Every chain that polls the token ends when it is set."""
    token, ended = CancelToken(), []

    def work() -> None:
        with pytest.raises(Cancelled):
            run(SLEEP, CAT, cancel=token)
        ended.append(True)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    token.cancel()
    for thread in threads:
        thread.join(BOUND_S)
    assert len(ended) == 6


def after_ready(action: Callable[[], object]) -> Sink:
    """A sink that acts once the stage has said that it is ready."""
    said = bytearray()

    def sink(data: bytes | memoryview) -> None:
        said.extend(data)
        if said == b"ready\n":
            action()

    return sink


STUBBORN = sh("trap '' TERM INT HUP; echo ready; while :; do sleep 0.05; done")


def test_a_stage_that_ignores_terminate_is_killed() -> None:
    """After a moment's grace a stage that ignores SIGTERM is killed."""
    token = CancelToken()
    with pytest.raises(Cancelled):
        run(STUBBORN, sink=after_ready(token.cancel), cancel=token)


def test_a_stopped_stage_is_killed() -> None:
    """A stage that was stopped, and so cannot even see SIGTERM, is killed."""
    with pytest.raises(DeadlineExceeded):
        run(sh("kill -STOP $$"), deadline_s=0.3)


def test_a_stage_is_asked_before_it_is_killed() -> None:
    """A stage has the time to tidy up after SIGTERM."""
    token = CancelToken()
    output = bytearray()
    ready = after_ready(token.cancel)

    def sink(data: bytes | memoryview) -> None:
        output.extend(data)
        ready(data)

    with memory_input([b""]) as source:
        marker = f"/proc/{os.getpid()}/fd/{source.descriptor}"
        with pytest.raises(Cancelled):
            run(
                sh(f"trap 'echo tidied > {marker}; exit' TERM; echo ready; while :; do sleep 0.05; done"),
                sink=sink,
                cancel=token,
            )
        assert os.pread(source.descriptor, 100, 0) == b"tidied\n"


def test_a_sink_that_fails_ends_the_chain() -> None:
    """What the sink raises comes out, and the stages are ended."""

    def fail(_data: bytes | memoryview) -> None:
        raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        run(Stage(("yes",)), CAT, sink=fail)


def test_an_interrupt_ends_the_chain() -> None:
    """Ctrl-C in the waiting thread comes out as KeyboardInterrupt, and the stages are ended."""
    with pytest.raises(KeyboardInterrupt):
        run(sh("echo ready; exec sleep 600"), sink=after_ready(lambda: os.kill(os.getpid(), signal.SIGINT)))


@pytest.fixture
def grandchild(tmp_path: Path) -> Iterator[Path]:
    """Where a stage writes the id of a process that it leaves behind, which is ended afterwards."""
    path = tmp_path / "pid"
    yield path
    pid = int(path.read_text())
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "the grandchild lives on")


def test_a_grandchild_on_the_output_does_not_hang_us(grandchild: Path) -> None:
    """A process that a stage leaves behind on the output keeps the chain no longer than the deadline."""
    with pytest.raises(DeadlineExceeded):
        run(sh(f"sleep 600 2>/dev/null & echo $! > {grandchild}"), deadline_s=0.5)


def test_a_grandchild_on_standard_error_is_not_waited_for(grandchild: Path) -> None:
    """A process that holds only the standard error of a stage that has ended is not waited for."""
    output, results = run(sh(f"sleep 600 >/dev/null & echo $! > {grandchild}; echo done"))
    assert (output, codes(results)) == (b"done\n", [0])


def test_a_grandchild_in_the_middle_does_not_hang_us(grandchild: Path) -> None:
    """A process left between two stages keeps the second one waiting until the deadline at most."""
    with pytest.raises(DeadlineExceeded):
        run(sh(f"sleep 600 2>/dev/null & echo $! > {grandchild}"), CAT, deadline_s=0.5)


@pytest.mark.slow
def test_two_hundred_chains_leave_nothing(tmp_path: Path) -> None:
    """Good and bad chains of every kind leave neither a descriptor nor a child."""
    missing = Stage((str(tmp_path / "missing"),))
    before = descriptors(), children(os.getpid())
    for number in range(200):
        kind = number % 5
        token = CancelToken()
        with suppress(CryptoError, ZeroDivisionError):
            if kind == 0:
                run(CAT, CAT, data=b"good")
            elif kind == 1:
                run(CAT, missing)
            elif kind == 2:
                token.cancel()
                run(SLEEP, SLEEP, cancel=token)
            elif kind == 3:
                run(SLEEP, CAT, deadline_s=0.001)
            else:
                run(CAT, CAT, data=b"bad", sink=lambda _: 1 / 0)
        del token
        if number % 20 == 19:
            assert (descriptors(), children(os.getpid())) == before


def test_out_of_descriptors_is_an_error_and_no_leak() -> None:
    """Where descriptors run out in mid-start, the stages that run already are ended."""
    code = """
import os, resource, sys
from tasks.cancel import CancelToken
from tasks.crypto.chain import Stage, run_chain
from tasks.crypto.errors import CryptoError
token = CancelToken()
nothing = os.open(os.devnull, os.O_RDONLY)
before = sorted(os.listdir("/proc/self/fd"))
failed = 0
for spare in range(0, 16):
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) - 1 + spare, 4096))
    try:
        run_chain([Stage(("sleep", "600")), Stage(("true",))], stdin=nothing, sink=print, cancel=token,
                  deadline_s=0.05, guarded=False)
    except (OSError, CryptoError):
        failed += 1
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
assert sorted(os.listdir("/proc/self/fd")) == before
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("failed", failed)
"""
    result = run_python(code)
    assert result.stdout == b"failed 16\n", result.stderr


def test_children_get_none_of_our_descriptors() -> None:
    """A stage has its three streams and nothing else, though this process has inheritable descriptors open."""
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    ours = {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2, write_end)}
    show = sh("for link in /proc/$$/fd/*; do readlink $link; done")
    try:
        for stages in ((show,), (CAT, show), (show, CAT)):
            output, _ = run(*stages)
            streams = output.decode().splitlines()
            assert len(streams) == 3
            assert not ours & set(streams)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_children_get_what_is_passed_to_them() -> None:
    """A descriptor that a stage asks for arrives in it under its number, and in no other stage."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"word\n")
    os.close(write_end)
    other = sh(f"cat; test -e /proc/$$/fd/{read_end} && echo leaked")
    output, _ = run(Stage(("sh", "-c", f"cat /proc/self/fd/{read_end}"), pass_fds=(read_end,)), other)
    os.close(read_end)
    assert output == b"word\n"


@pytest.mark.parametrize("guarded", [False, True])
def test_children_get_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    """A flow run has Prefect's password and perhaps the database's in its environment; a stage finds neither there."""
    for name in (
        "PREFECT_API_AUTH_STRING",
        "PREFECT_SERVER_API_AUTH_STRING",
        "PREFECT_API_KEY",
        "PREFECT_CLIENT_CUSTOM_HEADERS",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT__CONTROL_TOKEN",
        "THREADMILL_DATABASE_URL",
        "PGPASSWORD",
    ):
        monkeypatch.setenv(name, "the-secret-of-the-environment")
    monkeypatch.setenv("THREADMILL_SERVE", "the-mark")
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "the-flow-run")
    output, _ = run(sh("cat /proc/$$/environ /proc/self/environ"), guarded=guarded)
    assert b"the-secret" not in output
    # By these `serve` finds its processes.
    assert output.count(b"the-mark") == output.count(b"the-flow-run") == 2


@pytest.mark.parametrize("guarded", [False, True])
def test_children_stay_in_our_process_group(guarded: bool) -> None:
    """A signal to the group, as a worker's cancel sends it, reaches every stage."""
    show = Stage((sys.executable, "-I", "-S", "-c", "import os; print(os.getpgid(0), os.getsid(0))"))
    output, _ = run(show, guarded=guarded)
    assert output.split() == [b"%d" % os.getpgid(0), b"%d" % os.getsid(0)]


def test_children_die_of_a_broken_pipe() -> None:
    """Stages have SIGPIPE's default action back, which Python itself ignores."""
    _, results = run(Stage(("yes",)), Stage(("head", "-c", "1")))
    assert codes(results) == [-signal.SIGPIPE, 0]


@pytest.mark.parametrize("size", [1, 16, 4096])
def test_a_header_comes_first_and_is_not_counted(size: int) -> None:
    """A stage's header is in its output before anything else, and not among the bytes that it wrote itself."""
    with held("exec cat", b"h" * size) as first, held("exec cat") as second:
        output, results = run(first, second, data=b"body")
    assert output == b"h" * size + b"body"
    assert [result.written_bytes for result in results] == [4, size + 4]


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("printf 'abcdefgh'; cat", b"abcd"),
        ("printf ab; sleep 0.1; printf cdefgh; cat", b"abcd"),
        ("printf abc", b"abc"),
        (":", b""),
    ],
)
def test_the_beginning_of_an_output_is_peeked_at(text: str, beginning: bytes) -> None:
    """The first bytes come back, fewer if there are no more, and all of the output goes on to the next stage."""
    data = bytes(MIB)
    with held(text) as stage:
        output, results = run(replace(stage, peek_bytes=4), CAT, data=data)
    assert results[0].beginning == beginning
    assert output.startswith(beginning)
    assert len(output) == results[0].written_bytes
    assert codes(results) == [0, 0]


def test_a_chain_ends_while_nothing_comes_to_be_peeked_at() -> None:
    """A stage that stays silent keeps neither a cancelled chain nor one past its deadline."""
    cancel = CancelToken()
    cancel.cancel()
    silent = Stage(SLEEP.argv, peek_bytes=16)
    with pytest.raises(Cancelled):
        run(silent, CAT, cancel=cancel)
    with pytest.raises(DeadlineExceeded):
        run(silent, CAT, deadline_s=0.2)


@pytest.mark.parametrize("guarded", [False, True])
def test_written_bytes_count_what_a_shell_starts(guarded: bool) -> None:
    """Output of a wrapper's own children counts as the wrapper's, complaints and guard do not."""
    with held("cat; echo complaint >&2; printf 123 | cat >&2") as stage:
        _, (result,) = run(stage, data=bytes(100_000), guarded=guarded)
    # `printf 123` wrote three bytes into a pipe of the shell's own.
    assert result.written_bytes == 100_000 + 3


def test_times_are_those_of_the_children() -> None:
    """A stage that waits has wall time and no CPU time, one that works has both."""
    _, (waits,) = run(Stage(("sleep", "0.2")))
    assert waits.wall_ns >= 200_000_000
    assert waits.cpu_ns < waits.wall_ns
    spin = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass"
    _, (works,) = run(Stage((sys.executable, "-I", "-S", "-c", spin)))
    assert works.cpu_ns >= 100_000_000


def test_the_program_is_named_by_its_own_name(tmp_path: Path) -> None:
    """A stage is called by its program's base name and first argument, not by its path."""
    program = script(tmp_path, "exit 0")
    _, (result,) = run(Stage((program, "enc", "-aes-256-ctr")))
    assert result.program == "openssl enc"


def test_the_sink_sees_bytes_as_they_come() -> None:
    """The sink is called while stages run, not at their end."""
    token = CancelToken()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        run(sh("echo ready; exec sleep 600"), sink=after_ready(token.cancel), cancel=token)
    assert time.monotonic() - started < 600
