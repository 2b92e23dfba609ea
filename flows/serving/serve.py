"""`serve`: bring up server, deployments and worker, stay, and take them down."""

from __future__ import annotations

import atexit
import errno
import os
import platform
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.errors import ApiError, CommandFailed, RequestRefused, ServeError
from flows.serving import deployments, server
from flows.serving.api import Api, is_open
from flows.serving.deployments import DeploymentState
from flows.serving.password import (
    SERVER_AUTH,
    own_password,
    password_file,
    prefect_folder,
    write_logging,
    write_profile,
)
from flows.serving.processes import (
    Child,
    Interrupted,
    Watch,
    end_flow_runs,
    running_processes,
    standing_by,
    start_module,
    told_to_end,
)
from flows.settings import Settings

_HOST = "127.0.0.1"
PROGRAM = "flows.serving.program"
_NOT_ASKING = "Prefect's server does not ask for its password: one of the PREFECT_ variables keeps its profile away"
_POLL_S = 0.2
# On an idle machine: server 10 s, deployments and worker 5 s each.
_START_S = 180.0
_PLAN_S = 30.0
# A run that is cancelled closes its row and ends in about two seconds; more is one that does not listen.
_CANCEL_S = 20.0
_GRACE_S = 10.0
_ENDED = "threadmill serve was ended"


@dataclass(frozen=True, slots=True)
class Serving:
    """A server and worker that are up: the UI's address, the folder of the logs, and the next runs.

    `password` is the drawn one, and `password_file` has it; None if the server asks for the user's own, or for none.
    """

    url: str
    logs: str
    upcoming: tuple[DeploymentState, ...]
    password: str | None
    password_file: str


def serve(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    port: int,
    limit: int | None,
    auth: bool,
    tell: Callable[[str], None],
    ready: Callable[[Serving], None],
) -> None:
    """Serve until told to end by a signal; at the end no process is left.

    The children get `environment`, that of this process, with what they need. `tell` hears of each stage, a line each,
    and `ready` is called once everything is up. Without `auth` the server asks for no password.
    """
    _check(environment, port, auth)
    token = uuid.uuid4().hex
    # Whoever writes to the profile while `serve` holds its lock is `serve`.
    with server.hold(settings.home), told_to_end(token) as stop, listen(port) as listener:
        url = url_of(listener)
        drawn = own_password(settings.home) if auth and not environment.get(SERVER_AUTH) else None
        write_profile(settings.home, environment, url, (drawn or environment.get(SERVER_AUTH)) if auth else None)
        write_logging(settings.home, environment)
        whole = server.serve_environment(settings, url, token, environment)
        folder = prefect_folder(settings.home)
        with standing_by(token, whole, os.path.join(folder, "warden.log")) as warden:
            watch = Watch(stop)
            watch.add(warden)
            stack = _Stack(Api(whole), url, whole, folder, watch, tell)
            try:
                stack.start_server(listener.fileno(), auth)
                server.announce(settings.home, server.Live(url, os.getpid()))
                stack.bring_up(limit)
                ready(Serving(url, folder, tuple(stack.planned()), drawn, password_file(settings.home)))
                while True:
                    watch.pause(3600)
            except ApiError as error:
                raise ServeError(str(error)) from error
            except Interrupted:
                tell("ending: flow runs are cancelled, then the worker and the server stop")
            finally:
                take_down(stack.api, token, stack.server, stack.worker)
                # Later another user's program may have the port, and is not to be sent the password.
                write_profile(settings.home, environment, None, None)


@dataclass
class _Stack:
    """Server and worker, started one after the other; both are None until then."""

    api: Api
    url: str
    environment: Mapping[str, str]
    folder: str
    watch: Watch
    tell: Callable[[str], None]
    server: Child | None = None
    worker: Child | None = None

    def start_server(self, listener: int, auth: bool) -> None:
        """Start the server on a socket that listens already."""
        self.tell("starting Prefect's server (about 10 s)")
        self.server = self.watch.add(self._start("Prefect's server", "server", PROGRAM, str(listener), fd=listener))
        self._wait(self.api.healthy, "Prefect's server does not answer", self.server.log)
        if auth and is_open(self.api.url):
            raise ServeError(_NOT_ASKING)

    def bring_up(self, limit: int | None) -> None:
        """Start everything else, in the order in which one needs the other."""
        self.tell("deploying prefect.yaml")
        self._deploy()
        self.tell("starting a worker")
        self._start_worker(limit)

    def planned(self) -> list[DeploymentState]:
        """The deployments by their next runs, which the server plans within some seconds after a deploy."""

        def all_planned() -> bool:
            return all(row.next_at or not row.scheduled for row in deployments.upcoming(self.api))

        self.watch.until(all_planned, _PLAN_S, every_s=1)
        return deployments.upcoming(self.api)

    def _deploy(self) -> None:
        deployments.settle(self.api, "CRASHED", "its process was gone when threadmill serve started")
        if self.api.find(f"work_pools/{deployments.POOL}") is None:
            # Prefect's command for it would have the server ask the world for a catalogue of pool types.
            once = self._start("making the work pool", "deploy", *_worker("--type", "process", "--run-once"))
            self.watch.finish(once, _START_S)
        deployments.prepare_queue(self.api)
        deployments.prepare_automations(self.api)
        # In the folder of prefect.yaml, which is also where the deployments' runs will find themselves.
        with deployments.schedules_kept(self.api, Path(self.folder, "deployed")):
            deploy = ("deploying prefect.yaml", "deploy", "prefect", "--no-prompt", "deploy", "--all")
            self.watch.finish(self._start(*deploy, cwd=deployments.ROOT), _START_S)

    def _start_worker(self, limit: int | None) -> None:
        before = self._heard()
        self.worker = self._start("the worker", "worker", *_worker(*(["--limit", str(limit)] if limit else [])))
        self.watch.add(self.worker)

        self._wait(lambda: self._heard() != before, "the worker does not report", self.worker.log)

    def _heard(self) -> str | None:
        """The time of the last heartbeat of this host's worker."""
        found = self.api.list(f"work_pools/{deployments.POOL}/workers")
        return next((one["last_heartbeat_time"] for one in found if one["name"] == platform.node()), None)

    def _start(self, name: str, log: str, *arguments: str, cwd: Path | None = None, fd: int | None = None) -> Child:
        # Elsewhere than where the user is: Prefect would read settings from files in the current folder.
        path, cwd_path = os.path.join(self.folder, f"{log}.log"), str(cwd or self.folder)
        return start_module(name, arguments, self.environment, path, cwd_path, pass_fds=() if fd is None else (fd,))

    def _wait(self, true: Callable[[], bool], otherwise: str, log: str) -> None:
        if not self.watch.until(true, _START_S, _POLL_S):
            raise ServeError(f"{otherwise}; see {log}")


