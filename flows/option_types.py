"""Types of single options, shared by the commands and by the parameters of jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, get_origin

from cyclopts import Parameter, Token

from flows.errors import RequestRefused

# The greatest number that a database takes.
_GREATEST = 2**63 - 1


def _split(kind: Any, tokens: Sequence[Token]) -> list[str] | tuple[str, ...]:
    words = [word.strip() for token in tokens for word in token.value.split(",") if word.strip()]
    return tuple(words) if get_origin(kind) is tuple else words


def _whole(_type: Any, tokens: Sequence[Token]) -> int:
    """The argument parser itself would round: 1.5 to 2, and 0.6 to a 1 that removes what it should keep."""
    (token,) = tokens
    if not re.fullmatch(r"[+-]?[0-9]+", token.value):
        raise RequestRefused(f"{token.keyword} takes a whole number, not {token.value[:60]!r}")
    # Compared by length first: of thousands of digits Python makes no number.
    if len(token.value) > 20 or abs(int(token.value)) > _GREATEST:
        raise RequestRefused(f"{token.keyword} {token.value[:20]} is too large")
    return int(token.value)


def _via(_type: Any, tokens: Sequence[Token]) -> str:
    (token,) = tokens
    if token.value not in ("prefect", "direct"):
        raise RequestRefused(f"{token.keyword} is prefect or direct, not {token.value!r}")
    return token.value


def _wholes(kind: Any, tokens: Sequence[Token]) -> list[int]:
    return [_whole(kind, (token,)) for token in tokens]


def _limit(kind: Any, tokens: Sequence[Token]) -> int:
    number = _whole(kind, tokens)
    if number < 1:
        raise RequestRefused(f"{tokens[0].keyword} is at least 1")
    return number


# To be used for every number of a command.
Whole = Annotated[int, Parameter(converter=_whole)]
# A number of rows, or of runs at once.
Limit = Annotated[int, Parameter(converter=_limit)]
# May be repeated.
Wholes = Annotated[list[int], Parameter(converter=_wholes, negative=(), show_default=False)]
# May be repeated, or given once with commas.
NAMES = Parameter(converter=_split, negative=(), show_default=False, show_choices=False, metavar="NAME,…")
Names = Annotated[list[str], NAMES]
Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON for programs")]
Csv = Annotated[bool, Parameter(name="--csv", negative=(), show_default=False, help="print CSV for programs")]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
VaultOption = Annotated[str | None, Parameter(help="folder of the vault; default: THREADMILL_VAULT")]
KeyOption = Annotated[str | None, Parameter(help="the one that it was made with; default: THREADMILL_KEY_FILE")]
Via = Annotated[
    str | None,
    Parameter(
        converter=_via,
        help="prefect: as a flow run; direct: without Prefect, same rows (default: prefect if PREFECT_API_URL)",
    ),
]
