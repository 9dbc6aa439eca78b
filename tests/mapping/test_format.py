"""FORMAT and FORMAT_DATE: values as languages write them, and what is no format."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.channel import ContentType
from processor.domain.outcome import Processed
from processor.domain.placeholders import PlaceholderType
from processor.domain.reasons import TemplateReason
from processor.domain.record import EventName
from processor.domain.template import EscapeContext, Text
from processor.domain.value_format import ZEROS, FormatFunction, notation_for, parse_format
from processor.mapping.format import format_value
from processor.mapping.render import Rendered, render
from processor.mapping.values import Scope
from processor.templates.load import SHIPPED, read_templates
from processor.templates.text import parse
from processor.templates.value_formats import format_error
from tests.support.builders import TENANT, make_context, make_event, make_record, make_template, map_record, schemas

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
EMAIL = (SHIPPED / "loan-repayment-email.toml").read_text().partition("subject = ")[0]


def render_body(body: str, *, locale: str = "en", content: ContentType = ContentType.TEXT, **account: Any) -> str:
    """`body` with the values of an account; it has no errors."""
    segments, diagnostics = parse(body, content, families=REPAYMENT, locale=locale)
    assert not [diagnostic for diagnostic in diagnostics if diagnostic.is_error]
    fields: Mapping[str, Any] = {**make_event().fields, "account": {**make_event().fields["account"], **account}}
    result = render(
        Text(None, segments), Scope("loan_transaction", fields, ZoneInfo("UTC")), strict=False, limit_characters=1000
    )
    assert isinstance(result, Rendered)
    return result.body


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", "1,234,567.90"),
        ("de", "1.234.567,90"),
        ("pt-PT", "1\u00a0234\u00a0567,90"),
        ("pt_BR", "1.234.567,90"),
        ("fr-XX", "1\u202f234\u202f567,90"),
        ("en-IN", "12,34,567.90"),
    ],
)
def test_numbers_by_language(locale: str, expected: str) -> None:
    """Grouping and point are the language's, digits the pattern's; a region nobody knows falls back to the language."""
    pattern = "#,##,##0.00" if locale == "en-IN" else "#,##0.00"

    assert expected == render_body(
        f"FORMAT{{TOTAL_BALANCE,numericPattern={pattern}}}", locale=locale, totalBalance=Decimal("1234567.895")
    )


def test_the_amounts_own_currency() -> None:
    """`¤` in a pattern is the sign of the account's currency, `¤¤` its code; digits stay the pattern's."""
    body = "FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00 ¤} FORMAT{TOTAL_BALANCE,numericPattern=¤¤ 0}"

    assert "12.50\u00a0€ EUR\u00a013".replace("\u00a0", " ") == render_body(
        body, totalBalance=Decimal("12.505"), currencyCode="EUR"
    ).replace("\u00a0", " ")


@pytest.mark.parametrize("code", ["¤" * 3000, "¤", "eur", "EURO", "EU", "E1R", "EUR\n", "", None])
@pytest.mark.parametrize("pattern", ["¤0", "0 ¤¤", "¤¤¤ 0"])
def test_an_invalid_currency_code_is_written_as_no_currency(code: str | None, pattern: str) -> None:
    """An event's code may be any text. Babel would put it into the pattern, and its signs `¤` into one another: what is
    not three capitals is written as no currency is."""
    value_format = parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale="en")[1]
    bodies = [
        format_value(Decimal("12.5"), PlaceholderType.MONEY, value_format, currency=currency, time_zone=ZoneInfo("UTC"))
        for currency in (code, "XXX")
    ]

    assert bodies[1] == bodies[0]


def test_an_event_with_signs_for_its_currency_makes_its_messages() -> None:
    """A currencyCode of 7 KB of `¤`, in the shipped templates: no template fails, and no message is larger for it."""
    template = make_template(body="FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00 ¤¤¤}")
    outcomes = [
        map_record(make_record(make_event(account__currencyCode=code)), make_context(*templates), frozenset())
        for code in ("¤" * 3500, "EUR")
        for templates in ((template,), ())
    ]

    for signs, euros in zip(outcomes[:2], outcomes[2:], strict=True):
        assert isinstance(signs, Processed)
        assert isinstance(euros, Processed)
        assert () == signs.failed
        assert len(euros.created) == len(signs.created)


@pytest.mark.parametrize(("amount", "expected"), [("0.125", "0.12"), ("0.135", "0.14"), ("-0.005", "0.00")])
def test_half_is_rounded_to_even(amount: str, expected: str) -> None:
    """As CLDR does."""
    assert expected == render_body("FORMAT{TOTAL_BALANCE,numericPattern=0.00}", totalBalance=Decimal(amount))


def test_no_digit_is_lost() -> None:
    """38 digits, more than Python's arithmetic has by default."""
    amount = Decimal("9" * 28 + "." + "9" * 10)

    assert f"{amount}" == render_body("FORMAT{TOTAL_BALANCE,numericPattern=0.##########}", totalBalance=amount)


