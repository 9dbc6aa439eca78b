"""Extreme events that the schemas allow: each type at its bounds, in any field, up to the size of a record.

Generated from the Avro schemas, type by type: a field that is added to them is covered without another line.
"""

import json
import random
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.event import Event
from processor.domain.record import EventName, Headers
from processor.wire.decode import event_from_json
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.schema import Array, DecimalBytes, Enum, Map, Record, Scalar, Type, Union, is_null
from tests.fuzz.avro import avro_bytes
from tests.fuzz.corpus import JSON_HEADERS, Corpus
from tests.fuzz.templates import CUSTOM_FIELDS, GROWN_FIELD
from tests.fuzz.texts import UNITS, long_text, odd_text

Json = dict[str, Any]

RECORD_LIMIT_BYTES: Final = 1_048_576  # what PROCESSOR_MAX_EVENT_BYTES allows by default

# Of 100 events: how many may grow to which size. A record of 1 MB takes a hundred times as long as a small one, and
# covers no other code; so most are small.
_SIZES: Final = (80, 15, 5)
_MEDIUM_BYTES: Final = 60_000
_OTHER_HOLDER_SHARE: Final = 0.6
_LARGE_BYTES: Final = 1_200_000  # some are over the limit of a record


@dataclass(slots=True)
class _Draft:
    """An event while it is generated. `texts` has each free text: its record, and its field's name."""

    rng: random.Random
    odd_share: float  # of the fields that are at a bound
    null_share: float  # of the fields that may be null, and are
    texts: list[tuple[Json, str]] = field(default_factory=list)

    def odd(self) -> bool:
        """Whether the next field is at a bound."""
        return self.rng.random() < self.odd_share


def extreme_event(corpus: Corpus, rng: random.Random) -> tuple[bytes, Json]:
    """An event of the catalogue, each as often, as a record's value in JSON; and the valid event that it keeps the
    ordering key of. A few are over the limit of a record."""
    base = rng.choice(corpus.events)
    draft = _Draft(rng, rng.choice((0.03, 0.2, 0.5, 1.0)), rng.choice((0.0, 0.1, 0.6, 1.0)))
    base = _with_other_holder(base, corpus, rng)
    event = _record(corpus.schemas.by_event[EventName(base["event"])].type, base, draft)
    _restore_rules(event, base)
    size = rng.choices(("small", "medium", "large"), _SIZES)[0]
    if size != "small":
        budget = rng.randint(8_000, _MEDIUM_BYTES) if size == "medium" else rng.randint(400_000, _LARGE_BYTES)
        _grow(event, draft, budget)
    text = _json_text(event, rng)
    if len(text) > RECORD_LIMIT_BYTES and rng.random() < 0.7:
        text = _cut_to_limit(event, draft)
    return text, base


def extreme_record(corpus: Corpus, rng: random.Random) -> tuple[bytes, Headers, str]:
    """The value of a record, its headers, its event's ordering key; in JSON, or in Avro by today's schema or
    another."""
    text, base = extreme_event(corpus, rng)
    schema = corpus.schemas.by_event[EventName(base["event"])]
    draw = rng.random()
    if draw < 0.45:
        return text, JSON_HEADERS, corpus.key_of(base)
    read = event_from_json(text, corpus.schemas)
    if not isinstance(read, Event):
        return text, JSON_HEADERS, corpus.key_of(base)
    writer = schema if draw < 0.75 else rng.choice(corpus.writers[schema.name])
    frame = corpus.frame_of(writer)
    type_ = schema.type if isinstance(writer, ReaderSchema) else writer.type
    assert type_ is not None, writer
    return frame + avro_bytes(type_, read.fields, rng), (), read.ordering_key


# ---------------------------------------------------------------------------------------------------- type by type


def _record(type_: Record, base: object, draft: _Draft) -> Json:
    values = base if isinstance(base, Mapping) else {}
    record: Json = {}
    for part in type_.fields:
        value = _value(part.type, part.name, values.get(part.name), draft)
        if value is None:
            continue
        record[part.name] = value
        if _is_free_text(part.type, part.name):
            draft.texts.append((record, part.name))
    return record


def _is_free_text(type_: Type, name: str) -> bool:
    inner = type_.nullable if isinstance(type_, Union) else type_
    return isinstance(inner, Scalar) and inner.kind == "string" and name not in _FORMATTED


def _value(type_: Type, name: str, base: Any, draft: _Draft) -> Any:
    """A value in JSON form; None for null. `base` is what the sample has there."""
    rng = draft.rng
    match type_:
        case Union() if type_.nullable is not None:
            if rng.random() < draft.null_share or (base is None and not draft.odd()):
                return None
            return _value(type_.nullable, name, base, draft)
        case Union():
            return _tagged(type_, draft)
        case Record():
            return _record(type_, base, draft)
        case Array():
            return _array(type_, name, base, draft)
        case Map():
            return _custom_fields(type_, base, draft)
        case Enum():
            if draft.odd() and rng.random() < 0.01:
                return "OF_A_NEWER_PRODUCER"
            return base if base is not None else rng.choice(type_.symbols)
        case DecimalBytes():
            return _decimal(type_, rng) if base is None or draft.odd() else base
        case Scalar(kind):
            return _scalar(kind, name, base, draft)
        case _:
            raise AssertionError(f"the schemas have no {type_}")


