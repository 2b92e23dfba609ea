"""Which machine and which process this is, the part of the machine that it may use, and readings of its conditions.

Facts come from `/proc`, `/sys` and a few files of containers; `root` stands in for `/` in tests. A fact that the host
does not tell is None.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

# The clocks of hosts that share a record differ by less.
CLOCKS_DIFFER = timedelta(minutes=5)


_MODEL_NAMES = ("model name", "Model", "cpu model")


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


def uptime_ns() -> int:
    """The time since the host was started, which no setting of the clock changes; suspended time counts on Linux."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def is_alive(process: ProcessIdentity) -> bool | None:
    """Whether a process is there; None where its number has no meaning: on another boot, in another container."""
    return process_start(process.pid) == process.start if process.boot_id == _boot_id() else None


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
    return f"{_text('/proc/sys/kernel/random/boot_id')}/{os.stat('/proc/self/ns/pid').st_ino}"


def _cpu_model() -> str:
    named = (line for line in _text("/proc/cpuinfo").splitlines() if line.startswith(_MODEL_NAMES))
    return next(named, "").partition(":")[2].strip() or platform.processor() or "unknown"


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The CPUs that a process may use, and the CPU time per time that the tightest cgroup allows (`quota_cpus`).

    `smt` says whether cores are shared by hardware threads. Times under other limits are not compared.
    """

    usable_cpus: int
    quota_cpus: float | None
    smt: bool | None

    def __str__(self) -> str:
        """For people: `2 CPUs, quota 1.5, SMT off`."""
        quota = "" if self.quota_cpus is None else f", quota {self.quota_cpus:g}"
        smt = "" if self.smt is None else f", SMT {'on' if self.smt else 'off'}"
        return f"{self.usable_cpus} CPU{'s' * (self.usable_cpus != 1)}{quota}{smt}"


@dataclass(frozen=True, slots=True)
class Interference:
    """Counters at one moment, of cgroups that held this process back (None where none counts), and of its CPUs."""

    clock_ns: int
    throttled_ns: int | None
    throttled_periods: int
    stolen_ticks: int
    busy_ticks: int
    ticks: int

    def since(self, before: Interference) -> dict[str, float]:
        """The readings of the time between two moments."""
        found: dict[str, float] = {}
        if self.throttled_ns is not None and before.throttled_ns is not None:
            # Less than before after a move to another cgroup.
            throttled_ns = max(0, self.throttled_ns - before.throttled_ns)
            periods = max(0, self.throttled_periods - before.throttled_periods)
            share = round(throttled_ns / max(1, self.clock_ns - before.clock_ns), 4)
            found |= {"throttled_ns": throttled_ns, "throttled_periods": periods, "throttled_share": share}
        if (spent := self.ticks - before.ticks) > 0:
            found["stolen_share"] = round((self.stolen_ticks - before.stolen_ticks) / spent, 4)
            found["busy_share"] = round((self.busy_ticks - before.busy_ticks) / spent, 4)
        return found


def this_limits(root: str = "/") -> HostLimits:
    """The limits of this process."""
    quotas = [quota for group in _cgroups("cpu", root) if (quota := _quota(group)) is not None]
    return HostLimits(len(os.sched_getaffinity(0)), min(quotas, default=None), _smt(root))


def readings(root: str = "/") -> dict[str, object]:
    """Readings that may explain a change of speed, and identify nothing."""
    usable = sorted(os.sched_getaffinity(0))
    told = (_text(group, "memory.max") or _text(group, "memory.limit_in_bytes") for group in _cgroups("memory", root))
    # No limit is `max`, or in version 1 the greatest number of pages.
    memory = [int(text) for text in told if text.isdecimal() and int(text) < 1 << 60]
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
        "cpus": _ranges(usable),
        **_clock(usable, root),
        "virtualisation": _virtualisation(root),
        "container": _container(root),
        "memory_limit_bytes": min(memory, default=None),
    }


def interference(root: str = "/") -> Interference:
    """The counters now."""
    usable = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
    cells = [line.split() for line in _text(root, "proc/stat").splitlines()]
    ticks = [list(map(int, own[1:9])) for own in cells if own and own[0] in usable]
    files = [dict(line.split() for line in _text(file).splitlines()) for file in cpu_stat_files(root)]
    counters = [one for one in files if one.get("throttled_time") or one.get("throttled_usec")]
    # Version 1 counts nanoseconds, version 2 microseconds.
    throttled = [int(one.get("throttled_time") or f"{one['throttled_usec']}000") for one in counters]
    periods = sum(int(one["nr_throttled"]) for one in counters)
    total = sum(throttled) if throttled else None
    stolen = sum(own[7] for own in ticks if len(own) > 7)
    # user nice system idle iowait irq softirq steal
    idle, spent = sum(sum(own[3:5]) for own in ticks), sum(map(sum, ticks))
    return Interference(time.monotonic_ns(), total, periods, stolen, spent - idle, spent)


def cpu_stat_files(root: str = "/") -> list[str]:
    """The files that count how long each cgroup of this process was throttled."""
    files = [os.path.join(group, "cpu.stat") for group in _cgroups("cpu", root)]
    return [file for file in files if "nr_throttled" in _text(file)]


def _text(*path: str) -> str:
    """The contents of a file; nothing where it is not there or cannot be read."""
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return ""


def _cgroups(controller: str, root: str) -> Iterator[str]:
    """The folders of this process's cgroup and of all those around it, innermost first, as far as they can be seen."""
    groups = [line.split(":", 2) for line in _text(root, "proc/self/cgroup").splitlines()]
    # In a hybrid layout a controller belongs to version 1 or to version 2.
    first = [path for _, names, path in groups if controller in names.split(",")]
    kind, paths = ("cgroup", first) if first else ("cgroup2", [path for _, names, path in groups if not names])
    for line in _text(root, "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        own, place = before.split()[3:5]
        if after.split()[0] != kind or not (kind == "cgroup2" or controller in after.split()[-1].split(",")):
            continue
        for path in paths:
            # Without a namespace of its own, a container sees the host's path, and its own cgroup as the mount's root.
            inner = path.removeprefix(own) if path.startswith(own.rstrip("/") + "/") else ""
            parts = list(filter(None, inner.split("/")))
            yield from (os.path.join(root, place.lstrip("/"), *parts[:count]) for count in range(len(parts), -1, -1))
        return


def _quota(group: str) -> float | None:
    quota, _, period = _text(group, "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(group, "cpu.cfs_quota_us"), _text(group, "cpu.cfs_period_us")
    return round(int(quota) / int(period), 3) if quota.isdecimal() and period.isdecimal() else None


def _smt(root: str) -> bool | None:
    if active := _text(root, "sys/devices/system/cpu/smt/active"):
        return active == "1"
    found = glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu*/topology/thread_siblings_list"))
    return any(not _text(file).isdecimal() for file in found) if found else None


def _clock(cpus: list[int], root: str) -> dict[str, object]:
    """The governors of the usable CPUs, and the range within which they may be clocked: `800 to 4800`."""
    governor, least, most = (
        {text for cpu in cpus if (text := _text(root, f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_{what}"))}
        for what in ("governor", "min_freq", "max_freq")
    )
    known = all(text.isdecimal() for text in least | most) and least and most
    mhz = f"{min(map(int, least)) // 1000} to {max(map(int, most)) // 1000}" if known else None
    return {"governor": ", ".join(sorted(governor)) or None, "frequency_mhz": mhz}


# Beginnings of the names that a machine's firmware gives, as systemd-detect-virt knows them.
_MACHINES = {
    "KVM": "kvm", "OpenStack": "kvm", "KubeVirt": "kvm", "Amazon EC2": "amazon", "QEMU": "qemu", "VMware": "vmware",
    "VMW": "vmware", "innotek GmbH": "virtualbox", "VirtualBox": "virtualbox", "Xen": "xen", "Bochs": "bochs",
    "Parallels": "parallels", "BHYVE": "bhyve", "Hyper-V": "hyper-v", "Virtual Machine": "hyper-v",
    "Apple Virtualization": "apple", "Google Compute Engine": "google",
}  # fmt: skip


def _virtualisation(root: str) -> str | None:
    """The hypervisor by name, `vm` for an unknown one, `none` for bare metal."""
    flags = next((line for line in _text(root, "proc/cpuinfo").splitlines() if line.startswith("flags")), None)
    # Amazon's bare metal has the firmware's name of its virtual machines, and no such flag.
    if flags is not None and "hypervisor" not in flags.split():
        return "none"
    named = (
        _text(root, "sys/class/dmi/id", name) for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor")
    )
    firmware = next((kind for text in named for start, kind in _MACHINES.items() if text.startswith(start)), "")
    told = _text(root, "sys/hypervisor/type") or _text(root, "proc/device-tree/hypervisor/compatible")
    return firmware or told or (None if flags is None else "vm")


_CONTAINERS = {
    "run/systemd/container": "", "run/host/container-manager": "", "run/.containerenv": "podman",
    ".dockerenv": "docker", "var/run/secrets/kubernetes.io": "kubernetes", "proc/vz": "openvz",
}  # fmt: skip


def _container(root: str) -> str | None:
    found = next((path for path in _CONTAINERS if os.path.exists(os.path.join(root, path))), None)
    if found is not None:
        return _CONTAINERS[found] or _text(root, found) or "unknown"
    return "wsl" if "microsoft" in _text(root, "proc/sys/kernel/osrelease").lower() else None


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as the kernel lists CPUs: `0-3,8`."""
    ends = [(n, n) for n in numbers[:1]]
    for n in numbers[1:]:
        begin, end = ends[-1]
        ends[-1:] = [(begin, n)] if n == end + 1 else [(begin, end), (n, n)]
    return ",".join(str(begin) if begin == end else f"{begin}-{end}" for begin, end in ends)
