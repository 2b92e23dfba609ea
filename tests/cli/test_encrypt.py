"""The command as a user meets it: real processes, their output and their exit codes."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Command, read_json

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three files in two folders."""
    root = tmp_path / "tree"
    (root / "below").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a" * 1000)
    (root / "empty").write_bytes(b"")
    (root / "below" / "b.bin").write_bytes(random.randbytes(70_000))
    return root


def test_random_payloads_twice_in_a_row(threadmill: Command) -> None:
    """A second command is a second run, and its digests are others: salts and keys are drawn anew."""
    command = ("encrypt", "--random", "100x3", "--suite", "classic,modern", "--json")
    first, second = (read_json(threadmill(*command)) for _ in range(2))
    assert (first["run"]["id"], second["run"]["id"]) == (1, 2)
    digests = [payload["digest"] for detail in (first, second) for payload in detail["payloads"]]
    assert len(set(digests)) == 12


def test_without_openssl_native_takes_over_and_says_so(
    threadmill: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    """No openssl on PATH is no fault; the record says what ran, and why."""
    environment["PATH"] = str(tmp_path)
    result = threadmill("encrypt", "--random", "100x3", "--suite", "classic,modern")
    assert result.returncode == 0, result.stderr
    assert "native took over: no program openssl on PATH" in result.stdout
    payloads = read_json(threadmill("history", "show", "latest", "--json"))["payloads"]
    assert {payload["backend"] for payload in payloads} == {"native"}
    assert [len(payload["digest"]) for payload in payloads] == [128] * 3 + [64] * 3


def test_json_of_a_run_has_the_documented_fields(threadmill: Command) -> None:
    """Programs can rely on the names."""
    run_fields = {
        "id", "flow", "flow_run_id", "deployment", "via", "host", "code_version", "status", "started_at",
        "finished_at", "parameters",
    }  # fmt: skip
    payload_fields = {
        "name", "kind", "size_bytes", "ciphertext_bytes", "suite", "cipher", "digest_algorithm", "kdf", "iterations",
        "salt", "digest", "backend", "status", "error", "wall_ns", "stages",
    }  # fmt: skip
    threadmill("encrypt", "--random", "100x1")
    shown = read_json(threadmill("history", "show", "1", "--json"))
    assert run_fields <= shown["run"].keys()
    assert payload_fields <= shown["payloads"][0].keys()
    (listed,) = read_json(threadmill("history", "runs", "--json"))
    assert run_fields <= listed.keys()
    assert listed == shown["run"]


@NEEDS_OPENSSL
def test_stages_are_recorded(threadmill: Command) -> None:
    """Both child processes are there with their exit codes and times."""
    threadmill("encrypt", "--random", "100x1", "--backend", "openssl")
    (payload,) = read_json(threadmill("history", "show", "latest", "--json"))["payloads"]
    assert [stage["program"] for stage in payload["stages"]] == ["openssl enc", "openssl dgst"]
    assert all(stage["exit_code"] == 0 and stage["wall_ns"] > 0 for stage in payload["stages"])


def test_random_payloads_of_every_suite_and_backend(threadmill: Command) -> None:
    """List options may be repeated or given with commas; each suite meets each backend."""
    backends = ("auto,native",) if shutil.which("openssl") else ("native",)
    result = threadmill(
        "encrypt", "--random", "1KiBx2", "--suite", "modern,cbc", "--suite", "chacha", "--backend", *backends, "--json"
    )
    payloads = read_json(result)["payloads"]
    assert {payload["suite"] for payload in payloads} == {"modern", "cbc", "chacha"}
    assert all(payload["status"] == "ok" and payload["size_bytes"] == 1024 for payload in payloads)
    assert len(payloads) == 6 * len(backends[0].split(","))
    assert [payload["ordinal"] for payload in payloads] == list(range(len(payloads)))


def test_folder_stands_for_its_files(threadmill: Command, tree: Path, key_file: Path) -> None:
    """Every file below a folder is one payload, the empty one too."""
    result = threadmill("encrypt", str(tree), "--json")
    assert result.returncode == 0, result.stderr
    payloads = read_json(result)["payloads"]
    assert [(payload["name"], payload["size_bytes"]) for payload in payloads] == [
        (str(tree / "a.txt"), 1000),
        (str(tree / "below" / "b.bin"), 70_000),
        (str(tree / "empty"), 0),
    ]


@NEEDS_OPENSSL
def test_recorded_digest_is_what_openssl_makes(threadmill: Command, tree: Path, key_file: Path) -> None:
    """Anybody with the key file can make the recorded digest with stock openssl alone."""
    threadmill("encrypt", str(tree / "a.txt"))
    (payload,) = read_json(threadmill("history", "payloads", "--json"))
    ciphertext = subprocess.run(
        ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256", "-S", payload["salt"],
         "-pass", f"file:{key_file}", "-in", tree / "a.txt"],
        capture_output=True,
        check=True,
    ).stdout  # fmt: skip
    header = b"Salted__" + bytes.fromhex(payload["salt"])
    ciphertext = ciphertext if ciphertext.startswith(b"Salted__") else header + ciphertext
    assert hashlib.sha256(ciphertext).hexdigest() == payload["digest"]
    assert len(ciphertext) == payload["ciphertext_bytes"]


