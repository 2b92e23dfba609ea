"""A vault that the first release made is read by every later one, and by a reader made from the document alone."""

from __future__ import annotations

import ast
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.crypto.secret import KeyFile
from tasks.vault.lookup import partial_names, read_snapshot, snapshot_names
from tasks.vault.vault import open_vault
from tests.support import vault_reader
from tests.support.crypto_fakes import ROOT, needs_openssl
from tests.support.vaults import Place, entries, make_place, restore, verify

KEPT = ROOT / "tests" / "data" / "vault-2"
VAULT_ID = "e8a62c7c68a04ab6a1da161b38a80936"
TREE = "tmp/kept-vault/tree"
CONTENTS: dict[bytes, bytes] = {
    b"empty": b"",
    b"folder/\xff\xfe.bin": bytes(range(256)) * 4,
    b"folder/two\nlines": b"a name of two lines\n",
    "grüße.txt".encode(): "Grüße\n".encode(),
    b"letter.txt": b"Dear reader,\n",
    b"long.txt": b"a line that is there often\n" * 2000,
    b"copy.txt": b"a name of two lines\n",
    b"holes": bytes(1 << 20) + b"between holes" + bytes((2 << 20) - 13),
}
NEWER = CONTENTS | {b"letter.txt": b"Dear reader,\nthank you.\n"}
MODES = {"empty": 0o600, "folder": 0o750, "folder/two\nlines": 0o755, "hollow": 0o700, "letter.txt": 0o644}
TIMES = {"": 10**18 + 1, "hollow": 5, "empty": 0, "folder": 10**18, "link": 1_500_000_000_000_000_001}


@pytest.fixture
def kept(tmp_path: Path) -> Place:
    """A copy of the vault, as it was kept: without its lock and its empty folders."""
    shutil.copytree(KEPT, tmp_path / "vault")
    key = tmp_path / "key"
    shutil.copy(f"{KEPT}.key", key)
    key.chmod(0o600)
    return Place(open_vault(str(tmp_path / "vault"), KeyFile(str(key)).secret()), KeyFile(str(key)), tmp_path / "tree")


def first_and_second(place: Place) -> list[str]:
    names = snapshot_names(place.vault.root)
    return sorted(names, key=lambda name: read_snapshot(place.vault, name).header.sequence)


def test_a_kept_vault_is_whole(kept: Place) -> None:
    """It opens, and verifies: two snapshots, two parts of a run that was interrupted, and four packs."""
    assert kept.vault.id == VAULT_ID
    assert kept.faults() == {}
    assert sorted(one.status for one in verify(kept.vault) if one.kind == "pack") == ["ok"] * 4
    assert len(snapshot_names(kept.vault.root)) == len(partial_names(kept.vault.root)) == 2


@pytest.mark.parametrize(("number", "contents"), [(0, CONTENTS), (1, NEWER)])
def test_a_kept_vault_is_restored(kept: Place, tmp_path: Path, number: int, contents: dict[bytes, bytes]) -> None:
    """Contents, modes, times and links are those that it was made of."""
    target = tmp_path / "target"
    assert not [verdict for verdict in restore(kept.vault, first_and_second(kept)[number], target) if verdict.is_fault]
    base = target / TREE
    for name, content in contents.items():
        assert (base / os.fsdecode(name)).read_bytes() == content
    assert {name: stat.S_IMODE((base / name).stat().st_mode) for name in MODES} == MODES
    assert {name: (base / name).lstat().st_mtime_ns for name in TIMES} == TIMES
    assert os.readlink(bytes(base / "dangling")) == b"nowhere/\xff"
    assert os.readlink(base / "link") == "letter.txt"
    assert list((base / "hollow").iterdir()) == []
    assert (base / "holes").stat().st_blocks * 512 < 1 << 20


def test_a_kept_vault_is_added_to(kept: Place) -> None:
    """It takes a new snapshot, with the next number."""
    kept.tree.mkdir()
    kept.put("x")
    assert kept.add().added.snapshot.header.sequence == 3
    assert kept.faults() == {}


@needs_openssl
@pytest.mark.parametrize(("number", "contents"), [(0, CONTENTS), (1, NEWER)])
def test_the_document_is_enough(kept: Place, number: int, contents: dict[bytes, bytes]) -> None:
    """A reader that was written by the document reads the kept vault, with the openssl program."""
    reader = vault_reader.Reader(kept.vault.root, kept.key.path)
    header, listed = reader.snapshot(first_and_second(kept)[number])
    assert header["sequence"] == number + 1
    base = os.fsencode(TREE) + b"/"
    assert {one["path"].removeprefix(base): reader.content(one) for one in listed if one["type"] == "file"} == contents
    assert [one["path"] for one in listed] == [one.path for one in entries(kept.vault, first_and_second(kept)[number])]


@needs_openssl
def test_the_document_is_enough_for_parts(kept: Place) -> None:
    """The reader reads what a run made durable that was interrupted."""
    reader = vault_reader.Reader(kept.vault.root, kept.key.path)
    found: dict[bytes, bytes] = {}
    for number, name in enumerate(reader.names("partials"), 1):
        header, listed = reader.snapshot(name)
        assert (header["part"], header["run"], len(listed)) == (number, name[:16], 1)
        found |= {os.path.basename(one["path"]): reader.content(one) for one in listed}
    assert found == {b"a": b"a" * 10, b"b": b"b" * 10}


@needs_openssl
@pytest.mark.parametrize("random_salts", [False, True])
def test_the_reader_reads_what_is_written_today(tmp_path: Path, *, random_salts: bool) -> None:
    """What the engine writes now is of the same form, in packs and alone, with salts of both kinds."""
    place = make_place(tmp_path, random_salts=random_salts)
    for name in ("a", "a.b/c", "b\nb"):
        place.put(name)
    place.put("large", random.randbytes(2 << 20))
    place.put("text", b"text " * 400_000)
    with place.put("holes").open("r+b") as file:
        file.truncate(3 << 20)
    # Beyond what is read into memory: the one is compressed, the other is not.
    place.put("huge text", b"text " * 4_000_000)
    place.put("huge", random.randbytes(1 << 20) * 17)
    (place.tree / "link").symlink_to("a")
    name = place.add().name
    reader = vault_reader.Reader(place.vault.root, place.key.path)
    listed = reader.snapshot(name)[1]
    assert {one["path"] for one in listed} == {one.path for one in entries(place.vault)}
    found = [one for one in listed if one["type"] == "file"]
    assert len(found) == 8
    for one in found:
        assert reader.content(one) == Path(os.fsdecode(b"/" + one["path"])).read_bytes()
    reader.check_packs()


def test_the_reader_is_independent() -> None:
    """It imports the standard library alone (or zstandard, where there is no zstd), runs by itself, and is short."""
    source = Path(vault_reader.__file__).read_text()
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes}
    assert {str(module).partition(".")[0] for module in modules} <= sys.stdlib_module_names | {"zstandard"}
    assert len(source.splitlines()) <= 560
    if shutil.which("openssl"):
        command = [sys.executable, vault_reader.__file__, str(KEPT), f"{KEPT}.key"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert len(printed.splitlines()) == 26
