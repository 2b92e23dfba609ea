"""Opening the files of a batch: below the folders of the run, through no link, some of them ahead."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.crypto import sources as engine
from tasks.crypto.errors import SourceReplaced, SourceSkipped, SourceUnreadable
from tasks.crypto.holes import Extents, filled
from tasks.crypto.inputs import Payload
from tasks.crypto.scan import scan, source_folders
from tasks.crypto.sources import Sources
from tests.support.crypto_fakes import descriptors


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of a few files, and a folder beside it."""
    for name in ("tree/a", "tree/b/c", "tree/b/d/e", "far/a", "far/secret"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "tree"


def sources_of(*paths: Path) -> Sources:
    return Sources(source_folders([os.fspath(path) for path in paths]))


def content(sources: Sources, path: Path, *, followed: bool = False) -> bytes:
    descriptor = sources.open(Payload("file", bytes(path), 0, followed=followed))
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def test_files_are_opened_below_their_folder(tree: Path) -> None:
    """In any order, whatever becomes of the folders above meanwhile; and every descriptor is closed."""
    before = descriptors()
    with sources_of(tree) as sources:
        assert content(sources, tree / "b" / "c") == b"tree/b/c"
        tree.rename(tree.with_name("moved"))
        tree.symlink_to("far")
        assert content(sources, tree / "a") == b"tree/a"
        assert content(sources, tree / "b" / "d" / "e") == b"tree/b/d/e"
    assert descriptors() == before


def test_no_link_below_a_source_is_followed(tree: Path) -> None:
    """Neither one in place of the file, nor one in place of a folder on the way."""
    far = tree.with_name("far")
    (tree / "a").unlink()
    (tree / "a").symlink_to(far / "secret")
    (tree / "b").rename(tree / "real")
    (tree / "b").symlink_to(far)
    with sources_of(tree) as sources:
        with pytest.raises(SourceSkipped, match="symbolic link"):
            content(sources, tree / "a")
        with pytest.raises(SourceUnreadable) as caught:
            content(sources, tree / "b" / "secret")
        assert caught.value.errno in (errno.ENOTDIR, errno.ELOOP)
        assert content(sources, tree / "real" / "c") == b"tree/b/c"


def test_a_link_that_is_named_is_followed(tree: Path) -> None:
    """As a file, and as a folder."""
    links = [tree.with_name("file"), tree.with_name("folder")]
    links[0].symlink_to(tree / "a")
    links[1].symlink_to(tree)
    with sources_of(*links) as sources:
        assert content(sources, links[0], followed=True) == b"tree/a"
        assert content(sources, links[1] / "b" / "c") == b"tree/b/c"


def test_another_folder_in_place_of_a_source_is_refused(tree: Path) -> None:
    """The folder is the one that the run was planned for, or nothing is read."""
    sources = sources_of(tree)
    tree.rename(tree.with_name("moved"))
    tree.with_name("far").rename(tree)
    with sources, pytest.raises(SourceReplaced):
        content(sources, tree / "a")


def test_the_root_of_the_file_system_is_a_source(tree: Path) -> None:
    """Files are opened from `/` on, step by step."""
    with sources_of(Path("/")) as sources:
        assert content(sources, Path(os.path.realpath(tree)) / "b" / "c") == b"tree/b/c"


def test_files_are_opened_ahead(tree: Path) -> None:
    """Each once, with its own content, also when one is asked for again; those that nobody asks for are closed."""
    payloads = list(enumerate(scan([str(tree)])))
    before = descriptors()
    with Sources(source_folders([str(tree)]), payloads) as sources:
        for _, payload in (*payloads[:2], payloads[1]):
            descriptor = sources.open(payload)
            assert os.read(descriptor, 100) == str(Path(os.fsdecode(payload.name)).relative_to(tree.parent)).encode()
            os.close(descriptor)
    assert descriptors() == before


def test_what_cannot_be_opened_ahead_says_so_in_its_turn(tree: Path) -> None:
    """A file that is gone is unreadable when it is asked for, and the others are not."""
    payloads = list(enumerate(scan([str(tree)])))
    (tree / "a").unlink()
    with Sources(source_folders([str(tree)]), payloads) as sources:
        with pytest.raises(SourceUnreadable, match="No such file"):
            sources.open(payloads[0][1])
        os.close(sources.open(payloads[1][1]))


def test_groups_leave_descriptors_to_others(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all groups are taken, files are opened one by one; a group is given back at the end."""
    monkeypatch.setattr(engine, "_groups", threading.Semaphore(1))
    payloads = list(enumerate(scan([str(tree)])))
    folders = source_folders([str(tree)])
    with Sources(folders, payloads) as first:
        os.close(first.open(payloads[0][1]))
        with Sources(folders, payloads) as second:
            # The source itself, and nothing ahead.
            before = len(descriptors())
            os.close(second.open(payloads[0][1]))
            assert len(descriptors()) == before + 2
        held = len(descriptors())
    assert len(descriptors()) == held - 4
    with Sources(folders, payloads) as third:
        before = len(descriptors())
        os.close(third.open(payloads[0][1]))
        assert len(descriptors()) == before + 4


@pytest.mark.parametrize("extents", [None, (), ((0, 3),), ((5, 3),), ((1, 2), (4_000_000, 1))])
def test_holes_are_filled_with_zeros(extents: Extents | None) -> None:
    """Before, between and after the extents, in whatever pieces the plaintext comes."""
    size_bytes = 8 if extents is None else 5_000_000
    plain = b"x" * (8 if extents is None else sum(length for _, length in extents))
    expected = bytearray(size_bytes)
    for offset, length in ((0, 8),) if extents is None else extents:
        expected[offset : offset + length] = b"x" * length
    for step in (1, 8):
        pieces: list[bytes] = []
        take, end = filled(extents, size_bytes, _into(pieces))
        for at in range(0, len(plain), step):
            take(memoryview(plain)[at : at + step])
        end()
        assert b"".join(pieces) == expected
        assert max(map(len, pieces)) <= 1 << 20


def _into(pieces: list[bytes]) -> Callable[[memoryview], None]:
    return lambda piece: pieces.append(bytes(piece))
