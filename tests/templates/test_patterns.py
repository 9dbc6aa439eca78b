"""T22: patterns that are nearly always a mistake get a warning with the probable one; right ones never do."""

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from hypothesis import assume, given
from hypothesis import strategies as st

from processor.domain.channel import ContentType
from processor.domain.placeholders import PLACEHOLDERS, PlaceholderType
from processor.domain.record import EventName
from processor.domain.value_format import FormatFunction, parse_format
from processor.templates.load import read_templates
from processor.templates.patterns import suggest_date_pattern, suggest_number_pattern
from processor.templates.text import parse
from processor.templates.value_formats import format_doubt, format_error
from tests.support.builders import SMS_HEAD, TENANT, schemas, templates_directory

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
MONEY, DECIMAL, INTEGER = PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER
KEYS = {"FORMAT": "numericPattern", "FORMAT_DATE": "datePattern"}

# Of CLDR's own, in data of a few small languages: mistakes there too, as the years and hours of their other patterns
# show.
MISTAKES_OF_CLDR = {
    *("h:mm", "hh:mm:ss", "h:mm:ss", "h:mm v", "h:mm:ss v", "h", "E h:mm", "E h:mm:ss"),
    *("Y-MM", "MM/Y", "LLL Y", "dd/MM/Y G"),
    *("¤#,#0.00", "#,#0.###"),
}


@cache
def patterns_of_cldr() -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """All of Babel's: those of numbers, each with a locale of every way of grouping, and those of dates and times."""
    numbers, dates = set(), set()
    for name in locale_identifiers():
        locale = Locale.parse(name)
        for formats in (locale.decimal_formats, locale.currency_formats):
            by_two = locale.decimal_formats[None].grouping[1] == 2
            numbers |= {(found.pattern, "hi" if by_two else "de") for found in formats.values()}
        days = [found.pattern for found in locale.date_formats.values()]
        times = [found.pattern for found in locale.time_formats.values()]
        both = [
            str(joined).replace("{1}", days[0]).replace("{0}", times[0]) for joined in locale.datetime_formats.values()
        ]
        dates |= {*days, *times, *both, *(found.pattern for found in locale.datetime_skeletons.values())}
    return frozenset(numbers), frozenset(dates)


@pytest.mark.corpus
def test_no_cldr_pattern_has_a_warning() -> None:
    """Short, medium, long, full and all others, of every locale."""
    numbers, dates = patterns_of_cldr()
    doubted = {
        pattern for pattern, locale in numbers if suggest_number_pattern(pattern, MONEY, Locale.parse(locale))[1]
    }
    doubted |= {pattern for pattern in dates if suggest_date_pattern(pattern)[1]}

    assert len(numbers) > 30
    assert len(dates) > 1000
    assert MISTAKES_OF_CLDR == doubted


@pytest.mark.corpus
def test_every_pattern_of_cldr_can_be_used() -> None:
    """As it stands there, with its marks of direction and narrow spaces."""
    numbers, dates = patterns_of_cldr()
    for pattern, locale in numbers:
        parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale=locale)
    for pattern in dates:
        parse_format(FormatFunction.DATE, f"A,datePattern={pattern}", locale="en")


RIGHT_NUMBERS = """#,##0.00|#,##0|0.00|0|#|#0.00|#.##|#,##0.##|#,###|#,###.00|###,##0.00|###,###,##0.00|000|00.0|0.0###
¤#,##0.00|#,##0.00 ¤|¤¤ #,##0.00|#,##0.00 ¤¤¤|#,##0.00;(#,##0.00)|#,##0.00;-#,##0.00|#,##0.00;#,##0.00-|0;0|+0.00;-0.00
0.00'%'|0.00 '%'|'USD' #,##0.00|#,##0.00 'kr.'|'a,b;c.0#' 0.0|#,##0.00 ''|#,##0.00','|(0)|#.###"""
RIGHT_DATES = """yyyy-MM-dd
dd.MM.yyyy|d.M.yy|dd/MM/yyyy|MM/dd/yyyy|M/d/yy|d MMMM yyyy|d. MMMM yyyy|MMMM d, yyyy|MMM d, y
EEEE, d. MMMM yyyy|EEE d MMM|d 'de' MMMM 'de' yyyy|d. MMMM yyyy 'um' HH:mm 'Uhr'|yyyy年M月d日|yyyy. MM. dd.|yyyyMMdd
yyyyMMddHHmmss|yyyyMMddHHmmssSSS|HH:mm|H:mm|HH:mm:ss|HH:mm:ss.SSS|h:mm a|hh:mm a|K:mm a|h:mm b|B h:mm|HH'h'mm|mm:ss
yyyy-MM-dd'T'HH:mm:ss.SSSXXX|yyyy-MM-dd'T'HH:mm:ss'Z'|HH.mm|dd.MM. HH.mm|HHmm|d/M HH:mm|HH:mm dd/MM/yyyy|HH:mm d.M.
YYYY-'W'ww|'week' w 'of' YYYY|'KW' w|dd.MM.yyyy ('KW' w)|DDD|yyyy-DDD|yyyyDDD|d.M.yyyy (D)|QQQ yyyy|Q/yyyy|LLLL yyyy
LLLL|MMMM|MM|yyyy|yy|d|dd|EEEE|E|cccc|eeee, d. MMMM|y G|d MMM y G|uuuu-MM-dd|MM.yyyy|MM/yy|d.M.yyyy HH:mm z|A|SSS
dd.MM.yyyy 'da' HH:mm|'den' d. MMMM|d'.' MMMM|d MMMM yyyy 'г.'|dd.MM.yyyy, HH:mm:ss|''yy|h 'o''clock' a"""