@pytest.mark.parametrize(
    ("locale", "pattern", "expected"),
    [
        ("en", "d MMMM yyyy", "14 March 2026"),
        ("pt", "d 'de' MMMM", "14 de março"),
        ("de", "EEEE, d.M.yy", "Samstag, 14.3.26"),
    ],
)
def test_dates_by_language(locale: str, pattern: str, expected: str) -> None:
    """Names of months and days are the language's; text in quotes stays."""
    assert expected == render_body(f"FORMAT_DATE{{TRANSACTION_DATE,datePattern={pattern}}}", locale=locale)


def test_timestamps_are_in_the_banks_time_zone() -> None:
    """A timestamp is written in the time zone of the installation."""
    segments, _ = parse("FORMAT_DATE{OCCURRED_AT,datePattern=d.M. HH:mm}", ContentType.TEXT, families=REPAYMENT)
    fields = {**make_event().fields, "occurredAt": datetime(2026, 3, 14, 23, 30, tzinfo=UTC)}
    scope = Scope("loan_transaction", fields, ZoneInfo("Asia/Tokyo"))

    assert Rendered(None, "15.3. 08:30") == render(Text(None, segments), scope, strict=False, limit_characters=99)


def test_dates_of_timestamps_are_in_the_banks_time_zone() -> None:
    """The date of a moment is its day in the time zone, with a format as without one."""
    body = "{CURRENT_DATE} FORMAT_DATE{CURRENT_DATE,datePattern=yyyy-MM-dd}"
    segments, _ = parse(body, ContentType.TEXT, families=REPAYMENT)
    fields = {**make_event().fields, "occurredAt": datetime(2026, 3, 31, 15, 59, 59, tzinfo=UTC)}
    scope = Scope("loan_transaction", fields, ZoneInfo("Asia/Tokyo"))

    assert Rendered(None, "2026-04-01 2026-04-01") == render(
        Text(None, segments), scope, strict=False, limit_characters=99
    )


