"""Lines of a vault's files: one form that is written, strictly read; paths are bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.vault.format import (
    BadLine,
    Json,
    decode_line,
    decode_mac,
    decode_path,
    encode_line,
    encode_mac,
    encode_path,
    need_int,
    need_keys,
    need_text,
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


def test_mac_lines() -> None:
    """A last line has one form."""
    line = encode_mac("ab" * 32)
    assert decode_mac(line) == "ab" * 32
    assert len(line) == 83
    for other in (line[:-1], line + b"\n", line.upper(), line.replace(b":", b": "), b" " + line, b""):
        assert decode_mac(other) is None
