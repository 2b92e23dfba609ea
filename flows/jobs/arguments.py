"""Checks of arguments: the base of all parameters, and the paths, vaults and key files that users name.

This module loads no engine, so that a refusal is quick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Interval, Le
from cyclopts import Parameter

from flows.errors import RequestRefused
from flows.text import shown_path
from tasks.files import absolute

if TYPE_CHECKING:
    from tasks.crypto.secret import KeyFile


@dataclass(frozen=True)
class Matches:
    """A text of this form; `refusal` is the message for any other text: the fault, and the form to write."""

    pattern: str
    refusal: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> dict[str, str]:
        """Pydantic's schema, in the form that needs no import of it."""
        return {"type": "str", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, kw_only=True)
class JobParameters:
    """Base of all parameters; a subclass declares those of one flow, in the order of its form."""

    # Whether a run is refused if the record cannot be written, or cannot be read; not annotated, since no parameters.
    must_write = must_read = True

    def __init_subclass__(cls) -> None:
        """Have the command check each option as it is read, before any other check with a message of its own."""
        cls.__annotations__ = {
            name: Annotated[hint, Parameter(validator=_Check(_option_name(name, hint), hint))]
            for name, hint in hints(cls).items()
        }

    def check(self) -> Self:
        """Return the parameters unchanged if all values are in bounds and all names are known, else RequestRefused."""
        for name, hint in hints(self.__class__).items():
            _Check(_option_name(name, hint), hint)(None, getattr(self, name))
        return self

    def recorded(self) -> dict[str, object]:
        """The values as JSON, for a run's row."""
        return {field.name: _json(getattr(self, field.name)) for field in fields(self)}


def hints(parameters: type[JobParameters]) -> dict[str, Any]:
    """The types of the fields, with their annotations."""
    return get_type_hints(parameters, include_extras=True)


def _option_name(name: str, hint: Any) -> str:
    """The option that sets a field."""
    _, metadata = _without_wrapping(hint)
    own = [str(next(iter(one.name))) for one in metadata if isinstance(one, Parameter) and one.name]
    return own[-1] if own else "--" + name.replace("_", "-")


def help_of(hint: Any) -> str:
    """The text of a field."""
    _, metadata = _without_wrapping(hint)
    return next(one.help for one in metadata if isinstance(one, Parameter) and one.help)


def _without_wrapping(hint: Any, metadata: tuple[Any, ...] = ()) -> tuple[Any, tuple[Any, ...]]:
    """The bare type, without None and annotations, and all annotations, the outermost first."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return _without_wrapping(inner, (*metadata, *more))
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (one for one in get_args(hint) if one is not NoneType)
        return _without_wrapping(inner, metadata)
    return hint, metadata


@dataclass(frozen=True)
class _Check:
    """Refuses a value that is out of the bounds of its type, or not among the choices."""

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


def check_paths(paths: Sequence[str], *, some: bool = False) -> tuple[str, ...]:
    """Return the paths; RequestRefused if there are none, if one does not exist, or if `-` stands beside others.

    With `some`, it is enough that there is one of them: a run does that, and fails for the others.
    """
    if not paths:
        raise RequestRefused("nothing to encrypt: name files or folders, or use --random SIZExCOUNT")
    if "-" in paths and len(paths) > 1:
        raise RequestRefused("standard input (-) cannot be combined with other paths")
    from tasks.crypto.scan import missing_paths

    missing = [] if "-" in paths else missing_paths(paths)
    # A mistyped option is a path at which there is nothing.
    if missing and not (some and len(missing) < len(paths) and not any(path.startswith("-") for path in missing)):
        hint = " (options: see --help)" if missing[0].startswith("-") else ""
        raise RequestRefused("no such file or folder: " + ", ".join(shown_path(path) for path in missing) + hint)
    return tuple(paths)


def need_path(path: str) -> str:
    """The absolute path in the form that files are recorded under; it need not exist. RequestRefused if it is empty."""
    if not path:
        raise RequestRefused("a path is empty")
    return os.fsdecode(absolute(path))


def need_vault(path: str | None) -> str:
    """The vault's folder; RequestRefused if none is given."""
    if path is None:
        raise RequestRefused("which vault? give --vault DIR or set THREADMILL_VAULT")
    return path


def need_key_file(path: str | None) -> KeyFile:
    """The key file; RequestRefused if none is given. It is read once, which raises KeyFileError if it is not usable."""
    if path is None:
        raise RequestRefused(
            "files need a key file: make one with `threadmill keygen PATH`, "
            "then give --key-file PATH or set THREADMILL_KEY_FILE"
        )
    from tasks.crypto.secret import KeyFile

    key = KeyFile(path)
    key.secret()
    return key


def need_outside(path: str, vault: str) -> None:
    """Raises RequestRefused for a path that is a vault's folder, or in it."""
    root = os.path.realpath(vault)
    if os.path.commonpath([root, os.path.realpath(path)]) == root:
        raise RequestRefused(
            f"{shown_path(path)} is in the vault itself; name something outside of {shown_path(vault)}"
        )
