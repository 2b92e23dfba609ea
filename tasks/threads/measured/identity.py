"""What an interpreter says about itself: lasting facts only, and what it cannot do."""

import hashlib
import os
import platform
import struct
import sys
import sysconfig

from .executors import NO_INTERPRETER_POOL, interpreter_pool_class
from .readings import gil_on


def gil_build() -> bool:
    """Whether this build has a GIL that cannot be switched off."""
    return not sysconfig.get_config_var("Py_GIL_DISABLED")


def facts() -> "dict[str, str]":
    """What makes two interpreters the same one; nothing that changes while it is installed."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[3] != "final":
        version += f"{sys.version_info[3]}{sys.version_info[4]}"
    return {
        "implementation": sys.implementation.name,
        "version": version,
        "implementation_version": ".".join(map(str, sys.implementation.version[:3])),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "configure": str(sysconfig.get_config_var("CONFIG_ARGS") or ""),
        "gil_build": str(gil_build()),
        "machine": platform.machine(),
        # Without OpenSSL, versions before 3.12 hash ten times slower and keep the GIL.
        "sha256": hashlib.sha256.__name__,
        "pointer_bits": str(8 * struct.calcsize("P")),
    }


def no_process_pool() -> str:
    """Why `process-pool` cannot run, or nothing."""
    try:
        import multiprocessing.synchronize
    except ImportError as error:
        return str(error)
    return "" if "fork" in multiprocessing.get_all_start_methods() else "no fork here"


def no_interpreter_pool() -> str:
    """Why `interpreter-pool` cannot run, or nothing."""
    return NO_INTERPRETER_POOL if interpreter_pool_class() is None else ""


def cannot() -> "dict[str, str]":
    """Executors that cannot run here, each with the reason."""
    reasons = {"process-pool": no_process_pool(), "interpreter-pool": no_interpreter_pool()}
    return {name: reason for name, reason in reasons.items() if reason}


def identify() -> "dict[str, object]":
    """The answer to the parent's probe."""
    executable = os.path.realpath(sys.executable)
    return {"executable": executable, "facts": facts(), "gil_now": gil_on(), "cannot": cannot()}
