"""The vault against a shell's pipeline, other tools, find and sha256sum; all of them on the file system of TMPDIR."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.chains import CPUS, fill, shell
from benchmarks.rounds import alternate, ratio, show, verdict
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Limits
from tasks.crypto.probe import choose_backend
from tasks.crypto.secret import KeyFile, write_key_file
from tasks.files import open_new, sync_file_system
from tasks.suites import SUITES
from tasks.vault.add import SourceSelection, add_batch, adding
from tasks.vault.index import ObjectIndex
from tasks.vault.vault import make_vault, open_vault
from tasks.vault.verify import check_objects, inspect
from tasks.vault.walk import sources_of

_BATCH = 1_250
_ENC = "openssl enc -aes-256-ctr -pbkdf2 -iter 1 -md sha256 -pass file:{key} < {file}"


class Engine:
    """The engine as the jobs drive it, nothing recorded."""

    def __init__(self, key: Path) -> None:
        self._key = KeyFile(str(key))
        self._cancel = CancelToken()
        self._chosen = choose_backend("native", SUITES["modern"], "openssl", self._cancel)

    def add(self, vault: Path, source: Path) -> tuple[int, int]:
        """What is new, durably, and a snapshot; how many files were read, and how many not."""
        opened = make_vault(str(vault), self._key.secret())
        with adding(opened, SourceSelection(sources_of([str(source)])), self._cancel) as addition:
            payloads = list(enumerate(addition.to_do()))
            for start in range(0, len(payloads), _BATCH):
                batch = Batch(start, "modern", self._chosen, tuple(payloads[start : start + _BATCH]))
                done = add_batch(opened, batch, self._key, Limits(), self._cancel)
                addition.put(done)
                assert all(one.status == "ok" for one in done.encryptions)
            added = addition.add_snapshot(1, self._cancel)
        return added.new, addition.found.unchanged

    def verify(self, vault: Path) -> int:
        """Everything; how many objects."""
        opened = open_vault(str(vault), self._key.secret())
        with ObjectIndex() as index, ThreadPoolExecutor(CPUS) as pool:
            assert not any(one.is_fault for one in inspect(opened, index, None, self._cancel))
            objects = list(index.whole())
            step = max(1, -(-len(objects) // (4 * CPUS)))
            parts = [objects[start : start + step] for start in range(0, len(objects), step)]
            checked = pool.map(lambda part: check_objects(opened, part, self._cancel), parts)
            assert all(one.status == "ok" for part in checked for one in part)
        return len(objects)


def _into_new(folder: Path, work: Callable[[Path], object]) -> Callable[[], None]:
    """Work into a path at which there is nothing."""
    made = folder / "made"
    made.mkdir(exist_ok=True)

    def once() -> None:
        work(Path(tempfile.mkdtemp(dir=made)) / "new")

    return once


def _quietly(command: Sequence[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _peers(folder: Path, key: Path, source: Path, *, one_file: bool) -> dict[str, Callable[[], None]]:
    """Those of age, gpg and restic that are here, doing the like."""
    peers: dict[str, Callable[[], None]] = {}
    if one_file and shutil.which("age") and shutil.which("age-keygen"):
        identity = folder / "identity"
        _quietly(["age-keygen", "-o", identity])
        recipient = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True).stdout
        age: list[str | Path] = ["age", "-r", recipient.strip(), "-o"]
        peers["age"] = _into_new(folder, lambda to: _quietly([*age, to, source]))
    if one_file and shutil.which("gpg"):
        home = folder / "gnupg"
        home.mkdir(mode=0o700, exist_ok=True)
        gpg: list[str | Path] = [
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--symmetric",
            "--passphrase-file",
            key,
            "--pinentry-mode",
        ]
        gpg += ["loopback", "--compress-algo", "none", "-o"]
        peers["gpg"] = _into_new(folder, lambda to: _quietly([*gpg, to, source]))
    if shutil.which("restic"):
        restic: list[str | Path] = ["restic", "--password-file", key, "--no-cache", "-r"]
        blank = folder / "restic"
        _quietly([*restic, blank, "init"])

        def back_up(to: Path) -> None:
            shutil.copytree(blank, to)
            _quietly([*restic, to, "backup", source])

        peers["restic backup"] = _into_new(folder, back_up)
    for name in ("age", "gpg", "restic"):
        if not shutil.which(name):
            print(f"\n{name} is not here (apt-get install {name}), and was left out")
    return peers


def one_large_file(folder: Path, key: Path) -> None:
    """1 GiB: stored and hashed in one pass, on disk when it ends, against a shell with tee."""
    file, engine = fill(folder / "1GiB", 1 << 30), Engine(key)
    tee = _ENC.format(key=key, file=file) + " | tee {to} | openssl dgst -sha256 >/dev/null"
    contenders = {
        "enc | tee | dgst": _into_new(folder, lambda to: shell(tee.format(to=to))),
        "the same, and on disk (sync)": _into_new(folder, lambda to: shell(f"{tee.format(to=to)} && sync {to}")),
        "into the vault, on disk": _into_new(folder, lambda to: engine.add(to, file)),
        **_peers(folder, key, file, one_file=True),
    }

    def clear() -> None:
        for one in (folder / "made").iterdir():
            shutil.rmtree(one)

    seconds = alternate(contenders, rounds=5, between=clear)
    show("one file of 1 GiB", seconds)
    vault = "into the vault, on disk"
    verdict("against the pipeline, which leaves it to the page cache", ratio(seconds, vault, "enc | tee | dgst"), 1.2)
    verdict("against the pipeline that syncs too", ratio(seconds, vault, "the same, and on disk (sync)"), 1.2)
    engine.add(folder / "vault", file)
    _verify(folder / "vault", engine, "1 object of 1 GiB")
    file.unlink()


def _bare_objects(vault: Path) -> None:
    """What 10,000 objects cost without encryption: the same files made, put on disk and renamed by a bare loop."""
    for folder in (vault, vault / "new", *(vault / f"{number:02x}" for number in range(256))):
        folder.mkdir()
    content, batch = os.urandom(16 + 4096), 1_250
    for start in range(0, 10_000, batch):
        for number in range(start, start + batch):
            descriptor = open_new(f"{vault}/new/{number}")
            os.write(descriptor, content)
            os.close(descriptor)
        sync_file_system(str(vault))
        for number in range(start, start + batch):
            os.rename(f"{vault}/new/{number}", f"{vault}/{number % 256:02x}/{number}")
        sync_file_system(str(vault))


def many_small_files(folder: Path, key: Path) -> None:
    """10,000 × 4 KiB: first run, run without a change, verify."""
    tree, engine = folder / "tree", Engine(key)
    for number in range(10_000):
        path = tree / str(number // 100)
        path.mkdir(parents=True, exist_ok=True)
        fill(path / str(number), 4096)
    command = [str(Path(sys.executable).parent / "threadmill"), "encrypt", str(tree), "--via", "direct", "--vault"]
    environment = os.environ | {"THREADMILL_HOME": str(folder / "home"), "THREADMILL_KEY_FILE": str(key)}

    def by_command(to: Path) -> None:
        subprocess.run([*command, str(to)], env=environment, check=True, capture_output=True)

    contenders = {
        "the objects' files alone": _into_new(folder, _bare_objects),
        "engine": _into_new(folder, lambda to: engine.add(to, tree)),
        "threadmill encrypt": _into_new(folder, by_command),
        **_peers(folder, key, tree, one_file=False),
    }
    # All that is made stays until the end: for minutes after many files were removed, ext4 takes ten times as long to
    # make new ones near them (it passes over inodes that were freed less than 60 s ago, or 300).
    seconds = alternate(contenders, rounds=5)
    show("10,000 files of 4 KiB", seconds)
    if "restic backup" in seconds:
        verdict("engine against restic backup", ratio(seconds, "engine", "restic backup"), 2)
        verdict("the whole command, recorded", ratio(seconds, "threadmill encrypt", "restic backup"), 2)

    vault = folder / "vault"
    assert engine.add(vault, tree) == (10_000, 0)

    def find() -> None:
        shell(f"find {tree} -type f -printf '%s %T@ %C@ %p\\n' >/dev/null")

    def again() -> None:
        # None is read: all are counted as unchanged.
        assert engine.add(vault, tree) == (0, 10_000)
        max((vault / "snapshots").iterdir(), key=os.path.getmtime).unlink()

    seconds = alternate({"find": find, "nothing changed": again}, rounds=11)
    show("10,000 files of 4 KiB, nothing changed", seconds)
    times = 1 / ratio(seconds, "nothing changed", "find")
    print(f"  {times:.1f} times find (target: at most 10) {'reached' if times <= 10 else 'MISSED'}")
    _verify(vault, engine, "10,000 objects of 4 KiB")


def eight_files(folder: Path, key: Path) -> None:
    """8 × 128 MiB: verify."""
    tree, engine = folder / "tree", Engine(key)
    tree.mkdir()
    for number in range(8):
        fill(tree / str(number), 128 << 20)
    engine.add(folder / "vault", tree)
    _verify(folder / "vault", engine, "8 objects of 128 MiB")


def _verify(vault: Path, engine: Engine, what: str) -> None:
    sums = f"find {vault}/objects -type f -print0 | xargs -0 -n 32 -P {CPUS} sha256sum >/dev/null"
    seconds = alternate({"sha256sum": lambda: shell(sums), "verify": lambda: engine.verify(vault)}, rounds=5)
    show(f"verify {what}", seconds)
    verdict("against sha256sum by xargs", ratio(seconds, "verify", "sha256sum"), 0.9)


def main(folder: Path) -> None:
    """All of them, each in a folder of its own."""
    key = folder / "key"
    write_key_file(str(key))
    for part in (one_large_file, many_small_files, eight_files):
        own = folder / part.__name__
        own.mkdir()
        part(own, key)
        shutil.rmtree(own)
