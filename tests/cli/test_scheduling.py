"""The lines of docs/scheduling.md as cron and systemd run them: a mail comes exactly if something needs attention."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.commands import BIN, Command

DOCUMENT = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text()
CRONTAB = next(one for one in re.findall(r"^```text\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL) if "MAILTO" in one)
UNITS = re.findall(r"^```ini\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
LINES = [line for line in CRONTAB.splitlines() if line[0].isdigit()]
INSTALLED = "/opt/threadmill/.venv/bin"


@dataclass(frozen=True)
class Cron:
    """A machine with the crontab: its key file, its vault and its documents are in a folder."""

    folder: Path

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    def mail(self, command: str) -> tuple[str, int]:
        """What cron would mail of the line of a command, and its exit code."""
        own = {
            INSTALLED: str(BIN),
            "/etc/threadmill/key": str(self.folder / "key"),
            "/mnt/vault": str(self.folder / "vault"),
            "/srv/documents": str(self.documents),
        }
        text = CRONTAB
        for path, instead in own.items():
            assert path in text
            text = text.replace(path, instead)
        # As cron(8) does it: five fields of time, then the command for the shell; a percent sign would end it.
        environment = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
        (line,) = re.findall(rf"^(?:\S+ +){{5}}(threadmill {command}\b[^%\n]*)$", text, re.MULTILINE)
        ended = subprocess.run(
            ["/bin/sh", "-c", line],
            env={"HOME": str(self.folder), "SHELL": "/bin/sh"} | environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.stdout, ended.returncode


@pytest.fixture
def cron(threadmill: Command, tmp_path: Path, key_file: Path) -> Cron:
    """The first night was a good one."""
    machine = Cron(tmp_path)
    machine.documents.mkdir()
    (machine.documents / "letter").write_text("dear reader")
    for number in range(5):
        (machine.documents / f"{number}").write_text(f"{number}")
    assert threadmill("vault", "init", "vault").returncode == 0
    assert machine.mail("encrypt") == ("", 0)
    return machine


def test_good_nights_send_no_mail(cron: Cron) -> None:
    """Each line in turn, with and without something new, some of it skipped."""
    for name in ("one", "two", ""):
        if name:
            (cron.documents / name).write_text(name)
        (cron.documents / f"link {name}").symlink_to("nowhere")
        for line in LINES:
            assert cron.mail(line.split()[6]) == ("", 0), line


@contextmanager
def unreadable(cron: Cron) -> Iterator[None]:
    """A folder whose content has paths that are too long, which keeps root out too."""
    (cron.documents / "letter").write_text("changed")
    top = cron.documents / "deep"
    top.mkdir()
    where = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=where)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    yield
    shutil.rmtree(top)


@contextmanager
def moved(path: Path) -> Iterator[None]:
    away = path.with_name("away")
    shutil.move(path, away)
    yield
    shutil.move(away, path)


@contextmanager
def another_key(cron: Cron) -> Iterator[None]:
    with moved(cron.folder / "key"):
        subprocess.run([BIN / "threadmill", "keygen", cron.folder / "key", "-q"], check=True)
        yield
        (cron.folder / "key").unlink()


@contextmanager
def emptied(cron: Cron, left: int) -> Iterator[None]:
    """The folder is there, with a few of its files, or without any, as that of a disk that is not mounted."""
    with moved(cron.documents):
        cron.documents.mkdir()
        for number in range(left):
            shutil.copy2(cron.documents.with_name("away") / f"{number}", cron.documents)
        yield
        shutil.rmtree(cron.documents)


BAD_NIGHTS: dict[str, tuple[Callable[[Cron], AbstractContextManager[None]], int, str]] = {
    "failed file": (unreadable, 3, "deep"),
    "missing source": (lambda cron: moved(cron.documents), 2, "no such file or folder: {documents}"),
    "empty source": (lambda cron: emptied(cron, 0), 2, "nothing to encrypt: there are no files in {documents}"),
    "most files gone": (lambda cron: emptied(cron, 1), 3, "IN DOUBT: {documents}: 5 of 6 files gone"),
    "wrong key": (another_key, 2, "the key file is not the one that it was made with"),
    "vault not mounted": (lambda cron: moved(cron.folder / "vault"), 2, "vault {folder}/vault: is not there"),
}


@pytest.mark.parametrize("night", BAD_NIGHTS)
def test_bad_nights_send_one(cron: Cron, night: str) -> None:
    """It names what is wrong in few lines, and nothing that is well; the next good night sends none."""
    happens, code, says = BAD_NIGHTS[night]
    with happens(cron):
        mail, ended = cron.mail("encrypt")
    assert ended == code, mail
    assert says.format(folder=cron.folder, documents=cron.documents) in mail
    assert "letter" not in mail
    assert len(mail.splitlines()) == (2 if night == "failed file" else 1)
    assert cron.mail("encrypt") == ("", 0)


def test_status_sends_a_mail_where_no_night_was_good(cron: Cron) -> None:
    """By the snapshot in doubt, and where the vault is gone; the next good night ends it."""
    with emptied(cron, 1):
        cron.mail("encrypt")
    mail, code = cron.mail("status")
    assert (code, "needs attention" in mail, "is in doubt" in mail) == (1, True, True)
    assert cron.mail("encrypt") == ("", 0)
    assert cron.mail("status") == ("", 0)
    with moved(cron.folder / "vault"):
        mail, code = cron.mail("status")
    assert (code, f"needs attention: vault {cron.folder}/vault: is not there" in mail) == (1, True)


@pytest.mark.parametrize("unit", UNITS, ids=["serve", "server", "worker"])
def test_units_are_as_systemd_wants_them(unit: str, tmp_path: Path) -> None:
    """With the programs where they are here; the commands know their options."""
    unit = unit.replace(INSTALLED, str(BIN))
    (started,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    words = started.split()
    shown = subprocess.run(
        [*(word for word in words if not word.startswith("-") and not word[0].isdigit()), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(word in shown.stdout for word in words if word.startswith("--")), shown
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    path = tmp_path / "threadmill-test.service"
    path.write_text(unit)
    verified = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
