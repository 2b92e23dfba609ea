"""Patterns that leave things out of a snapshot, with the syntax and the effect of those of gitignore.

A walk asks for a folder before it goes into it, as git does, and for nothing below a folder that is left out. So each
pattern is held against one thing at a time: `cache/**` leaves out all that is in `cache`, but not `cache` itself, and
`!cache/keep` takes something back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby

from tasks.vault.globs import glob_regex, literal_part


class BadPattern(Exception):
    """A pattern that is none, or that lies below no source."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern, held against names, or against paths from the source on if its glob has a slash.

    `source` is the only one that an absolute path is for.
    """

    text: str
    glob: bytes
    negative: bool
    only_folders: bool
    source: bytes | None = None

    @property
    def is_path(self) -> bool:
        return b"/" in self.glob

    @property
    def is_plain_name(self) -> bool:
        return not self.is_path and literal_part(self.glob) == self.glob

    def concerns(self, source: bytes) -> bool:
        return self.source is None or self.source == source


def usable(patterns: Iterable[str], sources: Sequence[bytes]) -> Iterator[str]:
    """The patterns that can be for these sources: an absolute one may be for another source."""
    for pattern in patterns:
        with suppress(BadPattern):
            Excludes((pattern,), sources)
            yield pattern


class Excludes:
    """Patterns, of which the last one that fits decides: relative to each source, or absolute paths below one."""

    def __init__(self, patterns: Sequence[str] = (), sources: Sequence[bytes] = (), *, note: bool = False) -> None:
        """With `note`, the patterns that fit nothing are known after the walk, which is slower. Raises BadPattern."""
        self._patterns = [_placed(one, sources) for text in patterns if (one := _parse(text)) is not None]
        self._sources = sources
        self._rules: dict[bytes, list[_Rule]] = {}
        self._unmatched = [(one, _Rule([one])) for one in self._patterns] if note else []

    def match(self, source: bytes, path: bytes, folder: bool) -> bool:
        """Whether to leave a path out; paths below a folder that is left out are not asked for."""
        if not self._patterns:
            return False
        below = path[len(source) + 1 :] if source != b"/" else path[1:]
        name = below[below.rfind(b"/") + 1 :]
        if self._unmatched:
            looked = self._unmatched
            self._unmatched = [
                (one, rule) for one, rule in looked if not (one.concerns(source) and rule.fits(name, below, folder))
            ]
        if (rules := self._rules.get(source)) is None:
            own = [one for one in reversed(self._patterns) if one.concerns(source)]
            rules = [_Rule(list(run)) for _, run in groupby(own, key=lambda one: one.negative)]
            self._rules[source] = rules
        for rule in rules:
            if rule.fits(name, below, folder):
                return not rule.negative
        return False

    def covers(self, path: bytes) -> bool:
        """Whether a file fits, or a folder that it is in; the pattern is for that, and not for leaving it out."""
        if path in self._sources:
            return self.match(os.path.dirname(path), path, False)
        for source in self._sources:
            base = source.rstrip(b"/") + b"/"
            if path.startswith(base):
                ends = (found.start() for found in re.finditer(b"/", path) if found.start() >= len(base))
                return any(self.match(source, path[:end], True) for end in ends) or self.match(source, path, False)
        return False

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The patterns that fitted nothing that was asked for."""
        return tuple(one.text for one, _ in self._unmatched)


class _Rule:
    """Neighbours among the patterns that are all negative or all not: it does not matter which of them fits."""

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self.negative = patterns[0].negative
        self._of_files = _Tests([one for one in patterns if not one.only_folders])
        self._of_folders = _Tests(patterns)

    def fits(self, name: bytes, below: bytes, folder: bool) -> bool:
        """Whether one of them fits a thing of that name, which has that path below its source."""
        tests = self._of_folders if folder else self._of_files
        if name in tests.names:
            return True
        return any(fits(below if of_path else name) for of_path, fits in tests.searches)


class _Tests:
    """Plain names, which need no search, and searches of names and of paths."""

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self.names = frozenset(one.glob for one in patterns if one.is_plain_name)
        self.searches: list[tuple[bool, Callable[[bytes], object]]] = []
        for path in (False, True):
            globs = [one.glob for one in patterns if one.is_path == path and not one.is_plain_name]
            if globs:
                regexes = (glob_regex(glob.removeprefix(b"/"), path=path) for glob in globs)
                self.searches.append((path, re.compile(b"|".join(regexes), re.DOTALL).fullmatch))


def _parse(text: str) -> _Pattern | None:
    """A line of git's exclude file; None for an empty one and a comment."""
    try:
        line = os.fsencode(text).removesuffix(b"\r")
    except UnicodeEncodeError:
        line = b"\0"
    if b"\0" in line:
        raise BadPattern(f"{text!r} has a character that no name has")
    kept = line.rstrip(b" ")
    # A backslash keeps the space behind it, unless another one makes it a plain character.
    if (len(kept) - len(kept.rstrip(b"\\"))) % 2:
        kept = line[: len(kept) + 1]
    if not kept or kept.startswith(b"#"):
        return None
    glob = kept.removeprefix(b"!")
    if not glob:
        raise BadPattern("an exclamation mark by itself is no pattern")
    return _Pattern(text, glob.removesuffix(b"/"), glob != kept, glob.endswith(b"/"))


def _placed(one: _Pattern, sources: Sequence[bytes]) -> _Pattern:
    """The pattern; an absolute path below a source becomes one from that source on. Raises BadPattern."""
    if not one.glob.startswith(b"/"):
        return one
    for source in sources:
        # A path is typed as it is, or with backslashes before its special characters.
        chars = (source[at : at + 1] for at in range(len(source.rstrip(b"/"))))
        typed = b"".join(rb"\\?" + re.escape(char) for char in chars)
        if (found := re.match(rb"%b(?:/+(.*))?\Z" % typed, one.glob, re.DOTALL)) is not None:
            if not found[1] and source != b"/":
                raise BadPattern(f"{one.text} is one of the paths to encrypt, and not below it")
            return replace(one, glob=b"/%b" % (found[1] or b""), source=source)
    first, _, rest = one.glob[1:].partition(b"/")
    # `/var/log` is one from a source on if that has a `var`. If none has, it is the one of this machine.
    absolute = sources and first and rest and first == literal_part(first) and os.path.lexists(b"/" + first)
    if absolute and not any(os.path.lexists(os.path.join(source, first)) for source in sources):
        raise BadPattern(f"{one.text} lies below none of the paths; without its first slash it is one below each")
    return one
