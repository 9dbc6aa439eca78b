"""What counts as one e-mail address, one phone number or one user name; all else is FAILED, UNDEFINED_DESTINATION."""

import json
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.demo.generate import events
from processor.domain.catalogue import Target
from processor.domain.channel import RecipientKind
from processor.domain.event import Event
from processor.domain.message import Communicationmessage, State
from processor.domain.outcome import Processed, Rejected
from processor.domain.reasons import FailureReason, Reason
from processor.domain.template import Template
from processor.mapping.address import (
    EMAIL_LIMIT_CHARACTERS,
    PHONE_LIMIT_CHARACTERS,
    _email_error,
    _phone_error,
    email_error,
    phone_error,
)
from processor.shipped import samples
from tests.support.builders import (
    changed,
    make_context,
    make_email,
    make_event,
    make_record,
    make_sms,
    make_task,
    map_record,
)
from tests.support.builders import sample as sample_of

OVERRIDE = "\u202e"  # what follows is shown from right to left


def message_of(
    template: Template, event: Event | None = None, *, region: str | None = None, **changes: Any
) -> Communicationmessage:
    """The one message that `template` makes; its outcome is one created message, whatever the address."""
    record = make_record(make_event(**changes) if event is None else event)
    outcome = map_record(record, make_context(template, sms_region=region), frozenset())
    assert isinstance(outcome, Processed), outcome
    (created,) = outcome.created
    return created.message


def assert_undefined(message: Communicationmessage) -> None:
    """In the log with its reason, and without a destination that somebody could send to."""
    assert (State.FAILED, FailureReason.UNDEFINED_DESTINATION, None) == (
        message.state,
        message.failureReason,
        message.destination,
    )
    assert message.failureCause


# -------------------------------------------------------------------------------------------------- e-mail addresses

