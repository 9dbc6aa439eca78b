"""The scalar values of events, equal from Avro and from JSON, and what is said of content that is wrong."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final

from processor.domain.reasons import Reason
from processor.domain.text import quote
from processor.wire.schema import Array, DecimalBytes, Map, Record, Scalar, Type, Union


class ContentError(Exception):
    """Content that cannot be read; `decode` makes a DecodeFailure of it. The path grows while the error goes up.

    `what` never holds the text of a field that people may keep secret: only names, counts, and values that had to have
    a form (ids, times, numbers), cut.
    """

    def __init__(self, what: str, reason: Reason = Reason.INVALID_EVENT, steps: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.reason = reason
        self._steps = list(steps)

    def at(self, step: str) -> "ContentError":
        """The same error, seen from one level up: `step` is a field's name, or `[index]`, or `["key"]`."""
        self._steps.append(step)
        return self

    def copy(self) -> "ContentError":
        """The same error to raise again: one that is found once, when a plan is made, goes up with many records."""
        return ContentError(self.what, self.reason, self._steps)

    @property
    def detail(self) -> str:
        """`account.product.id: what is wrong`; without a path when the content as a whole is wrong."""
        path = "".join(step if step.startswith("[") else f".{step}" for step in reversed(self._steps)).lstrip(".")
        return f"{path}: {self.what}" if path else self.what


_WORD: Final = re.compile(r"[\w.]{1,200}", re.ASCII)


def quote_name(name: str) -> str:
    """A name from a foreign schema for a detail: as it is where it is one by Avro's rules, else quoted and cut."""
    return name if _WORD.fullmatch(name) else quote(name)


# ---------------------------------------------------------------------------------------------------------------------
# Times and numbers

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_LAST_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal()

# Python's own context rounds at 28 digits; every step on a decimal(38, 10) goes through this one.
EXACT: Final = Context(prec=60, Emax=999, Emin=-999)


def timestamp(micros: int) -> datetime:
    """Microseconds since the epoch -> aware UTC. ContentError outside of the years 1 to 9999."""
    if not _FIRST_MICROS <= micros <= _LAST_MICROS:
        raise ContentError(f"{micros} microseconds since 1970 are outside of the years 1 to 9999")
    return EPOCH + timedelta(microseconds=micros)


def day(days: int) -> date:
    """Days since the epoch -> date. ContentError outside of the years 1 to 9999."""
    ordinal = days + _EPOCH_DAY
    if not 1 <= ordinal <= _LAST_DAY:
        raise ContentError(f"{days} days since 1970 are outside of the years 1 to 9999")
    return date.fromordinal(ordinal)


def decimal(unscaled: int, type_: DecimalBytes) -> Decimal:
    """The number with exactly `scale` fraction digits, trailing zeros kept: the one form that both wire forms give."""
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
    year, month, days, hour, minute, second, fraction, sign, off_hours, off_minutes = found.groups()
    try:
        local = datetime(
            int(year), int(month), int(days), int(hour), int(minute), int(second),
            int((fraction or "")[:6].ljust(6, "0")), tzinfo=UTC,
        )  # fmt: skip
        if sign is None:
            return local
        if int(off_hours) > 23 or int(off_minutes) > 59:
            raise ValueError("offset")
        offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
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
    given = Decimal(text)
    exponent = given.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > type_.scale:
        raise ContentError(f"more than {type_.scale} fraction digits: {quote(text)}")
    if not given:
        return decimal(0, type_)
    if given.adjusted() >= type_.precision - type_.scale:  # before scaling: 1e9999 must not become that many digits
        raise ContentError(f"more than {type_.precision - type_.scale} digits before the point: {quote(text)}")
    return decimal(int(given.scaleb(type_.scale, EXACT)), type_)


# ---------------------------------------------------------------------------------------------------------------------
# Text that has to have a form

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def uuid(text: str) -> str:
    """The lower-case text of a uuid in its canonical form, upper case accepted."""
    lower = text.lower()
    if _UUID.fullmatch(lower) is None:
        raise ContentError(f"not a uuid: {quote(text)}")
    return lower


def key(text: str) -> str:
    """An encoded key."""
    if _KEY.fullmatch(text) is None:
        raise ContentError(f"not a key of 32 hexadecimal digits, lower case: {quote(text)}")
    return text


def tenant(text: str) -> str:
    """A tenant: it becomes part of topic names."""
    if _TENANT.fullmatch(text) is None:
        raise ContentError(f"not a tenant ([a-z0-9][a-z0-9-]{{0,62}}): {quote(text)}")
    return text


def card_token(text: str) -> str:
    """A reference to a card. 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1) are a card number: refused.

    Spaces and hyphens, as people write card numbers, do not hide one.
    """
    digits = text.replace(" ", "").replace("-", "")
    if 13 <= len(digits) <= 19 and digits.isascii() and digits.isdigit():
        doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
        if sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0:
            raise ContentError("a card number stands where its token should")
    return text


EVENTS_NAMESPACE: Final = "banking.events"

Check = Callable[[str], str]


def text_check(record: Record, name: str) -> Check | None:
    """The form that required text `name` of `record` must have; None: any text will do."""
    if name == "encodedKey":
        return key
    if name == "tenant" and record.namespace == EVENTS_NAMESPACE:
        return tenant
    if name == "token" and record.name == "banking.events.common.Card":
        return card_token
    return None


def unknown_symbol_reason(record: Record, name: str) -> Reason:
    """What a symbol that we do not know means: in a family's `event` an event that we do not know."""
    return Reason.UNKNOWN_EVENT if (record.namespace, name) == (EVENTS_NAMESPACE, "event") else Reason.INVALID_EVENT


def default_value(type_: Type, given: Any) -> Any:
    """A field's default, from the JSON value in the schema to what reading gives. A fresh list or dict each time."""
    match type_:
        case Union():
            return default_value(type_.branches[0], given)
        case Array():
            return [default_value(type_.items, item) for item in given]
        case Map():
            return {name: default_value(type_.values, value) for name, value in given.items()}
        case Record():
            return {one.name: default_value(one.type, given.get(one.name, one.default)) for one in type_.fields}
        case DecimalBytes():
            return decimal(int.from_bytes(str(given).encode("latin-1"), "big", signed=True), type_)
        case Scalar("date"):
            return day(given)
        case Scalar("timestamp-micros"):
            return timestamp(given)
        case _:
            return given
