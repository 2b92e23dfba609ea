"""A second account of the host that has no rights: root's environment is readable for it, and nothing else is."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import BIN, clean_environment
from tests.support.processes import wait_until

ROOT = Path(__file__).parents[2]
PACKAGES = Path(sysconfig.get_path("purelib"))

# Replaces itself by its arguments: unlike setpriv's own, this exec is made without root's rights.
_EXEC = ("sh", "-c", 'exec "$@"', "sh")


class Account:
    """A user id that nobody has, without an entry in /etc/passwd, and a home.

    `start` are the words before a command that make it the account's, `bin` has `threadmill` and `python`, and
    `environment` is that of its commands; the test may change it.
    """

    def __init__(self, uid: int, home: Path, bin: Path) -> None:  # noqa: A002 - the folder's usual name
        self.uid = uid
        self.home = home
        self.bin = bin
        ids = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        self.start = ("setpriv", *ids, "--pdeathsig=KILL", *_EXEC)
        self.environment = {
            "HOME": str(home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "THREADMILL_HOME": str(home / "threadmill"),
        }

    def run(self, *argv: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in the home; takes what `subprocess.run` takes."""
        defaults: dict[str, Any] = {
            "capture_output": True, "text": True, "timeout": 300, "cwd": self.home, "env": self.environment,
        }  # fmt: skip
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return subprocess.run([*self.start, *argv], check=False, **(defaults | options))

    def threadmill(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command; see `run`."""
        return self.run(self.bin / "threadmill", *arguments, **options)

    def processes(self) -> list[int]:
        """Everything that the account runs."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                status = Path(f"/proc/{name}/status").read_text()
                if f"\nUid:\t{self.uid}\t" in status and "\nState:\tZ" not in status:
                    found.append(int(name))
        return found

    def kill_all(self) -> None:
        """Kill every process of the account."""

        def none_left() -> bool:
            for pid in (left := self.processes()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(none_left, f"processes of user {self.uid} cannot be killed")


def open_to_others(folder: Path) -> set[Path]:
    """All of a folder, itself included, that another user than its owner may read, list or write."""
    return {path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077 and not path.is_symlink()}


@contextmanager
def make_account(beside: Account | None = None) -> Iterator[Account]:
    """Make an account, and remove all of it afterwards; skips the test where that cannot be.

    One that is made beside another has commands from the same environment.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can run commands as another user")
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv on PATH")
    # Not below pytest's own folder, which is closed to the account.
    with tempfile.TemporaryDirectory(prefix="threadmill-account-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        account = Account(_free_uid() if beside is None else beside.uid + 20_000, folder / "home", BIN)
        account.home.mkdir(mode=0o700)
        os.chown(account.home, account.uid, account.uid)
        if beside is not None:
            account.bin = beside.bin
            account.environment["LD_LIBRARY_PATH"] = beside.environment.get("LD_LIBRARY_PATH", "")
        try:
            for packages, root in ((PACKAGES, ROOT), (folder / "packages", folder / "root")):
                if (reason := _why_unusable(account)) is None:
                    break
                account.bin = _copy_environment(folder, packages, root)
                # Of an interpreter that is a shared library.
                account.environment["LD_LIBRARY_PATH"] = str(folder / "python" / "lib")
            else:
                reason = _why_unusable(account)
            if reason:
                pytest.skip(f"another user cannot run threadmill from {account.bin}: {reason}")
            yield account
        finally:
            account.kill_all()


def _free_uid() -> int:
    """A user id without an account; two test processes at a time choose different ones."""
    used = {entry.pw_uid for entry in pwd.getpwall()}
    # Containers may have no ids above 65,535.
    return next(uid for uid in range(20_000 + os.getpid() % 20_000, 65_000) if uid not in used)


def _why_unusable(account: Account) -> str | None:
    """The error with which the environment does not work for the account."""
    tried = account.run(account.bin / "python", "-c", "import flows.cli.main")
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else None


def _copy_environment(folder: Path, packages: Path, root: Path) -> Path:
    """The `bin` of a new environment, with a copy of an interpreter that is in root's home, say.

    Another interpreter would do only if it had the very same version: packages are chosen by that. Packages are copied
    too, unless their own folder is given.
    """
    python, new = folder / "python", folder / "environment"
    if not python.exists():
        library = Path(sysconfig.get_path("stdlib"))
        unused = shutil.ignore_patterns("site-packages", "test", "config-*", "idlelib", "tkinter", "turtledemo")
        shutil.copytree(library, python / "lib" / library.name, ignore=unused)
        (python / "bin").mkdir()
        original = shutil.copy2(os.path.realpath(sys.executable), python / "bin" / library.name)
        for shared in Path(sysconfig.get_config_var("LIBDIR")).glob("libpython*.so*"):
            shutil.copy2(shared, python / "lib")
        subprocess.run([original, "-m", "venv", "--without-pip", new], check=True, env=clean_environment())
    if packages != PACKAGES:
        shutil.copytree(PACKAGES, packages, copy_function=_link)
        for name in ("flows", "tasks", "db"):
            shutil.copytree(ROOT / name, root / name, copy_function=_link)
        _link(str(ROOT / "prefect.yaml"), str(root / "prefect.yaml"))
    (site,) = new.glob("lib/*/site-packages")
    (site / "threadmill.pth").write_text(f"{root}\nimport site; site.addsitedir({str(packages)!r})\n")
    _, _, program = (BIN / "threadmill").read_text().partition("\n")
    (new / "bin" / "threadmill").write_text(f"#!{new / 'bin' / 'python'}\n{program}")
    (new / "bin" / "threadmill").chmod(0o755)
    return new / "bin"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
