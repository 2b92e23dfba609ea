"""A plain user runs the commands, from an environment that belongs to root."""

from __future__ import annotations

import flows
from tests.support.account import Account
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
        done = account.threadmill(*command.split())
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    restored = account.home / "back" / str(account.home).lstrip("/") / "tree" / "file"
    assert restored.read_text() == "content"


def test_a_flow_run_works(account: Account) -> None:
    """`--via prefect` brings up the embedded server in the account's home."""
    done = account.threadmill("encrypt", "--random", "10x2", "--via", "prefect", "--json")
    assert done.returncode == 0, done.stderr
    (run, *_) = read_json(account.threadmill("history", "runs", "--json"))
    assert run["flow_run_id"]
