"""Cases in which a backup could leave something out, or go somewhere else."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks.torture.places import disk
from benchmarks.torture.scene import Scene, busy, mounted

_STATUS = "status", "--only-vault"


def vault_not_mounted(scene: Scene) -> None:
    """The vault's disk is away; then another one is in its place."""
    scene.put("letter")
    place = scene.place = replace(scene.place, vault=scene.folder / "mnt")
    with mounted(scene.folder / "disk", place.vault):
        scene.good("vault", "init", place.vault)
        scene.good("encrypt", scene.tree)
    scene.case = "the vault's disk is not mounted"
    scene.tell(2, "mount", "encrypt", scene.tree)
    scene.keeps("nothing is written to the mount point", not any(place.vault.iterdir()))
    scene.tell(2, "mount", "vault", "init", place.vault)
    scene.keeps("nothing is written to the mount point", not any(place.vault.iterdir()))
    scene.tell(1, "mount", *_STATUS)
    scene.case = "a vault is mounted there that the record has never seen"
    with mounted(scene.folder / "other disk", place.vault):
        place.make_vault()
        scene.tell(2, "another one", "encrypt", scene.tree)
        scene.keeps("that vault is as it was", not scene.snapshots())
    scene.case = "the right disk is mounted again"
    with mounted(scene.folder / "disk", place.vault):
        scene.tell(0, "1 unchanged", "encrypt", scene.tree)
        scene.keeps("all files", set(scene.contents()) == {"letter"} and scene.whole())


def file_never_still(scene: Scene) -> None:
    """A file that is written all the time, and was still once."""
    scene.put("letter")
    log = scene.put("log", content="good\n")
    scene.good("encrypt", scene.tree)
    scene.case = "a file always changes while it is read"
    with busy(log):
        scene.tell(3, "/tree/log", "encrypt", scene.tree)
    scene.keeps("the bytes that were read, marked", len(scene.contents().get("log", "")) == log.stat().st_size)
    scene.tell(0, "TIME ZONE │ 2 │ 1 │", "snapshots")
    scene.tell(0, "/tree/log", "snapshots", "show", "latest", "--marked")
    scene.tell(0, "1 marked", *_STATUS)
    scene.tell(0, "marked.*/tree/log", "restore", "latest", scene.folder / "back")
    scene.keeps("all files", len(list((scene.folder / "back").rglob("l*"))) == 2)
    scene.tell(0, "1 kept", "prune", "--keep-last", "1")
    scene.tell(0, "restored: 2", "restore", "latest", scene.folder / "good", "--last-good")
    scene.keeps("its last good content too", Path(f"{scene.folder}/good{log}").read_text() == "good\n")
    scene.case = "a file is known to change"
    with busy(log):
        scene.tell(0, "1 changing", "encrypt", scene.tree, "--may-change", "log")
    scene.keeps("the bytes that were read, marked", len(scene.contents().get("log", "")) == log.stat().st_size)
    scene.tell(0, "all is well", *_STATUS)


def file_not_readable(scene: Scene) -> None:
    """A file that was readable once, and one that never was."""
    scene.put("letter", "other", "third")
    letter = scene.tree / "letter"
    scene.good("encrypt", scene.tree)
    letter.write_text("newer\n")
    letter.chmod(0)
    scene.case = "a file cannot be read any more"
    scene.tell(3, "/tree/letter", "encrypt", scene.tree, privileged=False)
    scene.keeps("its entry of the snapshot before, marked", scene.contents().get("letter") == "letter\n")
    scene.tell(0, "carried-over", "history", "payloads", "--status", "carried-over")
    letter.chmod(0o644)
    closed = scene.put("closed")
    closed.chmod(0)
    scene.case = "a file cannot be read, and never could"
    scene.tell(3, "/tree/closed", "encrypt", scene.tree, privileged=False)
    scene.keeps("all other files", set(scene.contents()) == {"letter", "other", "third"})
    scene.tell(0, "1 missed", *_STATUS)
    closed.chmod(0o644)
    scene.case = "most files cannot be read"
    for name in ("letter", "other"):
        scene.put(name, content="newer\n").chmod(0)
    closed.chmod(0)
    scene.tell(3, "2 marked", "encrypt", scene.tree, privileged=False)
    scene.keeps("entries of the snapshot before, marked", scene.contents()["other"] == "other\n")
    scene.tell(1, "could not be read", *_STATUS)
    for path in scene.tree.iterdir():
        path.chmod(0o644)
    scene.case = "all files can be read again"
    scene.tell(0, "2 new", "encrypt", scene.tree)
    scene.keeps("all files", len(scene.contents()) == 4)
    scene.tell(0, "all is well", *_STATUS)


def folder_not_listed(scene: Scene) -> None:
    """A folder that was open once, and one that never was."""
    scene.put("letter", "private/a", "private/below/b")
    names = {"letter", "private/a", "private/below/b"}
    scene.good("encrypt", scene.tree)
    (scene.tree / "private").chmod(0)
    scene.case = "a folder cannot be listed any more"
    scene.tell(3, "/tree/private", "encrypt", scene.tree, privileged=False)
    scene.keeps("all entries below it of the snapshot before, marked", set(scene.contents()) == names)
    (scene.tree / "private").chmod(0o755)
    scene.put("closed/c")
    (scene.tree / "closed").chmod(0)
    scene.case = "a folder cannot be listed, and never could"
    scene.tell(3, "/tree/closed", "encrypt", scene.tree, privileged=False)
    scene.keeps("all other files", set(scene.contents()) == names)


