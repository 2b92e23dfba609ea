"""Errors as a user meets them: one line that says what to do, an exit code, and never a traceback."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import threading
from contextlib import suppress
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


@pytest.mark.parametrize(
    "error",
    [TypeError("odd\nthing"), RecursionError(), MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")],
)
def test_a_fault_that_nobody_foresaw_is_one_line(
    threadmill: Command, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It says how to get the traceback; these tests, which ask for it, still fail for such a fault."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("flows.cli.status.load_settings", fail)
    with pytest.raises(type(error)):
        threadmill("settings")
    del environment["THREADMILL_TRACEBACK"]
    result = threadmill("settings")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"threadmill: a fault of threadmill ({type(error).__name__}: ")
    assert line.endswith("THREADMILL_TRACEBACK=1")


@pytest.mark.parametrize("variable", ["THREADMILL_DATABASE_URL", "THREADMILL_HOME"])
def test_a_record_whose_path_is_no_text_is_a_record(
    threadmill_process: Command, environment: dict[str, str], tmp_path: Path, variable: str
) -> None:
    """A byte of a path that is not UTF-8, for writing and for reading; in another URL it is refused."""
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff #?%41")
    environment[variable] = f"sqlite:///{odd}/x.sqlite" if variable.endswith("URL") else odd
    # A question mark begins the options of a URL.
    environment["THREADMILL_DATABASE_URL"] = environment.get("THREADMILL_DATABASE_URL", "").replace("?", "")
    for command, code in (
        ("history runs", 0),
        ("encrypt --random 1x1", 0),
        ("history runs", 0),
        ("db check", 0),
        ("db backup copy", 0),
    ):
        result = threadmill_process(*command.split())
        assert result.returncode == code, result.stderr
    for url in (b"postgresql://127.0.0.1:1/\xff", b"postgresql://h\xff/x", b"postgresql://\xff:\xff@127.0.0.1:1/x"):
        environment["THREADMILL_DATABASE_URL"] = os.fsdecode(url)
        result = threadmill_process("history", "runs")
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite://history.sqlite",
        "sqlite:///HOME/x.sqlite?nolock=1&uri=true", "sqlite:///HOME/x.sqlite?timeout=x", "sqlite://u:secret@/x.sqlite",
    ],
)  # fmt: skip
def test_a_url_of_sqlite_is_a_path(threadmill: Command, environment: dict[str, str], home: Path, url: str) -> None:
    """A record in memory, options and too few slashes are refused at once, and nothing is made."""
    environment["THREADMILL_DATABASE_URL"] = url.replace("HOME", str(home.parent))
    for command in ("history runs", "encrypt --random 1x1", "db check", "db upgrade"):
        refused = threadmill(*command.split())
        assert (refused.returncode, refused.stdout) == (2, "")
        (line,) = refused.stderr.splitlines()
        assert "names no file, or has options; use sqlite:///PATH" in line
        assert "secret" not in line
    assert not list(home.parent.glob("*sqlite*"))


@pytest.mark.parametrize("variable", ["THREADMILL_DATABASE_URL", "THREADMILL_HOME"])
def test_a_tilde_is_the_home_and_a_question_mark_is_one(
    threadmill: Command, environment: dict[str, str], tmp_path: Path, variable: str
) -> None:
    """Also where no shell expands the value; without a home it is refused."""
    name = "what?of=it/history.sqlite"
    environment |= {"HOME": str(tmp_path), variable: f"sqlite:///~/{name}" if "URL" in variable else "~/what?of=it"}
    assert threadmill("encrypt", "--random", "1x1").returncode == 0
    assert threadmill("history", "runs", "--csv").stdout.count("encrypt_payloads") == 1
    assert (tmp_path / name).stat().st_size > 4096
    environment["HOME"] = ""
    refused = threadmill("history", "runs")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "you have no home directory here; write the path without ~" in refused.stderr


DEEP = b"[" * 200_000
ANSWERS = {
    "no JSON": b"HTTP/1.0 200 OK\r\n\r\n<html>",
    "deep JSON": b"HTTP/1.0 200 OK\r\n\r\n" + DEEP,
    "other JSON": b'HTTP/1.0 200 OK\r\n\r\n{"deployments": 3}',
    "other objects": b'HTTP/1.0 200 OK\r\n\r\n[{"name": 3}]',
    "no text": b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[",
    "nothing": b"",
    "a long line": b"HTTP/1.0 200 " + b"x" * 100_000,
    "many digits": b"HTTP/1.0 200 OK\r\n\r\n[" + b"9" * 5000 + b"]",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_server_that_answers_otherwise_is_one_line(
    threadmill: Command, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Something else than Prefect listens at the address that is set."""
    monkeypatch.setattr("flows.serving.api._PAUSE_S", 0)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(100_000)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), name="server")
        thread.start()
        environment["PREFECT_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        result = threadmill("status")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("threadmill: needs attention: Prefect's server does not answer as it should: ")
    assert len(line) < 500