def test_missing_and_escaped() -> None:
    """A missing value is as missing as without a format; in JSON the result is a text, quoted where no quotes are."""
    body = '{"a": FORMAT{TOTAL_BALANCE,numericPattern=0.00 \'"\'}, "b": "FORMAT{TOTAL_BALANCE,numericPattern=0}"}'
    assert {"a": '7.00 "', "b": "7"} == json.loads(render_body(body, content=ContentType.JSON, totalBalance=Decimal(7)))
    assert {"a": None, "b": ""} == json.loads(render_body(body, content=ContentType.JSON, totalBalance=None))
    assert "&amp; 7" == render_body(
        "FORMAT{TOTAL_BALANCE,numericPattern='&' 0}", content=ContentType.HTML, totalBalance=Decimal(7)
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("FORMAT{TOTAL_BALANCE}", "FORMAT takes a name and numericPattern, as in FORMAT{TOTAL_BALANCE,numericPat"),
        ("FORMAT{TOTAL_BALANCE,datePattern=0}", "FORMAT takes a name and numericPattern"),
        ("FORMAT_DATE{ENTRY_DATE,numericPattern=0}", "FORMAT_DATE takes a name and datePattern, as in FORMAT_DATE{O"),
        ("FORMAT{CF:x,numericPattern=0}", "FORMAT takes no custom field: the type of its value is known only when"),
        (
            "FORMAT{TOTAL_BALANCE, numericPattern=0}",
            "FORMAT takes a name and numericPattern without blanks, as",
        ),
        (
            "FORMAT{TOTAL_BALANCE ,numericPattern=0}",
            "FORMAT takes a name and numericPattern without blanks, as",
        ),
        (
            "FORMAT{TOTAL_BALANCE,numericPattern =0}",
            "FORMAT takes a name and numericPattern without blanks, as",
        ),
        ("FORMAT{TOTAL_BALANCE,numeric=# 0}", "FORMAT takes a name and numericPattern, as in FORMAT{"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=abc}", "'abc' is no pattern of a number, as in FORMAT{"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=,.}", "',.' is no pattern of a number"),
        ("FORMAT{TOTAL_BALANCE,numericPattern='0'}", "\"'0'\" is no pattern of a number"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=0'}", '"0\'" has a quote without its partner'),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern='d'}", "\"'d'\" is no pattern of a date, as in FORMAT_DATE{"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=d of M}", "'f' stands for no part of a date; text stands"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=HH:mm}", "'HH:mm' cannot be written of a date"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=" + "0" * 101 + "}", "a pattern of 101 characters; at most 100"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=y O}", "'y O' cannot be written of a date"),
        ("FORMAT{ACCOUNT_NAME,numericPattern=0}", "FORMAT is for decimal, integer, money, and this is string"),
        ("FORMAT_DATE{TOTAL_BALANCE,datePattern=yyyy}", "FORMAT_DATE is for date, timestamp, and this is money"),
        ("FORMAT{TOTAL_BALANC,numericPattern=0}", "unknown placeholder {TOTAL_BALANC}"),
    ],
)
def test_invalid_formats(text: str, what: str) -> None:
    """Each mistake is found when the template is loaded, not when an event comes."""
    _, diagnostics = parse(text, ContentType.TEXT, families=REPAYMENT)

    assert [what] == [diagnostic.message[: len(what)] for diagnostic in diagnostics if diagnostic.is_error]


def test_each_locale_of_a_file_writes_its_own(tmp_path: Path) -> None:
    """The top level's language is `default_locale`; one that nobody knows is an error where a format is used."""
    body = "body = 'FORMAT{TOTAL_BALANCE,numericPattern=0.0} FORMAT_DATE{TRANSACTION_DATE,datePattern=MMM}'\n"
    text = f'{EMAIL}subject = "x"\n{body}default_locale = "de"\n[locale."fr"]\nsubject = "x"\n{body}'
    (tmp_path / "loan-repayment-email.toml").write_text(text)
    loaded = read_templates(tmp_path, tenant=TENANT, schemas=schemas())
    assert loaded.templates is not None
    (template,) = loaded.templates.templates
    fields = make_event().fields
    texts = [
        render(template.text_for(language), Scope("loan_transaction", fields, UTC), strict=False, limit_characters=99)
        for language in ("de", "fr")
    ]
    assert ["März", "mars"] == [text.body.split(" ")[1] for text in texts if isinstance(text, Rendered)]

    (tmp_path / "loan-repayment-email.toml").write_text(text.replace('"fr"', '"xx"'))
    found = read_templates(tmp_path, tenant=TENANT, schemas=schemas()).diagnostics
    assert ["nobody knows how 'xx' writes numbers and dates"] * 2 == [
        diagnostic.message.partition("}: ")[2] for diagnostic in found if diagnostic.is_error
    ]


