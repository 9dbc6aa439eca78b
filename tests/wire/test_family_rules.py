"""What a schema cannot say of an event: its holder, hold or holds, its subject, no card number; and secrets."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS, FAMILIES, ordering_key
from processor.domain.event import Event
from processor.domain.reasons import Reason
from processor.domain.record import EventName, SourceRecord
from processor.shipped import sample, samples
from processor.wire.avro_reader import read_avro
from processor.wire.decode import DecodeFailure
from processor.wire.encode import encode_event
from processor.wire.errors import ContentError
from processor.wire.json_codec import json_decoder, parse_json
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.scalars import check_card_token
from processor.wire.schema_parser import parse_schema
from processor.wire.wire_format import WireFormat
from tests.support.laws import examples
from tests.support.wire import (
    SCHEMAS,
    changed_schema,
    decode_failure,
    decode_with,
    field_of,
    json_record,
    raw_record,
    values,
    varint,
)

BULK: Final = "CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"
NOBODY: Final[Mapping[str, Any]] = {"client": None, "group": None}


def changed(name: str, **changes: Any) -> SourceRecord:
    """The sample of an event with other values at dotted paths, `__` for a dot; None takes a field away."""
    fields = sample(EventName(name))
    for path, value in changes.items():
        *way, last = path.split("__")
        place = fields
        for step in way:
            place = place[step]
        place[last] = value
    return json_record(fields)


# ---------------------------------------------------------------------------------------------------------------------
# Holders

HOLDERS: Final = {  # holders that an event has -> families that take it; those of one required field aside
    (): {"order"},
    ("client",): {*FAMILIES} - {"client", "group", "portal", "journal_entry", "background"},
    ("group",): {*FAMILIES} - {"client", "group", "portal", "journal_entry", "background"},
    ("client", "group"): set(),
}
TWO_FIELDS: Final = sorted(HOLDERS["client",])
BOTH: Final = {
    "client": sample(EventName("CLIENT_CREATED"))["client"],
    "group": sample(EventName("GROUP_CREATED"))["group"],
}


@pytest.mark.parametrize("family", TWO_FIELDS)
@pytest.mark.parametrize("holders", HOLDERS)
def test_holders(family: str, holders: tuple[str, ...]) -> None:
    """Exactly one of client and group; an order may have neither. Anything else is INVALID_EVENT."""
    first = next(event for event, row in EVENTS.items() if row.family == family)
    # An activity about an account does not say who its holder has to be.
    name = "SAVINGS_ACCOUNT_ACTIVITY" if family == "activity" else first
    result = decode_with(changed(name, **{**NOBODY, **{holder: BOTH[holder] for holder in holders}}))

    if family in HOLDERS[holders]:
        assert isinstance(result, Event), result
    else:
        assert isinstance(result, DecodeFailure)
        assert Reason.INVALID_EVENT == result.reason
        assert result.detail.startswith("client, group: ")
        assert result.detail.endswith("both are set" if holders else "none is set")


@pytest.mark.parametrize(
    ("name", "field"), [("CLIENT_CREATED", "client"), ("GROUP_CREATED", "group"), ("PORTAL_ACTIVATED", "client")]
)
def test_a_required_holder(name: str, field: str) -> None:
    """Where the family has one kind of holder only, it is there."""
    assert DecodeFailure(Reason.INVALID_EVENT, f"{field}: is missing") == decode_with(changed(name, **{field: None}))


# ---------------------------------------------------------------------------------------------------------------------
# Hold or holds

HOLD: Final = sample(EventName("CARDS_AUTHORISATION_HOLD_CREATED"))["hold"]
HOLD_EVENTS: Final = [name for name, row in EVENTS.items() if row.family == "authorisation_hold"]


@pytest.mark.parametrize("name", HOLD_EVENTS)
@pytest.mark.parametrize("hold", [None, HOLD])
@pytest.mark.parametrize("holds", [[], [HOLD], [HOLD, HOLD]])
def test_one_hold_or_a_list_of_holds(name: str, hold: object, holds: list[object]) -> None:
    """In bulk a list of one or more and no hold; otherwise one hold and no list."""
    fits = (hold is None and bool(holds)) if name == BULK else (hold is not None and not holds)
    result = decode_with(changed(name, hold=hold, holds=holds))

    assert fits == isinstance(result, Event)
    if not fits:
        assert isinstance(result, DecodeFailure)
        assert Reason.INVALID_EVENT == result.reason
        assert result.detail.startswith(f"hold, holds: {name} has ")
        assert result.detail.endswith(f"given {'hold' if hold else 'no hold'} and {len(holds)} in holds")


@pytest.mark.parametrize("name", ["ACCOUNT_AUTHORISATION_HOLD_CREATED", "CARDS_AUTHORISATION_HOLD_AMOUNT_INCREASED"])
def test_missing_optional_fields_are_left_to_the_templates(name: str) -> None:
    """A hold without card or earlier amount is an event; `strict` templates that show them fail."""
    assert isinstance(decode_with(changed(name, hold__card=None, hold__previousAmount=None)), Event)


# ---------------------------------------------------------------------------------------------------------------------
# Subjects

OTHER: Final = "8a8e867d5b1a4c0e015b1a5f3c0affff"


@pytest.mark.parametrize(
    ("name", "changes", "detail"),
    [
        ("CLIENT_ACTIVITY", {"subject__kind": "GROUP"}, "subject.kind: CLIENT_ACTIVITY is about a CLIENT, not a GROUP"),
        ("CLIENT_ACTIVITY", {"client": None, "group": BOTH["group"]}, "client: is missing, and the subject is one"),
        ("CLIENT_ACTIVITY", {"subject__encodedKey": OTHER}, "subject.encodedKey: not that of client"),
        ("GROUP_ACTIVITY", {"subject__kind": "LOAN"}, "subject.kind: GROUP_ACTIVITY is about a GROUP, not a LOAN"),
        ("GROUP_ACTIVITY", {"client": BOTH["client"], "group": None}, "group: is missing, and the subject is one"),
        ("GROUP_ACTIVITY", {"subject__encodedKey": OTHER}, "subject.encodedKey: not that of group"),
        ("LOAN_ACCOUNT_ACTIVITY", {"account": None}, "account: is missing, and the subject is one"),
        ("LOAN_ACCOUNT_ACTIVITY", {"account__kind": "DEPOSIT"}, "account.kind: DEPOSIT, and the subject is a LOAN"),
        ("LOAN_ACCOUNT_ACTIVITY", {"subject__encodedKey": OTHER}, "subject.encodedKey: not that of account"),
        (
            "LOAN_ACCOUNT_ACTIVITY",
            {"subject__kind": "DEPOSIT"},
            "subject.kind: LOAN_ACCOUNT_ACTIVITY is about a LOAN, not a DEPOSIT",
        ),
        ("SAVINGS_ACCOUNT_ACTIVITY", {"account__kind": "LOAN"}, "account.kind: LOAN, and the subject is a DEPOSIT"),
        ("SAVINGS_ACCOUNT_ACTIVITY", {"subject": None}, "subject: is missing"),
    ],
)
def test_an_activity_has_its_subject(name: str, changes: dict[str, Any], detail: str) -> None:
    """An activity is about what its name says, and that client, group or account is in the event."""
    assert DecodeFailure(Reason.INVALID_EVENT, detail) == decode_with(changed(name, **changes))


# ---------------------------------------------------------------------------------------------------------------------
# Cards


@pytest.mark.parametrize(
    "number", ["5555555555554444", "378282246310005", "4222222222222", "6304000000000000000", "4242 4242-4242 4242"]
)
def test_a_card_number_is_no_token(number: str) -> None:
    """13 to 19 digits that pass the Luhn check are refused wherever a card is, and not shown."""
    what = "card.token: a card number stands where its token should"
    records = {
        what: changed("CARD_DEPOSIT_REVERSAL", card__token=number),
        f"hold.{what}": changed("CARDS_AUTHORISATION_HOLD_EXPIRED", hold__card__token=number),
        f"holds[1].{what}": changed(BULK, holds=[HOLD, {**HOLD, "card": {"token": number}}]),
    }

    assert {detail: DecodeFailure(Reason.INVALID_EVENT, detail) for detail in records} == {
        detail: decode_with(record) for detail, record in records.items()
    }


def test_a_card_number_is_no_token_in_avro() -> None:
    """Another producer's library does not know the rule either."""
    fields = dict(event_of("CARD_WITHDRAWAL_REVERSAL").fields)
    fields["card"] = {**fields["card"], "token": "4242424242424242"}
    value, headers = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)

    assert (
        "card.token: a card number stands where its token should" == decode_failure(raw_record(value, headers)).detail
    )