@pytest.mark.parametrize("pattern", RIGHT_NUMBERS.replace("\n", "|").split("|"))
@pytest.mark.parametrize("locale", ["en", "de", "pt-BR", "fr-CH", "ar-EG"])
def test_number_patterns_without_a_warning(pattern: str, locale: str) -> None:
    """What authors write on purpose, whatever their language."""
    form = parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale=locale)[1]

    assert ("", "") == format_doubt(form, MONEY, locale=locale)


@pytest.mark.parametrize("pattern", RIGHT_DATES.replace("\n", "|").split("|"))
def test_date_patterns_without_a_warning(pattern: str) -> None:
    """What authors write on purpose."""
    form = parse_format(FormatFunction.DATE, f"A,datePattern={pattern}", locale="de")[1]

    assert "" == format_error(form, [PlaceholderType.TIMESTAMP])
    assert ("", "") == format_doubt(form, PlaceholderType.TIMESTAMP, locale="de")


WRONG_NUMBERS = [
    # A decimal comma, thousands with a point, a blank or an apostrophe.
    ("0,00", "0.00"),
    ("#0,00", "#0.00"),
    ("#,00", "#.00"),
    ("###0,00 ¤", "###0.00 ¤"),
    ("¤ 0,00", "¤ 0.00"),
    ("0,0", "0.0"),
    ("0,00##", "0.00##"),
    ("#,##", "#.##"),
    ("#.##0,00", "#,##0.00"),
    ("#.##0,00 ¤", "#,##0.00 ¤"),
    ("0.000,00", "#,##0.00"),
    ("#.###.##0,00", "#,##0.00"),
    ("#.###,##", "#,##0.##"),
    ("#.##0", "#,##0"),
    ("#.###.##0", "#,##0"),
    ("#.##0.00", "#,##0.00"),
    ("#,##0,00", "#,##0.00"),
    ("# ##0,00", "#,##0.00"),
    ("# ##0.00 ¤", "#,##0.00 ¤"),
    ("#\u00a0##0,00\u00a0¤", "#,##0.00\u00a0¤"),
    ("#\u202f##0,00", "#,##0.00"),
    ("# ### ##0,00", "#,##0.00"),
    ("#''##0.00", "#,##0.00"),
    ("#' '##0,00", "#,##0.00"),
    ("#.##0,00;-#.##0,00", "#,##0.00;-#,##0.00"),
    # Groups of other lengths: of .NET, of JavaScript, of a slip.
    ("#,0.00", "#,##0.00"),
    ("0,0.00", "#,##0.00"),
    ("#,#.00", "#,##0.00"),
    ("#,#0.00", "#,##0.00"),
    ("#,####0.00", "#,##0.00"),
    ("#,##,##0.00", "#,##0.00"),
    # Zeros in front.
    ("0,000.00", "#,##0.00"),
    ("0,000", "#,##0"),
    ("000,000.00", "#,##0.00"),
    ("0#.00", "#0.00"),
    ("0.#0", "0.0#"),
    # Signs.
    ("0.00%", "0.00'%'"),
    ("0.0 %", "0.0 '%'"),
    ("%0", "'%'0"),
    ("0‰", "0'‰'"),
    ("#,##0.00,", "#,##0.00','"),
    ("#,##0.00. ", "#,##0.00'.' "),
    ("#,##0.00;-#,##0.00;0", "#,##0.00;-#,##0.00"),
    ("#,##0.00;(#,##0.00);'-'", "#,##0.00;(#,##0.00)"),
]


