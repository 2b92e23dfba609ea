"""Errors carry their data, survive pickling, and read as one clear line."""

from __future__ import annotations

import errno
import pickle

import pytest

from tasks.crypto import errors
from tasks.crypto.chain import StageResult
from tasks.crypto.errors import CryptoError
from tasks.vault import errors as vault_errors

EACH: list[CryptoError] = [
    errors.KeyFileError("/keys/a", "no such file"),
    errors.BackendUnavailable("openssl", "no program openssl on PATH"),
    errors.SourceUnreadable(errno.EACCES),
    errors.SourceNoFile("FIFO"),
    errors.SourceSkipped("FIFO"),
    errors.SourceChanged("3 bytes became 4"),
    errors.SourceReplaced("/home/u/documents"),
    errors.InputNotRead(8192, 10000),
    errors.OddSize(0, 1234),
    errors.WrongLength("the ciphertext", 16, 19),
    errors.LegacySize("classic", 9 << 20, 8 << 20),
    errors.StageNotStarted("openssl enc", errno.ENOENT),
    errors.StageFailed("openssl enc", -9, ""),
    errors.DeadlineExceeded(1.5),
    errors.Cancelled(),
]


VAULT = [
    *(
        leaf("/srv/vault", "is in use")
        for leaf in vault_errors.VaultError.__subclasses__()
        if leaf is not vault_errors.VaultUnwritable
    ),
    vault_errors.SnapshotInvalid("/srv/vault", "line 3 is not JSON"),
    vault_errors.VaultUnwritable("/srv/vault", errno.ENOSPC),
    vault_errors.TargetUnusable("/home/back", "is not a folder"),
    vault_errors.ScratchFull("database or disk is full"),
]


def leaves() -> set[type[CryptoError]]:
    return {leaf for leaf in CryptoError.__subclasses__() if leaf.__module__ == errors.__name__}


def test_every_leaf_is_looked_at_below() -> None:
    """The list above has one of each leaf, so that a new one cannot be forgotten."""
    assert {type(error) for error in EACH} == leaves()


def test_causes_are_distinct() -> None:
    """Every leaf has a short word of its own for the record."""
    causes = [leaf.cause for leaf in leaves()]
    assert len(set(causes)) == len(causes)
    assert CryptoError.cause not in causes


@pytest.mark.parametrize("error", [*EACH, *VAULT], ids=lambda error: type(error).__name__)
def test_pickled_errors_come_back_whole(error: CryptoError) -> None:
    """Type, data, text and the stages that had ended all survive pickling."""
    error.stages = (StageResult("openssl enc", 1, 2, 3, 4, "no"),)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(back) is type(error)
    assert (back.args, vars(back), str(back), back.cause) == (error.args, vars(error), str(error), error.cause)


@pytest.mark.parametrize("error", [*EACH, *VAULT], ids=lambda error: type(error).__name__)
def test_errors_are_one_line(error: CryptoError) -> None:
    """Every text is one non-empty line."""
    assert str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("exit_code", "complaint", "text"),
    [
        (1, "", "p exited with 1"),
        (1, "no such cipher", "p exited with 1: no such cipher"),
        (0, "read error", "p exited with 0 but complained: read error"),
        (-9, "", "p was killed by SIGKILL"),
        (-99, "", "p was killed by signal 99"),
    ],
)
def test_failed_stages_say_how_they_ended(exit_code: int, complaint: str, text: str) -> None:
    """A stage's end is told as exit code, as the signal's name, or as its complaint."""
    assert str(errors.StageFailed("p", exit_code, complaint)) == text


def test_legacy_size_says_what_to_do() -> None:
    """The refusal of a large legacy payload names the limit, the reason and both ways on."""
    text = str(errors.LegacySize("classic", 9 << 20, 8 << 20))
    assert "8 MiB" in text
    assert "collide" in text
    assert "modern" in text
    assert "--allow-legacy-size" in text
