"""Whole commands against restic and borg, and one large file against a shell, on the file system of TMPDIR."""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chains import fill, shell
from benchmarks.rounds import alternate, ratio, show, verdict
from tasks.crypto.secret import write_key_file

ROUNDS = 5
_ENC = "openssl enc -aes-256-ctr -pbkdf2 -iter 1 -md sha256 -pass file:{key} < {file}"

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Tool:
    """A backup tool: each function gives a command that takes a repository, a source, or a target."""

    init: Callable[[Path], Command]
    backup: Callable[[Path, Path], Command]
    verify: Callable[[Path], Command]
    restore: Callable[[Path, Path], Command]
    environment: Mapping[str, str] = field(default_factory=dict)
    in_target: bool = False

    def run(self, command: Command, folder: Path | None = None) -> None:
        """Run a command to its end; an assertion fails if it does not end well."""
        ended = subprocess.run(
            [*map(str, command)], cwd=folder, env=os.environ | self.environment, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr.decode()


def tools(folder: Path, key: Path) -> dict[str, Tool]:
    """Those of threadmill, restic and borg that are here."""
    ours = str(Path(sys.executable).parent / "threadmill")
    restic: list[str | Path] = ["restic", "--password-file", key, "-r"]
    archives: dict[Path, Iterator[int]] = defaultdict(itertools.count)
    found = {
        "threadmill": Tool(
            lambda vault: [ours, "vault", "init", vault],
            lambda vault, source: [ours, "encrypt", source, "--vault", vault],
            lambda vault: [ours, "verify", "--vault", vault],
            lambda vault, target: [ours, "restore", "latest", target, "--vault", vault],
            {"THREADMILL_HOME": str(folder / "home"), "THREADMILL_KEY_FILE": str(key)},
        ),
        "restic": Tool(
            lambda vault: [*restic, vault, "init"],
            lambda vault, source: [*restic, vault, "backup", source],
            lambda vault: [*restic, vault, "check", "--read-data"],
            lambda vault, target: [*restic, vault, "restore", "latest", "--target", target],
            {"RESTIC_CACHE_DIR": str(folder / "restic-cache")},
        ),
        "borg": Tool(
            lambda vault: ["borg", "init", "-e", "repokey-blake2", vault],
            lambda vault, source: ["borg", "create", f"{vault}::{next(archives[vault])}", source],
            lambda vault: ["borg", "check", "--verify-data", vault],
            lambda vault, _: ["borg", "extract", f"{vault}::0"],
            {"BORG_PASSPHRASE": "benchmark", "BORG_BASE_DIR": str(folder / "borg-base"),
             "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"},
            in_target=True,
        ),
    }  # fmt: skip
    for name in ("restic", "borg"):
        if not shutil.which(name):
            del found[name]
            print(f"\n{name} is not here (apt-get install restic borgbackup), and was left out")
    return found


def against_peers(folder: Path, key: Path, source: Path) -> dict[str, dict[str, list[float]]]:
    """Seconds by step and tool. Each round has repositories of its own, and all that is made stays until the end.

    For minutes after many files were removed, ext4 takes ten times as long to make new ones near them: it passes over
    inodes that were freed less than a minute ago, or five.
    """
    found = tools(folder, key)
    seconds: dict[str, dict[str, list[float]]] = {}

    def timed(step: str, number: int, command: Callable[[Tool, Path, Path], Command]) -> None:
        for name in found if number % 2 else reversed(found):
            tool, vault, target = found[name], folder / f"{name}-{number}", folder / f"{name}-{number}-out"
            target.mkdir(exist_ok=True)
            os.sync()
            begin = time.perf_counter()
            tool.run(command(tool, vault, target), target if tool.in_target and step == "restore all" else None)
            seconds.setdefault(step, {}).setdefault(name, []).append(time.perf_counter() - begin)

    for number in range(ROUNDS):
        for name, tool in found.items():
            tool.run(tool.init(folder / f"{name}-{number}"))
        timed("first backup", number, lambda tool, vault, _: tool.backup(vault, source))
        timed("nothing changed", number, lambda tool, vault, _: tool.backup(vault, source))
        timed("verify all", number, lambda tool, vault, _: tool.verify(vault))
        timed("restore all", number, lambda tool, vault, target: tool.restore(vault, target))
        for path in source.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path)
        time.sleep(0.1)
        timed("every file touched", number, lambda tool, vault, _: tool.backup(vault, source))
    for step, of_step in seconds.items():
        show(step, of_step)
    for name in found:
        sizes = [_size(folder / f"{name}-{number}") for number in range(ROUNDS)]
        print(f"  {name}: {statistics.median(sizes) / 1e6:,.1f} MB")
    return seconds


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _at_most(what: str, seconds: Mapping[str, list[float]], peer: str, target: float) -> None:
    """One line: the median over the rounds of our time as a multiple of a peer's."""
    if peer in seconds:
        reached = statistics.median(a / b for a, b in zip(seconds["threadmill"], seconds[peer], strict=True))
        word = "reached" if reached <= target else "MISSED"
        print(f"  {what}: {reached:.2f} of {peer}'s time (at most {target:g}) {word}")


