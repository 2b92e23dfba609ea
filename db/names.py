"""File names are bytes, and programs print anything; databases want text. Both are kept where they differ."""

from __future__ import annotations


def display_name(name: bytes) -> tuple[str, bytes | None]:
    r"""Text for people, and the bytes where the text is not them: not UTF-8 (shown as `\xff`), or a NUL inside."""
    text = name.decode(errors="backslashreplace").replace("\0", r"\x00")
    return text, None if text.encode() == name else name


def storable(text: str | None) -> str | None:
    r"""Text that every database takes: lone surrogates and NULs are written out (`\udcff`, `\x00`)."""
    if text is None or text.isprintable():
        return text
    return text.encode(errors="backslashreplace").decode().replace("\0", r"\x00")
