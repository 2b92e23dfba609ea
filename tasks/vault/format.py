"""The form of a vault: names of its files, lines of `vault.json` and of snapshots, keys derived from the secret.

A line is JSON in one fixed form: ASCII, no spaces, keys in the order in which they are written here. Reading is strict:
a key twice, a key too many, or a number in place of text is refused. A path is text, or `{"hex": "…"}` where its bytes
are not UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NoReturn

import zstandard
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks.crypto.ciphers import Encryptor
from tasks.crypto.secret import Secret
from tasks.suites import SALT_BYTES

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

PARAMETERS = "vault.json"
PACKS = "packs"
OBJECTS = "objects"
INDEX = "index"
SNAPSHOTS = "snapshots"
PARTIALS = "partials"
TEMPORARY = "tmp"
LOCK = "lock"
# A new ext4 file system has this folder at its root.
LOST_AND_FOUND = "lost+found"
# Of a pack and its index, too.
OBJECT_NAME = re.compile(r"[0-9a-f]{64}")
SNAPSHOT_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
# The run's id, and the number of the part.
PARTIAL_NAME = re.compile(r"[0-9a-f]{16}-[0-9]{4,9}")
# The only names that are ever removed from `tmp/`.
TEMPORARY_NAME = re.compile(r"[0-9a-f]{16}(-[0-9]+)?")

# Objects of at most this length go into a pack: to copy the living ones of a pack again stays cheap.
PACKED_BYTES = 1 << 20
# A pack is complete at this length. Between 4 and 64 MiB the time is the same, and the number of files is not.
PACK_BYTES = 16 << 20
# Content of at most this length is read into memory in one go, so that its salt and MAC are of the bytes encrypted.
WHOLE_BYTES = 16 << 20
# No frame that needs more memory than this is decompressed; writers stay below it up to level 19.
WINDOW_BYTES = 8 << 20
# So much of a frame makes 32 MiB at most.
_FRAME_PIECE_BYTES = 1 << 10
# zstd's own unit.
_BLOCK_BYTES = 128 << 10

# The longest path that Linux opens has 4,095 bytes, each of at most six characters here; and a link has two of them.
LONGEST_LINE = 64 << 10
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
# Made once: json.loads and json.dumps make new ones at every call with options, which took half of their time.
_ENCODER = json.JSONEncoder(separators=(",", ":"))

# HKDF-SHA-256 (RFC 5869) over the 64 hex digits of the secret, with the vault's id as salt and a label for each use:
# an object is encrypted with the secret itself, so no use shares a key with another, nor a vault with another.
_LABEL = b"threadmill vault 2: "
CONTENT_MAC_BYTES = 16


class BadLine(Exception):
    """Bytes that are not lines of the form; the text says how."""


def encode_json(value: Json | Mapping[str, Json]) -> bytes:
    """The one form of a value: ASCII, no spaces."""
    return _ENCODER.encode(value).encode("ascii")


def encode_line(value: Mapping[str, Json]) -> bytes:
    """A line, with its newline."""
    return encode_json(value) + b"\n"


def split_lines(pieces: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """The lines of a file that comes in pieces, each with its newline.

    BadLine if one has more than `longest` bytes, or the last one has no newline.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > longest:
            raise BadLine("has a line that is too long")
        for line in lines:
            yield line + b"\n"
    if rest:
        raise BadLine("does not end with a line")


class BadFrame(BadLine):
    """Bytes that are not one whole zstd frame within its bounds; the text says how."""


def unpack_frame(pieces: Iterable[bytes | memoryview], most: int) -> Iterator[bytes]:
    """The content of one zstd frame, both in pieces, in bounded memory; BadFrame also if it has over `most` bytes.

    A frame may ask for any memory and grow without end: 4 bytes of it can stand for 128 KiB of zeros.
    """
    frame = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()
    try:
        for piece in pieces:
            for at in range(0, len(piece), _FRAME_PIECE_BYTES):
                if frame.eof:
                    raise BadFrame("goes on after its end")
                content = frame.decompress(piece[at : at + _FRAME_PIECE_BYTES])
                most -= len(content)
                if most < 0:
                    raise BadFrame("has more content than it may have")
                for begin in range(0, len(content), _BLOCK_BYTES):
                    yield content[begin : begin + _BLOCK_BYTES]
    except zstandard.ZstdError as error:
        raise BadFrame(f"is no zstd frame that is taken here: {error}") from None
    if not frame.eof:
        raise BadFrame("was cut off")
    if frame.unused_data:
        raise BadFrame("goes on after its end")


