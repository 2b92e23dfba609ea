"""The words of the record."""

from __future__ import annotations

from typing import Literal

RunStatus = Literal["running", "completed", "failed", "cancelled", "crashed"]
Via = Literal["prefect", "direct"]
