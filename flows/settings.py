"""Settings from the environment (`THREADMILL_*`); `threadmill settings` prints what is in force."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from flows.errors import RequestRefused
from flows.text import KEEP_FORM, parse_age, parse_percentage

if TYPE_CHECKING:
    from db.engine import Database
    from db.history import History
    from db.lenient import LenientHistory, LenientStore
    from db.store import Store

Record = TypeVar("Record", bound="Database")


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 256:
        raise ValueError("write a whole number from 1 to 256")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 1e7:
        raise ValueError("write a number of seconds: 30, 0.5, at most 10000000")
    return seconds


def _deadline(text: str) -> float:
    if not _seconds(text) > 0:
        raise ValueError("write a number of seconds over 0")
    return _seconds(text)


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0
    if not 0 < amount <= 1e6:
        raise ValueError("write a number over 0: 2, 0.5, at most 1000000")
    return amount


def _age(text: str) -> str:
    parse_age(text)
    return text


def _percentage(text: str) -> str:
    parse_percentage(text)
    return text


def _keep(text: str) -> str:
    if not re.fullmatch(KEEP_FORM, text):
        raise ValueError("write days or weeks: 365d, 52w")
    return text


def _name(text: str) -> str:
    if not text.isprintable() or text != text.strip() or len(text) > 255:
        raise ValueError("write a name of at most 255 characters")
    return text


def _path(text: str) -> str:
    """The absolute path: a flow run stands in another folder than the command. `~` is this user's home."""
    from tasks.files import absolute

    if text == "~" or text.startswith("~/"):
        # Whoever sets it without a shell (cron, systemd, Docker) means the same.
        text = os.path.expanduser(text)
        if text.startswith("~") or os.environ.get("HOME") == "":
            raise ValueError("you have no home directory here; write the path without ~")
    return os.fsdecode(absolute(text))


def _paths(text: str) -> str:
    return os.pathsep.join(_path(path) if path != "-" else path for path in text.split(os.pathsep) if path)


def _program(text: str) -> str:
    return _path(text) if os.sep in text else text


def absolute_url(url: str) -> str:
    """The URL of a database, with an absolute path if it is that of a SQLite file."""
    scheme, _, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not path or path.startswith((os.sep, ":memory:", "file:")):
        return url
    return f"{scheme}:///{_path(path)}"


def _user_data_folder() -> str:
    from platformdirs import user_data_dir

    try:
        return os.path.abspath(user_data_dir("threadmill"))
    except RuntimeError:
        raise RequestRefused("you have no home directory here; set HOME or THREADMILL_HOME") from None


def _setting(description: str, default: Any = None, *, read: Callable[[str], Any] = str, **more: Any) -> Any:
    """A field: its description for `threadmill settings`, its default, and the function that reads it."""
    if "default_factory" not in more:
        more["default"] = default
    return field(metadata={"description": description, "read": read}, **more)


