"""The form of a vault: names of its files, lines of `vault.json` and of snapshots, keys derived from the secret.

A line is JSON in one fixed form: ASCII, no spaces, keys in the order in which they are written here. The last line is
an HMAC over all bytes before it. Reading is strict: a key twice, a key too many, or a number in place of text is
refused. A path is text, or `{"hex": "…"}` where its bytes are not UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks.crypto.secret import Secret

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

PARAMETERS = "vault.json"
OBJECTS = "objects"
SNAPSHOTS = "snapshots"
TEMPORARY = "tmp"
LOCK = "lock"
# A new ext4 file system has this folder at its root.
LOST_AND_FOUND = "lost+found"
OBJECT_NAME = re.compile(r"[0-9a-f]{64}")
SNAPSHOT_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
# Everything in a vault is for its owner: snapshots have names in clear.
FOLDER_MODE = 0o700

# The longest path that Linux opens has 4,095 bytes, each of at most six characters here; and a link has two of them.
LONGEST_LINE = 64 << 10
_MAC_LINE = re.compile(rb'\{"hmac_sha256":"([0-9a-f]{64})"\}\n')
MAC_LINE_BYTES = len('{"hmac_sha256":""}\n') + 64
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
# Made once: json.loads and json.dumps make new ones at every call with options, which took half of their time.
_ENCODER = json.JSONEncoder(separators=(",", ":"))

# HKDF-SHA-256 (RFC 5869) over the 64 hex digits of the secret, with the vault's id as salt: an object, which is made
# with the secret itself, and a MAC share no key, and two vaults under one key file share none either.
_MAC_KEY = b"threadmill vault 1: mac"
_KEY_CHECK = b"threadmill vault 1: key check"


class BadLine(Exception):
    """A line that is not of the form; the text says how."""


def encode_json(value: Json | Mapping[str, Json]) -> bytes:
    """The one form of a value: ASCII, no spaces."""
    return _ENCODER.encode(value).encode("ascii")


def encode_line(value: Mapping[str, Json]) -> bytes:
    """A line, with its newline."""
    return encode_json(value) + b"\n"


def split_lines(pieces: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """The lines of a file that comes in pieces, each with its newline; bytes after the last newline are left out.

    BadLine if one has more than `longest` bytes.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > longest:
            raise BadLine("has a line that is too long")
        for line in lines:
            yield line + b"\n"


def decode_line(line: bytes) -> dict[str, Json]:
    """The object of a line; raises BadLine."""
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
    """The bytes of a path, which has at least one and no NUL; raises BadLine."""
    if isinstance(value, str):
        try:
            path = value.encode()
        except UnicodeEncodeError:
            raise BadLine("has a path with half a character") from None
    elif isinstance(value, dict) and value.keys() == {"hex"}:
        path = bytes.fromhex(need_text(value["hex"], "hex digits of a path", _HEX))
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


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadLine("has a key twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def object_path(root: str, digest: str) -> str:
    """The file of an object, by the 64 hex digits of its digest."""
    return f"{root}/{OBJECTS}/{digest[:2]}/{digest}"


def snapshot_path(root: str, name: str) -> str:
    """The file of a snapshot."""
    return f"{root}/{SNAPSHOTS}/{name}"


class VaultKey:
    """The secret and the MAC key of one vault; like the secret it never shows itself and cannot be pickled."""

    __slots__ = ("_mac_key", "key_check", "secret")

    def __init__(self, secret: Secret, vault_id: str) -> None:
        self.secret = secret
        self._mac_key = _derive(secret, vault_id, _MAC_KEY, 32)
        self.key_check = _derive(secret, vault_id, _KEY_CHECK, 16).hex()

    def mac(self) -> hmac.HMAC:
        """An HMAC-SHA-256 to be fed."""
        return hmac.new(self._mac_key, digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "VaultKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault's key is never pickled")


def _derive(secret: Secret, vault_id: str, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=bytes.fromhex(vault_id), info=info).derive(secret.password)
