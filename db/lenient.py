"""The record for work that goes on without it: files are wanted back most when a disk is full or can only be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from db.errors import RecordError, RunClosed
from db.history import History
from db.rows import NewRun, VerdictRow
from db.store import Store
from db.words import RunStatus

T = TypeVar("T")
# The number of a run that has no row.
UNRECORDED = 0


class LenientStore(Store):
    """The writing side, for runs with verdicts; after the first error, which is `error`, nothing is written."""

    error: RecordError | None = None

    def start_run(self, new: NewRun) -> int:
        """See `Store`; UNRECORDED if it cannot be written."""
        return self._try(lambda: super(LenientStore, self).start_run(new), UNRECORDED)

    def beat(self, run_id: int) -> None:
        """See `Store`; a run that was closed goes on without its record."""
        if self.error is None:
            try:
                super().beat(run_id)
            except RunClosed as error:
                self.error = error

    def finish_run(self, run_id: int, status: RunStatus, error: str | None = None) -> str | None:
        """See `Store`."""
        return self._try(lambda: super(LenientStore, self).finish_run(run_id, status, error), None)

    def record_verdicts(self, rows: Sequence[VerdictRow]) -> int:
        """See `Store`."""
        return self._try(lambda: super(LenientStore, self).record_verdicts(rows), 0)

    def _prepare(self) -> None:
        self._try(super()._prepare, None)

    def _try(self, write: Callable[[], T], otherwise: T) -> T:
        if self.error is None:
            try:
                return write()
            except RecordError as error:
                self.error = error
        return otherwise


class LenientHistory(History):
    """The reading side; after the first error, which is `error`, it answers as an empty record."""

    error: RecordError | None = None

    def _look(self) -> None:
        try:
            super()._look()
        except RecordError as error:
            self._give_up(error)

    def _ask(self, question: Callable[[Connection], T], *, empty: T) -> T:
        try:
            return super()._ask(question, empty=empty)
        except RecordError as error:
            self._give_up(error)
            return empty

    def proven(self, vault_id: str) -> Iterator[tuple[str, datetime]]:
        """See `History`."""
        try:
            yield from super().proven(vault_id)
        except RecordError as error:
            self._give_up(error)

    def _give_up(self, error: RecordError) -> None:
        self.empty, self.error = True, error
