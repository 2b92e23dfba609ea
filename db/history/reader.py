"""Opening the record for reading, and one place that runs its queries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select

from db.engine import BUSY_TIMEOUT_S, explained, open_engine, parse_url, shown
from db.schema import check_readable


class RecordReader:
    """The reading side of one history database. A database that is not there yet reads as an empty one."""

    def __init__(self, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the database for reading.

        Raises:
            RecordError: it cannot be read, with what to do about it.
        """
        self._url = parse_url(url)
        self._engine = open_engine(self._url, readonly=True, timeout_s=timeout_s)
        self._empty = False
        if self._url.get_backend_name() == "sqlite" and not _exists(self._url.database):
            self._empty = True
            return
        with explained(self._url):
            self._empty = not check_readable(self._engine, self.where)

    @property
    def where(self) -> str:
        """For people: the file, or the server without the password."""
        return shown(self._url)

    @property
    def empty(self) -> bool:
        """Whether nothing has ever been recorded there."""
        return self._empty

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One state of the record, from the first query to the last; not for an empty one."""
        with explained(self._url), self._engine.connect() as connection:
            yield connection

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        if self._empty:
            return []
        with self._reading() as connection:
            return connection.execute(query).all()


def _exists(path: str | None) -> bool:
    return path is not None and os.path.exists(path)
