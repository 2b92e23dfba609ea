"""`threadmill settings`."""

from __future__ import annotations

from dataclasses import asdict, fields

from db.engine import parse_url, shown
from flows.cli.options import Json
from flows.cli.output import print_json, print_table
from flows.settings import load_settings, variable


def settings(*, json: Json = False) -> int:
    """Print the settings in force, and the variables that change them.

    Passwords are masked.

    Exit codes: 0 printed, 2 refused: a variable has a value that makes no sense.

    Example: threadmill settings --json
    """
    in_force = load_settings()
    values = asdict(in_force) | {"database_url": shown(parse_url(in_force.history_url))}
    if json:
        print_json(values)
    else:
        print_table(
            "settings",
            ("variable", "value", "what"),
            ((variable(field.name), values[field.name], field.metadata["description"]) for field in fields(in_force)),
        )
    return 0
