"""Text from the record made harmless: names, errors and labels were given by others."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from flows.text import visible

_CODE = re.compile(r"`([^`]+)`")
_TICKS = re.compile(r"`+")
# What markdown would take for more than text.
_MARKED = re.compile(r"[&<>|\\`*_\[\]~#!]")
# What a renderer makes a link of, however it is escaped: it looks for addresses when the escapes are gone.
_ADDRESS = re.compile(r"://|www\.|mailto:|xmpp:|@", re.IGNORECASE)


def as_html(text: str) -> str:
    """Text for an element or an attribute."""
    return html.escape(visible(text))


def as_markdown(text: str, *, cell: bool = False) -> str:
    """Text for a paragraph, or for a `cell` of a table: escaped, or as code where it holds an address.

    Backslashes, because Prefect's older UI shows entities as they are.
    """
    shown = visible(text)
    if not _ADDRESS.search(shown):
        return _MARKED.sub(r"\\\g<0>", shown)
    fence = "`" * (1 + max(map(len, _TICKS.findall(shown)), default=0))
    return f"{fence} {shown.replace('|', chr(92) + '|') if cell else shown} {fence}"


def with_code(text: str, escape: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Prose, escaped, with what stands between backticks given to `code`."""
    parts = _CODE.split(text)
    return "".join(code(part) if number % 2 else escape(part) for number, part in enumerate(parts))
