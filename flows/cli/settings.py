"""`threadmill settings`."""

from __future__ import annotations

from db.engine import parse_url, shown
from flows.cli.options import Json
from flows.settings import Settings, load_settings
from flows.show.tables import SETTINGS
from flows.show.terminal import print_json, print_table


def settings(*, json: Json = False) -> int:
    """Print the settings in force, and the variables that change them.

    Passwords are masked.

    Exit codes: 0 printed, 2 refused: a variable has a value that makes no sense.

    Example: threadmill settings --json
    """
    in_force = load_settings()
    values = in_force.model_dump() | {"database_url": shown(parse_url(in_force.history_url))}
    if json:
        print_json(values)
    else:
        rows = (
            (f"THREADMILL_{name.upper()}", values[name], field.description)
            for name, field in Settings.model_fields.items()
        )
        print_table(SETTINGS.fill(rows))
    return 0
