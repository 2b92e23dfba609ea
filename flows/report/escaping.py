"""Text from the record made harmless: names, errors and labels were given by others."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

_CODE = re.compile(r"`([^`]+)`")
# What markdown, or a renderer's search for addresses, would take for more than text.
_MARKED = re.compile(r"[&<>|\\`*_\[\]~#@]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def visible(text: str) -> str:
    r"""Control and direction characters as `\x1b`, `\u202e`; what no encoding takes likewise."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def as_html(text: str) -> str:
    """Text for an element or an attribute."""
    return html.escape(visible(text))


def as_markdown(text: str) -> str:
    """Text for a paragraph or a cell of a table: entities, because a backslash does not help everywhere."""
    return _MARKED.sub(lambda found: f"&#{ord(found[0])};", visible(text))


def with_code(text: str, escape: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Prose, escaped, with what stands between backticks given to `code`."""
    parts = _CODE.split(text)
    return "".join(code(part) if number % 2 else escape(part) for number, part in enumerate(parts))
