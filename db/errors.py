"""What can be wrong with the record, each as one line that says what to do."""

from __future__ import annotations


class RecordError(Exception):
    """Base of everything that this package raises on purpose."""


class RecordUnusable(RecordError):
    """The history database cannot be opened, read or written; `transient` if it may well be in a moment."""

    def __init__(self, where: str, reason: str, transient: bool = False) -> None:
        super().__init__(where, reason, transient)
        self.where = where
        self.reason = reason
        self.transient = transient

    def __str__(self) -> str:
        return f"history database {self.where}: {self.reason}"


class SchemaMismatch(RecordError):
    """The database's schema, `found`, is not the one that this program knows."""

    def __init__(self, where: str, found: str, known: str) -> None:
        super().__init__(where, found, known)
        self.where = where
        self.found = found
        self.known = known


class SchemaTooNew(SchemaMismatch):
    """A newer threadmill has written here."""

    def __str__(self) -> str:
        return (
            f"history database {self.where}: its schema {self.found} is newer than this program's {self.known}; "
            "use the threadmill that wrote it"
        )


class SchemaTooOld(SchemaMismatch):
    """A database that no run has upgraded yet, met by a command that only reads."""

    def __str__(self) -> str:
        return (
            f"history database {self.where}: its schema {self.found} is older than this program's {self.known}; "
            "run: threadmill db upgrade"
        )


class NoWayBack(RecordError):
    """Somebody asks Alembic for the schema before `revision`."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision

    def __str__(self) -> str:
        return (
            f"a downgrade from schema {self.revision} is not promised: restore the backup from before the upgrade "
            "(threadmill db backup makes one)"
        )


class NotReplaced(RecordError):
    """Something is there already under the name of what was to be written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


class NotWritten(RecordError):
    """What was to be written could not be; under its name there is what was there before, if anything."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be written: {self.reason}; nothing is left of it"
