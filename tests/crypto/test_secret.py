"""Key files: written once, 0600, refused when they are anything else; the secret shows itself to nobody."""

from __future__ import annotations

import array
import copy
import fcntl
import os
import pickle
import re
import resource
import signal
import stat
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.errors import KeyFileError
from tasks.crypto.secret import KeyFile, Secret, ThrowAway, write_key_file
from tests.support.commands import BIN, clean_environment
from tests.support.crypto_fakes import BACKENDS, SECRET, children, is_gone, modest
from tests.support.processes import wait_until

GOOD = b"0123456789abcdef" * 4 + b"\n"

# Runs its arguments with the largest core dumps that the host allows, and the kernel's usual choice of memory in them.
DUMPING = ("sh", "-c", 'ulimit -c "$(ulimit -H -c)"; echo 0x33 >/proc/self/coredump_filter; exec "$@"', "sh")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key file goes."""
    return tmp_path / "key"


def refusal(path: Path | str) -> str:
    with pytest.raises(KeyFileError) as caught:
        KeyFile(str(path)).secret()
    assert caught.value.path == str(path)
    return caught.value.reason


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def test_a_written_file_is_read_back(path: Path) -> None:
    """What `write_key_file` writes is 64 hex digits and a newline, and reads back without the newline."""
    write_key_file(str(path))
    content = path.read_bytes()
    assert re.fullmatch(rb"[0-9a-f]{64}\n", content)
    assert KeyFile(str(path)).secret().password == content[:-1]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_written_files_are_0600(path: Path, umask: int) -> None:
    """The mode is 0600 whatever the umask says."""
    before = os.umask(umask)
    try:
        write_key_file(str(path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_files_differ(tmp_path: Path) -> None:
    """Every key file has a secret of its own."""
    for name in ("a", "b"):
        write_key_file(str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("kind", ["key", "empty", "folder", "dangling link", "link"])
def test_nothing_is_ever_overwritten(path: Path, kind: str) -> None:
    """Whatever stands at the path stays as it is, and the refusal says so."""
    other = path.with_name("other")
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(other)
    elif kind == "link":
        put(other, GOOD)
        path.symlink_to(other)
    else:
        put(path, GOOD if kind == "key" else b"")
    before = path.lstat()
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key_file(str(path))
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert other.exists() == (kind == "link")


@pytest.mark.parametrize("name", ["missing/key", "file/key", "nul\0key"])
def test_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    """A path that cannot be written is refused as a key file's, not as a bare OSError."""
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_key_file(f"{tmp_path}/{name}")
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails after the file was made leaves no half a key behind."""

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyFileError, match="No space left on device"):
        write_key_file(str(path))
    assert not path.exists()


def test_a_missing_file_says_how_to_make_one(path: Path) -> None:
    """The refusal of a missing file names the command that writes one."""
    assert "threadmill keygen" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        GOOD[1:],
        b"0" + GOOD,
        GOOD[:-1],
        GOOD.upper(),
        GOOD[:-1] + b"\r\n",
        GOOD + b"\n",
        GOOD + GOOD,
        b" " + GOOD[1:],
        b"g" + GOOD[1:],
        b"\0" + GOOD[1:],
        b"\xef\xbb\xbf" + GOOD,
        b"correct horse battery staple\n",
        GOOD * 1000,
    ],
    ids=[
        "empty",
        "newline",
        "63 digits",
        "65 digits",
        "no newline",
        "upper case",
        "CRLF",
        "two newlines",
        "two keys",
        "space",
        "no hex",
        "NUL",
        "BOM",
        "passphrase",
        "large",
    ],
)
def test_anything_but_a_key_is_refused(path: Path, content: bytes) -> None:
    """Only 64 lower-case hex digits and one newline are a key."""
    put(path, content)
    reason = refusal(path)
    assert "not what `threadmill keygen` writes" in reason
    assert content.decode(errors="replace").strip() not in reason or not content.strip()


@modest
@given(content=st.binary(max_size=80) | st.from_regex(rb"[0-9a-fA-F]{62,66}\r?\n?", fullmatch=True))
def test_exactly_one_form_is_taken(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A file is taken exactly if it is what `keygen` writes."""
    path = tmp_path_factory.getbasetemp() / "any-key"
    put(path, content)
    if re.fullmatch(rb"[0-9a-f]{64}\n", content):
        assert KeyFile(str(path)).secret().password == content[:-1]
    else:
        refusal(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_exposed_files_are_refused_with_the_cure(path: Path, mode: int) -> None:
    """A file that is open to others is refused, with its mode and the chmod to run."""
    put(path, GOOD, mode)
    reason = refusal(path)
    assert f"mode {mode:04o}" in reason
    assert f"chmod 600 {path}" in reason


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_private_modes_are_taken(path: Path, mode: int) -> None:
    """What only the owner can read is fine, read-only too."""
    put(path, GOOD, mode)
    assert KeyFile(str(path)).secret().password == GOOD[:-1]


def test_the_cure_works(path: Path) -> None:
    """After the chmod that the refusal names the file is taken."""
    put(path, GOOD, 0o644)
    assert "chmod 600" in refusal(path)
    path.chmod(0o600)
    KeyFile(str(path)).secret()


def test_a_fifo_is_refused_at_once(path: Path) -> None:
    """A FIFO without a writer is refused and does not hang."""
    os.mkfifo(path, 0o600)
    assert "not a regular file" in refusal(path)


def test_a_folder_is_refused(path: Path) -> None:
    """A folder is not a key file."""
    path.mkdir(mode=0o700)
    assert "not a regular file" in refusal(path)


def test_a_device_is_refused() -> None:
    """A device is not a key file."""
    assert "not a regular file" in refusal("/dev/null")


def test_a_link_to_a_key_is_followed(path: Path) -> None:
    """A symbolic link to a good key file is taken, as mounted secrets are links."""
    put(path.with_name("real"), GOOD)
    path.symlink_to("real")
    assert KeyFile(str(path)).secret().password == GOOD[:-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(path: Path) -> None:
    """A key file that belongs to another user is refused, even where it could be read."""
    put(path, GOOD)
    os.chown(path, 65534, -1)
    assert "another user" in refusal(path)


@pytest.mark.parametrize("name", ["nul\0key", "x" * 300])
def test_impossible_paths_are_refused(name: str) -> None:
    """A path that no file can have is refused as a key file's."""
    assert "cannot be opened" in refusal(f"/{name}")


def test_no_descriptor_stays_open(path: Path) -> None:
    """Taking and refusing a key file both close it."""
    put(path, GOOD)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        KeyFile(str(path)).secret()
        refusal(path.parent)
        with pytest.raises(KeyFileError):
            write_key_file(str(path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_secret_shows_itself_to_nobody() -> None:
    """Neither repr nor str nor a container's repr shows the secret."""
    for text in (repr(SECRET), str(SECRET), f"{[SECRET]}", f"{SECRET!s:>100}"):
        assert SECRET.password.decode() not in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_never_pickled(protocol: int) -> None:
    """Pickling a secret, alone or inside something, is refused."""
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps([SECRET], protocol)


def test_a_secret_is_not_copied() -> None:
    """Copying goes the way of pickling, and is refused as well."""
    with pytest.raises(TypeError, match="never pickled"):
        copy.deepcopy(SECRET)


def test_key_sources_travel_without_the_secret(path: Path) -> None:
    """A key file pickles as its path, a throw-away key as nothing."""
    put(path, GOOD)
    assert GOOD[:-1] not in pickle.dumps(KeyFile(str(path)))
    assert pickle.loads(pickle.dumps(ThrowAway())) == ThrowAway()  # noqa: S301 - our own bytes


def test_throw_away_secrets_differ() -> None:
    """Each draw is a new secret, in the form that key files have."""
    one, two = ThrowAway().secret(), Secret.draw()
    assert one.password != two.password
    assert re.fullmatch(rb"[0-9a-f]{64}", one.password)


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_core_dump_has_the_secret(path: Path, tmp_path: Path, backend: str, raised: bool) -> None:
    """A command that crashes while it encrypts leaves no core dump, and neither does its openssl.

    Where the limit is raised meanwhile, or does not count, the core dump has no memory.
    """
    put(path, GOOD)
    where = tmp_path / "where"
    where.mkdir()
    environment = clean_environment() | {"THREADMILL_HOME": str(tmp_path / "home"), "THREADMILL_KEY_FILE": str(path)}
    command = subprocess.Popen(
        [*DUMPING, BIN / "threadmill", "encrypt", "-", "--backend", backend],
        cwd=where, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert command.stdin is not None
    with command, command.stdin as stdin:
        os.write(stdin.fileno(), b"1")
        wait_until(lambda: not waiting_bytes(stdin.fileno()), "the payload is not read")
        stages = children(command.pid)
        assert bool(stages) == (backend == "openssl")
        os.kill(command.pid, signal.SIGSTOP)
        for pid in (*stages, command.pid):
            assert core_limit(pid) in ("0", "1")
            if raised:
                hard = resource.prlimit(pid, resource.RLIMIT_CORE)[1]
                resource.prlimit(pid, resource.RLIMIT_CORE, (hard, hard))
            os.kill(pid, signal.SIGSEGV)
            os.kill(pid, signal.SIGCONT)
            wait_until(partial(is_gone, pid), "does not end")
            for core in where.iterdir():
                assert raised
                assert GOOD[:-1] not in core.read_bytes()
                core.unlink()
    assert command.returncode == -signal.SIGSEGV


def test_without_a_secret_there_is_a_core_dump(tmp_path: Path) -> None:
    """The test before this one sees a core dump where there is one."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"core dumps of this host go elsewhere: {pattern.strip()}")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("the hard limit of core dumps is 0 here")
    abort = f"import os; held = bytes({list(GOOD[:-1])}); os.abort()"
    ended = subprocess.run(
        [*DUMPING, sys.executable, "-c", abort], cwd=tmp_path, stderr=subprocess.DEVNULL, check=False
    )
    assert ended.returncode == -signal.SIGABRT
    (core,) = tmp_path.iterdir()
    assert GOOD[:-1] in core.read_bytes()


def waiting_bytes(pipe: int) -> int:
    """The number of bytes that nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def core_limit(pid: int) -> str:
    """The largest core dump of a process, in bytes."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    return line.split()[4]
