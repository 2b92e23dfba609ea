"""Writing packs: tar files that stock tools open, durable before they have a name, each with a sidecar beside it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.vault import packs
from tasks.vault.errors import VaultUnwritable
from tasks.vault.format import INDEX, PACKED_BYTES, PACKS, TEMPORARY
from tasks.vault.packs import (
    RECORD,
    PackWriter,
    header,
    parse_header,
    read_sidecar,
    scan_pack,
    stored,
    write_sidecar,
)
from tasks.vault.vault import Vault, open_vault
from tests.support.crafted import flip, put_in_place
from tests.support.crypto_fakes import CLI_ENC, OPENSSL, SECRET, needs_openssl
from tests.support.packed import digest, new_vault, object_of, pack_path, put_pack, sidecar_path
from tests.support.vaults import small_disk

needs_tar = pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar on PATH")
NAME = hashlib.sha256(b"name").hexdigest().encode()
BODIES = (b"Salted__01234567", b"Salted__" + b"x" * 504, b"Salted__" + bytes(range(256)) * 4)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def records(vault: Vault, name: str, pack_bytes: int | None = None) -> list[tuple[Any, ...]] | None:
    """What the sidecar of a pack says."""
    length = pack_path(vault, name).stat().st_size if pack_bytes is None else pack_bytes
    raw = read_sidecar(vault.root, name, length)
    return None if raw is None else list(RECORD.iter_unpack(raw))


def scanned(path: Path) -> list[tuple[Any, ...]]:
    """What the headers of a pack say."""
    found = scan_pack(str(path.parents[2]), path.name, path.stat().st_size)
    return list(RECORD.iter_unpack(b"".join(found)))


def test_a_header_is_these_bytes() -> None:
    """POSIX ustar, field by field, as IEEE Std 1003.1 has them; the checksum was added up by hand."""
    block = header(NAME, 0o12345)
    fields = (
        (b"name", NAME + b"\0" * 36),
        (b"mode", b"0000600\0"),
        (b"uid", b"0000000\0"),
        (b"gid", b"0000000\0"),
        (b"size", b"00000012345\0"),
        (b"mtime", b"00000000000\0"),
        (b"chksum", b"%06o\0 " % sum(block[:148] + b" " * 8 + block[156:])),
        (b"typeflag", b"0"),
        (b"linkname", b"\0" * 100),
        (b"magic", b"ustar\0"),
        (b"version", b"00"),
        (b"uname", b"\0" * 32),
        (b"gname", b"\0" * 32),
        (b"devmajor", b"0000000\0"),
        (b"devminor", b"0000000\0"),
        (b"prefix", b"\0" * 155),
        (b"pad", b"\0" * 12),
    )
    assert block == b"".join(value for _, value in fields)
    assert len(block) == 512
    assert hashlib.sha256(block).hexdigest() == "5f93335060cd2fb1c4f277d0f0aef09c83d5a0e120594fb93ef841518faefff2"


def test_a_header_is_the_one_that_python_writes() -> None:
    """Of a member with the same facts."""
    info = tarfile.TarInfo(NAME.decode())
    info.size, info.mode, info.mtime = 4112, 0o600, 0
    read = tarfile.TarInfo.frombuf(header(NAME, 4112), "ascii", "strict")
    assert {**read.get_info(), "chksum": 0} == info.get_info()
    theirs = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    # Python leaves the numbers of a device out of files that are none, and the sum with them.
    ours = bytearray(header(NAME, 4112))
    for block in (theirs, ours):
        block[329:345] = block[148:156] = b""
    assert ours == theirs


def test_a_header_with_one_bit_changed_is_none() -> None:
    """Whichever of the 4,096 it is: digests of members say nothing of headers."""
    block = header(NAME, 4112)
    assert parse_header(block) == (bytes.fromhex(NAME.decode()), 4112)
    for at in range(512 * 8):
        changed = bytearray(block)
        changed[at // 8] ^= 1 << at % 8
        found = parse_header(bytes(changed))
        assert found is None, at


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (NAME.upper(), 4112),
        (b"../" * 21 + b"x", 4112),
        (NAME[:62] + b"  ", 4112),
        (NAME, 15),
        (NAME, 0),
        (NAME, -1),
        (NAME, PACKED_BYTES + 1),
        (NAME, 8**11 - 1),
    ],
)
def test_a_header_of_no_member_is_none(name: bytes, size: int) -> None:
    """Its own checksum fits; an object has 16 bytes at least, and a member has a limit."""
    assert parse_header(header(name, size)) is None


@pytest.mark.parametrize("size", [16, 511, 512, PACKED_BYTES])
def test_a_header_comes_back(size: int) -> None:
    assert parse_header(header(NAME, size)) == (bytes.fromhex(NAME.decode()), size)


def test_a_pack_is_these_bytes(vault: Vault) -> None:
    """Headers, bodies, zeros to whole blocks, and two blocks of zeros; the name is its SHA-256."""
    name = put_pack(vault, *BODIES)
    expected = b""
    for body in BODIES:
        expected += header(digest(body).hex().encode(), len(body)) + body
        expected += b"\0" * (-len(expected) % 512)
    expected += b"\0" * 1024
    assert pack_path(vault, name).read_bytes() == expected
    assert hashlib.sha256(expected).hexdigest() == name
    assert name == "d907d5ba8fa9e3e9a21d7e7e091817fde78af1d7618c6a10111a20c7fa645929"
    assert pack_path(vault, name).stat().st_mode & 0o777 == 0o600
    assert pack_path(vault, name).parent.stat().st_mode & 0o777 == 0o700


def test_a_pack_is_a_tar_for_python(vault: Vault) -> None:
    """Its members are the objects."""
    with tarfile.open(pack_path(vault, put_pack(vault, *BODIES))) as tar:
        assert tar.getnames() == [digest(body).hex() for body in BODIES]
        for body in BODIES:
            file = tar.extractfile(digest(body).hex())
            assert file is not None
            assert file.read() == body


@needs_tar
def test_a_pack_is_the_tar_that_gnu_tar_writes(vault: Vault, tmp_path: Path) -> None:
    """Told to leave out everything that differs from one machine to the next."""
    for body in BODIES:
        (tmp_path / digest(body).hex()).write_bytes(body)
    facts = ("--owner=0", "--group=0", "--numeric-owner", "--mode=0600", "--mtime=@0")
    names = [digest(body).hex() for body in BODIES]
    command = ["tar", "-c", "-b", "1", "--format=ustar", *facts, "-C", str(tmp_path), *names]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    assert pack_path(vault, put_pack(vault, *BODIES)).read_bytes() == made


@needs_tar
@needs_openssl
def test_a_pack_is_opened_by_tar_and_openssl(vault: Vault, tmp_path: Path) -> None:
    """By these two alone, with the key file; `tar -xf` gives a file for each object."""
    contents = (b"", b"some text\n", random.randbytes(5000))
    bodies = [object_of(vault, content) for content in contents]
    path = str(pack_path(vault, put_pack(vault, *bodies)))
    names = [digest(body).hex() for body in bodies]
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, check=True)
    assert (listed.stdout.decode().split(), listed.stderr) == (names, b"")
    key = tmp_path / "key"
    key.write_bytes(SECRET.password + b"\n")
    decrypt = ("enc", "-d", *CLI_ENC["modern"], "-pass", f"file:{key}")
    for name, content in zip(names, contents, strict=True):
        taken = subprocess.run(["tar", "-xOf", path, name], capture_output=True, check=True)
        opened = subprocess.run([OPENSSL, *decrypt], input=taken.stdout, capture_output=True, check=True)
        assert opened.stdout == content
    subprocess.run(["tar", "-xf", path, "-C", str(tmp_path)], check=True)
    assert [(tmp_path / name).read_bytes() for name in names] == bodies


def test_a_pack_ends_at_its_length(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next member begins another one; each is whole, and the last one needs `commit`."""
    monkeypatch.setattr(packs, "PACK_BYTES", 3 << 20)
    bodies = [b"Salted__" + number.to_bytes(2, "big") * (100_000 + number) for number in range(33)]
    with PackWriter(vault) as writer:
        for body in bodies:
            room = writer.reserve(len(body))
            assert len(room) == len(body) + 15
            # A cipher may write beyond the body.
            room[:] = body + b"x" * 15
            writer.add(digest(body), len(body))
        assert [members for _, _, members in writer.packs] == [16, 16]
        writer.commit()
        writer.commit()
    assert [members for _, _, members in writer.packs] == [16, 16, 1]
    found = []
    for name, length, _ in writer.packs:
        raw = pack_path(vault, name).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (length, name)
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            found += [file.read() for one in tar if (file := tar.extractfile(one))]
    assert found == bodies
    assert sorted(stored(vault.root, PACKS)) == sorted((name, length) for name, length, _ in writer.packs)


