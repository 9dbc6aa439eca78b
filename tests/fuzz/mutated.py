"""Mutations of valid records: bytes flipped, cut, spliced, repeated; any headers and keys; JSON restructured."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from processor.domain.record import Headers
from tests.fuzz.corpus import (
    DEFERRED_ID,
    FIRST_UNUSABLE_ID,
    FIRST_WRITER_ID,
    REFUSED_ID,
    UNAVAILABLE_ID,
    UNKNOWN_ID,
    Corpus,
    ValidRecord,
)
from tests.fuzz.templates import CUSTOM_FIELDS
from tests.fuzz.texts import UNITS
from tests.support.wire import varint


def mutated_record(corpus: Corpus, rng: random.Random) -> tuple[bytes | None, Headers, bytes | None]:
    """The value, headers and key of a valid record after one to four mutations of its bytes or of its JSON.

    One in twenty keeps its value and has other headers only, and one in fifty has another key.
    """
    valid = rng.choice(corpus.records)
    value: bytes | None = valid.value
    draw = rng.random()
    if draw < 0.05:
        pass
    elif valid.headers and draw < 0.55:
        value = _mutate_json(valid.value, corpus, rng)
    elif draw < 0.995:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            value = rng.choice(_MUTATIONS)(value or b"\x00", corpus.records, rng)
    else:
        value = rng.choice((None, b"", b"\x00", b"{}", bytes(5), rng.randbytes(rng.choice((4, 5, 300)))))
    headers = valid.headers
    if draw < 0.05 or rng.random() < 0.03:
        headers = _headers(valid, rng)
        if draw < 0.05 and value and not valid.headers and rng.random() < 0.5:
            value = value[:1] + rng.choice(_IDS).to_bytes(4, "big") + value[5:]
    key: bytes | None = valid.key
    if rng.random() < 0.02:
        key = rng.choice((None, b"", b"another", b"\xff\xfe", valid.key * 400, valid.key[:-1], b"\x00" + valid.key))
    return value, headers, key


# ------------------------------------------------------------------------------------------------------------- bytes

Mutate = Callable[[bytes, tuple[ValidRecord, ...], random.Random], bytes]

_KEYS: Final = tuple(key.encode() for key in CUSTOM_FIELDS)
_LENGTHS: Final = (
    *(b"\x00", b"\x01", b"\x02", b"\x03", b"\x7f", b"\x80\x00", b"\xff\x01", b"\xff" * 9 + b"\x01", b"\x80" * 11),
    *(
        varint(2**63 - 1),
        varint(-(2**63)),
        varint(-1),
        varint(2**31),
        varint(1_000_000),
        b'"',
        b"}",
        b",",
        b"\\",
        b"[" * 70,
    ),
)
"""Lengths, counts, indexes and brackets."""


def _flip(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + bytes((value[at] ^ 1 << rng.randrange(8),)) + value[at + 1 :]


def _truncate(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    return value[: rng.randrange(len(value))] or b"\x00"


def _delete(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + value[at + rng.choice((1, 1, 2, 8, 33)) :] or b"\x00"


def _insert(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    at = rng.randint(0, len(value))
    return value[:at] + rng.randbytes(rng.choice((1, 1, 2, 12))) + value[at:]


def _insert_length(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    at = rng.randint(0, len(value))
    return value[:at] + rng.choice(_LENGTHS) + value[at:]


def _overwrite(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    at, by = rng.randrange(len(value)), rng.choice(_LENGTHS)
    return value[:at] + by + value[at + len(by) :]


def _splice(value: bytes, others: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    other = rng.choice(others).value
    return value[: rng.randint(0, len(value))] + other[rng.randrange(len(other)) :]


def _repeat(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    at, length = rng.randrange(len(value)), rng.choice((1, 2, 9, 60, 400))
    times = rng.choice((1, 1, 2, 3, 50, 1_000)) if rng.random() < 0.995 else 100_000 // length
    return value[:at] + value[at : at + length] * (times + 1) + value[at + length :]


def _other_letter(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    """Another letter or digit: still a text, a key or a number, so that the record gets far."""
    for _try in range(20):
        at = rng.randrange(len(value))
        if 48 <= value[at] <= 57 or 97 <= value[at] <= 122:
            return value[:at] + rng.choice(b"abcdef0123456789z").to_bytes(1, "big") + value[at + 1 :]
    return value


def _odd_text(value: bytes, others: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    """An odd text in place of as many letters, so that lengths stay right and the record gets far."""
    unit = rng.choice(UNITS).encode()
    for _try in range(20):
        at = rng.randrange(len(value))
        if unit and value[at : at + len(unit)].isalnum() and b'"' not in unit and b"\\" not in unit:
            return value[:at] + unit + value[at + len(unit) :]
    return _other_letter(value, others, rng)


def _broken_text(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    """Bytes that are no UTF-8 in place of as many letters: cut short, surrogates, too long, beyond Unicode."""
    by = rng.choice((b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\x80"))
    for _try in range(20):
        at = rng.randrange(len(value))
        if value[at : at + len(by)].isalpha():
            return value[:at] + by + value[at + len(by) :]
    return value


def _same_key(value: bytes, _: tuple[ValidRecord, ...], rng: random.Random) -> bytes:
    """A custom field by the key of another one that the record has, or has not."""
    found = [key for key in _KEYS if key in value]
    if not found:
        return value
    key = rng.choice(found)
    alike = [other for other in found if len(other) == len(key) and other != key]
    return value.replace(key, rng.choice(alike or [key[::-1]]), 1)


_MUTATIONS: Final[tuple[Mutate, ...]] = (
    *(_flip, _truncate, _delete, _insert, _insert_length, _overwrite, _splice, _repeat, _broken_text, _same_key),
    *(_other_letter, _other_letter, _other_letter, _other_letter, _odd_text, _odd_text, _odd_text),
)

# ----------------------------------------------------------------------------------------------------------- headers

_IDS: Final = (
    *(UNKNOWN_ID, UNAVAILABLE_ID, DEFERRED_ID, REFUSED_ID, 0, 2**32 - 1, 2_000_000_001, 2_000_000_005),
    *range(FIRST_UNUSABLE_ID, FIRST_UNUSABLE_ID + 7),
)


def _headers(valid: ValidRecord, rng: random.Random) -> Headers:
    """The record's headers, or others, with a few more among them."""
    kept = valid.headers if rng.random() < 0.6 else ()
    more = tuple(rng.choice(_HEADERS)(rng) for _ in range(rng.choice((1, 1, 2, 5))))
    return (*more, *kept) if rng.random() < 0.5 else (*kept, *more)