ADDRESSES = [
    "ines.duarte@example.com",
    "ines+loans@example.com",
    "o'neil_{x}~!#$%&*/=?^`|@example.com",
    "n/a@example.com",
    "Ines.Duarte@Example.COM",
    # Syntax only: names that cannot be reached from outside are a bank's own business.
    "user@bank.local",
    "user@bank.test",
    "user@bank.example",
    "user@mail.invalid",
    "user@host.internal",
    "user@localhost",
    "user@mailhost",
    "user@xn--bcher-kva.example",
    "a@b.c",
    "a@example.c0",
    '"ines duarte"@example.com',  # addr-spec has quoted local parts
    '"a..b"@example.com',
    "ines@[192.0.2.1]",  # and domain literals
    "ines@[IPv6:2001:db8::1]",
    "josé@example.com",  # RFC 6531
    "=?b?=@example.com",
    "ines@bücher.example",
    "用户@例え.jp",
    "a" * 64 + "@" + "b" * 60 + ".example",
]
NO_ADDRESSES = [
    "bad address@@",
    "ines duarte@example.com",
    "ines@example.com,copy@attacker.example",
    "ines@example.com, copy@attacker.example",
    "ines@example.com;copy@attacker.example",
    "ines@example.com copy@attacker.example",
    "ines@example.com/copy@attacker.example",
    "ines@example.com%0acopy@attacker.example",
    '"ines@example.com,copy@attacker.example,"@example.com',  # who splits at commas would send three
    '"copy@attacker.example;"@example.com',
    '"<copy@attacker.example>"@example.com',
    '"a\\"b"@example.com',
    "copy＠attacker.example，ines@example.com",  # who reads full-width signs as plain ones would send two
    "copy﹫attacker.example@example.com",
    "copy；ines@example.com",
    "＜copy@example.com",
    "=?utf-8?q?=63opy=40attacker.example=3e?=@example.com",  # and who decodes, to an address that cannot be seen
    '"=?UTF-8?B?Y29weUBhdHRhY2tlci5leGFtcGxl?="@example.com',
    "n/a",
    "-",
    "none",
    "@",
    "ines",
    "ines@",
    "@example.com",
    "ines@@example.com",
    "ines@example@com",
    "Ines <ines@example.com>",
    '"Ines" <ines@example.com>',
    "<ines@example.com>",
    "mailto:ines@example.com?cc=copy@attacker.example",
    "ines@example.com?cc=copy@attacker.example",
    "ines(home)@example.com",  # a comment
    "ines @ example.com",
    ".ines@example.com",
    "ines.@example.com",
    "in..es@example.com",
    "ines@example..com",
    "ines@.example.com",
    "ines@example.com.",
    "ines@-example.com",
    "ines@exam_ple.com",
    "ines@example.com:25",
    "ines@[192.0.2.999]",
    "ines@[attacker.example]",
    "ines@[IPv6:fe80::1%eth0]",
    "ines@xn--zz--.example",
    "ines＠example.com",  # a full-width at
    f"ines{OVERRIDE}moc.live@example.com",
    f"ines@exa{OVERRIDE}mple.com",
    "ines\u200b@example.com",
    "ines\u00a0@example.com",
    "ines@exa\u00admple.com\u2028",  # stripped at its end, and a soft hyphen left
    "ines\x00@example.com",
    "ines@example.com\x00",
    "ines\x07@example.com",
    "ines@example.com\r\nBcc: copy@attacker.example",
    "ines@example.com\ncopy@attacker.example",
    "ines\t@example.com",
    "ines@example.com\x85copy@attacker.example",
    "a" * 250 + "@b.example",
    "a@" + "b" * 64 + ".example",
    "a@" + "b." * 130 + "example",
    "ü" * 130 + "@example.com",  # 260 bytes before the at
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_email_address_is_used_as_it_stands(address: str) -> None:
    """One addr-spec of RFC 5322 (RFC 6532 for other scripts) is QUEUED, and not normalised."""
    message = message_of(make_email(), client__emailAddress=address)

    assert (State.QUEUED, address, None) == (message.state, message.destination, message.failureCause)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_invalid_email_address_is_not_used(address: str) -> None:
    """None, several, and whatever a reader could take for several."""
    assert_undefined(message_of(make_email(), client__emailAddress=address))


def test_blanks_around_an_address_do_not_matter() -> None:
    """They are taken off, line ends too."""
    assert "ines@example.com" == message_of(make_email(), client__emailAddress=" ines@example.com\r\n").destination
    assert "+351910000001" == message_of(make_sms(), client__mobilePhone="\u00a0+351910000001 ").destination


# ------------------------------------------------------------------------------------------------------ phone numbers

NUMBERS = [  # (as the event has it, region)
    ("+351910000001", None),
    ("+351 910 000 001", None),
    ("+351-910-000-001", None),
    ("+351.910.000.001", None),
    ("(+351) 910 000 001", None),
    ("+44 (0)20 8366 1177", None),
    ("+351\u00a0910\u202f000\u2011001", None),  # as a text program sets it
    ("＋３５１ ９１００００００１", None),  # full-width
    ("+٣٥١٩١٠٠٠٠٠٠١", None),  # Arabic-Indic digits
    ("+1 310 555 0000", None),
    ("+500 51234", None),  # the Falklands' mobile numbers have five digits
    ("+88213123456", None),  # satellite: in no country, but there
    # A national number that names no country: possible in some.
    ("910000001", None),
    ("0171/1234567", None),
    ("0171 123 45 67", None),
    ("51234", None),
    ("00351910000001", None),
    ("0049 171/1234567", None),
    ("011 1 650 253 0000", None),
    ("٠١٠١٢٣٤٥٦٧٨", None),
    ("090ー1234ー5678", None),
    # and with a region
    ("910000001", "PT"),
    ("910 000 001", "PT"),
    ("00351910000001", "PT"),
    ("+4915112345678", "PT"),
    ("0171/1234567", "DE"),
    ("0049 171/1234567", "AT"),
    ("+49 171/1234567", "DE"),
    ("0664 1234567", "AT"),
    ("(650) 253-0000", "US"),
    ("011 351 910 000 001", "US"),
    ("٠١٠١٢٣٤٥٦٧٨", "EG"),
    ("090-1234-5678", "JP"),
    ("3123456789", "IT"),
]
NO_NUMBERS = [
    ("not a phone", None),
    ("not a phone", "PT"),
    ("n/a", None),
    ("-", None),
    ("+", None),
    ("()", None),
    ("0", None),
    ("0000000000", None),
    ("0000000000", "PT"),
    ("123", None),
    ("-910000001", None),
    (".910000001", "PT"),
    ("1234567890123456", None),  # E.164 ends at fifteen
    ("+1234567890123456", None),
    ("+999123456789", None),  # no such country
    ("+35191", None),
    ("+3519100000019", None),
    ("+0351910000001", None),
    ("++351910000001", None),
    ("+351+910000001", None),
    ("351910000001+", None),
    ("91000", "PT"),
    ("9100000019", "PT"),
    ("910000001", "US"),
    ("ines@example.com", None),
    # Several
    ("+351910000001,+351910000002", None),
    ("+351910000001, 910000002", "PT"),
    ("910000001,910000002", None),
    ("910000001,910000002", "PT"),
    ("910000001;910000002", "PT"),
    ("910000001/910000002", "PT"),
    ("910000001/910000002", None),
    ("7712345/7712346", None),
    ("910000001/2", None),
    ("910000001/02", None),
    ("0171/123/4567", None),
    ("910000001 910000002", None),
    ("910000001 910000002", "PT"),
    ("910000001 ou 910000002", "PT"),
    ("910000001|910000002", "PT"),
    ("910000001\\910000002", "PT"),
    ("910000001\n910000002", "PT"),
    # An SMS reaches no extension, and a gateway no letters, schemes or codes.
    ("+1 650 253 0000 x123", None),
    ("+1 650 253 0000 ext. 123", None),
    ("+16502530000;ext=123", None),
    ("6502530000#123", "US"),
    ("6502530000,,123", "US"),
    ("1-800-FLOWERS", None),
    ("1-800-FLOWERS", "US"),
    ("tel:+351910000001", None),
    ("tel:911;phone-context=+351", None),
    ("sms:+351910000001?body=x", None),
    ("Tel: 910000001", "PT"),
    ("*100#", None),
    ("+351910000001*", None),
    ("+351 91000000l", None),  # an l for a one
    ("+351 91OOOOOO1", None),
    ("²²²²²²²²²", None),  # superscripts are no decimal digits
    ("一二三四五六七", None),
    ("Ⅷ910000001", None),
    # These cannot be seen.
    (f"+351{OVERRIDE}910000001", None),
    ("\u202a+351910000001\u202c", None),
    ("\u200b910000001", "PT"),
    ("910\u00ad000\u00ad001", "PT"),
    ("910\x00000001", "PT"),
    ("910000001\x00", "PT"),
    ("910\t000\t001", "PT"),
    ("1" + " " * 70 + "910000001", None),
    ("9" * 1025, "PT"),
]


@pytest.mark.parametrize(("number", "region"), NUMBERS)
def test_a_phone_number_is_used_as_it_stands(number: str, region: str | None) -> None:
    """One possible number of any country, or of the region where it names none, is QUEUED, and not normalised."""
    message = message_of(make_sms(), region=region, client__mobilePhone=number)

    assert (State.QUEUED, number, None) == (message.state, message.destination, message.failureCause)


@pytest.mark.parametrize(("number", "region"), NO_NUMBERS)
def test_an_invalid_phone_number_is_not_used(number: str, region: str | None) -> None:
    """None, several, and what is more than a number."""
    assert_undefined(message_of(make_sms(), region=region, client__mobilePhone=number))


def test_no_country_has_other_mobile_numbers() -> None:
    """Four digits are the shortest of any country; with its code, and without what is dialled before it, none has more
    than fifteen. This is what a number without a country is held to."""
    lengths = []
    for region in phonenumbers.SUPPORTED_REGIONS:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        assert metadata is not None
        mobile = [length for length in (metadata.mobile.possible_length if metadata.mobile else ()) if length > 0]
        lengths += [(length, length + len(str(metadata.country_code))) for length in mobile]

    assert 4 == min(national for national, _ in lengths)
    assert 15 == max(international for _, international in lengths)
    assert phone_error("123", None)
    assert phone_error("1234", None) is None
    assert phone_error("9" * 15, None) is None
    assert phone_error("9" * 16, None)


# ---------------------------------------------------------------------------------------------- who is addressed

ROLE = {
    "role": "Chair",
    "client": {"encodedKey": "8a8e867d5b1a4c0e015b1a5f3c0a0022", "id": "C-1", "fullName": "Rui Matos"},
}


@pytest.mark.parametrize(
    ("recipient", "target", "path"),
    [
        (RecipientKind.CLIENT, Target.LOANS, "client.{}"),
        (RecipientKind.CREDIT_OFFICER, Target.LOANS, "client.creditOfficer.{}"),
        (RecipientKind.CUSTOM_FIELD, Target.LOANS, "customFields.CLIENT:Way"),
        (RecipientKind.GROUP, Target.SAVINGS, "group.{}"),
        (RecipientKind.GROUP_ROLE, Target.SAVINGS, "group.members"),
    ],
)
@pytest.mark.parametrize(
    ("make", "name", "addresses"),
    [
        (make_email, "emailAddress", ("a@b.example", "a@b.example,c@d.example")),
        (make_sms, "mobilePhone", ("910000001", "910000001,910000002")),
    ],
)
def test_addresses_of_every_kind_of_recipient_are_checked(
    recipient: RecipientKind, target: Target, path: str, make: Any, name: str, addresses: tuple[str, str]
) -> None:
    """Clients, officers, groups, members with a role and custom fields alike; of `addresses` the first is right."""
    good, bad = addresses
    name_of_sample = "loan-repayment" if target is Target.LOANS else "savings-deposit"
    template = make(
        events=[name_of_sample.upper().replace("-", "_")],
        target=target,
        recipient=recipient,
        role="Chair" if recipient is RecipientKind.GROUP_ROLE else None,
        field="CLIENT:Way" if recipient is RecipientKind.CUSTOM_FIELD else None,
    )

    def message(address: str) -> Communicationmessage:
        value: Any = address
        if recipient is RecipientKind.GROUP_ROLE:
            value = [{**ROLE, "client": {**ROLE["client"], name: address}}]  # type: ignore[dict-item]
        return message_of(template, make_event(changed(sample_of(name_of_sample), {path.format(name): value})))

    assert good == message(good).destination
    assert_undefined(message(bad))


def test_a_number_in_a_custom_field() -> None:
    """A field that holds a number has that number's text."""
    template = make_sms(recipient=RecipientKind.CUSTOM_FIELD, field="CLIENT:Way")

    def destination(value: Any) -> str | None:
        event = changed(sample_of("loan-repayment"), {"customFields.CLIENT:Way": value})
        return message_of(template, make_event(event)).destination

    assert "910000001" == destination({"decimal": "910000001"})
    assert destination({"decimal": "-910000001"}) is None
    assert destination(True) is None


@pytest.mark.parametrize(
    "name", ["mvega", "m.vega@northbank.example", "Marta Vega", "marta_vega-2", "Ægir Þór", "太郎"]
)
def test_a_user_name_is_any_line(name: str) -> None:
    """What a bank calls its users is its own business."""
    assert name == message_of(make_task(), client__creditOfficer__username=name).destination


@pytest.mark.parametrize(
    "name",
    ["", " ", "m\x00vega", "m\nvega", "m\x1b[31mvega", "m\x9bvega", "m\u2029vega", f"m{OVERRIDE}vega", "v" * 1025],
)
def test_invalid_user_names(name: str) -> None:
    """Blank, more than a line, or another one than people see."""
    assert_undefined(message_of(make_task(), client__creditOfficer__username=name))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (make_email, "client.emailAddress"),
        (make_sms, "client.mobilePhone"),
        (make_task, "client.creditOfficer.username"),
    ],
)
def test_a_megabyte_of_text(make: Any, field: str) -> None:
    """It is measured, and neither shown nor kept."""
    event = changed(sample_of("loan-repayment"), {field: "9@" * 500_000})
    context = make_context(make(), max_event_bytes=2_000_000)
    outcome = map_record(make_record(make_event(event)), context, frozenset())
    assert isinstance(outcome, Processed)
    (created,) = outcome.created

    assert_undefined(created.message)
    assert "an address of 1000000 characters; at most 1024" == created.message.failureCause


