"""What Prefect's server knows of threadmill's deployments: schedules, last runs, and what is late or missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException

PREFECT_YAML = Path(__file__).parent.parent / "prefect.yaml"
# What a deployment of ours names as its entrypoint begins with this.
_MODULES = "flows."
# Started and not merely planned.
_BEGUN = [
    StateType.RUNNING,
    StateType.COMPLETED,
    StateType.FAILED,
    StateType.CRASHED,
    StateType.CANCELLED,
    StateType.CANCELLING,
]


class ServerUnreachableError(Exception):
    """Prefect's server does not answer, or not as it should."""


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
    scheduled: bool
    last: LastRun | None
    next_at: datetime | None
    late: int

    @property
    def complaint(self) -> str | None:
        """What needs eyes, in words."""
        if self.last is not None and self.last.failed:
            return f"{self.name}: last run {self.last.state}" + (f" ({self.last.message})" if self.last.message else "")
        if self.late:
            return f"{self.name}: {self.late} late"
        if self.scheduled and self.next_at is None:
            return f"{self.name}: has a schedule, but no run is planned"
        return None


@dataclass(frozen=True, slots=True)
class Deployments:
    """All that the server says; `missing` are those of prefect.yaml that it does not have."""

    api: str
    workers_online: int
    states: tuple[DeploymentState, ...]
    missing: tuple[str, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What needs eyes, in words."""
        words = [f"{name}: not deployed" for name in self.missing]
        words += [one.complaint for one in self.states if one.complaint]
        if self.states and not self.workers_online:
            words.append("no worker is online, so nothing starts")
        return tuple(words)


def read_deployments() -> Deployments:
    """Ask the server that Prefect's settings name.

    Raises:
        ServerUnreachableError: it does not answer.
    """
    with _client() as client:
        found = [one for one in client.read_deployments() if (one.entrypoint or "").startswith(_MODULES)]
        names = {one.name for one in found}
        return Deployments(
            str(client.api_url).rstrip("/"),
            sum(_online(client, pool) for pool in {one.work_pool_name for one in found} if pool),
            tuple(_state(client, one) for one in sorted(found, key=lambda one: one.name)),
            tuple(name for name in declared_names() if name not in names),
        )


def declared_names() -> tuple[str, ...]:
    """The deployments of prefect.yaml."""
    return tuple(one["name"] for one in yaml.safe_load(PREFECT_YAML.read_text())["deployments"])


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (PrefectException, httpx.HTTPError) as error:
        (first, *_) = str(error).splitlines() or [type(error).__name__]
        raise ServerUnreachableError(f"Prefect's server does not answer as it should: {first}") from error


def _online(client: SyncPrefectClient, pool: str) -> int:
    return sum(worker.status is WorkerStatus.ONLINE for worker in client.read_workers_for_work_pool(pool))


def _state(client: SyncPrefectClient, deployment: DeploymentResponse) -> DeploymentState:
    late = FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"]))
    planned = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    begun = FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN))
    upcoming = _runs(client, deployment, planned, FlowRunSort.EXPECTED_START_TIME_ASC)
    newest = _runs(client, deployment, begun, FlowRunSort.START_TIME_DESC)
    return DeploymentState(
        deployment.name,
        not deployment.paused and any(schedule.active for schedule in deployment.schedules),
        _last(newest[0]) if newest else None,
        upcoming[0].expected_start_time if upcoming else None,
        len(_runs(client, deployment, late, FlowRunSort.EXPECTED_START_TIME_ASC, limit=None)),
    )


def _runs(
    client: SyncPrefectClient,
    deployment: DeploymentResponse,
    state: FlowRunFilterState,
    sort: FlowRunSort,
    limit: int | None = 1,
) -> list[FlowRun]:
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(state=state),
        sort=sort,
        limit=limit,
    )


def _last(run: FlowRun) -> LastRun:
    state = run.state
    return LastRun(
        str(run.id),
        run.name,
        (state.name or state.type.value.title()) if state else "unknown",
        state is not None and state.type in (StateType.FAILED, StateType.CRASHED),
        run.start_time,
        state.message if state else None,
    )
