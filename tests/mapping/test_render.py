"""The text of values, their escaping, and the lines and tables they make."""

import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS
from processor.domain.channel import ContentType
from processor.domain.placeholders import PLACEHOLDERS, PlaceholderType
from processor.domain.reasons import TemplateReason
from processor.domain.record import EventName
from processor.domain.template import EscapeContext, Text
from processor.mapping.escape import ESCAPES, subject_line
from processor.mapping.render import Rendered, RenderFailure, render
from processor.mapping.table_formats import TABLE_COLUMNS, TABLE_FORMATS
from processor.mapping.values import Scope, money_text, text_of
from processor.templates.text import parse
from tests.support.builders import make_event


def render_body(
    body: str,
    content: ContentType = ContentType.TEXT,
    *,
    fields: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int = 100_000,
    event: str = "LOAN_REPAYMENT",
) -> Rendered | RenderFailure:
    """`body` with the values of `fields`, or of the sample repayment; `event` says whose placeholders there are."""
    family = EVENTS[EventName(event)].family
    segments, diagnostics = parse(body, content, families={family: EventName(event)})
    assert not [diagnostic for diagnostic in diagnostics if diagnostic.is_error]
    scope = Scope(family, make_event().fields if fields is None else fields, ZoneInfo("UTC"))
    return render(Text(None, segments), scope, strict=strict, limit_characters=limit)


def body_of(body: str, content: ContentType = ContentType.TEXT, **options: Any) -> str:
    """The rendered body, where nothing can fail."""
    result = render_body(body, content, **options)
    assert isinstance(result, Rendered), result
    return result.body


def test_every_context_has_its_escape_and_its_table() -> None:
    """Wherever a placeholder can stand, its value is escaped and a table has a form."""
    assert set(EscapeContext) == ESCAPES.keys() == TABLE_FORMATS.keys()


# ------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("218.24", "EUR", "218.24"),
        ("100", "EUR", "100.00"),
        ("100.5000000000", "EUR", "100.50"),
        ("3.1874226000", "EUR", "3.1874226"),
        ("15000", "JPY", "15000"),
        ("15000.5", "JPY", "15000.5"),
        ("12.5", "TND", "12.500"),
        ("1", "CLF", "1.0000"),
        ("1", "nowhere", "1.00"),
        ("1", None, "1.00"),
        ("0E-10", "EUR", "0.00"),
        ("-0.0", "JPY", "0"),
        ("-12.3", "EUR", "-12.30"),
        ("1E+5", "EUR", "100000.00"),
        ("1234567890123456789012345678.0123456789", "EUR", "1234567890123456789012345678.0123456789"),
    ],
)
def test_money(amount: str, currency: str | None, expected: str) -> None:
    """At least the currency's digits, further ones kept unless zero, all 38 of them exact."""
    assert expected == money_text(Decimal(amount), currency)


