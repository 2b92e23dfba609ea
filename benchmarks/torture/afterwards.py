"""Cases in which a command could be too quiet or too loud, or give back something else than was kept."""

from __future__ import annotations

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


AFTERWARDS = (nights_from_cron, without_vault)  # fmt: skip
