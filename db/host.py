"""Which machine and which process this is: lasting identity. Everything that changes is in `db.limits`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """The lasting facts of a machine; a volatile one (such as MHz) would split its history."""

    name: str
    facts: dict[str, str | int]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the facts in canonical JSON."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process; its start (clock ticks since boot) tells it from a later process with the same number.

    `boot_id` is the kernel's, followed by the process namespace, outside of which the number has no meaning.
    """

    boot_id: str
    pid: int
    start: int


def host_name() -> str:
    """The name of this machine on record: a container or a VPN draws a new one each day, hence the variable."""
    return os.environ.get("THREADMILL_HOST") or platform.node()


def this_host() -> HostIdentity:
    """The identity of this machine."""
    name = host_name()
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostIdentity(
        name,
        {
            "name": name,
            "system": platform.system(),
            "machine": platform.machine(),
            "cpu_model": _cpu_model(),
            # Not `os.cpu_count`, which PYTHON_CPU_COUNT changes.
            "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
            "memory_gib": round(memory_bytes / 2**30),
        },
    )


def this_process() -> ProcessIdentity:
    """The identity of this process."""
    pid = os.getpid()
    return ProcessIdentity(_boot_id(), pid, process_start(pid) or 0)


def is_dead(process: ProcessIdentity) -> bool:
    """Whether a process that ran on this host has certainly ended."""
    here, there = _boot_id().split("/"), process.boot_id.split("/")
    if here[0] != there[0]:
        return True
    # Same boot, other container: its process numbers cannot be looked up from here.
    return here == there and process_start(process.pid) != process.start


def process_start(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; the 20th field after it is the start.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("model name", "Model", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
