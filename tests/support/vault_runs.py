"""A program: a vault's life by flows on the server that is set, and beside it the same, directly, in a second vault.

It prints what came of each flow run, as JSON. Both vaults are in one folder, `prefect` and `direct`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.main import main

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def live(tree: Path, folder: Path) -> None:
    """The life: twice encrypted, verified, restored, pruned, damaged, and asked for what there is not."""
    from flows.encryption import encrypt_files
    from flows.vault import prune_vault, restore_files, verify_vault

    told: dict[str, dict[str, Any]] = {}

    def both(step: str, flow: Callable[[], State[Any]], command: Callable[[], int]) -> None:
        os.environ["THREADMILL_VAULT"] = str(folder / "prefect")
        state = flow()
        os.environ["THREADMILL_VAULT"] = str(folder / "direct")
        with redirect_stdout(sys.stderr):
            code = command()
        told[step] = {
            "id": str(state.state_details.flow_run_id),
            "type": state.type.value,
            "name": state.name,
            "message": state.message,
            "code": code,
        }

    def encrypt_both(step: str) -> None:
        both(
            step,
            lambda: encrypt_files([str(tree)], jobs=1, return_state=True),
            lambda: main(["encrypt", str(tree), "--jobs", "1", "--via", "direct"]),
        )

    def verify_both(step: str) -> None:
        both(
            step,
            lambda: verify_vault(return_state=True),
            lambda: main(["verify", "--via", "direct"]),
        )

    for vault in ("prefect", "direct"):
        with redirect_stdout(sys.stderr):
            assert main(["vault", "init", str(folder / vault)]) == 0
    encrypt_both("first")
    (tree / "letter").write_bytes(b"dear reader!")
    encrypt_both("second")
    verify_both("verify")
    both(
        "restore",
        lambda: restore_files(str(folder / "back by prefect"), return_state=True),
        lambda: main(["restore", "latest", str(folder / "back directly"), "--via", "direct"]),
    )
    both(
        "prune",
        lambda: prune_vault(
            keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0, max_unused="0%", return_state=True
        ),
        lambda: main(["prune", "--keep-last", "1", "--max-unused", "0%", "--via", "direct"]),
    )
    for vault in ("prefect", "direct"):
        damage(folder / vault)
    verify_both("damaged")
    both(
        "refused",
        lambda: restore_files(str(folder / "nowhere"), "no-such-snapshot", return_state=True),
        lambda: 2,
    )
    print(json.dumps(told))


def damage(vault: Path) -> None:
    """Change a byte of the first object of its largest pack."""
    largest = max((vault / "packs").glob("??/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    # After the member's header of 512 bytes, and the 16 of the object.
    content[512 + 16] ^= 1
    largest.write_bytes(content)


if __name__ == "__main__":
    live(Path(sys.argv[1]), Path(sys.argv[2]))
