"""Inputs: what is opened, what is refused, and what the check after reading finds out."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.errors import InputNotRead, SourceChanged, SourceSkipped, SourceUnreadable
from tasks.crypto.inputs import Input, Payload, file_type, memory_input, pumped
from tasks.crypto.inputs import open_payload as open_input
from tasks.crypto.sources import Sources
from tests.support.crypto_fakes import (
    descriptors,
    file_input,
    file_payload,
    modest,
    run_python,
    standard_input,
    wait_until,
    without_root_rights,
)


@contextmanager
def open_payload(payload: Payload) -> Iterator[Input]:
    with Sources() as sources, open_input(payload, sources.open) as source:
        yield source


def read_all(descriptor: int) -> bytes:
    data = b""
    while piece := os.read(descriptor, 1 << 20):
        data += piece
    return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1,000 bytes."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    return path


@pytest.mark.parametrize("size", [0, 1, 100, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_random_payloads_have_their_size(size: int) -> None:
    """A random payload is exactly as long as it was planned."""
    with open_payload(Payload("random", b"random 1", size)) as source:
        assert source.size_bytes == size
        assert len(read_all(source.descriptor)) == size
        assert source.check() == size


def test_random_payloads_differ() -> None:
    """Opening the same random payload twice gives different bytes."""
    payload = Payload("random", b"random 1", 64)
    with open_payload(payload) as one, open_payload(payload) as two:
        assert read_all(one.descriptor) != read_all(two.descriptor)


@modest
@given(pieces=st.lists(st.binary(max_size=100)))
def test_memory_inputs_hold_their_pieces(pieces: list[bytes]) -> None:
    """Pieces come out as one stream, and nothing in between."""
    with memory_input(pieces) as source:
        assert source.size_bytes == sum(map(len, pieces))
        assert read_all(source.descriptor) == b"".join(pieces)
        source.check()


def test_a_file_read_to_its_end_is_good(path: Path) -> None:
    """The check gives the number of bytes read."""
    with open_payload(file_payload(path)) as source:
        assert read_all(source.descriptor) == path.read_bytes()
        assert source.check() == 1000


@pytest.mark.parametrize("count", [0, 1, 999])
def test_reading_less_is_found(path: Path, count: int) -> None:
    """A reader that stopped early is found by the offset that it left."""
    with file_input(path) as source:
        os.read(source.descriptor, count)
        with pytest.raises(InputNotRead, match=f"byte {count} of 1000"):
            source.check()


def test_a_descriptor_that_cannot_be_read_is_found(path: Path) -> None:
    """A descriptor that is open for writing only counts as not read."""
    with file_input(path, os.O_WRONLY) as source, pytest.raises(InputNotRead):
        source.check()


@pytest.mark.parametrize(
    ("size", "text"),
    [(999, "1000 bytes became 999"), (0, "1000 bytes became 0"), (1001, "1000 bytes became 1001")],
)
def test_another_size_is_found(path: Path, size: int, text: str) -> None:
    """A file that shrinks or grows while it is read is found, wherever the reader stopped."""
    for read_first in (True, False):
        os.truncate(path, 1000)
        with file_input(path) as source:
            if read_first:
                read_all(source.descriptor)
            os.truncate(path, size)
            if not read_first:
                read_all(source.descriptor)
            with pytest.raises(SourceChanged, match=text):
                source.check()


def test_a_rewrite_of_the_same_size_is_found(path: Path) -> None:
    """New content of the same length is found by the times."""
    with file_input(path) as source:
        read_all(source.descriptor)
        time.sleep(0.02)  # the clock of the file system ticks every few milliseconds
        with path.open("r+b") as file:
            file.write(b"y" * 1000)
        with pytest.raises(SourceChanged, match="written to"):
            source.check()


def test_a_rewrite_with_its_old_mtime_is_found(path: Path) -> None:
    """Setting the mtime back does not hide a rewrite: the ctime cannot be set."""
    with file_input(path) as source:
        before = path.stat()
        read_all(source.descriptor)
        time.sleep(0.02)
        with path.open("r+b") as file:
            file.write(b"y" * 1000)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        with pytest.raises(SourceChanged, match="written to"):
            source.check()


def test_growth_that_was_read_and_taken_back_is_found(path: Path) -> None:
    """A file that had more bytes while it was read is not good although its size is the old one again."""
    with file_input(path) as source:
        os.truncate(path, 2000)
        read_all(source.descriptor)
        os.truncate(path, 1000)
        with pytest.raises(SourceChanged):
            source.check()


def test_a_replaced_file_is_still_read_whole(path: Path) -> None:
    """A rename over the path does not disturb the open file, except that its link count changes its ctime."""
    with open_payload(file_payload(path)) as source:
        path.rename(path.with_name("moved"))
        path.write_bytes(b"new")
        assert read_all(source.descriptor) == b"x" * 1000


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (Payload("file", b"/dev/null", 0, skip="FIFO"), SourceSkipped),
        (Payload("file", b"/dev/null", 0, errno=errno.EACCES), SourceUnreadable),
        (Payload("file", b"/dev/null", 0), SourceSkipped),
        (Payload("file", b"/", 0), SourceSkipped),
        (Payload("file", b"/does/not/exist", 0), SourceUnreadable),
    ],
    ids=["planned skip", "planned errno", "device", "folder", "missing"],
)
def test_what_has_no_content_is_not_opened(payload: Payload, error: type[Exception]) -> None:
    """What planning found out stands, and what has changed since is found at the opening."""
    before = descriptors()
    with pytest.raises(error), open_payload(payload):
        pass
    assert descriptors() == before


def test_a_file_that_became_a_fifo_does_not_hang(tmp_path: Path) -> None:
    """A FIFO in the place of a planned file is skipped at once."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SourceSkipped, match="FIFO"), open_payload(Payload("file", bytes(tmp_path / "fifo"), 5)):
        pass


