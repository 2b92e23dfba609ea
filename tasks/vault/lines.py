"""The lines of `vault.json` and of snapshots: JSON in one fixed form, the last one an HMAC over all bytes before it.

ASCII, no spaces, keys in the order in which they are written here. What is read is taken strictly: a key twice, a key
too many, a number where text belongs is refused. A path is text, or `{"hex": "…"}` where its bytes are not UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

# The longest path that Linux opens has 4,095 bytes, each of at most six characters here; and a link has two of them.
LONGEST_LINE = 64 << 10

_MAC_LINE = re.compile(rb'\{"hmac_sha256":"([0-9a-f]{64})"\}\n')
MAC_LINE_BYTES = len('{"hmac_sha256":""}\n') + 64
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


class BadLine(Exception):
    """A line that is not of the form; the text says how."""


def encode_json(value: Json | Mapping[str, Json]) -> bytes:
    """The one form of a value: ASCII, no spaces."""
    return _ENCODER.encode(value).encode("ascii")


def encode_line(value: Mapping[str, Json]) -> bytes:
    """A line, with its newline."""
    return encode_json(value) + b"\n"


def split_lines(pieces: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """The lines of a file that comes in pieces, each with its newline; what follows the last newline is left out.

    Raises:
        BadLine: one has more than `longest` bytes.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > longest:
            raise BadLine("has a line that is too long")
        for line in lines:
            yield line + b"\n"


def decode_line(line: bytes) -> dict[str, Json]:
    """The object of a line.

    Raises:
        BadLine: it is not one JSON object, or has a key twice.
    """
    try:
        value = _DECODER.decode(line.decode("ascii"))
    except (ValueError, RecursionError):
        raise BadLine("is not JSON") from None
    if not isinstance(value, dict):
        raise BadLine("is not a JSON object")
    return value


def encode_mac(mac: str) -> bytes:
    """The last line."""
    return b'{"hmac_sha256":"%s"}\n' % mac.encode("ascii")


def decode_mac(line: bytes) -> str | None:
    """The 64 hex digits of a last line; None if it is none."""
    match = _MAC_LINE.fullmatch(line)
    return None if match is None else match[1].decode()


def encode_path(path: bytes) -> Json:
    """Text where the bytes are UTF-8."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return {"hex": path.hex()}


def decode_path(value: Json) -> bytes:
    """The bytes of a path, which has at least one and no NUL.

    Raises:
        BadLine: it is not a path.
    """
    if isinstance(value, str):
        try:
            path = value.encode()
        except UnicodeEncodeError:
            raise BadLine("has a path with half a character") from None
    elif isinstance(value, dict) and value.keys() == {"hex"} and _is_hex(value["hex"]):
        path = bytes.fromhex(str(value["hex"]))
    else:
        raise BadLine("has a path that is neither text nor bytes")
    if not path or b"\0" in path:
        raise BadLine("has a path that is empty or has a NUL in it")
    return path


def need_keys(value: Mapping[str, Json], keys: frozenset[str]) -> None:
    """Raises BadLine unless these are the keys."""
    if value.keys() != keys:
        odd = ", ".join(sorted(value.keys() ^ keys)).encode("ascii", "backslashreplace").decode()
        raise BadLine(f"has other keys than it must have: {odd}"[:200])


def need_int(value: Json, what: str, least: int = 0, most: int = 2**64) -> int:
    """Raises BadLine unless it is a whole number within bounds."""
    if type(value) is not int or not least <= value <= most:
        raise BadLine(f"has no {what}")
    return value


def need_text(value: Json, what: str, form: re.Pattern[str]) -> str:
    """Raises BadLine unless it is text of that form."""
    if not isinstance(value, str) or not form.fullmatch(value):
        raise BadLine(f"has no {what}")
    return value


def _is_hex(value: Json) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadLine("has a key twice")
    return value


# Made once: json.loads and json.dumps make new ones at every call with options, which took half of their time.
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(object_pairs_hook=_once)
