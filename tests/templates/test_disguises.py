"""T21: what looks like a placeholder and is none is found in each of its disguises, and nothing else is."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.domain.channel import ContentType
from processor.domain.diagnostic import Diagnostic
from processor.domain.placeholders import PLACEHOLDERS, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import NamedPlaceholder
from processor.templates.diagnostics import MAX_DIAGNOSTICS_PER_TEXT
from processor.templates.disguises import escape_invisible, find_disguises, normalize_field
from processor.templates.load import SHIPPED, read_templates
from processor.templates.text import parse
from tests.support.builders import TENANT, schemas
from tests.support.laws import examples, grows_linearly, size
from tests.support.template_files import STREAM, attachment, condition, diagnostics, toml

DEPOSIT = {"deposit_transaction": EventName("SAVINGS_DEPOSIT")}
SHY, NBSP, ZWSP, ZWJ, BOM, THIN = "\u00ad", "\u00a0", "\u200b", "\u200d", "\ufeff", "\u2009"
CYRILLIC = str.maketrans("ABCEHIKMOPSTXY", "АВСЕНІКМОРЅТХУ")
GREEK = str.maketrans("ABEHIKMNOPTXYZ", "ΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def diagnostics_of(text: str, content: ContentType = ContentType.HTML) -> list[Diagnostic]:
    return list(parse(text, content, families=DEPOSIT)[1])


def camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def inside(name: str, put: str) -> str:
    """`name` with `put` behind its first underscore, or in its middle."""
    at = name.find("_") + 1 or len(name) // 2
    return name[:at] + put + name[at:]


DISGUISES: dict[str, Callable[[str], str]] = {
    "percent": lambda name: f"%7B{name}%7D",
    "percent, small": lambda name: f"%7b{name}%7d",
    "percent, twice": lambda name: f"%257B{name}%257D",
    "percent, three times": lambda name: f"%25257b{name}%25257d",
    "all of it in percent": lambda name: "".join(f"%{ord(sign):02X}" for sign in f"{{{name}}}"),
    "entities": lambda name: f"&#123;{name}&#125;",
    "entities with zeros": lambda name: f"&#0123;{name}&#00125;",
    "hexadecimal entities": lambda name: f"&#x7b;{name}&#X7D;",
    "named entities": lambda name: f"&lbrace;{name}&rbrace;",
    "other named entities": lambda name: f"&lcub;{name}&rcub;",
    "entities, twice": lambda name: f"&amp;#123;{name}&amp;#125;",
    "all of it in entities": lambda name: "".join(f"&#{ord(sign)};" for sign in f"{{{name}}}"),
    "escaped for JSON": lambda name: f"\\u007b{name}\\u007D",
    "escaped for scripts": lambda name: f"\\x7B{name}\\x7d",
    "quoted-printable": lambda name: f"=7B{name.replace('_', '=5F')}=7D",
    "backslashes": lambda name: f"{{{name}\\}}",
    "full width": lambda name: f"\uff5b{name}\uff5d",
    "full width in percent": lambda name: f"{quote(chr(0xFF5B))}{name}{quote(chr(0xFF5D))}",
    "full width in entities": lambda name: f"&#65371;{name}&#xFF5D;",
    "small braces": lambda name: f"\ufe5b{name}\ufe5c",
    "ornaments": lambda name: f"\u2774{name}\u2775",
    "white braces": lambda name: f"\u2983{name}\u2984",
    "one of each": lambda name: f"{{{name}%7D",
    "full width letters": lambda name: f"{{{name.translate(FULL_WIDTH)}}}",
    "Cyrillic letters": lambda name: f"{{{name.translate(CYRILLIC)}}}",
    "one Cyrillic letter": lambda name: f"{{{name.translate(CYRILLIC)[0]}{name[1:]}}}",
    "Greek letters": lambda name: f"{{{name.translate(GREEK)}}}",
    "small Cyrillic letters": lambda name: f"{{{name.lower().translate(str.maketrans('aceopxyi', 'асеорхуі'))}}}",
    "a Turkish I": lambda name: f"{{{name.replace('I', chr(0x130))}}}",
    "a Turkish i": lambda name: f"{{{name.lower().replace('i', chr(0x131))}}}",
    "mathematical letters": lambda name: (
        "{" + "".join(chr(0x1D400 + ord(c) - 65) if c != "_" else c for c in name) + "}"
    ),
    "blanks around": lambda name: f"{{ {name} }}",
    "line breaks around": lambda name: f"{{\n  {name}\r\n}}",
    "a no-break space": lambda name: f"{{{NBSP}{name}}}",
    "its entity": lambda name: f"{{&nbsp;{name}&#160;}}",
    "its percent form": lambda name: f"%7B%C2%A0{name}%7D",
    "a thin space within": lambda name: f"{{{inside(name, THIN)}}}",
    "a line break within": lambda name: f"{{{inside(name, chr(10))}}}",
    "an escaped line break within": lambda name: f"{{{inside(name, chr(92) + 'n')}}}",
    "a zero-width space": lambda name: f"{{{inside(name, ZWSP)}}}",
    "a joiner": lambda name: f"{{{inside(name, ZWJ)}}}",
    "a byte order mark": lambda name: f"{{{BOM}{name}}}",
    "a soft hyphen": lambda name: f"{{{inside(name, SHY)}}}",
    "its name": lambda name: f"{{{inside(name, '&shy;')}}}",
    "a Hangul filler": lambda name: f"{{\u3164{name}}}",
    "a variation selector": lambda name: f"{{{inside(name, chr(0xFE0F))}}}",
    "markup within": lambda name: f"{{{inside(name, '<b>')}</b>}}",
    "markup around": lambda name: f'{{<span style="color:#1F497D" class=x>{name}</span>}}',
    "markup around one brace": lambda name: f"<b>{{</b>{name}}}",
    "escaped markup": lambda name: f"{{&lt;b&gt;{name}&lt;/b&gt;}}",
    "an optional line break": lambda name: f"{{{inside(name, '<wbr/>')}}}",
    "small letters": lambda name: f"{{{name.lower()}}}",
    "camel case": lambda name: f"{{{camel(name)}}}",
    "capital camel case": lambda name: f"{{{name.title().replace('_', '')}}}",
    "kebab case": lambda name: f"{{{name.lower().replace('_', '-')}}}",
    "words": lambda name: f"{{{name.replace('_', ' ').capitalize()}}}",
    "a path": lambda name: f"{{{name.lower().replace('_', '.')}}}",
    "a dash": lambda name: f"{{{name.replace('_', chr(0x2011))}}}",
    "a dollar sign": lambda name: f"${{{camel(name)}}}",
    "a sign before": lambda name: f"{{#{name}}}",
    "a sign behind": lambda name: f"{{{name}.}}",
    "quotes": lambda name: f'{{"{name}"}}',
    "typographic quotes": lambda name: f"{{\u201c{name}\u201d}}",
    "not closed": lambda name: f"Dear {{{name}, welcome",
    "closed by another": lambda name: f"({{{name})",
    "double braces": lambda name: f"{{{{{name}}}}}",
    "double braces and blanks": lambda name: f"{{{{ {name.lower()} }}}}",
}
WITH_SEVERAL_WORDS: dict[str, Callable[[str], str]] = {
    "not opened": lambda name: f"Dear {name}}}, welcome",
    "more behind": lambda name: f"{{{name}|upper}}",
    "a letter behind": lambda name: f"{{{name}s}}",
    "a letter before": lambda name: f"{{x{name}}}",
    "an index": lambda name: f"{{{name}[0]}}",
    "square brackets": lambda name: f"[[{name}]]",
    "angle brackets": lambda name: f"<<{name}>>",
    "angle entities": lambda name: f"&lt;&lt; {name} &gt;&gt;",
    "a page's marks": lambda name: f"<%= {name} %>",
    "a letter's marks": lambda name: f"\u00ab{name}\u00bb",
    "a mailing's marks": lambda name: f"*|{name}|*",
    "percent signs": lambda name: f"%{name}%",
}
NAMES = sorted({row.name for row in PLACEHOLDERS})
LONG = [name for name in NAMES if "_" in name]


@pytest.mark.parametrize("disguise", [*DISGUISES, *WITH_SEVERAL_WORDS])
def test_each_disguise(disguise: str) -> None:
    """Each is one diagnostic under T21 that shows what was meant; only double braces may be meant."""
    text = (DISGUISES | WITH_SEVERAL_WORDS)[disguise]("ACCOUNT_ID")
    found = diagnostics_of(text)

    assert [("T21", "write {ACCOUNT_ID}", "double" not in disguise)] == [
        (diagnostic.code, diagnostic.hint, diagnostic.is_error) for diagnostic in found
    ], text
    assert found[0].location.excerpt in text


@settings(max_examples=examples(500), deadline=None)
@given(
    name=st.sampled_from(NAMES),
    disguise=st.sampled_from([*DISGUISES, *WITH_SEVERAL_WORDS]),
    content=st.sampled_from(ContentType),
    around=st.sampled_from(["", "a ", "<p>", '"', "{", "}", "{}", '{"a": ', "%", "&amp;", "é ", "CF:"]),
)
def test_no_disguise_is_missed(name: str, disguise: str, content: ContentType, around: str) -> None:
    """Whatever stands around it: a placeholder's name is that placeholder, disguised a diagnostic with its name."""
    if disguise in WITH_SEVERAL_WORDS and name not in LONG:
        return
    if disguise == "not opened" and around.startswith("{"):  # then it is one of the words between two braces
        return
    text = f"{around}{(DISGUISES | WITH_SEVERAL_WORDS)[disguise](name)} z"
    segments, found = parse(text, content, families=DEPOSIT)

    assert [diagnostic for diagnostic in found if f"{{{name}}}" in diagnostic.hint] or any(
        isinstance(segment, NamedPlaceholder) and segment.name == name for segment in segments
    ), (text, found)