@pytest.mark.parametrize(
    ("value", "kind", "zone", "expected"),
    [
        (Decimal("4.5000000000"), PlaceholderType.DECIMAL, "UTC", "4.5"),
        (Decimal("4"), PlaceholderType.DECIMAL, "UTC", "4"),
        (Decimal("100"), PlaceholderType.DECIMAL, "UTC", "100"),
        (-7, PlaceholderType.INTEGER, "UTC", "-7"),
        (date(2026, 3, 14), PlaceholderType.DATE, "Asia/Tokyo", "2026-03-14"),
        (date(33, 1, 2), PlaceholderType.DATE, "UTC", "0033-01-02"),
        (
            datetime(2026, 3, 14, 9, 26, 53, 999_999, tzinfo=UTC),
            PlaceholderType.TIMESTAMP,
            "UTC",
            "2026-03-14T09:26:53Z",
        ),
        (datetime(2026, 3, 14, 23, 0, tzinfo=UTC), PlaceholderType.TIMESTAMP, "Asia/Tokyo", "2026-03-14T23:00:00Z"),
        (datetime(2026, 3, 14, 23, 0, tzinfo=UTC), PlaceholderType.DATE, "Asia/Tokyo", "2026-03-15"),
        (datetime(9999, 12, 31, 23, 0, tzinfo=UTC), PlaceholderType.DATE, "Asia/Tokyo", "9999-12-31"),
        (datetime(1, 1, 1, tzinfo=UTC), PlaceholderType.DATE, "America/New_York", "0001-01-01"),
        (True, PlaceholderType.STRING, "UTC", "true"),
        (False, PlaceholderType.STRING, "UTC", "false"),
        ("ACTIVE", PlaceholderType.ENUM, "UTC", "ACTIVE"),
    ],
)
def test_text_of_values(value: Any, kind: PlaceholderType, zone: str, expected: str) -> None:
    """Each type has one text; the time zone gives a moment its day and changes nothing else."""
    assert expected == text_of(value, kind, currency=None, time_zone=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("changes", "body", "expected"),
    [
        ({"account__currencyCode": "JPY"}, "{TRANSACTION_AMOUNT}", "218.24"),
        ({"account__currencyCode": "TND"}, "{TRANSACTION_AMOUNT}", "218.240"),
        ({"account__currencyCode": "TND", "transaction__currencyCode": "EUR"}, "{TRANSACTION_AMOUNT}", "218.24"),
        ({"account__currencyCode": "TND", "transaction__currencyCode": "EUR"}, "{LOAN_AMOUNT}", "5000.000"),
        (
            {"transaction__originalAmount": "7", "transaction__originalCurrencyCode": "JPY"},
            "{ORIGINAL_AMOUNT} {TRANSACTION_AMOUNT}",
            "7 218.24",
        ),
        ({"transaction__originalAmount": "7", "account__currencyCode": "JPY"}, "{ORIGINAL_AMOUNT}", "7.00"),
    ],
)
def test_currency_of_an_amount(changes: dict[str, Any], body: str, expected: str) -> None:
    """Of its own record, else of the account; an original amount only of `originalCurrencyCode`."""
    assert expected == body_of(body, fields=dict(make_event(**changes).fields))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CF:CLIENT:Segment", "Retail"),
        ("CF:Segment", "Retail"),
        ("CF:LOAN:Insured", "true"),
        ("CF:LOAN:Risk Score", "0.83"),
        ("CF:CLIENT:Bank Account:1", "PT50000201231234567890154"),
        ("CF:CLIENT:Bank Account", "PT50000201231234567890154"),
        ("CF:Bank Account", "PT50000201231234567890154"),
        ("CF:CLIENT:Bank Account:2", ""),
        ("CF:LOAN:Segment", ""),
        ("CF:segment", ""),
    ],
)
def test_custom_fields(name: str, expected: str) -> None:
    """By entity, by entry, or searched in all; without an entry the first; names to the letter."""
    assert expected == body_of(f"{{{name}}}")


def test_custom_fields_are_searched_in_order() -> None:
    """Without an entity the first of the entities that has a value wins; one that is null is skipped."""
    fields = {"customFields": {"CLIENT:x": "client", "LOAN:x": "loan", "TRANSACTION:x": None, "USER:x": "user"}}

    assert "loan" == body_of("{CF:x}", fields=fields)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ("true", "true")),
        (Decimal("12.5000000000"), ("12.5", "12.5")),
        (date(2026, 3, 1), ("2026-03-01", '"2026-03-01"')),
        (datetime(2026, 3, 1, 8, tzinfo=UTC), ("2026-03-01T08:00:00Z", '"2026-03-01T08:00:00Z"')),
        ("12", ("12", '"12"')),
        (None, ("", "null")),
    ],
)
def test_types_of_custom_fields(value: Any, expected: tuple[str, str]) -> None:
    """A custom field's value has the text of its own type; outside the quotes of JSON, the JSON value of it."""
    fields = {"customFields": {"LOAN:x": value}}

    assert expected == (
        body_of("{CF:LOAN:x}", fields=fields),
        body_of("{CF:LOAN:x}", ContentType.JSON, fields=fields),
    )


# ------------------------------------------------------------------------------------------------------------ missing


def test_missing_value() -> None:
    """Empty; null outside the quotes of JSON; a record that is missing on the way is missing too."""
    assert "<>" == body_of("<{GROUP_NAME}{CENTRE_ID}{CF:none}>")
    assert '{"a": "", "b": null}' == body_of('{"a": "{GROUP_NAME}", "b": {GROUP_ID}}', ContentType.JSON)


def test_missing_value_under_strict() -> None:
    """Fails, naming each once; an empty text is a value."""
    fields = dict(make_event(transaction__comment="").fields)

    assert RenderFailure(TemplateReason.MISSING_VALUE, "no value: {GROUP_NAME}, {CF:none}") == render_body(
        "{GROUP_NAME}{CF:none}{GROUP_NAME}", strict=True
    )
    assert Rendered(None, "") == render_body("{TRANSACTION_COMMENT}", fields=fields, strict=True)