def decode_line(line: bytes) -> dict[str, Json]:
    """The object of a line; raises BadLine."""
    if b"\r" in line or b"\t" in line:
        raise BadLine("has other white space than a newline and spaces")
    try:
        value = _DECODER.decode(line.decode("ascii"))
    except (ValueError, RecursionError):
        raise BadLine("is not JSON") from None
    if not isinstance(value, dict):
        raise BadLine("is not a JSON object")
    return value


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


def need_keys(value: Mapping[str, Json], keys: AbstractSet[str], optional: AbstractSet[str] = frozenset()) -> None:
    """Raises BadLine unless these are the keys, and perhaps some of the optional ones."""
    if value.keys() != keys and (not keys <= value.keys() or not value.keys() <= keys | optional):
        odd = ", ".join(sorted((value.keys() - optional) ^ keys)).encode("ascii", "backslashreplace").decode()
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


def snapshot_folder(name: str) -> str:
    """The folder of a snapshot or of a partial one, which have different forms of names."""
    return PARTIALS if PARTIAL_NAME.fullmatch(name) else SNAPSHOTS


class VaultKey:
    """The secret and the derived keys of one vault; like the secret it never shows itself and cannot be pickled.

    Keyed contexts are copied, which takes a quarter of the time that it takes to make them: each file needs four.
    """

    __slots__ = ("_content", "_parameters_key", "_password", "_salt", "_snapshot_key", "key_check", "secret")

    def __init__(self, secret: Secret, vault_id: str) -> None:
        def derived(label: bytes, length: int = 32) -> bytes:
            expand = HKDF(SHA256(), length, salt=bytes.fromhex(vault_id), info=_LABEL + label)
            return expand.derive(secret.password)

        self.secret = secret
        self.key_check = derived(b"key check", 16).hex()
        self._snapshot_key = derived(b"snapshot mac")
        self._parameters_key = derived(b"parameters")
        self._salt = HMAC(derived(b"salt"), SHA256())
        self._content = HMAC(derived(b"content mac"), SHA256())
        self._password = HMAC(secret.password, SHA256())

    def mac(self) -> hmac.HMAC:
        """The HMAC-SHA-256 of a snapshot, to be fed."""
        return hmac.new(self._snapshot_key, digestmod=hashlib.sha256)

    def parameters_mac(self) -> hmac.HMAC:
        """The HMAC-SHA-256 of `vault.json`, to be fed; under its own key, so that none is a snapshot's."""
        return hmac.new(self._parameters_key, digestmod=hashlib.sha256)

    def content_macs(self) -> HMAC:
        """A content MAC to be fed; its first 16 bytes count."""
        return self._content.copy()

    def content_mac(self, *pieces: bytes | memoryview) -> bytes:
        """The 16 bytes by which equal content is known."""
        return _finished(self._content, *pieces)[:CONTENT_MAC_BYTES]

    def salt_of(self, data: bytes | memoryview) -> bytes:
        """The salt of the very bytes that are encrypted with it: equal bytes make the equal object."""
        return _finished(self._salt, data)[:SALT_BYTES]

    def cipher(self, salt: bytes) -> Encryptor:
        """AES-256-CTR as `openssl enc -pbkdf2 -iter 1 -md sha256` has it.

        One iteration of PBKDF2 for 48 bytes is two HMACs; this is three times as fast as hashlib's.
        """
        key, counter = (_finished(self._password, salt + number) for number in (b"\0\0\0\1", b"\0\0\0\2"))
        return Cipher(algorithms.AES(key), modes.CTR(counter[:16])).encryptor()

    def __repr__(self) -> str:
        return "VaultKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault's key is never pickled")


def _finished(context: HMAC, *pieces: bytes | memoryview) -> bytes:
    context = context.copy()
    for piece in pieces:
        context.update(piece)
    return context.finalize()