SPELLINGS = {name.replace("_", "") for name in NAMES}


@settings(max_examples=examples(500), deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
            st.sampled_from(
                [*"{}[]<>%&;:,.\"'\\$#-_ \n", "%7B", "%7D", "&#123;", "&#125;", "{{", "}}", "\u007b", "<b>"]
            ),
            st.sampled_from(["color", "red", "if", "x", "Dear", "account", "id", "date", "name", "cf", "format", "1"]),
        ),
        max_size=12,
    )
)
@example(["{", "user", "name", "}"])
def test_braces_without_a_name_are_text(pieces: list[str]) -> None:
    """Where no stretch of letters spells a name, whatever braces and code there are, nothing is found."""
    text = "".join(pieces)
    seen = "".join(sign for sign in html.unescape(text).upper() if sign.isalnum())
    if any(name in seen for name in SPELLINGS) or "CF" in seen:
        return

    assert [] == list(find_disguises(text))


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('{"a": {"b": [1, {}]}, "state": "x", "event": {"id": 1}}', ContentType.JSON),
        ('{"user":"name","account":"id","ACCOUNT_ID":"","ORDER_ID":[]}', ContentType.JSON),
        ('{"ACCOUNT_ID": {"x": 1}, "account_id": "{ACCOUNT_ID}", "b":{"STATE":null}}', ContentType.JSON),
        ('{"CF:CLIENT:Segment": "{CF:CLIENT:Segment}", "cf": {"cf:x": 1}}', ContentType.JSON),
        ('[["ACCOUNT_ID"], ["{ACCOUNT_ID}"]]', ContentType.JSON),
        ('{"url": "/q?f=%7B%22state%22%3A%22x%22%7D&g=%7B%22order%22:%22id%22%7D"}', ContentType.JSON),
        ('<!--[if mso]><xml><o:P>{x}</o:P></xml><![endif]--><p style="a:{b}">&#123;&nbsp;&#125;</p>', ContentType.HTML),
        ('<script type="application/ld+json">{"@type":"Order","user":{"name":"x"}}</script>', ContentType.HTML),
        ("if (x) { return {account: id, date: [1]}; } else { for (;;) {} } // {state: 1, event}", ContentType.TEXT),
        ("a { color : red } .state{} #event { top: 0 } @media print { .fee { due: 1 } }", ContentType.TEXT),
        ("<style>.a{color:red}@media(x){.state{top:0}} .b{ margin : 0 }</style>", ContentType.HTML),
        ("<style>:root{--fee-name:1}a{content:'\\7b'}</style>", ContentType.HTML),
        ("<script>function f(a){return {user: name, state: 1}}if(x){state();}</script>", ContentType.HTML),
        ("<script>const {state, event} = x; var s = `${a.b}`;</script>", ContentType.HTML),
        ('<a href="https://a.example/?q=%7Bname%7D&r=%7B%22a%22%3A1%7D&s=100%25">', ContentType.HTML),
        ("Hello {name}, {first name} {you} {see below} {} {1} {a|b} {cf: page 5} {cf. page 5}", ContentType.TEXT),
        ("{{#if x}} {{name}} {{FOO}} {{> part}} {% if a %} {# b #} {{CF}}", ContentType.TEXT),
        (
            "&lbrace;x&rbrace; &#123;&#125; \\u007bx\\u007d =7Bx=7D [[link]] <<x>> \u00abnom\u00bb %PATH%",
            ContentType.TEXT,
        ),
        ("<ACCOUNT_ID>{ACCOUNT_ID}</ACCOUNT_ID>", ContentType.XML),
        ("[ACCOUNT_ID] (ACCOUNT_ID) ACCOUNT_ID $ACCOUNT_ID [[state]] %STATE%", ContentType.TEXT),
        ("FORMAT of {ACCOUNT_ID}: {FORMAT} format {ACCOUNT_ID}", ContentType.TEXT),
        ("{TOTAL_BALANCE} ${TOTAL_BALANCE} #{ACCOUNT_ID} {ACCOUNT_ID}} {{TOTAL_BALANCE}", ContentType.TEXT),
        ("{account ids} {tax amounts} {no state} {order: id} {fee = name} {ACCOUNT_ID: 1} {STATE=1}", ContentType.TEXT),
    ],
)
def test_text_in_braces_is_text(text: str, content: ContentType) -> None:
    """JSON, CSS, scripts, other systems' marks, addresses and prose: no diagnostic but for names that are none."""
    assert [] == [
        diagnostic
        for diagnostic in diagnostics_of(text, content)
        if not diagnostic.message.startswith("unknown placeholder")
    ]