def test_limit_in_characters() -> None:
    """A text of as many characters as the limit passes, one more does not, be it literal or value."""
    assert Rendered(None, "LN-204417") == render_body("{ACCOUNT_ID}", limit=9)
    for body in ("{ACCOUNT_ID}", "123456789"):
        result = render_body(body, limit=8)
        assert isinstance(result, RenderFailure)
        assert TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED is result.reason


def peak_bytes(make: Callable[[], object]) -> int:
    """How many bytes Python allocates, at most, while `make` runs."""
    tracemalloc.start()
    try:
        make()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [ContentType.TEXT, ContentType.HTML, ContentType.XML, ContentType.JSON])
@pytest.mark.parametrize("quotes", ["", '"'])
def test_a_value_without_room_is_not_escaped(content: ContentType, quotes: str) -> None:
    """Escaping makes up to six characters of one: it begins only for what the limit leaves room for."""
    fields = dict(make_event(account__name="\"'" * 100_000).fields)
    body = f"{quotes}{{ACCOUNT_NAME}}{quotes}"

    assert 50_000 > peak_bytes(lambda: render_body(body, content, fields=fields, limit=1_000))


def test_an_address_without_room_is_not_escaped() -> None:
    """In an address one character becomes twelve."""
    family = {"loan_transaction": EventName("LOAN_REPAYMENT")}
    url, _ = parse("https://hooks.example.com/{ACCOUNT_NAME}", EscapeContext.URL, families=family)
    scope = Scope("loan_transaction", make_event(account__name="\U0001f600" * 100_000).fields, ZoneInfo("UTC"))
    text = Text(None, (), url=url)

    assert 50_000 > peak_bytes(lambda: render(text, scope, strict=False, limit_characters=1_000))


# -------------------------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nBcc: b", "a  Bcc: b"),
        ("a\tb\x00c\x7fd\x85e\u2028f\u2029g", "a b c d e f g"),
        ("x" * 256, "x" * 255),
        ("\U0001f600" * 300, "\U0001f600" * 255),
    ],
)
def test_subject_line(text: str, expected: str) -> None:
    """One line of at most 255 characters, whatever a value holds."""
    assert expected == subject_line(text)


def test_bodies_keep_control_characters() -> None:
    """Plain text keeps line breaks and control characters of values as they are."""
    assert "a\r\n\x07b" == body_of("{ACCOUNT_NAME}", fields=dict(make_event(account__name="a\r\n\x07b").fields))


# ------------------------------------------------------------------------------------------------------------- tables

SCHEDULE = [
    {"number": 7, "dueDate": date(2026, 4, 14), "principalBalance": Decimal("202.36"), "totalBalance": Decimal(218)},
    {"number": 8, "dueDate": date(2026, 5, 14), "feeBalance": Decimal("1.5")},
]
TABLE_FIELDS: dict[str, Any] = {"schedule": SCHEDULE, "account": {"currencyCode": "EUR"}}


def test_table_in_each_document() -> None:
    """Rows with their cells in one order: text by tabs, HTML, XML and JSON by name; money with the account's digits."""
    body = "{REPAYMENT_SCHEDULE}"
    parsed = json.loads(body_of(body, ContentType.JSON, fields=TABLE_FIELDS))

    assert "7\t2026-04-14\t202.36\t\t\t\t218.00\n8\t2026-05-14\t\t\t1.50\t\t" == body_of(body, fields=TABLE_FIELDS)
    assert body_of(body, ContentType.HTML, fields=TABLE_FIELDS).startswith(
        "<table><tr><td>7</td><td>2026-04-14</td><td>202.36</td><td></td>"
    )
    assert body_of(body, ContentType.XML, fields=TABLE_FIELDS).startswith(
        "<row><number>7</number><dueDate>2026-04-14</dueDate><principalBalance>202.36</principalBalance>"
    )
    assert {
        "number": 8,
        "dueDate": "2026-05-14",
        "principalBalance": None,
        "interestBalance": None,
        "feeBalance": "1.50",
        "penaltyBalance": None,
        "totalBalance": None,
    } == parsed[1]