@pytest.mark.parametrize("backend", ["auto", "native"])
def test_standard_input_is_a_payload(threadmill: Command, key_file: Path, backend: str) -> None:
    """`-` reads to the end of the pipe."""
    result = threadmill("encrypt", "-", "--backend", backend, "--json", input="x" * 300_000)
    assert result.returncode == 0, result.stderr
    (payload,) = read_json(result)["payloads"]
    assert (payload["kind"], payload["size_bytes"], payload["ciphertext_bytes"]) == ("stdin", 300_000, 300_016)


def test_names_that_are_hard_to_write(threadmill: Command, tmp_path: Path, key_file: Path) -> None:
    """Newline, leading dash, 255 bytes, not UTF-8: each is encrypted and found again."""
    folder = tmp_path / "names"
    folder.mkdir()
    names = [b"-help", b"new\nline", b"x" * 255, b"caf\xe9", b"[bold]"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(name)
    result = threadmill("encrypt", "--json", "--", str(folder))
    assert result.returncode == 0, result.stderr
    payloads = read_json(result)["payloads"]
    assert all(payload["status"] == "ok" for payload in payloads)
    recorded = {
        bytes.fromhex(payload["name_bytes"]) if payload["name_bytes"] else payload["name"].encode()
        for payload in payloads
    }
    assert recorded == {os.fsencode(folder) + b"/" + name for name in names}
    assert threadmill("history", "show", "latest").returncode == 0
    checked = read_json(threadmill("check", str(folder), "--all", "--json"))["files"]
    assert [row["verdict"] for row in checked] == ["same"] * len(names)
    os.chdir(folder)
    assert threadmill("encrypt", "--", "-help", cwd=folder).returncode == 0


def test_what_has_no_content_is_skipped_and_said(threadmill: Command, tree: Path, key_file: Path) -> None:
    """FIFO, socket and links in a folder are skipped and reported; where the user names one, the run fails for it."""
    os.mkfifo(tree / "fifo")
    (tree / "dangling").symlink_to(tree / "nowhere")
    (tree / "link").symlink_to(tree / "a.txt")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tree / "socket"))
    result = threadmill("encrypt", str(tree), "--json")
    named = threadmill("encrypt", str(tree), "/dev/null", str(tree / "dangling"), str(tree / "fifo"), str(tree / "no"))
    alone = threadmill("encrypt", "/dev/null", str(tree / "dangling"))
    listener.close()
    assert result.returncode == 0, result.stderr
    rows = read_json(result)["payloads"]
    skipped = {os.path.basename(row["name"]): row["error"] for row in rows if row["status"] == "skipped"}
    assert [row["status"] for row in rows].count("ok") == 3
    assert skipped["fifo"] == "FIFO"
    assert skipped["socket"] == "socket"
    assert "symbolic link" in skipped["link"]
    assert "symbolic link" in skipped["dangling"]
    assert (named.returncode, alone.returncode) == (3, 2), named.stderr
    rows = read_json(threadmill("history", "show", "latest", "--json"))["payloads"]
    failed = {row["name"]: row["error"] for row in rows if row["status"] == "failed"}
    assert failed == {
        "/dev/null": "cannot be read: it is a character device",
        str(tree / "dangling"): "cannot be read: it is a dangling symbolic link",
        str(tree / "fifo"): "cannot be read: it is a FIFO",
        str(tree / "no"): "cannot be read: No such file or directory",
    }
    assert "nothing to encrypt: /dev/null cannot be read: it is a character device; " in alone.stderr


def test_check_knows_what_changed(threadmill: Command, tree: Path, key_file: Path) -> None:
    """Same, changed, new and gone files are told apart; a change is exit code 1."""
    assert threadmill("encrypt", str(tree), "--suite", "modern-blake2").returncode == 0
    assert threadmill("check", str(tree)).returncode == 0
    (tree / "a.txt").write_bytes(b"b" * 1000)
    (tree / "new").write_bytes(b"new")
    result = threadmill("check", str(tree), "--all", "--json")
    assert result.returncode == 1
    verdicts = {os.path.basename(row["name"]): row["verdict"] for row in read_json(result)["files"]}
    assert verdicts == {"a.txt": "differs", "empty": "same", "new": "new", "b.bin": "same"}


