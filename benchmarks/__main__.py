"""Run the benchmarks: all of them, or those named (chains, harness, orchestration, record, startup, vault)."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import chains, harness, orchestration, record, startup, vault

ALL = {
    "chains": chains.main,
    "harness": harness.main,
    "orchestration": orchestration.main,
    "record": record.main,
    "startup": startup.main,
    "vault": vault.main,
}


def main(names: list[str]) -> None:
    """Each in a folder of its own, on the file system of TMPDIR."""
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{chains.CPUS} CPUs, Python {platform.python_version()}, {openssl}; run on an idle machine")
    for name in names or ALL:
        with tempfile.TemporaryDirectory(prefix="threadmill-bench-") as folder:
            ALL[name](Path(folder))


main(sys.argv[1:])
