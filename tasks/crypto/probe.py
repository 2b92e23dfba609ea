"""The choice of the backend for a suite on this host, and the recipe of each openssl program, by trying them.

`dgst -list` names algorithms that cannot run, version strings mislead, and the legacy module may be packed
separately. So a suite counts as usable when a chain over three bytes gives the digest that the native backend gives.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import dataclass, replace

from tasks.cancel import CancelToken
from tasks.crypto.chain import Stage, run_chain
from tasks.crypto.errors import (
    BackendUnavailable,
    Cancelled,
    CryptoError,
    DeadlineExceeded,
    StageFailed,
    StageNotStarted,
    WrongLength,
)
from tasks.crypto.inputs import Attempt, Backend, BackendName, Encrypted, memory_input
from tasks.crypto.native import NativeBackend
from tasks.crypto.openssl import OpensslBackend, Recipe, ShortOutput, complaint
from tasks.crypto.secret import Secret
from tasks.suites import SALT_BYTES, BackendChoice, Suite

_LEGACY = ("-provider", "legacy", "-provider", "default")
_RECIPES = (Recipe((), writes_header=False), Recipe(_LEGACY, writes_header=False), Recipe((), writes_header=True))
_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class OpensslProgram:
    """An openssl that answered: absolute path, and the first line of `openssl version`."""

    path: str
    version: str


# The file's identity is part of the key, so that an openssl that is replaced is probed again.
_Identity = tuple[str, int, int, int]
_programs: dict[_Identity, OpensslProgram] = {}
_recipes: dict[tuple[_Identity, str], Recipe] = {}
_lock = threading.Lock()


def find_program(name: str, cancel: CancelToken) -> OpensslProgram:
    """The openssl program of that name on `PATH` (or at that path), asked once for its version.

    BackendUnavailable if there is none, or if it does not answer as openssl does.
    """
    path = shutil.which(name)
    if path is None:
        raise BackendUnavailable("openssl", f"no program {name} on PATH")
    path = os.path.abspath(path)
    identity = _identity(path)
    with _lock:
        if identity not in _programs:
            _programs[identity] = OpensslProgram(path, _version(path, cancel))
        return _programs[identity]


def find_recipe(program: OpensslProgram, suite: Suite, cancel: CancelToken) -> Recipe:
    """The recipe by which a program runs a suite, tried once; raises BackendUnavailable with what the program said."""
    key = (_identity(program.path), suite.name)
    with _lock:
        if key not in _recipes:
            _recipes[key] = _try_recipes(program, suite, cancel)
        return _recipes[key]


def _try_recipes(program: OpensslProgram, suite: Suite, cancel: CancelToken) -> Recipe:
    salt, secret = os.urandom(SALT_BYTES), Secret.draw()
    expected = _known_answer(NativeBackend(), suite, secret, salt, cancel)
    said: list[str] = []
    for recipe in _RECIPES:
        try:
            answer = _known_answer(OpensslBackend(program.path, recipe), suite, secret, salt, cancel)
        except Cancelled:
            raise
        except CryptoError as error:
            said.append(str(error))
            if isinstance(error, DeadlineExceeded):
                break
            continue
        if answer.digest == expected.digest:
            return replace(recipe, counted=answer.ciphertext_bytes == expected.ciphertext_bytes)
        said.append("its output is not what the suite must give")
    raise BackendUnavailable("openssl", f"{program.path} cannot run suite {suite.name}: {said[0]}")


def prove_native(suite: Suite, cancel: CancelToken) -> str:
    """Run the suite on the native backend, so that a build without an algorithm is found before any work.

    Gives the backend's versions, for the record. Raises BackendUnavailable.
    """
    _known_answer(NativeBackend(), suite, Secret.draw(), os.urandom(SALT_BYTES), cancel)
    return NativeBackend.detail()


def _known_answer(backend: Backend, suite: Suite, secret: Secret, salt: bytes, cancel: CancelToken) -> Encrypted:
    with memory_input([b"abc"]) as source:
        return backend.encrypt(Attempt(source, suite, secret, salt, None, _DEADLINE_S, cancel))


def _version(path: str, cancel: CancelToken) -> str:
    output = ShortOutput("the version", 80)
    with open(os.devnull, "rb") as nothing:
        try:
            (result,) = run_chain(
                [Stage((path, "version"))],
                stdin=nothing.fileno(),
                sink=output.take,
                cancel=cancel,
                deadline_s=_DEADLINE_S,
                guarded=True,
            )
        except (DeadlineExceeded, StageNotStarted, WrongLength) as error:
            raise BackendUnavailable("openssl", f"{path} version: {error}") from None
    text = complaint(output.digest()[:200].decode(errors="replace"))
    if result.exit_code or not text:
        said = StageFailed(result.program, result.exit_code, complaint(result.complaint) or "no version printed")
        raise BackendUnavailable("openssl", f"{path}: {said}")
    return text


def _identity(path: str) -> _Identity:
    try:
        status = os.stat(path)
    except OSError as error:
        raise BackendUnavailable("openssl", f"{path}: {os.strerror(error.errno or errno.ENOENT)}") from None
    return path, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Chosen:
    """The backend that runs a suite, its program or package with the version (`detail`), and the reason for it.

    `program` is the openssl program's absolute path, None for the native backend.
    """

    backend: BackendName
    detail: str
    reason: str
    program: str | None = None

    def open(self, suite: Suite, cancel: CancelToken) -> Backend:
        """The backend itself, in this process; BackendUnavailable if the program has changed since."""
        if self.program is None:
            return NativeBackend()
        return OpensslBackend(self.program, find_recipe(find_program(self.program, cancel), suite, cancel))


def choose_backend(choice: BackendChoice, suite: Suite, program: str, cancel: CancelToken) -> Chosen:
    """Choose the backend that runs a suite, by trying it; raises BackendUnavailable.

    `auto` takes openssl where it can run the suite, else native. `program` is the name or path of openssl.
    """
    if choice == "native":
        return Chosen("native", prove_native(suite, cancel), "asked for")
    try:
        found = find_program(program, cancel)
        find_recipe(found, suite, cancel)
    except (BackendUnavailable, OSError) as error:
        unavailable = error if isinstance(error, BackendUnavailable) else BackendUnavailable("openssl", str(error))
        if choice == "openssl":
            raise unavailable from error
        return Chosen("native", prove_native(suite, cancel), f"native took over: {unavailable.reason}")
    reason = "asked for" if choice == "openssl" else "openssl can run this suite"
    return Chosen("openssl", f"{found.version} ({found.path})", reason, found.path)