@given(
    pattern=st.text("#0,.;%¤-'E yMdHhmszaLqwDe", min_size=1, max_size=12),
    locale=st.sampled_from(["en", "pt", "ar", "hi", "fa", "de-AT"]),
    amount=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**28), max_value=10**28, places=10),
    moment=st.datetimes(timezones=st.just(UTC)),
)
def test_a_format_that_is_accepted_writes_any_value(
    pattern: str, locale: str, amount: Decimal, moment: datetime
) -> None:
    """What loads never fails for an event, whatever its value."""
    values = {
        PlaceholderType.MONEY: amount,
        PlaceholderType.INTEGER: int(amount),
        PlaceholderType.DATE: moment.date(),
        PlaceholderType.TIMESTAMP: moment,
    }
    for function, key in (("FORMAT", "numericPattern"), ("FORMAT_DATE", "datePattern")):
        try:
            _, value_format = parse_format(FormatFunction(function), f"A,{key}={pattern}", locale=locale)
        except ValueError:
            continue
        for kind, value in values.items():
            if not format_error(value_format, [kind]):
                written = format_value(value, kind, value_format, currency=None, time_zone=ZoneInfo("Asia/Tokyo"))
                assert len(written) < 1000


@pytest.mark.parametrize("zeros", [50, 98])
def test_a_pattern_of_many_digits(zeros: int) -> None:
    """Of the largest amount that there is."""
    amount = Decimal("9999999999999999999999999999")
    value_format = "FORMAT{TOTAL_BALANCE,numericPattern=0." + "0" * zeros + "}"

    assert f"{amount}.{'0' * zeros}" == render_body(value_format, totalBalance=amount)


@pytest.mark.parametrize(
    ("locale", "midnight", "noon"),
    [
        ("en", "12:00 midnight", "12:00 noon"),
        ("pt-PT", "12:00 a.m.", "12:00 p.m."),
        ("fr-CA", "12:00 a.m.", "12:00 p.m."),
        ("de", "12:00 AM", "12:00 Mittag"),
    ],
)
def test_noon_and_midnight(locale: str, midnight: str, noon: str) -> None:
    """A language that has no word for one of them writes am or pm (UTS 35, `b`)."""
    _, value_format = parse_format(FormatFunction.DATE, "A,datePattern=h:mm b", locale=locale)
    moments = (datetime(2026, 3, 14, hour, tzinfo=UTC) for hour in (0, 12))

    assert [midnight, noon] == [
        format_value(moment, PlaceholderType.TIMESTAMP, value_format, currency=None, time_zone=UTC)
        for moment in moments
    ]


@pytest.mark.parametrize("pattern", ["b", "bbbb", "B"])
def test_hours_are_written_in_each_language(pattern: str) -> None:
    """Also those at which a language may have a word of its own."""
    for locale in sorted(locale_identifiers()):
        _, value_format = parse_format(FormatFunction.DATE, f"A,datePattern={pattern}", locale=locale)
        for hour in (0, 5, 9, 12, 15, 19, 23):
            moment = datetime(2026, 3, 14, hour, tzinfo=UTC)

            assert format_value(moment, PlaceholderType.TIMESTAMP, value_format, currency=None, time_zone=UTC)


@pytest.mark.parametrize("pattern", ["0%¤¤¤", "#,##0.00‰ ¤¤¤", "¤¤¤ 0"])
def test_the_largest_amount_has_its_currencys_name(pattern: str) -> None:
    """In each language, though which of its forms a name has is reckoned with all digits of the amount."""
    largest = Decimal("9999999999999999999999999999.9999999999")
    for locale in sorted(locale_identifiers()):
        _, value_format = parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale=locale)

        assert format_value(largest, PlaceholderType.MONEY, value_format, currency="EUR", time_zone=UTC)


