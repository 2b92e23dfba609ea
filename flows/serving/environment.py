"""What Prefect's programs are told by their environment, be the server embedded or `threadmill serve`'s.

Importable without Prefect: Prefect reads the environment when it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from db.engine import parse_url
from flows.serving.mark import MARK
from flows.settings import Settings

AUTH = "PREFECT_API_AUTH_STRING"
_SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"


def prefect_folder(home: str) -> str:
    """Where Prefect's own files are, logs included."""
    return os.path.join(os.path.abspath(home), "prefect")


def prefect_environment(home: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What is to be added to an environment for a server of our own; what the user has set stays."""
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
        # Nothing phones home, nothing advertises.
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # The pages of its other UI ask an address of amplitude.com, whatever else is set.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if _SERVER_AUTH in environment:
        # Who protects the server means its clients here to get in.
        ours[AUTH] = environment[_SERVER_AUTH]
    return {name: value for name, value in ours.items() if name not in environment}


def serve_environment(settings: Settings, url: str, token: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of `serve`'s children; those that are clients find its server at `url`."""
    whole = {
        **environment,
        **prefect_environment(settings.home, environment),
        **_absolute_paths(settings),
        MARK: token,
        "PREFECT_API_URL": f"{url}/api",
    }
    if _SERVER_AUTH in environment:
        whole[AUTH] = environment[_SERVER_AUTH]
    # It is for Prefect Cloud, and would be sent instead of the authentication string.
    whole.pop("PREFECT_API_KEY", None)
    return whole


def _absolute_paths(settings: Settings) -> dict[str, str]:
    """The settings that name files: a worker's flow runs have another current folder than `serve`."""
    paths = {"THREADMILL_HOME": os.path.abspath(settings.home)}
    if settings.key_file is not None:
        paths["THREADMILL_KEY_FILE"] = os.path.abspath(settings.key_file)
    if settings.vault is not None:
        paths["THREADMILL_VAULT"] = os.path.abspath(settings.vault)
    if settings.paths:
        paths["THREADMILL_PATHS"] = os.pathsep.join(map(os.path.abspath, settings.path_list))
    if os.sep in settings.openssl:
        paths["THREADMILL_OPENSSL"] = os.path.abspath(settings.openssl)
    record = parse_url(settings.history_url)
    if settings.database_url is not None and record.get_backend_name() == "sqlite" and record.database:
        record = record.set(database=os.path.abspath(record.database))
        paths["THREADMILL_DATABASE_URL"] = record.render_as_string(hide_password=False)
    return paths
