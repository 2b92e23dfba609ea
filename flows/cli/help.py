"""Help: a command's docstring is what its `--help` shows, and its first line is what a list of commands shows."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cyclopts import App


class CommandGroup(App):
    """Commands that are named by path (`module:function`): a module is loaded only when its command is called.

    A list of the commands loads none of the modules: the descriptions are read from their sources.
    """

    def add(self, paths: Mapping[str, str]) -> None:
        """Register commands, each with the path of its function."""
        self._paths = dict(paths)
        for name, path in paths.items():
            self.command(path, name=name)

    def help_print(self, tokens: str | Iterable[str] | None = None, *, console: Any = None) -> None:
        """Print the help of the command that the tokens name, or the list of the commands of a group."""
        tokens = None if tokens is None else tokens.split() if isinstance(tokens, str) else list(tokens)
        *_, asked = self.parse_commands(tokens)[1]
        if isinstance(asked, CommandGroup):
            asked.describe()
        asked.help = _paragraphs(asked.help)
        super().help_print(tokens, console=console)

    def describe(self) -> None:
        """Give each command its description."""
        for name, path in self._paths.items():
            del self[name]
            self.command(path, name=name, help=first_line(path))


def first_line(path: str) -> str:
    """The first line of the docstring of `module:function`, or of the default command of `module:app`, unloaded."""
    module, _, function = path.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None  # noqa: S101 - the path is ours
    assert spec.origin is not None  # noqa: S101 - likewise
    with open(spec.origin, encoding="utf-8") as file:
        # To parse the source would take longer than everything else that a list needs.
        found = re.search(
            rf'^(?:def {function}\(|@{function}\.default$).*?^    """(.*?)(?:"""|$)',
            file.read(),
            re.MULTILINE | re.DOTALL,
        )
    assert found is not None, path  # noqa: S101 - likewise
    return found[1]


def _paragraphs(docstring: str) -> str:
    """The docstring without its section on arguments, and each paragraph as one line, which the terminal folds."""
    text = inspect.cleandoc(docstring).partition("\n\nArgs:\n")[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