def test_a_value_that_a_format_cannot_write_fails_its_template_alone() -> None:
    """The last week of the year 9999 belongs to the year 10000, which no date can hold."""
    event = make_event(transaction__date="9999-12-31")
    broken = make_template("week", body="FORMAT_DATE{TRANSACTION_DATE,datePattern=ww}")
    outcome = map_record(make_record(event), make_context(broken, make_template("plain")), frozenset())

    assert isinstance(outcome, Processed)
    assert 1 == len(outcome.created)
    (failed,) = outcome.failed
    assert ("week", TemplateReason.OTHER) == (failed.templateId, failed.reason)
    assert failed.detail.startswith("FORMAT_DATE{TRANSACTION_DATE,datePattern=ww} cannot write 9999-12-31: ValueError")


def test_the_first_and_last_moments() -> None:
    """The first and last moments that there are, in a zone that has them on another day."""
    _, value_format = parse_format(FormatFunction.DATE, "A,datePattern=d.M.yyyy HH:mm", locale="en")
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        for zone in ("Asia/Tokyo", "America/Lima"):
            assert format_value(
                moment, PlaceholderType.TIMESTAMP, value_format, currency=None, time_zone=ZoneInfo(zone)
            )


# ----------------------------------------------------------------------------------- signs and digits of languages


MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize("locale", ["en", "de", "sv", "ar-EG", "fa", "he", "bn", "en-IN"])
@pytest.mark.parametrize(
    "pattern",
    [
        "#,##0.00",
        "0",
        "#",
        "¤#,##0.00",
        "#,##0.00 ¤¤",
        "0.00 ¤¤¤",
        "0.0%",
        "0‰",
        "#,##0.00;(#,##0.00)",
        "+0;-0",
        "-0.0",
    ],
)
@pytest.mark.parametrize("amount", ["-0.0000004", "-0", "-0.00", "-0E+3"])
def test_zero_has_no_minus(locale: str, pattern: str, amount: str) -> None:
    """What is rounded to zero looks as zero does, in any pattern and language; only a pattern's own minus stays."""
    _, value_format = parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale=locale)
    texts = {
        format_value(value, PlaceholderType.MONEY, value_format, currency="EUR", time_zone=UTC)
        for value in (Decimal(amount), Decimal(0), Decimal("0.0000004"))
    }

    assert 1 == len(texts)


@pytest.mark.parametrize(
    ("pattern", "amount", "expected"),
    [
        ("#,##0.00", "-0.005", "0.00"),
        ("#,##0.00", "-0.0051", "-0.01"),
        ("0", "-0.5", "0"),
        ("0", "-0.51", "-1"),
        ("0.0%", "-0.0004", "0.0%"),
        ("0.0%", "-0.0006", "-0.1%"),
        ("#,##0.00;(#,##0.00)", "-0.001", "0.00"),
        ("#,##0.00;(#,##0.00)", "-12.5", "(12.50)"),
        ("¤0.00", "-0.001", "€0.00"),
        ("¤0.00", "-1", "-€1.00"),
        ("0.00;0.00-", "-1", "1.00-"),
        ("0;0", "-1", "1"),
        ("0;", "-1", "-1"),
    ],
)
def test_the_sign_follows_the_shown_digits(pattern: str, amount: str, expected: str) -> None:
    """The sign is decided by what is shown."""
    body = f"FORMAT{{TOTAL_BALANCE,numericPattern={pattern}}}"

    assert expected == render_body(body, totalBalance=Decimal(amount), currencyCode="EUR")


def test_zero_has_no_minus_anywhere() -> None:
    """Nor does a value without a format, in a text, a table, JSON or a custom field."""
    zero = Decimal("-0.00")
    fields = {
        **make_event().fields,
        "account": {**make_event().fields["account"], "totalBalance": zero, "interestRate": zero},
        "customFields": {"LOAN:Rest": zero},
    }
    body = "{TOTAL_BALANCE} {INTEREST_RATE} {CF:LOAN:Rest}"
    for content in (ContentType.TEXT, ContentType.JSON, ContentType.XML, ContentType.HTML):
        segments, _ = parse(body, content, families=REPAYMENT)
        result = render(Text(None, segments), Scope("loan_transaction", fields, UTC), strict=False, limit_characters=99)

        assert Rendered(None, "0.00 0 0") == result


