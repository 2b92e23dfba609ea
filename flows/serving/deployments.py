"""Threadmill's objects on Prefect's server: work pool, queue, automations, and deployments with their runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from db.host import CLOCKS_DIFFER
from flows.errors import CommandFailed
from flows.serving.api import Api, as_prefect_has_it
from flows.serving.password import JsonObject
from flows.serving.processes import Interrupted, running_processes
from tasks.files import write_file

ROOT = Path(__file__).parent.parent.parent
PREFECT_YAML = ROOT / "prefect.yaml"
POOL = "threadmill"
QUEUE = "measure"
_AUTOMATIONS = Path(__file__).parent / "automations.yaml"
_UNFINISHED = ("RUNNING", "PENDING", "CANCELLING")
# A run that has started, and is not merely planned.
_BEGUN = ("RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING")
# The entrypoint of a deployment of ours begins with this.
_MODULES = "flows."


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a deployment that has begun; `state` is Prefect's name, such as `Completed`."""

    flow_run_id: str
    name: str
    state: str
    failed: bool
    started_at: datetime | None
    message: str | None


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """One deployment: `scheduled` if any of its schedules is active, `late` runs that should have begun by now."""

    name: str
    queue: str
    schedules: tuple[str, ...]
    scheduled: bool
    next_at: datetime | None
    last: LastRun | None = None
    late: int = 0

    @property
    def complaint(self) -> str | None:
        """What needs attention, in words; None if nothing does."""
        if self.last is not None and self.last.failed:
            return f"{self.name}: last run {self.last.state}" + (f" ({self.last.message})" if self.last.message else "")
        if self.late:
            return f"{self.name}: {self.late} late"
        if self.scheduled and self.next_at is None:
            return f"{self.name}: has a schedule, but no run is planned"
        return None


