"""How far a flow run is, as an artifact of the UI."""

from __future__ import annotations

from time import monotonic
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from flows.jobs.run import MoreDone, PlannedWork
from flows.text import plural

# A shorter run needs no bar; an update costs 10 ms here and as much on the server.
_FIRST_AFTER_S = 5.0
_EVERY_S = 2.0


class ProgressArtifact:
    """A `Reporter` that keeps one progress artifact, made once a run has lasted a while.

    It belongs to the flow run: what Prefect's own functions make in a task's thread would belong to that task.
    """

    def __init__(self, key: str, flow_run_id: str) -> None:
        self._key = key
        self._flow_run_id = UUID(flow_run_id)
        self._logger = get_run_logger()
        self._artifact_id: UUID | None = None
        self._shown_at = monotonic() + _FIRST_AFTER_S - _EVERY_S
        self._work, self._done = PlannedWork("working", "step", 0), 0
        self._gave_up = False

    def planned(self, work: PlannedWork) -> None:
        """See `Reporter`."""
        self._work, self._done = work, 0

    def started(self, run_id: int) -> None:
        """See `Reporter`."""

    def progressed(self, more: MoreDone) -> None:
        """See `Reporter`."""
        self._done += more.count
        if self._done < self._work.total and monotonic() - self._shown_at >= _EVERY_S:
            self._shown_at = monotonic()
            self._show(self._done)

    def end(self) -> None:
        """Everything is done; where there is an artifact, it says so."""
        if self._artifact_id is not None:
            self._show(self._work.total)

    def _show(self, done: int) -> None:
        if self._gave_up:
            return
        total = self._work.total
        percent = 100.0 * done / total if total else 100.0
        description = f"{done:,} of {plural(total, self._work.noun)}"
        client = get_client(sync_client=True)
        try:
            if self._artifact_id is None:
                wanted = ArtifactCreate(
                    key=self._key, type="progress", description=description, data=percent, flow_run_id=self._flow_run_id
                )
                self._artifact_id = client.create_artifact(wanted).id
            else:
                client.update_artifact(self._artifact_id, ArtifactUpdate(description=description, data=percent))
        except (PrefectException, httpx.HTTPError) as error:
            # The work matters more than how far it is.
            self._gave_up = True
            self._logger.warning("the progress is not shown any more: %s", error)