_CONTENT_TYPES: Final = (
    *(b"application/json", b"APPLICATION/JSON ; charset=utf-8", b"application/json\x00", b"", None, b"\xff"),
    *(b"application/jsonx", b"text/plain", b"application/avro", b";"),
)
_TRACES: Final = (
    *(
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"",
        None,
        b"\xff\x00",
        b"00-" + b"0" * 32,
        b"t" * 9_000,
    ),
)
_GUIDS: Final = (
    *(b"\x01", None, b"", b"\x01" + bytes(16), b"\x00" + bytes(16), b"\x01" + bytes(15), b"\x01" + b"\xff" * 17),
)

_HEADERS: Final[tuple[Callable[[random.Random], tuple[str, bytes | None]], ...]] = (
    lambda rng: (rng.choice(("content-type", "Content-Type")), rng.choice(_CONTENT_TYPES)),
    lambda rng: ("__value_schema_id", rng.choice(_GUIDS)),
    lambda rng: ("__value_schema_id", b"\x01" + (FIRST_WRITER_ID + rng.randrange(84)).to_bytes(16, "big")),
    lambda rng: (rng.choice(("traceparent", "tracestate", "correlation-id")), rng.choice(_TRACES)),
    lambda rng: (
        rng.choice(("dl.reason", "dl.attempts", "dl.failed", "dl.detail")),
        rng.choice((b"1", b"9" * 9, None)),
    ),
    lambda rng: (rng.choice(UNITS), rng.choice(UNITS).encode()),
    lambda _: ("traceparent", b"x" * 1_050_000),
)

# -------------------------------------------------------------------------------------------------------------- JSON

Json = Any


