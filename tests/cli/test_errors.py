"""Errors as a user meets them: one line that says what to do, an exit code, and never a traceback."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import pytest

from db.errors import RecordUnusable, ThreadmillError
from flows.errors import ApiError, CommandFailed, NumpyMissing, RequestRefused, ServeError
from tests.support.commands import BIN, Command


@pytest.mark.parametrize(
    ("error", "text", "exit_code"),
    [
        (RequestRefused("give {one} path"), "give {one} path", 2),
        (CommandFailed("the flow run crashed"), "the flow run crashed", 1),
        (ServeError("the worker failed"), "the worker failed; everything else was ended", 1),
        (ApiError("GET health", "refused", 503), "Prefect's server did not take GET health: refused", 1),
        (RecordUnusable("x.sqlite", "it is locked"), "history database x.sqlite: it is locked", 2),
    ],
)
def test_error_is_its_message_and_its_exit_code(error: ThreadmillError, text: str, exit_code: int) -> None:
    """Both survive the way from another process."""
    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        assert (str(one), one.exit_code) == (text, exit_code)


def test_missing_numpy_is_an_extra_to_install() -> None:
    """The message is a command to run."""
    assert "pip install -e '.[changes]'" in str(NumpyMissing())


@pytest.mark.parametrize("command", ["survey --via direct", "survey --via prefect", "serve", "encrypt --random 1x1"])
def test_home_that_cannot_be_made_is_one_line(
    threadmill: Command, environment: dict[str, str], tmp_path: Path, command: str
) -> None:
    """A file where the folder should be: refused before any work."""
    (tmp_path / "file").write_text("")
    environment["THREADMILL_HOME"] = str(tmp_path / "file" / "home")
    result = threadmill(*command.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert "cannot be used: Not a directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["settings", "settings --json", "history --help"])
def test_full_disk_under_the_output_is_one_line(environment: dict[str, str], command: str) -> None:
    """The text is lost, which is no success."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [BIN / "threadmill", *command.split()],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, "threadmill: the output: No space left on device\n")


@pytest.mark.parametrize("command", ["settings", "settings --json", "interpreters"])
def test_closed_output_is_no_fault(environment: dict[str, str], command: str) -> None:
    """`>&-`: nobody wants to see it."""
    ended = subprocess.run(
        ["sh", "-c", f"{BIN}/threadmill {command} >&-"], env=environment, stderr=subprocess.PIPE, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
