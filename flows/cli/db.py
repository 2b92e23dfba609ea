"""`threadmill db …`."""

from __future__ import annotations

from db.schema import HEAD
from db.store import Store
from flows.settings import load_settings


def upgrade() -> int:
    """Create the history database, or bring it to this program's schema; there is no way back (make a copy first)."""
    settings = load_settings()
    store = Store(settings.history_url, timeout_s=settings.database_timeout_s)
    print(f"{store.where} is at schema {HEAD}")
    return 0
