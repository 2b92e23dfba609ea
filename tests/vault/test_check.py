"""Checking packs and large objects: every byte is accounted for, and damage costs the objects that it is in."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault import check
from tasks.vault.check import PackFacts, check_object
from tasks.vault.errors import ObjectMissing, VaultChanged, VaultError
from tasks.vault.packs import LONGEST_PACK, RECORD, write_sidecar
from tasks.vault.vault import Vault
from tests.support.crafted import flip, put_in_place
from tests.support.packed import (
    digest,
    member,
    new_vault,
    pack_path,
    plant,
    plant_object,
    put_pack,
    sidecar_path,
)

BODIES = (b"Salted__01234567", b"Salted__" + b"x" * 504, b"Salted__" + bytes(range(256)) * 4)
DIGESTS = tuple(digest(body) for body in BODIES)
# The blocks of the members: header and body.
BLOCKS = ((0, 1), (2, 3), (4, 5, 6, 7))
END = bytes(1024)
MISNAMED = "its bytes do not fit its name"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def check_pack(vault: Vault, name: str) -> PackFacts:
    """Not cancelled."""
    return check.check_pack(vault, name, CancelToken())


def found(facts: PackFacts) -> tuple[set[bytes], set[bytes]]:
    """Whole and bad members."""
    return set(facts.members), set(facts.bad)


def test_a_whole_pack_has_no_faults(vault: Vault) -> None:
    name = put_pack(vault, *BODIES)
    length = pack_path(vault, name).stat().st_size
    assert check_pack(vault, name) == PackFacts(name, length, DIGESTS, (), ())


def test_members_that_do_not_fit_into_one_piece(vault: Vault) -> None:
    """A pack is read in pieces of 4 MiB."""
    bodies = [random.randbytes(length) for length in (1 << 20, 16, 700_000, 1 << 20, 123_456) for _ in range(4)]
    name = put_pack(vault, *bodies)
    facts = check_pack(vault, name)
    assert (facts.members, facts.bad, facts.faults) == (tuple(map(digest, bodies)), (), ())
    flip(pack_path(vault, name), (4 << 20) + 5)
    facts = check_pack(vault, name)
    assert (len(facts.bad), facts.faults) == (1, (MISNAMED,))
    assert found(facts)[0] | found(facts)[1] == {digest(body) for body in bodies}


@pytest.mark.parametrize("with_sidecar", [True, False])
def test_each_changed_byte_is_found(vault: Vault, *, with_sidecar: bool) -> None:
    """It costs the member that it is in, and the end and what is between the members cost none.

    Without the sidecar, nobody knows the digest that a damaged header had.
    """
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name)
    if not with_sidecar:
        sidecar_path(vault, name).unlink()
    bodies = {BLOCKS[0][1]: 16, 3: 512, 5: 512, 6: 512, 7: 8}
    for at in range(path.stat().st_size):
        flip(path, at, at % 8)
        facts = check_pack(vault, name)
        block, within = divmod(at, 512)
        hit = next((number for number, blocks in enumerate(BLOCKS) if block in blocks), None)
        in_header = hit is not None and block == BLOCKS[hit][0]
        in_body = within < bodies.get(block, 0)
        expected = {DIGESTS[hit]} if hit is not None and (in_header or in_body) else set()
        assert MISNAMED in facts.faults, at
        assert set(facts.members) == set(DIGESTS) - expected, at
        assert set(facts.bad) == (expected if with_sidecar or in_body else set()), at
        flip(path, at, at % 8)
    assert not check_pack(vault, name).faults


@pytest.mark.parametrize("with_sidecar", [True, False])
def test_a_cut_costs_what_is_behind_it(vault: Vault, *, with_sidecar: bool) -> None:
    """Wherever it is. The sidecar has the length of the whole pack, so that it does not count any more."""
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name)
    if not with_sidecar:
        sidecar_path(vault, name).unlink()
    whole = path.read_bytes()
    ends = ((512 + 16, 0), (3 * 512 + 512, 2 * 512), (5 * 512 + 1032, 4 * 512))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        facts = check_pack(vault, name)
        assert facts.faults[-1] == MISNAMED
        assert facts.members == tuple(one for one, (end, _) in zip(DIGESTS, ends, strict=True) if end <= length)
        cut = {one for one, (end, begin) in zip(DIGESTS, ends, strict=True) if begin + 512 <= length < end}
        assert set(facts.bad) == cut, length
        assert facts.size_bytes == length


def test_what_follows_the_end_is_a_fault(vault: Vault) -> None:
    """One byte, a block, another pack; the members are whole."""
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name)
    whole = path.read_bytes()
    for more in (b"x", b"\0", b"\0" * 512, b"x" * 512, b"x" * 700, whole):
        path.write_bytes(whole + more)
        facts = check_pack(vault, name)
        assert facts.faults[-1] == MISNAMED
        assert len(facts.faults) > 1
        assert found(facts) == (set(DIGESTS), set())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        END[:512],
        END + b"\0" * 512,
        b"x" * 512 + END,
        member(BODIES[0]),
        member(BODIES[0]) + END[:-1],
        member(BODIES[0]) + END + END,
        member(BODIES[0]) + END + member(BODIES[1]) + END,
        member(BODIES[0])[:-1] + b"x" + END,
        b"\0" * 512 + member(BODIES[0]) + END,
    ],
)
def test_what_no_writer_writes_is_a_fault(vault: Vault, raw: bytes) -> None:
    """Although its name fits."""
    facts = check_pack(vault, plant(vault, raw))
    assert facts.faults
    assert MISNAMED not in facts.faults
    assert facts.bad == ()


def test_a_misnamed_pack_is_a_fault(vault: Vault) -> None:
    """Its members are whole."""
    name = put_pack(vault, *BODIES)
    other = plant(vault, pack_path(vault, name).read_bytes(), "0" * 64)
    facts = check_pack(vault, other)
    assert (facts.members, facts.bad, facts.faults) == (DIGESTS, (), (MISNAMED,))


def test_a_planted_member_is_bad(vault: Vault) -> None:
    """It claims to be another object, in a pack that is fine otherwise."""
    name = plant(vault, member(BODIES[0]) + member(BODIES[1], DIGESTS[2]) + END)
    facts = check_pack(vault, name)
    assert (facts.members, facts.bad, facts.faults) == (DIGESTS[:1], DIGESTS[2:], ())


def test_of_two_copies_one_may_be_bad(vault: Vault) -> None:
    """Then the digest is among both."""
    name = plant(vault, member(BODIES[1], DIGESTS[0]) + member(BODIES[0]) + END)
    assert found(check_pack(vault, name)) == ({DIGESTS[0]}, {DIGESTS[0]})


def test_a_member_that_claims_to_go_on_is_bad(vault: Vault) -> None:
    """The next one is found in it."""
    inner = member(BODIES[0])
    raw = member(BODIES[1])[:512] + inner + END
    # The size of the first is 512, and so it takes the header of the second for its body.
    assert found(check_pack(vault, plant(vault, raw))) == (set(), {DIGESTS[1]})
    longer = member(bytes(1 << 20))[:512] + inner + END
    assert found(check_pack(vault, plant(vault, longer))) == ({DIGESTS[0]}, {digest(bytes(1 << 20))})


def test_a_forged_sidecar_is_found(vault: Vault) -> None:
    """It names an object that is not there, or another place, or leaves one out, with a checksum that fits."""
    name = put_pack(vault, *BODIES)
    length = pack_path(vault, name).stat().st_size
    raw = sidecar_path(vault, name).read_bytes()[24:-32]
    records = [raw[at : at + 40] for at in range(0, len(raw), 40)]
    whole = [RECORD.unpack(one) for one in records]
    elsewhere = RECORD.pack(whole[0][0], whole[0][1] + 1, whole[0][2])
    forged = ([*records, RECORD.pack(digest(b""), 0, 16)], [elsewhere, *records[1:]], records[1:])
    for them in forged:
        write_sidecar(vault.root, name, length, them)
        facts = check_pack(vault, name)
        assert (facts.faults, found(facts)) == ((), (set(DIGESTS), set()))
        assert facts.records is not None
        assert sorted(facts.records) == records
    write_sidecar(vault.root, name, length, records[::-1])
    assert check_pack(vault, name).records is None


def test_a_lost_sidecar_is_no_fault_of_the_pack(vault: Vault) -> None:
    """Nor is a damaged one."""
    name = put_pack(vault, *BODIES)
    flip(sidecar_path(vault, name), 30)
    assert not check_pack(vault, name).faults
    sidecar_path(vault, name).unlink()
    assert not check_pack(vault, name).faults
    sidecar_path(vault, name).parent.rmdir()
    assert not check_pack(vault, name).faults


def test_a_huge_pack_is_not_read(vault: Vault) -> None:
    """A petabyte of nothing takes no room."""
    name = put_pack(vault, *BODIES)
    os.truncate(pack_path(vault, name), LONGEST_PACK + 1)
    with pytest.raises(VaultChanged, match=f"pack {name} is longer than a pack can be: 67,108,865 bytes"):
        check_pack(vault, name)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_something_else_in_the_place_of_a_pack(vault: Vault, kind: str) -> None:
    """It is neither followed nor waited for."""
    name = put_pack(vault, *BODIES)
    put_in_place(kind, pack_path(vault, name))
    with pytest.raises(VaultChanged, match=f"pack {name} cannot be read"):
        check_pack(vault, name)


@pytest.mark.parametrize("place", ["packs", "below"])
def test_a_link_in_the_place_of_a_folder(vault: Vault, place: str) -> None:
    """It is not followed, whatever lies where it leads."""
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name).parent
    put_in_place("link", path.parent if place == "packs" else path)
    with pytest.raises(VaultChanged, match=f"pack {name} cannot be read"):
        check_pack(vault, name)


def test_a_missing_pack_is_missing(vault: Vault) -> None:
    with pytest.raises(ObjectMissing, match="pack 00"):
        check_pack(vault, "0" * 64)


def test_a_sector_that_cannot_be_read_costs_its_members(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk refuses the second of four sectors."""
    bodies = [b"Salted__" + bytes([number]) * 1016 for number in range(8)]
    name = put_pack(vault, *bodies)
    real = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= 4096 < offset + len(buffers[0]):
            raise OSError(5, "Input/output error")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    facts = check_pack(vault, name)
    assert facts.faults == ("it cannot be read everywhere", "4,608 of its bytes are of no object", MISNAMED)
    # The third one begins in the first sector, and the sixth ends in the third one.
    assert found(facts) == (
        {digest(body) for body in bodies[:2] + bodies[6:]},
        {digest(body) for body in bodies[2:6]},
    )