@pytest.mark.parametrize(
    ("text", "meant", "fatal"),
    [
        ("FORMAT {TOTAL_BALANCE,numericPattern=#,##0.00}", "FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00}", True),
        ("format{TOTAL_BALANCE,numericPattern=0.00}", "FORMAT{TOTAL_BALANCE,numericPattern=0.00}", True),
        ("FORMAT\n{TOTAL_BALANCE,numericPattern=0.00}", "FORMAT{TOTAL_BALANCE,numericPattern=0.00}", True),
        ("FORMAT%7BTOTAL_BALANCE,numericPattern=0.00%7D", "FORMAT{TOTAL_BALANCE,numericPattern=0.00}", True),
        ("FORMAT&#123;total_balance,numericPattern=0&#125;", "FORMAT{TOTAL_BALANCE,numericPattern=0}", True),
        ("{FORMAT{TOTAL_BALANCE,numericPattern=0.00}}", "FORMAT{TOTAL_BALANCE,numericPattern=0.00}", True),
        ("{TOTAL_BALANCE,numericPattern=0.00}", "FORMAT{TOTAL_BALANCE,numericPattern=0.00}", True),
        (
            "Format_Date {TRANSACTION_DATE, datePattern = d MMM}",
            "FORMAT_DATE{TRANSACTION_DATE,datePattern=d MMM}",
            True,
        ),
        ("FORMAT(TOTAL_BALANCE,numericPattern=0.00)", "FORMAT{TOTAL_BALANCE,…}", True),
        ("FORMAT{{TOTAL_BALANCE},numericPattern=0.00}", "FORMAT{TOTAL_BALANCE,…}", True),
        ("FORMAT{TOTAL_BALANCE,numericPattern=0.00 and", "FORMAT{TOTAL_BALANCE,…}", True),
        ("format{TOTAL_BALANCE}", "FORMAT{TOTAL_BALANCE,…}", True),
        ("{cf:CLIENT:X}", "{CF:CLIENT:X}", True),
        ("{cf:X}", "{CF:X}", True),
        ("{ CF:CLIENT:X }", "{CF:CLIENT:X}", True),
        (f"{{{NBSP}CF:CLIENT:X}}", "{CF:CLIENT:X}", True),
        ("{CF：CLIENT：X}", "{CF:CLIENT:X}", True),
        ("{CF:CLIENT：X}", "{CF:CLIENT:X}", True),
        ("{СF:CLIENT:X}", "{CF:CLIENT:X}", True),
        ("{CF :CLIENT:X}", "{CF:CLIENT:X}", True),
        ("{C<b>F:CLI</b>ENT:X}", "{CF:CLIENT:X}", True),
        ("{Cf:line of credit:X:2}", "{CF:LINE_OF_CREDIT:X:2}", True),
        ("{CF:client:X}", "{CF:CLIENT:X}", True),
        ("%7BCF:CLIENT:X%7D", "{CF:CLIENT:X}", True),
        ("%7BCF%3ACLIENT%3ABank%20Account%7D", "{CF:CLIENT:Bank Account}", True),
        ("&#123;CF:CLIENT:Região&#125;", "{CF:CLIENT:Região}", True),
        ("{CF:CLIENT:X\n}", "{CF:CLIENT:X}", True),
        ("Dear {CF:CLIENT:Title, welcome", "{CF:FIELD}", True),
        ("{{CF:CLIENT:X}}", "{CF:CLIENT:X}", False),
        (f"{{CF:CLIENT:Bank{NBSP}Account}}", "{CF:CLIENT:Bank Account}", False),
        ("{CF:CLIENT:Bank&nbsp;Account}", "{CF:CLIENT:Bank Account}", False),
        ("{CF:CLIENT:R&amp;D}", "{CF:CLIENT:R&D}", False),
        (f"{{CF:CLIENT:Seg{SHY}ment}}", "{CF:CLIENT:Segment}", False),
        ("{CF:CLIENT:<b>X</b>}", "{CF:CLIENT:X}", False),
        ("{CF:CLIENT: X }", "{CF:CLIENT:X}", False),
    ],
)
def test_formats_and_custom_fields(text: str, meant: str, fatal: bool) -> None:
    """Of a custom field that can be found if an event spells it so, the disguise is a warning."""
    assert [(f"write {meant}", fatal)] == [
        (diagnostic.hint, diagnostic.is_error) for diagnostic in diagnostics_of(text)
    ]


