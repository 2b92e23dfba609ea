"""The one Prefect server of a THREADMILL_HOME: lock, how commands find it, environment of its programs.

`threadmill serve` holds the lock for as long as it lives, however it ends; a small file beside the lock says where its
server is. A command with an embedded server shares the lock with others like it: two servers on one database file
would be one too many.

Nothing here imports Prefect, which reads the environment when it is imported.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from flows.errors import ApiError, RequestRefused
from flows.serving.api import Api
from flows.serving.password import CREDENTIALS, PROFILE, logging_path, prefect_folder, profiles_path
from flows.serving.processes import MARK
from flows.settings import Settings, absolute_url, make_folder, variable
from tasks.files import write_file

# The settings that name files, absolute ones.
_FILES = ("home", "database_url", "key_file", "vault", "paths", "openssl")
_PREFECT_FILE = re.compile("PREFECT_(HOME|PROFILES_PATH|.*(CONFIG|SETTINGS|STORAGE|STORE)_PATH|.*_FILE|.*_DIRECTORY)")
_POLL_S = 0.2
# How long another process may take to start a server.
_STARTING_S = 180.0


@dataclass(frozen=True, slots=True)
class Live:
    """A `serve` that is running; `url` is the address of its UI."""

    url: str
    pid: int


@contextmanager
def hold(home: str) -> Iterator[None]:
    """Be the one `serve` of this THREADMILL_HOME; refused if there is one, or an embedded server uses its files."""
    descriptor = _open(home)
    try:
        # More than once: another command may just be looking.
        for _ in range(3):
            if _lock(descriptor, fcntl.LOCK_EX):
                break
            time.sleep(_POLL_S)
        else:
            raise RequestRefused(_why_not(home))
        _forget(home)
        try:
            yield
        finally:
            _forget(home)
    finally:
        os.close(descriptor)


def announce(home: str, live: Live) -> None:
    """Say where the server is; the file is there whole, or not at all."""
    write_file(_state(home), json.dumps({"url": live.url, "pid": live.pid}).encode(), replace=True)


def share(home: str) -> bool:
    """Keep `serve` from starting for as long as this process lives; False if there is one already."""
    descriptor = _open(home)
    if not _lock(descriptor, fcntl.LOCK_SH):
        os.close(descriptor)
        return False
    _forget(home)
    return True


def find(home: str) -> Live | None:
    """The `serve` that is running; None if there is none, or if its server does not answer yet."""
    if not os.path.exists(_path(home)):
        return None
    descriptor = _lock_file(home)
    try:
        return None if _lock(descriptor, fcntl.LOCK_SH) else _read(home)
    finally:
        os.close(descriptor)


def _why_not(home: str) -> str:
    if live := _read(home):
        return (
            f"threadmill serve is running already: {live.url}, process {live.pid}; end that one first, "
            "or set another THREADMILL_HOME"
        )
    return (
        f"another threadmill serve is just starting in {os.path.abspath(home)}, or a command with --via prefect "
        "is using its files; try again when that is done"
    )


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(home: str) -> int:
    make_folder(home)
    make_folder(os.path.dirname(_path(home)))
    return _lock_file(home)


def _lock_file(home: str) -> int:
    try:
        return os.open(_path(home), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RequestRefused(f"{_path(home)} cannot be locked: {error.strerror}; remove it") from None


def _read(home: str) -> Live | None:
    try:
        with open(_state(home), encoding="utf-8") as file:
            said = json.load(file)
        return Live(str(said["url"]), int(said["pid"]))
    except (FileNotFoundError, ValueError, RecursionError, KeyError, TypeError, OverflowError):
        return None


def _forget(home: str) -> None:
    """Remove the file of a `serve` that is gone."""
    with suppress(FileNotFoundError):
        os.remove(_state(home))


def _path(home: str) -> str:
    return os.path.join(os.path.abspath(home), "locks", "serve")


def _state(home: str) -> str:
    return f"{_path(home)}.json"


def stand_aside(home: str) -> None:
    """Leave the current folder for Prefect's own, for good.

    Prefect and its children take settings from `.env`, `prefect.toml` and `pyproject.toml` of the current folder, code
    to run among them, whenever a thread asks for a setting; and `python -m` imports modules from it.
    """
    os.environ.update(absolute_files(os.environ))
    make_folder(home)
    os.chdir(make_folder(prefect_folder(home)))


def absolute_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Prefect's variables that name files, by absolute paths: its processes stand in another folder than the user."""
    files = {
        name: os.path.abspath(value)
        for name, value in environment.items()
        if _PREFECT_FILE.fullmatch(name) and value and not value.startswith(("~", "$"))
    }
    urls = {name: absolute_url(url) for name, url in environment.items() if name.endswith("_DATABASE_CONNECTION_URL")}
    return files | urls


