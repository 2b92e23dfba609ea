"""The password of the server that threadmill starts, how Prefect's programs get it, and how their logs do not.

A profile and not the environment, which children of children inherit; nor the command line, which everybody reads.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import os
import secrets
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flows.errors import RequestRefused
from flows.settings import make_folder
from tasks.files import closed_after, open_regular, write_file

AUTH = "PREFECT_API_AUTH_STRING"
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
# The last one is for Prefect Cloud.
CREDENTIALS = (AUTH, SERVER_AUTH, "PREFECT_API_KEY")
PROFILE = "threadmill"

JsonObject = dict[str, Any]


def prefect_folder(home: str) -> str:
    """Where Prefect's own files are, logs included."""
    return os.path.join(os.path.abspath(home), "prefect")


def profiles_path(home: str) -> str:
    """The file with the profile of a server of our own."""
    return os.path.join(prefect_folder(home), "profiles.toml")


def logging_path(home: str) -> str:
    """The logging configuration of Prefect's programs at a server of our own."""
    return os.path.join(prefect_folder(home), "threadmill-logging.yml")


def password_file(home: str) -> str:
    """The file with the password that threadmill has drawn for its servers."""
    return os.path.join(prefect_folder(home), "password")


def own_password(home: str) -> str:
    """User and password of the server in Prefect's form, drawn on first need; the file is for its owner only."""
    path = password_file(home)
    make_folder(os.path.dirname(path))
    if not os.path.lexists(path):
        # Another process may just have drawn one.
        with suppress(FileExistsError):
            write_file(path, f"{PROFILE}:{secrets.token_urlsafe(16)}\n".encode(), replace=False)
    descriptor, _ = open_regular(path)
    with closed_after(descriptor):
        status, password = os.fstat(descriptor), os.read(descriptor, 1000).decode(errors="replace").rstrip("\n")
    if status.st_mode & 0o077 or status.st_uid != os.geteuid() or not password:
        raise RequestRefused(f"{path} is empty or open to others: remove it, and another password is drawn")
    return password


def write_profile(home: str, environment: Mapping[str, str], url: str | None, password: str | None) -> None:
    """Write the profile that Prefect's programs at a server of our own take: for its owner only, and no environment.

    Environments are inherited by children of children. Settings that the user's own profile has go along.
    """
    path = profiles_path(home)
    profiles: dict[str, dict[str, object]] = read_profiles(path).get("profiles", {})
    kept = {
        name: value
        for name, value in active_profile({"PREFECT_HOME": prefect_folder(home), **environment}).items()
        if name not in CREDENTIALS
    }
    ours = {"PREFECT_API_URL": url and f"{url}/api", AUTH: password, SERVER_AUTH: password}
    profiles[PROFILE] = {name: value for name, value in (kept | ours).items() if value is not None}
    lines = [f"active = {json.dumps(PROFILE)}"]
    for profile, settings in profiles.items():
        lines += [f"\n[profiles.{json.dumps(profile)}]"]
        # A string of JSON is one of TOML, too.
        lines += [f"{json.dumps(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    _write(path, "\n".join([*lines, ""]))


def write_logging(home: str, environment: Mapping[str, str]) -> None:
    """Write the logging configuration that Prefect's programs would have, with `hide_secrets` beside it.

    Prefect reads it in every process before it connects to anything: also in those that it starts itself.
    """
    import yaml

    spec = importlib.util.find_spec("prefect")
    assert spec is not None  # noqa: S101 - it is installed with threadmill
    package = os.path.dirname(spec.origin or "")
    given = environment.get("PREFECT_LOGGING_CONFIG_PATH") or environment.get("PREFECT_LOGGING_SETTINGS_PATH")
    own = os.path.expanduser(given or os.path.join(prefect_folder(home), "logging.yml"))
    found = next(path for path in (own, os.path.join(package, "logging", "logging.yml")) if os.path.exists(path))
    try:
        with open(found, encoding="utf-8") as file:
            configuration = dict(yaml.safe_load(file))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise RequestRefused(f"{found} is no logging configuration ({type(error).__name__})") from None
    factory = {"()": f"{__name__}.{hide_secrets.__name__}"}
    configuration["filters"] = {**(configuration.get("filters") or {}), "threadmill": factory}
    _write(logging_path(home), yaml.safe_dump(configuration, sort_keys=False))


def hide_secrets() -> logging.Filter:
    """Let no log record of this process show a password of Prefect's, whatever its level and its logger.

    The library below Prefect's WebSockets logs every message and header at level DEBUG. Prefect's worker puts the
    password into the environment of flow runs, which have it from the profile, too: their children do not inherit it.
    Made for a place where a filter is expected, this one does nothing.
    """
    profile = active_profile(os.environ)
    settings = {**profile, **os.environ}
    for name in CREDENTIALS:
        if name in profile and os.environ.get(name) == profile[name]:
            del os.environ[name]
    hidden = {settings[name] for name in CREDENTIALS if settings.get(name)}
    hidden |= {base64.b64encode(one.encode()).decode() for one in hidden}
    hidden |= {json.dumps(one)[1:-1] for one in hidden}
    make = logging.getLogRecordFactory()

    def make_without(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        # A message that does not fit its arguments is complained about later, as usual.
        with suppress(TypeError, ValueError, KeyError):
            text = record.getMessage()
            for secret in filter(text.__contains__, hidden):
                record.msg, record.args = (text := text.replace(secret, "********")), ()
        return record

    logging.setLogRecordFactory(make_without)
    return logging.Filter()


def _write(path: str, text: str) -> None:
    """Write a file for its owner only; it is there whole, or as it was."""
    make_folder(os.path.dirname(path))
    write_file(path, text.encode(), replace=True)


def profiles_file(environment: Mapping[str, str]) -> str:
    """The file that Prefect's own programs would read profiles from."""
    home = environment.get("PREFECT_HOME") or "~/.prefect"
    return os.path.expanduser(environment.get("PREFECT_PROFILES_PATH") or os.path.join(home, "profiles.toml"))


def read_profiles(path: str) -> JsonObject:
    """The name of the active profile, and the profiles; nothing if it is missing or no TOML, as Prefect sees it."""
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
        profiles = {name: {one: str(value) for one, value in own.items()} for name, own in found["profiles"].items()}
    except (OSError, ValueError, RecursionError, KeyError, AttributeError):
        return {}
    return {"active": str(found.get("active")), "profiles": profiles}


def active_profile(environment: Mapping[str, str]) -> JsonObject:
    """The settings in the profile that Prefect's own programs would take."""
    found = read_profiles(profiles_file(environment))
    profile: JsonObject = found.get("profiles", {}).get(environment.get("PREFECT_PROFILE") or found.get("active"), {})
    return profile
