"""A vault is listed, verified and opened with the commands of its documents, by stock tools alone."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.crypto_fakes import ROOT
from tests.support.vaults import Place, entries, make_place, objects

_MISSING = [name for name in ("openssl", "zstd", "tar", "sha256sum", "dd", "truncate") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"not on PATH: {', '.join(_MISSING)}")

FORMAT = (ROOT / "docs" / "vault-format.md").read_text()
GUIDE = (ROOT / "docs" / "vault.md").read_text()
BLOCKS = {
    "format": re.findall(r"^```sh\n(.*?)^```", FORMAT.partition("## Packs\n")[2], re.MULTILINE | re.DOTALL),
    "guide": re.findall(r"^```sh\n(.*?)^```", GUIDE.partition("## By hand\n")[2], re.MULTILINE | re.DOTALL),
}


def command(document: str, *parts: str) -> str:
    """The line of a document's commands that has all of these parts, without its comment."""
    lines = [line.partition("  #")[0] for block in BLOCKS[document] for line in block.splitlines()]
    (found,) = (line for line in lines if all(part in line for part in parts))
    return str(found)


def inline(beginning: str) -> str:
    """A command that stands in the text of the guide."""
    (found,) = re.findall(rf"`({re.escape(beginning)}[^`]*)`", GUIDE)
    return str(found)


