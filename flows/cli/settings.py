"""`threadmill settings`."""

from __future__ import annotations

from dataclasses import asdict, fields

from flows.cli.options import Json
from flows.settings import load_settings, variable
from flows.show.tables import SETTINGS
from flows.show.terminal import print_json, print_table


def settings(*, json: Json = False) -> int:
    """Print the settings in force, and the variables that change them.

    Passwords are masked.

    Exit codes: 0 printed, 2 refused: a variable has a value that makes no sense.

    Example: threadmill settings --json
    """
    in_force = load_settings()
    values = asdict(in_force) | {"database_url": in_force.shown_url}
    if json:
        print_json(values)
    else:
        rows = ((variable(field.name), values[field.name], field.metadata["description"]) for field in fields(in_force))
        print_table(SETTINGS.fill(rows))
    return 0
