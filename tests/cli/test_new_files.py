"""Files that commands make for a user: for the owner only, whole or not there, and never somebody else's."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from db.backup import new_file, new_folder
from db.errors import NotReplaced, NotWritten
from tests.support.commands import BIN, Command, clean_environment
from tests.support.in_process import run_in_process

# Nobody's; root is the worst victim, since the kernel lets it do anything.
OTHER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the files of another user")

# A command that writes a file, which is the last argument.
REPORT = ("report", "--run", "1", "--output")
BACKUP = ("db", "backup", "--overwrite")
NEW = {
    "backup": ("db", "backup"),
    "csv": ("export", "--output"),
    "sqlite": ("export", "--format", "sqlite", "--output"),
    "some": ("export", "--format", "sqlite", "--since", "2020-01-01", "--output"),
    "key": ("keygen",),
}
REPLACING = {"report": REPORT, "backup over": BACKUP}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run on record; the commands of most tests here only read it."""
    folder = tmp_path_factory.mktemp("recorded")
    environment = clean_environment() | {"THREADMILL_HOME": str(folder / "home")}
    assert run_in_process(("encrypt", "--random", "10x1"), environment, folder).returncode == 0
    return folder / "home"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder in which every user may make files, and remove no other's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file of the victim, to which another user would lead the command."""
    path = tmp_path / "precious"
    path.write_text("precious\n")
    path.chmod(0o644)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def facts(folder: Path) -> dict[str, tuple[int, int, int, float]]:
    """What stands in a folder, and whether it is as it was."""
    found = {}
    for path in folder.iterdir():
        status = path.lstat()
        found[path.name] = (status.st_ino, status.st_mode, status.st_uid, status.st_mtime)
    return found


def _chain(place: Path, precious: Path) -> None:
    place.with_name("second").symlink_to(precious)
    place.symlink_to("second")


def _hard_link(place: Path, _precious: Path) -> None:
    place.with_name("other").write_text("mine\n")
    place.hardlink_to(place.with_name("other"))


PLANTED: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda place, precious: os.symlink(precious, place),
    "dangling link": lambda place, precious: os.symlink(precious.with_name("new"), place),
    "relative link": lambda place, precious: os.symlink(f"../{precious.name}", place),
    "chain of links": _chain,
    "pipe": lambda place, _: os.mkfifo(place, 0o666),
    "file": lambda place, _: place.write_text("mine\n"),
    "hard link": _hard_link,
    "folder": lambda place, _: place.mkdir(),
}


@needs_root
@pytest.mark.parametrize("what", PLANTED)
@pytest.mark.parametrize("command", [*NEW, *REPLACING])
def test_nothing_of_another_user_is_written_or_removed(
    threadmill: Command, shared: Path, precious: Path, command: str, what: str
) -> None:
    """Whatever was laid in the way is refused in one line, and stays."""
    place = shared / "x.html"
    PLANTED[what](place, precious)
    for path in shared.iterdir():
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
    before = facts(shared)
    result = threadmill(*(NEW | REPLACING)[command], str(place))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert facts(shared) == before
    assert precious.read_text() == "precious\n"
    assert {path.name for path in precious.parent.iterdir()} == {"shared", "precious"}


@pytest.mark.parametrize("mask", [0, 0o077])
@pytest.mark.parametrize("command", [*NEW, *REPLACING])
def test_files_are_for_their_owner(threadmill_process: Command, tmp_path: Path, command: str, mask: int) -> None:
    """Whatever the umask says; planted names of the usual temporary files are left alone."""
    folder = tmp_path / "out"
    folder.mkdir()
    victim = tmp_path / "precious"
    victim.write_text("precious\n")
    for suffix in (".part", ".tmp", ".new", "~"):
        (folder / f"x{suffix}").symlink_to(victim)
    before = facts(folder)
    result = threadmill_process(*(NEW | REPLACING)[command], str(folder / "x"), umask=mask)
    assert (result.returncode, result.stderr) == (0, "")
    made = folder / "x"
    assert mode(made) == (0o700 if made.is_dir() else 0o600)
    assert all(mode(path) == 0o600 for path in made.glob("*"))
    assert {name: fact for name, fact in facts(folder).items() if name != "x"} == before
    assert victim.read_text() == "precious\n"


