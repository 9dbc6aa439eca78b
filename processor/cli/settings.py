"""`processor settings`: all settings with value, default, source and meaning; secrets are masked."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from processor.cli.output import JsonOption, print_json
from processor.screen import Screen

if TYPE_CHECKING:
    from processor.settings import SettingRow

EXAMPLE: Final = "processor settings --json"


def command(as_json: JsonOption = False) -> int:
    """List all settings with value, default, source and meaning.

    Secrets are masked.
    """
    from processor.settings import settings_table

    rows = settings_table()
    if as_json:
        print_json(settings_json(rows))
    else:
        Screen().line(settings_text(rows))
    return 0


def settings_json(rows: Iterable["SettingRow"]) -> dict[str, Any]:
    """One object for machines."""
    names = ("variable", "name", "value", "default", "source", "meaning")
    return {"settings": [{name: getattr(row, name) for name in names} for row in rows]}


def settings_text(rows: Iterable["SettingRow"]) -> str:
    """Two lines a setting: its value and where that is from, then its meaning and its default."""
    lines = []
    for row in rows:
        default = "" if row.source == "default" or row.default is None else f" Default: {_value_text(row.default)}"
        lines += [f"{row.variable} = {_value_text(row.value)}  ({row.source})", f"    {row.meaning}{default}"]
    return "\n".join(lines)


def _value_text(value: Any) -> str:
    match value:
        case None:
            return "not set"
        case dict():
            return json.dumps(value)
        case "":
            return "''"
        case _:
            return str(value)
