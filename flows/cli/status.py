"""`threadmill status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.history import History
from db.rows import RecordSize, RunRow
from flows.cli.options import Json
from flows.cli.output import local, print_json, print_table
from flows.cli.via import use_server
from flows.settings import load_settings

if TYPE_CHECKING:
    from flows.deployments import Deployments, DeploymentState


@dataclass(frozen=True, slots=True)
class Status:
    """What `--json` prints; `complaints` is empty where all is well."""

    record: str
    size: RecordSize
    last_run: RunRow | None
    deployments: Deployments | None
    complaints: tuple[str, ...]


def status(*, json: Json = False) -> int:
    """Say how the scheduled runs do: what ran last, what is due next, what is late, failed or missing.

    Exit code 0 if all is well, 1 if something needs eyes.

    Args:
        json: print one JSON object
    """
    settings = load_settings()
    history = History(settings.history_url, timeout_s=settings.database_timeout_s)
    deployments, complaint = _ask() if use_server(settings) else (None, _NO_SERVER)
    complaints = (complaint,) if complaint else deployments.complaints if deployments else ()
    last = next(iter(history.runs(limit=1)), None)
    report = Status(history.where, history.size(), last, deployments, complaints)
    if json:
        print_json(report)
    else:
        _print(report, history)
    return 1 if complaints else 0


_NO_SERVER = "no Prefect server: threadmill serve is not running here, and PREFECT_API_URL is not set"


def _ask() -> tuple[Deployments | None, str | None]:
    from flows.deployments import ServerUnreachableError, read_deployments

    try:
        return read_deployments(), None
    except ServerUnreachableError as error:
        return None, str(error)


def _print(report: Status, history: History) -> None:
    size = report.size
    print(f"record: {report.record}, {size.runs:,} runs, {size.size_bytes / 1e6:,.1f} MB", end="")
    print(f"; last run {report.last_run.id} {report.last_run.status}" if report.last_run else "")
    deployments = report.deployments
    if deployments is not None:
        print(f"Prefect: {deployments.api}, workers online: {deployments.workers_online}")
        print_table(
            "deployments",
            ("deployment", "last run", "state", "started", "on record as run", "next", "late"),
            (_line(one, history) for one in deployments.states),
        )
    for complaint in report.complaints:
        print(f"needs eyes: {complaint}")
    if not report.complaints:
        print("all is well")


def _line(state: DeploymentState, history: History) -> tuple[object, ...]:
    last = state.last
    recorded = history.run_of_flow(last.flow_run_id) if last else None
    return (
        state.name,
        last.name if last else "–",
        last.state if last else "–",
        local(last.started_at) if last else None,
        recorded.id if recorded else None,
        local(state.next_at) if state.scheduled else "paused",
        state.late or None,
    )
