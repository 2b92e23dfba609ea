"""The survey: the chapter's own numbers."""

from __future__ import annotations

from flows.jobs.request import EncryptionRequest, RandomSpec
from flows.settings import Settings
from tasks.crypto.encrypt import Limits
from tasks.crypto.secret import ThrowAway

# Item 52: three chains over 100 random bytes each.
_ITEM_52 = RandomSpec(size_bytes=100, count=3)


def survey_request(settings: Settings) -> EncryptionRequest:
    """Item 52's payloads under the book's suite and under the modern one."""
    return EncryptionRequest(
        ThrowAway(),
        random=_ITEM_52,
        suites=("classic", "modern"),
        openssl=settings.openssl,
        jobs=settings.usable_jobs,
        limits=Limits(settings.chain_timeout_s),
    )
