"""Finding interpreters, and what identifies one."""

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.axes import Executor, GilSetting
from tasks.threads.errors import InterpreterUnusable
from tasks.threads.interpreters import Interpreter, discover, distinct, probe, select

FACTS = {"version": "3.12.1", "implementation": "cpython", "gil_build": "True"}
TOLD = {"executable": "/python", "facts": FACTS, "gil_now": True, "cannot": {}}
ANSWERS: list[object] = [
    [], {}, TOLD | {"facts": []}, TOLD | {"cannot": ["x"]}, TOLD | {"executable": 7}, TOLD | {"executable": "\ud800"},
    TOLD | {"gil_now": 7}, TOLD | {"gil_now": math.nan}, TOLD | {"facts": FACTS | {"version": ["3", "12"]}},
    TOLD | {"facts": FACTS | {"version": "3." + "9" * 5000}}, TOLD | {"facts": FACTS | {"build": "\0"}},
]  # fmt: skip
VERSION = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(scope="module")
def running() -> Interpreter:
    return probe(sys.executable)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH of one empty folder, and no pyenv: only the running interpreter is left."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_the_running_interpreter_tells_what_it_is(running: Interpreter) -> None:
    """Version, implementation and path are those of this process."""
    assert running.version == VERSION
    assert running.implementation == sys.implementation.name
    assert running.executable == os.path.realpath(sys.executable)
    assert dict(running.facts)["version"] == VERSION


def test_a_fingerprint_holds_only_lasting_facts(running: Interpreter) -> None:
    """Asking twice gives the same fingerprint, another path does not change it, another GIL setting does."""
    assert probe(sys.executable).fingerprint == running.fingerprint
    assert replace(running, executable="/elsewhere/python3").fingerprint == running.fingerprint
    assert replace(running, gil_setting=GilSetting.ON).fingerprint != running.fingerprint
    assert len(running.fingerprint) == 64


def test_inabilities_come_with_their_reason(running: Interpreter) -> None:
    """What an interpreter cannot do says why, what it can has no reason against it."""
    assert running.reason_against(Executor.THREAD) is None
    if sys.version_info < (3, 14):
        assert "3.14" in str(running.reason_against(Executor.INTERPRETER_POOL))


def test_free_threaded_builds_have_two_variants(running: Interpreter) -> None:
    """Each is labelled and started with the GIL as its variant says."""
    free = replace(running, version="3.13.0", implementation="cpython", gil_build=False, gil_now=False)
    without, with_gil = free.variants()
    assert (without.label, with_gil.label) == ("3.13.0t", "3.13.0t with the GIL")
    assert with_gil.command == (free.executable, "-X", "gil=1")
    assert running.variants() == (running,)


def test_links_to_one_interpreter_are_one(alone: Path, running: Interpreter) -> None:
    """Symlinks and several names on PATH do not make another interpreter."""
    for name in ("python3", "python3.11", "python3.12t"):
        (alone / name).symlink_to(running.executable)
    assert discover() == (running,)


def test_wrappers_and_wrecks_on_the_way_are_passed_over(alone: Path, running: Interpreter) -> None:
    """Shims of pyenv, broken links, folders, unreadable and foreign programs are neither found nor errors."""
    (alone / "python3").write_text("#!/bin/sh\nexit 127\n")
    (alone / "python3").chmod(0o755)
    (alone / "python3.9").symlink_to(alone / "nowhere")
    (alone / "python3.10").mkdir()
    (alone / "python3.12").symlink_to("/bin/true")
    left_out: dict[str, str] = {}
    assert discover(left_out=left_out.__setitem__) == (running,)
    assert {path: reason.partition(":")[0] for path, reason in left_out.items()} == {
        str(alone / "python3"): "it is no Python from 3.6 on",
        str(alone / "python3.9"): "No such file or directory",
        str(alone / "python3.10"): "[Errno 13] Permission denied",
        str(alone / "python3.12"): "it answered ''",
    }


@pytest.mark.parametrize("name", ["pypy3", "pypy", "pypy3.10", "graalpy", "python", "python3.14t"])
def test_interpreters_of_other_names_are_found(
    alone: Path, running: Interpreter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also behind a script, which says itself what it starts."""
    (alone / name).write_text(f'#!/bin/sh\nexec {running.executable} "$@"\n')
    (alone / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert discover() == (running,)


def test_shims_of_pyenv_are_left_out_and_said(
    alone: Path, running: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that one starts is found in its own folder."""
    shims = alone / "pyenv" / "shims"
    shims.mkdir(parents=True)
    (shims / "python3").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(shims))
    left_out: list[str] = []
    assert discover(left_out=lambda path, _reason: left_out.append(path)) == (running,)
    assert left_out == [str(shims / "python3")]


def test_pyenv_versions_are_found(alone: Path, running: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is under pyenv's `versions` counts, active or not."""
    programs = alone / "pyenv" / "versions" / VERSION / "bin"
    programs.mkdir(parents=True)
    (programs / "python3").symlink_to(running.executable)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert discover() == (running,)


def test_an_interpreter_is_chosen_by_path_or_version(alone: Path, running: Interpreter) -> None:
    """A path, a full version and the start of one all lead to it, once."""
    del alone
    minor = VERSION.rpartition(".")[0]
    assert select([sys.executable, VERSION, minor]) == (running,)


def test_what_is_not_here_says_what_is(alone: Path, running: Interpreter) -> None:
    """A version that nobody has is an error that lists those found; `3.1` is not the start of 3.11."""
    del alone
    for wanted in ("3.99", "3.1", VERSION + "t"):
        with pytest.raises(InterpreterUnusable) as caught:
            select([wanted])
        assert str(caught.value).endswith(f"found: {running.label}")


@pytest.mark.parametrize("path", ["/bin/true", "/bin/false", "/nonexistent/python3", "/etc/passwd"])
def test_a_path_that_is_no_python_is_refused(path: str) -> None:
    """What was asked for by path must work."""
    with pytest.raises(InterpreterUnusable) as caught:
        select([path])
    assert caught.value.wanted == path


def test_a_path_that_hangs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that never answers is given up."""
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr("tasks.threads.interpreters.PROBE_DEADLINE_S", 0.3)
    with pytest.raises(InterpreterUnusable, match="no answer"):
        probe(str(program))


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("head -c 200000 /dev/zero | tr '\\0' '['", "it answered '[[[["),
        ("head -c 2000000 /dev/zero | tr '\\0' '['", "more output than 262,144 bytes on stdout"),
        ("yes >&2", "more output than 16,777,216 bytes on stderr"),
        ("", "it answered ''"),
        *(
            (f"echo '{json.dumps(told)}'", "it answered")
            for told in ANSWERS
        ),
    ],
    ids=range(15),
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(tmp_path: Path, output: str, says: str) -> None:
    """Whatever a program says that was named as an interpreter, the message quotes its beginning."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{output}\n")
    path.chmod(0o700)
    with pytest.raises(InterpreterUnusable) as refused:
        select([str(path)])
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


def test_versions_are_sorted_as_numbers(running: Interpreter) -> None:
    """3.9 comes before 3.11, and a build without a GIL after the one with."""
    versions = [("3.11.7", True), ("3.9.18", True), ("3.13.0", False), ("3.13.0", True)]
    made = [
        replace(running, version=version, gil_build=gil, gil_now=gil, facts=(("n", f"{version}{gil}"),))
        for version, gil in versions
    ]
    assert [one.label for one in distinct(made)] == ["3.9.18", "3.11.7", "3.13.0", "3.13.0t"]