def test_check_with_another_key_differs(threadmill: Command, tree: Path, key_file: Path, tmp_path: Path) -> None:
    """A digest depends on the key file too."""
    threadmill("encrypt", str(tree))
    threadmill("keygen", str(tmp_path / "other"))
    result = threadmill("check", str(tree), "--key-file", str(tmp_path / "other"))
    assert result.returncode == 1
    assert "differs" in result.stdout


def test_check_of_what_was_never_encrypted(threadmill: Command, tree: Path, key_file: Path) -> None:
    """There is nothing to hold it against, which is said, and is not success."""
    result = threadmill("check", str(tree))
    assert result.returncode == 2
    assert f"{tree} is not on record; encrypt it first" in result.stderr


def test_keygen_writes_a_secret_for_its_owner_only(threadmill: Command, tmp_path: Path) -> None:
    """64 hex digits and a newline, mode 0600; never over another file, and never twice the same."""
    path = tmp_path / "key"
    result = threadmill("keygen", str(path))
    assert result.returncode == 0
    assert "Without it nothing opens" in result.stdout
    content = path.read_bytes()
    assert len(bytes.fromhex(content.decode().strip())) == 32
    assert content.endswith(b"\n")
    assert len(content) == 65
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content.decode().strip() not in result.stdout + result.stderr
    again = threadmill("keygen", str(path))
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    assert path.read_bytes() == content


def test_history_filters(threadmill: Command, tree: Path, key_file: Path) -> None:
    """Payloads are found by path, folder, suite and time."""
    threadmill("encrypt", str(tree))
    threadmill("encrypt", str(tree / "a.txt"), "--suite", "cbc")
    threadmill("encrypt", "--random", "10x1")

    def names(*options: str) -> list[str]:
        rows = read_json(threadmill("history", "payloads", "--json", *options))
        return [os.path.basename(row["name"]) for row in rows]

    assert names() == ["random #1", "a.txt", "empty", "b.bin", "a.txt"]
    assert names("--path", str(tree)) == ["a.txt", "empty", "b.bin", "a.txt"]
    assert names("--path", str(tree / "below")) == ["b.bin"]
    assert names("--path", str(tree / "a.txt")) == ["a.txt", "a.txt"]
    assert names("--suite", "cbc,chacha") == ["a.txt"]
    assert names("--limit", "2") == ["random #1", "a.txt"]
    assert names("--since", "1h", "--failed") == []
    assert names("--since", "2999-01-01") == []
    table = threadmill("history", "payloads", "--csv").stdout.splitlines()
    assert [os.path.basename(row["name"]) for row in csv.DictReader(table)] == names()


def test_history_before_the_first_run(threadmill: Command) -> None:
    """No database is an empty history, and reading does not make one."""
    result = threadmill("history", "runs", "--json")
    assert (result.returncode, result.stdout.strip()) == (0, "[]")
    assert "nothing is recorded" in result.stderr
    assert threadmill("history", "show", "1").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [("runs",), ("payloads",), ("show", "latest"), ("runs", "--json")],
)
def test_history_never_imports_prefect(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """Prefect costs more than a second to import, which nobody wants for a question to a database."""
    program = (
        "import sys\nfrom flows.cli.main import main\n"
        f"sys.argv = ['threadmill', 'history', *{arguments!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted(name for name in ('prefect', 'alembic') if name in sys.modules), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1] == "[]"


def test_setting_that_makes_no_sense_is_one_line(threadmill: Command, environment: dict[str, str]) -> None:
    """A bad environment variable is named."""
    environment["THREADMILL_JOBS"] = "several"
    result = threadmill("encrypt", "--random", "1x1")
    assert result.returncode == 2
    assert "THREADMILL_JOBS" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_settings_mask_the_password(threadmill: Command, environment: dict[str, str]) -> None:
    """The database's URL is shown without its password, as a table and as JSON."""
    environment["THREADMILL_DATABASE_URL"] = "postgresql+psycopg://me:hunter2@localhost/history"
    for options in ((), ("--json",)):
        result = threadmill("settings", *options)
        assert result.returncode == 0, result.stderr
        assert "hunter2" not in result.stdout
        assert "localhost/history" in result.stdout


def test_output_may_be_cut_off(threadmill: Command, environment: dict[str, str]) -> None:
    """`| head` does not end in a traceback."""
    threadmill("encrypt", "--random", "1x2000", "--backend", "native")
    ended = subprocess.run(
        ["sh", "-c", f"{Path(sys.executable).parent}/threadmill history show 1 --json | head -1"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("{\n", "")
