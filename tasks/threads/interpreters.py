"""An interpreter: what it says about itself, and the fingerprint of that."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Self

from tasks.axes import Executor, GilSetting
from tasks.threads.errors import InterpreterUnusableError
from tasks.threads.launching import Cancel, run_program

# A start takes 10 to 100 ms; on a host at its limits it may take a hundred times that.
PROBE_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Inability:
    """An executor that an interpreter cannot run."""

    executor: Executor
    reason: str


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
    cannot: tuple[Inability, ...]
    facts: tuple[tuple[str, str], ...]
    """Lasting identity facts, sorted by name."""
    gil_setting: GilSetting = GilSetting.DEFAULT

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the identity facts and the GIL setting, hex; the path is no part of it."""
        return hashlib.sha256(json.dumps([self.facts, self.gil_setting]).encode()).hexdigest()

    @property
    def label(self) -> str:
        """What a person calls it: 3.13.0, 3.13.0t, 3.13.0t with the GIL, pypy 3.10.14."""
        label = self.version if self.implementation == "cpython" else f"{self.implementation} {self.version}"
        if self.gil_build:
            return label
        return f"{label}t with the GIL" if self.gil_now else f"{label}t"

    @property
    def command(self) -> tuple[str, ...]:
        """Path and options that start it."""
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
        """Itself, and for a free-threaded build the same with the GIL switched the other way."""
        if self.gil_build:
            return (self,)
        other = GilSetting.OFF if self.gil_now else GilSetting.ON
        return (self, replace(self, gil_setting=other, gil_now=other is GilSetting.ON))

    def reason_against(self, executor: Executor | None) -> str | None:
        """Why it cannot run an executor, or None."""
        return next((one.reason for one in self.cannot if one.executor is executor), None)


def probe(path: str, cancel: Cancel | None = None) -> Interpreter:
    """Ask the program at `path` what it is; InterpreterUnusableError if it is no Python from 3.6 on."""
    ended = run_program([path], "null", deadline_s=PROBE_DEADLINE_S, cancel=cancel)
    if ended.fate != "exited":
        raise InterpreterUnusableError(path, f"no answer within {PROBE_DEADLINE_S:.0f} s")
    if ended.exit_code:
        last_line = ended.stderr_tail.strip().rpartition("\n")[2] or "no message"
        raise InterpreterUnusableError(path, f"exit code {ended.exit_code}, {last_line}")
    try:
        return _parsed(ended.stdout)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InterpreterUnusableError(path, f"it answered {ended.stdout[:80]!r}") from error


def _parsed(answer: str) -> Interpreter:
    told = json.loads(answer)
    facts: dict[str, str] = told["facts"]
    return Interpreter(
        executable=told["executable"],
        version=facts["version"],
        implementation=facts["implementation"],
        gil_build=facts["gil_build"] == "True",
        gil_now=told["gil_now"],
        cannot=tuple(Inability(Executor(name), reason) for name, reason in sorted(told["cannot"].items())),
        facts=tuple(sorted(facts.items())),
    )
