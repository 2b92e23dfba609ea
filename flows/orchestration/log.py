"""The reporter of a flow run: a log of a line for each step and a warning for each fault, and a progress artifact."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from flows.jobs.run import LISTENER, MoreDone, OpenRun, PlannedWork, told
from flows.text import duration, plural, rate, size, visible

# A round of all interpreters takes minutes.
_QUIET_S = 60.0
# A shorter run needs no bar; an update costs 10 ms here and as much on the server.
_FIRST_AFTER_S = 5.0
_EVERY_S = 2.0


class FlowReporter:
    """A `Reporter` that tells the run's logger, the progress artifact, and the command that runs the flow, if any does.

    `run_id` is set once the run has its row.
    """

    def __init__(self, artifact: ProgressArtifact) -> None:
        self._logger = get_run_logger()
        self._artifact = artifact
        self._listener = LISTENER.get()
        self._begun = self._since = self._told = monotonic()
        self._work = PlannedWork("working", "step", 0)
        self._done = self._done_bytes = self._warnings = 0
        self.run_id: int | None = None

    def planned(self, work: PlannedWork) -> None:
        """See `Reporter`."""
        self._work, self._done, self._done_bytes = work, 0, 0
        self._since = self._told = monotonic()
        much = f", {size(work.size_bytes)}" if work.size_bytes else ""
        self._logger.info("planned %s%s: %s", plural(work.total, work.noun), much, work.details or work.verb)
        if self._listener is not None:
            self._listener.planned(work)

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id
        self._logger.info("recording as run %d", run_id)
        if self._listener is not None:
            self._listener.started(run_id)

    def progressed(self, more: MoreDone) -> None:
        """See `Reporter`."""
        self._done += more.count
        self._done_bytes += more.size_bytes
        if more.line is not None or monotonic() - self._told >= _QUIET_S:
            self._told = monotonic()
            self._logger.info("%s", visible("; ".join(filter(None, (more.line, *self._so_far())))))
        if more.notice:
            self._logger.info("%s", visible(more.notice))
        for line in told(more.faults, self._warnings):
            self._logger.warning("%s", visible(line))
        self._warnings += len(more.faults)
        self._artifact.progressed(self._done, self._work)
        if self._listener is not None:
            self._listener.progressed(more)

    def _so_far(self) -> Iterator[str]:
        seconds = max(monotonic() - self._since, 1e-9)
        done = f"{self._done:,} of {plural(self._work.total, self._work.noun)}"
        each = f", {self._done / seconds:,.0f} a second, {rate(self._done_bytes / seconds)}"
        yield done + (each if self._done_bytes else "")
        if 0 < self._done < self._work.total:
            left_s = seconds / self._done * (self._work.total - self._done)
            yield f"about {duration(left_s * 1e9)} to go"

    def worked(self) -> None:
        """The work is done; its artifacts are yet to be published."""
        self._artifact.end(self._work)

    def ended(self, done: OpenRun, where: str, published: State[None]) -> None:
        """The run is recorded, and its artifacts are published or could not be."""
        if not published.is_completed():
            self._logger.warning("the artifacts of this run are not complete: %s", published.message)
        self._logger.log(
            logging.ERROR if done.exit_code else logging.INFO,
            "run %d %s after %s: %s. Tables and report are among the artifacts, "
            "all of it in %s: `threadmill history show %d`. Ledger's head: %s",
            done.run_id,
            "FAILED" if done.exit_code else "done",
            duration((monotonic() - self._begun) * 1e9),
            visible(done.message),
            where,
            done.run_id,
            done.head,
        )

    def broke_off(self, error: Exception) -> None:
        """The run was refused before any work, or could not go on."""
        if self.run_id is None:
            self._logger.error("refused, nothing is done: %s", visible(str(error)))
        else:
            self._logger.error(
                "run %d broke off: %s. Its record: `threadmill history show %d`",
                self.run_id,
                visible(str(error)),
                self.run_id,
            )


@contextmanager
def quiet_tasks(flow_run_id: str) -> Iterator[None]:
    """Keep Prefect's lines about task runs, two a step, out of the log of a flow run, except those about faults.

    Prefect reports a task that returned a failed state twice, the first time with the traceback of no exception.
    """

    def is_wanted(record: logging.LogRecord) -> bool:
        if getattr(record, "flow_run_id", None) != flow_run_id:
            return True
        return record.levelno >= logging.WARNING and not (record.exc_info and record.exc_info[0] is None)

    logger = logging.getLogger("prefect.task_runs")
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)


class ProgressArtifact:
    """The one progress artifact of a flow run, made once it has lasted a while.

    It belongs to the flow run; made by Prefect's own functions in a task's thread, it would belong to that task.
    """

    def __init__(self, key: str, flow_run_id: str) -> None:
        self._key = key
        self._flow_run_id = UUID(flow_run_id)
        self._logger = get_run_logger()
        self._artifact_id: UUID | None = None
        self._shown_at = monotonic() + _FIRST_AFTER_S - _EVERY_S
        self._gave_up = False

    def progressed(self, done: int, work: PlannedWork) -> None:
        """Show how far the work is, unless it was shown a moment ago."""
        if done < work.total and monotonic() - self._shown_at >= _EVERY_S:
            self._shown_at = monotonic()
            self._show(done, work)

    def end(self, work: PlannedWork) -> None:
        """All is done; the artifact, if there is one, says so."""
        if self._artifact_id is not None:
            self._show(work.total, work)

    def _show(self, done: int, work: PlannedWork) -> None:
        if self._gave_up:
            return
        percent = 100.0 * done / work.total if work.total else 100.0
        description = f"{done:,} of {plural(work.total, work.noun)}"
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
            # The work matters more than its progress.
            self._gave_up = True
            self._logger.warning("the progress is not shown any more: %s", error)
