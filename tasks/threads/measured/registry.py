"""Tables of what can be measured: one decorated function is one row."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Function = TypeVar("Function", bound=Callable[..., object])


class Skip(Exception):
    """This interpreter or host cannot do the case; the text is the reason that gets recorded."""


def row(table: "dict[str, Function]", name: str) -> "Callable[[Function], Function]":
    """Put the decorated function into `table` under `name`."""

    def register(function: "Function") -> "Function":
        table[name] = function
        return function

    return register


def look_up(table: "dict[str, Function]", name: str, what: str) -> "Function":
    """The row called `name`, or a `Skip` that says that this version of the program has none."""
    if name not in table:
        raise Skip(f"the measured program has no {what} called {name!r}")
    return table[name]