@pytest.mark.parametrize(
    ("locale", "number", "day"),
    [
        ("en", "-1,234.5", "14.3.2026"),
        ("de", "-1.234,5", "14.3.2026"),
        ("sv", f"{MINUS}1\u00a0234,5", "14.3.2026"),
        ("ar-EG", "\u061c-١٬٢٣٤٫٥", "١٤.٣.٢٠٢٦"),
        ("ar-SA", "\u061c-١٬٢٣٤٫٥", "١٤.٣.٢٠٢٦"),
        ("ar-AE", "\u200e-1,234.5", "14.3.2026"),
        ("ar-MA", "\u200e-1.234,5", "14.3.2026"),
        ("ar-EG-u-nu-latn", "\u200e-1,234.5", "14.3.2026"),
        ("ar-AE-u-nu-arab", "\u061c-١٬٢٣٤٫٥", "١٤.٣.٢٠٢٦"),
        ("fa", f"\u200e{MINUS}۱٬۲۳۴٫۵", "۱۴.۳.۲۰۲۶"),
        ("fa-u-nu-latn", f"\u200e{MINUS}1,234.5", "14.3.2026"),
        ("ur", "\u200e-1,234.5", "14.3.2026"),
        ("ur-IN", "\u200e-\u200e۱٬۲۳۴٫۵", "۱۴.۳.۲۰۲۶"),
        ("mr", "-१,२३४.५", "१४.३.२०२६"),
        ("hi", "-1,234.5", "14.3.2026"),
        ("hi-u-nu-deva", "-१,२३४.५", "१४.३.२०२६"),
        ("ne", "-१,२३४.५", "१४.३.२०२६"),
        ("bn", "-১,২৩৪.৫", "১৪.৩.২০২৬"),
        ("my", "-၁,၂၃၄.၅", "၁၄.၃.၂၀၂၆"),
        ("th", "-1,234.5", "14.3.2026"),
        ("th-u-nu-thai", "-๑,๒๓๔.๕", "๑๔.๓.๒๐๒๖"),
        # A tag's nearest locale, by today's codes.
        ("iw", "\u200e-1,234.5", "14.3.2026"),
        ("tl-PH", "-1,234.5", "14.3.2026"),
        ("sh", "-1.234,5", "14.3.2026"),
        ("zh-Hant-XX", "-1,234.5", "14.3.2026"),
        ("de-CH-1996-x-a", "-1\u2019234.5", "14.3.2026"),
    ],
)
def test_digits_by_language(locale: str, number: str, day: str) -> None:
    """Digits and minus are CLDR's of the locale, and what a tag names by -u-nu-."""
    body = "FORMAT{TOTAL_BALANCE,numericPattern=#,##0.0}|FORMAT_DATE{TRANSACTION_DATE,datePattern=d.M.y}"

    assert f"{number}|{day}" == render_body(body, locale=locale, totalBalance=Decimal("-1234.5"))


