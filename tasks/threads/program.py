"""The measured program as the parent sees it: where its source is, and what version that makes."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "measured"


@dataclass(frozen=True, slots=True)
class Program:
    """The folder that holds the package `measured`."""

    folder: Path

    @property
    def version(self) -> str:
        """SHA-256 over names and contents of its source files, hex."""
        return _source_digest(self.folder)

    def arguments(self, lifeline: int) -> list[str]:
        """What follows the interpreter: isolated, without site, and never as `__main__`.

        The folder comes last on the path, so that nothing in it can hide a standard module.
        """
        boot = f"import sys; sys.path.append(sys.argv[2]); from {PACKAGE}.program import main; main(int(sys.argv[1]))"
        return ["-I", "-S", "-c", boot, str(lifeline), str(self.folder)]


@cache
def _source_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((folder / PACKAGE).glob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


MEASURED = Program(Path(__file__).resolve().parent)
