"""Interpreters: their identity and its fingerprint, and those that this host has. Nothing is installed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from tasks.axes import Executor, GilSetting
from tasks.cancel import CancelToken
from tasks.threads.child import parse_answer, run_program
from tasks.threads.errors import InterpreterUnusable

NAME = re.compile(r"(python|pypy|graalpy)(3(\.\d+)?t?)?")
VERSION = re.compile(r"\d+(\.\d+){0,2}t?")
# Such as 3.14.0candidate2.
_VERSION_TOLD = re.compile(r"\d{1,4}(\.\d{1,4}){1,2}([a-z]{1,20}\d{1,4})?")
# Is told a path and the reason why there is no interpreter in it.
LeftOut = Callable[[str, str], object]
# A start takes 10 to 100 ms; on a host at its limits it may take a hundred times that.
PROBE_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One interpreter of this host under one GIL setting."""

    executable: str
    """Resolved path."""
    version: str
    """Such as 3.13.0; of the language."""
    implementation: str
    """Such as cpython."""
    gil_build: bool
    """Whether the build always has the GIL; False for a free-threaded one."""
    gil_now: bool | None
    """Whether the GIL is on after the start; None if it does not tell."""
    cannot: tuple[tuple[Executor, str], ...]
    """Executors that the interpreter cannot run, each with the reason."""
    facts: tuple[tuple[str, str], ...]
    """Lasting identity facts, sorted by name."""
    gil_setting: GilSetting = GilSetting.DEFAULT

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the identity facts and the GIL setting, hex; the path is no part of it."""
        return hashlib.sha256(json.dumps([self.facts, self.gil_setting]).encode()).hexdigest()

    @property
    def label(self) -> str:
        """The name for people: 3.13.0, 3.13.0t, 3.13.0t with the GIL, pypy 3.10.14."""
        label = self.version if self.implementation == "cpython" else f"{self.implementation} {self.version}"
        if self.gil_build:
            return label
        return f"{label}t with the GIL" if self.gil_now else f"{label}t"

    @property
    def command(self) -> tuple[str, ...]:
        """The path and the options to start the interpreter with."""
        if self.gil_setting is GilSetting.DEFAULT:
            return (self.executable,)
        # Not PYTHON_GIL: children run isolated from the environment.
        return (self.executable, "-X", f"gil={int(self.gil_setting is GilSetting.ON)}")

    @property
    def sort_key(self) -> tuple[object, ...]:
        """By implementation, version as numbers, free-threaded last."""
        numbers = tuple(int(number) for number in re.findall(r"\d+", self.version))
        return (self.implementation, numbers, not self.gil_build, self.gil_setting, self.executable)

    def variants(self) -> tuple[Self, ...]:
        """The interpreter, and for a free-threaded build the same with the GIL switched the other way."""
        if self.gil_build:
            return (self,)
        other = GilSetting.OFF if self.gil_now else GilSetting.ON
        return (self, replace(self, gil_setting=other, gil_now=other is GilSetting.ON))

    def reason_against(self, executor: Executor | None) -> str | None:
        """The reason why the interpreter cannot run an executor, or None."""
        return next((reason for one, reason in self.cannot if one is executor), None)


def probe(path: str, cancel: CancelToken | None = None) -> Interpreter:
    """Start the program at `path` and ask for its identity; InterpreterUnusable if it is no Python from 3.6 on."""
    ended = run_program([path], "null", deadline_s=PROBE_DEADLINE_S, cancel=cancel)
    if ended.fate == "flooded":
        raise InterpreterUnusable(path, ended.flood)
    if ended.fate != "exited":
        raise InterpreterUnusable(path, f"no answer within {PROBE_DEADLINE_S:.0f} s")
    if ended.exit_code:
        last_line = ended.stderr_tail.strip().rpartition("\n")[2] or "no message"
        raise InterpreterUnusable(path, f"it is no Python from 3.6 on: exit code {ended.exit_code}, {last_line}")
    try:
        return _parsed(ended.stdout)
    except (ValueError, KeyError) as error:
        raise InterpreterUnusable(path, f"it answered {ended.stdout[:80]!r}") from error


def _parsed(answer: str) -> Interpreter:
    told = parse_answer(answer)
    facts, cannot, gil_now = told["facts"], told["cannot"], told["gil_now"]
    if not (isinstance(facts, dict) and isinstance(cannot, dict) and isinstance(gil_now, bool | None)):
        raise ValueError("not the description of an interpreter")  # noqa: TRY004 - as `parse_answer`
    if not all(
        isinstance(one, str) and "\0" not in one for one in (told["executable"], *facts.values(), *cannot.values())
    ):
        raise ValueError("a fact that is no text")
    if not _VERSION_TOLD.fullmatch(facts["version"]):
        raise ValueError("no version")
    return Interpreter(
        executable=told["executable"],
        version=facts["version"],
        implementation=facts["implementation"],
        gil_build=facts["gil_build"] == "True",
        gil_now=gil_now,
        cannot=tuple((Executor(name), reason) for name, reason in sorted(cannot.items())),
        facts=tuple(sorted(facts.items())),
    )


def discover(
    cancel: CancelToken | None = None, left_out: LeftOut = lambda _path, _reason: None
) -> tuple[Interpreter, ...]:
    """The running interpreter, those on PATH and pyenv's, each once, sorted by version.

    `left_out` is told the other files of such names, each with the reason.
    """
    return distinct(_usable(_candidates(), cancel, left_out))


def select(wanted: Sequence[str], cancel: CancelToken | None = None) -> tuple[Interpreter, ...]:
    """The interpreters asked for by path or version (`3.12`, `3.13.0`, `3.13t`), each once.

    A version stands for all interpreters found that have it; without a final `t` it means builds with the GIL.
    InterpreterUnusable if a path is no Python from 3.6 on, or if no interpreter has a version.
    """
    # A child stands in another folder.
    paths = [os.path.abspath(one) if os.sep in one else one for one in wanted if not VERSION.fullmatch(one)]
    chosen = [probe(path, cancel) for path in paths]
    versions = [one for one in wanted if VERSION.fullmatch(one)]
    if versions:
        found = discover(cancel)
        for version in versions:
            matching = [one for one in found if _has_version(one, version)]
            if not matching:
                labels = ", ".join(one.label for one in found) or "none"
                raise InterpreterUnusable(f"Python {version}", f"it is not on this host; found: {labels}")
            chosen += matching
    return distinct(chosen)


def distinct(interpreters: Iterable[Interpreter]) -> tuple[Interpreter, ...]:
    """Each identity once, sorted."""
    first = {one.fingerprint: one for one in reversed(list(interpreters))}
    return tuple(sorted(first.values(), key=lambda one: one.sort_key))


def _has_version(interpreter: Interpreter, version: str) -> bool:
    numbers = version.rstrip("t").split(".")
    same = interpreter.version.split(".")[: len(numbers)] == numbers
    return same and interpreter.gil_build is not version.endswith("t")


def _usable(candidates: Iterable[str], cancel: CancelToken | None, left_out: LeftOut) -> Iterator[Interpreter]:
    """Probe each file once, and leave out those that do not work: nobody asked for them by name."""
    seen = set()
    for path in candidates:
        try:
            status = os.stat(path)
        except OSError as error:
            left_out(path, str(error.strerror))
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        if os.path.dirname(path) == os.path.join(_pyenv(), "shims"):
            left_out(path, "pyenv's shims start the version that is set today; all versions are found without them")
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            yield probe(path, cancel)
        except InterpreterUnusable as error:
            left_out(path, error.reason)


def _candidates() -> Iterator[str]:
    yield sys.executable
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield from _pythons_in(folder)
    for version in _names_in(os.path.join(_pyenv(), "versions")):
        yield from _pythons_in(os.path.join(_pyenv(), "versions", version, "bin"))


def _pyenv() -> str:
    return os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")


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