@pytest.mark.parametrize(("pattern", "meant"), WRONG_NUMBERS)
def test_number_patterns_with_a_warning(pattern: str, meant: str) -> None:
    """Each is doubted, with what was probably meant and what both write."""
    form = parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale="de")[1]
    what, hint = format_doubt(form, MONEY, locale="de")

    assert what.startswith("writes ")
    assert hint.startswith(f"did you mean {meant}, which writes ")


WRONG_DATES = [
    # The year of the week, the day of the year, minutes and months.
    ("YYYY", "yyyy"),
    ("dd.MM.YYYY", "dd.MM.yyyy"),
    ("DD.MM.YYYY", "dd.MM.yyyy"),
    ("YYYY-MM-DD", "yyyy-MM-dd"),
    ("DD MMM YY", "dd MMM yy"),
    ("DD", "dd"),
    ("DD/mm/yyyy", "dd/MM/yyyy"),
    ("EEEE, D. MMMM", "EEEE, d. MMMM"),
    ("dd/mm/yyyy", "dd/MM/yyyy"),
    ("dd/mm/yyyy hh:MM", "dd/MM/yyyy HH:mm"),
    ("mm/dd/yyyy", "MM/dd/yyyy"),
    ("yyyy-mm-dd", "yyyy-MM-dd"),
    ("yyyymmdd", "yyyyMMdd"),
    ("mm.yyyy", "MM.yyyy"),
    ("dd.mm.", "dd.MM."),
    ("EEE d.m.", "EEE d.M."),
    ("d/m/yy h:m a", "d/M/yy h:m a"),
    ("yyyy-mm-dd HH:mm:ss", "yyyy-MM-dd HH:mm:ss"),
    ("HH:MM", "HH:mm"),
    ("HH:MM:SS", "HH:mm:ss"),
    ("HH:MM dd.MM.yyyy", "HH:mm dd.MM.yyyy"),
    ("dd.MM.yyyy HH.MM", "dd.MM.yyyy HH.mm"),
    ("yyyyMMddHHMMSS", "yyyyMMddHHmmss"),
    ("yyyy-MM-dd'T'HH:MM:ssXXX", "yyyy-MM-dd'T'HH:mm:ssXXX"),
    ("HH:ss", "HH:mm"),
    ("HH:mm:SS", "HH:mm:ss"),
    # Hours.
    ("hh:mm", "HH:mm"),
    ("d.M.yyyy h:mm", "d.M.yyyy H:mm"),
    ("KK:mm", "HH:mm"),
    ("kk:mm", "HH:mm"),
    ("HH:mm a", "hh:mm a"),
    ("HH h mm", "HH 'h' mm"),
    # Weeks and weekdays.
    ("w/yyyy", "w/YYYY"),
    ("'KW' ww yy", "'KW' ww YY"),
    ("e, d. MMMM", "EEE, d. MMMM"),
    ("d.M. ee", "d.M. EEE"),
    # Other notations and languages.
    ("dd/MM/aaaa", "dd/MM/yyyy"),
    ("DD/MM/AAAA", "dd/MM/yyyy"),
    ("GG/MM/AAAA", "dd/MM/yyyy"),
    ("dd.MM.yyyy a", "dd.MM.yyyy 'a'"),
    ("hh:mm A", "hh:mm a"),
    ("MMM D, YYYY h:mm A", "MMM d, yyyy h:mm a"),
    ("%d.%m.%y", "dd.MM.yy"),
    ("%Y-%m-%d %H:%M", "yyyy-MM-dd HH:mm"),
    # Quotes.
    ("d de MMMM de yyyy", "d 'de' MMMM 'de' yyyy"),
    ("EEEE, 'den' d. MMMM um HH:mm", "EEEE, 'den' d. MMMM 'um' HH:mm"),
    ("d 'de MMMM' yyyy", "d 'de 'MMMM yyyy"),
    ("'dd'.MM.yyyy", "dd.MM.yyyy"),
    ("d 'de' MMMM às HH:mm", "d 'de' MMMM 'às' HH:mm"),
    ("d MMMM ‚às‘ HH:mm", "d MMMM 'às' HH:mm"),
    # Of a text program, of SQL, of an HTML editor, of PHP.
    ("d ‘de’ MMMM", "d 'de' MMMM"),
    ("d. MMMM „um“ HH:mm", "d. MMMM 'um' HH:mm"),
    ("d ''de'' MMMM", "d 'de' MMMM"),
    ("d &#39;de&#39; MMMM", "d 'de' MMMM"),
    ("d F yyyy", "d MMMM yyyy"),
]