TOKENS: Final = ["4242424242424241", "tok_4242424242424242", "424242424242", "\u0664\u0662" * 8, "", "- "]


@pytest.mark.parametrize("token", TOKENS)
def test_other_texts_are_tokens(token: str) -> None:
    """Digits that fail the check, too few of them, or anything else."""
    assert token == check_card_token(token)


@given(st.from_regex(r"[0-9]{12,18}", fullmatch=True))
def test_one_of_ten_last_digits_makes_a_card_number(digits: str) -> None:
    """The Luhn check: whatever the digits before it, exactly one check digit passes."""
    refused = []
    for last in "0123456789":
        try:
            check_card_token(digits + last)
        except ContentError:
            refused.append(last)

    assert 1 == len(refused)


# ---------------------------------------------------------------------------------------------------------------------
# Secrets

SECRET: Final = "https://portal.example/reset/4f1ab2"
PORTAL: Final = SCHEMAS.families["banking.events.PortalEvent"]
_, LINK = parse_schema(
    '{"type": "record", "name": "banking.events.Link", "fields": '
    '[{"name": "passwordUrl", "type": ["null", "string"], "default": null}]}'
)


@pytest.mark.parametrize(
    "read",
    [
        lambda: json_decoder(LINK)({"passwordUrl": {"href": SECRET}}),
        lambda: json_decoder(LINK)({"passwordUrl": [SECRET]}),
        lambda: json_decoder(LINK)({"passwordUrl": SECRET + "\ud800"}),
        lambda: json_decoder(LINK)(parse_json(f'{{"passwordUrl": "{SECRET}'.encode())),
        lambda: read_avro(varint(1) + varint(37) + SECRET.encode() + b"\xff\x00", 0, LINK, LINK),
        lambda: read_avro(varint(1) + varint(99) + SECRET.encode(), 0, LINK, LINK),
    ],
)
def test_no_detail_shows_a_secret(read: Callable[[], object]) -> None:
    """A password's link is in no detail, however broken the field is that holds it."""
    with pytest.raises(ContentError) as caught:
        read()

    assert "portal" not in caught.value.detail