def test_the_longest_members_fit(vault: Vault) -> None:
    """Whatever is in the buffer already."""
    bodies = [
        random.randbytes(length) for length in (PACKED_BYTES - 513, PACKED_BYTES, PACKED_BYTES - 1, 16, PACKED_BYTES)
    ]
    name = put_pack(vault, *bodies)
    assert [(one[0], one[2]) for one in scanned(pack_path(vault, name))] == [(digest(b), len(b)) for b in bodies]


def test_what_is_not_committed_is_discarded(vault: Vault) -> None:
    """Whether or not some of it was written."""
    for length in (100, 900_000):
        with PackWriter(vault) as writer:
            for _ in range(3):
                writer.reserve(length)[:length] = bytes(length)
                writer.add(digest(bytes(length)), length)
            assert bool(os.listdir(Path(vault.root, TEMPORARY))) == (length == 900_000)
    for part in (TEMPORARY, PACKS, INDEX):
        assert os.listdir(Path(vault.root, part)) == []
    assert writer.packs == []


def test_a_pack_is_on_disk_before_it_has_its_name(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, name, both folders; and the sidecar last, without a wait."""
    done: list[str] = []

    def seen(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            target = arguments[1] if name == "rename" else os.readlink(f"/proc/self/fd/{arguments[0]}")
            done.append(f"{name} {os.path.relpath(str(target), vault.root) if name == 'fsync' else target}")
            return call(*arguments, **more)

        return wrapped

    monkeypatch.setattr(os, "fsync", seen("fsync", os.fsync))
    monkeypatch.setattr(os, "rename", seen("rename", os.rename))
    name = put_pack(vault, *BODIES)
    temporary, *rest = done
    assert temporary.startswith("fsync tmp/")
    assert rest == [f"rename {name}", f"fsync packs/{name[:2]}", "fsync packs", f"rename {name}"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """No pack, and no rest of one."""
    with small_disk(tmp_path / "disk", "3m") as disk:
        vault = new_vault(disk)
        with pytest.raises(VaultUnwritable, match="No space left on device"):
            put_pack(vault, *(random.randbytes(900_000) for _ in range(10)))
        assert [os.listdir(Path(vault.root, part)) for part in (TEMPORARY, PACKS, INDEX)] == [[], [], []]


def test_a_pack_can_do_without_its_sidecar(vault: Vault) -> None:
    """A disk may have room for the one and not for the other."""
    shutil.rmtree(Path(vault.root, INDEX))
    Path(vault.root, INDEX).write_bytes(b"")
    name = put_pack(vault, *BODIES)
    assert [one[0] for one in scanned(pack_path(vault, name))] == [digest(body) for body in BODIES]
    assert os.listdir(Path(vault.root, TEMPORARY)) == []


@pytest.mark.parametrize("place", [PACKS, TEMPORARY, "packs/ab"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_links_lead_nowhere(vault: Vault, place: str, kind: str, tmp_path: Path) -> None:
    """Nothing is written to where a folder's link points."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = Path(vault.root, place)
    if path.exists():
        path.rmdir()
    if kind == "link":
        path.symlink_to(outside)
    else:
        os.mkfifo(path)
    # The pack of this body belongs into packs/ab.
    body = next(body for number in range(10_000) if pack_of(body := b"Salted__%08d" % number).startswith("ab"))
    with pytest.raises(VaultUnwritable, match="cannot be written"):
        put_pack(vault, body)
    assert os.listdir(outside) == []


def pack_of(body: bytes) -> str:
    """The name of the pack that has one member."""
    raw = header(digest(body).hex().encode(), len(body)) + body
    return hashlib.sha256(raw + bytes(-len(raw) % 512 + 1024)).hexdigest()


def test_a_sidecar_is_these_bytes(vault: Vault) -> None:
    """Magic, length of the pack, number of members; the members by digest; SHA-256 of the pack's name and all that."""
    name = put_pack(vault, *BODIES)
    pack_bytes = pack_path(vault, name).stat().st_size
    ordered = sorted([(digest(BODIES[0]), 0, 16), (digest(BODIES[1]), 2, 512), (digest(BODIES[2]), 4, 1032)])
    raw = b"tmidx 2\n" + pack_bytes.to_bytes(8, "little") + (3).to_bytes(8, "little")
    for one, block, length in ordered:
        raw += one + block.to_bytes(4, "little") + length.to_bytes(4, "little")
    assert sidecar_path(vault, name).read_bytes() == raw + hashlib.sha256(bytes.fromhex(name) + raw).digest()
    assert records(vault, name) == ordered
    assert sorted(scanned(pack_path(vault, name))) == ordered


def test_a_damaged_sidecar_is_none(vault: Vault) -> None:
    """Whatever byte is changed, and wherever it is cut; so are one that is too long, and one of another length."""
    name = put_pack(vault, *BODIES)
    path = sidecar_path(vault, name)
    whole = path.read_bytes()
    for at in range(len(whole)):
        flip(path, at)
        assert records(vault, name) is None, at
        flip(path, at)
        path.write_bytes(whole[:at])
        assert records(vault, name) is None, at
        path.write_bytes(whole)
    assert records(vault, name) is not None
    assert records(vault, name, 512) is None
    path.write_bytes(whole + b"\0")
    assert records(vault, name) is None
    path.write_bytes(whole + whole)
    assert records(vault, name) is None
    other = put_pack(vault, BODIES[0])
    shutil.copy(sidecar_path(vault, other), path)
    assert records(vault, name) is None


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_something_else_in_its_place_is_none(vault: Vault, kind: str) -> None:
    """It is not waited for."""
    name = put_pack(vault, *BODIES)
    put_in_place(kind, sidecar_path(vault, name))
    assert records(vault, name) is None


def test_a_huge_sidecar_is_not_read(vault: Vault) -> None:
    """A pack has at least 1,024 bytes a member, so that its length says how many there can be."""
    name = put_pack(vault, *BODIES)
    os.truncate(sidecar_path(vault, name), 1 << 40)
    assert records(vault, name) is None


def test_no_rest_of_a_sidecar_stays(vault: Vault) -> None:
    """If its name is taken by a folder."""
    name = put_pack(vault, *BODIES)
    put_in_place("folder", sidecar_path(vault, name))
    with pytest.raises(IsADirectoryError):
        write_sidecar(vault.root, name, 5, [])
    assert os.listdir(Path(vault.root, TEMPORARY)) == []


def test_a_damaged_header_costs_one_member(vault: Vault) -> None:
    """Those after it are found, since a header is looked for in each block."""
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name)
    all_of_them = scanned(path)
    for member, (_, block, _) in enumerate(all_of_them):
        for at in range(0, 512, 7):
            flip(path, block * 512 + at)
            assert scanned(path) == all_of_them[:member] + all_of_them[member + 1 :]
            flip(path, block * 512 + at)