def test_a_file_that_became_a_socket_is_refused(tmp_path: Path) -> None:
    """A socket in the place of a planned file cannot be opened, and says so."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(SourceUnreadable), open_payload(Payload("file", bytes(tmp_path / "s"), 5)):
            pass


def test_an_unreadable_file_is_refused(path: Path) -> None:
    """A file without read permission is unreadable, with the system's word for it."""
    path.chmod(0)
    code = """
import os, sys
from tasks.crypto.errors import SourceUnreadable
from tasks.crypto.inputs import Payload, open_payload
from tasks.crypto.sources import Sources
try:
    with open_payload(Payload("file", os.fsencode(sys.argv[1]), 1000), Sources().open):
        pass
except SourceUnreadable as error:
    print(error)
"""
    result = run_python(code, str(path), before=without_root_rights())
    assert result.stdout == b"cannot be read: Permission denied\n", result.stderr


def test_open_payload_leaves_no_descriptor(path: Path) -> None:
    """Files and memory files are closed on every way out."""
    before = descriptors()
    for payload in (file_payload(path), Payload("random", b"r", 10)):
        with open_payload(payload):
            pass
        with pytest.raises(KeyError), open_payload(payload):
            raise KeyError
    assert descriptors() == before


def test_a_redirected_file_starts_at_its_offset(path: Path) -> None:
    """Standard input from a file is what is left of it from the shared offset on."""
    descriptor = os.open(path, os.O_RDONLY)
    os.lseek(descriptor, 300, os.SEEK_SET)
    with standard_input(descriptor), open_payload(Payload("stdin", b"-", None)) as source:
        assert (source.start, source.size_bytes) == (300, 700)
        assert len(read_all(source.descriptor)) == 700
        assert source.check() == 700
    os.close(descriptor)


def test_a_redirected_file_read_in_part_is_found(path: Path) -> None:
    """What was not read is counted from the offset at which it began."""
    descriptor = os.open(path, os.O_RDONLY)
    os.lseek(descriptor, 300, os.SEEK_SET)
    with standard_input(descriptor), open_payload(Payload("stdin", b"-", None)) as source:
        os.read(0, 100)
        with pytest.raises(InputNotRead, match="byte 100 of 700"):
            source.check()
    os.close(descriptor)