@dataclass(frozen=True, slots=True)
class Deployments:
    """The deployments that the server has; `missing` are those of prefect.yaml that it does not have."""

    api: str
    workers_online: int
    states: tuple[DeploymentState, ...]
    missing: tuple[str, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What needs attention, in words."""
        words = [f"{name}: not deployed" for name in self.missing]
        words += [one.complaint for one in self.states if one.complaint]
        if self.states and not self.workers_online:
            words.append("no worker is online, so nothing starts")
        return tuple(words)


@as_prefect_has_it("the deployments")
def read_deployments(api: Api) -> Deployments:
    """Ask the server for threadmill's deployments, their last runs, and those that are late or missing."""
    found = [one for one in api.list("deployments") if (one["entrypoint"] or "").startswith(_MODULES)]
    names = {one["name"] for one in found}
    pools = {one["work_pool_name"] for one in found if one["work_pool_name"]}
    return Deployments(
        api.url,
        sum(worker["status"] == "ONLINE" for pool in pools for worker in api.list(f"work_pools/{pool}/workers")),
        tuple(_with_runs(api, one) for one in sorted(found, key=lambda one: str(one["name"]))),
        tuple(name for name in _declared() if name not in names),
    )


def _declared() -> list[str]:
    """The names of the deployments in prefect.yaml, which users may change."""
    try:
        return [str(one["name"]) for one in yaml.safe_load(PREFECT_YAML.read_bytes())["deployments"]]
    except (OSError, yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandFailed(f"{PREFECT_YAML} names no deployments: {reason[:200]}") from None


@as_prefect_has_it("the deployments")
def upcoming(api: Api) -> list[DeploymentState]:
    """All deployments, those that run next first."""
    never = datetime.max.replace(tzinfo=UTC)
    states = (_state(api, one) for one in api.list("deployments"))
    return sorted(states, key=lambda one: (one.next_at or never, one.name))


def prepare_queue(api: Api) -> None:
    """Make the queue of measuring runs, or give it its limit of one at a time; a limit that somebody has set stays."""
    path = f"work_pools/{POOL}/queues"
    queue = api.find(f"{path}/{QUEUE}")
    if queue is None:
        api.ask("POST", path, {"name": QUEUE, "concurrency_limit": 1})
    elif queue["concurrency_limit"] is None:
        api.ask("PATCH", f"{path}/{QUEUE}", {"concurrency_limit": 1})


def prepare_automations(api: Api) -> None:
    """Make the automations that are missing, by name; one that somebody has changed or disabled stays as it is."""
    for automation in yaml.safe_load(_AUTOMATIONS.read_text())["automations"]:
        if not api.list("automations", automations={"name": {"any_": [automation["name"]]}}):
            api.ask("POST", "automations/", automation)


def settle(api: Api, state: str, message: str) -> None:
    """Give a final state to runs that the server takes for unfinished and that have no process any more.

    A lost run would hold its place in the queue, and the queue `measure` has one place.
    """
    alive = set(running_processes().values())
    unfinished = api.list(
        "flow_runs", flow_runs={"state": {"type": {"any_": _UNFINISHED}}}, work_pools={"name": {"any_": [POOL]}}
    )
    for run in unfinished:
        if run["id"] not in alive:
            api.ask("POST", f"flow_runs/{run['id']}/set_state", {"state": {"type": state, "message": message}})


@contextmanager
def schedules_kept(api: Api, deployed: Path) -> Iterator[None]:
    """Let schedules that were paused or resumed by hand stay so when the body deploys, unless prefect.yaml has changed.

    `deployed` is a file that says which prefect.yaml was deployed last.
    """
    digest = hashlib.sha256(PREFECT_YAML.read_bytes()).hexdigest()
    unchanged = deployed.exists() and deployed.read_text() == digest
    before = {(name, schedule["slug"]): schedule["active"] for name, _, schedule in _schedules(api)}
    try:
        yield
    except Interrupted:
        if unchanged:
            _set_active(api, before)
        raise
    if unchanged:
        _set_active(api, before)
    write_file(str(deployed), digest.encode(), replace=True)


def _set_active(api: Api, wanted: Mapping[tuple[str, str], bool]) -> None:
    for name, path, schedule in _schedules(api):
        active = wanted.get((name, schedule["slug"]), schedule["active"])
        if active != schedule["active"]:
            api.ask("PATCH", path, {"active": active})


def _schedules(api: Api) -> Iterator[tuple[str, str, JsonObject]]:
    """All schedules that have a slug: the deployment, the path of the schedule, and itself."""
    for deployment in api.list("deployments"):
        for schedule in deployment["schedules"]:
            if schedule["slug"]:
                yield deployment["name"], f"deployments/{deployment['id']}/schedules/{schedule['id']}", schedule


def _state(api: Api, deployment: JsonObject) -> DeploymentState:
    """The deployment and its next run."""
    scheduled = not deployment["paused"] and any(schedule["active"] for schedule in deployment["schedules"])
    now = datetime.now(UTC).isoformat()
    planned = _runs(api, deployment, {"type": {"any_": ["SCHEDULED"]}}, expected_start_time={"after_": now})
    return DeploymentState(
        deployment["name"],
        deployment["work_queue_name"] or "",
        tuple(_in_words(schedule["schedule"]) for schedule in deployment["schedules"]),
        scheduled,
        datetime.fromisoformat(planned[0]["expected_start_time"]) if planned and scheduled else None,
    )


def _with_runs(api: Api, deployment: JsonObject) -> DeploymentState:
    """The deployment, its next and its last run, and how many are late."""
    # A run of a clock that was ahead would be the last one for years.
    past = {"before_": (datetime.now(UTC) + CLOCKS_DIFFER).isoformat()}
    begun = _runs(api, deployment, {"type": {"any_": _BEGUN}}, sort="START_TIME_DESC", expected_start_time=past)
    late = _runs(api, deployment, {"name": {"any_": ["Late"]}}, limit=200)
    return replace(_state(api, deployment), last=_last(begun[0]) if begun else None, late=len(late))


def _runs(
    api: Api,
    deployment: JsonObject,
    state: JsonObject,
    *,
    sort: str = "EXPECTED_START_TIME_ASC",
    limit: int = 1,
    **more: Any,
) -> list[JsonObject]:
    which = {"id": {"any_": [deployment["id"]]}}
    return api.list("flow_runs", deployments=which, flow_runs={"state": state, **more}, sort=sort, limit=limit)


def _last(run: JsonObject) -> LastRun:
    state: JsonObject = run["state"] or {"name": "unknown", "type": None, "message": None}
    return LastRun(
        run["id"],
        run["name"],
        state["name"] or state["type"].title(),
        state["type"] in ("FAILED", "CRASHED"),
        datetime.fromisoformat(run["start_time"]) if run["start_time"] else None,
        state["message"],
    )


def _in_words(schedule: JsonObject) -> str:
    if "interval" in schedule:
        return f"every {schedule['interval']:g} s"
    return f"{schedule.get('cron') or schedule.get('rrule')} {schedule['timezone'] or 'UTC'}"