@pytest.mark.parametrize(("pattern", "meant"), WRONG_DATES)
def test_date_patterns_with_a_warning(pattern: str, meant: str) -> None:
    """Each is doubted, with what was probably meant and what both write."""
    form = parse_format(FormatFunction.DATE, f"A,datePattern={pattern}", locale="de")[1]
    what, hint = format_doubt(form, PlaceholderType.TIMESTAMP, locale="de")

    assert what.startswith("writes ")
    assert hint.startswith(f"did you mean {meant}, which writes ")


@pytest.mark.parametrize(
    ("token", "hint"),
    [
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=dd/mm/yyyy}", "dd/MM/yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=TT.MM.JJJJ}", "dd.MM.yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=tt.mm.jjjj}", "dd.MM.yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=jj/mm/aaaa}", "dd/MM/yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=JJ/MM/AAAA}", "dd/MM/yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=gg/mm/aaaa}", "dd/MM/yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=DD/MM/AAAA}", "dd/MM/yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=d of MMMM}", "d 'of' MMMM"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=d MMMM yyyy r.}", "d MMMM yyyy 'r'."),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=dddd, d MMMM}", "EEEE, d MMMM"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=d. mmmm yyyy}", "d. MMMM yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=MMMM Do YYYY}", "MMMM d yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=%d/%m/%Y}", "dd/MM/yyyy"),
        ("FORMAT_DATE{OCCURRED_AT,datePattern=d 'de' MMMM a las H:mm}", "d 'de' MMMM 'a las' H:mm"),
        ("FORMAT_DATE{OCCURRED_AT,datePattern=dd.MM.yyyy um HH:mm Uhr}", "dd.MM.yyyy 'um' HH:mm 'Uhr'"),
        ("FORMAT_DATE{OCCURRED_AT,datePattern=h:mm tt}", "h:mm a"),
        ("FORMAT_DATE{OCCURRED_AT,datePattern=yyyy-MM-ddTHH:mm:ss}", "yyyy-MM-dd'T'HH:mm:ss"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=dd.MM.rrrr}", "dd.MM.yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=gg.MM.yyyy}", "dd.MM.yyyy"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=j F Y}", "d MMMM y"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=yyyy. MM. nn.}", None),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#'##0.00}", "#,##0.00"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#'##0.00 CHF}", "#,##0.00 ¤¤"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00 €}", "#,##0.00 ¤"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=R$ #.##0,00}", "¤ #,##0.00"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=$#,##0.00;($#,##0.00)}", "¤#,##0.00;(¤#,##0.00)"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=EUR #,##0.00}", "¤¤ #,##0.00"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00 zł}", "#,##0.00 'zł'"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00 kr.}", "#,##0.00 'kr.'"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00元}", "#,##0.00'元'"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00&nbsp;¤}", "#,##0.00\u00a0¤"),
        ("FORMAT{INTEREST_RATE,numericPattern=0.00 p.a.}", "0.00 'p.a.'"),
        ("FORMAT{INTEREST_RATE,numericPattern=0.00 'a'b}", None),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=d. MMMM år yyyy}", "d. MMMM 'år' yyyy"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00 'EUR}", None),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=HH:mm}", None),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=dd/mm/yyyy hh:MM}", None),
        ("FORMAT{TOTAL_BALANCE,numericPattern=abc}", None),
        ("FORMAT{ACCOUNT_NAME,numericPattern=0,00}", None),
        ("FORMAT{TOTAL_BALANCE}", None),
    ],
)
def test_errors_show_the_probable_pattern(token: str, hint: str | None) -> None:
    """A pattern that cannot be used is an error, with the pattern that was probably meant."""
    _, diagnostics = parse(token, ContentType.TEXT, families=REPAYMENT)

    assert [(True, f"did you mean {hint}?" if hint else "")] == [
        (diagnostic.is_error, diagnostic.hint) for diagnostic in diagnostics
    ]