def test_a_pack_that_shrinks_meanwhile(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends there."""
    name = put_pack(vault, *BODIES)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: real(fd, [buffers[0][:1024]], at) if not at else 0)
    assert found(check_pack(vault, name)) == ({DIGESTS[0]}, set(DIGESTS[1:]))


def test_a_check_can_be_cancelled(vault: Vault) -> None:
    name, cancel = put_pack(vault, *BODIES), CancelToken()
    other = plant_object(vault, b"Salted__" * 5)
    cancel.cancel()
    with pytest.raises(Cancelled):
        check.check_pack(vault, name, cancel)
    with pytest.raises(Cancelled):
        check_object(vault, other, cancel)


def test_a_large_object_is_hashed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, changed, missing, something else, unreadable."""
    body, cancel = random.randbytes((3 << 20) + 7), CancelToken()
    name = plant_object(vault, body)
    path = Path(vault.root, "objects", name[:2], name)
    assert check_object(vault, name, cancel) == len(body)
    for at in (0, 1 << 20, len(body) - 1):
        flip(path, at)
        with pytest.raises(VaultChanged, match=f"object {name}: its bytes do not fit its name"):
            check_object(vault, name, cancel)
        flip(path, at)
    with pytest.raises(ObjectMissing, match=f"object {0:064} is missing"):
        check_object(vault, "0" * 64, cancel)

    def readv(*_arguments: Any) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "readv", readv)
        with pytest.raises(VaultError, match=f"object {name} cannot be read: Input/output error"):
            check_object(vault, name, cancel)
    put_in_place("fifo", path)
    with pytest.raises(VaultChanged, match=f"object {name} cannot be read"):
        check_object(vault, name, cancel)