def _array(type_: Array, name: str, base: Any, draft: _Draft) -> list[Any]:
    items = base if isinstance(base, list) else []
    rows = [_value(type_.items, name, item, draft) for item in items if not draft.odd()]
    if draft.odd():
        rows += [_value(type_.items, name, None, draft) for _ in range(draft.rng.choice((1, 2, 7)))]
    return rows


def _custom_fields(type_: Map, base: Any, draft: _Draft) -> Json:
    rng = draft.rng
    values = dict(base) if isinstance(base, Mapping) else {}
    for key in CUSTOM_FIELDS:
        if rng.random() < 0.3 or draft.odd():
            values[key] = _value(type_.values, key, None, draft)
    draft.texts += [(values, key) for key, value in values.items() if isinstance(value, str)]
    if draft.odd():
        values |= {rng.choice(UNITS) * rng.choice((1, 9)): _value(type_.values, "", None, draft)}
    return values


def _scalar(kind: str, name: str, base: Any, draft: _Draft) -> Any:
    if name in _FORMATTED:
        return _FORMATTED[name](base, draft.rng)
    if base is not None and not draft.odd():
        return base
    return _SCALARS[kind](name, draft.rng)


def _tagged(type_: Union, draft: _Draft) -> Any:
    """A custom field's value, equally often of each of its types."""
    branch = draft.rng.choice(type_.branches)
    if is_null(branch):
        return None
    value = _value(branch, "", None, draft)
    match branch:
        case DecimalBytes():
            return {"decimal": value}
        case Scalar("date"):
            return {"date": value}
        case Scalar("timestamp-micros"):
            return {"timestamp": value}
        case _:
            return value


_NUMBER: Final = re.compile(r'"(?:\ue000|\\ue000)([^"\\\ue001]*)(?:\ue001|\\ue001)"')


def _number(text: str) -> str:
    """A text that `_json_text` writes as a number of JSON."""
    return f"\ue000{text}\ue001"


def _decimal(type_: DecimalBytes, rng: random.Random) -> str:
    whole, fraction = type_.precision - type_.scale, type_.scale
    text = rng.choice(
        (
            *("0", "-0", f"-0.{'0' * fraction}", f"0.{'0' * (fraction - 1)}1", f"-0.{'0' * (fraction - 1)}1"),
            *(f"{'9' * whole}.{'9' * fraction}", f"-{'9' * whole}.{'9' * fraction}", f"1{'0' * (whole - 1)}"),
            *(f"1e{whole - 1}", f"-1E-{fraction}", "12.50", "0.005", "-0.004", "1234567.891", "2.675", "0e9", "100"),
            *(f"{rng.randrange(10**whole)}.{rng.randrange(10**fraction)}", str(rng.randrange(10**4) / 100)),
        )
    )
    return _number(text) if rng.random() < 0.5 else text


