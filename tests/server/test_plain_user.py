"""A plain user runs the commands, from an environment that belongs to root."""

from __future__ import annotations

from pathlib import Path

import flows
from tests.support.account import Account, open_to_others
from tests.support.commands import read_json


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
    assert open_to_others(account.home) <= {
        account.home / "tree",
        account.home / "tree/file",
        restored,
        restored.parent,
    }


def test_a_flow_run_works(account: Account) -> None:
    """`--via prefect` brings up the embedded server in the account's home, also in one that was there before."""
    home = Path(account.environment["THREADMILL_HOME"])
    account.run("mkdir", "-p", home)
    account.run("chmod", "755", home)
    done = account.threadmill("encrypt", "--random", "10x2", "--via", "prefect", "--json", umask=0)
    assert done.returncode == 0, done.stderr
    assert (home / "prefect" / "prefect.db").exists()
    assert open_to_others(home) == {home}
    (run, *_) = read_json(account.threadmill("history", "runs", "--json"))
    assert run["flow_run_id"]
