"""Errors: the one base of every error that is raised on purpose, and the errors of the record.

The base stands here because every layer may import this module, and it imports nothing. A leaf is its message: the
docstring is the line that users read, a template over the leaf's own fields, which are its arguments.
"""

from __future__ import annotations

from typing import ClassVar, dataclass_transform


@dataclass_transform(eq_default=False)
class ThreadmillError(Exception):
    """Base of every error that is raised on purpose.

    A leaf declares its fields as annotations, in the order of its arguments. Its docstring is the message, one line
    that says what to do; a leaf whose message depends on its data overrides `__str__`. All leaves can be pickled.
    """

    exit_code: ClassVar[int] = 2
    """What the command ends with: 2 refused before any work, 1 failed."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Collect the fields of the leaf, those of its bases first."""
        own = (name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar"))
        cls._fields = (*cls._fields, *own)

    def __init__(self, *values: object, **named: object) -> None:
        given = dict(zip(self._fields, values, strict=False)) | named
        whole = {name: given[name] if name in given else getattr(type(self), name) for name in self._fields}
        super().__init__(*whole.values())
        vars(self).update(whole)

    def __str__(self) -> str:
        return (type(self).__doc__ or "").format_map(vars(self))


class RecordError(ThreadmillError):
    """Base of the errors of the record."""


class RecordUnusable(RecordError):
    """history database {where}: {reason}"""

    where: str
    reason: str
    transient: bool = False
    """Whether the same may well succeed in a moment."""


class RunClosed(RecordError):
    """run {run_id} was closed meanwhile as {status} ({why}): nothing more is written to it"""

    exit_code = 1
    run_id: int
    status: str
    why: str


class SchemaTooNew(RecordError):
    """history database {where}: its schema {found} is newer than this program's {known}; use the threadmill that wrote it"""  # noqa: E501

    where: str
    found: str
    known: str


class SchemaTooOld(RecordError):
    """history database {where}: its schema {found} is older than this program's {known}; run: threadmill db upgrade"""

    where: str
    found: str
    known: str


class RecordBeforeRelease(RecordError):
    """history database {where} was written by a threadmill before its first release; move it away, or set THREADMILL_HOME"""  # noqa: E501

    where: str


class NoWayBack(RecordError):
    """a downgrade from schema {revision} is not promised: restore the backup from before the upgrade (threadmill db backup makes one)"""  # noqa: E501

    revision: str


class NotReplaced(RecordError):
    """{path} {why}"""

    path: str
    why: str


class NotWritten(RecordError):
    """{path} cannot be written: {reason}; nothing is left of it"""

    exit_code = 1
    path: str
    reason: str