def use_server(home: str) -> bool:
    """Turn Prefect's clients to the server that the user has set, or to that of a live `threadmill serve`.

    False if there is neither. To be called before Prefect is imported.
    """
    if os.environ.get("PREFECT_API_URL"):
        return True
    live = find(home)
    if live is None:
        return False
    turn_to(home, live.url)
    return True


def turn_to(home: str, url: str) -> None:
    """Turn Prefect's clients to a server of our own."""
    found = client_environment(home, url, os.environ)
    for name in CREDENTIALS:
        os.environ.pop(name, None)
    os.environ.update(found)


def wait_for_server(home: str, tell: Callable[[str], None]) -> bool:
    """Do as `use_server`, and wait for a server that is just starting; if there is none, keep `serve` from starting."""
    give_up = time.monotonic() + _STARTING_S
    while not use_server(home):
        if share(home):
            return False
        if time.monotonic() > give_up:
            raise RequestRefused(f"threadmill serve was still starting after {_STARTING_S:.0f} s; try again")
        tell("waiting for threadmill serve, which is just starting")
        time.sleep(_POLL_S)
    return True


def check(api: Api) -> None:
    """Refuse to go on if the server cannot be reached, or does not let this user in."""
    try:
        api.ask("GET", "health")
        # Unlike the first path, this one is protected where the server is.
        api.ask("GET", "admin/version")
    except ApiError as error:
        if error.status is None:
            raise RequestRefused(
                f"Prefect's server at PREFECT_API_URL={api.url} cannot be reached ({error.reason}); "
                "start it, unset PREFECT_API_URL, or use --via direct"
            ) from None
        if error.status == HTTPStatus.UNAUTHORIZED and not os.environ.get("PREFECT_API_KEY"):
            raise RequestRefused(
                f"Prefect's server at {api.url} wants authentication: set PREFECT_API_AUTH_STRING to what it was "
                "started with as PREFECT_SERVER_API_AUTH_STRING"
            ) from None
        # It answers, if not to this question (Prefect Cloud).


def prefect_environment(home: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to be added to an environment for a server of our own; those that the user has set stay."""
    ours = {
        # Prefect's own files in a folder of ours: the user's profile is left alone.
        "PREFECT_HOME": prefect_folder(home),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        # The default of 20 s is too short for a first start on a busy host.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # Without these the embedded server loses task runs when it ends, and takes three times the CPU per task run.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1.0",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        # The automation on lost runs still knows what it waited for when the server was down for hours (default: 60 s).
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
        # Flow runs wait for each other on the queue `measure`: one is late when it really is.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "300",
        # Nothing advertises; `flows` itself says that nothing phones home.
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # The pages of its other UI ask an address of amplitude.com, whatever else is set.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # By default they are written into the package, which may be another user's.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": os.path.join(prefect_folder(home), "ui"),
    }
    if not os.path.isabs(os.path.expanduser("~")):
        # A user without a home, whom Prefect would refuse.
        ours["HOME"] = prefect_folder(home)
    if "PREFECT_UI_STATIC_DIRECTORY" in environment:
        del ours["PREFECT_SERVER_UI_STATIC_DIRECTORY"]
    return {name: value for name, value in ours.items() if name not in environment}


def client_environment(home: str, url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which Prefect's programs find a server of our own, and in a file their password."""
    return {
        **prefect_environment(home, environment),
        "PREFECT_PROFILES_PATH": profiles_path(home),
        "PREFECT_PROFILE": PROFILE,
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_LOGGING_CONFIG_PATH": logging_path(home),
        # Longer messages are cut in its log, and what is left of a password is not known as one.
        "WEBSOCKETS_MAX_LOG_SIZE": "10000",
    }


def serve_environment(settings: Settings, url: str, token: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of `serve`'s children; those that are clients find its server at `url`."""
    whole = {
        **environment,
        **absolute_files(environment),
        **client_environment(settings.home, url, environment),
        **{variable(name): value for name in _FILES if (value := getattr(settings, name)) is not None},
        MARK: token,
    }
    return {name: value for name, value in whole.items() if name not in CREDENTIALS}