@pytest.mark.parametrize(
    "name", ["نام\u200cکاربری", "ශ්\u200dරී", "R&D", "100% sure", "a<b", "Bank  Account", "é", "İl", "ﬁ"]
)
def test_custom_fields_with_signs_of_their_own(name: str) -> None:
    """Joiners that belong to a script's spelling, signs and any letters are no disguise."""
    assert [] == diagnostics_of(f"{{CF:CLIENT:{name}}}")


def test_a_name_of_other_events() -> None:
    """Where the template's event has no such placeholder, the diagnostic says so and who has it."""
    (diagnostic,) = diagnostics_of("%7BPENALTY_AMOUNT%7D")

    assert (
        "looks like a placeholder and is text; SAVINGS_DEPOSIT has no placeholder {PENALTY_AMOUNT}"
        == diagnostic.message
    )
    assert "PENALTY_AMOUNT" not in placeholders_of("deposit_transaction")
    assert "{PENALTY_AMOUNT} is for events of loan_transaction" == diagnostic.hint


def test_a_dollar_sign_before_a_placeholder() -> None:
    """T22: it is shown before the value, and means something before an amount only."""
    assert [("T22", False, "write {ACCOUNT_ID}")] == [
        (diagnostic.code, diagnostic.is_error, diagnostic.hint) for diagnostic in diagnostics_of("${ACCOUNT_ID}")
    ]
    assert [] == diagnostics_of("${TRANSACTION_AMOUNT} ${INTEREST_RATE} $ {ACCOUNT_ID}")


