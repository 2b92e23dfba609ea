"""Cases in which a command could be too quiet or too loud, or give back something else than was kept."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.torture.places import BIN, disk
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


def restore_in_place(scene: Scene) -> None:
    """Files go back through a link above their path, and through no other."""
    users, link, elsewhere = (scene.folder / name for name in ("data/users", "users", "elsewhere"))
    letters = users / "me/letters"
    for folder in (letters, elsewhere):
        folder.mkdir(parents=True)
    link.symlink_to("data/users")
    (letters / "one").write_text("dear\n")
    scene.good("encrypt", link / "me")
    shutil.rmtree(users / "me")
    scene.case = "a path was read through a link above it"
    scene.tell(0, "restored: 1", "restore", "latest", "/")
    scene.keeps("the file is where it came from", (letters / "one").exists() and link.is_symlink())
    shutil.rmtree(letters)
    letters.symlink_to(elsewhere)
    scene.case = "a folder below the path has become a link"
    scene.tell(1, "me/letters", "restore", "latest", "/")
    scene.keeps("nothing is written through that link", not any(elsewhere.iterdir()))
    shutil.rmtree(users / "me")
    scene.folder.chmod(0o777)
    scene.case = "the link above the path can be changed by other users"
    scene.tell(1, "me/letters", "restore", "latest", "/")
    scene.keeps("nothing is written through that link", not any(users.iterdir()))


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
    names = "/proc/version", "/proc/sys/kernel/pid_max", "/sys/kernel/mm/transparent_hugepage/enabled"
    paths = [Path(name) for name in names]
    scene.case = "files of `/proc` and `/sys`, whose size is 0 or wrong"
    scene.tell(0, "than their size", "encrypt", *paths)
    scene.run("restore", "latest", scene.folder / "back")
    back = [Path(f"{scene.folder}/back{path}") for path in paths]
    given = all(one.exists() and one.read_text() == path.read_text() for one, path in zip(back, paths, strict=True))
    scene.keeps("the bytes that reading them gives", given)


def paths_as_typed(scene: Scene) -> None:
    """Paths to restore, as a user types them."""
    folder = os.fsencode(scene.tree) + b"/\xe4dir"
    os.mkdir(folder)
    Path(os.fsdecode(folder), "a").write_text("a\n")
    scene.put("b")
    scene.good("encrypt", scene.tree)
    scene.case = "a name is typed as it is shown"
    scene.tell(0, "restored: 1", "restore", "latest", scene.folder / "back", f"{scene.tree}/\\xe4dir")
    scene.case = "a path is above all that was encrypted"
    scene.tell(0, "restored: 2", "restore", "latest", scene.folder / "all", scene.folder)
    scene.case = "times have a zone"
    scene.tell(0, "TIME ZONE", "snapshots")


def two_jobs(scene: Scene) -> None:
    """Two sets of paths in one vault."""
    scene.put("one/a", "two/b")
    for name in ("one", "two"):
        scene.good("encrypt", scene.tree / name)
    scene.case = "a path is not in the newest snapshot, which is one of other paths"
    scene.tell(0, "restored: 1", "restore", "latest", scene.folder / "back", scene.tree / "one")


def restore_again(scene: Scene) -> None:
    """A restore by a plain user over what the first one made."""
    scene.put("closed/letter")
    (scene.tree / "closed").chmod(0)
    scene.good("encrypt", scene.tree)
    target = scene.folder / "back"
    assert scene.run("restore", "latest", target, privileged=False).returncode == 0
    scene.case = "a plain user restores a second time over a folder of mode 0000"
    scene.tell(0, "1", "restore", "latest", target, privileged=False)
    scene.keeps("the folder is closed as before", Path(f"{target}{scene.tree}/closed").stat().st_mode & 0o777 == 0)


def restore_twice(scene: Scene) -> None:
    """Two restores at once into one target; the first one is stopped in the midst of it."""
    scene.put(*map(str, range(6000)))
    scene.good("encrypt", scene.tree)
    target = scene.folder / "back"
    first = subprocess.Popen(
        [str(BIN / "threadmill"), "restore", "latest", str(target), "--quiet"],
        env=scene.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while first.poll() is None and not Path(f"{target}{scene.tree}/0").exists():
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    scene.case = "another restore is at work in the target"
    scene.tell(2, "another|restore", "restore", "latest", target)
    first.send_signal(signal.SIGCONT)
    code = first.wait()
    scene.keeps("the other one ends well", code == 0 and sum(path.is_file() for path in target.rglob("*")) == 6000)


def file_with_acl(scene: Scene) -> None:
    """The group's bits of such a file are the mask of its list, and no right of the group."""
    path = scene.put("letter")
    path.chmod(0o600)
    anyone = 0xFFFFFFFF
    entries = ((0x01, 6, anyone), (0x02, 4, 1234), (0x04, 0, anyone), (0x10, 4, anyone), (0x20, 0, anyone))
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", packed)
    scene.good("encrypt", scene.tree)
    scene.case = "a file of mode 0600 has an ACL by which another user may read it"
    scene.tell(0, "restored: 1", "restore", "latest", scene.folder / "back")
    mode = Path(f"{scene.folder}/back{path}").stat().st_mode & 0o777
    scene.keeps("the file, with mode 0600 and no ACL", mode == 0o600)


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


AFTERWARDS = (
    check_after_changes, nights_from_cron, without_vault, restore_in_place, record_not_writable, kernel_files,
    paths_as_typed, two_jobs, restore_again, restore_twice, file_with_acl, copied_vault,
)  # fmt: skip