def many_small_files(folder: Path, key: Path) -> None:
    """10,000 files of 4 KiB in 100 folders."""
    tree = folder / "tree"
    for number in range(10_000):
        path = tree / str(number // 100)
        path.mkdir(parents=True, exist_ok=True)
        fill(path / str(number), 4096)
    print("\n10,000 files of 4 KiB in 100 folders")
    seconds = against_peers(folder, key, tree)
    _at_most("first backup", seconds["first backup"], "restic", 1.0)
    _at_most("nothing changed", seconds["nothing changed"], "restic", 0.85)
    _at_most("verify all", seconds["verify all"], "restic", 1.0)
    for peer in ("restic", "borg"):
        _at_most("restore all", seconds["restore all"], peer, 1.0)
    _at_most("every file touched", seconds["every file touched"], "restic", 1.0)


def python_library(folder: Path, key: Path) -> None:
    """The `lib` of the interpreter that runs this, or the folder that THREADMILL_BENCH_TREE names."""
    tree = folder / "lib"
    source = os.environ.get("THREADMILL_BENCH_TREE") or os.path.dirname(os.__file__)
    shutil.copytree(source, tree, symlinks=True, ignore_dangling_symlinks=True)
    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    print(f"\n{len(files):,} files of a Python's lib, {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB")
    seconds = against_peers(folder, key, tree)
    _at_most("first backup", seconds["first backup"], "restic", 1.2)
    _at_most("nothing changed", seconds["nothing changed"], "restic", 0.6)
    _at_most("restore", seconds["restore all"], "restic", 1.0)
    if (folder / "borg-0").exists():
        share = _size(folder / "threadmill-0") / _size(folder / "borg-0")
        print(f"  size: {share:.2f} of borg's (at most 1.1) {'reached' if share <= 1.1 else 'MISSED'}")


def one_large_file(folder: Path, key: Path) -> None:
    """1 GiB of random bytes: stored and hashed in one pass, on disk when it ends, against a shell with tee."""
    file, ours = fill(folder / "1GiB", 1 << 30), tools(folder, key)["threadmill"]
    tee = _ENC.format(key=key, file=file) + " | tee {to} | openssl dgst -sha256 >/dev/null"
    vault = folder / "vault"

    def clear() -> None:
        (folder / "tee").unlink(missing_ok=True)
        shutil.rmtree(vault, ignore_errors=True)
        shutil.rmtree(folder / "home", ignore_errors=True)
        ours.run(ours.init(vault))

    contenders = {
        "enc | tee | dgst": lambda: shell(tee.format(to=folder / "tee")),
        "the same, and on disk (sync)": lambda: shell(f"{tee.format(to=folder / 'tee')} && sync {folder / 'tee'}"),
        "encrypt into a vault": lambda: ours.run(ours.backup(vault, file)),
    }
    clear()
    seconds = alternate(contenders, rounds=ROUNDS, between=clear)
    show("one file of 1 GiB", seconds)
    pipeline = ratio(seconds, "encrypt into a vault", "enc | tee | dgst")
    verdict("against the pipeline, which leaves it to the page cache", pipeline, 1.2)


def status_of_many(folder: Path, key: Path) -> None:
    """`status` of a vault of 100,000 objects."""
    tree, ours = folder / "tree", tools(folder, key)["threadmill"]
    for number in range(100_000):
        path = tree / str(number // 1000)
        path.mkdir(parents=True, exist_ok=True)
        (path / str(number)).write_bytes(b"%d" % number)
    ours.run(ours.init(folder / "vault"))
    ours.run(ours.backup(folder / "vault", tree))
    command: Command = [
        str(Path(sys.executable).parent / "threadmill"),
        "status",
        "--only-vault",
        "--vault",
        folder / "vault",
    ]
    seconds = alternate({"threadmill status": lambda: ours.run(command)}, ROUNDS)
    show("status of a vault of 100,000 objects (at most 1 s)", seconds)


def main(folder: Path) -> None:
    """All of them, each in a folder of its own, which stays until the end."""
    key = folder / "key"
    write_key_file(str(key))
    for part in (many_small_files, python_library, one_large_file, status_of_many):
        own = folder / part.__name__
        own.mkdir()
        part(own, key)