def test_a_pipe_is_counted_as_it_is_taken() -> None:
    """A pipe has no size beforehand; the check gives what was taken from it."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"x" * 1000)
    os.close(write_end)
    with standard_input(read_end), open_payload(Payload("stdin", b"-", None)) as source:
        assert source.size_bytes is None
        assert [len(source.take(600)) for _ in range(3)] == [600, 400, 0]
        assert source.check() == 1000
    os.close(read_end)


def test_a_pipe_that_cannot_be_read_is_remembered(path: Path) -> None:
    """A failed read of a pipe raises, and the check raises again."""
    descriptor = os.open(path, os.O_WRONLY)
    source = Input(descriptor, None)
    for _ in range(2):
        with pytest.raises(SourceUnreadable, match="Bad file descriptor"):
            source.take(10)
        with pytest.raises(SourceUnreadable, match="Bad file descriptor"):
            source.check()
    os.close(descriptor)


def fed(data: bytes, piece_bytes: int) -> tuple[Input, threading.Thread]:
    """A pipe that a thread writes the data to, piece by piece."""
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as file:
            for start in range(0, len(data), piece_bytes):
                try:
                    file.write(data[start : start + piece_bytes])
                except BrokenPipeError:
                    return

    thread = threading.Thread(target=feed)
    thread.start()
    return Input(read_end, None), thread


@modest
@given(data=st.binary(max_size=4096), piece_bytes=st.integers(1, 5000))
def test_a_pumped_pipe_comes_through_whole(data: bytes, piece_bytes: int) -> None:
    """The pump passes every byte on, in whatever pieces they come, and counts them."""
    source, feeder = fed(data, piece_bytes)
    with pumped(source, None) as descriptor:
        assert read_all(descriptor) == data
    feeder.join()
    os.close(source.descriptor)
    assert source.check() == len(data)


def test_a_pump_waits_for_a_slow_reader() -> None:
    """A reader that is slower than the pipes are large loses nothing."""
    data = random.randbytes(1 << 20)
    source, feeder = fed(data, 100_000)
    got = b""
    with pumped(source, None) as descriptor:
        while piece := os.read(descriptor, 30_000):
            got += piece
            time.sleep(0.001)
    feeder.join()
    os.close(source.descriptor)
    assert got == data


@pytest.mark.parametrize("limit", [0, 100_000])
def test_a_pump_stops_past_its_limit(limit: int) -> None:
    """Past the limit the stream ends, and the count says that it was too long."""
    source, feeder = fed(bytes(1 << 20), 10_000)
    with pumped(source, limit) as descriptor:
        read_all(descriptor)
    assert limit < source.pumped_bytes < 1 << 20
    os.close(source.descriptor)
    feeder.join()


@pytest.mark.parametrize("limit", [1000, 1001])
def test_a_pump_takes_exactly_its_limit(limit: int) -> None:
    """As many bytes as the limit allows all come through."""
    source, feeder = fed(bytes(1000), 10)
    with pumped(source, limit) as descriptor:
        assert read_all(descriptor) == bytes(1000)
    assert source.pumped_bytes == 1000
    feeder.join()
    os.close(source.descriptor)


@pytest.mark.parametrize("full", [False, True], ids=["source silent", "reader idle"])
def test_a_pump_ends_with_its_block(full: bool) -> None:
    """Leaving the block ends the pump, whether it waits for the source or for the reader."""
    before = descriptors(), threading.active_count()
    read_end, write_end = os.pipe()
    source = Input(read_end, None)
    os.set_blocking(write_end, False)
    with pumped(source, None):
        if full:

            def stuck() -> bool:
                try:
                    return os.write(write_end, bytes(65536)) == 0
                except BlockingIOError:
                    return True

            wait_until(stuck, "the pump took more than pipes hold")
    os.close(read_end)
    os.close(write_end)
    assert (descriptors(), threading.active_count()) == before


def test_a_pump_survives_its_reader() -> None:
    """A reader that goes away ends the pump without a word; the chain's exit codes tell the rest."""
    source, feeder = fed(bytes(1 << 20), 1 << 16)
    with pumped(source, None) as descriptor:
        os.read(descriptor, 10)
    os.close(source.descriptor)
    feeder.join()


def test_a_pump_remembers_a_read_error(tmp_path: Path) -> None:
    """A source that fails under the pump ends the stream, and the check says why."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    source = Input(descriptor, None)
    with pumped(source, None) as pipe:
        assert read_all(pipe) == b""
    with pytest.raises(SourceUnreadable, match="Is a directory"):
        source.check()
    os.close(descriptor)


@pytest.mark.parametrize(
    ("bits", "what"),
    [
        (stat.S_IFREG, "file"),
        (stat.S_IFDIR, "folder"),
        (stat.S_IFLNK, "symbolic link"),
        (stat.S_IFIFO, "FIFO"),
        (stat.S_IFSOCK, "socket"),
        (stat.S_IFBLK, "block device"),
        (stat.S_IFCHR, "character device"),
        (0, "special file"),
    ],
)
def test_file_types_have_names(bits: int, what: str) -> None:
    """Every type of file has a word for people."""
    assert file_type(bits | 0o644) == what