def _mutate_json(value: bytes, corpus: Corpus, rng: random.Random) -> bytes:
    """A JSON event with one to four of its parts replaced, renamed, moved, repeated, removed, or of another event."""
    event = json.loads(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        container, key = _random_entry(event, rng)
        match rng.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                container[key] = _replacement(container[key], rng)
            case 5:
                del container[key]
            case 6 if isinstance(container, dict):
                container[_rename(str(key), rng)] = container.pop(key)
            case 7:
                other, other_key = _random_entry(event, rng)
                if other is not container[key]:
                    other[other_key] = json.loads(json.dumps(container[key]))
            case 8:
                donor = rng.choice(corpus.events)
                name = rng.choice(list(donor))
                event[name] = donor[name]
            case _:
                container[key] = _REPEATED_KEY if isinstance(container, dict) else container[key]
        if not event:
            break
    text = json.dumps(event, ensure_ascii=rng.random() < 0.6)
    if rng.random() < 0.01:
        text = rng.choice(("\ufeff@", "[@]", "@ ", "@@", "@\x00", '"@"', "// x\n@")).replace("@", text)
    for mark, raw in _RAW.items():
        if mark in text:
            text = text.replace(f'"{mark}"', raw() if callable(raw) else raw)
    return text.encode("utf-8", "surrogatepass")


def _random_entry(event: Json, rng: random.Random) -> tuple[Json, Any]:
    """An entry of an object or a list somewhere in `event`, which has one at least."""
    places: list[tuple[Json, Any]] = []
    waiting = [event]
    while waiting:
        node = waiting.pop()
        entries = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
        places += [(node, key) for key, _ in entries]
        waiting += [inner for _, inner in entries if isinstance(inner, dict | list)]
    return rng.choice(places)


_REPEATED_KEY: Final = "\ue000twice"
_RAW: Final[Mapping[str, str]] = {  # a marker -> JSON that json.dumps does not write
    _REPEATED_KEY: '1, "twice": 1, "twice": 2',
    "\\ue000twice": '1, "twice": 1, "twice": 2',
    "RAW-digits": "9" * 5_000,
    "RAW-fraction": "0." + "3" * 5_000,
    "RAW-exponent": "1e999999999",
    "RAW-huge-exponent": "1E" + "9" * 5_000,
    "RAW-negative-zero": "-0.0e-0",
    "RAW-nan": "NaN",
    "RAW-infinity": "-Infinity",
    "RAW-leading-zero": "007",
    "RAW-lists": "[" * 100_000 + "]" * 100_000,
    "RAW-63-lists": "[" * 61 + "]" * 61,
    "RAW-objects": '{"a":' * 70 + "1" + "}" * 70,
    "RAW-unclosed": "[" * 2_000,
    "RAW-half-pair": '"\\ud83d"',
    "RAW-pair": '"\\ud83d\\ude00"',
    "RAW-comment": "1 /* no */",
    "RAW-same-key": '{"a": 1, "\\u0061": 2}',
}
_VALUES: Final[tuple[Json, ...]] = (
    *(None, True, False, 0, -1, 0.5, 10**30, "", " ", "0", [], {}, [[]], [None], {"": None}, {"decimal": "1"}),
    *("9999-12-31", "10000-01-01", "2026-02-30", "9999-12-31T23:59:60Z", "0001-01-01T00:00:00+23:59", "1e400", "NaN"),
    *({"date": 1}, {"timestamp": "x"}, {"decimal": None}, {"decimal": "1", "date": "2026-01-01"}, {"string": "x"}),
    *(
        "\ud800",
        "\udfff",
        "\ud83d\ude00",
        "a" * 70_000,
        "\u0000" * 300,
        "LOAN",
        "MANUAL",
        "DO_NOTHING",
        "LOAN_REPAYMENT",
    ),
)


def _replacement(value: Json, rng: random.Random) -> Json:
    """A value instead of `value`: of another type, of the same one, or more of it."""
    match rng.randrange(7):
        case 0 | 1:
            return rng.choice(_VALUES)
        case 2:
            return rng.choice([mark for mark in _RAW if mark.startswith("RAW")])
        case 3:
            return rng.choice(UNITS) * rng.choice((1, 30, 2_000))
        case 4 if isinstance(value, str):
            at = rng.randint(0, len(value))
            return value[:at] + rng.choice(UNITS) + value[at:]
        case 5 if isinstance(value, list) and value:
            return value * rng.choice((2, 50))
        case _:
            return [value] if rng.random() < 0.3 else str(value) if rng.random() < 0.5 else {"string": value}


def _rename(name: str, rng: random.Random) -> str:
    others = ("", "encodedKey", "event", "__proto__", "x" * 5_000)
    return rng.choice((name.upper(), name + "\u0301", f" {name}", name[:-1], f"{name}\u0000", *others))
