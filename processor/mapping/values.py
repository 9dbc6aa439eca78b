"""The values of an event that placeholders and conditions name, and the text of each, not yet escaped."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final
from unicodedata import is_normalized

from processor.domain.event import value_at
from processor.domain.placeholders import PlaceholderType
from processor.domain.template import CustomField, FieldPath
from processor.domain.text import nfc
from processor.mapping.format import day_of

# Currencies whose ISO 4217 minor unit is not 2: list one of the maintenance agency, SIX, edition of 2024-06-25,
# https://www.six-group.com/en/products-services/financial-information/data-standards.html . Codes without a minor
# unit (metals, XDR, test codes) are left out: 2, as for any code that is not known.
DEFAULT_CURRENCY_DIGITS: Final = 2
CURRENCY_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What placeholders are looked up in: an event's fields, with the recipient's under `recipient`.

    `time_zone` gives a timestamp its calendar day; timestamps themselves are always written in UTC.
    """

    family: str
    fields: Mapping[str, Any]
    time_zone: tzinfo


def custom_value(field: CustomField, fields: Mapping[str, Any]) -> Any:
    """The value of a custom field; None when none of its keys has one.

    Of keys that are the same in NFC the composed one wins, then the first in the event's order that has a value.
    """
    return custom_field_value(field, fields.get("customFields"))


def custom_field_value(field: CustomField, values: Mapping[str, Any] | None) -> Any:
    """`custom_value` of an event whose custom fields are `values`."""
    values = values or {}
    if field.needs_nfc:
        values = _by_nfc(values)
    for key in field.keys:
        value = values.get(key)
        if value is not None:
            return value
    return None


def _by_nfc(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if all(is_normalized("NFC", key) for key in values):
        return values
    there = {key: value for key, value in values.items() if value is not None}
    firsts = {nfc(key): there[key] for key in reversed(there)}
    return firsts | {key: value for key, value in there.items() if key in firsts}


def custom_text(field: CustomField, fields: Mapping[str, Any], time_zone: tzinfo) -> str | None:
    """The text of a custom field, as a placeholder would show it; None when it has no value."""
    value = custom_value(field, fields)
    return None if value is None else custom_value_text(value, time_zone)


def custom_value_text(value: Any, time_zone: tzinfo) -> str:
    """The text of a value of a custom field, which is not None."""
    return text_of(value, type_of(value), currency=None, time_zone=time_zone)


def text_of(value: Any, kind: PlaceholderType, *, currency: str | None, time_zone: tzinfo) -> str:
    """One value as people and systems read it: exact, without grouping, `.` as point; not yet escaped.

    A date of a timestamp is its day in `time_zone`; a timestamp is UTC to the second, cut. Not for tables.
    """
    match kind:
        case PlaceholderType.MONEY:
            return money_text(value, currency)
        case PlaceholderType.DECIMAL:
            return _decimal_text(value)
        case PlaceholderType.DATE:
            return day_of(value, time_zone).isoformat()
        case PlaceholderType.TIMESTAMP:
            moment: datetime = value.astimezone(UTC).replace(tzinfo=None)
            return moment.isoformat(timespec="seconds") + "Z"
        case _ if isinstance(value, bool):
            return "true" if value else "false"
        case _:
            return str(value)


def money_text(amount: Decimal, currency: str | None) -> str:
    """`amount` with at least its currency's digits after the point (2 if unknown); further ones stay unless zero."""
    digits = CURRENCY_DIGITS.get(currency or "", DEFAULT_CURRENCY_DIGITS)
    whole, _, fraction = _decimal_text(amount).partition(".")
    fraction = fraction.ljust(digits, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _decimal_text(value: Decimal) -> str:
    # `normalize` and `quantize` round to the context's 28 digits, and ours have 38; formatting does not round.
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def type_of(value: Any) -> PlaceholderType:
    """The type of a custom field's value; booleans are shown as strings. Order matters: a datetime is a date."""
    match value:
        case Decimal():
            return PlaceholderType.DECIMAL
        case datetime():
            return PlaceholderType.TIMESTAMP
        case date():
            return PlaceholderType.DATE
        case _:
            return PlaceholderType.STRING


def currency_of(source: FieldPath, fields: Mapping[str, Any]) -> str | None:
    """The code of an amount's currency, the first of its paths that has one."""
    codes = (value_at(path, fields) for path in source.currencies)
    return next((code for code in codes if code is not None), None)
