"""The scalar values of events, equal from Avro and from JSON, and the formats that texts must have. Pure."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final

from processor.domain.reasons import Reason
from processor.domain.record import ENCODED_KEY_PATTERN, EPOCH, TENANT_PATTERN
from processor.domain.text import quote
from processor.wire.errors import ContentError
from processor.wire.schema import Array, DecimalBytes, Map, Record, Scalar, Type, Union

# ---------------------------------------------------------------------------------------------------------------------
# Times and numbers

_MICROSECOND: Final = timedelta(microseconds=1)
_MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MAX_ORDINAL: Final = date.max.toordinal()

# Python's own context rounds at 28 digits; every step on a decimal(38, 10) goes through this one.
EXACT: Final = Context(prec=60, Emax=999, Emin=-999)


def timestamp_from_micros(micros: int) -> datetime:
    """Microseconds since the epoch -> aware UTC. ContentError outside of the years 1 to 9999."""
    if not _MIN_MICROS <= micros <= _MAX_MICROS:
        raise ContentError(f"{micros} microseconds since 1970 are outside of the years 1 to 9999")
    return EPOCH + timedelta(microseconds=micros)


def date_from_days(days: int) -> date:
    """Days since the epoch -> date. ContentError outside of the years 1 to 9999."""
    ordinal = days + _EPOCH_ORDINAL
    if not 1 <= ordinal <= _MAX_ORDINAL:
        raise ContentError(f"{days} days since 1970 are outside of the years 1 to 9999")
    return date.fromordinal(ordinal)


def decimal_from_unscaled(unscaled: int, type_: DecimalBytes) -> Decimal:
    """The number with exactly `scale` fraction digits, trailing zeros kept: equal from Avro and from JSON."""
    if not -(10**type_.precision) < unscaled < 10**type_.precision:
        raise ContentError(f"more than {type_.precision} digits")
    return Decimal(unscaled).scaleb(-type_.scale, EXACT)


_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,4})?", re.ASCII)


def parse_timestamp(text: str) -> datetime:
    """RFC 3339 with any offset -> aware UTC. Digits past microseconds are cut; a leap second is refused."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise ContentError(f"not an RFC 3339 time with an offset: {quote(text)}")
    year, month, days, hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    try:
        local = datetime(
            int(year), int(month), int(days), int(hour), int(minute), int(second),
            int((fraction or "")[:6].ljust(6, "0")), tzinfo=UTC,
        )  # fmt: skip
        if sign is None:
            return local
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise ValueError("offset")
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
        return local - offset if sign == "+" else local + offset
    except (ValueError, OverflowError):
        raise ContentError(f"no such time: {quote(text)}") from None


def parse_date(text: str) -> date:
    """`YYYY-MM-DD` -> date."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ContentError(f"not a date as YYYY-MM-DD: {quote(text)}")
    try:
        return date(*map(int, found.groups()))
    except ValueError:
        raise ContentError(f"no such date: {quote(text)}") from None


def parse_decimal(text: str, type_: DecimalBytes) -> Decimal:
    """A number as JSON writes it, read exactly. Refused: more fraction digits than `scale`, also if they are zeros."""
    if _NUMBER.fullmatch(text) is None:
        raise ContentError(f"not a decimal number: {quote(text)}")
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > type_.scale:
        raise ContentError(f"more than {type_.scale} fraction digits: {quote(text)}")
    if not number:
        return decimal_from_unscaled(0, type_)
    if number.adjusted() >= type_.precision - type_.scale:  # before scaling: 1e9999 must not become that many digits
        raise ContentError(f"more than {type_.precision - type_.scale} digits before the point: {quote(text)}")
    return decimal_from_unscaled(int(number.scaleb(type_.scale, EXACT)), type_)


# ---------------------------------------------------------------------------------------------------------------------
# Texts with a required format

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MIN_CARD_DIGITS: Final = 13
_MAX_CARD_DIGITS: Final = 19

TextCheck = Callable[[str], str]


def parse_uuid(text: str) -> str:
    """The lower-case text of a uuid in its canonical form, upper case accepted."""
    lower = text.lower()
    if _UUID.fullmatch(lower) is None:
        raise ContentError(f"not a uuid: {quote(text)}")
    return lower


def check_key(text: str) -> str:
    """An encoded key."""
    if ENCODED_KEY_PATTERN.fullmatch(text) is None:
        raise ContentError(f"not a key of 32 hexadecimal digits, lower case: {quote(text)}")
    return text


def check_tenant(text: str) -> str:
    """A tenant: it becomes part of topic names."""
    if TENANT_PATTERN.fullmatch(text) is None:
        raise ContentError(f"not a tenant ({TENANT_PATTERN.pattern}): {quote(text)}")
    return text


def check_card_token(text: str) -> str:
    """A reference to a card. 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1) are a card number: refused.

    Spaces and hyphens, as people write card numbers, do not hide one.
    """
    digits = text.replace(" ", "").replace("-", "")
    if _MIN_CARD_DIGITS <= len(digits) <= _MAX_CARD_DIGITS and digits.isascii() and digits.isdigit():
        doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
        if sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0:
            raise ContentError("a card number stands where its token should")
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Fields

_EVENTS_NAMESPACE: Final = "banking.events"


def text_check(record: Record, field: str) -> TextCheck | None:
    """The format that required text `field` of `record` must have; None: any text is valid."""
    if field == "encodedKey":
        return check_key
    if field == "tenant" and record.namespace == _EVENTS_NAMESPACE:
        return check_tenant
    if field == "token" and record.name == "banking.events.common.Card":
        return check_card_token
    return None


def unknown_symbol_reason(record: Record, field: str) -> Reason:
    """What an unknown symbol of enum `field` means: in a family's `event` that the event is unknown."""
    if (record.namespace, field) == (_EVENTS_NAMESPACE, "event"):
        return Reason.UNKNOWN_EVENT
    return Reason.INVALID_EVENT


def default_value(type_: Type, default: Any) -> Any:
    """A field's default, from the JSON value in the schema to what reading gives. A fresh list or dict each time."""
    match type_:
        case Union():
            return default_value(type_.branches[0], default)
        case Array():
            return [default_value(type_.items, item) for item in default]
        case Map():
            return {name: default_value(type_.values, value) for name, value in default.items()}
        case Record():
            return {
                field.name: default_value(field.type, default.get(field.name, field.default)) for field in type_.fields
            }
        case DecimalBytes():
            return decimal_from_unscaled(int.from_bytes(str(default).encode("latin-1"), "big", signed=True), type_)
        case Scalar("date"):
            return date_from_days(default)
        case Scalar("timestamp-micros"):
            return timestamp_from_micros(default)
        case _:
            return default
