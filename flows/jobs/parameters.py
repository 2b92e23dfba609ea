"""Parameters of the jobs: a class is at once the options of a command, the form of a flow, and a run's parameters.

A field's type has its bounds and choices, and its text is the help of the option and the description in the form.
Paths of secrets and of the vault are no parameters: they are settings of the process that runs the job. This module
imports no engine, so that a command line is refused quickly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Interval, Le, MinLen
from cyclopts import Parameter

from flows.cli.options import NAMES, Flag, Whole
from flows.errors import RequestRefused
from flows.text import KEEP_FORM, shown_path
from tasks.crypto.suites import BackendChoice, SuiteName


@dataclass(frozen=True)
class Matches:
    """A text of this form; `refusal` says of any other one what is wrong, and what to write."""

    pattern: str
    refusal: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> dict[str, str]:
        """Pydantic's schema, in the form that needs no import of it."""
        return {"type": "str", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, kw_only=True)
class JobParameters:
    """Base of all; a subclass declares the parameters of one flow, in the order of its form."""

    def __init_subclass__(cls) -> None:
        """Have the command check each option as it is read, before any other check with a message of its own."""
        cls.__annotations__ = {
            name: Annotated[hint, Parameter(validator=_Check(option_name(name, hint), hint))]
            for name, hint in hints(cls).items()
        }

    def check(self) -> Self:
        """The same, if all values are in bounds and all names are known.

        Raises:
            RequestRefused: a value is not.
        """
        own = hints(self.__class__)
        for field in fields(self):
            _Check(option_name(field.name, own[field.name]), own[field.name])(None, getattr(self, field.name))
        return self

    def recorded(self) -> dict[str, object]:
        """The values as JSON, for a run's row."""
        return {field.name: _json(getattr(self, field.name)) for field in fields(self)}


def hints(parameters: type[JobParameters]) -> dict[str, Any]:
    """The types of the fields, with their annotations."""
    return get_type_hints(parameters, include_extras=True)


def option_name(name: str, hint: Any) -> str:
    """The option that sets a field."""
    own = [str(next(iter(one.name))) for one in _metadata(hint) if isinstance(one, Parameter) and one.name]
    return own[-1] if own else "--" + name.replace("_", "-")


def help_of(hint: Any) -> str:
    """The text of a field."""
    return next(one.help for one in _metadata(hint) if isinstance(one, Parameter) and one.help)


def defaults(parameters: type[JobParameters]) -> dict[str, Any]:
    """The default of every field that has one."""
    return {field.name: field.default for field in fields(parameters) if field.default is not MISSING}


def _metadata(hint: Any) -> tuple[Any, ...]:
    return _without_wrapping(hint)[1]


