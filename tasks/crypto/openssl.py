"""The openssl backend: `openssl enc` piped into `openssl dgst`, no payload byte through Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tasks.crypto.chain import Sink, Stage, StageResult, can_peek, run_chain
from tasks.crypto.ciphers import HASHES
from tasks.crypto.errors import CryptoError, LegacySize, StageFailed, WrongLength
from tasks.crypto.inputs import Attempt, Encrypted, pumped
from tasks.crypto.secret import Secret
from tasks.suites import HEADER_BYTES, MAGIC, Suite

# setpriv adds about 1.5 ms to a stage's start. A smaller input, fed from a file, is done in a fraction of the two
# seconds that a child may outlive threadmill, even through 3DES (30 MB/s).
_GUARD_BYTES = 1 << 20
# Where the header comes from us, it shifts every later read of `dgst` against the pages of the pipe: 1 GiB then takes
# 1.07 to 1.15 of the time. `enc` that draws and writes its own salt has to start before `dgst`, by some 8 ms.
_OWN_SALT_BYTES = 128 << 20
_OUTPUT_BYTES = 4096

# openssl says this of every suite without PBKDF2, and of a missing openssl.cnf; any other complaint is a fault.
_HARMLESS = (
    "*** WARNING : deprecated key derivation used.",
    "Using -iter or -pbkdf2 would be better.",
    "WARNING: can't open config file:",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The way in which one openssl program runs one suite.

    `providers` are options for algorithms that OpenSSL 3 keeps in its legacy module. `writes_header` tells whether
    `enc -S` writes `Salted__` and the salt itself (1.1.1 does, 3.x does not, and then we do). `counted` tells whether
    the kernel's count of what `enc` writes is the ciphertext alone (a wrapper script may write elsewhere too).
    """

    providers: tuple[str, ...]
    writes_header: bool
    counted: bool = True


class OpensslBackend:
    """Runs a suite with one openssl program, by a recipe that was proven on it (see `probe`)."""

    def __init__(self, program: str, recipe: Recipe) -> None:
        self._program = program
        self._recipe = recipe

    def encrypt(self, attempt: Attempt) -> Encrypted:
        """See `Backend.encrypt`."""
        source, suite, store, limit_bytes = attempt.source, attempt.suite, attempt.store, attempt.limit_bytes
        guarded = source.size_bytes is None or source.size_bytes >= _GUARD_BYTES
        output = ShortOutput("the digest", suite.digest_bytes) if store is None else _HashAndStore(suite, store)
        large = source.size_bytes is not None and source.size_bytes >= _OWN_SALT_BYTES
        own_salt = attempt.any_salt and store is None and large and can_peek()
        with ExitStack() as stack:
            key, fill = stack.enter_context(_key_pipe(attempt.secret))
            stages = [self._enc(suite, None if own_salt else attempt.salt, key, fill)]
            if store is None:
                stages.append(self._dgst(suite))
            stdin = source.descriptor
            if source.size_bytes is None:
                stdin = stack.enter_context(pumped(source, limit_bytes))
            results = run_chain(
                stages,
                stdin=stdin,
                sink=output.take,
                cancel=attempt.cancel,
                deadline_s=attempt.deadline_s,
                guarded=guarded,
            )
        try:
            if limit_bytes is not None and source.pumped_bytes > limit_bytes:
                raise LegacySize(suite.name, source.pumped_bytes, limit_bytes)
            _raise_failure(results)
            size = source.check()
        except CryptoError as error:
            error.stages = results
            raise
        written = results[0].written_bytes if self._recipe.counted else None
        if written is not None and not (own_salt or self._recipe.writes_header):
            written += HEADER_BYTES
        return Encrypted(output.digest(), size, written, results, salt=_salt_of(results[0]) if own_salt else None)

    def _enc(self, suite: Suite, salt: bytes | None, key: int, fill: Callable[[], None]) -> Stage:
        """The first stage; without a salt it draws one, and writes it."""
        kdf = ("-pbkdf2", "-iter", str(suite.iterations)) if suite.kdf.startswith("pbkdf2") else ()
        argv = (self._program, "enc", f"-{suite.cipher}", *kdf, "-md", "sha256", "-pass", f"fd:{key}")
        if salt is None:
            return Stage((*argv, "-salt"), (key,), fill, peek_bytes=HEADER_BYTES)
        header = b"" if self._recipe.writes_header else MAGIC + salt
        return Stage((*argv, "-S", salt.hex()), (key,), fill, header=header)

    def _dgst(self, suite: Suite) -> Stage:
        return Stage((self._program, "dgst", *self._recipe.providers, f"-{suite.digest}", "-binary"))


def _salt_of(enc: StageResult) -> bytes:
    """The salt that `enc` drew; raises WrongLength if its output does not begin with one."""
    if len(enc.beginning) != HEADER_BYTES or not enc.beginning.startswith(MAGIC):
        raise WrongLength("the header", len(enc.beginning), HEADER_BYTES)
    return enc.beginning[len(MAGIC) :]


class ShortOutput:
    """The output of a program that prints a digest or its version; refused if it is long."""

    def __init__(self, what: str, usual_bytes: int) -> None:
        self._what = what
        self._usual_bytes = usual_bytes
        self._output = bytearray()

    def take(self, data: bytes | memoryview) -> None:
        """The next piece; raises WrongLength past 4 KiB."""
        self._output += data
        if len(self._output) > _OUTPUT_BYTES:
            raise WrongLength(self._what, len(self._output), self._usual_bytes)

    def digest(self) -> bytes:
        """All that was printed."""
        return bytes(self._output)


class _HashAndStore:
    """Ciphertext that is kept: each piece is stored and hashed here, instead of in a second child."""

    def __init__(self, suite: Suite, store: Sink) -> None:
        self._hash = HASHES[suite.digest]()
        self._store = store

    def take(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._store(data)

    def digest(self) -> bytes:
        return self._hash.digest()


@contextmanager
def _key_pipe(secret: Secret) -> Iterator[tuple[int, Callable[[], None]]]:
    """The read end of a pipe for the secret, and what fills it: unlike argv and environment, nobody else can read it.

    It is filled when `enc` runs, which waits for it: otherwise a short run could end before what it writes is counted.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        with open(write_end, "wb", buffering=0) as pipe:

            def fill() -> None:
                pipe.write(secret.password + b"\n")
                pipe.close()

            yield read_end, fill
    finally:
        os.close(read_end)


def _raise_failure(results: Sequence[StageResult]) -> None:
    """Raise for the stage to blame: the last that failed, since one before it may only have lost its reader."""
    for result in reversed(results):
        words = complaint(result.complaint)
        if result.exit_code or words:
            raise StageFailed(result.program, result.exit_code, words)


def complaint(stderr: str) -> str:
    """The text of a standard error without the known harmless lines, as one line of at most 300 characters."""
    lines = (line.strip() for line in stderr.splitlines())
    words = "; ".join(line for line in lines if line and not line.startswith(_HARMLESS))
    printable = "".join(letter if letter.isprintable() else "?" for letter in words)
    return printable if len(printable) <= 300 else printable[:299] + "…"