def test_a_lone_surrogate_is_an_invalid_event() -> None:
    """A lone surrogate is an INVALID_EVENT: there is no text with it."""
    event = json.dumps(sample_of("loan-repayment")).replace("ines.duarte@", "ines\\ud800@").encode()
    record = make_record(value=event, headers=(("content-type", b"application/json"),))
    outcome = map_record(record, make_context(make_email()), frozenset())

    assert isinstance(outcome, Rejected)
    assert Reason.INVALID_EVENT == outcome.reason


@pytest.mark.parametrize(
    ("template", "field"), [(make_email(), "client__emailAddress"), (make_sms(), "client__mobilePhone")]
)
def test_an_invalid_address_is_shown_as_discarded(template: Template, field: str) -> None:
    """A Message goes with it, as with other addresses that are missing; its status has the cause."""
    outcome = map_record(make_record(make_event(**{field: "n/a"})), make_context(template), frozenset())
    assert isinstance(outcome, Processed)
    (created,) = outcome.created

    assert created.notification is not None
    assert "Discarded" == created.notification.status
    assert created.status.final
    assert created.message.failureCause == created.status.failureCause
    assert "n/a" not in str(created.status.failureCause)


# ------------------------------------------------------------------------------------------------------------- laws

BROKEN = st.sampled_from('@@..,;<>()[]":\\ \x00\u202e\u200d\u0301\ud800ßİＡ١xn--é漢­⁠①。．').map(str)
PARTS = st.text(max_size=12) | BROKEN | st.sampled_from(["ines", "example.com", "xn--", "[IPv6:", "]", "@", '"', "\\"])