def path_not_readable(scene: Scene) -> None:
    """A path is not there, is a link to nothing, or is a pipe, as a shell makes it of `<(pg_dump)`."""
    scene.put("letter")
    nothing, link, pipe = (scene.folder / name for name in ("nothing", "link", "pipe"))
    link.symlink_to("/no/such/disk")
    os.mkfifo(pipe)
    cases = (nothing, "a path is not there"), (link, "a path is a link to nothing"), (pipe, "a path is a FIFO")
    for path, case in cases:
        scene.case = f"{case}, and is all that is named"
        scene.tell(2, path.name, "encrypt", path)
        scene.keeps("no snapshot is made", not scene.snapshots())
    for path, case in cases:
        scene.case = case
        scene.tell(3, path.name, "encrypt", path, scene.tree)
        scene.keeps("all other paths", set(scene.contents()) == {"letter"})


def source_not_mounted(scene: Scene) -> None:
    """The disk of one of two paths is away."""
    mount = scene.folder / "mnt"
    scene.put("letter")
    with disk(mount, 1 << 20):
        for number in range(10):
            (mount / str(number)).write_text(f"{number}\n")
        scene.good("encrypt", scene.tree, mount)
    scene.case = "the disk of a path is not mounted"
    scene.tell(3, "10 .*gone|gone.* 10", "encrypt", scene.tree, mount)
    scene.keeps("the rest, in a snapshot that does not count", set(scene.contents()) == {"letter"})


def most_files_gone(scene: Scene) -> None:
    """Over half of the files are gone, until the user says that it is right."""
    scene.put(*map(str, range(10)))
    scene.good("encrypt", scene.tree)
    (before,) = scene.snapshots()
    for number in range(6):
        (scene.tree / str(number)).unlink()
    for case in ("over half of the files are gone", "over half of the files are gone, and it is the second night"):
        scene.case = case
        scene.tell(3, "6 .*gone", "encrypt", scene.tree)
        scene.keeps("the rest, in a snapshot that does not count", len(scene.contents()) == 4)
    scene.tell(1, "gone", *_STATUS)
    scene.tell(0, "│ 6 │", "history", "snapshots")
    scene.tell(0, "kept", "prune", "--keep-last", "1")
    scene.keeps("the last snapshot that counts", len(scene.contents(before)) == 10)
    scene.case = "the user accepts that they are gone"
    scene.tell(0, "accept", "snapshots", "accept", "latest")
    scene.tell(0, "all is well", *_STATUS)
    scene.tell(0, "4 unchanged", "encrypt", scene.tree)
    scene.tell(0, "1 kept", "prune", "--keep-last", "1")
    scene.keeps("the files that are there", len(scene.contents()) == 4)


def files_back(scene: Scene) -> None:
    """Over half of the files are gone for a night."""
    scene.put(*map(str, range(10)))
    scene.good("encrypt", scene.tree)
    away = scene.folder / "away"
    scene.tree.rename(away)
    scene.put("0")
    assert scene.run("encrypt", scene.tree).returncode == 3
    shutil.rmtree(scene.tree)
    away.rename(scene.tree)
    scene.case = "files that were gone are back"
    scene.tell(0, "snapshot", "encrypt", scene.tree)
    scene.keeps("all files", len(scene.contents()) == 10)
    scene.tell(0, "all is well", *_STATUS)


def no_file_left(scene: Scene) -> None:
    """A path that is empty now."""
    scene.put("letter")
    scene.good("encrypt", scene.tree)
    (scene.tree / "letter").unlink()
    scene.case = "no file is left in any path"
    scene.tell(2, "no files", "encrypt", scene.tree)
    scene.keeps("the snapshot before", set(scene.contents()) == {"letter"})


def excludes(scene: Scene) -> None:
    """Patterns that could leave out more, or less, than they say."""
    scene.put("cache/keep", "cache/x", "letter")
    scene.case = "a pattern takes back what another one leaves out"
    scene.tell(0, "2 new", "encrypt", scene.tree, "--exclude", "cache/**", "--exclude", "!cache/keep")
    scene.keeps("the same files that git keeps", set(scene.contents()) == {"letter", "cache/keep"})
    scene.case = "a pattern is absolute"
    scene.tell(0, "2 unchanged", "encrypt", scene.tree, "--exclude", scene.tree / "cache/x")
    scene.keeps("all files but that one", set(scene.contents()) == {"letter", "cache/keep"})
    scene.case = "a pattern is absolute, and below none of the paths"
    scene.tell(2, "below none", "encrypt", scene.tree, "--exclude", "/usr/share/*")
    scene.keeps("no snapshot is made", len(scene.snapshots()) == 2)
    scene.case = "a pattern matches nothing"
    scene.tell(0, "matches nothing", "encrypt", scene.tree, "--exclude", "*.tmp", "--dry-run")


BACKUPS = (
    vault_not_mounted, file_never_still, file_not_readable, folder_not_listed, path_not_readable, source_not_mounted,
    most_files_gone, files_back, no_file_left, excludes,
)  # fmt: skip
