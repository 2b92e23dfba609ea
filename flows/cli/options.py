"""Options that several commands have, written once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter, Token

from flows.jobs.names import RequestRefused

_AGES = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def _split(_type: Any, tokens: Sequence[Token]) -> list[str]:
    return [word.strip() for token in tokens for word in token.value.split(",") if word.strip()]


# May be repeated, or given once with commas.
Names = Annotated[list[str], Parameter(converter=_split, negative=(), show_default=False, metavar="NAME,…")]
Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON for programs")]
Csv = Annotated[bool, Parameter(name="--csv", negative=(), show_default=False, help="print CSV for programs")]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Via = Annotated[
    str | None,
    Parameter(help="prefect: as a flow run; direct: without Prefect, same rows (default: prefect if PREFECT_API_URL)"),
]


def point_in_time(text: str) -> datetime:
    """`7d` (ago; also m, h, w), `today`, `yesterday`, `2026-11-22`, `2026-11-22T03:00`; local time if without zone.

    Raises:
        RequestRefused: it is none of these.
    """
    text = text.strip()
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return (midnight if text == "today" else midnight - timedelta(days=1)).astimezone(UTC)
    age = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if age:
        return datetime.now(UTC) - int(age[1]) * _AGES[age[2]]
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise RequestRefused(
            f"{text!r} is not a time; write 7d, 12h, today, yesterday, 2026-11-22 or 2026-11-22T03:00"
        ) from None
