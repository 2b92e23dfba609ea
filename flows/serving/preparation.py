"""What the server must hold before a worker starts: work pool, queue, automation, deployments."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from flows.serving.api import Api, JsonObject
from flows.serving.processes import running_flow_runs

ROOT = Path(__file__).parent.parent.parent
PREFECT_YAML = ROOT / "prefect.yaml"
POOL = "threadmill"
QUEUE = "measure"
_AUTOMATIONS = Path(__file__).parent / "automations.yaml"
_UNFINISHED = ("RUNNING", "PENDING", "CANCELLING")

# By deployment and slug: whether the schedule is active.
Schedules = dict[tuple[str, str], bool]


def has_pool(api: Api) -> bool:
    """Whether the work pool is there."""
    return api.find(f"work_pools/{POOL}") is not None


def prepare_queue(api: Api) -> None:
    """One measuring run at a time: make the queue, or give it its limit; a limit that somebody has set stays."""
    path = f"work_pools/{POOL}/queues"
    queue = api.find(f"{path}/{QUEUE}")
    if queue is None:
        api.ask("POST", path, {"name": QUEUE, "concurrency_limit": 1})
    elif queue["concurrency_limit"] is None:
        api.ask("PATCH", f"{path}/{QUEUE}", {"concurrency_limit": 1})


def prepare_automations(api: Api) -> None:
    """Make those that are not there, by name; one that somebody has changed or disabled stays as it is."""
    for automation in yaml.safe_load(_AUTOMATIONS.read_text())["automations"]:
        if not api.list("automations", automations={"name": {"any_": [automation["name"]]}}):
            api.ask("POST", "automations/", automation)


def settle(api: Api, state: str, message: str) -> None:
    """Give a final state to runs that the server takes for unfinished and that have no process any more.

    One that was lost would hold its place in the queue, and the queue `measure` has one.
    """
    alive = running_flow_runs()
    lost = api.list(
        "flow_runs", flow_runs={"state": {"type": {"any_": _UNFINISHED}}}, work_pools={"name": {"any_": [POOL]}}
    )
    for run in lost:
        if run["id"] not in alive:
            api.ask("POST", f"flow_runs/{run['id']}/set_state", {"state": {"type": state, "message": message}})


def schedules(api: Api) -> Schedules:
    """The schedules as they are, paused and resumed by hand."""
    return {
        (deployment["name"], schedule["slug"]): schedule["active"]
        for deployment in api.list("deployments")
        for schedule in deployment["schedules"]
        if schedule["slug"]
    }


def keep_schedules(api: Api, before: Schedules, deployed: Path) -> None:
    """After a deploy: what was paused or resumed by hand stays so, unless prefect.yaml says something new.

    `deployed` is the file of `remember_deploy`.
    """
    if deployed.exists() and deployed.read_text() == _digest():
        for deployment in api.list("deployments"):
            for schedule in deployment["schedules"]:
                _keep(api, deployment, schedule, before)


def remember_deploy(deployed: Path) -> None:
    """Keep in mind which prefect.yaml was deployed last."""
    deployed.write_text(_digest())


def _digest() -> str:
    return hashlib.sha256(PREFECT_YAML.read_bytes()).hexdigest()


def _keep(api: Api, deployment: JsonObject, schedule: JsonObject, before: Schedules) -> None:
    active = before.get((deployment["name"], schedule["slug"]), schedule["active"])
    if active != schedule["active"]:
        api.ask("PATCH", f"deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": active})
