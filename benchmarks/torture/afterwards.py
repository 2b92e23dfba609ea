"""Cases in which a command could be too quiet or too loud, or give back something else than was kept."""

from __future__ import annotations

import shutil
from dataclasses import replace

from benchmarks.torture.scene import Scene

_RECORD_BYTES = 4 << 20


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


AFTERWARDS = (nights_from_cron, without_vault, copied_vault)  # fmt: skip
