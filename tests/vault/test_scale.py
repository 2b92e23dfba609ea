"""A hundred times the entries take hardly more memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.crypto_fakes import run_python
from tests.support.vaults import make_place

# Set THREADMILL_TEST_ENTRIES=1000000 for a million; it takes minutes.
MANY = int(os.environ.get("THREADMILL_TEST_ENTRIES", "200000"))
FEW = 2_000
BOUND_BYTES = 24 << 20

# Every file has an object of its own, none of which is there but as an empty file in the last of the vault's folders.
CODE = """
import hashlib, sys
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile
from tasks.files import closed_after, open_new
from tasks.vault.entries import Content, FileFacts, begin_file, end_file, path_field
from tasks.vault.header import Header, Totals
from tasks.vault.named import NamedObjects
from tasks.vault.portions import RestorePlan, Wanted
from tasks.vault.policy import Policy
from tasks.vault.prune import plan_removal
from tasks.vault.snapshots import open_snapshot, write_snapshot
from tasks.vault.vault import open_vault
from datetime import UTC, datetime
from tests.support.crypto_fakes import peak_bytes

vault, count = open_vault(sys.argv[1], KeyFile(sys.argv[2]).secret()), int(sys.argv[3])
header = Header(vault.id, "0" * 16, datetime(2026, 1, 1, tzinfo=UTC), 1, (b"/x",))

def line(number):
    facts = FileFacts(0o644, number, number, number, 100)
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return begin_file(path_field(b"/x/%09d" % number), facts) + end_file(Content(digest, 100))

with closed_after(open_new(f"{vault.root}/snapshots/{header.name}")) as descriptor:
    write_snapshot(descriptor, vault, header, map(line, range(count)), Totals(count, count, 100 * count))
cancel = CancelToken()
with NamedObjects(vault) as objects, open_snapshot(vault, header.name) as opened, RestorePlan(opened, Wanted()) as plan:
    assert (plan.missing, plan.files, plan.size_bytes) == ((), count, 100 * count)
    assert sum(portion.entries for portion in plan.portions()) == count
    assert plan_removal(vault, Policy(last=1), lambda length: 0, objects, cancel).objects == 0
    objects.list_all()
    assert sum(1 for _ in objects.missing()) == count
print(peak_bytes())
"""


def peak(folder: Path, count: int) -> int:
    folder.mkdir()
    place = make_place(folder)
    ended = run_python(CODE, place.vault.root, place.key.path, str(count))
    assert ended.returncode == 0, ended.stderr.decode()
    return int(ended.stdout)


@pytest.mark.slow
def test_many_entries_take_no_more_memory(tmp_path: Path) -> None:
    """Checking a snapshot, looking what to restore and planning a removal are in bounded memory."""
    assert peak(tmp_path / "many", MANY) - peak(tmp_path / "few", FEW) < BOUND_BYTES
