"""`threadmill status`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.answers import RecordSize
from db.history import History
from db.rows import RunRow
from flows.cli.options import Flag, Json, KeyOption, VaultOption
from flows.cli.output import print_json, print_table, say
from flows.cli.vault_status import Age, VaultReport, look, print_vault
from flows.errors import ApiError
from flows.jobs.request import need_vault
from flows.serving.api import Api
from flows.serving.server import use_server
from flows.settings import Settings, settings_with
from flows.text import if_known, local, plural, size

if TYPE_CHECKING:
    from flows.serving.deployments import Deployments, DeploymentState


@dataclass(frozen=True, slots=True)
class Status:
    """What `--json` prints; `complaints` is empty where all is well."""

    record: str
    size: RecordSize
    last_run: RunRow | None
    deployments: Deployments | None
    vault: VaultReport | None
    complaints: tuple[str, ...]


def status(
    *,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    snapshot_age: Age = None,
    proof_age: Age = None,
    only_vault: Flag = False,
    json: Json = False,
) -> int:
    """Say how the scheduled runs and the vault do.

    That is: what ran last, what is due, and what is late, failed, missing or too old. An object that was never verified
    counts from when it was stored.

    Exit codes: 0 all is well, 1 something needs attention, 2 refused before any work.

    Example: threadmill status --vault VAULT --snapshot-age 2d --proof-age 30d

    Args:
        snapshot_age: complain if the vault's newest snapshot is older: 30m, 36h, 2d; default: THREADMILL_SNAPSHOT_AGE
        proof_age: complain if an object was not verified for longer: 36h, 30d, 8w; default: THREADMILL_PROOF_AGE
        only_vault: look at the vault, and neither at a server nor at deployments
    """
    settings = settings_with(vault, key_file)
    if only_vault:
        need_vault(settings.vault)
    history = settings.open_history()
    kept = look(settings, history, snapshot_age, proof_age)
    deployments, complaint = (None, None) if only_vault else _ask(settings)
    complaints = (complaint,) if complaint else deployments.complaints if deployments else ()
    last = next(iter(history.runs(limit=1)), None)
    all_complaints = (*complaints, *(kept.complaints if kept else ()))
    report = Status(history.where, history.size(), last, deployments, kept, all_complaints)
    if json:
        print_json(report)
    else:
        _print(report, history)
    return 1 if all_complaints else 0


_NO_SERVER = "no Prefect server: threadmill serve is not running here, and PREFECT_API_URL is not set"


def _ask(settings: Settings) -> tuple[Deployments | None, str | None]:
    """The deployments, or why they cannot be told."""
    if not use_server(settings.home):
        return None, _NO_SERVER
    from flows.serving.deployments import read_deployments

    try:
        return read_deployments(Api(os.environ)), None
    except ApiError as error:
        return None, f"Prefect's server does not answer as it should: {error.request}: {error.reason}"


def _print(report: Status, history: History) -> None:
    record = report.size
    last = f"; last run {report.last_run.id} {report.last_run.status}" if report.last_run else ""
    say(f"record: {report.record}, {plural(record.runs, 'run')}, {size(record.size_bytes)}{last}")
    deployments = report.deployments
    if deployments is not None:
        say(f"Prefect: {deployments.api}, workers online: {deployments.workers_online}")
        print_table(
            "deployments",
            ("deployment", "last run", "state", "started", "on record as run", "next", "late"),
            (_line(one, history) for one in deployments.states),
        )
    if report.vault is not None:
        print_vault(report.vault)
    for complaint in report.complaints:
        say(f"needs eyes: {complaint}")
    if not report.complaints:
        say("all is well")


def _line(state: DeploymentState, history: History) -> tuple[object, ...]:
    last = state.last
    recorded = history.run_of_flow(last.flow_run_id) if last else None
    return (
        state.name,
        last.name if last else "–",
        last.state if last else "–",
        if_known(local, last.started_at if last else None),
        recorded.id if recorded else None,
        if_known(local, state.next_at) if state.scheduled else "paused",
        state.late or None,
    )
