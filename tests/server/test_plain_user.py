"""A plain user runs the commands and `serve`, from an environment that belongs to root."""

from __future__ import annotations

import os
import re
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import flows
from tests.support.account import Account, make_account, open_to_others
from tests.support.commands import read_json
from tests.support.served import serving


def test_the_environment_is_another_users(account: Account) -> None:
    """The account can write neither to the environment nor to the package."""
    for path in (account.bin, account.bin / "threadmill", account.bin.parent / "lib", flows.__path__[0]):
        assert account.run("test", "-w", path).returncode == 1


# In this order: each command needs those before it.
COMMANDS = (
    "keygen key", "vault init vault", "encrypt tree --vault vault", "verify --vault vault",
    "restore latest back --vault vault", "status --vault vault --only-vault", "history runs", "history show latest",
    "history verify", "experiment race --guard lock --shape augmented --quick", "interpreters",
    "report --output page.html", "export --output csv", "maintain",
)  # fmt: skip


def test_the_commands_work(account: Account) -> None:
    """Key file, vault, experiment, record and report are made in the account's home."""
    account.environment["THREADMILL_KEY_FILE"] = str(account.home / "key")
    account.run("mkdir", "tree")
    account.run("tee", "tree/file", input="content")
    for command in COMMANDS:
        done = account.threadmill(*command.split(), umask=0)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    restored = account.home / "back" / str(account.home).lstrip("/") / "tree" / "file"
    assert restored.read_text() == "content"
    # The folder of the record may have been made by a test.
    named = {account.home / "tree", account.home / "tree/file", restored, restored.parent, account.home / "threadmill"}
    assert open_to_others(account.home) <= named


def test_a_file_that_cannot_be_read_is_named(account: Account) -> None:
    """The others are encrypted; the exit code says that some are missing."""
    account.run("mkdir", "-p", "part/closed")
    for name in ("part/open", "part/shut"):
        account.run("tee", name, input="content")
    account.run("chmod", "0", "part/closed", "part/shut")
    account.threadmill("keygen", "part.key")
    done = account.threadmill("encrypt", "part", "--discard", "--json", "--key-file", "part.key")
    assert done.returncode == 3
    assert sorted(line.split(" failed: ")[0] for line in done.stderr.splitlines() if "denied" in line) == [
        f"{account.home}/part/closed", f"{account.home}/part/shut",
    ]  # fmt: skip


def test_a_user_may_have_no_home(account: Account) -> None:
    """Where threadmill has a folder, even Prefect and plots do without a home; where it has none, it asks."""
    environment = {name: value for name, value in account.environment.items() if name != "HOME"}
    run = ("encrypt", "--random", "10x1")
    home = Path(account.environment["THREADMILL_HOME"])
    account.run("mkdir", "-p", home)
    account.run("chmod", "755", home)
    for command in ((*run, "--via", "prefect"), ("report", "--output", "homeless.html")):
        done = account.threadmill(*command, env=environment, umask=0)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert (home / "prefect" / "prefect.db").exists()
    assert [path for path in open_to_others(home) if not path.is_relative_to(home / "prefect/ui")] == [home]
    (last, *_) = read_json(account.threadmill("history", "runs", "--json", env=environment))
    assert last["flow_run_id"]
    del environment["THREADMILL_HOME"]
    for folder, words in ((None, "set HOME or THREADMILL_HOME"), ("/nonexistent", "Permission denied")):
        refused = account.threadmill(*run, env=environment | ({"HOME": folder} if folder else {}))
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert words in refused.stderr


def test_two_users_serve_at_once(account: Account) -> None:
    """Neither stops the other, where both use one folder for temporary files: each has the UI, a worker, flow runs."""
    with make_account(account) as other, tempfile.TemporaryDirectory(prefix="threadmill-shared-") as shared:
        os.chmod(shared, 0o1777)  # noqa: S103 - as /tmp is
        with ExitStack() as stack:
            both = []
            for one in (account, other):
                # Prefect had a folder of this name there, which belonged to the first.
                one.run("mkdir", "-m", "700", f"{shared}/runner_storage")
                environment = one.environment | {"TMPDIR": shared}
                both.append(stack.enter_context(serving(environment, one.home, one.start, one.bin)))
            runs = [served.request("encrypt-payloads", size_bytes=100, count=2) for served in both]
            for served, run in zip(both, runs, strict=True):
                page = read(served.url)
                (script,) = re.findall(r'<script[^>]* src="([^"]+)"', page)
                assert "import" in read(f"{served.url}{script}")
                served.completed(run)
                status = served.threadmill("status")
                assert status.returncode == 0, (status.stdout, status.stderr)
                assert "encrypt-files" in status.stdout
        assert account.processes() == other.processes() == []
        assert os.listdir(shared) == ["runner_storage"]


def read(url: str) -> str:
    """The page of a server."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own loopback address
        return str(answer.read().decode())