def _without_wrapping(hint: Any, metadata: tuple[Any, ...] = ()) -> tuple[Any, tuple[Any, ...]]:
    """The type itself, without None and annotations; all annotations, the outermost first."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return _without_wrapping(inner, (*metadata, *more))
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (one for one in get_args(hint) if one is not NoneType)
        return _without_wrapping(inner, metadata)
    return hint, metadata


@dataclass(frozen=True)
class _Check:
    """Refuses a value that is out of the bounds of a type, or none of its choices."""

    option: str
    hint: Any

    def __call__(self, _type: Any, value: Any) -> None:
        """Raises RequestRefused."""
        base, metadata = _without_wrapping(self.hint)
        if get_origin(base) is tuple:
            for one in value:
                self._check(one, *_without_wrapping(get_args(base)[0]))
        elif value is not None:
            self._check(value, base, metadata)

    def _check(self, value: Any, kind: Any, metadata: Sequence[Any]) -> None:
        for bound in metadata:
            if isinstance(bound, Interval) and not bound.ge <= value <= bound.le:
                raise RequestRefused(f"{self.option} is between {bound.ge:,} and {bound.le:,}")
            if isinstance(bound, Ge) and value < bound.ge:
                raise RequestRefused(f"{self.option} is at least {bound.ge}")
            if isinstance(bound, Le) and value > bound.le:
                raise RequestRefused(f"{self.option} is at most {bound.le:,}")
            if isinstance(bound, Matches) and not re.fullmatch(bound.pattern, value):
                raise RequestRefused(f"{value!r} {bound.refusal}")
        known = list(_choices(kind))
        if known and value not in known:
            noun = self.option.lstrip("-").removesuffix("s")
            raise RequestRefused(f"unknown {noun} {value!r}; there are: {', '.join(known)}")


def _choices(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        yield from map(str, kind)


def _json(value: Any) -> object:
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    return shown_path(value) if isinstance(value, str) else value


Jobs = Annotated[
    Annotated[Whole, Interval(ge=1, le=256)] | None,
    Parameter(help="chains at once, 1 to 256 (default: usable CPUs)"),
]
Suites = Annotated[
    tuple[SuiteName, ...],
    MinLen(1),
    NAMES,
    Parameter(name="--suite", help="modern, modern-blake2, chacha, cbc, classic; several are run one after the other"),
]
Backends = Annotated[
    tuple[BackendChoice, ...],
    MinLen(1),
    NAMES,
    Parameter(
        name="--backend",
        help="auto (openssl where it can run the suite), openssl, native; several are run one after the other",
    ),
]
LegacySize = Annotated[Flag, Parameter(help="let the suite classic take payloads over 8 MiB")]


@dataclass(frozen=True, kw_only=True)
class EncryptFiles(JobParameters):
    """Encrypt files and folders."""

    paths: Annotated[
        tuple[str, ...],
        Parameter(
            parse=False,
            help="files and folders on the machine that runs the flow; a folder stands for all files below it; "
            "empty for those in THREADMILL_PATHS",
        ),
    ] = ()
    suites: Suites = ("modern",)
    backends: Backends = ("auto",)
    jobs: Jobs = None
    allow_legacy_size: LegacySize = False
    exclude: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            metavar="PATTERN",
            help="what to leave out of the vault, in the syntax of gitignore, relative to each path; may be repeated",
        ),
    ] = ()
    rehash: Annotated[
        Flag, Parameter(help="read files that look unchanged too, and encrypt those whose content has changed")
    ] = False
    discard: Annotated[Flag, Parameter(help="keep nothing, although THREADMILL_VAULT is set")] = False


@dataclass(frozen=True, kw_only=True)
class EncryptPayloads(JobParameters):
    """Encrypt random payloads, which lie in memory meanwhile."""

    size_bytes: Annotated[int, Interval(ge=0, le=1 << 30), Parameter(help="size of each payload, at most 1 GiB")] = 100
    count: Annotated[
        int,
        Interval(ge=1, le=1_000_000),
        Parameter(help="how many payloads under every suite and backend, at most 1,000,000"),
    ] = 3
    suites: Suites = ("modern",)
    backends: Backends = ("auto",)
    jobs: Jobs = None
    allow_legacy_size: LegacySize = False


@dataclass(frozen=True, kw_only=True)
class VerifyVault(JobParameters):
    """Check a vault."""

    sample: Annotated[
        Annotated[Whole, Ge(1)] | None,
        Parameter(help="check only this many objects, the ones that were verified least recently (default: all)"),
    ] = None
    snapshots_only: Annotated[
        Flag, Parameter(name="--snapshots", help="check everything but the content of objects")
    ] = False


Count = Annotated[Whole, Ge(0), Le(100_000)]


@dataclass(frozen=True, kw_only=True)
class PruneVault(JobParameters):
    """Remove snapshots from a vault."""

    keep_last: Annotated[Count, Parameter(help="keep the newest N snapshots")] = 0
    keep_daily: Annotated[
        Count, Parameter(help="keep the newest snapshot of each of the last N days that have one")
    ] = 0
    keep_weekly: Annotated[
        Count, Parameter(help="keep the newest snapshot of each of the last N weeks that have one")
    ] = 0
    keep_monthly: Annotated[
        Count, Parameter(help="keep the newest snapshot of each of the last N months that have one")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class RestoreFiles(JobParameters):
    """Bring files back from a vault."""

    target: Annotated[
        str, Parameter(parse=False, help="folder on the machine that runs the flow, made if it is not there")
    ] = ""
    snapshot: Annotated[
        str, Parameter(parse=False, help="latest, or the beginning of a snapshot's name (see threadmill snapshots)")
    ] = "latest"
    paths: Annotated[
        tuple[str, ...], Parameter(parse=False, help="only these and what is below them; empty for all")
    ] = ()
    overwrite: Annotated[Flag, Parameter(help="replace files and links that are there")] = False


@dataclass(frozen=True, kw_only=True)
class Maintain(JobParameters):
    """Look after the record."""

    remove_older_than: Annotated[
        Annotated[str, Matches(KEEP_FORM, "is not an age that runs are kept to; write 365d or 52w")] | None,
        Parameter(help="age in days or weeks, such as 365d (default: THREADMILL_KEEP; without it nothing is removed)"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Survey(JobParameters):
    """The chapter has its own numbers."""