@pytest.mark.parametrize("content", [ContentType.TEXT, ContentType.HTML, ContentType.XML, ContentType.JSON])
@pytest.mark.parametrize("quotes", ["", '"'])
def test_a_table_ends_at_the_limit(content: ContentType, quotes: str) -> None:
    """Of 20,000 rows only those are written that the limit leaves room for."""
    rows = {"schedule": SCHEDULE * 10_000, "account": {"currencyCode": "EUR"}}
    body = f"{quotes}{{REPAYMENT_SCHEDULE}}{quotes}"
    result = render_body(body, content, fields=rows, limit=2_000)

    assert isinstance(result, RenderFailure)
    assert TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED is result.reason
    assert 100_000 > peak_bytes(lambda: render_body(body, content, fields=rows, limit=2_000))


def test_table_within_a_json_string() -> None:
    """Between quotes a table is the text of its array, escaped once more."""
    document = json.loads(body_of('{"rows": "{REPAYMENT_SCHEDULE}"}', ContentType.JSON, fields=TABLE_FIELDS))

    assert [7, 8] == [row["number"] for row in json.loads(document["rows"])]


def test_empty_table() -> None:
    """No rows are a value: an empty array, under `strict` too."""
    fields = {**TABLE_FIELDS, "schedule": []}

    assert ["", "[]", "<table></table>", ""] == [
        body_of("{REPAYMENT_SCHEDULE}", content, fields=fields, strict=True)
        for content in (ContentType.TEXT, ContentType.JSON, ContentType.HTML, ContentType.XML)
    ]


def test_every_table_has_its_columns() -> None:
    """Each placeholder that is a table has an entry that says which fields of its rows are bodies."""
    assert {row.path for row in PLACEHOLDERS if row.type is PlaceholderType.TABLE} == TABLE_COLUMNS.keys()


BULK = "CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"
HOLDS_FIELDS: dict[str, Any] = {
    "account": {"currencyCode": "EUR"},
    "holds": [
        {
            "externalReferenceId": "A-1",
            "direction": "DBIT",
            "amount": Decimal("35.5"),
            "currencyCode": "JPY",
            "card": {"token": "tok-1", "acceptor": None},
        },
        {"externalReferenceId": "A-2", "direction": "CRDT", "amount": Decimal(1), "currencyCode": None, "card": None},
    ],
}


def test_table_of_holds() -> None:
    """Reference id, direction, amount, currency, card token; the amount has the digits of the hold's own currency."""
    bodies = {
        content: body_of("{HOLDS}", content, fields=HOLDS_FIELDS, event=BULK)
        for content in (ContentType.TEXT, ContentType.HTML, ContentType.XML, ContentType.JSON)
    }

    assert "A-1\tDBIT\t35.5\tJPY\ttok-1\nA-2\tCRDT\t1.00\t\t" == bodies[ContentType.TEXT]
    assert bodies[ContentType.HTML].endswith(
        "<tr><td>A-2</td><td>CRDT</td><td>1.00</td><td></td><td></td></tr></table>"
    )
    assert bodies[ContentType.XML].startswith(
        "<row><externalReferenceId>A-1</externalReferenceId><direction>DBIT</direction><amount>35.5</amount>"
        "<currencyCode>JPY</currencyCode><token>tok-1</token></row>"
    )
    assert [
        {"externalReferenceId": "A-1", "direction": "DBIT", "amount": "35.5", "currencyCode": "JPY", "token": "tok-1"},
        {"externalReferenceId": "A-2", "direction": "CRDT", "amount": "1.00", "currencyCode": None, "token": None},
    ] == json.loads(bodies[ContentType.JSON])


# ---------------------------------------------------------------------------------------------------- laws and attacks

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ATTACKS = [
    "{ACCOUNT_ID}",
    "{CF:CLIENT:Segment}",
    '"',
    '", "admin": true, "x": "',
    "\\",
    '\\"',
    "\\u0022",
    "</script><script>alert(1)</script>",
    "<!--",
    "]]>",
    "-->",
    "&amp;",
    "&#60;",
    "' onclick='x",
    "\r\n.\r\n",
    "\x1f",
    "null",
    "\ufeff",
    "{" * 1000,
    "\u2028",
]


def _fields(value: str) -> dict[str, Any]:
    """An event whose account, product and custom field are called `value`."""
    return {"account": {"name": value, "id": value, "product": {"name": value}}, "customFields": {"LOAN:x": value}}


@given(value=TEXTS)
def test_json_holds_the_values(value: str) -> None:
    """Parsed back, JSON holds each value as it was: within quotes, alone, and as a custom field."""
    document = body_of(
        '{"in": "a {ACCOUNT_NAME} b", "alone": {ACCOUNT_ID}, "list": [{CF:LOAN:x}], "{PRODUCT_NAME}": 1}',
        ContentType.JSON,
        fields=_fields(f"~{value}"),
    )
    expected = {"in": f"a ~{value} b", "alone": f"~{value}", "list": [f"~{value}"], f"~{value}": 1}

    assert expected == json.loads(document)


