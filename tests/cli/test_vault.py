"""The vault as its users meet it: by the command, with files of their own, and with what can go wrong."""

from __future__ import annotations

import base64
import os
import random
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from tasks.crypto.secret import KeyFile
from tasks.vault.snapshots import MAC_BYTES, SKIPPABLE
from tasks.vault.vault import init_vault
from tests.support.commands import BIN, Command, read_json
from tests.support.crafted import flip
from tests.support.processes import read_proc, wait_until
from tests.support.vaults import settle, small_disk


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, links, an empty folder, odd names and modes, and something that is no file."""
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o750)
    (root / "letter").write_bytes(b"dear reader\n" * 100)
    (root / "none").touch()
    (root / "deep" / "er" / "line\nbreak").write_bytes(random.randbytes(3000))
    Path(os.fsdecode(os.fsencode(root) + b"/not utf-8 \xff")).write_bytes(b"x")
    (root / "tool").write_bytes(b"#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    (root / "link").symlink_to("letter")
    (root / "away").symlink_to("/nowhere/at/all")
    os.mkfifo(root / "fifo")
    settle()
    return root


@pytest.fixture
def vault(tmp_path: Path, key_file: Path, environment: dict[str, str]) -> Path:
    """The vault of the test, which its commands know."""
    environment["THREADMILL_VAULT"] = str(tmp_path / "vault")
    return Path(init_vault(environment["THREADMILL_VAULT"], KeyFile(str(key_file)).secret()).root)


def inside(folder: Path, tree: Path) -> Path:
    """Where a restored tree lies below a target."""
    return folder / str(tree).lstrip("/")


def last_words(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused command says."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("threadmill:")]
    assert "Traceback" not in result.stderr
    return line


def stored(vault: Path) -> list[Path]:
    """Packs and large objects."""
    return sorted(path for folder in ("packs", "objects") for path in (vault / folder).glob("*/*"))


def members(pack: Path) -> dict[str, int]:
    """The objects of a pack, each with the offset of its last byte."""
    with tarfile.open(pack) as archive:
        return {member.name: member.offset_data + member.size - 1 for member in archive}


def damage(vault: Path, *digests: str) -> None:
    """Change the last byte of some objects in packs, or of all."""
    for pack in (vault / "packs").glob("*/*"):
        for name, end in members(pack).items():
            if not digests or name in digests:
                flip(pack, end)


def same_trees(one: Path, other: Path) -> bool:
    """`diff -r`, which waits for no FIFO."""
    return not subprocess.run(
        ["diff", "-r", "--no-dereference", "-x", "fifo", one, other], capture_output=True, check=False
    ).stdout


def test_files_go_in_and_come_back(threadmill: Command, vault: Path, tree: Path, tmp_path: Path) -> None:
    """Encrypted, encrypted again after a change, looked at, verified, restored, pruned: each command does its part."""
    before = sorted(vault.rglob("*"))
    dry = read_json(threadmill("encrypt", str(tree), "--dry-run", "--json"))
    assert (dry["to_do"], dry["unchanged"], dry["skipped"]) == (5, 0, 1)
    assert sorted({*vault.rglob("*")} - {vault / "lock"}) == before
    first = read_json(threadmill("encrypt", str(tree), "--json"))
    assert {row["status"] for row in first["payloads"]} == {"ok", "skipped"}
    assert {row["backend"] for row in first["payloads"]} == {"native"}

    (tree / "letter").write_bytes(b"dear reader!\n" * 100)
    os.utime(tree / "letter", ns=(1, 1))
    second = threadmill("encrypt", str(tree))
    assert second.returncode == 0
    assert "1 new, 4 unchanged, 0 marked, 1 skipped, 0 missed" in second.stdout

    names = [line["name"] for line in read_json(threadmill("snapshots", "--json"))]
    assert len(names) == 2
    entries = read_json(threadmill("snapshots", "show", "latest", "--json"))
    assert len(entries) == 11
    assert threadmill("verify").returncode == 0
    target = tmp_path / "target"
    assert threadmill("restore", "latest", str(target)).returncode == 0
    assert same_trees(tree, inside(target, tree))
    assert (inside(target, tree) / "tool").stat().st_mode == (tree / "tool").stat().st_mode
    assert (inside(target, tree) / "letter").stat().st_mtime_ns == 1
    assert (inside(target, tree) / "empty").stat().st_mode == (tree / "empty").stat().st_mode
    # The older one, and of it one file only.
    assert threadmill("restore", names[1], str(tmp_path / "old"), str(tree / "letter")).returncode == 0
    assert (inside(tmp_path / "old", tree) / "letter").read_bytes() == b"dear reader\n" * 100
    assert threadmill("cat", names[1].partition("-")[2], f"{tree}/letter").stdout == "dear reader\n" * 100

    count = sum(len(members(pack)) for pack in stored(vault))
    options = "--keep-last", "1", "--max-unused", "0%"
    dry = read_json(threadmill("prune", *options, "--dry-run", "--json"))
    assert dry == {"remove": [names[1]], "keep": 1, "packs": 0, "rewrite": 1, "objects": 0, "freed_bytes": 1024}
    assert threadmill("prune", *options).returncode == 0
    assert sum(len(members(pack)) for pack in stored(vault)) == count - 1
    assert threadmill("verify").returncode == 0
    listed = threadmill("snapshots", "show", "latest", "--sha256sums").stdout
    subprocess.run(["sha256sum", "--quiet", "-c"], input=listed, text=True, cwd=vault, check=True)
    assert threadmill("history", "verify").returncode == 0


def test_nothing_is_restored_over_anything(threadmill: Command, vault: Path, tree: Path, tmp_path: Path) -> None:
    """What is in the way stays and is named, with exit code 1; with --overwrite it is replaced, and only then."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    target = tmp_path / "target"
    inside(target, tree).mkdir(parents=True)
    (inside(target, tree) / "letter").write_text("mine")
    result = threadmill("restore", "latest", str(target))
    assert result.returncode == 1
    assert "letter" in result.stderr
    assert "--overwrite" in result.stderr
    assert (inside(target, tree) / "letter").read_text() == "mine"
    assert (inside(target, tree) / "tool").exists()
    assert threadmill("restore", "latest", str(target), "--overwrite").returncode == 0
    assert same_trees(tree, inside(target, tree))


