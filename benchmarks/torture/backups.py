"""Cases in which a backup could leave something out, or go somewhere else."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.torture.scene import Scene, mounted

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


BACKUPS = (vault_not_mounted, no_file_left, excludes)
