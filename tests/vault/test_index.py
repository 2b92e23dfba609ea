"""The list of a vault's objects: sets that need no memory, and say so where there is no room for them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.crypto_fakes import run_python
from tests.support.vaults import more_room, small_disk

FILL = """
import os, sys
from tasks.vault.errors import ScratchFull
from tasks.vault.index import ObjectIndex
names = [os.urandom(32).hex() for _ in range(200_000)]
try:
    with ObjectIndex() as index:
        index.list(names)
        index.name((name, 1) for name in names[::2])
        assert index.counts() == (100_000, 100_000)
        assert set(index.unnamed()) == set(names[1::2])
        assert os.listdir(sys.argv[1]) == []
        used = os.statvfs(sys.argv[1])
        assert used.f_bfree < used.f_blocks
except ScratchFull as error:
    sys.exit(str(error))
"""


def test_a_full_folder_for_temporary_files_is_said(tmp_path: Path) -> None:
    """With what to do about it. With room, the file that it fills has no name."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        before = ("env", f"SQLITE_TMPDIR={disk}")
        ended = run_python(FILL, str(disk), before=before)
        said = "the list of the vault's objects cannot be kept among temporary files: database or disk is full; "
        assert ended.stderr.decode() == f"{said}set TMPDIR to a folder with more room\n"
        assert os.listdir(disk) == []
        more_room(disk, "64m")
        ended = run_python(FILL, str(disk), before=before)
        assert (ended.returncode, ended.stderr) == (0, b"")
