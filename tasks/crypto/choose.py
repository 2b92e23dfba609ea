"""Which backend runs a suite on this host, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.cancel import CancelToken
from tasks.crypto.backend import Backend, BackendName
from tasks.crypto.errors import BackendUnavailable
from tasks.crypto.native import NativeBackend
from tasks.crypto.openssl import OpensslBackend
from tasks.crypto.probe import find_program, find_recipe, prove_native
from tasks.crypto.suites import Suite

BackendChoice = Literal["auto", "openssl", "native"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The backend that runs a suite, what exactly it is (program or package, with version), and why it was taken.

    `program` is the openssl program's absolute path, None for the native backend.
    """

    backend: BackendName
    detail: str
    reason: str
    program: str | None = None

    def open(self, suite: Suite, cancel: CancelToken) -> Backend:
        """The backend itself, in this process.

        Raises:
            BackendUnavailable: the program has changed since and cannot run the suite any more.
        """
        if self.program is None:
            return NativeBackend()
        return OpensslBackend(self.program, find_recipe(find_program(self.program, cancel), suite, cancel))


def choose_backend(choice: BackendChoice, suite: Suite, program: str, cancel: CancelToken) -> Chosen:
    """Settle what runs a suite, by trying it.

    Args:
        choice: `auto` takes openssl where it can run the suite, else native.
        suite: what is to be run.
        program: name or path of the openssl program.
        cancel: ends the probing when set.

    Raises:
        BackendUnavailable: what was asked for cannot run the suite here.
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
