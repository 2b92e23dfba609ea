"""How far a flow run is, as an artifact of the UI."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from flows.jobs.plan import Plan
from tasks.crypto.encrypt import Batch
from tasks.crypto.summary import BatchSummary
from tasks.threads.cases import Case
from tasks.threads.planning import Plan as Rounds
from tasks.threads.planning import Round
from tasks.threads.samples import Sample

# A shorter run needs no bar; an update costs 10 ms here and as much on the server.
_FIRST_AFTER_S = 5.0
_EVERY_S = 2.0


class ProgressArtifact:
    """A `Reporter` that keeps one progress artifact, made once a run has lasted a while.

    It belongs to the flow run: what Prefect's own functions make in a task's thread would belong to that task.
    A job of two parts (the survey) begins anew with the second one.
    """

    def __init__(self, key: str, flow_run_id: str) -> None:
        self._key = key
        self._flow_run_id = UUID(flow_run_id)
        self._logger = get_run_logger()
        self._artifact_id: UUID | None = None
        self._shown_at = monotonic() + _FIRST_AFTER_S - _EVERY_S
        self._total = self._done = 0
        self._seen: set[tuple[Case, str]] = set()
        self._what = "payloads"
        self._gave_up = False

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        self._total = plan.total

    def started(self, run_id: int) -> None:
        """See `Reporter`."""

    def batch_done(self, batch: Batch, summary: BatchSummary) -> None:
        """See `Reporter`."""
        del batch
        self._done += summary.payloads
        self._show_now_and_then(self._done)

    def steps_planned(self, what: str, count: int, size_bytes: int) -> None:
        """See `Reporter`."""
        del what, size_bytes
        self._what, self._done, self._total = "files", 0, count

    def step_done(self, count: int, size_bytes: int, faults: Sequence[str]) -> None:
        """See `Reporter`."""
        del size_bytes, faults
        self._done += count
        self._show_now_and_then(self._done)

    def rounds_planned(self, plan: Rounds) -> None:
        """See `Reporter`."""
        self._what, self._done, self._total = "samples", 0, sum(len(one.steps) for one in plan.rounds)

    def sample_taken(self, sample: Sample) -> None:
        """See `Reporter`. A noisy sample is taken again, which is no further step."""
        self._seen.add((sample.case, sample.interpreter))
        self._show_now_and_then(self._done + len(self._seen))

    def round_done(self, one: Round, samples: Sequence[Sample]) -> None:
        """See `Reporter`."""
        del samples
        self._done += len(one.steps)
        self._seen.clear()
        self._show_now_and_then(self._done)

    def end(self) -> None:
        """Everything is done; where there is an artifact, it says so."""
        if self._artifact_id is not None:
            self._show(self._total)

    def _show_now_and_then(self, done: int) -> None:
        if done < self._total and monotonic() - self._shown_at >= _EVERY_S:
            self._shown_at = monotonic()
            self._show(done)

    def _show(self, done: int) -> None:
        if self._gave_up:
            return
        percent = 100.0 * done / self._total if self._total else 100.0
        description = f"{done:,} of {self._total:,} {self._what}"
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