@pytest.mark.parametrize("command", REPLACING)
def test_a_file_that_is_replaced_hands_on_its_mode(threadmill: Command, tmp_path: Path, command: str) -> None:
    """It is the owner's wish; but a file with another name may have got this one from anybody."""
    place = tmp_path / "x"
    for wish in (0o644, 0o640, 0o400):
        place.write_text("older\n")
        place.chmod(wish)
        assert threadmill(*REPLACING[command], str(place)).returncode == 0
        assert (mode(place), place.stat().st_size > len("older\n")) == (wish, True)
        place.unlink()
    (tmp_path / "other").write_text("other\n")
    (tmp_path / "other").chmod(0o644)
    os.link(tmp_path / "other", place)
    assert threadmill(*REPLACING[command], str(place)).returncode == 0
    assert (mode(place), (tmp_path / "other").read_text()) == (0o600, "other\n")


@pytest.mark.parametrize("target", ["there", "not yet"])
@pytest.mark.parametrize("command", REPLACING)
def test_a_link_of_ones_own_stays(threadmill: Command, tmp_path: Path, command: str, target: str) -> None:
    """The file that it leads to is written."""
    (tmp_path / "site").mkdir()
    page = tmp_path / "site" / "page"
    if target == "there":
        page.write_text("older\n")
    (tmp_path / "x").symlink_to("second")
    (tmp_path / "second").symlink_to("site/page")
    assert threadmill(*REPLACING[command], "x").returncode == 0
    assert (tmp_path / "x").readlink() == Path("second")
    assert page.stat().st_size > len("older\n")
    assert [path.name for path in page.parent.iterdir()] == ["page"]
    (tmp_path / "ring").symlink_to("ring")
    refused = threadmill(*REPLACING[command], "ring")
    assert (refused.returncode, refused.stderr) == (2, "threadmill: ring is a link that leads to itself\n")


