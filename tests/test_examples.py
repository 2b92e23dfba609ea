"""The chapter's examples as a reader runs them: real scripts, real children, nothing imported."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
BOOK = str(EXAMPLES / "item52_child_processes.py")
SCRIPTS = sorted(EXAMPLES.glob("item*.py"))

# Generous: a loaded host may be slow, and no test here is about speed.
TIMEOUT_S = 120

LEGACY = ("-provider", "legacy", "-provider", "default")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or states what Linux does")


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def line_with(output: str, label: str, executor: str = "") -> str:
    """Return the one line that starts with the label, then the executor where one is given."""
    start = re.compile(rf"{re.escape(label)}\s+{executor}")
    (line,) = filter(start.match, output.splitlines())
    return line


def seconds(line: str) -> float:
    match = re.search(r"([\d.]+) s,", line)
    assert match, line
    return float(match[1])


def can_whirlpool(*options: str) -> bool:
    hashed = subprocess.run(
        ["openssl", "dgst", *options, "-whirlpool", "-binary"],
        input=b"abc",
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return hashed.returncode == 0 and len(hashed.stdout) == 64


def openssl_children(group: int) -> list[str]:
    """Return the openssl subcommand of every live child in the process group."""
    subcommands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, pgrp = (process / "stat").read_text().rpartition(") ")[2].split()[:3]
            argv = os.fsdecode((process / "cmdline").read_bytes()).split("\0")
        except OSError:  # ended while the list was read, or not ours to see
            continue
        if int(pgrp) == group and state != "Z" and argv[0] == "openssl":
            subcommands.append(argv[1])
    return subcommands


@pytest.fixture(scope="module")
def openssl() -> str:
    """Give what `openssl version` says, or skip where there is no such program."""
    try:
        return subprocess.run(
            ["openssl", "version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        ).stdout.strip()
    except FileNotFoundError:
        pytest.skip("no openssl on PATH")


@pytest.fixture(scope="module")
def openssl_3(openssl: str) -> str:
    """Skip unless it is OpenSSL 3 or later; LibreSSL has a 3 in its version too and no providers."""
    match = re.match(r"OpenSSL (\d+)\.", openssl)
    if match is None or int(match[1]) < 3:
        pytest.skip(f"providers came with OpenSSL 3, and this is {openssl}")
    return openssl


@pytest.fixture(scope="module")
def item_53() -> str:
    """Run the script once, and give what it prints."""
    result = run("item53_threads.py")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def item_54() -> str:
    """Run the script once, and give what it prints."""
    result = run("item54_locks.py")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_scripts_are_old_python_and_standard_library_only() -> None:
    """The examples parse as Python 3.8 and import nothing that has to be installed."""
    assert len(SCRIPTS) == 3
    for script in SCRIPTS:
        tree = ast.parse(script.read_text(), feature_version=(3, 8))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert imported <= sys.stdlib_module_names


def test_book_chain_fails_on_openssl_3(openssl_3: str) -> None:
    """The chapter's own commands fail on OpenSSL 3, which no longer offers Whirlpool unasked."""
    if can_whirlpool():
        pytest.skip(f"this {openssl_3} is configured to load the legacy provider by itself")
    result = run("item52_child_processes.py")
    assert result.returncode != 0
    assert "unsupported" in result.stderr


def test_legacy_provider_prints_three_tails(openssl_3: str) -> None:
    """With the legacy provider the chapter's code prints ten bytes of each of three digests."""
    if not can_whirlpool(*LEGACY):
        pytest.skip(f"no legacy provider beside this {openssl_3}")
    result = run("item52_child_processes.py", "--legacy-provider")
    assert result.returncode == 0, result.stderr
    tails = [ast.literal_eval(line) for line in result.stdout.splitlines()]
    assert [(type(tail), len(tail)) for tail in tails] == [(bytes, 10)] * 3
    assert len(set(tails)) == 3


@pytest.mark.usefixtures("openssl")
def test_book_chain_ends_with_100_bytes() -> None:
    """With the chapter's 100 bytes everything it starts ends, whether or not Whirlpool is there."""
    result = run("item52_child_processes.py")  # waits for the end of both streams, so for the children too
    assert result.returncode in {0, 1}


@LINUX
@pytest.mark.usefixtures("openssl")
def test_book_chain_hangs_with_200000_bytes() -> None:
    """With 200,000 bytes the chapter's code never gets as far as starting the first digest."""
    with subprocess.Popen(
        [sys.executable, BOOK, "--bytes", "200000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own, to be killed as a whole
    ) as process:
        try:
            while not openssl_children(process.pid) and process.poll() is None:
                time.sleep(0.05)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=3)
            children = openssl_children(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert children == ["enc"]


def test_factors_are_the_known_ones(item_53: str) -> None:
    """The divisors are right, found one number after the other or in a thread per number."""
    assert line_with(item_53, "factorize", "serial").endswith("factors as known")
    assert line_with(item_53, "factorize", "threads").endswith("factors as known")


@LINUX
def test_book_socket_does_not_block(item_53: str) -> None:
    """On Linux an unconnected socket is readable at once, so the chapter's select waits for nothing."""
    assert line_with(item_53, "wait, book's socket", "serial").endswith("5 of 5 readable")
    assert line_with(item_53, "wait, book's socket", "threads").endswith("5 of 5 readable")


def test_socketpair_blocks(item_53: str) -> None:
    """A socketpair's end is never readable, so five serial waits of 0.1 s last half a second or more."""
    for executor in ("serial", "threads", "tasks"):
        assert line_with(item_53, "wait, socketpair", executor).endswith("0 of 5 readable")
    assert seconds(line_with(item_53, "wait, socketpair", "serial")) >= 0.5


def test_lock_keeps_every_update(item_54: str) -> None:
    """Under the lock five threads of a million updates count to exactly 5,000,000."""
    assert line_with(item_54, "+=, lock").endswith("expected 5,000,000, found 5,000,000")


def test_unlocked_counts_are_shown_beside_the_expected(item_54: str) -> None:
    """Both updates without a lock print their count, which is at most the expected one."""
    for label in ("+=, no lock", "getattr, add, setattr, no lock"):
        match = re.search(r"expected 5,000,000, found ([\d,]+)$", line_with(item_54, label))
        assert match
        assert 0 < int(match[1].replace(",", "")) <= 5_000_000
