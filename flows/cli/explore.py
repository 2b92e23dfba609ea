"""`threadmill explore`."""

from __future__ import annotations

import importlib.util

from db.engine import parse_url
from flows.cli.options import Whole
from flows.cli.output import say
from flows.cli.record import need_runs
from flows.errors import RequestRefused, Terminated
from flows.settings import load_settings


def explore(*, port: Whole = 8001) -> int:
    """Browse the record in a web browser, read-only.

    It is served to this machine only, until Ctrl-C. Every table and column is described, the questions that users ask
    most are ready, and any SELECT can be run.

    Exit codes: 0 ended by a signal, 2 refused before any work.

    Example: threadmill explore --port 0

    Args:
        port: where to listen; 0 takes any port that is free
    """
    settings = load_settings()
    url = parse_url(settings.history_url)
    if url.get_backend_name() != "sqlite":
        raise RequestRefused(_POSTGRESQL)
    if importlib.util.find_spec("datasette") is None:
        raise RequestRefused("explore needs datasette; install the extra: pip install -e '.[explore]'")
    history = settings.open_history()
    need_runs(history)
    history.close()
    _serve(history.where, port)
    return 0


_POSTGRESQL = (
    "explore reads SQLite; export first: threadmill export --format sqlite --output record.sqlite; "
    "then: THREADMILL_DATABASE_URL=sqlite:///record.sqlite threadmill explore"
)


def _serve(path: str, port: int) -> None:
    from flows.explore.server import LOOPBACK, listen, serve

    try:
        listener = listen(port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestRefused(f"port {port} cannot be used ({reason}); choose another by --port") from None
    address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
    say(f"{path} is at {address} for browsers on this machine; Ctrl-C ends it", flush=True)
    try:
        serve(path, listener)
    except (KeyboardInterrupt, Terminated):
        # How it is meant to end.
        return
