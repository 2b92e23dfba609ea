"""Encrypt→hash chains against the same in a shell."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.rounds import Contender, alternate, ratio, show, verdict
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Limits, encrypt_batch
from tasks.crypto.inputs import Payload
from tasks.crypto.probe import choose_backend
from tasks.crypto.secret import KeyFile, write_key_file
from tasks.suites import SUITES, BackendChoice

CPUS = len(os.sched_getaffinity(0))
PIPELINE = (
    "openssl enc -aes-256-ctr -pbkdf2 -iter 1 -md sha256 -pass file:{key} < {file} | openssl dgst -sha256 >/dev/null"
)


class Engine:
    """The engine over files, as the job drives it: batches on threads, nothing recorded."""

    def __init__(self, choice: BackendChoice, key: Path, jobs: int) -> None:
        self._cancel = CancelToken()
        self._chosen = choose_backend(choice, SUITES["modern"], "openssl", self._cancel)
        self._key = KeyFile(str(key))
        self._jobs = jobs

    def run(self, files: Sequence[Path]) -> None:
        """Encrypt and hash every file; an assertion fails if one did not end well."""
        payloads = [(n, Payload("file", os.fsencode(f), f.stat().st_size)) for n, f in enumerate(files)]
        step = max(1, -(-len(payloads) // (4 * self._jobs)))
        batches = [
            Batch(n, "modern", self._chosen, tuple(payloads[n : n + step])) for n in range(0, len(payloads), step)
        ]
        with ThreadPoolExecutor(self._jobs) as pool:
            results = pool.map(lambda batch: encrypt_batch(batch, self._key, Limits(), self._cancel), batches)
            assert all(one.status == "ok" for batch in results for one in batch)


def shell(command: str) -> None:
    """Run a shell command; an assertion fails if it fails."""
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0


def xargs(files: Sequence[Path], key: Path) -> None:
    """The pipeline over every file, as many at once as there are CPUs."""
    command = ["xargs", "-P", str(CPUS), "-I{}", "sh", "-c", PIPELINE.format(key=key, file="{}")]
    subprocess.run(command, input="\n".join(map(str, files)), text=True, check=True)


def fill(path: Path, size_bytes: int) -> Path:
    """A file of random bytes."""
    with path.open("wb") as file:
        for _ in range(size_bytes >> 20):
            file.write(os.urandom(1 << 20))
        file.write(os.urandom(size_bytes & 0xFFFFF))
    return path


def one_large_file(folder: Path, key: Path) -> None:
    """1 GiB, digest only, against the shell's pipeline and against its slower stage alone; a byte tells the start."""
    file, byte = fill(folder / "1GiB", 1 << 30), fill(folder / "byte", 1)
    openssl, native = Engine("openssl", key, 1), Engine("native", key, 1)

    def contenders(of: Path) -> dict[str, Contender]:
        return {
            "openssl enc | openssl dgst": lambda: shell(PIPELINE.format(key=key, file=of)),
            "openssl dgst alone": lambda: shell(f"openssl dgst -sha256 < {of} >/dev/null"),
            "backend openssl": lambda: openssl.run([of]),
            "backend native": lambda: native.run([of]),
        }

    seconds, starts = alternate(contenders(file), rounds=9), alternate(contenders(byte), rounds=9)
    show("one file of 1 GiB, suite modern, digest only", seconds)
    show("one byte", starts)
    worked = {name: [one - statistics.median(starts[name]) for one in of] for name, of in seconds.items()}
    verdict(
        "openssl backend against the pipeline", ratio(worked, "backend openssl", "openssl enc | openssl dgst"), 0.99
    )
    verdict("openssl backend against dgst alone", ratio(worked, "backend openssl", "openssl dgst alone"), 0.9)
    file.unlink()


def eight_files(folder: Path, key: Path) -> None:
    """8 × 128 MiB, against as many shell pipelines side by side as there are CPUs."""
    files = [fill(folder / f"128MiB-{number}", 128 << 20) for number in range(8)]
    openssl, native = Engine("openssl", key, CPUS), Engine("native", key, CPUS)
    seconds = alternate(
        {
            f"{CPUS} pipelines side by side": lambda: xargs(files, key),
            "backend openssl": lambda: openssl.run(files),
            "backend native": lambda: native.run(files),
        },
        rounds=7,
    )
    show("eight files of 128 MiB, suite modern, digest only", seconds)
    verdict("native backend", ratio(seconds, "backend native", f"{CPUS} pipelines side by side"), 1.3)
    for file in files:
        file.unlink()


def many_small_files(folder: Path, key: Path) -> None:
    """1,000 × 4 KiB with a key file, against xargs."""
    files = [fill(folder / f"4KiB-{number}", 4096) for number in range(1000)]
    openssl, native = Engine("openssl", key, CPUS), Engine("native", key, 1)
    seconds = alternate(
        {
            f"xargs -P {CPUS}": lambda: xargs(files, key),
            "backend openssl": lambda: openssl.run(files),
            "backend native": lambda: native.run(files),
        },
        rounds=5,
    )
    show("1,000 files of 4 KiB, suite modern, digest only", seconds)
    verdict("openssl backend", ratio(seconds, "backend openssl", f"xargs -P {CPUS}"), 1.0)
    verdict("native backend", ratio(seconds, "backend native", f"xargs -P {CPUS}"), 50)


def memory(folder: Path, key: Path) -> None:
    """Peak memory of the Python process for a sparse file of 4 GiB, against one of 4 KiB."""
    program = (
        "import resource, sys; from pathlib import Path; from benchmarks.chains import Engine\n"
        "Engine(sys.argv[1], Path(sys.argv[2]), 1).run([Path(sys.argv[3])])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    print("\npeak memory of the Python process")
    for choice in ("openssl", "native"):
        peaks_kib = []
        for size_bytes in (4 << 10, 4 << 30):
            sparse = folder / "sparse"
            with sparse.open("wb") as file:
                file.truncate(size_bytes)
            command = [sys.executable, "-c", program, choice, str(key), str(sparse)]
            peaks_kib.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
        small, large = (peak / 1024 for peak in peaks_kib)
        reached = "reached" if large - small <= 20 else "MISSED"
        print(f"  {choice}: {small:.1f} MiB for 4 KiB, {large:.1f} MiB for 4 GiB (target: within 20 MiB) {reached}")


def main(folder: Path) -> None:
    """All of them."""
    key = folder / "key"
    write_key_file(str(key))
    one_large_file(folder, key)
    eight_files(folder, key)
    many_small_files(folder, key)
    memory(folder, key)