# --------------------------------------------------------------------------------------------------------------- files


def as_tuples(found: list[Diagnostic]) -> list[tuple[int | None, str, str, bool]]:
    return [(diagnostic.location.line, diagnostic.code, diagnostic.hint, diagnostic.is_warning) for diagnostic in found]


WRITE = "write {ACCOUNT_ID}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (toml(body="<p>%7BACCOUNT_ID%7D"), 10),
        (toml(body='<a href="https://pay.northbank.example/?a=%7BACCOUNT_ID%7D&b={ACCOUNT_ID}">'), 10),
        (toml(subject="About {accountId}"), 8),
        (toml('body = """\n<p>\n{ACCOUNT_<b>ID</b>}\n"""', without=("body",)), 12),
        (toml('body = """\n<p>\n{ACCOUNT_\nID}\n"""', without=("body",)), 12),
        (toml('body = """\n<p>\n{ACCOUNT_\\u00ADID}\n"""', without=("body",)), 12),
        (toml('body = "<p>\\n{ \\"ACCOUNT_ID\\" }"', without=("body",)), 10),
        (toml('body = """\n\u2028<p>\n{ACCOUNT_\\nID}\n"""', without=("body",)), 12),
        (toml('[locale."pt"]\nsubject = "x"\nbody = "｛ACCOUNT_ID｝"'), 13),
        (toml('[locale."pt"]\nsubject = "{ACCOUNT_ID"\nbody = "x"'), 12),
        (toml("[webhook]\nurl = 'https://a.example/%7BACCOUNT_ID%7D'", **STREAM | {"type": "WEB_HOOK"}), 13),
    ],
)
def test_fields_and_lines_of_disguises(tmp_path: Path, text: str, line: int) -> None:
    """Subject, body, address and other languages; at the line of the piece, however TOML has it escaped."""
    assert (line, "T21", WRITE, False) in as_tuples(diagnostics(tmp_path, text))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_with_either_end(tmp_path: Path, ends: str) -> None:
    """A file with CRLF has the same lines."""
    text = toml('body = """\n<p>\n{ACCOUNT_\nID}\n"""', without=("body",)).replace("\n", ends)
    (tmp_path / "note.toml").write_bytes(text.encode())
    found = read_templates(tmp_path, tenant=TENANT, schemas=schemas()).diagnostics

    assert (12, "T21", WRITE, False) in as_tuples(list(found))


