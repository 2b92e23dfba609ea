"""Chains of two child processes, encrypt and then hash, on known bytes under a key of zeros.

The key protects nothing: it is on the command line so that the answer is known in advance. (threadmill's
real chains are in `tasks/crypto/`, which this program must not import.)
"""

import os
import shutil
import subprocess
import tempfile

from .readings import Staged, clock_ns, runq_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .readings import Reading

PLAINTEXT = bytes(1 << 20)
# head -c 1048576 /dev/zero | openssl enc -aes-256-ctr -K 0…0 -iv 0…0 | openssl dgst -sha256
CHAIN_DIGEST = "5912645cfd77676e33589f21ec07dd9fba1925ab08bfbb546798d3c1d29a9bc2"
ENCRYPT = ["openssl", "enc", "-aes-256-ctr", "-K", "0" * 64, "-iv", "0" * 32]
HASH = ["openssl", "dgst", "-sha256", "-binary"]


class Chain:
    """Two running stages; `digest` is read by the owner, then `finish` reaps both."""

    def __init__(self) -> None:
        self.start_ns = clock_ns()
        with tempfile.TemporaryFile() as source:
            source.write(PLAINTEXT)
            source.seek(0)
            self.encrypt = _stage(ENCRYPT, source.fileno(), subprocess.PIPE)
        between = self.encrypt.stdout
        assert between is not None  # noqa: S101  # for mypy: PIPE was asked for
        with between:
            self.hash = _stage(HASH, between.fileno(), subprocess.PIPE)

    def finish(self, digest: bytes) -> "tuple[str, list[Reading]]":
        """Reap both stages; the digest in hex, or what went wrong, and the stages' readings."""
        readings = [_reap(stage, self.start_ns) for stage in (self.encrypt, self.hash)]
        codes = [stage.returncode for stage in (self.encrypt, self.hash)]
        return (digest.hex() if codes == [0, 0] else f"exit codes {codes}"), readings


def _stage(argv: "list[str]", stdin: int, stdout: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)


def _reap(stage: "subprocess.Popen[bytes]", start_ns: int) -> "Reading":
    """Wait for a stage to end, read its run-queue delay while it is a zombie, and only then reap it."""
    os.waitid(os.P_PID, stage.pid, os.WEXITED | os.WNOWAIT)
    wall, queued = clock_ns() - start_ns, runq_ns(f"/proc/{stage.pid}/schedstat")
    _, status, usage = os.wait4(stage.pid, 0)
    stage.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return str(stage.pid), wall, int((usage.ru_utime + usage.ru_stime) * 1e9), queued


def chain(repeats: int) -> Staged:
    """One chain after another, `repeats` times."""
    outputs, readings = set(), []
    for _ in range(repeats):
        one = Chain()
        assert one.hash.stdout is not None  # noqa: S101  # for mypy
        with one.hash.stdout as stdout:
            output, stages = one.finish(stdout.read())
        outputs.add(output)
        readings += stages
    return Staged(" ".join(sorted(outputs)), readings)


async def chain_coroutine(repeats: int) -> Staged:
    """The same, waiting in the event loop for the end of the last stage's output.

    Not through asyncio's own subprocesses: their child watchers, different in every version, would reap the
    stages before their readings are taken.
    """
    import asyncio

    outputs, readings = set(), []
    loop = asyncio.get_event_loop()
    for _ in range(repeats):
        one = Chain()
        assert one.hash.stdout is not None  # noqa: S101  # for mypy
        with one.hash.stdout as stdout:
            readable = asyncio.Event()
            # A digest is shorter than any pipe, so readable means all of it, or end-of-file.
            loop.add_reader(stdout.fileno(), readable.set)
            await readable.wait()
            loop.remove_reader(stdout.fileno())
            output, stages = one.finish(stdout.read())
        outputs.add(output)
        readings += stages
    return Staged(" ".join(sorted(outputs)), readings)


def reason_against_chains() -> str:
    """Why chains cannot run here, or nothing."""
    if shutil.which("openssl") is None:
        return "no openssl on PATH"
    output = chain(1).output
    return "" if output == CHAIN_DIGEST else f"openssl gave {output} where {CHAIN_DIGEST} is known"
