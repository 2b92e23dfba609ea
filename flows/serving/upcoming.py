"""When each deployment runs next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from flows.serving.api import Api, JsonObject


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A deployment and its schedules; `next_at` is None where none is planned, `paused` if nothing ever will be."""

    deployment: str
    queue: str
    schedules: tuple[str, ...]
    paused: bool
    next_at: datetime | None


def upcoming(api: Api) -> list[Upcoming]:
    """All deployments, those that run next first."""
    rows = [_upcoming(api, deployment) for deployment in api.list("deployments")]
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(rows, key=lambda row: (row.next_at or never, row.deployment))


def _upcoming(api: Api, deployment: JsonObject) -> Upcoming:
    paused = deployment["paused"] or not any(schedule["active"] for schedule in deployment["schedules"])
    planned = api.list(
        "flow_runs",
        deployments={"id": {"any_": [deployment["id"]]}},
        flow_runs={
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": datetime.now(UTC).isoformat()},
        },
        sort="EXPECTED_START_TIME_ASC",
        limit=1,
    )
    return Upcoming(
        deployment["name"],
        deployment["work_queue_name"] or "",
        tuple(_in_words(schedule["schedule"]) for schedule in deployment["schedules"]),
        paused,
        datetime.fromisoformat(planned[0]["expected_start_time"]) if planned and not paused else None,
    )


def _in_words(schedule: JsonObject) -> str:
    if "interval" in schedule:
        return f"every {schedule['interval']:g} s"
    return f"{schedule.get('cron') or schedule.get('rrule')} {schedule['timezone'] or 'UTC'}"
