"""Lines of a vault's files, and the frame that they are compressed in: one form, strictly and boundedly read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.vault.format import (
    WINDOW_BYTES,
    BadFrame,
    BadLine,
    Json,
    decode_line,
    decode_path,
    encode_line,
    encode_path,
    need_int,
    need_keys,
    need_text,
    split_lines,
    unpack_frame,
)
from tasks.vault.vault import _ID
from tests.support.crypto_fakes import modest

paths = st.binary(min_size=1, max_size=60).filter(lambda path: b"\0" not in path)


@modest
@given(paths)
def test_every_path_comes_back(path: bytes) -> None:
    """Any bytes but NUL make a path, go into a line of ASCII, and come back the same."""
    line = encode_line({"path": encode_path(path)})
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert decode_path(decode_line(line)["path"]) == path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"a b", '"a b"'),
        ("gr\u00fcn".encode(), '"gr\\u00fcn"'),
        (b"two\nlines", '"two\\nlines"'),
        (b'"\\', '"\\"\\\\"'),
        (b"\xff\x7f", '{"hex":"ff7f"}'),
        ("\U0001f512".encode(), '"\\ud83d\\udd12"'),
    ],
)
def test_paths_are_written_in_one_form(path: bytes, text: str) -> None:
    """UTF-8 is a JSON string in ASCII; other bytes are hex digits."""
    assert encode_line({"path": encode_path(path)}) == b'{"path":%s}\n' % text.encode()


@pytest.mark.parametrize(
    "value",
    [
        "", "a\0b", "\ud800", "a\udcff", None, 1, 1.5, True, [], ["a"], {}, {"hex": ""}, {"hex": "f"}, {"hex": "FF"},
        {"hex": "f f"}, {"hex": "6100"}, {"hex": 61}, {"hex": "61", "more": 1}, {"Hex": "61"}, {"hex": "\uff11\uff11"},
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(value: Json) -> None:
    """Nothing, NUL, half a character, another type, hex digits that are not whole bytes in lower case."""
    with pytest.raises(BadLine):
        decode_path(value)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"[]", b"1", b'"a"', b"null", b"{", b'{"a":1}}', b'{"a":1,}', b"{'a':1}", b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}', b"\xff", b'{"a":"\x01"}', b'{"a":01}', b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1}\r\n', b'\r{"a":1}\n', b'{"a":\t1}\n',
        b'{"a":' + b"[" * 100_000, b'{"a":' * 100_000, '{"a":1}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_no_object_is_refused(line: bytes) -> None:
    """Anything but one JSON object, each key once, is a bad line, however deep or long it is."""
    with pytest.raises(BadLine):
        decode_line(line)


@pytest.mark.parametrize("value", [True, False, None, 1.0, "1", -1, 2**64 + 1, float("nan"), float("inf"), [1], {}])
def test_what_is_no_whole_number_within_bounds_is_refused(value: Json) -> None:
    """A truth value, a float, text or a number out of bounds is no number."""
    with pytest.raises(BadLine, match="has no size"):
        need_int(value, "size")


@pytest.mark.parametrize("value", [None, 1, "", "0" * 31, "0" * 33, "0" * 32 + "\n", "A" * 32, "\uff10" * 32])
def test_text_has_to_be_of_its_form(value: Json) -> None:
    """All of the text has to be of the form, a newline at its end included."""
    with pytest.raises(BadLine, match="has no id"):
        need_text(value, "id", _ID)


def test_keys_that_are_odd_are_named() -> None:
    """A key too many or too few is named, in text that can be printed and recorded whatever the key is."""
    with pytest.raises(BadLine, match=r"a, c$"):
        need_keys({"a": 1, "b": 2}, frozenset(("b", "c")))
    with pytest.raises(BadLine) as caught:
        need_keys(json.loads(r'{"\ud800":1}'), frozenset())
    assert str(caught.value).encode().isascii()


def test_keys_that_may_be_there() -> None:
    """Optional keys are taken and not missed; with them, a key too few is one too few."""
    must, may = frozenset("ab"), frozenset("c")
    need_keys({"a": 1, "b": 2}, must, may)
    need_keys({"a": 1, "b": 2, "c": 3}, must, may)
    for value, odd in (({"a": 1, "c": 3}, "b"), ({"a": 1, "b": 2, "d": 3}, "d")):
        with pytest.raises(BadLine, match=f": {odd}$"):
            need_keys(value, must, may)


@modest
@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line)), st.integers(1, 20))
def test_lines_come_whole(lines: list[bytes], length: int) -> None:
    """Lines that lie across the borders of pieces are put together; the last one needs its newline."""
    text = b"".join(line + b"\n" for line in lines)
    pieces = [text[at : at + length] for at in range(0, len(text), length)]
    assert list(split_lines(pieces, 10)) == [line + b"\n" for line in lines]
    with pytest.raises(BadLine, match="does not end"):
        list(split_lines([*pieces, b"x"], 10))


FRAME = zstandard.compress(b"content" * 1000)


@modest
@given(st.binary(max_size=5000), st.sampled_from([1, 2, 5, 17, 18, 1024, 9999]))
def test_a_frame_comes_in_any_pieces(content: bytes, length: int) -> None:
    """Whatever it is and however it is cut, its content is the same."""
    frame = zstandard.compress(content)
    pieces = [frame[at : at + length] for at in range(0, len(frame), length)]
    assert b"".join(unpack_frame(pieces, len(content))) == content
    stream = zstandard.ZstdCompressor().compressobj()
    assert b"".join(unpack_frame([memoryview(stream.compress(content) + stream.flush())], len(content))) == content


def zeros(blocks: int, header: bytes) -> bytes:
    """A frame of so many blocks of 128 KiB of zeros, 4 bytes each."""
    block = (128 << 10) << 3 | 1 << 1
    body = block.to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + header + body * (blocks - 1) + (block | 1).to_bytes(3, "little") + b"\0"


def one_segment(blocks: int) -> bytes:
    """A frame that needs memory for its whole content."""
    return zeros(blocks, b"\xa0" + (blocks << 17).to_bytes(4, "little"))


def wide(log: int) -> bytes:
    """A frame of a stream that asks for so much memory."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return frame.compress(b"content") + frame.flush()