@pytest.mark.parametrize(
    ("token", "right"),
    [
        ("FORMAT{TRANSACTION_DATE,datePattern=d MMM}", "FORMAT_DATE{TRANSACTION_DATE,datePattern=d MMM}"),
        ("FORMAT_DATE{TOTAL_BALANCE,numericPattern=0.00}", "FORMAT{TOTAL_BALANCE,numericPattern=0.00}"),
        ("FORMAT{TOTAL_BALANCE,datePattern=d MMM}", None),
    ],
)
def test_a_pattern_of_the_other_function(token: str, right: str | None) -> None:
    """A pattern of the other function shows which was meant, where the value is of its kind."""
    _, diagnostics = parse(token, ContentType.TEXT, families=REPAYMENT)

    assert [f"write {right}" if right else ""] == [diagnostic.hint for diagnostic in diagnostics]


@pytest.mark.parametrize(
    ("locale", "doubted"),
    [
        *((locale, False) for locale in ("en-IN", "hi", "mr", "bn", "ta", "ur-PK", "ne-NP", "en", "en-LK")),
        *((locale, True) for locale in ("de", "pt", "en-US", "en-GB", "fr")),
    ],
)
def test_groups_of_two(locale: str, *, doubted: bool) -> None:
    """Lakhs and crores are right where people count so."""
    form = parse_format(FormatFunction.NUMBER, "A,numericPattern=#,##,##0.00", locale=locale)[1]

    assert doubted == bool(format_doubt(form, MONEY, locale=locale)[0])


def test_groups_of_four() -> None:
    """Myriads are right in Chinese, Japanese and Korean."""
    for locale, doubted in (("zh-Hant", False), ("ja", False), ("ko", False), ("en", True)):
        form = parse_format(FormatFunction.NUMBER, "A,numericPattern=#,####", locale=locale)[1]

        assert doubted == bool(format_doubt(form, MONEY, locale=locale)[0])


@pytest.mark.parametrize(
    ("kind", "pattern", "what", "hint"),
    [
        (
            DECIMAL,
            "0.00%",
            "writes '450.00%' of 4.5: % multiplies by 100 and ‰ by 1000, and the value is in percent already",
            "did you mean 0.00'%', which writes '4.50%'?",
        ),
        (
            MONEY,
            "0%",
            "writes '123450%' of 1234.5: % multiplies by 100 and ‰ by 1000, and the value is no fraction but an amount",
            "did you mean 0'%', which writes '1234%'?",
        ),
        (
            DECIMAL,
            "0.0 ¤",
            "writes '4.5 ¤' of 4.5: the value is a decimal without a currency, so ¤ stays ¤",
            "did you mean 0.0, which writes '4.5'?",
        ),
        (
            INTEGER,
            "¤0,0",
            (
                "writes '¤1,2,3,4' of 1234: the comma groups digits, here by 1; the point is the decimal sign of every "
                "language; the value is a whole number without a currency, so ¤ stays ¤"
            ),
            "did you mean 0.0, which writes '1234.0'?",
        ),
    ],
)
def test_patterns_that_do_not_suit_the_value(kind: PlaceholderType, pattern: str, what: str, hint: str) -> None:
    """Rates are in percent here, no value is a fraction, and only amounts have a currency."""
    form = parse_format(FormatFunction.NUMBER, f"A,numericPattern={pattern}", locale="en")[1]

    assert (what, hint) == format_doubt(form, kind, locale="en")


def test_every_decimal_is_in_percent() -> None:
    """So that % can be doubted for all of them: one that is a fraction would need a type of its own."""
    assert all("percent" in row.meaning for row in PLACEHOLDERS if row.type is DECIMAL)


def forms() -> Iterator[tuple[str, str]]:
    """Functions and alphabets of their patterns."""
    yield "FORMAT", "#0,.;%¤-' "
    yield "FORMAT_DATE", "yYuMLdDEehHkKmsSaAwGTJjtg%'.:/ -"


@given(
    function=st.sampled_from([function for function, _ in forms()]),
    data=st.data(),
    locale=st.sampled_from(["en", "de", "hi", "ar-EG", "zh"]),
)
def test_a_proposed_pattern_has_no_warning(function: str, data: st.DataObject, locale: str) -> None:
    """Whatever is written: a hint has a pattern that can be used, of which nothing is doubted. Nothing is raised."""
    pattern = data.draw(st.text(dict(forms())[function], min_size=1, max_size=14))
    for kind in (
        (MONEY, DECIMAL, INTEGER) if function == "FORMAT" else (PlaceholderType.DATE, PlaceholderType.TIMESTAMP)
    ):
        try:
            form = parse_format(FormatFunction(function), f"A,{KEYS[function]}={pattern}", locale=locale)[1]
        except ValueError:
            continue
        if format_error(form, [kind]):
            continue
        _, hint = format_doubt(form, kind, locale=locale)
        assume(hint)
        meant = hint.removeprefix("did you mean ").rpartition(", which writes ")[0]
        better = parse_format(FormatFunction(function), f"A,{KEYS[function]}={meant}", locale=locale)[1]

        assert ("", "") == format_doubt(better, kind, locale=locale)


