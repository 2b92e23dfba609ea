"""`threadmill settings`."""

from __future__ import annotations

from db.engine import parse_url, shown
from flows.cli.options import Json
from flows.cli.output import print_json, print_table
from flows.settings import Settings, load_settings


def settings(*, json: Json = False) -> int:
    """Print the settings in force and the environment variables that change them; passwords are masked.

    Args:
        json: print one JSON object
    """
    in_force = load_settings()
    values = in_force.model_dump() | {"database_url": shown(parse_url(in_force.history_url))}
    if json:
        print_json(values)
    else:
        print_table(
            "settings",
            ("variable", "value", "what"),
            (
                (f"THREADMILL_{name.upper()}", values[name], field.description)
                for name, field in Settings.model_fields.items()
            ),
        )
    return 0
