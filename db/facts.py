"""What the record takes from the engines, by shape: `db` imports none of them, mypy checks that theirs fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

RunStatus = Literal["running", "completed", "failed", "cancelled", "crashed"]
Via = Literal["prefect", "direct"]


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is known about a run when it starts; parameters are JSON values and never hold a secret."""

    flow: str
    via: Via
    parameters: dict[str, object]
    code_version: str
    flow_run_id: str | None = None
    attempt: int = 1
    deployment: str | None = None


class PayloadFacts(Protocol):
    """One thing that was to be encrypted."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> bytes: ...  # noqa: D102
    @property
    def size_bytes(self) -> int | None: ...  # noqa: D102


class SuiteFacts(Protocol):
    """Cipher, key derivation and digest."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def cipher(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def kdf(self) -> str: ...  # noqa: D102
    @property
    def iterations(self) -> int: ...  # noqa: D102


class BackendFacts(Protocol):
    """What ran the suite, in which version, and why that one."""

    @property
    def backend(self) -> str: ...  # noqa: D102
    @property
    def detail(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


class StageFacts(Protocol):
    """One child process."""

    @property
    def program(self) -> str: ...  # noqa: D102
    @property
    def exit_code(self) -> int: ...  # noqa: D102
    @property
    def wall_ns(self) -> int: ...  # noqa: D102
    @property
    def cpu_ns(self) -> int: ...  # noqa: D102


class EncryptionFacts(Protocol):
    """What became of one payload."""

    @property
    def ordinal(self) -> int: ...  # noqa: D102
    @property
    def payload(self) -> PayloadFacts: ...  # noqa: D102
    @property
    def suite(self) -> SuiteFacts: ...  # noqa: D102
    @property
    def chosen(self) -> BackendFacts: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def started_at_ns(self) -> int: ...  # noqa: D102
    @property
    def wall_ns(self) -> int: ...  # noqa: D102
    @property
    def size_bytes(self) -> int | None: ...  # noqa: D102
    @property
    def ciphertext_bytes(self) -> int | None: ...  # noqa: D102
    @property
    def salt(self) -> bytes | None: ...  # noqa: D102
    @property
    def digest(self) -> bytes | None: ...  # noqa: D102
    @property
    def stages(self) -> Sequence[StageFacts]: ...  # noqa: D102
    @property
    def cause(self) -> str | None: ...  # noqa: D102
    @property
    def error(self) -> str | None: ...  # noqa: D102