SKIPPED = b"\x5d\x2a\x4d\x18\x01\x00\x00\x00x"
BAD_FRAMES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "was cut off"),
    "no frame": (lambda: b"content" * 10, "is no zstd frame"),
    "old frame": (lambda: b"\x27\xb5\x2f\xfd" + FRAME[4:], "is no zstd frame"),
    "cut": (lambda: FRAME[:-1], "was cut off"),
    "garbage after it": (lambda: FRAME + b"x", "goes on after its end"),
    "a newline after it": (lambda: FRAME + b"\n", "goes on after its end"),
    "a second frame": (lambda: FRAME + FRAME, "goes on after its end"),
    "a skippable frame after it": (lambda: FRAME + SKIPPED, "goes on after its end"),
    "a skippable frame before it": (lambda: SKIPPED + FRAME, "goes on after its end|is no zstd frame"),
    "much after it": (lambda: FRAME + bytes(9000), "goes on after its end"),
    "one segment of memory": (lambda: one_segment(160), "too much memory"),
    "a wide window": (lambda: wide(24), "too much memory"),
    "a claim of a petabyte": (lambda: b"\x28\xb5\x2f\xfd\xe0" + (1 << 50).to_bytes(8, "little"), "too much memory"),
    "a dictionary": (lambda: b"\x28\xb5\x2f\xfd\x01\x50\x07" + FRAME[6:], "is no zstd frame"),
}


@pytest.mark.parametrize(("make", "why"), BAD_FRAMES.values(), ids=BAD_FRAMES)
@pytest.mark.parametrize("length", [1 << 20, 1])
def test_a_frame_that_is_not_one_whole_frame_is_refused(make: Callable[[], bytes], why: str, length: int) -> None:
    """Cut, followed by anything, or asking for more memory than it may have."""
    frame = make()
    with pytest.raises(BadFrame, match=why):
        for _ in unpack_frame((frame[at : at + length] for at in range(0, len(frame), length)), 1 << 20):
            pass


def test_the_widest_frame_is_read() -> None:
    """A window of 8 MiB is the limit, and within it."""
    assert b"".join(unpack_frame([wide(23)], 7)) == b"content"
    assert zstandard.get_frame_parameters(wide(23)).window_size == WINDOW_BYTES


def test_every_cut_of_a_frame_is_found() -> None:
    """At whichever byte it ends too early, and also within its header."""
    for length in range(len(FRAME)):
        with pytest.raises(BadFrame):
            list(unpack_frame([FRAME[:length]], 1 << 20))


def test_a_frame_that_grows_too_large_is_left_off() -> None:
    """A gigabyte of zeros in 32 KiB: no piece is larger than a block, and none is given out beyond the limit."""
    bomb = zeros(8 << 10, b"\0\x38")
    pieces = unpack_frame([bomb], 40 << 20)
    lengths = [len(next(pieces))]
    with pytest.raises(BadFrame, match="more content than it may have"):
        lengths += map(len, pieces)
    assert max(lengths) == 128 << 10
    assert 16 << 20 < sum(lengths) <= 40 << 20
