"""Settings from the environment (`THREADMILL_*`); `threadmill settings` prints what is in force."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.errors import RequestRefused
from flows.text import parse_age

if TYPE_CHECKING:
    from db.history import History
    from db.store import Store

# Months and minutes both begin with an m, and what is removed is gone: days and weeks only.
KEEP_FORM = r"[1-9]\d{0,4}[dw]"
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def _check_keep(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(KEEP_FORM, text):
        raise ValueError("write days or weeks: 365d, 52w")
    return text


def _check_age(text: str | None) -> str | None:
    if text is not None:
        parse_age(text)
    return text


class Settings(BaseSettings):
    """What is in force in this process."""

    model_config = SettingsConfigDict(env_prefix="THREADMILL_", env_ignore_empty=True)

    home: Annotated[str, Field(description="folder for history, Prefect's own files and locks")] = (
        platformdirs.user_data_dir("threadmill")
    )
    database_url: Annotated[
        SecretStr | None, Field(description="history database; default: the SQLite file history.sqlite in home")
    ] = None
    database_timeout_s: Annotated[float, Field(ge=0, description="how long to wait for a locked SQLite file")] = 30.0
    key_file: Annotated[str | None, Field(description="path of the key file (see threadmill keygen)")] = None
    vault: Annotated[
        str | None, Field(description="folder of the vault; encrypt keeps ciphertext there, default: discards it")
    ] = None
    paths: Annotated[
        str | None, Field(description="files and folders, joined by colons, for the deployment encrypt-files")
    ] = None
    openssl: Annotated[str, Field(description="name or path of the openssl program")] = "openssl"
    jobs: Annotated[int | None, Field(ge=1, le=256, description="chains at once; default: usable CPUs")] = None
    chain_timeout_s: Annotated[
        float | None, Field(gt=0, description="deadline of one payload; default: 60 s and 1 s per MB")
    ] = None
    keep: Annotated[
        str | None,
        AfterValidator(_check_keep),
        Field(description="age at which maintain removes runs, e.g. 365d; default: never"),
    ] = None
    snapshot_age: Annotated[
        str | None,
        AfterValidator(_check_age),
        Field(description="age of the vault's newest snapshot that status complains about, e.g. 2d; default: never"),
    ] = None
    proof_age: Annotated[
        str | None,
        AfterValidator(_check_age),
        Field(description="how long an object may go unproven before status complains, e.g. 30d; default: for ever"),
    ] = None

    @property
    def history_url(self) -> str:
        """URL of the history database, password included: never to be shown."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{os.path.join(os.path.abspath(self.home), 'history.sqlite')}"

    @property
    def path_list(self) -> tuple[str, ...]:
        """What `paths` names, one by one."""
        return tuple(path for path in (self.paths or "").split(os.pathsep) if path)

    @property
    def measuring_lock(self) -> str:
        """Path of the lock that whatever measures on this host holds; its folder is made here."""
        return os.path.join(make_folder(os.path.join(os.path.abspath(self.home), "locks")), "measure")

    def open_history(self) -> History:
        """Open the record for reading.

        Raises:
            RecordError: it cannot be read, with what to do about it.
        """
        from db.history import History

        history = History(self.history_url, timeout_s=self.database_timeout_s)
        _close_later(history.close)
        return history

    def open_store(self) -> Store:
        """Open the record for writing; make or upgrade it if need be.

        Raises:
            RecordError: it cannot be used, with what to do about it.
        """
        from db.store import Store

        store = Store(self.history_url, timeout_s=self.database_timeout_s)
        _close_later(store.close)
        return store

    @property
    def usable_jobs(self) -> int:
        """Chains to run at once."""
        return self.jobs or len(os.sched_getaffinity(0))


_CLOSED_LATER: ContextVar[ExitStack | None] = ContextVar("_CLOSED_LATER", default=None)


@contextmanager
def records_closed_at_the_end() -> Iterator[None]:
    """Close every record that is opened through the settings in the body, at its end."""
    with ExitStack() as stack:
        before = _CLOSED_LATER.set(stack)
        try:
            yield
        finally:
            _CLOSED_LATER.reset(before)


def _close_later(close: Callable[[], None]) -> None:
    if (stack := _CLOSED_LATER.get()) is not None:
        stack.callback(close)


def make_folder(path: str) -> str:
    """Make a folder for its owner only, unless it is there; its path.

    Raises:
        RequestRefused: it cannot be made.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise RequestRefused(f"{path} cannot be made: {error.strerror}; set another THREADMILL_HOME") from None
    return path


def load_settings() -> Settings:
    """The settings in force.

    Raises:
        RequestRefused: a variable has a value that makes no sense.
    """
    try:
        return Settings()
    except ValidationError as error:
        # Only where and what: the value itself might be a secret.
        wrong = "; ".join(
            f"THREADMILL_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()
        )
        raise RequestRefused(f"settings: {wrong}") from None