@given(st.lists(PARTS, max_size=12).map("".join))
@example("a@" + "\u0660" * 253)
@example("a@" + "xn--" + "a" * 240)
@example("\ud800@example.com")
@example('"\\\ud800"@example.com')
@example("a@\ud800.com")
@example("a@\U000e0001.com")
@example("\u0338@<\u0338>@")
@example("a@[\x00]")
def test_any_text_can_be_checked_as_an_address(text: str) -> None:
    """Nothing else leaves the validators; what is an address is short, one line, and holds no second one."""
    if email_error(text) is None:
        assert text.isprintable() or '"' in text
        assert len(text.encode()) <= EMAIL_LIMIT_CHARACTERS
        assert 1 == text.count("@")
        assert not set(text) & set(",;<>()")


@given(st.lists(st.text("0123456789+ ()-/.,;x#٠１²", max_size=20) | PARTS, max_size=6).map("".join), st.booleans())
@example("+" + "9" * 63, True)
@example("+" + "(" * 63, False)
@example("٠" * 64, True)
def test_any_text_can_be_checked_as_a_phone_number(text: str, with_region: bool) -> None:
    """The same of phone numbers."""
    if phone_error(text, "PT" if with_region else None) is None:
        assert len(text) <= PHONE_LIMIT_CHARACTERS
        assert 2 <= sum(character.isdecimal() for character in text)
        assert not [character for character in text if character.isalpha() and character != "\u30fc"]


def test_validators_remember_short_texts_alone() -> None:
    """What they keep cannot grow with what events hold."""
    email_error("a" * 10_000 + "@example.com")
    phone_error("9" * 10_000, None)
    for number in range(3_000):
        email_error(f"ines{number}@example.com")
        phone_error(f"91{number:07}", "PT")

    assert 1024 == _email_error.cache_info().currsize
    assert 1024 == _phone_error.cache_info().currsize


def test_addresses_of_the_demo_are_valid() -> None:
    """The shipped samples, and the events that `demo` and `produce` make up, have addresses and numbers."""
    for event in (*samples(), *events(2_000)):
        for holder in (event.get("client"), event.get("group")):
            mail, phone = (holder or {}).get("emailAddress"), (holder or {}).get("mobilePhone")
            assert mail is None or email_error(mail) is None
            assert phone is None or phone_error(phone, None) is None