@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=60))
def test_xml_holds_the_values(value: str) -> None:
    """Parsed back, XML holds each value as it was, line breaks and tabs too: as text and within an attribute."""
    text = f"{value}\t\r\n{value}"
    root = ET.fromstring(  # noqa: S314  our own output
        body_of('<a b="{ACCOUNT_NAME}">{CF:LOAN:x}</a>', ContentType.XML, fields=_fields(text))
    )

    assert (text, text) == (root.attrib["b"], root.text)


class _Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(value=TEXTS.filter(lambda text: "\x00" not in text) | st.sampled_from(ATTACKS))
def test_html_holds_the_values(value: str) -> None:
    """Read back, HTML has the tags and attributes of the template alone, and the value in each of its places."""
    reader = _Read()
    reader.feed(
        body_of(
            "<p title=\"{ACCOUNT_NAME}\" lang='{CF:LOAN:x}'>{ACCOUNT_ID}</p>", ContentType.HTML, fields=_fields(value)
        )
    )
    reader.close()

    assert (["p"], [("title", value), ("lang", value)], value) == (reader.tags, reader.attributes, reader.text)


@pytest.mark.parametrize("value", ATTACKS)
def test_injection_attempts(value: str) -> None:
    """What looks like a placeholder, a quote or a tag in a value is that value's text, and is never read again."""
    fields = _fields(value)
    document = json.loads(body_of('{"a": "{ACCOUNT_NAME}", "b": {CF:LOAN:x}}', ContentType.JSON, fields=fields))

    assert value == body_of("{ACCOUNT_NAME}", fields=fields)
    assert {"a": value, "b": value} == document


def _holds(value: str) -> dict[str, Any]:
    """A bulk event of one hold whose reference id is `value`."""
    return {**HOLDS_FIELDS, "holds": [{**HOLDS_FIELDS["holds"][0], "externalReferenceId": value}]}


@given(value=TEXTS.filter(lambda text: "\x00" not in text) | st.sampled_from(ATTACKS))
def test_a_cell_holds_its_value(value: str) -> None:
    """Text in a table is escaped as text outside of one; in plain text it stays one cell of one row."""
    bodies = {
        content: body_of(template, content, fields=_holds(value), event=BULK)
        for content, template in (
            (ContentType.TEXT, "{HOLDS}"),
            (ContentType.HTML, "{HOLDS}"),
            (ContentType.JSON, '{"alone": {HOLDS}, "in": "{HOLDS}"}'),
        )
    }
    reader = _Read()
    reader.feed(bodies[ContentType.HTML])
    reader.close()
    document = json.loads(bodies[ContentType.JSON])

    assert [value] * 2 == [row["externalReferenceId"] for row in (*document["alone"], *json.loads(document["in"]))]
    assert ["table", "tr", *["td"] * 5] == reader.tags
    assert reader.text == f"{value}DBIT35.5JPYtok-1"
    assert 1 == len(bodies[ContentType.TEXT].splitlines())
    assert 5 == len(bodies[ContentType.TEXT].split("\t"))


@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=60))
def test_a_cell_of_xml_holds_its_value(value: str) -> None:
    """Parsed back, the element of a cell is its value."""
    text = f"<{value}>&\n"
    root = ET.fromstring(  # noqa: S314  our own output
        body_of("<a>{HOLDS}</a>", ContentType.XML, fields=_holds(text), event=BULK)
    )

    assert text == root.findtext("row/externalReferenceId")


