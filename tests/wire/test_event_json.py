"""A record's value as JSON for people, valid event or not."""

import json
from typing import Any

import pytest

from processor.domain.catalogue import EVENTS
from processor.domain.event import Event
from processor.domain.record import EventName
from processor.shipped import sample
from processor.wire.decode import DecodeFailure, decode, event_from_json
from processor.wire.encode import encode_event
from processor.wire.event_json import event_json, indented_event, masked_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import make_event, make_record, schemas
from tests.support.events import repayment


def as_json(value: bytes, headers: Any = ()) -> str | None:
    """The JSON of a value."""
    return event_json(value, headers, schemas=schemas(), schema_of=schemas().local_schema)


def avro(fields: Any) -> bytes:
    """An event in Avro."""
    event = event_from_json(fields, schemas())
    assert isinstance(event, Event), event
    return encode_event(event.fields, schemas(), format=WireFormat.AVRO)[0]


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_comes_back(name: EventName) -> None:
    """Read from Avro and from JSON, the text is the event again, in one line."""
    event = event_from_json(sample(name), schemas())
    assert isinstance(event, Event)
    for form in WireFormat:
        value, headers = encode_event(event.fields, schemas(), format=form)
        text = as_json(value, headers)
        assert text is not None
        assert "\n" not in text
        assert event == event_from_json(text.encode(), schemas())


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (repayment()["client"]["encodedKey"].encode(), b"X" * 32),
        (b"northbank", b"North=ba!"),
        (repayment()["eventId"].encode(), b"no uuid" + b"!" * 29),
    ],
)
def test_what_the_checks_refuse_can_be_read(found: bytes, wrong: bytes) -> None:
    """A key, a tenant or an id that is none stands in the text, to be corrected."""
    value = avro(repayment())
    assert found in value
    broken = value.replace(found, wrong)
    decoded = decode(make_record(value=broken), schemas=schemas(), schema_of=schemas().local_schema)
    assert isinstance(decoded, DecodeFailure)
    text = as_json(broken)

    assert text is not None
    corrected = text.replace(wrong.decode(), found.decode())
    assert event_from_json(repayment(), schemas()) == event_from_json(corrected.encode(), schemas())


def test_what_contradicts_itself_can_be_read() -> None:
    """Two holders, which no schema forbids."""
    event = make_event()
    fields = {**event.fields, "group": None, "client": None}
    value, _ = encode_event(fields, schemas(), format=WireFormat.AVRO)
    text = as_json(value)

    assert text is not None
    assert "client" not in json.loads(text)


@pytest.mark.parametrize(
    "value",
    [b"", b"abc", b"\x00\x00\x00\x00\x07abc", b"[1]", b'"text"', b"{", b'{"a": 1, "a": 2}', avro(repayment())[:-1]],
)
def test_bytes_that_are_no_event(value: bytes) -> None:
    """None, never an error."""
    assert as_json(value) is None


def test_json_stays_as_it_was_written() -> None:
    """Numbers of any length and escapes too; only white space between tokens goes."""
    text = '{ "amount" :\n 12345678901234567890.10 , "note": "two  spaces \\" \\n", "list": [ 1e5 ] }'

    assert '{"amount":12345678901234567890.10,"note":"two  spaces \\" \\n","list":[1e5]}' == as_json(text.encode())


def test_no_terminal_obeys_it() -> None:
    """Control characters and what turns the direction are escaped, in equal JSON; in Avro and in JSON."""
    name = "a\x1b[31m\x9b2J\u202eb\u2028\x7f"
    fields = {**repayment(), "client": {**repayment()["client"], "fullName": name}}
    for value in (avro(fields), json.dumps(fields, ensure_ascii=False).encode()):
        text = as_json(value)
        assert text is not None
        assert text.isprintable()
        assert name == json.loads(text)["client"]["fullName"]


def test_what_is_masked() -> None:
    """All but which event it is; and that too where it holds something else."""
    text = json.dumps({**repayment(), "eventId": "ines@example.com", "phones": ["+351 912", {"a": None}]})
    masked = masked_event(text)

    assert "LOAN_REPAYMENT" == masked["event"]
    assert (repayment()["occurredAt"], "northbank") == (masked["occurredAt"], masked["tenant"])
    assert ("***", ["***", {"a": "***"}]) == (masked["eventId"], masked["phones"])
    assert repayment()["client"].keys() == masked["client"].keys()
    assert "***" == masked["client"]["mobilePhone"]
    assert repayment()["eventId"] == masked_event(json.dumps(repayment()))["eventId"]


def test_indented_numbers_are_exact() -> None:
    """As they were written."""
    shown = indented_event('{"a":[12345678901234567890.10,{}],"b":[],"c":null,"d":"x"}')

    assert '{\n  "a": [\n    12345678901234567890.10,\n    {}\n  ],\n  "b": [],\n  "c": null,\n  "d": "x"\n}' == shown