def shell(place: Place, line: str) -> bytes:
    """The output of a command in the folder of the vault."""
    ended = subprocess.run(["sh", "-ec", line], cwd=place.root, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b""), (line, ended.stderr)
    return ended.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Small and large files that shrink and that do not, holes, and odd names."""
    place = make_place(tmp_path_factory.mktemp("by hand"))
    place.put("empty", b"")
    place.put("small", random.randbytes(1000))
    place.put("small words", b"a word and another one\n" * 500)
    place.put("large", random.randbytes(3 << 20))
    place.put("large words", random.randbytes(3 << 20).hex().encode())
    place.put("large words in a pack", b"a word and another one\n" * 300_000)
    place.put("huge", random.randbytes(17 << 20))
    place.put("two\nlines, 'quotes' and a \\")
    place.put("\x7f grüße \U0001f600")
    place.put(os.fsdecode(b"\xff\xfe"), b"a name that is no text")
    for number in range(60):
        place.put(f"folder/{number}")
    for name, pieces in {
        "holes": {1 << 20: random.randbytes(5000), 5 << 20: b"between holes" * 1000},
        "holes and large": {2 << 20: random.randbytes(2 << 20)},
        "nothing but a hole": {},
    }.items():
        with place.put(name, b"").open("r+b") as file:
            file.truncate(9 << 20)
            for offset, content in pieces.items():
                file.seek(offset)
                file.write(content)
    yield place
    shutil.rmtree(place.root.parent)


@pytest.fixture(scope="module")
def listed(place: Place) -> list[dict[str, Any]]:
    """The lines of its snapshot, as zstd prints them."""
    line = command("guide", "snapshots/NAME").replace("NAME", place.add().name)
    return [json.loads(one) for one in shell(place, line).splitlines()]


@pytest.fixture(scope="module")
def files(listed: list[dict[str, Any]]) -> dict[bytes, dict[str, Any]]:
    """The files of it by their paths."""
    return {b"/" + path_of(one): one for one in listed[1:-1] if one["type"] == "file"}


def path_of(entry: dict[str, Any]) -> bytes:
    path = entry["path"]
    return bytes.fromhex(path["hex"]) if isinstance(path, dict) else str(path).encode()


def pack_of(place: Place, digest: str) -> str:
    """The pack of an object, by the loop of the guide; nothing if it is in none."""
    line = inline("for pack in").replace("ab…", digest) + " || true"
    return shell(place, line).decode().partition("\n")[0]


def open_by_hand(place: Place, document: str, entry: dict[str, Any], target: Path) -> None:
    """Write the content of an entry to a file with the command of a document; without the holes of the file."""
    digest, key = entry["object"], f"'{place.key.path}'"
    if pack := pack_of(place, digest):
        also = ["| zstd -d"] if document == "format" and "zstd" in entry else []
        lines = [line for line in BLOCKS[document][0].splitlines() if "tar -xOf" in line and "openssl" in line]
        line = next(line for line in lines if ("zstd" in line) is bool(also))
    else:
        line = command(document, "openssl", "-in objects/")
    line = re.sub(r"packs/\w+/\w+… \w+…", f"{pack} {digest}", line)
    line = re.sub(r"objects/\w+/\w+…", f"objects/{digest[:2]}/{digest}", line)
    line = line.replace("my.key", key).replace("file:KEY", f"file:{key}").partition(" > FILE")[0]
    if "zstd" in entry and "zstd" not in line:
        line += " | zstd -d"
    shell(place, f"{line} > '{target}'")


def test_zstd_prints_a_snapshot(place: Place, listed: list[dict[str, Any]]) -> None:
    """Header, the entries that the engine reads, and totals; each a line of JSON."""
    header, *others, totals = listed
    assert (header["format"], header["vault"]) == ("threadmill-snapshot", place.vault.id)
    assert [path_of(one) for one in others] == [one.path for one in entries(place.vault)]
    assert totals["entries"] == len(others)


@pytest.mark.parametrize("document", BLOCKS)
def test_sha256sum_gives_the_names(place: Place, document: str, files: dict[bytes, dict[str, Any]]) -> None:
    """Packs and large objects are named by the digests that sha256sum prints."""
    assert files
    lines = shell(place, command(document, "sha256sum packs")).decode().splitlines()
    names = [name for _, name in (line.split("  ") for line in lines)]
    assert [line.split("  ")[0] for line in lines] == [name.rpartition("/")[2] for name in names]
    assert {name.partition("/")[0] for name in names} == {"packs", "objects"}
    assert set(names) == {str(path.relative_to(place.root)) for path in place.root.glob("[po][ab][cj]*/*/*")}


def test_sha256sum_gives_the_name_of_an_object_in_a_pack(place: Place, files: dict[bytes, dict[str, Any]]) -> None:
    """What tar takes out of a pack has the digest that is its name."""
    digest = files[bytes(place.tree / "small")]["object"]
    line = re.sub(r"packs/\w+/\w+… \w+…", f"{pack_of(place, digest)} {digest}", command("guide", "| sha256sum"))
    assert shell(place, line).decode().split()[0] == digest


@pytest.mark.parametrize("document", BLOCKS)
def test_openssl_opens_every_file(
    place: Place, document: str, files: dict[bytes, dict[str, Any]], tmp_path: Path
) -> None:
    """Content is that of the file, its holes taken out; with zstd where the entry says so."""
    some = {path: one for path, one in files.items() if b"/folder/" not in path or path.endswith(b"/7")}
    kinds = {(bool(pack_of(place, one["object"])), "zstd" in one, "extents" in one) for one in some.values()}
    assert len(kinds) == 7
    for path, entry in some.items():
        content = Path(os.fsdecode(path)).read_bytes()
        extents = entry.get("extents", [[0, entry["size"]]])
        open_by_hand(place, document, entry, tmp_path / "content")
        assert (tmp_path / "content").read_bytes() == b"".join(content[at : at + length] for at, length in extents)


@pytest.mark.parametrize("name", ["holes", "holes and large", "nothing but a hole"])
def test_dd_puts_holes_back(
    place: Place, name: str, files: dict[bytes, dict[str, Any]], listed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Extents go to their places, and the rest of the file is holes."""
    assert listed
    entry = files[bytes(place.tree / name)]
    open_by_hand(place, "format", entry, tmp_path / "content")
    dd, truncate = BLOCKS["format"][1].splitlines()
    skip = 0
    for offset, length in entry["extents"]:
        line = dd.replace("SKIP", str(skip)).replace("OFFSET", str(offset)).replace("LENGTH", str(length))
        subprocess.run(["sh", "-ec", line], cwd=tmp_path, capture_output=True, check=True)
        skip += length
    subprocess.run(["sh", "-ec", truncate.replace("SIZE", str(entry["size"]))], cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_bytes() == (place.tree / name).read_bytes()
    assert (tmp_path / "file").stat().st_blocks * 512 <= skip + (64 << 10)


def test_tar_takes_all_packs_at_once(place: Place, files: dict[bytes, dict[str, Any]], tmp_path: Path) -> None:
    """Packs that are put one after another are one archive, of every small object."""
    assert len(list(place.root.glob("packs/*/*"))) > 1
    shell(place, inline("cat packs/").replace("DIR", f"'{tmp_path}'"))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert all(name == digest for name, digest in found.items())
    small = {one["object"] for one in files.values() if 16 + one.get("zstd", one["size"]) <= 1 << 20}
    assert small <= set(found) <= set(objects(place.vault))