def test_a_body_in_a_file_of_its_own(tmp_path: Path) -> None:
    """The diagnostic stands where the template names the file, and names the line in there."""
    (tmp_path / "page.html").write_text("<p>\n\n{ACCOUNT_ID} {account\nid}")
    (found,) = diagnostics(tmp_path, toml(without=("body",), body_file="page.html"))

    assert (10, "T21", WRITE) == (found.location.line, found.code, found.hint)
    assert "page.html:3: {account<U+000A>id}: looks like a placeholder and is text" == found.message


def test_invisible_characters_are_named(tmp_path: Path) -> None:
    """Invisible characters and letters of other alphabets are named, line breaks too."""
    body = f"{{ACCOUNT_{SHY}ID}} {{{NBSP}ACCOUNT_ID}} {{\nACCOUNT_ID}} {{АCCOUNT_ID}}"
    what = "looks like a placeholder and is text"

    assert {
        f"{{ACCOUNT_<U+00AD>ID}}: {what}; it has U+00AD SOFT HYPHEN",
        f"{{<U+00A0>ACCOUNT_ID}}: {what}; it has U+00A0 NO-BREAK SPACE",
        f"{{<U+000A>ACCOUNT_ID}}: {what}",
        f"{{АCCOUNT_ID}}: {what}; it has U+0410 CYRILLIC CAPITAL LETTER A",
    } == {diagnostic.message for diagnostic in diagnostics(tmp_path, toml(body=body))}
    assert "a<U+200B>b<U+3164> <U+FE0F>é\n" == escape_invisible(f"a{ZWSP}b\u3164 \ufe0fé\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (toml(name="Note %7BACCOUNT_ID%7D"), "name holds %7BACCOUNT_ID%7D"),
        (toml(name="Note {account id}"), "name holds {account id}"),
        (toml(attachment(href="/x/%7BACCOUNT_ID%7D.pdf")), "`attachment[1].href` holds %7BACCOUNT_ID%7D"),
        (toml(attachment(file_name="{accountId}.pdf")), "`attachment[1].file_name` holds {accountId}"),
    ],
)
def test_fields_without_placeholders(tmp_path: Path, text: str, what: str) -> None:
    """A template's name and what is said of attachments is the same for all messages."""
    assert [what] == [diagnostic.message for diagnostic in diagnostics(tmp_path, text)]