def portal_values() -> list[tuple[bytes, Any]]:
    """A portal event with the secret in it, in both forms."""
    fields = {**event_of("PORTAL_PASSWORD_RESET").fields, "passwordUrl": SECRET}
    return [encode_event(fields, SCHEMAS, format=form) for form in WireFormat]


def test_a_portal_event_cut_anywhere_shows_no_secret() -> None:
    """Wherever a record ends too early, its failure's detail is without a part of the link."""
    for value, headers in portal_values():
        results = [decode_with(raw_record(value[:end], headers)) for end in range(len(value))]

        assert all(isinstance(result, DecodeFailure) and "portal.example" not in result.detail for result in results)


@pytest.mark.parametrize(
    "path", ["eventId", "occurredAt", "tenant", "client", "client__encodedKey", "branch__encodedKey"]
)
def test_the_rest_of_a_portal_event_may_be_wrong(path: str) -> None:
    """An error elsewhere names that place, not the link."""
    found = decode_failure(changed("PORTAL_PASSWORD_RESET", passwordUrl=SECRET, **{path: "?"}))

    assert found.detail.startswith(path.replace("__", "."))
    assert "portal.example" not in found.detail


# ---------------------------------------------------------------------------------------------------------------------
# All families


def event_of(name: str) -> Event:
    """The event of a sample."""
    event = decode_with(json_record(sample(EventName(name))))
    assert isinstance(event, Event), event
    return event


@pytest.mark.parametrize("name", ["MANUAL", "DO_NOTHING", "LOAN_REPAID"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_event_name(family: str, name: str) -> None:
    """UNKNOWN_EVENT in both formats: in JSON by its name, in Avro by a symbol that another writer has appended."""
    first = next(event for event, row in EVENTS.items() if row.family == family)
    writer = changed_schema(lambda schema: field_of(schema, "event")["type"]["symbols"].append(name), name=first)
    value, _ = encode_event(event_of(first).fields, SCHEMAS, format=WireFormat.AVRO)
    symbol = 5 + 1 + 36  # the frame, then eventId with its length
    count = sum(row.family == family for row in EVENTS.values())
    value = b"\x00\x00\x00\x00\x09" + value[5:symbol] + varint(count) + value[symbol + 1 :]
    failures = [
        decode_failure(json_record({**sample(first), "event": name})),
        decode_failure(raw_record(value), writers={9: writer}),
    ]

    assert [Reason.UNKNOWN_EVENT] * 2 == [failure.reason for failure in failures]
    assert all("event: " in failure.detail and name in failure.detail for failure in failures)


@pytest.mark.parametrize("schema", SCHEMAS.families.values(), ids=lambda schema: schema.name)
@settings(deadline=None, max_examples=examples(12), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_fits_the_schema_is_an_event_or_an_invalid_one(schema: ReaderSchema, data: st.DataObject) -> None:
    """Any values, rules kept or not: both formats give the same result, never an exception; an event has its key."""
    fields = data.draw(values(schema.type))
    forms = [encode_event(fields, SCHEMAS, format=form) for form in WireFormat]
    from_avro, from_json = (decode_with(raw_record(value, headers)) for value, headers in forms)

    assert from_avro == from_json
    if isinstance(from_avro, Event):
        assert from_avro.ordering_key == ordering_key(from_avro.name, fields)
    else:
        assert Reason.INVALID_EVENT == from_avro.reason


def test_samples_keep_the_rules() -> None:
    """Each event has a sample that is read: no rule refuses all events of a name."""
    assert set(EVENTS) == {event_of(sample["event"]).name for sample in samples()}
