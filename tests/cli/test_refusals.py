"""What the command refuses: the command line, what it says in its one line, and its exit code."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.commands import clean_environment
from tests.support.example_record import example
from tests.support.in_process import run_in_process
from tests.support.vaults import settle

Refusals = Sequence[tuple[str, str, int]]

# For a user who has recorded nothing and has no key file. There are a file `tree/letter`, a folder `nothing` with
# nothing in it, `full/thing`, and key files that are none: `words`, and `open`, which others may read.
AT_FIRST: Refusals = (
    ("no-such-command", "no-such-command", 2),
    ("encrypt", "name files or folders", 2),
    ("encrypt /does/not/exist", "no such file or folder: /does/not/exist", 2),
    ("encrypt tree", "threadmill keygen", 2),
    ("encrypt tree --key-file missing", "no such file", 2),
    ("encrypt tree --key-file words", "not what `threadmill keygen` writes", 2),
    ("encrypt tree --key-file open", "run: chmod 600", 2),
    ("encrypt --random 100", "SIZExCOUNT", 2),
    ("encrypt --random 2GiBx1", "at most 1 GiB", 2),
    ("encrypt --random 1x0", "between 1 and", 2),
    (f"encrypt --random 1x{'9' * 5000}", "SIZExCOUNT", 2),
    (f"encrypt --random {'9' * 5000}KiBx1", "SIZExCOUNT", 2),
    # Not what they hold is to blame, but what they are.
    *((f"encrypt tree --key-file {path}", "cannot be read: Input/output error", 2) for path in ("/proc/self/mem",)),
    *((f"encrypt tree --key-file {path}", "is not a regular file", 2) for path in ("/dev/zero", "full", "/dev/stdin")),
    ("encrypt tree --key-file /proc/self/environ", "not what `threadmill keygen` writes", 2),
    ("encrypt --random 1x1 --suite rot13", "unknown suite 'rot13'", 2),
    ("encrypt --random 1x1 --backend gpg", "unknown backend 'gpg'", 2),
    ("encrypt --random 1x1 --jobs 0", "--jobs is between", 2),
    ("encrypt --random 1x1 --via post", "--via is prefect or direct", 2),
    ("encrypt --random 1x1 /tmp", "not both", 2),
    ("encrypt --no-such-option", "--no-such-option", 2),
    ("encrypt --jobs many --random 1x1", "--jobs", 2),
    ("encrypt --jobs 1.5 --random 1x1", "--jobs takes a whole number, not '1.5'", 2),
    ("check /does/not/exist", "no such file or folder", 2),
    ("vault init vault", "files need a key file", 2),
    ("keygen /does/not/exist/key", "cannot be written", 2),
    ("experiment rac", "unknown experiment 'rac'; there are: speedup, race, ceiling", 2),
    ("experiment race --guard hope", "unknown guard 'hope'", 2),
    ("experiment race --shape round", "unknown shape 'round'", 2),
    ("experiment speedup --workload mine", "unknown workload 'mine'", 2),
    ("experiment speedup --executor gpu", "unknown executor 'gpu'", 2),
    ("experiment race --workers 0", "--workers", 2),
    (f"experiment race --workers {'9' * 5000}", "--workers are numbers from 1 to", 2),
    ("experiment race --rounds 0", "--rounds", 2),
    ("experiment race --rounds 0x10", "--rounds takes a whole number", 2),
    (f"experiment race --seed {'9' * 5000}", "is too large", 2),
    ("experiment race --python 1.5", "Python 1.5 cannot be used: it is not on this host", 2),
    ("experiment race --python /bin/false", "/bin/false", 2),
    ("explore --port 80.5", "--port takes a whole number", 2),
    ("export --format xml", "--format is csv or sqlite, not 'xml'", 2),
    ("history show 77", "nothing is recorded", 2),
    ("history show latest", "nothing is recorded", 2),
    ("history runs --since soon", "is not a time", 2),
    *((f"report --until {time}", "is not a time", 2) for time in ("0001-01-01", "9999-12-31")),
    *((f"history runs --since {time}", "is not a time", 2) for time in ("0001-01-01", "9999-12-31", "9" * 5000 + "d")),
    ("history runs --limit 0", "--limit", 2),
    ("report --run 1 --since 2026-09-01 --until 2026-10-31", "--since and --until do not go with it", 2),
    ("status --proof-age 30", "an age is a number of minutes, hours, days or weeks: 30m", 2),
    ("status --snapshot-age -5d", "--snapshot-age '-5d': an age is a number of minutes, hours, days or weeks", 2),
    ("status --snapshot-age=0m", "an age is", 2),
    ("status --snapshot-age 2d", "ages are those of a vault", 2),
    ("status --only-vault", "which vault? give --vault DIR or set THREADMILL_VAULT", 2),
    ("verify", "which vault? give --vault DIR or set THREADMILL_VAULT", 2),
)

# For one who has a key file, and has named a vault that is not there yet.
WITHOUT_VAULT: Refusals = (
    ("encrypt nothing", "is not there; `threadmill vault init DIR` makes one", 2),
    ("encrypt tree --dry-run", "is not there; `threadmill vault init DIR` makes one", 2),
    ("encrypt missing", "no such file", 2),
    ("encrypt tree --vault full", "is no vault; `threadmill vault init DIR` makes one", 2),
    ("encrypt tree --vault nothing", "is no vault; `threadmill vault init DIR` makes one", 2),
    ("encrypt tree --vault no/where", "is not there; `threadmill vault init DIR` makes one", 2),
    ("vault init full", "in a folder that is empty or not there", 2),
    ("vault init full/thing", "is not a folder", 2),
    ("vault init no/where", "folder above it is not there", 2),
    ("vault init vault --key-file words", "not what `threadmill keygen` writes", 2),
    ("vault init ''", "a path is empty", 2),
    ("vault init", "FOLDER requires an argument", 2),
    ("vault init vault --salts", "--salts", 2),
    ("encrypt tree --suite classic", "suite modern only", 2),
    ("encrypt tree --exclude !", "--exclude", 2),
    ("encrypt tree --exclude /usr/lib/*", "--exclude: /usr/lib/* lies below none of the paths", 2),
    ("encrypt tree --discard --rehash", "--rehash", 2),
    ("encrypt full --vault .", "in the vault itself", 2),
    ("encrypt --random 10x1 --vault vault", "files and folders", 2),
    ("verify", "is not there", 2),
    ("verify --sample 5000", "'5000' is neither a percentage nor a size; write 10% or 5GB", 2),
    ("verify --sample 0%", "'0%' is neither a percentage nor a size", 2),
    ("verify --sample 0.00GB", "'0.00GB' is neither a percentage nor a size", 2),
    ("verify --sample=-5%", "'-5%' is neither a percentage nor a size", 2),
    ("verify --sample 5QB", "'5QB' is neither a percentage nor a size", 2),
    ("verify --sample 5% --snapshots", "give one of the two", 2),
    ("prune", "keep nothing", 2),
    ("prune --keep-last 0.6", "--keep-last takes a whole number, not '0.6'", 2),
    ("prune --keep-daily -1", "at least 0", 2),
    ("restore latest target", "is not there", 2),
    # `--vault "$UNSET"` is no wish to keep nothing, nor to use what the environment names.
    *(
        (f"{command} {option} ''", f"{option} is empty", 2)
        for command in ("encrypt tree", "verify", "snapshots", "status", "prune --keep-last 1")
        for option in ("--vault", "--key-file")
    ),
)

# Where that vault has a snapshot of `tree`.
WITH_VAULT: Refusals = (
    ("restore 2026 target /other/path", "not in snapshot", 2),
    ("restore 1999 target", "no snapshot begins with", 2),
    ("restore latest full/thing", "target", 2),
    ("restore latest vault/objects/new", "in the vault itself", 2),
    ("restore latest target ''", "a path is empty", 2),
    ("restore latest ''", "a path is empty", 2),
    ("encrypt tree vault", "in the vault itself", 2),
    ("encrypt nothing", "there are no files in", 2),
    ("encrypt full --exclude *", "--exclude leaves all of them out", 2),
    ("encrypt full --exclude * --dry-run", "--exclude leaves all of them out", 2),
    ("vault init vault", "is a vault already", 2),
    ("cat latest tree", "is no file", 2),
    ("cat latest /other/path", "not in snapshot", 2),
    ("cat latest ''", "a path is empty", 2),
    ("keygen key", "never overwritten", 2),
)

# `history`, with the example record.
OF_HISTORY: Refusals = (
    ("samples --workload nonsense", "there are: factorize, ", 2),
    ("samples --pyperf", "one case", 2),
    ("race --guard none,latch", "unknown guard 'latch'", 2),
    ("runs --json --csv", "--json or --csv", 2),
    ("runs --since today --until yesterday", "no time between", 2),
    ("trend --suite modern --interpreter 3.11", "not both", 2),
    ("compare 3.11 12", "not of one kind", 2),
    ("compare 1 1", "are the same", 2),
    ("compare 2026-09-01..2026-09-20 2026-09-20..", "overlap", 2),
    ("compare 1 2", "no series in common", 2),
    ("verify --head abc", "64 hex digits", 2),
    ("runs --limit 99999999999999999999", "too large", 2),
    ("trend --series 99999999999999999999", "too large", 2),
    ("trend --series 1.5", "--series takes a whole number, not '1.5'", 2),
    ("runs --limit 2.5", "--limit takes a whole number", 2),
    ("payloads --run 1e3", "--run takes a whole number", 2),
    ("proofs --vault /srv/other", "no vault on record is at /srv/other", 2),
    ("snapshots --vault 0123456789", "on record: /srv/vault (", 2),
    ("proofs --vault=", "--vault is empty", 2),
)


# Refused when the plan is made, with the record open by then: it is there, and has no run.
LATE = frozenset(
    ("experiment race --python 1.5", "experiment race --python /bin/false", "encrypt nothing", "encrypt tree vault")
)


def refuse(command: str, environment: dict[str, str], folder: Path, says: str, code: int) -> None:
    """Run it: it says why in one line, records nothing and changes nothing in the folder."""
    home = Path(environment["THREADMILL_HOME"])
    before = _files(folder), _runs(home)
    result = run_in_process(tuple(shlex.split(command)), environment, folder)
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("threadmill: ")]
    assert says in line
    assert result.stderr.splitlines()[-1] == line
    assert not re.search("Traceback|password", result.stderr)
    files = _files(folder) - ({home / "history.sqlite"} - before[0] if command in LATE else set())
    assert (files, _runs(home)) == before


def _files(folder: Path) -> set[Path]:
    """All but locks, which stay, and what SQLite has beside a database while it is read."""
    found = {path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm"))}
    return found - {folder / "home", *(folder / "home").glob("locks"), *(folder / "home").glob("locks/*")}


def _runs(home: Path) -> int:
    record = home / "history.sqlite"
    if not record.exists():
        return 0
    with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM run").fetchone()[0])


def _ids(rows: Refusals) -> list[str]:
    return [command[:60] for command, _, _ in rows]


def _make_files(folder: Path) -> Path:
    for path in ("tree/letter", "full/thing"):
        (folder / path).parent.mkdir()
        (folder / path).write_text(path)
    (folder / "nothing").mkdir()
    (folder / "words").write_text("password\n")
    (folder / "words").chmod(0o600)
    (folder / "open").write_text("0" * 64 + "\n")
    (folder / "open").chmod(0o644)
    return folder


def _environment(folder: Path, *, vault: bool) -> dict[str, str]:
    more = {"THREADMILL_VAULT": str(folder / "vault"), "THREADMILL_KEY_FILE": str(folder / "key")} if vault else {}
    return clean_environment() | {"THREADMILL_HOME": str(folder / "home")} | more


@pytest.fixture(scope="module")
def without_vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = _make_files(tmp_path_factory.mktemp("without-vault"))
    assert run_in_process(("keygen", "key"), _environment(folder, vault=False), folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def with_vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = _make_files(tmp_path_factory.mktemp("with-vault"))
    settle()
    assert run_in_process(("keygen", "key"), _environment(folder, vault=False), folder).returncode == 0
    assert run_in_process(("vault", "init", "vault"), _environment(folder, vault=True), folder).returncode == 0
    assert run_in_process(("encrypt", "tree"), _environment(folder, vault=True), folder).returncode == 0
    return folder


@pytest.mark.parametrize(("command", "says", "code"), AT_FIRST, ids=_ids(AT_FIRST))
def test_refused_at_first(tmp_path: Path, command: str, says: str, code: int) -> None:
    """Nothing is recorded, and no content of a file is shown."""
    refuse(command, _environment(_make_files(tmp_path), vault=False), tmp_path, says, code)


@pytest.mark.parametrize(("command", "says", "code"), WITHOUT_VAULT, ids=_ids(WITHOUT_VAULT))
def test_refused_without_a_vault(without_vault: Path, command: str, says: str, code: int) -> None:
    """Neither a vault nor a record is made."""
    refuse(command, _environment(without_vault, vault=True), without_vault, says, code)


@pytest.mark.parametrize(("command", "says", "code"), WITH_VAULT, ids=_ids(WITH_VAULT))
def test_refused_with_a_vault(with_vault: Path, command: str, says: str, code: int) -> None:
    """Nothing is stored, restored or recorded."""
    refuse(command, _environment(with_vault, vault=True), with_vault, says, code)


@pytest.mark.parametrize(("command", "says", "code"), OF_HISTORY, ids=_ids(OF_HISTORY))
def test_refused_by_history(tmp_path_factory: pytest.TempPathFactory, command: str, says: str, code: int) -> None:
    """The record is read, if at all."""
    home = example(tmp_path_factory).parent
    refuse(f"history {command}", clean_environment() | {"THREADMILL_HOME": str(home)}, home, says, code)