def test_a_cut_pack_keeps_what_is_before(vault: Vault) -> None:
    """A member counts if all of its body is there."""
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name)
    whole, all_of_them = path.read_bytes(), scanned(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert scanned(path) == [one for one in all_of_them if (one[1] + 1) * 512 + one[2] <= length]


def test_only_files_under_a_fitting_name_are_stored(vault: Vault, tmp_path: Path) -> None:
    """Links, FIFOs, folders, odd names and folders that cannot be read are no packs."""
    name = put_pack(vault, *BODIES)
    above = Path(vault.root, PACKS)
    os.mkfifo(above / name[:2] / (name[:2] + "0" * 62))
    (above / name[:2] / (name[:2] + "1" * 62)).symlink_to(pack_path(vault, name))
    (above / name[:2] / (name[:2] + "2" * 62)).mkdir()
    (above / name[:2] / "other").write_bytes(b"")
    other = "0f" if name[:2] != "0f" else "f0"
    (above / name[:2] / (other + "3" * 62)).write_bytes(b"")
    shutil.copytree(above / name[:2], tmp_path / "copied", ignore=lambda _folder, _names: {name[:2] + "0" * 62})
    (above / other).symlink_to(tmp_path / "copied")
    (above / "file").write_bytes(b"")
    (above / "aa").write_bytes(b"")
    assert list(stored(vault.root, PACKS)) == [(name, pack_path(vault, name).stat().st_size)]
    assert list(stored(vault.root, "not there")) == []
    assert open_vault(vault.root, None).id == vault.id
