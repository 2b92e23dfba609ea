"""Cases in which a backup could leave something out, or go somewhere else."""

from __future__ import annotations

from benchmarks.torture.scene import Scene

_STATUS = "status", "--only-vault"


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


BACKUPS = (no_file_left, excludes)  # fmt: skip
