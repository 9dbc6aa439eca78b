"""T12: bodies that are the documents they claim to be, whatever the values."""

import json
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.channel import ContentType
from processor.domain.record import EventName
from processor.domain.template import (
    Text,
)
from processor.mapping.render import Rendered, render
from processor.mapping.values import Scope
from processor.templates.document import check_document
from processor.templates.text import parse
from tests.support.laws import examples
from tests.support.template_files import diagnostics, toml

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}


@pytest.mark.parametrize(
    ("body", "content", "what"),
    [
        ('{"a": {ACCOUNT_ID}', "application/json", "body is not JSON with a sample of each value: expecting ','"),
        ('{"a": 1{NUMBER_OF_INSTALLMENTS}}', "application/json", "body is not JSON when every value is missing"),
        ("{{ACCOUNT_ID}: 1}", "application/json", "body is not JSON when every value is missing"),
        ("[-{TOTAL_BALANCE}]", "application/json", "body is not JSON when every value is missing"),
        ("[NaN]", "application/json", "body is not JSON with a sample of each value: NaN is not JSON"),
        ("\ufeff[]", "application/json", "body is not JSON with a sample of each value: unexpected utf-8 bom"),
        ("[" * 100_000, "application/json", "body is not JSON with a sample of each value: nested too deeply"),
        ("<a>{ACCOUNT_NAME}", "application/xml", "body is not XML with a sample of each value: no element found"),
        ("<a b={ACCOUNT_NAME}/>", "application/xml", "body is not XML with a sample of each value: not well-formed"),
        ("<{ACCOUNT_NAME}/>", "application/xml", "body is not XML with a sample of each value"),
        ("<a><!-- {ACCOUNT_NAME} --></a>", "application/xml", "{ACCOUNT_NAME} stands in a comment"),
        ("<a><![CDATA[{CF:x}]]></a>", "application/xml", "{CF:x} stands in a comment, a CDATA section"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            "application/xml",
            "body is not XML with a sample of each value: a",
        ),
        ('<a b="{REPAYMENT_SCHEDULE}"/>', "application/xml", "body is not XML with a sample of each value"),
        (
            "<script>f('{ACCOUNT_NAME}')</script>",
            "text/html",
            "{ACCOUNT_NAME} stands where its value cannot be escaped",
        ),
        ("<style>{ACCOUNT_NAME}</style>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<!-- {ACCOUNT_NAME} -->", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a href={ACCOUNT_NAME}>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a title='x' ONCLICK = \"f('{ACCOUNT_NAME}')\">", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<{ACCOUNT_NAME}>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<p {ACCOUNT_NAME}>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<SCRIPT src='a>b'>{ACCOUNT_NAME}</SCRIPT>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a onclick=\"f('{ACCOUNT_NAME}')\">", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<p>{ACCOUNT_NAME}</p><script>{ACCOUNT_NAME}</script>", "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href="{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href=" {ACCOUNT_NAME}/x">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href="java{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href="java&#115;{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a href=\"javascript:f('{ACCOUNT_NAME}')\">", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<img SRC='{CF:x}'>", "text/html", "{CF:x} stands where"),
        ('<iframe srcdoc="<p>{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<p style="color: {CF:x}">', "text/html", "{CF:x} stands where"),
    ],
)
def test_documents(tmp_path: Path, body: str, content: str, what: str) -> None:
    """T12: a body that is not what it claims to be, or where a value could not be escaped, is refused."""
    channel = "EMAIL" if content == "text/html" else "EVENT_STREAM"
    found = diagnostics(tmp_path, toml(type=channel, content_type=content, body=body))

    assert ["T12"] == sorted({diagnostic.code for diagnostic in found if diagnostic.is_error}), found
    assert any(diagnostic.message.startswith(what) for diagnostic in found), found


@pytest.mark.parametrize(
    "body",
    [
        "{ACCOUNT_NAME}",
        "a < b {ACCOUNT_NAME}",
        "<!-- a --><!--><!doctype html>{ACCOUNT_NAME}",
        "<!-- a --!>{ACCOUNT_NAME}",
        "<script>'</p>' < 1</script >{ACCOUNT_NAME}",
        "<style a='>'>p {}</STYLE><p>{ACCOUNT_NAME}",
        "<p title='{ACCOUNT_NAME}' class=\"a>b {CF:x}\" lang=en>{ACCOUNT_NAME}</p>",
        "<title>{ACCOUNT_NAME}</title><textarea><script>{ACCOUNT_NAME}</textarea>{CF:x}",
        "<script>var total = {TOTAL_BALANCE};</script>",
        "<br/>{ACCOUNT_NAME}<img src='x'/>{ACCOUNT_NAME}",
        '<a href="https://a.example/{ACCOUNT_NAME}?b={CF:x}">',
        '<a href="/a/{ACCOUNT_NAME}"><a href="#{CF:x}"><a href="mailto:{CF:x}">',
    ],
)
def test_places_in_html_that_are_safe(tmp_path: Path, body: str) -> None:
    """Text, quoted attributes, and numbers anywhere, behind whatever comes before."""
    assert [] == diagnostics(tmp_path, toml(body=body))


@pytest.mark.parametrize(
    ("declaration", "what"),
    [
        ('<?xml version="1.0" encoding="UTF-16"?>', "says encoding 'UTF-16'"),
        ("<?xml version='1.0' encoding='iso-8859-1' standalone='no'?>", "says encoding 'iso-8859-1'"),
        ('<?xml  version = "1.0"\n encoding\t= "Latin1" ?>', "says encoding 'Latin1'"),
        ('<?xml version="1.0" encoding="US-ASCII"?>', "says encoding 'US-ASCII'"),
        ('<?xml version="1.0" encoding="UTF8"?>', "says encoding 'UTF8'"),  # no name of UTF-8 (IANA character sets)
        ('<?xml version="1.0" encoding="UTF-{NUMBER_OF_INSTALLMENTS}"?>', "says encoding 'UTF-7'"),
        ('<?xml version="1.1"?>', "says version '1.1'"),
        ('<?xml version="1.1" encoding="UTF-16"?>', "says version '1.1'"),
        ('<?xml version="1.{NUMBER_OF_INSTALLMENTS}"?>', "says version '1.7'"),
        ('<?xml version="1.0" encoding="{CF:x}"?>', "body is not XML with a sample of each value"),
        ('<?xml version="1.0" {ACCOUNT_NAME}?>', "body is not XML with a sample of each value"),
        ('<?xml encoding="UTF-8"?>', "body is not XML with a sample of each value"),
        (' <?xml version="1.0"?>', "body is not XML with a sample of each value"),
        ('\n<?xml version="1.0"?>', "body is not XML with a sample of each value"),
        ('<!-- a --><?xml version="1.0"?>', "body is not XML with a sample of each value"),
        ('\ufeff<?xml version="1.0" encoding="UTF-8"?>', "body begins with a byte order mark"),
        ("\ufeff", "body begins with a byte order mark"),
        ('\ufeff<?xml version="1.0" encoding="UTF-16"?>', "says encoding 'UTF-16'"),
    ],
)
def test_xml_that_declares_another_encoding_or_version(tmp_path: Path, declaration: str, what: str) -> None:
    """T12: bodies are UTF-8 and XML 1.0; readers believe a declaration, and refuse the body or read other letters."""
    body = declaration + "<a>{ACCOUNT_NAME}</a>"
    text = toml(type="EVENT_STREAM", content_type="application/xml", body=body)
    found = [diagnostic for diagnostic in diagnostics(tmp_path, text) if diagnostic.is_error]

    assert {"T12"} == {diagnostic.code for diagnostic in found}
    assert any(what in diagnostic.message for diagnostic in found), found


def test_declarations_in_other_files_and_languages_are_checked(tmp_path: Path) -> None:
    """A declaration in a file of its own, behind a byte order mark that an editor put there, and in a locale."""
    (tmp_path / "body.xml").write_bytes(b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-16"?><a/>')
    text = toml(
        'body_file = "body.xml"\n[locale."pt"]\nbody = \'<?xml version="1.0" encoding="latin1"?><a/>\'',
        type="EVENT_STREAM",
        content_type="application/xml",
        without=("body",),
    )

    assert [
        ("T12", "body.xml: the XML declaration says encoding 'UTF-16'; bodies are UTF-8"),
        ("T12", "the XML declaration says encoding 'latin1'; bodies are UTF-8"),
    ] == sorted(
        (diagnostic.code, diagnostic.message) for diagnostic in diagnostics(tmp_path, text) if diagnostic.is_error
    )


@pytest.mark.parametrize(
    "declaration",
    [
        "",
        '<?xml version="1.0"?>',
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        "<?xml version='1.0' encoding='utf-8' standalone='yes'?>",
        '<?xml version="1.0" standalone="no" ?>',
        '<?xml-stylesheet href="a.xsl" encoding="UTF-16"?>',
        '<?xml version="1.0"?><!-- <?xml encoding="UTF-16"?> -->',
    ],
)
def test_xml_that_declares_utf_8(tmp_path: Path, declaration: str) -> None:
    """Or nothing."""
    body = declaration + "<a>{ACCOUNT_NAME}</a>"
    text = toml(type="EVENT_STREAM", content_type="application/xml", body=body)

    assert [] == [diagnostic for diagnostic in diagnostics(tmp_path, text) if diagnostic.is_error]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('<meta charset="windows-1252">', '<meta charset="windows-1252"> says windows-1252'),
        ("<META CharSet = iso-8859-1 />", "says iso-8859-1"),
        ("<meta\n name='x'\n charset='utf-16'>", "says utf-16"),
        ('<meta charset="&#108;atin1">', "says latin1"),
        ('<meta charset="{CF:x}">', "says {CF:x}"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">', "says iso-8859-1"),
        ("<meta content='text/html;charset = \"Shift_JIS\"' http-equiv=content-type>", "says Shift_JIS"),
        ('<meta http-equiv="content-type" content="text/html; charset={ACCOUNT_NAME}">', "says {ACCOUNT_NAME}"),
        ('<!--[if mso]><meta charset="windows-1252"><![endif]-->', "says windows-1252"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><!doctype html>', "says iso-8859-1"),
        ('<p>a</p><meta charset="utf-8"><meta charset="latin1">', "says latin1"),
    ],
)
def test_html_that_declares_another_encoding(tmp_path: Path, body: str, what: str) -> None:
    """T12: mails are UTF-8 and say so; a reader who believes the document would show other letters."""
    found = [
        diagnostic
        for diagnostic in diagnostics(tmp_path, toml(body=body + "<p>{ACCOUNT_NAME}</p>"))
        if diagnostic.is_error
    ]

    assert ["T12"] == [diagnostic.code for diagnostic in found]
    assert what in found[0].message


@pytest.mark.corpus
@pytest.mark.parametrize(
    "body",
    [
        '<meta charset="utf-8">',
        "<META CHARSET=UTF8>",
        '<meta http-equiv="Content-Type" content="text/html; charset=UTF-8">',
        '<meta http-equiv="Content-Type" content="text/html">',
        '<meta name="description" content="a text; charset=latin1">',
        "<meta name='viewport' content='width=device-width'> charset=latin1 <p>",
        "<p>&lt;meta charset=latin1&gt;</p>",
        '<metadata charset="latin1">',
        '<form accept-charset="latin1">',
        '<?xml version="1.0" encoding="utf-8"?><html>',
        "<meta charset='utf-8" + " <meta" * 50_000,
        f"<meta {'a' * 300_000}>",
        f"<meta {'a ' * 150_000}>",
        f"<meta {'=' * 300_000}>",
    ],
)
def test_html_that_declares_utf_8(tmp_path: Path, body: str) -> None:
    """Or nothing, or something about another resource; found in a time that is linear in the body."""
    began = time.process_time()
    found = [diagnostic for diagnostic in diagnostics(tmp_path, toml(body=body)) if diagnostic.is_error]

    assert [] == found
    assert 5 > time.process_time() - began


def test_a_misspelt_placeholder_hides_no_unsafe_place(tmp_path: Path) -> None:
    """Both are said at once."""
    found = diagnostics(
        tmp_path, toml(type="EMAIL", content_type="text/html", body='<a href="{CF:x}">{ACCOUNT_IDD}</a>')
    )

    assert {"T12", "T13"} == {diagnostic.code for diagnostic in found if diagnostic.is_error}


JSON_VALUES = [
    "1",
    "-1",
    '"a"',
    '"a {ACCOUNT_ID} \\" b"',
    "{ACCOUNT_ID}",
    "{TOTAL_BALANCE}",
    '{"{CF:x}": {CF:x}}',
    '{"a": [{ACCOUNT_ID}, "{CF:x}"]}',
    '"{TOTAL_BALANCE}{CF:x}"',
]


@settings(max_examples=examples(250))
@given(
    values=st.lists(st.sampled_from(JSON_VALUES), max_size=5),
    slip=st.tuples(st.integers(0, 60), st.sampled_from(["", "", *'"{}[]:,1-\\ ', "{ACCOUNT_ID}"])),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.none(),
)
def test_a_body_that_passes_is_json_for_any_value(values: list[str], slip: tuple[int, str], value: str | None) -> None:
    """What T12 lets pass is parsed back whatever the values are, so that nothing needs to parse it again."""
    text = f"[{', '.join(values)}]"
    body = text[: slip[0]] + slip[1] + text[slip[0] :]
    segments, diagnostics = parse(body, ContentType.JSON, families=REPAYMENT)
    if any(diagnostic.is_error for diagnostic in diagnostics) or list(
        check_document(segments, ContentType.JSON, REPAYMENT)
    ):
        return
    fields = {"account": {"id": value, "totalBalance": None}, "customFields": {"LOAN:x": value}}
    result = render(
        Text(None, segments), Scope("loan_transaction", fields, ZoneInfo("UTC")), strict=False, limit_characters=1000
    )

    assert isinstance(result, Rendered)
    json.loads(result.body)
