"""Errors that both engines share a base with; what each can raise is in the engine's own module of errors."""

from __future__ import annotations

from db.errors import ThreadmillError

__all__ = ["ThreadmillError"]