def test_headers_without_placeholders(tmp_path: Path) -> None:
    """T15: a webhook's headers neither."""
    text = toml(
        '[webhook]\nurl = "https://a.example/"\nheaders = { X-Id = "%7BACCOUNT_ID%7D" }',
        **STREAM | {"type": "WEB_HOOK"},
    )

    assert ("T15", "header 'X-Id' holds %7BACCOUNT_ID%7D") in [
        (diagnostic.code, diagnostic.message) for diagnostic in diagnostics(tmp_path, text)
    ]


@pytest.mark.parametrize(
    ("field", "rule", "hint", "warning"),
    [
        ("tenant", "T21", "write TENANT", False),
        ("accountId", "T21", "write ACCOUNT_ID", False),
        ("АCCOUNT_ID", "T21", "write ACCOUNT_ID", False),
        (f"ACCOUNT_ID{ZWSP}", "T21", "write ACCOUNT_ID", False),
        ("%7BACCOUNT_ID%7D", "T21", "write ACCOUNT_ID", False),
        ("｛ACCOUNT_ID｝", "T21", "write ACCOUNT_ID", False),
        ("cf:CLIENT:X", "T21", "write CF:CLIENT:X", False),
        ("CF：CLIENT：X", "T21", "write CF:CLIENT:X", False),
        (" CF:CLIENT:X", "T21", "write CF:CLIENT:X", False),
        ("{account_id}", "T18", "write ACCOUNT_ID", False),
        ("CF:CLIENT：X", "T21", "write CF:CLIENT:X", False),
        (f"CF:CLIENT:a{NBSP}b", "T21", "write CF:CLIENT:a b", True),
    ],
)
def test_fields_of_conditions(tmp_path: Path, field: str, rule: str, hint: str, warning: bool) -> None:
    """A condition's field in a disguise is a diagnostic with the field's name."""
    text = toml(condition(f"field = {json.dumps(field)}\noperator = 'EMPTY'"))

    assert [(12, rule, hint, warning)] == as_tuples(diagnostics(tmp_path, text))


@pytest.mark.parametrize(
    ("field", "rule", "hint", "warning"),
    [
        ("{CF:CLIENT:X}", "T07", "", False),
        ("cf:CLIENT:X", "T07", "", False),
        ("CF：CLIENT：X", "T21", 'write "CF:CLIENT:X"', False),
        (f"{ZWSP}CF:CLIENT:X", "T07", "", False),
        ("CLIENT：X", "T21", 'write "CF:CLIENT:X"', False),
        ("CF:CLIENT：X", "T21", 'write "CF:CLIENT:X"', False),
        ("{X}", "T07", "as in", False),
        ("RECIPIENT_EMAIL_ADDRESS", "T21", '"CF:RECIPIENT_EMAIL_ADDRESS" is the custom field', False),
        ("{RECIPIENT_EMAIL_ADDRESS}", "T07", "as in", False),
        (f"CF:CLIENT:a{NBSP}b", "T21", 'write "CF:CLIENT:a b"', True),
        (f"CLIENT:a{NBSP}b", "T21", 'write "CF:CLIENT:a b"', True),
    ],
)
def test_fields_of_recipients(tmp_path: Path, field: str, rule: str, hint: str, warning: bool) -> None:
    """So is that of an address; a placeholder's name is no custom field."""
    (found,) = diagnostics(tmp_path, toml(recipient="CUSTOM_FIELD", recipient_field=field))

    assert (rule, warning) == (found.code, found.is_warning), found
    assert found.hint.startswith(hint)