def _worker(*options: str) -> list[str]:
    return ["prefect", "worker", "start", "--pool", deployments.POOL, "--name", platform.node(), *options]


def _check(environment: Mapping[str, str], port: int, auth: bool) -> None:
    if environment.get("PREFECT_API_URL"):
        raise RequestRefused(
            "PREFECT_API_URL is set, and serve starts a server of its own: unset it, "
            "or deploy to that server as docs/scheduling.md says"
        )
    if not auth and environment.get(SERVER_AUTH):
        raise RequestRefused(f"{SERVER_AUTH} is set: unset it, or leave --no-auth out")
    if not 1 <= port <= 65535:
        raise RequestRefused("--port is between 1 and 65535")
    if not deployments.PREFECT_YAML.exists():
        raise RequestRefused(f"there is no {deployments.PREFECT_YAML}: serve needs threadmill installed from a clone")


def bound(port: int) -> socket.socket:
    """A socket that listens on the loopback address; 0 is any port. Raises OSError or OverflowError."""
    listener = socket.socket()
    try:
        # A port whose last connections are just being closed is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def listen(port: int) -> socket.socket:
    """The socket that a server is handed: it has the port before any program of another user. A taken one is refused.

    0 is any port.
    """
    try:
        return bound(port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be used: {error.strerror}"
        raise RequestRefused(f"port {port} {why}; choose another one with --port") from None


def url_of(listener: socket.socket) -> str:
    """The address of the server that has this socket."""
    return f"http://{_HOST}:{listener.getsockname()[1]}"


def start_embedded(home: str) -> None:
    """Start a server that ends with this process, and turn Prefect's clients to it."""
    from tasks.crypto.chain import death_signal_argv

    write_profile(home, os.environ, None, own_password(home))
    write_logging(home, os.environ)
    with listen(0) as listener:
        server.turn_to(home, url := url_of(listener))
        child = start_module(
            "Prefect's embedded server",
            [PROGRAM, str(listener.fileno())],
            {**os.environ, "PREFECT__SERVER_EPHEMERAL": "1"},
            os.path.join(prefect_folder(home), "embedded.log"),
            prefect_folder(home),
            pass_fds=[listener.fileno()],
            guard=death_signal_argv(),
        )
    # Prefect is imported later, so that its own last words come first.
    atexit.register(child.end, _GRACE_S)
    give_up = time.monotonic() + _START_S
    api = Api(os.environ)
    while not api.healthy():
        if not child.running or time.monotonic() > give_up:
            raise CommandFailed(f"{child.name} does not answer; see {child.log}")
        time.sleep(_POLL_S)
    if is_open(f"{url}/api"):
        raise CommandFailed(_NOT_ASKING)


def take_down(api: Api, token: str, server: Child | None, worker: Child | None) -> None:
    """End everything in order, within about a minute at worst.

    Never the worker before its flow runs: it kills them, and their rows would stay open.
    """
    serving = server is not None and server.running and worker is not None
    if serving and worker is not None and worker.running:
        # Where the server no longer answers, what follows needs none.
        with suppress(ApiError):
            _cancel_flow_runs(api, token)
    end_flow_runs(token)
    if worker is not None:
        worker.end(_GRACE_S)
    if serving:
        with suppress(ApiError):
            deployments.settle(api, "CANCELLED", _ENDED)
    if server is not None:
        server.end(_GRACE_S)


def _cancel_flow_runs(api: Api, token: str) -> None:
    """Cancel as from the UI does: the worker hears of it, and ends each run."""
    asked: set[str] = set()
    give_up = time.monotonic() + _CANCEL_S
    while time.monotonic() < give_up:
        running = {run for run in running_processes(token).values() if run}
        if not running:
            return
        for flow_run in running - asked:
            # The server says no to one that is done already, which is as good.
            api.ask("POST", f"flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING", "message": _ENDED}})
        asked |= running
        time.sleep(_POLL_S)
