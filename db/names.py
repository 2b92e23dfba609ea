"""File names are bytes; databases want text. Both are kept where they differ."""

from __future__ import annotations


def display_name(name: bytes) -> tuple[str, bytes | None]:
    r"""Text for people, and the bytes where the text is not them: not UTF-8 (shown as `\xff`), or a NUL inside."""
    try:
        return name.decode(), None
    except UnicodeDecodeError:
        return name.decode(errors="backslashreplace"), name