def _date(rng: random.Random) -> str:
    return rng.choice(
        (
            *("0001-01-01", "9999-12-31", "9999-12-26", "1970-01-01", "1582-10-10", "2000-02-29", "2026-12-31"),
            f"{rng.randint(1, 9999):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        )
    )


def _timestamp(rng: random.Random) -> str:
    return rng.choice(
        (
            *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.9999999Z"),
            *("0001-01-01T23:59:00+23:59", "9999-12-31T00:00:00-23:59", "2026-03-29T01:30:00.5+01:00"),
            *("2026-10-25t00:30:00z", f"2026-03-14T09:26:53.{'9' * 200}Z", "1900-01-01T00:00:00Z"),
            f"{_date(rng)}T{rng.randint(0, 23):02}:00:00Z",
        )
    )


_SCALARS: Final[Mapping[str, Callable[[str, random.Random], Any]]] = {
    "boolean": lambda _, rng: rng.random() < 0.5,
    "int": lambda _, rng: rng.choice((0, -1, 1, 30, -365, 2**31 - 1, -(2**31))),
    "long": lambda _, rng: rng.choice((0, -1, 2**63 - 1, -(2**63))),
    "string": odd_text,
    "uuid": lambda _, rng: str(uuid.UUID(int=rng.getrandbits(128))),
    "date": lambda _, rng: _date(rng),
    "timestamp-micros": lambda _, rng: _timestamp(rng),
}


def _event_id(_: Any, rng: random.Random) -> str:
    text = str(uuid.UUID(int=rng.getrandbits(128)))
    return text.upper() if rng.random() < 0.1 else text


_FORMATTED: Final[Mapping[str, Callable[[Any, random.Random], str]]] = {  # texts that must have a format
    "eventId": _event_id,
    "encodedKey": lambda base, rng: base if base is not None else f"{rng.getrandbits(128):032x}",
    "tenant": lambda base, rng: base if rng.random() < 0.99 else "a" + "-0" * 31,
    "token": lambda _, rng: (
        "4111 1111 1111 1111"  # a card's number, which is refused
        if rng.random() < 0.02
        else rng.choice(("tok-7f3a-zoe-01", "", "t" * 5_000, "4111 1111", "\u202e4111", "１２３４" * 4))
    ),
    "correlationId": lambda _, rng: rng.choice(("branch-7", "", "\x00", "ü" * 300, "c" * 9_000)),
}


def _with_other_holder(base: Json, corpus: Corpus, rng: random.Random) -> Json:
    """For some events the other holder, client or group, where either can hold it and is not its subject."""
    family = FAMILIES[EVENTS[EventName(base["event"])].family]
    if len(family.holder.fields) < 2 or "subject" in base or rng.random() > _OTHER_HOLDER_SHARE:
        return base
    holder_field = rng.choice(family.holder.fields)
    others = [event[holder_field] for event in corpus.events if holder_field in event]
    kept = {name: value for name, value in base.items() if name not in family.holder.fields}
    return {**kept, holder_field: rng.choice(others)}


def _restore_rules(event: Json, base: Json) -> None:
    """Restore what the family's rules require: the holder, a hold or holds, and the subject."""
    for name in ("client", "group", "hold", "holds", "subject"):
        if name not in base or not base[name]:
            event.pop(name, None)
        elif not event.get(name):
            event[name] = base[name]
    if "subject" in base:
        event["subject"] = {**event["subject"], "kind": base["subject"]["kind"]}
        event["subject"]["encodedKey"] = base["subject"]["encodedKey"]
        event.setdefault("account", base.get("account"))
        if event["account"] is None:
            del event["account"]


# ------------------------------------------------------------------------------------------------------------ growth


def _grow(event: Json, draft: _Draft, budget: int) -> None:
    """Make `event` about as large as `budget`: by texts, by a table's rows or by custom fields."""
    rng = draft.rng
    tables = [rows for rows in _lists(event) if rows and isinstance(rows[0], dict)]
    draw = rng.random()
    if draw < 0.3 and tables:
        rows = rng.choice(tables)
        each = len(json.dumps(rows, ensure_ascii=False).encode()) + 2 * len(rows)
        rows *= max(1, budget // each)
    elif draw < 0.45:
        text = long_text("", rng, size_bytes=budget // rng.choice((1, 2, 6)))
        fields = event.setdefault("customFields", {})
        fields[f"LOAN:{GROWN_FIELD}"] = text
        draft.texts.append((fields, f"LOAN:{GROWN_FIELD}"))  # so that it is cut to what a record holds
    elif draw < 0.55:
        _grow_custom_fields(event, rng, budget)
    else:
        places = [(record, name) for record, name in draft.texts if record.get(name) is not None]
        selected = rng.sample(places, min(len(places), rng.choice((1, 1, 3, len(places), len(places)))))
        # A character may take six bytes in JSON, as in \u0000.
        size_bytes = budget // len(selected) // rng.choice((1, 2, 6))
        same_text = long_text("", rng, size_bytes=size_bytes) if rng.random() < 0.5 else None
        for record, name in selected:
            record[name] = same_text or long_text(name, rng, size_bytes=size_bytes)


def _lists(value: Any) -> list[list[Any]]:
    match value:
        case dict():
            return [rows for inner in value.values() for rows in _lists(inner)]
        case list():
            return [value, *(rows for inner in value for rows in _lists(inner))]
        case _:
            return []


def _grow_custom_fields(event: Json, rng: random.Random, budget: int) -> None:
    fields = event.setdefault("customFields", {})
    value = rng.choice((None, True, "", "x", {"decimal": "0"}, {"date": "0001-01-01"}, "y" * 200))
    unit = rng.choice(UNITS)
    each = len(json.dumps({unit: value}).encode()) + 9
    for number in range(budget // each):
        fields[rng.choice(("CLIENT:", "LOAN:", "", "CLIENT:A:")) + unit + str(number)] = value


def _cut_to_limit(event: Json, draft: _Draft) -> bytes:
    """The event's JSON, its longest texts, tables and custom fields halved until it fits a record."""
    while len(text := _json_text(event, draft.rng)) > RECORD_LIMIT_BYTES:
        for record, name in draft.texts:
            if isinstance(record.get(name), str) and len(record[name]) > 1_000:
                record[name] = record[name][: len(record[name]) // 2]
        for rows in _lists(event):
            if len(rows) > 10:
                del rows[len(rows) // 2 :]
        fields = event.get("customFields", {})
        if len(fields) > 100:
            for key in list(fields)[len(fields) // 2 :]:
                del fields[key]
    return text


def _json_text(event: Json, rng: random.Random) -> bytes:
    """The event as any producer may write it: order of names, white space, escapes, numbers."""
    if rng.random() < 0.1:
        event = dict(rng.sample(list(event.items()), len(event)))
    if rng.random() < 0.05:
        event = {**event, "unknown\u0301": [[{"deep": [None]}] * 3]}
    text = json.dumps(event, ensure_ascii=rng.random() < 0.3, indent=rng.choice((None, None, None, 1)))
    return _NUMBER.sub(r"\1", text).encode()