@pytest.mark.parametrize("field", ["CF:CLIENT:X", "CLIENT:X", "X", "CF:X", "CLIENT:X:2", "CF:STATE", "E-mail (2)"])
def test_fields_of_recipients_that_are_right(tmp_path: Path, field: str) -> None:
    """With and without `CF:`, and called as a placeholder is."""
    assert [] == diagnostics(tmp_path, toml(recipient="CUSTOM_FIELD", recipient_field=field))


@pytest.mark.parametrize("field", ["", "{", "}{", "%7B", "x" * 5000, "{" * 5000, "CF:", "nobody"])
def test_names_like_no_field(field: str) -> None:
    """What is no field's name in any spelling gives none."""
    assert "" == normalize_field(field)


def test_warnings_hide_no_error(tmp_path: Path) -> None:
    """Errors of a text come first, and what is left out is a warning when all of it is."""
    doubles = "".join(f"{{{{{' ' * blanks}ACCOUNT_ID}}}}" for blanks in range(MAX_DIAGNOSTICS_PER_TEXT))
    found = diagnostics(tmp_path, toml(body=f"{doubles}{{accountId}}"))

    assert [("T21", False), *[("T21", True)] * MAX_DIAGNOSTICS_PER_TEXT] == sorted(
        (diagnostic.code, diagnostic.is_warning) for diagnostic in found
    )
    assert f"1 more like the first {MAX_DIAGNOSTICS_PER_TEXT} of this text" in [
        diagnostic.message for diagnostic in found if diagnostic.is_warning
    ]


def test_shipped_texts_have_no_disguises() -> None:
    """In the events and samples neither; that the templates have no diagnostic is a test of theirs."""
    texts = {path: path.read_text() for path in SHIPPED.rglob("*.json")}

    assert len(texts) > 80
    assert [] == [path.name for path, text in texts.items() if list(find_disguises(text))]


# ------------------------------------------------------------------------------------------------------------- hostile

TEXT_CHARACTERS = size(240_000)
HOSTILE: dict[str, str] = {
    text[:12]: text * (TEXT_CHARACTERS // len(text))
    for text in (
        "{", "}", "{}", "{{", "{a}", "{ABCDEF}", "{ACCOUNT_ID ", "ACCOUNT_ID}", "{account_id}", "&", "&#123;", "&#123",
        "&amp;", "%7B", "%25", "%", "\\", "\\u007", "<", "{<", "<a>", "{<b>x</b>}", "[[", "[[ab", "<%", "%A_", "\u00ab",
        "FORMAT(", "FORMAT ", "{CF:x ", "{A,b=", "=7b", SHY, f"{{{SHY}}}", "\uff5b", "format{TOTAL_BALANCE}", "{a.",
        "{" + "<b>" * 300 + "x" + "</b>" * 300 + "}", "{" + "&lt;" * 490 + "}", "{" + "\\" * 1900 + "}",
    )
}  # fmt: skip
HOSTILE |= {
    "amp": "&" + "amp;" * (TEXT_CHARACTERS // 4),
    "zeros": "&#" + "0" * TEXT_CHARACTERS,
    "25": "%" + "25" * (TEXT_CHARACTERS // 2),
    "long": "{" + "A" * TEXT_CHARACTERS + "}",
    "blanks": "{" + " " * TEXT_CHARACTERS + "ACCOUNT_ID}",
    "backslashes": "{" + "\\" * TEXT_CHARACTERS + "}",
    "tags": "{" + "<b>" * (TEXT_CHARACTERS // 3) + "ACCOUNT_ID}",
}


@pytest.mark.corpus
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_read_in_linear_time(name: str) -> None:
    """The work is linear in the text: all of it takes about as long as eight times an eighth of it."""
    text = HOSTILE[name]

    assert grows_linearly(diagnostics_of, text[: len(text) // 8], text, factor=32, least_s=0.02)