@pytest.mark.parametrize(
    ("output", "kind"), [("-", "file"), ("/dev/stdout", "file"), ("/dev/stdout", "pipe"), ("link", "file")]
)
def test_a_report_goes_to_standard_output(
    threadmill: Command, environment: dict[str, str], tmp_path: Path, output: str, kind: str
) -> None:
    """It is the page alone, after what was written there before."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    script = f"exec >out; echo before; {BIN}/threadmill report --run 1 --output {output}; echo after"
    if kind == "pipe":
        script = f"(echo before; {BIN}/threadmill report --run 1 --output {output}; echo after) | cat >out"
    done = subprocess.run(
        ["sh", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = (tmp_path / "out").read_text().splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("before", "<!DOCTYPE html>", "</html>", "after")
    assert (done.stdout, done.stderr) == ("", f"wrote {output}\n")
    assert (tmp_path / "link").is_symlink()
    assert os.path.islink("/dev/stdout")


def test_no_file_takes_the_place_of_a_device(threadmill: Command, tmp_path: Path) -> None:
    """A page may go to /dev/null; a database is not written to a stream; a full device is a fault, not a refusal."""
    assert threadmill("report", "-o", "/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    full = threadmill("report", "-o", "/dev/full")
    assert (full.returncode, full.stderr.count("\n")) == (1, 1)
    for place in ("/dev/stdout", "/dev/null", "-"):
        for command in (BACKUP, *(NEW[name] for name in ("backup", "csv", "sqlite", "some"))):
            refused = threadmill(*command, place)
            assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [new_file, new_folder])
@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError(28, "No space left on device"), None])
def test_nothing_half_written_is_left(tmp_path: Path, make: Callable[..., object], end: BaseException | None) -> None:
    """After an interruption, after an error, and if something has come to the place in the meantime."""

    def write() -> None:
        with make(str(tmp_path / "x")) as part:  # type: ignore[attr-defined]
            inside = Path(part, "half") if os.path.isdir(part) else Path(part)
            inside.write_text("half")
            assert [path.name[:12] for path in tmp_path.iterdir()] == [".threadmill-"]
            if end is not None:
                raise end
            (tmp_path / "x").mkdir()
            (tmp_path / "x" / "mine").write_text("mine")

    with pytest.raises((KeyboardInterrupt, NotWritten, NotReplaced)):
        write()
    assert [path.name for path in tmp_path.rglob("*")] == ([] if end else ["x", "mine"])


def test_a_folder_that_is_exchanged_gets_nothing(tmp_path: Path) -> None:
    """Where others may rename what they like, a folder with a link does not take the place of the temporary one."""
    (tmp_path / "precious").write_text("precious\n")

    def write() -> None:
        with new_file(str(tmp_path / "x")) as part:
            (hidden,) = tmp_path.glob(".threadmill-*")
            hidden.rename(tmp_path / "away")
            hidden.mkdir()
            # All that can be known of the name.
            (hidden / os.path.basename(part)).symlink_to(tmp_path / "precious")
            with pytest.raises(FileNotFoundError):
                os.open(part, os.O_WRONLY)

    with pytest.raises(NotWritten):
        write()
    assert (tmp_path / "precious").read_text() == "precious\n"
    assert not (tmp_path / "x").exists()


@pytest.fixture
def own_home(tmp_path: Path, environment: dict[str, str]) -> Path:
    """A home that was there before, and that others may read."""
    folder = tmp_path / "own home"
    folder.mkdir()
    folder.chmod(0o755)
    environment["THREADMILL_HOME"] = str(folder)
    return folder


def test_a_record_is_for_its_owner(threadmill_process: Command, own_home: Path) -> None:
    """Also in a folder that others may read, whatever the umask says, and while SQLite has it open."""
    seen = {}
    script = (
        "from flows.settings import load_settings\n"
        "store = load_settings().open_store()\n"
        "import os\n"
        "print(*(f'{one.name}={one.stat().st_mode & 0o777:o}' for one in os.scandir(os.environ['THREADMILL_HOME'])))\n"
    )
    opened = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"THREADMILL_HOME": str(own_home)}, umask=0,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = dict(word.split("=") for word in opened.stdout.split())
    assert seen == {"history.sqlite": "600", "history.sqlite-wal": "600", "history.sqlite-shm": "600"}
    assert threadmill_process("encrypt", "--random", "10x1", umask=0).returncode == 0
    assert {path.name: mode(path) for path in own_home.iterdir()} == {"history.sqlite": 0o600}


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o666, 0o600), (0o640, 0o640), (0o600, 0o600)])
def test_a_record_that_everybody_may_read_is_closed(
    threadmill: Command, own_home: Path, before: int, after: int
) -> None:
    """It has the mode that a umask left; a group's rights alone are the owner's wish."""
    assert threadmill("db", "upgrade").returncode == 0
    record = own_home / "history.sqlite"
    record.chmod(before)
    assert threadmill("db", "upgrade").returncode == 0
    assert (mode(record), mode(own_home)) == (after, 0o755)


def test_folders_of_a_home_are_for_their_owner(
    threadmill_process: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """Those above it, too, where they are missing."""
    environment["THREADMILL_HOME"] = str(tmp_path / "a" / "b" / "c")
    assert threadmill_process("db", "upgrade", umask=0).returncode == 0
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


WRITING = {
    "record": ("encrypt", "--random", "10x1"),
    "serve": ("serve", "--port", "1"),
    "prefect": ("encrypt", "--random", "10x1", "--via", "prefect"),
}


@pytest.mark.parametrize("writable", [0o777, 0o1777])
@pytest.mark.parametrize("command", WRITING)
def test_a_home_that_others_may_write_to_is_refused(
    threadmill: Command, own_home: Path, command: str, writable: int
) -> None:
    """Whatever is found there could be theirs: a record, or settings with code to run."""
    own_home.chmod(writable)
    refused = threadmill(*WRITING[command])
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "others may write to it" in refused.stderr
    assert list(own_home.iterdir()) == []


@needs_root
@pytest.mark.parametrize("name", ["", "prefect"])
@pytest.mark.parametrize("command", ["serve", "prefect"])
def test_code_in_the_home_of_another_user_does_not_run(
    threadmill: Command, own_home: Path, tmp_path: Path, command: str, name: str
) -> None:
    """As root meets it whose environment still has the home of the user that called `sudo`."""
    (own_home / "prefect").mkdir(mode=0o755)
    call = {"version": 1, "handlers": {"theirs": {"()": "os.system", "command": f"touch {tmp_path}/ran"}}}
    (own_home / "prefect" / "logging.yml").write_text(json.dumps(call))
    os.chown(own_home / name, OTHER, -1)
    refused = threadmill(*WRITING[command])
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "belongs to another user" in refused.stderr
    assert not (tmp_path / "ran").exists()


@needs_root
@pytest.mark.parametrize(
    ("name", "what"),
    [
        *product(("history.sqlite", "history.sqlite-wal"), ("link", "dangling link", "pipe")),
        *product(("locks/serve",), ("link", "dangling link")),
    ],
)
def test_nothing_is_written_through_what_another_user_laid_there(
    threadmill: Command, own_home: Path, precious: Path, name: str, what: str
) -> None:
    """As somebody of the owner's group may have done."""
    place = own_home / name
    if place.parent != own_home:
        place.parent.mkdir(mode=0o770)
    PLANTED[what](place, precious)
    os.chown(place, OTHER, OTHER, follow_symlinks=False)
    result = threadmill(*WRITING["serve" if name == "locks/serve" else "record"])
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert precious.read_text() == "precious\n"
    assert not precious.with_name("new").exists()
