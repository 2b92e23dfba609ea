"""Why `serve` ends other than by being told to."""

from __future__ import annotations


class ServeError(Exception):
    """Something that it needs did not work; the text is one line for people."""


class ApiError(ServeError):
    """Prefect's server refused a request, or did not answer."""
