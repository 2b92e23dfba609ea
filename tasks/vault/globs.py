"""Globs of gitignore as regular expressions over bytes, since git compares bytes: `?` is one byte, of UTF-8 too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, hexdigits, punctuation

_LITERAL = re.compile(rb"[^*?\[\\]*")
# As git has them: of ASCII only, and `space` has neither vertical tab nor form feed.
_CLASSES = {
    b"alnum": ascii_letters + digits,
    b"alpha": ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, range(32))) + "\x7f",
    b"digit": digits,
    b"graph": ascii_letters + digits + punctuation,
    b"lower": ascii_lowercase,
    b"print": ascii_letters + digits + punctuation + " ",
    b"punct": punctuation,
    b"space": " \t\n\r",
    b"upper": ascii_uppercase,
    b"xdigit": hexdigits,
}
# What stars stand for: a part of a name, any path, or any folders and none.
_IN_NAME, _ANY, _FOLDERS = rb"[^/]*?", rb".*?", rb"(?:.*?/)??"
_NOTHING = rb"(?!)"


class _FitsNothing(Exception):
    """Brackets that are not closed, a class that there is not, or a lone backslash at the end."""


def literal_part(glob: bytes) -> bytes:
    """The beginning of a glob up to its first special character."""
    return _LITERAL.match(glob)[0]  # type: ignore[index]  # it fits an empty beginning, too


def glob_regex(glob: bytes, *, path: bool) -> bytes:
    """The expression, with `.` for every byte, that fits the whole of a name, or of a path, as the glob does in git."""
    # In git, two stars right after the literal part of a path are like those that a glob begins with.
    literal = literal_part(glob) if path else b""
    try:
        return re.escape(literal) + _translated(glob[len(literal) :])
    except _FitsNothing:
        return _NOTHING


def _translated(glob: bytes) -> bytes:
    stars, parts, at = [b""], [b""], 0
    while at < len(glob):
        char, at = glob[at : at + 1], at + 1
        if char == b"*":
            before, rest = glob[: at - 1], glob[at:].lstrip(b"*")
            several, at = len(rest) < len(glob) - at, len(glob) - len(rest)
            if not (several and before[-1:] in {b"", b"/"} and (not rest or rest.startswith((b"/", b"\\/")))):
                stars.append(_IN_NAME)
            elif rest.startswith(b"/"):
                stars.append(_FOLDERS)
                at += 1
            else:
                stars.append(_ANY)
            parts.append(b"")
        elif char == b"?":
            parts[-1] += b"[^/]"
        elif char == b"[":
            members, at = _members(glob, at)
            parts[-1] += b"[%b]" % b"".join(rb"\x%02x" % one for one in sorted(members)) if members else _NOTHING
        else:
            if char == b"\\":
                char, at = glob[at : at + 1], at + 1
            if not char:
                raise _FitsNothing
            parts[-1] += re.escape(char)
    return _joined(stars, parts)


def _joined(stars: Sequence[bytes], parts: Sequence[bytes]) -> bytes:
    """The expression of the stars, each followed by its part.

    The first place that a piece fits at is kept, so that a match takes no longer than the length of the pattern times
    that of the path. Between two stars of a name that is right as in any search. All from `**` up to the next `**` has
    a fixed number of slashes and ends with one, so that the first place is also the one that ends first.
    """
    groups = [b""]
    for star, part, after in zip(stars, parts, [*stars[1:], b""], strict=True):
        if star in {_ANY, _FOLDERS}:
            groups.append(b"")
        groups[-1] += b"(?>%b%b)" % (star, part) if star == after == _IN_NAME else star + part
    return b"".join(b"(?>%b)" % group for group in groups[:-1]) + groups[-1]


def _members(glob: bytes, at: int) -> tuple[frozenset[int], int]:
    """The bytes that brackets stand for, and the place behind them; `at` is the one behind the opening bracket."""
    text = glob + b"\0\0"
    negated = text[at] in b"!^"
    at += negated
    members, before, begin = set[int](), 0, at
    while text[at] != ord("]") or at == begin:
        end = text.find(b"]", at + 2)
        if text[at : at + 2] == b"[:" and end > at + 2 and text[end - 1] == ord(":"):
            if (name := text[at + 2 : end - 1]) not in _CLASSES:
                raise _FitsNothing
            members.update(_CLASSES[name].encode())
            at, before = end, 0
        else:
            is_range = text[at] == ord("-") and before and text[at + 1] not in b"]\0"
            at += bool(is_range)
            at += text[at] == ord("\\")
            members.update(range(before, text[at] + 1) if is_range else [text[at]])
            before = 0 if is_range else text[at]
        if not text[at]:
            raise _FitsNothing
        at += 1
    return (frozenset(range(256)) - members if negated else frozenset(members)) - {ord("/")}, at + 1
