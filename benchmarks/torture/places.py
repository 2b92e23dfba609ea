"""Trees, vaults of them, and what is done with those: by the command, or by the same job in this process."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from db.history import History
from db.rows import NewRun
from db.store import Store
from flows.jobs.identity import adopt
from flows.jobs.keep import keeping_job
from flows.jobs.parameters import EncryptFiles, RestoreFiles, VerifyVault
from flows.jobs.restore import restoration_job
from flows.jobs.run import DirectRunner, Job, MoreDone, OpenRun, PlannedWork, Tools
from flows.jobs.upkeep import verification_job
from flows.settings import Settings
from tasks.cancel import CancelToken
from tasks.crypto.secret import KeyFile, write_key_file
from tasks.vault.named import NamedObjects
from tasks.vault.vault import init_vault, open_vault
from tasks.vault.verify import inspect

BIN = Path(sys.executable).parent
NEVER = CancelToken()
MODES = (0o644, 0o600, 0o755, 0o444, 0o4755, 0o666)


class Silent:
    """A reporter that says nothing: a torture is told by what it finds."""

    def planned(self, work: PlannedWork) -> None:
        """Say nothing."""

    def started(self, run_id: int) -> None:
        """Say nothing."""

    def progressed(self, more: MoreDone) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Place:
    """A tree, its vault, the record and the key file, each somewhere."""

    tree: Path
    vault: Path
    home: Path
    key: Path

    @classmethod
    def below(cls, folder: Path) -> Place:
        """An empty tree and a new key."""
        place = cls(folder / "tree", folder / "vault", folder / "home", folder / "key")
        place.tree.mkdir(parents=True)
        write_key_file(str(place.key))
        place.make_vault()
        return place

    def make_vault(self) -> None:
        """An empty vault."""
        init_vault(str(self.vault), KeyFile(str(self.key)).secret())

    def copy(self, folder: Path, copy: Callable[[str, str], object] = os.link) -> Place:
        """The same tree with a vault and a record of its own; objects and snapshots are never written to again."""
        other = Place(self.tree, folder / "vault", folder / "home", self.key)
        with suppress(FileNotFoundError):
            (self.vault / "lock").unlink()
        if self.vault.exists():
            shutil.copytree(self.vault, other.vault, copy_function=copy, dirs_exist_ok=True)
        if self.home.exists():
            shutil.copytree(self.home, other.home)
            with closing(Store(other.url)) as store, closing(History(other.url)) as history:
                adopt(str(other.vault), KeyFile(str(self.key)).secret(), history, store)
        return other

    @property
    def options(self) -> list[str]:
        """Of every command on the vault."""
        return ["--vault", str(self.vault), "--key-file", str(self.key)]

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [str(BIN / "threadmill"), *arguments, *self.options]

    @property
    def environment(self) -> dict[str, str]:
        """What commands see."""
        rest = {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "PREFECT_"))}
        return rest | {"THREADMILL_HOME": str(self.home)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """A command, to its end."""
        return subprocess.run(
            self.command(*arguments), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )

    @property
    def url(self) -> str:
        """The record."""
        return f"sqlite:///{self.home / 'history.sqlite'}"

    @property
    def settings(self) -> Settings:
        """What is in force for a job on the vault."""
        return Settings(home=str(self.home), vault=str(self.vault), key_file=str(self.key), jobs=1)

    def job(self, flow: str, job: Job) -> OpenRun:
        """The same without the start of an interpreter: the run, recorded and closed."""
        with closing(Store(self.url)) as store, closing(History(self.url)) as history:
            tools = Tools(store, history, DirectRunner(1), Silent(), CancelToken())
            return job(NewRun(flow, "direct", {}, "torture"), tools)

    def keep(self) -> None:
        """Put the tree into the vault."""
        opened = self.job("encrypt_files", keeping_job(EncryptFiles(paths=(str(self.tree),)), self.settings))
        assert opened.exit_code == 0, opened.message

    def verified(self) -> str:
        """What a whole verify, held against the record, has to say; empty if there is no fault."""
        opened = self.job("verify_vault", verification_job(VerifyVault(), self.settings))
        return opened.message if opened.exit_code else ""

    def restored(self, target: Path, snapshot: str = "latest") -> str:
        """Restore a snapshot; the faults of that, and empty if there is none."""
        job = restoration_job(RestoreFiles(snapshot=snapshot, target=str(target)), self.settings)
        opened = self.job("restore_files", job)
        return opened.message if opened.exit_code else ""

    def kept_otherwise(self) -> str:
        """What is different in the tree once it has been restored; empty if nothing is."""
        with scratch() as target:
            return self.restored(target) or difference(self.tree, target)

    def unnamed(self) -> int:
        """How many objects no snapshot names."""
        vault = open_vault(str(self.vault), KeyFile(str(self.key)).secret())
        with NamedObjects(vault) as objects:
            list(inspect(vault, objects, None, NEVER))
            objects.list_all()
            return objects.unnamed()[0]


def grow(tree: Path, draw: random.Random, files: int, large: int = 0) -> None:
    """Put a folder of small files, some `large` ones of 2 MiB, links and an empty folder into a tree."""
    number = len(os.listdir(tree))
    folder = tree / f"{number} \udcff" / "below"
    folder.mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    (folder / "link").symlink_to(f"{draw.randrange(files)}")
    (folder / "nowhere").symlink_to("/no/such/file")
    for name in range(files):
        path = folder / str(name)
        path.write_bytes(draw.randbytes(2 << 20 if name < large else draw.randrange(6000)))
        path.chmod(draw.choice(MODES))
    folder.chmod(0o750)


def half_restored(tree: Path, target: Path) -> str:
    """A file of the target that is under its name, and not what it is to be."""
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".threadmill-"):
            source = tree / path.relative_to(f"{target}{tree}")
            if path.read_bytes() != source.read_bytes():
                return f"half restored: {path}"
    return ""


def difference(tree: Path, target: Path) -> str:
    """What `diff -r` says, and then the modes and times of files and folders; setuid bits are not restored."""
    said = subprocess.run(
        ["diff", "-r", "--no-dereference", tree, f"{target}{tree}"], capture_output=True, text=True, check=False
    )
    return said.stdout + said.stderr or _facts_differ(tree, target)


def _facts_differ(tree: Path, target: Path) -> str:
    for path in (tree, *tree.rglob("*")):
        was, now = path.lstat(), Path(f"{target}{path}").lstat()
        mode = was.st_mode if path.is_symlink() else was.st_mode & ~0o6000
        if (mode, was.st_mtime_ns) != (now.st_mode, now.st_mtime_ns):
            return f"mode or time differs: {path!r}"
    return ""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a moment."""
    with tempfile.TemporaryDirectory(prefix="threadmill-torture-", dir=memory()) as folder:
        yield Path(folder)


def memory() -> str | None:
    """Where what needs no disk is done: there is nothing to wait for in /dev/shm."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - below it in folders of our own


def may_mount(folder: Path) -> bool:
    """Whether this process may: root can, unless it is in a container without the right."""
    try:
        with disk(folder, 1 << 20):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size at a folder, empty at first."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=755", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