@dataclass(frozen=True)
class Settings:
    """The settings in force in this process; a field is a variable of the environment (`THREADMILL_JOBS`).

    A plain dataclass, because importing pydantic-settings takes half as long as everything that a query needs.
    """

    home: str = _setting("folder for history and Prefect's own files", default_factory=_user_data_folder, read=_path)
    host: str | None = _setting("name of this host on record; default: the system's", read=_name)
    # All users share this folder, may open it, and cannot replace it.
    measuring_lock: str = _setting(
        "folder or file whose lock one measurement at a time holds on this host",
        os.path.realpath("/dev/shm" if os.path.isdir("/dev/shm") else "/"),  # noqa: S108
        read=_path,
    )
    # Without its representation, which would bring its password into a log.
    database_url: str | None = _setting(
        "history database; default: the SQLite file history.sqlite in home", read=absolute_url, repr=False
    )
    database_timeout_s: float = _setting("how long to wait for a locked SQLite file", 30.0, read=_seconds)
    key_file: str | None = _setting("path of the key file (see threadmill keygen)", read=_path)
    vault: str | None = _setting(
        "folder of the vault; encrypt keeps ciphertext there, default: discards it", read=_path
    )
    paths: str | None = _setting("files and folders, joined by colons, for the deployment encrypt-files", read=_paths)
    may_change: str | None = _setting("patterns, joined by colons, of files that may change while a vault takes them")
    openssl: str = _setting("name or path of the openssl program", "openssl", read=_program)
    jobs: int | None = _setting("chains at once; default: usable CPUs", read=_whole_number)
    chain_timeout_s: float | None = _setting("deadline of one payload; default: 60 s and 1 s per MB", read=_deadline)
    keep: str | None = _setting("age at which maintain removes runs, e.g. 365d; default: never", read=_keep)
    snapshot_age: str | None = _setting(
        "age of the vault's newest snapshot that status complains about, e.g. 2d; default: never", read=_age
    )
    most_gone: str = _setting(
        "share of a source's files that may be gone since the last snapshot that counts; more, and one does not count",
        "50%",
        read=_percentage,
    )
    most_faulty: str = _setting(
        "share of a snapshot's files that may have changed while they were read, or failed, before status complains",
        "50%",
        read=_percentage,
    )
    partial_after_s: float = _setting(
        "how often a run into a vault makes a partial snapshot, which the next one takes over", 300.0, read=_deadline
    )
    partial_after_gib: float = _setting("how many GiB such a run reads at most before it makes one", 2.0, read=_amount)
    proof_age: str | None = _setting(
        "how long an object may go unverified before status complains, e.g. 30d; default: for ever", read=_age
    )

    @property
    def history_url(self) -> str:
        """URL of the history database, password included: never to be shown."""
        if self.database_url is not None:
            return self.database_url
        return f"sqlite:///{os.path.join(os.path.abspath(self.home), 'history.sqlite')}"

    @property
    def shown_url(self) -> str:
        """The history database as people may see it: without a password."""
        from db.engine import parse_url, shown

        return shown(parse_url(self.history_url))

    @property
    def path_list(self) -> tuple[str, ...]:
        """The paths in `paths`, one by one."""
        return tuple(path for path in (self.paths or "").split(os.pathsep) if path)

    @property
    def may_change_list(self) -> tuple[str, ...]:
        """The patterns in `may_change`, one by one."""
        return tuple(pattern for pattern in (self.may_change or "").split(os.pathsep) if pattern)

    def open_history(self) -> History:
        """Open the record for reading."""
        from db.history import History

        return _closed_later(History(self.history_url, timeout_s=self.database_timeout_s))

    def open_store(self) -> Store:
        """Open the record for writing; make or upgrade it if need be."""
        from db.store import Store

        return _closed_later(Store(self.history_url, timeout_s=self.database_timeout_s))

    def open_lenient_store(self) -> LenientStore:
        """Open the record for a run that goes on if it cannot be written."""
        from db.lenient import LenientStore

        return _closed_later(LenientStore(self.history_url, timeout_s=self.database_timeout_s))

    def open_lenient_history(self) -> LenientHistory:
        """Open the record for a run that goes on if it cannot be read."""
        from db.lenient import LenientHistory

        return _closed_later(LenientHistory(self.history_url, timeout_s=self.database_timeout_s))

    @property
    def usable_jobs(self) -> int:
        """Chains to run at once."""
        return self.jobs or len(os.sched_getaffinity(0))


# Settings that a command has changed by its options, for a flow that it runs in this process.
_IN_FORCE: ContextVar[Settings | None] = ContextVar("_IN_FORCE", default=None)


@contextmanager
def in_force(settings: Settings) -> Iterator[None]:
    """Have `load_settings` give these settings in the body."""
    before = _IN_FORCE.set(settings)
    try:
        yield
    finally:
        _IN_FORCE.reset(before)


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


def _closed_later(record: Record) -> Record:
    if (stack := _CLOSED_LATER.get()) is not None:
        stack.callback(record.close)
    return record


def make_folder(path: str) -> str:
    """Make a folder for its owner only, unless it is there; its path. Refused if others own it, or may write to it."""
    from db.readable import private_folder

    try:
        made = private_folder(path)
        if os.stat(made).st_uid not in (os.geteuid(), 0):
            raise PermissionError(errno.EPERM, "it belongs to another user", path)
    except OSError as error:
        raise RequestRefused(f"{path} cannot be used: {error.strerror}; set another THREADMILL_HOME") from None
    return made


def load_settings() -> Settings:
    """The settings in force: those of the command that runs in this process, or else of the environment."""
    if (settings := _IN_FORCE.get()) is not None:
        return settings
    given: dict[str, Any] = {}
    wrong = []
    for one in fields(Settings):
        text = os.environ.get(variable(one.name))
        try:
            # An empty variable is as good as none.
            given |= {one.name: one.metadata["read"](text)} if text else {}
        except ValueError as error:
            # Without the value, which might be a secret in the wrong place.
            wrong.append(f"{variable(one.name)}: {error}")
    if wrong:
        raise RequestRefused(f"settings: {'; '.join(wrong)}")
    return Settings(**given)


def settings_with(vault: str | None, key_file: str | None, jobs: int | None = None) -> Settings:
    """The settings in force, but for the options that are given; an empty path is refused."""
    for option, path in (("--key-file", key_file), ("--vault", vault)):
        # From a shell variable that is not set: the ciphertext would be discarded without a word.
        if path == "":
            raise RequestRefused(f"{option} is empty: give a path, or leave it out")
    if jobs is not None and not 1 <= jobs <= 256:
        raise RequestRefused("--jobs is between 1 and 256")
    before = load_settings()
    return replace(
        before,
        vault=_path(vault) if vault else before.vault,
        key_file=_path(key_file) if key_file else before.key_file,
        jobs=jobs or before.jobs,
    )


def variable(name: str) -> str:
    """The variable of the environment that sets a field."""
    return f"THREADMILL_{name.upper()}"
