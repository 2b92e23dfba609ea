"""Cases in which a command could be too quiet or too loud, or give back something else than was kept."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.torture.places import disk
from benchmarks.torture.scene import Scene

_RECORD_BYTES = 4 << 20


def check_after_changes(scene: Scene) -> None:
    """Files that are new, changed, removed or the same."""
    scene.put("changed", "removed", "same")
    scene.good("encrypt", scene.tree)
    scene.case = "nothing has changed"
    scene.tell(0, "3 same", "check", scene.tree)
    scene.put("changed", content="otherwise\n")
    scene.put("new")
    (scene.tree / "removed").unlink()
    scene.case = "a file has changed, one is new, and one was removed"
    scene.tell(1, "1 same", "check", scene.tree)
    said = scene.run("check", scene.tree).stdout
    scene.keeps("each of the three is named", all(f"tree/{name}" in said for name in ("changed", "new", "removed")))
    scene.keeps("the one that is the same is not", "tree/same" not in said)


def nights_from_cron(scene: Scene) -> None:
    """Good nights, and a bad one."""
    scene.put("letter")
    scene.case = "all is well, and cron mails what is said"
    for command in (("encrypt", scene.tree), ("verify",), ("prune", "--keep-last", "1")):
        scene.tell(0, "", *command, "--quiet")
    scene.put("closed").chmod(0)
    scene.case = "a file cannot be read, and cron mails what is said"
    scene.tell(3, "/tree/closed", "encrypt", scene.tree, "--quiet", privileged=False)


def without_vault(scene: Scene) -> None:
    """A user may not know that nothing is kept."""
    scene.put("letter")
    scene.case = "no vault is named"
    scene.tell(0, "nothing was kept", "encrypt", scene.tree, vault="")
    scene.keeps("digests are on record, and no content", not scene.snapshots())


def record_not_writable(scene: Scene) -> None:
    """The record's disk is full, then read-only."""
    scene.put("letter")
    with disk(scene.place.home, _RECORD_BYTES):
        for _ in range(2):
            scene.good("encrypt", scene.tree)
        scene.case = "the record's disk is full"
        with _full(scene.place.home):
            _with_record_closed(scene)
        for _ in range(2):
            scene.good("encrypt", scene.tree)
        scene.case = "the record's disk is read-only"
        subprocess.run(["mount", "-o", "remount,ro", scene.place.home], check=True)
        _with_record_closed(scene)


def _with_record_closed(scene: Scene) -> None:
    target = scene.folder / f"back {len(scene.told)}"
    scene.tell(0, "not on record", "restore", "latest", target)
    scene.keeps("all files", any(path.is_file() for path in target.rglob("letter")))
    scene.tell(0, "not on record", "verify")
    scene.tell(0, "not on record", "prune", "--keep-last", "1")
    scene.keeps("one snapshot", len(scene.snapshots()) == 1)


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """A disk without a free byte."""
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filling.unlink()


def kernel_files(scene: Scene) -> None:
    """Files whose size says nothing about their content."""
    paths = Path("/proc/version"), Path("/sys/kernel/mm/transparent_hugepage/enabled")
    scene.case = "files of `/proc` and `/sys`, whose size is 0 or wrong"
    scene.tell(0, "than their size", "encrypt", *paths)
    scene.run("restore", "latest", scene.folder / "back")
    back = [Path(f"{scene.folder}/back{path}") for path in paths]
    given = all(one.exists() and one.read_text() == path.read_text() for one, path in zip(back, paths, strict=True))
    scene.keeps("the bytes that reading them gives", given)


def copied_vault(scene: Scene) -> None:
    """A vault and a copy of it, both in use."""
    scene.put("letter")
    scene.good("encrypt", scene.tree)
    first, copy = scene.place, replace(scene.place, vault=scene.folder / "copy")
    shutil.copytree(first.vault, copy.vault)
    scene.place = copy
    scene.case = "the vault is a copy of another one"
    scene.tell(2, "adopt", "encrypt", scene.tree)
    scene.keeps("the copy is as it was", len(scene.snapshots()) == 1)
    scene.tell(0, "own", "vault", "adopt", copy.vault)
    scene.put("second")
    scene.tell(0, "1 new", "encrypt", scene.tree)
    scene.keeps("all files", len(scene.contents()) == 2 and scene.whole())
    scene.place = first
    scene.case = "the copy has a snapshot more than the vault that it was made of"
    scene.tell(0, "1 new", "encrypt", scene.tree)
    scene.keeps("all files", len(scene.contents()) == 2)
    scene.tell(0, "no fault", "verify")


AFTERWARDS = (check_after_changes, nights_from_cron, without_vault, record_not_writable, kernel_files, copied_vault)