def test_a_doubtful_pattern_is_only_a_warning(tmp_path: Path) -> None:
    """It names rule, line, placeholder, what is written and what was probably meant; the set is loaded."""
    body = "FORMAT{TOTAL_BALANCE,numericPattern=0,00}\nFORMAT_DATE{TRANSACTION_DATE,datePattern=DD.MM.YYYY}"
    directory = templates_directory(tmp_path, note=f'{SMS_HEAD}body = """\n{body}"""\n')
    loaded = read_templates(directory, tenant=TENANT, schemas=schemas())

    assert loaded.templates is not None
    first, second = [str(diagnostic).split("\n") for diagnostic in loaded.diagnostics if diagnostic.code == "T22"]
    assert first == [
        (
            "note.toml:10: warning: FORMAT{TOTAL_BALANCE,numericPattern=0,00}: writes '12,34' of 1234.5: "
            "the comma groups digits, here by 2; the point is the decimal sign of every language [T22]"
        ),
        "  hint: did you mean 0.00, which writes '1234.50'?",
    ]
    assert second == [
        (
            "note.toml:11: warning: FORMAT_DATE{TRANSACTION_DATE,datePattern=DD.MM.YYYY}: writes '363.12.2026' of "
            "2025-12-29: DD is the day of the year; YYYY is the year of the week [T22]"
        ),
        "  hint: did you mean dd.MM.yyyy, which writes '29.12.2025'?",
    ]


@pytest.mark.parametrize(
    ("token", "locale", "text"),
    [
        ("FORMAT{TOTAL_BALANCE,numericPattern=0.00}", "fa", "۱۲۳۴٫۵۰"),
        ("FORMAT{TOTAL_BALANCE,numericPattern=0.00}", "ar-EG", "١٢٣٤٫٥٠"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=yyyy-MM-dd}", "fa-IR", "۲۰۲۵-۱۲-۲۹"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=yyyy-MM-dd}", "fa-u-nu-latn", ""),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=yyyy-MM-dd}", "fa-u-nu-arabext", ""),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=yyyy-MM-dd}", "ar-AE", ""),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=MMMM}", "fa", ""),
        ("FORMAT{TOTAL_BALANCE,numericPattern=0.00}", "pt", ""),
    ],
)
@pytest.mark.parametrize(
    ("body", "content"),
    [
        ('{"a": "%s"}', ContentType.JSON),
        ('{"a": %s}', ContentType.JSON),
        ("<a>%s</a>", ContentType.XML),
        ("%s", ContentType.TEXT),
        ("<p>%s</p>", ContentType.HTML),
    ],
)
def test_digits_that_systems_cannot_read(body: str, content: ContentType, token: str, locale: str, text: str) -> None:
    """A warning of the bodies of JSON and XML, unless the tag says which digits are meant; people read the others."""
    families = {"loan_transaction": EventName("LOAN_REPAYMENT")}
    _, diagnostics = parse(body % token, content, families=families, locale=locale)
    for_systems = content in (ContentType.JSON, ContentType.XML)
    expected = [f"writes {text!r} in {locale}, and systems read the digits 0 to 9"] if text and for_systems else []

    assert expected == [diagnostic.message for diagnostic in diagnostics if diagnostic.code == "T22"]
    assert not any(diagnostic.is_error for diagnostic in diagnostics)
    assert all(diagnostic.hint.startswith(f"{locale}-u-nu-latn writes those; ") for diagnostic in diagnostics)


@pytest.mark.parametrize(
    "pattern", ["#" + "'" * 80 + "(", "¤¤¤000----" + "''''%%%%‰‰‰‰---,,,-.¤¤" * 4, "0" + ",. " * 33, "' ' 0" * 20]
)
def test_checking_a_pattern_is_fast(pattern: str) -> None:
    """Whatever fits into a pattern is checked at once."""
    started = time.process_time()
    suggest_number_pattern(pattern[:100], MONEY, Locale("en"))
    suggest_date_pattern(pattern[:100])

    assert time.process_time() - started < 1
