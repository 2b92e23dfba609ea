"""Which marks a test has: found from the helpers and fixtures that it uses, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType

import pytest

# A mark, and the names (of fixtures, or of helpers in this package) that earn it.
_EARNED_BY = {
    "command": frozenset(("BIN",)),
    "drawn": frozenset(("dice",)),
    "server": frozenset(("prefect_server", "running_prefect_server", "Served", "postgres_server", "chromium")),
}


def mark(item: pytest.Item) -> None:
    """Give a test the marks that it has earned."""
    if not isinstance(item, pytest.Function):
        return
    names = set(item.fixturenames)
    seen: set[object] = set()
    for function in _functions(item):
        names.update(_names(function, seen))
    if hasattr(item, "callspec") and "postgresql" in item.callspec.params.values():
        names.add("postgres_server")
    for name, earned_by in _EARNED_BY.items():
        if names & earned_by:
            item.add_marker(name)


def _functions(item: pytest.Function) -> Iterator[Callable[..., object]]:
    yield item.function
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from (definition.func for definition in definitions)


def _names(found: object, seen: set[object]) -> Iterator[str]:
    """Every name in a function or class, and in the helpers of the tests that it names."""
    if isinstance(found, type):
        parts = [part for part in vars(found).values() if isinstance(part, FunctionType)]
    else:
        found = getattr(found, "__wrapped__", found)
        parts = [found] if isinstance(found, FunctionType) else []
    for function in parts:
        if function in seen or not function.__module__.startswith("tests."):
            continue
        seen.add(function)
        for name in _names_in(function.__code__):
            yield name
            yield from _names(function.__globals__.get(name), seen)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