@pytest.mark.parametrize(
    ("function", "pattern", "expected"),
    [
        ("FORMAT", "'24/7' #,##0.00 '(0)'", "24/7 ۱٬۲۳۴٫۵۰ (0)"),
        ("FORMAT", "0.0%", "۱۲۳۴۵۰٫۰٪"),
        ("FORMAT", "0'%'", "۱۲۳۴%"),
        ("FORMAT", "+0", "\u200e+۱۲۳۴"),
        ("FORMAT", "¤ 0", "€ ۱۲۳۴"),
        ("FORMAT", "0 ¤¤ '¤'", "۱۲۳۴ EUR ¤"),
        ("FORMAT", "'o''clock' 0 ''", "o'clock ۱۲۳۴ '"),
        ("FORMAT", "'a;b' 0;'c;' 0", "a;b ۱۲۳۴"),
        ("FORMAT_DATE", "d MMMM yyyy '(24h, 7/7)' 1", "۱۴ مارس ۲۰۲۶ (24h, 7/7) 1"),
        ("FORMAT_DATE", "HH:mm:ss.SSS D e w Q", "۰۹:۲۶:۵۳.۷۰۲ ۷۳ ۶ ۱۱ ۱"),
        ("FORMAT_DATE", "yyyy-MM-dd HH:mm XXX", "۲۰۲۶-۰۳-۱۴ ۰۹:۲۶ Z"),
        ("FORMAT_DATE", "HH xxx Z", "۰۹ +00:00 +0000"),
        ("FORMAT_DATE", "VV", "Etc/UTC"),
    ],
)
def test_only_the_values_digits_change(function: str, pattern: str, expected: str) -> None:
    """What an author wrote stays, and so does what ISO 8601 writes of an offset."""
    name, key = ("TOTAL_BALANCE", "numericPattern") if function == "FORMAT" else ("OCCURRED_AT", "datePattern")
    _, value_format = parse_format(FormatFunction(function), f"{name},{key}={pattern}", locale="fa")
    value: Any = Decimal("1234.5") if function == "FORMAT" else datetime(2026, 3, 14, 9, 26, 53, 702_000, tzinfo=UTC)
    kind = PlaceholderType.MONEY if function == "FORMAT" else PlaceholderType.TIMESTAMP

    assert expected == format_value(value, kind, value_format, currency="EUR", time_zone=ZoneInfo("Etc/UTC"))


def test_addresses_have_0_to_9() -> None:
    """Systems read them, whatever the language of the text."""
    body = "FORMAT_DATE{TRANSACTION_DATE,datePattern=yyyy-MM}"
    segments, _ = parse(body, EscapeContext.URL, families=REPAYMENT, locale="fa")
    scope = Scope("loan_transaction", make_event().fields, UTC)

    assert Rendered(None, "2026-03") == render(Text(None, segments), scope, strict=False, limit_characters=99)
    assert "۲۰۲۶-۰۳" == render_body(body, locale="fa")


def test_the_digits_of_every_locale() -> None:
    """Each locale that Babel has writes with the digits that CLDR says are its own, ten in a row."""
    for name in locale_identifiers():
        locale = Locale.parse(name)
        notation = notation_for(name)
        native = locale.other_numbering_systems.get("native")

        assert locale.default_numbering_system == notation.system
        assert native in ZEROS or native in (None, "hanidec")  # hanidec: ten characters that are not in a row
        if notation.system == "latn":
            assert {} == notation.digits
    for zero in ZEROS.values():
        assert list(range(10)) == [unicodedata.decimal(chr(ord(zero) + digit)) for digit in range(10)]


@pytest.mark.parametrize(
    ("locale", "what"),
    [
        ("xx", "nobody knows how 'xx' writes numbers and dates"),
        ("und", "nobody knows how 'und' writes numbers and dates"),
        ("pt.BR", "nobody knows how 'pt.BR' writes numbers and dates"),
        ("ar-u-nu-roman", "'ar-u-nu-roman' names digits 'roman' that are not supported; one of: adlm, arab"),
        ("zh-u-nu-hanidec", "'zh-u-nu-hanidec' names digits 'hanidec' that are not supported"),
        ("th-u-ca-buddhist", "of the extensions of 'th-u-ca-buddhist' only -u-nu- is supported"),
        ("ar-u-ca-islamic-nu-latn", "of the extensions of 'ar-u-ca-islamic-nu-latn' only -u-nu- is supported"),
    ],
)
def test_unsupported_language_extensions(locale: str, what: str) -> None:
    """An extension that is not supported is an error, not ignored."""
    with pytest.raises(ValueError, match=f"^{re.escape(what)}"):
        parse_format(FormatFunction.NUMBER, "A,numericPattern=0", locale=locale)
