"""Cases in which something could go missing in silence, played by real commands, and the table of what came of it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.torture.places import BIN, Place

HEAD = "| case | command | exit | what it says | what is kept |\n| --- | --- | --- | --- | --- |"
# A process of root reads everything, unless it gives this away.
_AS_A_PLAIN_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
# What differs from run to run.
_VARYING = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{16}"), "SNAPSHOT"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"TIME [+-]\d{4}\b"), "TIME ZONE"),
    (re.compile(r"\b[\d,]+(\.\d+)? (B|[KMG]iB)\b"), "SIZE"),
    (re.compile(r"\b[\d,]+(\.\d+)? ([µm]?s)\b"), "SPAN"),
    (re.compile(r"\brun \d+\b"), "run N"),
    (re.compile(r"\b\d+ minutes? ago\b"), "N minutes ago"),
    (re.compile(r"\s+"), " "),
)
Command = subprocess.CompletedProcess[str]


@dataclass
class Told:
    """A line of the table: what a command said and kept, and what of it is `wrong`."""

    case: str
    command: str
    exit_code: int
    said: str
    kept: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """As a line of a table in Markdown."""
        cells = (
            self.case,
            _code(self.command),
            str(self.exit_code),
            _code(self.said) or "nothing",
            "; ".join(self.kept),
        )
        return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`" if text else ""


@dataclass
class Scene:
    """A place below a folder of its own, the case that is played there, and what was told so far."""

    folder: Path
    place: Place
    case: str = ""
    told: list[Told] = field(default_factory=list)

    @classmethod
    def below(cls, folder: Path) -> Scene:
        """An empty tree, a new key, and an empty vault."""
        return cls(folder, Place.below(folder))

    @property
    def tree(self) -> Path:
        """The folder that is encrypted."""
        return self.place.tree

    def put(self, *names: str, content: str = "") -> Path:
        """Write files of the tree; the path of the last one."""
        for name in names:
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content or f"{name}\n")
        return path

    def run(self, *arguments: str | Path, privileged: bool = True, vault: str | Path | None = None) -> Command:
        """A command, to its end; as a plain user if not `privileged`."""
        wrapper = () if privileged or os.geteuid() else _AS_A_PLAIN_USER
        command = [*wrapper, str(BIN / "threadmill"), *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment(vault), stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True,
            errors="surrogateescape",
        )  # fmt: skip

    def environment(self, vault: str | Path | None = None) -> dict[str, str]:
        """What a command sees."""
        named = {"THREADMILL_VAULT": str(self.place.vault if vault is None else vault)}
        return self.place.environment | named | {"THREADMILL_KEY_FILE": str(self.place.key)}

    def good(self, *arguments: str | Path) -> str:
        """What a command prints that has to end well for the case to go on."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, f"{arguments}: {ended.returncode} {ended.stdout}{ended.stderr}"
        return ended.stdout

    def tell(
        self, exits: int, says: str, *arguments: str | Path, privileged: bool = True, vault: str | Path | None = None
    ) -> None:
        """Run a command, and hold its exit code and its output against what is right.

        `says` is a regular expression, and empty if nothing is to be said; the first line that has it is shown.
        A problem belongs on standard error.
        """
        ended = self.run(*arguments, privileged=privileged, vault=vault)
        command = shlex.join(map(str, arguments))
        on = ended.stderr if exits else ended.stdout + ended.stderr
        lines = [self._plain(line) for line in on.splitlines()]
        told = Told(self.case, self._plain(command), ended.returncode, "")
        self.told.append(told)
        if ended.returncode != exits:
            told.wrong.append(f"exit code {ended.returncode}, not {exits}")
        if says:
            told.said = next((line for line in lines if re.search(says, line)), "")
            told.wrong += [] if told.said else [f"it does not say {says!r}"]
        elif ended.stdout or ended.stderr:
            told.wrong.append("it says something")
        if told.wrong:
            told.wrong += [self._plain(line) for line in (ended.stdout + ended.stderr).splitlines()]

    def keeps(self, what: str, holds: bool) -> None:
        """Say of the last command what it kept, if that is so."""
        self.told[-1].kept.append(what)
        self.told[-1].wrong += [] if holds else [f"it does not hold: {what}"]

    def _plain(self, line: str) -> str:
        line = re.sub("/?" + re.escape(str(self.folder)[1:]), "", line)
        for varying, plain in _VARYING:
            line = varying.sub(plain, line)
        return line.strip("│┃ ")

    def contents(self, snapshot: str = "latest") -> dict[str, str]:
        """What the files of a snapshot come back with, by their path below the tree."""
        target = self.folder / f"contents {len(self.told)} {snapshot}"
        assert not (fault := self.place.restored(target, snapshot)), fault
        base = Path(f"{target}{self.tree}")
        found = (path for path in base.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(base)): path.read_text(errors="surrogateescape") for path in found}

    def whole(self) -> bool:
        """Whether verify finds no fault."""
        return not self.place.verified()

    def snapshots(self) -> list[str]:
        """The names of all, the oldest first."""
        return sorted(os.listdir(self.place.vault / "snapshots"))


@contextmanager
def mounted(disk: Path, folder: Path) -> Iterator[None]:
    """A folder that stands for a disk, mounted at another one."""
    for path in (disk, folder):
        path.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", disk, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def busy(path: Path) -> Iterator[None]:
    """A file that is written to all the time; reading it takes longer than a tick of the clock of time stamps."""
    ended = threading.Event()
    path.write_bytes(b"busy\n" * 5_000_000)

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            while not ended.wait(0.0005):
                file.seek(0)
                file.write(os.urandom(4).hex().encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def tell(cases: Sequence[Callable[[Scene], None]], folder: Path, lanes: int) -> Iterator[Told]:
    """Line after line of the table."""

    def play(case: Callable[[Scene], None]) -> list[Told]:
        scene = Scene.below(folder / case.__name__)
        try:
            case(scene)
        except Exception as error:  # noqa: BLE001 - the other cases go on
            scene.told.append(Told(scene.case, "", -1, "", wrong=[f"{case.__name__} cannot go on: {error!r}"]))
        return scene.told

    with ThreadPoolExecutor(lanes) as pool:
        for told in pool.map(play, cases):
            yield from told
