"""Find the interpreters of this host; nothing is installed."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from tasks.threads.errors import InterpreterNotFoundError, InterpreterUnusableError
from tasks.threads.interpreters import Interpreter, probe
from tasks.threads.launching import Cancel

NAME = re.compile(r"python3(\.\d+)?t?")
VERSION = re.compile(r"\d+(\.\d+){0,2}t?")


def discover(cancel: Cancel | None = None) -> tuple[Interpreter, ...]:
    """The running interpreter, those on PATH and pyenv's, each once, sorted by version."""
    return distinct(_usable(_candidates(), cancel))


def select(wanted: Sequence[str], cancel: Cancel | None = None) -> tuple[Interpreter, ...]:
    """The interpreters asked for by path or version (`3.12`, `3.13.0`, `3.13t`), each once.

    A version stands for all interpreters found that have it; without a final `t` it means builds with the
    GIL. Raises InterpreterNotFoundError, and InterpreterUnusableError for a path.
    """
    paths = [one for one in wanted if not VERSION.fullmatch(one)]
    chosen = [probe(path, cancel) for path in paths]
    versions = [one for one in wanted if VERSION.fullmatch(one)]
    if versions:
        found = discover(cancel)
        for version in versions:
            matching = [one for one in found if _has_version(one, version)]
            if not matching:
                raise InterpreterNotFoundError(version, [one.label for one in found])
            chosen += matching
    return distinct(chosen)


def distinct(interpreters: Iterable[Interpreter]) -> tuple[Interpreter, ...]:
    """Each identity once, sorted."""
    first = {one.fingerprint: one for one in reversed(list(interpreters))}
    return tuple(sorted(first.values(), key=lambda one: one.sort_key))


def _has_version(interpreter: Interpreter, version: str) -> bool:
    numbers = version.rstrip("t").split(".")
    return interpreter.version.split(".")[: len(numbers)] == numbers and interpreter.gil_build is not version.endswith(
        "t"
    )


def _usable(candidates: Iterable[str], cancel: Cancel | None) -> Iterator[Interpreter]:
    """Probe each file once; what was only met on the way and does not work is no interpreter."""
    seen = set()
    for path in candidates:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen or _is_script(path):
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            yield probe(path, cancel)
        except InterpreterUnusableError:
            continue


def _candidates() -> Iterator[str]:
    yield sys.executable
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield from _pythons_in(folder)
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for version in _names_in(os.path.join(pyenv, "versions")):
        yield from _pythons_in(os.path.join(pyenv, "versions", version, "bin"))


def _pythons_in(folder: str) -> Iterator[str]:
    for name in _names_in(folder):
        if NAME.fullmatch(name):
            yield os.path.join(folder, name)


def _names_in(folder: str) -> list[str]:
    """Sorted names in a folder; none if it cannot be read, as stale PATH entries cannot."""
    try:
        return sorted(os.listdir(folder)) if os.path.isabs(folder) else []
    except OSError:
        return []


def _is_script(path: str) -> bool:
    """Whether it is a wrapper, such as pyenv's shims: they stand for whatever pyenv would choose today."""
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return True