def test_a_flipped_bit_is_found_and_named_and_not_given_out(
    threadmill: Command, vault: Path, tree: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """verify, restore and cat all end with 1, name object and path, and give no byte of that file; others come back."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    entries = read_json(threadmill("snapshots", "show", "latest", "--json"))
    digest = next(entry["object"] for entry in entries if entry["path"].endswith("/letter"))
    (pack,) = stored(vault)
    damage(vault, digest)

    verified = threadmill("verify")
    assert verified.returncode == 1
    assert digest in verified.stderr
    assert f"{tree}/letter" in verified.stderr
    failures = read_json(threadmill("history", "failures", "--kind", "verdict", "--json"))
    assert {(one["name"], one["status"]) for one in failures} == {(digest, "changed"), (pack.name, "changed")}
    restored = threadmill("restore", "latest", str(tmp_path / "target"))
    assert restored.returncode == 1
    assert sorted(os.listdir(inside(tmp_path / "target", tree))) == sorted(set(os.listdir(tree)) - {"letter", "fifo"})
    printed = threadmill("cat", "latest", f"{tree}/letter")
    assert (printed.returncode, printed.stdout) == (1, "")
    # Whoever has no key finds it too.
    key_file = environment.pop("THREADMILL_KEY_FILE")
    assert threadmill("verify").returncode == 1
    environment["THREADMILL_KEY_FILE"] = key_file
    # What it was of is still there: encrypted anew, although the file looks unchanged, and good again.
    assert "1 new, 4 unchanged" in threadmill("encrypt", str(tree)).stdout
    assert threadmill("restore", "latest", str(tmp_path / "target")).returncode == 0


def test_names_reach_the_terminal_as_text(threadmill: Command, vault: Path, tmp_path: Path) -> None:
    """No name colours the screen, turns the text or begins a line, in tables, faults and errors; JSON has it all."""
    names = ["\x1b[31mred", "two\nlines", "gnp\u202eexe", "\x9b2J", "\x7f\r\a", "\u2028\u2066", ":smile: [bold]"]
    odd = tmp_path / "odd\x1b]0;title\a"
    odd.mkdir()
    for name in names:
        (odd / name).write_text(name)
    payloads = read_json(threadmill("encrypt", str(odd), "--json"))["payloads"]
    assert {os.path.basename(row["name"]) for row in payloads} == set(names)
    damage(vault)
    printed = []
    for command in (
        ("encrypt", str(odd), "--discard"),
        ("history", "payloads"),
        ("verify",),
        ("restore", "latest", str(tmp_path / "ta\nrget")),
        ("history", "proofs"),
        ("history", "failures"),
        ("history", "show", "latest"),
        ("check", str(odd)),
    ):
        result = threadmill(*command)
        assert result.returncode in {0, 1}, result.stderr
        printed += [result.stdout, result.stderr]
        if command[0] in {"verify", "restore"}:
            assert r"two\nlines" in result.stderr
            assert ":smile: [bold]" in result.stderr
    for command in (
        ("encrypt", str(tmp_path / "no\nsuch \x1b[31mfile")),
        ("cat", "latest", "/no\nfile\x1b[0m"),
        ("history", "runs", "--no-such-\x1b[31moption\n"),
        ("keygen", str(odd / "two\nlines")),
    ):
        result = threadmill(*command)
        assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1), command
        printed.append(result.stderr)
    assert {one for text in printed for one in text if not one.isprintable()} == {"\n"}
    failures = printed[10].splitlines()
    assert failures[0].rstrip() == "failures"
    assert all(line[0] in "┏┃┡│└" for line in failures[1:])


def test_a_vault_that_was_set_back_is_noticed(threadmill: Command, vault: Path, tree: Path, tmp_path: Path) -> None:
    """Verify and the next encrypt say that the newest snapshot is gone; numbers go on from the one on record."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    shutil.copytree(vault, tmp_path / "older")
    assert threadmill("encrypt", str(tree)).returncode == 0
    shutil.rmtree(vault)
    shutil.copytree(tmp_path / "older", vault)
    verified = threadmill("verify")
    assert verified.returncode == 1
    assert "rolled-back" in verified.stderr
    for command in (
        ("cat", "latest", f"{tree}/letter"),
        ("snapshots", "show", "latest"),
        ("restore", "latest", str(tmp_path / "target")),
        ("prune", "--keep-last", "1"),
        ("prune", "--keep-last", "1", "--dry-run"),
    ):
        refused = threadmill(*command)
        assert (refused.returncode, refused.stdout) == (2, ""), command
        assert "number 2, was the newest one, and is gone; " in last_words(refused), command
    assert not (tmp_path / "target").exists()
    (older,) = read_json(threadmill("snapshots", "--json"))
    assert threadmill("restore", older["name"], str(tmp_path / "target")).returncode == 0
    encrypted = threadmill("encrypt", str(tree))
    assert encrypted.returncode == 1
    assert "VAULT NOT AS IT WAS" in encrypted.stderr
    assert [line["sequence"] for line in read_json(threadmill("snapshots", "--json"))] == [3, 1]
    assert threadmill("encrypt", str(tree)).returncode == 0


@pytest.mark.parametrize("how", ["header", "number", "sources", "body", "emptied", "replaced by an older one"])
def test_a_newest_snapshot_that_is_damaged_is_not_passed_over(
    threadmill: Command, vault: Path, tree: Path, tmp_path: Path, how: str
) -> None:
    """Whoever wants the latest one gets none that is older, and encrypt says that it cannot be believed."""
    for content in ("first", "second", "third"):
        (tree / "letter").write_text(content)
        assert threadmill("encrypt", str(tree)).returncode == 0
    oldest, _, newest = sorted((vault / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    raw = newest.read_bytes()
    end = raw[-len(SKIPPABLE) - MAC_BYTES :]
    text = zstandard.decompress(raw, max_output_size=1 << 20)
    changes = {
        "header": text.replace(b'"version":2', b'"version":3', 1),
        "number": text.replace(b'"sequence":3', b'"sequence":1', 1),
        "sources": text.replace(b'/tree"]', b'/trex"]', 1),
        "body": text.replace(b'"type":"file"', b'"type":"fila"', 1),
    }
    assert text not in changes.values()
    files = {name: zstandard.compress(changed) + end for name, changed in changes.items()}
    files |= {"emptied": b"", "replaced by an older one": oldest.read_bytes()}
    newest.write_bytes(files[how])
    for command in (("cat", "latest", f"{tree}/letter"), ("restore", "latest", str(tmp_path / "target"))):
        refused = threadmill(*command)
        assert (refused.returncode, refused.stdout) == (2, ""), command
        assert f"snapshot {newest.name}: " in last_words(refused), command
    assert not (tmp_path / "target").exists()
    pruned = threadmill("prune", "--keep-last", "1")
    assert pruned.returncode == 2
    assert "nothing is removed; put it back from a copy" in last_words(pruned)
    encrypted = threadmill("encrypt", str(tree))
    assert encrypted.returncode == 1
    assert f"VAULT NOT AS IT WAS: snapshot {newest.name} cannot be believed any more" in encrypted.stderr
    newest.unlink()
    assert threadmill("cat", "latest", f"{tree}/letter").stdout == "third"


def test_cat_says_when_its_output_takes_nothing(
    threadmill_process: Command, vault: Path, tree: Path, environment: dict[str, str]
) -> None:
    """A full disk and a closed standard output: one line, exit code 1."""
    del vault
    assert threadmill_process("encrypt", str(tree)).returncode == 0
    with open("/dev/full", "wb") as full:
        told = threadmill_process(
            "cat", "latest", f"{tree}/letter", capture_output=False, stdout=full, stderr=subprocess.PIPE
        )
    assert (told.returncode, last_words(told)) == (
        1,
        "threadmill: standard output cannot be written: No space left on device",
    )
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", str(BIN / "threadmill"), "cat", "latest", f"{tree}/letter"]
    told = subprocess.run(closed, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert (told.returncode, last_words(told)) == (1, "threadmill: standard output is closed")


def test_times_that_no_calendar_has_are_shown(
    threadmill: Command, tmp_path: Path, key_file: Path, environment: dict[str, str]
) -> None:
    """In seconds since 1970, and in JSON as nanoseconds."""
    del key_file
    with small_disk(tmp_path / "disk", "4m") as disk:
        environment["THREADMILL_VAULT"] = str(disk / "vault")
        assert threadmill("vault", "init", str(disk / "vault")).returncode == 0
        tree = disk / "tree"
        tree.mkdir()
        times_ns = {"far": 2**38 * 10**9 + 5, "old": -(2**37) * 10**9}
        for name, time_ns in times_ns.items():
            (tree / name).touch()
            os.utime(tree / name, ns=(0, time_ns))
        assert threadmill("encrypt", str(tree)).returncode == 0
        shown = threadmill("snapshots", "show", "latest")
        assert shown.returncode == 0
        assert f"@{2**38} {tree}/far" in shown.stdout
        entries = read_json(threadmill("snapshots", "show", "latest", "--json"))
        files = {Path(one["path"]).name: one for one in entries if one["type"] == "file"}
        assert {name: one["mtime_ns"] for name, one in files.items()} == times_ns
        assert {one["mtime"] for one in files.values()} == {None}


def test_paths_are_those_of_the_shell(threadmill: Command, vault: Path, tree: Path, tmp_path: Path) -> None:
    """Relative to where one is, and past a link as the kernel goes, as for encrypt."""
    del vault
    assert threadmill("encrypt", "tree").returncode == 0
    assert threadmill("cat", "latest", "./deep/../letter", cwd=tree).stdout == (tree / "letter").read_text()
    (tmp_path / "side").symlink_to(tree / "deep")
    assert threadmill("cat", "latest", "side/../letter").stdout == (tree / "letter").read_text()
    assert threadmill("restore", "latest", "back", "tree/tool").returncode == 0
    assert [path for path in (tmp_path / "back").rglob("*") if path.is_file()] == [
        inside(tmp_path / "back", tree) / "tool"
    ]


def test_what_no_snapshot_names_is_counted(threadmill: Command, vault: Path, tree: Path) -> None:
    """Objects of an interrupted run are no fault, and prune takes them away."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    assert "no snapshot names" not in threadmill("verify").stdout
    assert threadmill("vault", "init", f"{vault}2").returncode == 0
    assert threadmill("encrypt", str(tree), "--vault", f"{vault}2").returncode == 0
    for folder in ("packs", "index"):
        shutil.copytree(f"{vault}2/{folder}", vault / folder, dirs_exist_ok=True)
    verified = threadmill("verify", "--snapshots")
    assert verified.returncode == 0
    assert "objects that no snapshot names, for prune to remove: 5, 3.05 KiB; no fault" in verified.stdout
    assert threadmill("prune", "--keep-last", "1").returncode == 0
    assert "no snapshot names" not in threadmill("verify").stdout


def test_another_key_file_opens_nothing(
    threadmill: Command, vault: Path, tree: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Every command is refused with 2 and one line, and the vault stays as it was."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    before = sorted(path for path in vault.rglob("*"))
    other = tmp_path / "other"
    assert threadmill("keygen", str(other)).returncode == 0
    environment["THREADMILL_KEY_FILE"] = str(other)
    for command in (
        ("encrypt", str(tree)),
        ("snapshots",),
        ("snapshots", "show", "latest"),
        ("cat", "latest", f"{tree}/letter"),
        ("restore", "latest", str(tmp_path / "target")),
        ("prune", "--keep-last", "1"),
        ("verify",),
    ):
        result = threadmill(*command)
        assert (result.returncode, result.stdout) == (2, ""), command
        assert "key file" in last_words(result)
    assert not (tmp_path / "target").exists()
    assert sorted(path for path in vault.rglob("*")) == before


def test_one_is_said_as_one(threadmill: Command, vault: Path, tree: Path) -> None:
    """And where there is nothing to count, no nought is counted. All that a number can be is taken."""
    del vault
    letter = str(tree / "letter")
    assert "1 file to encrypt" in threadmill("encrypt", letter, "--dry-run").stdout
    first = threadmill("encrypt", letter, "--progress")
    assert "encrypting 1 payload, " in first.stderr
    assert "1 new, 0 unchanged" in first.stdout
    assert "0 new, 1 unchanged" in threadmill("encrypt", letter).stdout
    assert "verifying …" in threadmill("verify", "--snapshots", "--progress").stderr
    assert "1 snapshot, 0 packs and 0 large objects would go, 0 packs would be rewritten (0 B freed), 1 snapshot" in (
        threadmill("prune", "--keep-last", "1", "--dry-run").stdout
    )
    assert "2 snapshots, 1 object (1 pack), " in threadmill("status").stdout
    assert threadmill("verify", "--sample", "999999999999999.999999TiB").returncode == 0


def test_an_empty_variable_counts_as_unset(
    threadmill: Command, vault: Path, tree: Path, environment: dict[str, str]
) -> None:
    """As is customary: there is no vault, and no key file; a folder of its own is the usual one."""
    environment["THREADMILL_VAULT"] = ""
    assert read_json(threadmill("encrypt", str(tree), "--json"))["snapshot"] is None
    assert "which vault" in last_words(threadmill("verify"))
    environment["THREADMILL_KEY_FILE"] = ""
    assert "threadmill keygen" in last_words(threadmill("encrypt", str(tree), "--vault", str(vault)))
    environment["THREADMILL_HOME"] = environment["THREADMILL_PATHS"] = ""
    in_force = read_json(threadmill("settings", "--json"))
    assert in_force["home"].endswith("/threadmill")
    assert [in_force[name] for name in ("vault", "key_file", "paths")] == [None] * 3


def test_what_is_excluded_is_left_out(threadmill: Command, vault: Path, tree: Path) -> None:
    """Patterns are gitignore's, the last one that fits decides."""
    (tree / "secret").mkdir()
    (tree / "secret" / "note.tmp").touch()
    (tree / "kept.tmp").touch()
    result = threadmill("encrypt", str(tree), "--exclude", "*.tmp", "--exclude", "!kept.tmp", "--json")
    assert result.returncode == 0
    paths = [entry["path"] for entry in read_json(threadmill("snapshots", "show", "latest", "--json"))]
    assert f"{tree}/kept.tmp" in paths
    assert not any("note.tmp" in path for path in paths)
    assert read_json(result)["snapshot"]["skipped"] == 1
    options = ("--exclude", "*.tmp", "--exclude", "*.o", "--exclude", f"{tree}/\xe4/", "--dry-run")
    dry = threadmill("encrypt", str(tree), *options)
    assert (dry.returncode, dry.stdout.splitlines()[1:]) == (
        0,
        ["--exclude *.o: matches nothing", f"--exclude {tree}/\xe4/: matches nothing", f"{tree}: 1 of 6 files gone"],
    )


def test_the_secret_is_nowhere_but_in_its_file(
    threadmill_process: Command,
    vault: Path,
    tree: Path,
    key_file: Path,
    environment: dict[str, str],
    prefect_server: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Not in argv or environment of any process while it runs, nor in logs, record, vault, or Prefect's database."""
    environment["PREFECT_API_URL"] = prefect_server
    environment["HOME"] = str(tmp_path)
    secret = key_file.read_bytes().strip()
    for number in range(6):
        (tree / f"large {number}").write_bytes(random.randbytes(8 << 20))
    encrypt = [str(BIN / "threadmill"), "encrypt", str(tree), "--backend", "openssl"]
    with (tmp_path / "output").open("wb") as output:
        running = subprocess.Popen(encrypt, env=environment, cwd=tmp_path, stdout=output, stderr=output)
        seen, openssl = set(), 0
        while running.poll() is None:
            for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
                told = read_proc(pid, "cmdline") + read_proc(pid, "environ")
                openssl += b"openssl\0enc" in told
                if secret in told:
                    seen.add(pid)
    assert running.returncode == 0, (tmp_path / "output").read_text()
    assert openssl, "no child was ever seen"
    assert not seen
    for command in (["verify"], ["restore", "latest", str(tmp_path / "target")], ["prune", "--keep-last", "1"]):
        assert threadmill_process(*command).returncode == 0, command
    forms = [secret, bytes.fromhex(secret.decode()), base64.b64encode(secret), secret.upper()]
    server = tmp_path_factory.getbasetemp()
    looked_at = 0
    for folder in (tmp_path, *server.glob("prefect*")):
        for path in folder.rglob("*"):
            if path.is_file() and path != key_file:
                content = path.read_bytes()
                looked_at += 1
                assert not any(form in content for form in forms), path
    assert looked_at > 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_leave_a_vault_that_is_whole(
    threadmill: Command, vault: Path, tree: Path, environment: dict[str, str], tmp_path: Path, number: int
) -> None:
    """What was stored by then belongs to no snapshot; the next run finishes the work."""
    for name in range(40):
        (tree / f"large {name}").write_bytes(random.randbytes(8 << 20))
    command = [str(BIN / "threadmill"), "encrypt", str(tree), "--jobs", "1"]
    running = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: stored(vault) or running.poll() is not None, "nothing was stored", 60)
    running.send_signal(number)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 128 + number, stderr
    assert "Traceback" not in stderr
    assert read_json(threadmill("history", "show", "latest", "--json"))["run"]["status"] == "cancelled"
    assert read_json(threadmill("snapshots", "--json")) == []
    assert threadmill("verify").returncode == 0
    assert threadmill("encrypt", str(tree)).returncode == 0
    assert os.listdir(vault / "tmp") == []


def test_without_a_vault_the_ciphertext_is_discarded(
    threadmill: Command, vault: Path, tree: Path, environment: dict[str, str]
) -> None:
    """A vault is used only where it is named."""
    before = sorted(vault.rglob("*"))
    del environment["THREADMILL_VAULT"]
    assert read_json(threadmill("encrypt", str(tree), "--json"))["snapshot"] is None
    assert sorted(vault.rglob("*")) == before


@pytest.fixture(params=["full", "read-only"])
def stuck_record(
    request: pytest.FixtureRequest,
    threadmill: Command,
    vault: Path,
    tree: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> Iterator[Path]:
    """The folder of a record with three runs into the vault, on a disk that takes no more."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        environment["THREADMILL_HOME"] = str(disk)
        for text in ("1", "2", "3"):
            (tree / "letter").write_text(text)
            assert threadmill("encrypt", str(tree)).returncode == 0
        if request.param == "full":
            with suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk


def test_a_record_that_takes_no_more_holds_nothing_up(
    threadmill: Command, stuck_record: Path, vault: Path, tree: Path, tmp_path: Path
) -> None:
    """What brings files back, verifies, or makes room goes on, and says that it is not on record."""
    for line in (f"restore latest {tmp_path / 'back'}", "verify", "prune --keep-last 2"):
        ended = threadmill(*line.split())
        assert ended.returncode == 0, ended.stderr
        assert last_words(ended).startswith(f"threadmill: this run is not on record: history database {stuck_record}")
    assert (inside(tmp_path / "back", tree) / "letter").read_text() == "3"
    assert len(list((vault / "snapshots").iterdir())) == 2
    assert read_json(threadmill("verify", "--json"))["run"] is None
    assert threadmill("cat", "latest", str(tree / "letter")).stdout == "3"
    assert threadmill("status", "--only-vault").returncode == 0
    assert threadmill("encrypt", str(tree)).returncode == 2


def test_a_record_that_cannot_be_read_is_told(
    threadmill: Command, vault: Path, tree: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Restore and verify go on; prune does not, since a vault that was set back is known by the record alone."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    (record,) = Path(environment["THREADMILL_HOME"]).glob("history.sqlite")
    record.write_bytes(b"no database" * 1000)
    for line in (f"restore latest {tmp_path / 'back'}", "verify"):
        ended = threadmill(*line.split())
        assert ended.returncode == 0
        assert "not on record, and a vault that was set back would not be noticed: " in last_words(ended)
    said = last_words(threadmill("cat", "latest", str(tree / "letter")))
    assert "cannot tell whether this is the vault that belongs here" in said
    assert threadmill("prune", "--keep-last", "1").returncode == 2


def test_paths_of_the_latest_snapshot_that_has_them(threadmill: Command, vault: Path, tmp_path: Path) -> None:
    """With two jobs in a vault, and for a file that is gone, `latest` of a path is the newest snapshot that has it."""
    one, two = tmp_path / "srv" / "one", tmp_path / "srv" / "two"
    for folder in (one, two):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.name)
    (one / "gone").write_text("gone")
    for folder in (one, one, two):
        assert threadmill("encrypt", str(folder)).returncode == 0
        (one / "gone").unlink(missing_ok=True)
    for path in (one / "file", one / "gone", two / "file"):
        target = tmp_path / f"back {path.parent.name} {path.name}"
        assert threadmill("restore", "latest", str(target), str(path)).returncode == 0
        assert [found.read_text() for found in target.rglob("*") if found.is_file()] == [
            threadmill("cat", "latest", str(path)).stdout
        ]
    refused = threadmill("restore", "latest", str(tmp_path / "no"), str(one / "none"))
    assert (refused.returncode, "not in snapshot" in last_words(refused)) == (2, True)
    above = threadmill("restore", "latest", str(tmp_path / "above"), str(tmp_path / "srv"))
    assert above.returncode == 0
    assert f"files restored: 1, links: 0; not in it: {one} (snapshot " in above.stdout
    assert (inside(tmp_path / "above", two) / "file").read_text() == "two"
    assert len(re.findall(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", threadmill("snapshots").stdout)) == 3


def test_a_name_is_taken_as_it_is_shown(threadmill: Command, vault: Path, tmp_path: Path) -> None:
    r"""`\xe4` is the byte where no file has that very name, and the four characters where one has."""
    source = tmp_path / "source"
    for name in (b"\xe4dir/file", b"b\nr", b"\\xe5", b"\xe5"):
        path = Path(os.fsdecode(bytes(source) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    assert threadmill("encrypt", str(source)).returncode == 0
    for shown, name in ((r"\xe4dir", b"\xe4dir/file"), (r"b\nr", b"b\nr"), (r"\xe5", b"\\xe5")):
        target = tmp_path / f"back {shown}"
        assert threadmill("restore", "latest", str(target), f"{source}/{shown}").returncode == 0
        assert [path.read_bytes() for path in target.rglob("*") if path.is_file()] == [name]
    assert threadmill("cat", "latest", rf"{source}/b\nr").stdout == "b\nr"
    assert threadmill("restore", "latest", str(tmp_path / "no"), rf"{source}/\xe6").returncode == 2
