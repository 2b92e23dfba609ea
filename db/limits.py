"""The part of the host that a process may use, and readings that may explain a change of speed.

The facts come from `/proc`, `/sys` and a few files of containers; `root` stands in for `/` in tests. A fact that the
host does not tell is None.
"""

from __future__ import annotations

import glob
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The CPUs that a process may use; numbers that were taken under other limits cannot be compared.

    `quota_cpus` is the CPU time per time that the tightest cgroup allows. `smt` says whether cores are shared by
    hardware threads.
    """

    usable_cpus: int
    quota_cpus: float | None
    smt: bool | None

    def __str__(self) -> str:
        """For people: `2 CPUs, quota 1.5, SMT off`."""
        words = [f"{self.usable_cpus} CPU{'s' * (self.usable_cpus != 1)}"]
        words += [] if self.quota_cpus is None else [f"quota {self.quota_cpus:g}"]
        words += [] if self.smt is None else [f"SMT {'on' if self.smt else 'off'}"]
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Interference:
    """Counters at one moment: the time in which cgroups held this process back, and CPU time of other virtual machines.

    `throttled_ns` is None where no cgroup counts it.
    """

    clock_ns: int
    throttled_ns: int | None
    throttled_periods: int
    stolen_ticks: int
    ticks: int

    def since(self, before: Interference) -> dict[str, object]:
        """The readings of the time between two moments."""
        found: dict[str, object] = {}
        if self.throttled_ns is not None and before.throttled_ns is not None:
            throttled_ns = self.throttled_ns - before.throttled_ns
            periods = self.throttled_periods - before.throttled_periods
            share = round(throttled_ns / max(1, self.clock_ns - before.clock_ns), 4)
            found |= {"throttled_ns": throttled_ns, "throttled_periods": periods, "throttled_share": share}
        if self.ticks > before.ticks:
            found["stolen_share"] = round((self.stolen_ticks - before.stolen_ticks) / (self.ticks - before.ticks), 4)
        return found


def this_limits(root: str = "/") -> Limits:
    """The limits of this process."""
    quotas = [quota for group in _cgroups("cpu", root) if (quota := _quota(group)) is not None]
    return Limits(len(os.sched_getaffinity(0)), min(quotas, default=None), _smt(root))


def readings(root: str = "/") -> dict[str, object]:
    """Readings that may explain a change of speed, and identify nothing."""
    usable = sorted(os.sched_getaffinity(0))
    memory = [limit for group in _cgroups("memory", root) if (limit := _memory_limit(group)) is not None]
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
        "cpus": _ranges(usable),
        "governor": _governor(usable, root),
        "frequency_mhz": _frequency_mhz(usable, root),
        "virtualisation": _virtualisation(root),
        "container": _container(root),
        "memory_limit_bytes": min(memory, default=None),
    }


def interference(root: str = "/") -> Interference:
    """The counters now."""
    usable = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
    cells = [line.split() for line in _text(root, "proc/stat").splitlines()]
    ticks = [list(map(int, own[1:9])) for own in cells if own and own[0] in usable]
    counters = [dict(line.split() for line in _text(file).splitlines()) for file in cpu_stat_files(root)]
    # Version 1 counts nanoseconds, version 2 microseconds.
    throttled = [int(one.get("throttled_time") or 1000 * int(one["throttled_usec"])) for one in counters]
    periods = [int(one["nr_throttled"]) for one in counters]
    stolen = sum(own[7] for own in ticks if len(own) > 7)
    return Interference(
        time.monotonic_ns(),
        sum(throttled) if throttled else None,
        sum(periods),
        stolen,
        sum(map(sum, ticks)),
    )


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
            inner = os.path.relpath(path, own) if path.startswith(own.rstrip("/") + "/") else "."
            top = os.path.join(root, place.lstrip("/"))
            while inner not in ("", "."):
                yield os.path.join(top, inner)
                inner = os.path.dirname(inner)
            yield top
        return


def _quota(group: str) -> float | None:
    quota, _, period = _text(group, "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(group, "cpu.cfs_quota_us"), _text(group, "cpu.cfs_period_us")
    return round(int(quota) / int(period), 3) if quota.isdecimal() and period.isdecimal() else None


def _memory_limit(group: str) -> int | None:
    text = _text(group, "memory.max") or _text(group, "memory.limit_in_bytes")
    # No limit is `max`, or in version 1 the greatest number of pages.
    return int(text) if text.isdecimal() and int(text) < 1 << 60 else None


def _smt(root: str) -> bool | None:
    if active := _text(root, "sys/devices/system/cpu/smt/active"):
        return active == "1"
    found = glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu*/topology/thread_siblings_list"))
    return any(not _text(file).isdecimal() for file in found) if found else None


def _governor(cpus: list[int], root: str) -> str | None:
    return ", ".join(sorted({text for cpu in cpus if (text := _cpufreq(cpu, "governor", root))})) or None


def _frequency_mhz(cpus: list[int], root: str) -> str | None:
    """The range within which the usable CPUs may be clocked: `800 to 4800`."""
    least = [int(text) for cpu in cpus if (text := _cpufreq(cpu, "min_freq", root)).isdecimal()]
    most = [int(text) for cpu in cpus if (text := _cpufreq(cpu, "max_freq", root)).isdecimal()]
    return f"{min(least) // 1000} to {max(most) // 1000}" if least and most else None


def _cpufreq(cpu: int, what: str, root: str) -> str:
    return _text(root, f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_{what}")


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


def _container(root: str) -> str | None:
    for path, kind in (
        ("run/systemd/container", ""),
        ("run/host/container-manager", ""),
        ("run/.containerenv", "podman"),
        (".dockerenv", "docker"),
        ("var/run/secrets/kubernetes.io", "kubernetes"),
        ("proc/vz", "openvz"),
    ):
        if os.path.exists(os.path.join(root, path)):
            return kind or _text(root, path) or "unknown"
    return "wsl" if "microsoft" in _text(root, "proc/sys/kernel/osrelease").lower() else None


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as the kernel lists CPUs: `0-3,8`."""
    ends = [(n, n) for n in numbers[:1]]
    for n in numbers[1:]:
        begin, end = ends[-1]
        ends[-1:] = [(begin, n)] if n == end + 1 else [(begin, end), (n, n)]
    return ",".join(str(begin) if begin == end else f"{begin}-{end}" for begin, end in ends)