# Neither in XML 1.0 (production 2 of its recommendation): control characters, halves of surrogate pairs (which no event
# brings in: both readers refuse them), and the last two of the first plane.
NOT_IN_XML = ["\x00", "\x01", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff"]
IN_XML = ["\x7f", "\x85", "\x9f", "\u2028", "\ufdd0", "\ufeff", "\ufffd", "\U0001ffff", "\U0010ffff", "]]>", "\r"]


@pytest.mark.parametrize("character", NOT_IN_XML)
def test_what_xml_cannot_carry_is_replaced(character: str) -> None:
    """By U+FFFD, one for one: as text, within an attribute, in a cell and as written by FORMAT; each is counted."""
    value = f"{character}a{character}"
    result = render_body('<a b="{ACCOUNT_NAME}">{CF:LOAN:x}{ACCOUNT_ID}</a>', ContentType.XML, fields=_fields(value))
    cells = render_body("<a>{HOLDS}</a>", ContentType.XML, fields=_holds(value), event=BULK)
    formed = render_body(f"<a>FORMAT{{TRANSACTION_AMOUNT,numericPattern=#,##0.00 '{character}'}}</a>", ContentType.XML)
    assert isinstance(result, Rendered)
    assert isinstance(cells, Rendered)
    assert isinstance(formed, Rendered)
    root = ET.fromstring(result.body)  # noqa: S314  our own output

    assert ("\ufffda\ufffd", "\ufffda\ufffd" * 2) == (root.attrib["b"], root.text)
    assert "\ufffda\ufffd" == ET.fromstring(cells.body).findtext("row/externalReferenceId")  # noqa: S314
    assert "218.24 \ufffd" == ET.fromstring(formed.body).text  # noqa: S314
    assert (6, 2, 1) == (result.replaced, cells.replaced, formed.replaced)


@pytest.mark.parametrize("character", IN_XML)
def test_what_xml_can_carry_stays(character: str) -> None:
    """A replacement character that an event brings in is not counted."""
    result = render_body('<a b="{ACCOUNT_NAME}">{CF:LOAN:x}</a>', ContentType.XML, fields=_fields(character))
    assert isinstance(result, Rendered)
    root = ET.fromstring(result.body)  # noqa: S314  our own output

    assert (character, character, 0) == (root.attrib["b"], root.text, result.replaced)


@given(value=st.text(max_size=60))
def test_xml_is_read_whatever_a_value_holds(value: str) -> None:
    """A parser reads it, and finds each character or its replacement."""
    result = render_body('<a b="{ACCOUNT_NAME}">{CF:LOAN:x}</a>', ContentType.XML, fields=_fields(f"~{value}"))
    assert isinstance(result, Rendered)
    root = ET.fromstring(result.body)  # noqa: S314  our own output
    pairs = list(zip(f"~{value}", root.text or "", strict=True))

    assert root.text == root.attrib["b"]
    assert {"\ufffd"} >= {read for written, read in pairs if written != read}
    assert 2 * sum(written != read for written, read in pairs) == result.replaced


def test_html_has_no_nul() -> None:
    """HTML readers drop U+0000 in text and read U+FFFD in attributes (HTML Standard, 13.2.5 and 13.2.6.4.7): the latter
    in both, counted. Every other character they carry."""
    value = "\x00a\x0b\x80\ufffe\x00"
    body = '<p title="{ACCOUNT_NAME}">{CF:LOAN:x}</p>'
    result = render_body(body, ContentType.HTML, fields=_fields(value))
    cells = render_body("{HOLDS}", ContentType.HTML, fields=_holds(value), event=BULK)
    kept = value.replace("\x00", "\ufffd")

    assert Rendered(None, f'<p title="{kept}">{kept}</p>', replaced=4) == result
    assert isinstance(cells, Rendered)
    assert cells.body.startswith(f"<table><tr><td>{kept}</td>")
    assert 2 == cells.replaced


@pytest.mark.parametrize("content", [ContentType.TEXT, ContentType.JSON])
def test_text_and_json_carry_everything(content: ContentType) -> None:
    """Nothing is replaced there, and nothing counted."""
    value = "".join(NOT_IN_XML)
    template = '{"a": "{ACCOUNT_NAME}", "b": {CF:LOAN:x}}' if content is ContentType.JSON else "{ACCOUNT_NAME}"
    result = render_body(template, content, fields=_fields(value))
    assert isinstance(result, Rendered)

    assert 0 == result.replaced
    assert (value if content is ContentType.TEXT else {"a": value, "b": value}) == (
        result.body if content is ContentType.TEXT else json.loads(result.body)
    )


def test_replaced_characters_take_no_more_room() -> None:
    """The limit counts what is written."""
    assert isinstance(
        render_body("<a>{ACCOUNT_NAME}</a>", ContentType.XML, fields=_fields("\x01" * 5), limit=12), Rendered
    )
    assert isinstance(
        render_body("<a>{ACCOUNT_NAME}</a>", ContentType.XML, fields=_fields("\x01" * 6), limit=12), RenderFailure
    )


@given(value=st.text(max_size=300))
def test_a_subject_is_one_line(value: str) -> None:
    """No value makes a subject of two lines, or longer than it may be."""
    line = subject_line(f"About {value}")

    assert len(line.splitlines()) == 1
    assert len(line) <= 255
