"""Points in time, as the record keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(since_1970_ns: int) -> datetime:
    """To the microsecond, as both databases keep it."""
    return _EPOCH + timedelta(microseconds=since_1970_ns // 1000)
