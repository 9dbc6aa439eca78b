"""Links in HTML: whatever an event holds, they lead to where their author wrote; read by parsers that are not ours.

HTML is parsed by lexbor (selectolax) and Python's html.parser, addresses by ada, both by the standards of the WHATWG.
"""

import json
import re
import time
from collections.abc import Iterator
from email.utils import getaddresses
from html import escape
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import ada_url
import pytest
from selectolax.lexbor import LexborHTMLParser

from processor.domain.channel import ContentType
from processor.domain.diagnostic import Diagnostic
from processor.domain.event import Event
from processor.domain.message import FailedTemplate
from processor.domain.reasons import TemplateReason
from processor.domain.record import EventName
from processor.domain.template import CustomFieldPlaceholder, EscapeContext, Template
from processor.mapping.context import DraftRules
from processor.mapping.draft import Draft, draft_template
from processor.templates.html_scanner import place_placeholders
from processor.templates.load import SHIPPED, read_templates
from processor.templates.text import parse
from tests.support.builders import TENANT, make_event, schemas, templates_directory
from tests.support.laws import grows_linearly, size

SITE = "{CF:CLIENT:Site}"
FAMILIES = {"loan_transaction": EventName("LOAN_REPAYMENT")}
BASE = "https://base.example/mail/"

# Each element and attribute that leads or loads somewhere, with `@` for the address.
MARKUP = [
    "<a href='@'>x</a>",
    '<A\n HREF = "@" title="x>y">x</A>',
    '<a download ping="@" href="/x">x</a>',
    '<map><area href="@"></map>',
    '<link rel="stylesheet" href="@">',
    '<link rel="preload" imagesrcset="@ 1x, @ 2x">',
    '<img src="@">',
    '<img alt=a"b src="@">',
    '<img srcset="@ 1x,\n@ 2x">',
    '<img lowsrc="@">',
    '<img dynsrc="@">',
    '<img longdesc="@">',
    '<image src="@">',
    '<picture><source srcset="@ 100w"></picture>',
    '<iframe src="@"></iframe>',
    '<iframe longdesc="@"></iframe>',
    '<frameset><frame src="@"></frameset>',
    '<form action="@"></form>',
    '<button formaction="@">x</button>',
    '<input type="image" src="@">',
    '<input formaction="@">',
    '<video poster="@"></video>',
    '<video src="@"></video>',
    '<audio src="@"></audio>',
    '<audio><source src="@"></audio>',
    '<video><track src="@"></video>',
    '<embed src="@">',
    '<object data="@"></object>',
    '<object classid="@"></object>',
    '<object codebase="@"></object>',
    '<object code="@"></object>',
    '<object archive="@ @"></object>',
    '<object><param name="movie" value="@"></object>',
    '<applet code="@"></applet>',
    '<applet object="@"></applet>',
    '<applet archive="@, @"></applet>',
    '<html manifest="@">',
    '<head profile="@ @"></head>',
    '<body background="@">',
    '<table background="@"></table>',
    '<table><tr><td background="@">x</td></tr></table>',
    '<blockquote cite="@"></blockquote>',
    '<q cite="@"></q><p>x</p>',
    '<ins cite="@"></ins>',
    '<del cite="@"></del>',
    '<script src="@"></script>',
    '<bgsound src="@">',
    '<menuitem icon="@"></menuitem>',
    '<a urn="@">x</a>',
    '<a attributionsrc="@ @">x</a>',
    '<meta http-equiv="refresh" content="0; url=@">',
    "<meta content=\"5;URL='@'\" http-equiv=Refresh>",
    '<meta http-equiv="refresh" content="0,@">',
    '<svg><a href="@">x</a></svg>',
    '<svg><a xlink:href="@">x</a></svg>',
    '<svg><image href="@"/></svg>',
    '<svg><use xlink:href="@"/></svg>',
    '<svg><script href="@"></script></svg>',
    '<svg><a><set attributeName="href" to="@"/></a></svg>',
    '<svg><a><animate attributeName="xlink:href" from="@"/></a></svg>',
    '<svg><a><animate by="@" attributeName=href /></a></svg>',
    '<svg><a><animate values="@;@" attributeName="href"/></a></svg>',
    '<math><mi href="@">x</mi></math>',
    '<v:roundrect xmlns:v="urn:schemas-microsoft-com:vml" href="@">x</v:roundrect>',
    '<v:fill type="frame" src="@"/>',
    '<v:imagedata o:href="@"/>',
    '<v:imagedata o:althref="@"/>',
    '<form action-xhr="@"></form>',
    '<form verify-xhr="@"></form>',
    '<embed pluginspage="@">',
]

# Where in an address a value stands.
ADDRESSES = [
    "https://pay.example/loans/{}/pay",
    "https://pay.example/{}",
    "HTTPS://pay.example:8443/LN-{}?id={}",
    "https://pay.example/?mail={}",
    "https://pay.example?mail={}",
    "https://pay.example/p?a=1&amp;mail={}&amp;b=2",
    "https://pay.example/p?a=1&mail={}&b=2#{}",
    "https://pay.example/p#{}",
    "https://me@pay.example/{}{}/",
    "https&colon;&#47;&sol;pay.example&#x2f;{}?x=%20{}",
    "/pay/{}",
    "/?{}=1",
    "?a={}",
    "pay/v1.{}/{}",
]

VALUES = [
    "ines+loans@example.com",
    "VALUE",
    "evil.example",
    ".evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example\\x",
    "https://evil.example/",
    "javascript:alert(1)",
    "data:text/html,<script>",
    "@evil.example",
    ":80@evil.example",
    "?admin=1",
    "&admin=1",
    "&amp;admin=1",
    "#top",
    "a=b&c=d;e=f",
    "../../admin",
    "..\\..",
    "...",
    "%2e%2e",
    "%2e%2e%2fadmin",
    "%",
    "&#47;&sol;",
    ", https://evil.example/ 2x",
    " https://evil.example/\t",
    ";https://evil.example/",
    "\r\nhttps://evil.example/",
    "0;url=https://evil.example/",
    '"><script src=//evil.example>',
    "' onclick='f()",
    "\x00\x1f\x7f",
    "é 中文 \U0001f600",
    "\u202egro.live\u2028\ufeff",
    "+",
    "{ACCOUNT_ID}",
    "x" * 3000,
    "",
]


class Address(NamedTuple):
    """What an address leads to, as a WHATWG parser reads it; steps, parameters and fragment decoded."""

    protocol: str
    user: str
    host: str
    steps: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    fragment: str


def address(text: str) -> Address:
    """`text` as a browser takes it on a page at BASE."""
    url = ada_url.URL(text, base=BASE)
    return Address(
        protocol=url.protocol,
        user=url.username + url.password,
        host=url.host,
        steps=tuple(unquote(step) for step in url.pathname.split("/")),
        parameters=tuple(ada_url.URLSearchParams(url.search).items()),
        fragment=unquote(url.hash),
    )


class Tag(NamedTuple):
    """A tag as a parser reads it."""

    name: str
    attributes: tuple[tuple[str, str], ...]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tag] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        self.found.append(Tag(tag, tuple((name, value or "") for name, value in attrs)))


def tags_of(html: str) -> list[Tag]:
    """The tags of a document by lexbor, those that it adds included."""
    root = LexborHTMLParser(html).root
    assert root is not None
    return [
        Tag(str(node.tag), tuple((name, value or "") for name, value in node.attributes.items()))
        for node in root.traverse()
    ]


def addresses_of(html: str, attribute: str) -> list[str]:
    """The addresses in the one attribute of that name, which may hold several; the same by both parsers."""
    (value,) = [value for tag in tags_of(html) for name, value in tag.attributes if name == attribute]
    reader = _Tags()
    reader.feed(html)
    assert [value] == [
        value for tag in reader.found for name, value in tag.attributes if name.lower() == attribute.lower()
    ]
    if attribute == "content":
        found = re.fullmatch(r"[0-9][;,]\s*(?:url=)?('?)(.*)\1", value, re.IGNORECASE | re.DOTALL)
        assert found, value
        return [found[2]]
    if attribute in ("imagesrcset", "srcset", "archive", "profile", "attributionsrc", "ping"):
        return [part for part in re.split(r"[\s,]+", value) if not re.fullmatch(r"[0-9]+[xw]|", part)]
    return value.split(";") if attribute == "values" else [value]


def attribute_of(markup: str) -> str:
    """The name of the attribute that holds `@`, as lexbor gives it."""
    ((_, name),) = {(tag.name, name) for tag in tags_of(markup) for name, value in tag.attributes if "@" in value}
    return name


def template(body: str, **fields: str) -> str:
    """A template file with this body."""
    return (
        'id = "note"\nversion = 1\nname = "Note"\ntype = "EMAIL"\nevent = "LOAN_REPAYMENT"\ntarget = "LOANS"\n'
        'recipient = "CLIENT"\nsubscription = "OPT_OUT"\nsubject = "x"\n'
        + "".join(f"{name} = {value}\n" for name, value in fields.items())
        + f"body = '''\n{body}'''\n"
    )


def diagnostics(tmp_path: Path, body: str, **fields: str) -> list[Diagnostic]:
    """What is wrong with a template of this body, the missing sample aside."""
    directory = templates_directory(tmp_path, note=template(body, **fields))
    found = read_templates(directory, tenant=TENANT, schemas=schemas()).diagnostics
    return [diagnostic for diagnostic in found if diagnostic.message != "no sample"]


def load_bodies(tmp_path: Path, bodies: list[str]) -> list[Template]:
    """The templates of these bodies, loaded from files in which nothing is wrong."""
    for number, body in enumerate(bodies):
        text = template(body).replace('"note"', f'"note-{number:04}"').replace('"Note"', f'"Note {number}"')
        (tmp_path / f"note-{number:04}.toml").write_text(text)
    found = read_templates(tmp_path, tenant=TENANT, schemas=schemas())
    assert not [diagnostic for diagnostic in found.diagnostics if diagnostic.message != "no sample"]
    assert len(bodies) == len(found.renderable)
    return sorted(found.renderable, key=lambda each: each.id)


def site_event(value: str | None) -> Event:
    """An event with this value in {CF:CLIENT:Site}."""
    return make_event(customFields={"CLIENT:Site": value})


def draft_of(of: Template, event: Event) -> Draft | FailedTemplate:
    """What the template makes of the event, as `run` makes it."""
    result = draft_template(of, event, DraftRules())
    assert isinstance(result, Draft | FailedTemplate)
    return result


def body_of(of: Template, event: Event) -> str:
    """The rendered body."""
    result = draft_of(of, event)
    assert isinstance(result, Draft), result
    return result.rendered.body


NEXT = "<!-- next -->"


def corpus() -> Iterator[tuple[str, list[str]]]:
    """Each markup's attribute, with a body of all addresses in it."""
    for markup in MARKUP:
        yield attribute_of(markup), [markup.replace("@", pattern.replace("{}", SITE)) for pattern in ADDRESSES]


def is_redirected(html: str, attribute: str, pattern: str, value: str) -> bool:
    """Whether a link reads otherwise than with VALUE, but for the value itself. A lost or added link counts too."""
    try:
        read = [address(text) for text in addresses_of(html, attribute)]
    except (ValueError, AssertionError):
        return True
    plain = address(re.sub("&(amp|colon|sol|#47|#x2f);", _character, pattern).replace("{}", "VALUE"))

    def valued(text: str) -> str:
        return text.replace("VALUE", value)

    expected = plain._replace(
        steps=tuple(map(valued, plain.steps)),
        parameters=tuple((valued(name), valued(text)) for name, text in plain.parameters),
        fragment=valued(plain.fragment) if value or plain.fragment != "#VALUE" else "",
    )
    return not read or any(each != expected for each in read)


def _character(found: re.Match[str]) -> str:
    return {"amp": "&", "colon": ":"}.get(found[1], "/")


@pytest.mark.corpus
def test_no_value_redirects_a_link(tmp_path: Path) -> None:
    """In each attribute that leads somewhere, with each hostile value: scheme, host, steps and parameters are the
    author's, and the value is read back as it was."""
    links = list(corpus())
    templates = load_bodies(tmp_path, [NEXT.join(bodies) for _, bodies in links])
    events = [(value, site_event(value)) for value in VALUES]
    checked, astray = 0, []
    for (attribute, _), of in zip(links, templates, strict=True):
        for value, event in events:
            for html, pattern in zip(body_of(of, event).split(NEXT), ADDRESSES, strict=True):
                checked += 1
                if is_redirected(html, attribute, pattern, value):
                    astray.append(html)

    assert [] == astray[:5]
    assert checked == len(MARKUP) * len(ADDRESSES) * len(VALUES)
    assert checked >= 300


def test_the_corpus_detects_values_that_are_only_escaped() -> None:
    """The check above can fail: with values that are escaped for HTML and not encoded, each attribute and each address
    goes astray with some value."""
    found = [
        (attribute, pattern)
        for (attribute, bodies), value in product(corpus(), ("a+b&c=d#e/", " https://evil.example/\t"))
        for html, pattern in zip(bodies, ADDRESSES, strict=True)
        if is_redirected(html.replace(SITE, escape(value)), attribute, pattern, value)
    ]

    assert {attribute for attribute, _ in corpus()} == {attribute for attribute, _ in found}
    assert set(ADDRESSES) == {pattern for _, pattern in found}


# ------------------------------------------------------------------------------------------------------ what is refused

REFUSED = [  # a body with a value at `@`, and a value that leads somewhere else there, or adds something
    ('<a href="@">x</a>', "https://evil.example/"),
    ('<a href="@">x</a>', "javascript:alert(1)"),
    ('<a href=" \n@/pay">x</a>', "//evil.example"),
    ('<a href="@://pay.example/">x</a>', "ftp"),
    ('<a href="https:@">x</a>', "//evil.example"),
    ('<a href="https:/@">x</a>', "/evil.example"),
    ('<a href="https://@/pay">x</a>', "evil.example"),
    ('<a href="https://@.pay.example/">x</a>', "evil.example/"),
    ('<a href="https://pay.example@">x</a>', ".evil.example"),
    ('<a href="https://pay.example@/pay">x</a>', "@evil.example"),
    ('<a href="https://pay.example:@/">x</a>', "80@evil.example"),
    ('<a href="https://me:@&#64;pay.example/">x</a>', "x@evil.example/"),
    ('<a href="https&colon;//@/">x</a>', "evil.example"),
    ('<a href="https:&#47;&sol;@/">x</a>', "evil.example"),
    ('<a href="ht&Tab;tps://@/">x</a>', "evil.example"),
    ('<a href="//@/">x</a>', "evil.example"),
    ('<a href="/@">x</a>', "/evil.example"),
    ('<a href="/&#9;@">x</a>', "/evil.example"),
    ('<a href="\\@">x</a>', "\\evil.example"),
    ('<a href="/@/login">x</a>', ""),
    ('<a href="@pay:1">x</a>', "tel:"),
    ('<a href="pay@">x</a>', ":1"),
    ('<a href="java@">x</a>', "script:alert(1)"),
    ('<a href="java&#115;cript:@">x</a>', "alert(1)"),
    ('<a href="javascript://pay.example/@">x</a>', "\nalert(1)"),
    ('<a href="data:text/html,@">x</a>', "<script>alert(1)</script>"),
    ('<a href="vbscript:@">x</a>', "MsgBox(1)"),
    ('<a href="blob:@">x</a>', "https://evil.example/"),
    ("<a href=https://pay.example/@>x</a>", "x onclick=alert(1)"),
    ("<a href=@>x</a>", "https://evil.example/"),
    ('<a x=y="@">x</a>', "1 onclick=alert(1)"),
    ('<base href="https://pay.example/@/"><a href="pay">x</a>', ".."),
    ('<base href="@"><a href="pay">x</a>', "https://evil.example/"),
    ('<img srcset="https://pay.example/a 1x, @">', "https://evil.example/"),
    ('<img srcset="https://pay.example/a @x">', "1x, https://evil.example/ 2"),
    ('<a ping="https://pay.example/a @">x</a>', "https://evil.example/"),
    ('<img lowsrc="@">', "https://evil.example/"),
    ('<img longdesc="@">', "https://evil.example/"),
    ('<meta http-equiv="refresh" content="0; url=@">', "https://evil.example/"),
    ('<meta http-equiv=refresh content="0;@">', "https://evil.example/"),
    ('<meta content="@" http-equiv="Refresh">', "0;url=https://evil.example/"),
    ('<meta content="0;url=https://@/" http-equiv="@">', "refresh"),
    ('<svg><a><set attributeName="href" to="@"/>x</a></svg>', "https://evil.example/"),
    ('<svg><a><animate to="@" attributeName=xlink:href />x</a></svg>', "https://evil.example/"),
    ('<svg><a><animate values="/pay;@" attributeName="href"/>x</a></svg>', "https://evil.example/"),
    ('<svg><a xlink:href="@">x</a></svg>', "https://evil.example/"),
    ('<svg><title><a href="@">x</a></title></svg>', "https://evil.example/"),
    ('<svg><svg></svg><title><a href="@">x</a></title></svg>', "https://evil.example/"),
    ('<math></svg><title><a href="@">x</a></title></math>', "https://evil.example/"),
    ("</ <title>x<b @>x</b>", "onclick"),
    ("</3 <textarea>x<b @>x</b>", "onclick"),
    ("</><b @>x</b>", "onclick"),
    ('<svg><rect fill="@"/></svg>', "url(https://evil.example/#a)"),
    ('<svg><rect style="mask:@"/></svg>', "url(https://evil.example/)"),
    ('<svg><rect mask="url(@)"/></svg>', "https://evil.example/"),
    ('<v:fill src="@"/>', "https://evil.example/"),
    ('<td><v:imagedata o:href="@"/></td>', "https://evil.example/"),
    ('<a href="https://pay.example/?a=1&@">x</a>', "copy"),
    ('<a href="https://pay.example/&#4@;evil">x</a>', "7"),
    (f'<a href="https://pay.example/&#{"0" * 5000}4@;evil">x</a>', "7"),
    ('<a href="https://pay.example/loans/%2@/pay">x</a>', "e."),
    ('<a href="https://pay.example/loans/&percnt;&#10;@/pay">x</a>', "2e."),
    ('<a href="https://pay.example/loans/.@/pay">x</a>', "."),
    ('<a href="https://pay.example/loans/@%2E/pay">x</a>', "."),
    ('<a href="mailto:help&#64;bank.example?@">x</a>', "bcc=copy@evil.example"),
    ('<a href="mailto:help&#64;bank.example?@=x">x</a>', "bcc"),
    ('<a href="mailto:help&#64;bank.example?attach=@">x</a>', "/etc/passwd"),
    ('<a href="sms:+351210000000?@">x</a>', "body=yes"),
]


def shape(html: str) -> list[Any]:
    """What a reader of the document could do by it: tags, attributes' names, what each value leads to."""
    found: list[Any] = []
    base = BASE
    for tag in tags_of(html):
        attributes = dict(tag.attributes)
        if tag.name == "meta":
            refresh = re.fullmatch(r"[0-9]+[;,] *(?:url=)?(.*)", attributes.pop("content", ""), re.IGNORECASE)
            attributes = {"content": refresh[1]} if refresh and attributes["http-equiv"].lower() == "refresh" else {}
        if tag.name == "base":
            base = ada_url.join_url(BASE, attributes["href"])
        found.extend((tag.name, name, *_target_of(value, base)) for name, value in attributes.items())
    return found


def _target_of(value: str, base: str) -> tuple[Any, ...]:
    try:
        url = ada_url.URL(value, base=base)
    except ValueError:
        return (value,)
    if url.protocol not in ("http:", "https:"):
        return (value,)
    parameters = [name for name, _ in ada_url.URLSearchParams(url.search).items()]
    return url.protocol, url.host, url.pathname.count("/"), parameters


@pytest.mark.parametrize(("body", "value"), REFUSED)
def test_a_value_that_could_redirect_a_link_is_refused(tmp_path: Path, body: str, value: str) -> None:
    """T12 has each of these, for a value of any kind; and a parser shows of each what plain substitution would do."""
    plain = body.replace("&#64;", "\x1a")
    harmful, harmless = (plain.replace("@", escape(each)).replace("\x1a", "@") for each in (value, "VALUE"))
    found = diagnostics(tmp_path, plain.replace("@", SITE).replace("\x1a", "&#64;"))

    assert ["T12"] == [diagnostic.code for diagnostic in found if diagnostic.is_error], found
    assert found[0].message.startswith(f"{SITE} stands "), found
    assert shape(harmful) != shape(harmless)


@pytest.mark.parametrize(
    "placeholder", ["{TOTAL_BALANCE}", "{TRANSACTION_DATE}", "{REPAYMENT_SCHEDULE}", "{RECIPIENT_NAME}"]
)
@pytest.mark.parametrize(
    "pattern", ["{}", "https://{}/", "https://10.0.0.{}/", "https://pay.example:{}/", "/{}", "tel{}:1"]
)
def test_an_address_cannot_begin_with_a_value(tmp_path: Path, placeholder: str, pattern: str) -> None:
    """A number is a host, 120.5 an address of one, and a table holds texts."""
    (found,) = diagnostics(tmp_path, f'<a href="{pattern.format(placeholder)}">x</a>')

    assert found.message.startswith(f"{placeholder} stands where it would choose what a link leads to")


@pytest.mark.parametrize(
    "address", ["bank://pay/@", "whatsapp://send?text=@", "skype:@?call", "geo:@", "DATA:image/png;base64,@", "urn:x:@"]
)
def test_other_schemes_take_no_values(tmp_path: Path, address: str) -> None:
    """The diagnostic says so, and not that a scheme and a host are missing, which are there."""
    (found,) = diagnostics(tmp_path, f'<a href="{address.replace("@", SITE)}">x</a>')

    assert found.message.startswith(f"{SITE} stands where an address has another scheme than http, https, mailto, ")


@pytest.mark.parametrize("address", ["//pay.example/@", "https:@", "https:/pay.example/@", "https://@", "pay:8080@"])
def test_addresses_without_a_scheme_or_a_host(tmp_path: Path, address: str) -> None:
    (found,) = diagnostics(tmp_path, f'<a href="{address.replace("@", SITE)}">x</a>')

    assert found.message.startswith(f"{SITE} stands where ")
    assert ("another scheme" in found.message) == address.startswith("pay:")


@pytest.mark.parametrize(
    "body",
    [
        '<p width={N} title="{T}">x</p>',
        '<p width={N}{N}\n title="{T}">x</p>',
        "<p title = {N} lang='{T}'>x</p>",
        '<img height={N} alt="{T}" src="cid:a">',
        '<a name={N} href="https://pay.example/{T}">x</a>',
    ],
)
def test_a_missing_unquoted_number_swallows_no_attribute(tmp_path: Path, body: str) -> None:
    """Without quotes the next attribute would be its value, and a text within that would add attributes."""
    found = diagnostics(tmp_path, body.replace("{N}", "{TOTAL_BALANCE}").replace("{T}", SITE))
    value = 'x onclick=alert(1) href="https://evil.example/" y'

    assert found
    assert all(
        diagnostic.message.startswith("{TOTAL_BALANCE} is all that an attribute without quotes has")
        for diagnostic in found
    )
    assert shape(body.replace("{N}", "").replace("{T}", escape(value))) != shape(
        body.replace("{N}", "1").replace("{T}", "VALUE")
    )


def test_a_missing_number_at_the_end_or_beside_text_is_allowed(tmp_path: Path) -> None:
    """It swallows nothing there."""
    body = "<img title=\"{T}\" height={N}><td width={N}px title='{T}' style=width:{N} align=right width={N} >"
    assert [] == diagnostics(tmp_path, body.replace("{N}", "{TOTAL_BALANCE}").replace("{T}", SITE))


@pytest.mark.parametrize("body", ["<script>{REPAYMENT_SCHEDULE}</script>", '<p style="{REPAYMENT_SCHEDULE}">x</p>'])
def test_a_table_is_refused_where_a_text_is(tmp_path: Path, body: str) -> None:
    """Where a text cannot be escaped, a table cannot either."""
    assert ["T12"] == [diagnostic.code for diagnostic in diagnostics(tmp_path, body)]


@pytest.mark.parametrize("body", ["<script>'</\u017fcript >'; {T}</script>", "<style></\u017ftyle>{T}</style>"])
def test_lookalike_letters_end_no_script(tmp_path: Path, body: str) -> None:
    """A long s is an s where case is ignored, but no tag's name has one."""
    assert ["T12"] == [diagnostic.code for diagnostic in diagnostics(tmp_path, body.replace("{T}", SITE))]


@pytest.mark.parametrize("body", ["<script>{CLIENT_NAMEE}</script>", '<a href="{CLIENT_NAMEE}">x</a>'])
def test_an_unknown_name_in_an_unsafe_place(tmp_path: Path, body: str) -> None:
    """Is a diagnostic like any other (it ended the command)."""
    assert "T13" in {diagnostic.code for diagnostic in diagnostics(tmp_path, body)}


ALLOWED = [
    '<a href="https://pay.example/">{SITE}</a><img src="cid:logo@bank.example" alt="{SITE}">',
    '<a href="https://click.mail.example/track?u=https%3A%2F%2Fpay.example%2F&amp;id={SITE}&utm_source=mail">x</a>',
    '<a href="https://pay.example:8443?{SITE}">x</a><a href="http://127.0.0.1/#{SITE}">x</a>',
    '<a href="mailto:unsubscribe@bank.example?subject=unsubscribe%20{SITE}&amp;body=Please%20stop:%20{SITE}">x</a>',
    '<a href="mailto:?to={SITE}&cc=help@bank.example">x</a><a href="MAILTO:{SITE}">x</a>',
    '<a href="mailto:loans+{SITE}@bank.example,help@bank.example">x</a>',
    '<a href="tel:{SITE}">x</a><a href="tel:+351-210-000-000;ext={SITE}">x</a>',
    '<a href="sms:{SITE}?body=STOP%20{SITE}">x</a><a href="sms:+351210000000&body={SITE}">x</a>',
    '<img src="cid:{SITE}" width="{TOTAL_BALANCE}" height={TOTAL_BALANCE}>',
    '<meta name="description" content="{SITE}"><meta content="{SITE}" property="og:title"><meta charset="utf-8">',
    '<meta http-equiv="Content-Type" content="text/html; charset=UTF-8"><meta name="viewport" content="width=100">',
    '<svg viewBox="0 0 9 9"><rect width="{TOTAL_BALANCE}" fill="#fff"/><text fill="red">{SITE}</text></svg>',
    '<svg><rect><animate attributeName="width" from="0" to="{SITE}" dur="1s"/></rect></svg>',
    '<title>{SITE}</title><svg><animateMotion to="{SITE}"/><animate attributeName="opacity" values="0;{SITE}"/></svg>',
    '<img srcset="https://pay.example/a;v={SITE} 1x">',
    '<p title="https://{SITE}/" data-src="{SITE}" id="{SITE}" lang=\'{SITE}\' dir=ltr>see https://{SITE}/</p>',
    '<a name="{SITE}" href="#{SITE}" target="{SITE}" download="{SITE}" rel=noopener>x</a><a href="?">{SITE}</a>',
    '<table role=presentation cellpadding=0 bgcolor="{SITE}"><tr><td align=center>{SITE}</table>',
    '<!--[if mso]><v:rect href="https://pay.example/" style="width:9px"><![endif]-->{SITE}<![if !mso]>x<![endif]>',
    '<input value="{SITE}" name="x" placeholder="{SITE}"><a href="pay/{SITE}"></a><a href="./{SITE}"></a>',
    '<a href="https://pay.example/loans/{SITE}...{SITE}/v1.{SITE}/x">x</a><a href="/pay;v={SITE}">x</a>',
    '<a href="https://pay.example/?a=1&amp;{SITE}=2&amp;b={SITE}&c=%20{SITE}&d=100%25{SITE}">x</a>',
    "<style>a { color: red }</style><title>{SITE}</title><a href='https://pay.example/it&#39;s/{SITE}'>x</a>",
    '<a href="https://pay.example/{SITE}" href="https://pay.example/">x</a',
    f'<a href="https://pay.example/&#{"1" * 5000};&#x{"0" * 5000}41;&bogus;&copy;&amp;/{{SITE}}">x</a>',
]


@pytest.mark.parametrize("body", ALLOWED)
def test_usual_mail_is_not_refused(tmp_path: Path, body: str) -> None:
    """No false alarm: what e-mails are made of, with values where they do no harm."""
    assert [] == diagnostics(tmp_path, body.replace("{SITE}", SITE))


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ("Pay at https://{SITE}/pay", True),
        ("HTTP://pay.example{SITE}", True),
        ("(https://me@{SITE})", True),
        ("https://pay.example/{SITE}", False),
        ("https://pay.example?a={SITE}", False),
        ("your shop, https:// {SITE}", False),
        ("{SITE}", False),
    ],
)
def test_a_host_in_plain_text(tmp_path: Path, body: str, warned: bool) -> None:
    """A value that would be the host of an address in plain text is a warning: phones and mail programs make a link."""
    found = diagnostics(tmp_path, body.replace("{SITE}", SITE), content_type='"text/plain"')

    assert [("T12", True)] * warned == [(diagnostic.code, diagnostic.is_warning) for diagnostic in found]
    assert all(diagnostic.message.startswith(f"{SITE} stands in the host of an address") for diagnostic in found)


# ---------------------------------------------------------------------------------------------------- what stands there


@pytest.mark.parametrize(
    ("pattern", "context"),
    [
        ("https://pay.example/{}", EscapeContext.HTML_STEP),
        ("https://pay.example/{}{}/x", EscapeContext.HTML_STEP),
        ("https://pay.example/LN-{}.pdf", EscapeContext.HTML_URL),
        ("https://pay.example/?a={}/", EscapeContext.HTML_URL),
        ("mailto:{}", EscapeContext.MAIL_ADDRESS),
        ("mailto:a@b.example,{}?cc=c@d.example", EscapeContext.MAIL_ADDRESS),
        ("mailto:{}@b.example", EscapeContext.MAIL_ADDRESS_PART),
        ("mailto:x%40{}", EscapeContext.MAIL_ADDRESS_PART),
        ("mailto:a@b.example?%43C={}", EscapeContext.MAIL_ADDRESS),
        ("mailto:a@b.example?subject={}", EscapeContext.MAIL_HEADER),
        ("mailto:a@b.example?subject=x&amp;body=a?b={}", EscapeContext.MAIL_BODY),
        ("tel:{}", EscapeContext.PHONE),
        ("sms:{},{}", EscapeContext.PHONE),
        ("sms:1?body={}", EscapeContext.HTML_URL),
        ("cid:{}", EscapeContext.HTML_URL),
    ],
)
def test_escape_contexts(pattern: str, context: EscapeContext) -> None:
    """Each place in an address has its own way to be written."""
    body, wrong = parse(f'<a href="{pattern.replace("{}", SITE)}">', ContentType.HTML, families=FAMILIES)
    placed, misplaced = place_placeholders(body)

    assert () == wrong
    assert () == misplaced
    assert {context} == {segment.context for segment in placed if isinstance(segment, CustomFieldPlaceholder)}


@pytest.mark.parametrize("value", [".", ".."])
@pytest.mark.parametrize(
    "pattern", ["https://pay.example/loans/{}/pay", "/pay/{}", "/pay/{}?a=b", "pay/{}{}", "/p\\{}"]
)
def test_a_dot_segment_fails_the_template(tmp_path: Path, pattern: str, value: str) -> None:
    """A browser takes `..` for a step back, encoded or not, so there is no link for such a value."""
    (of,) = load_bodies(tmp_path, [f'<a href="{pattern.replace("{}", SITE)}">x</a>'])
    result = draft_of(of, site_event(value))

    assert isinstance(result, FailedTemplate)
    assert TemplateReason.OTHER is result.reason
    assert f"{SITE} in a step of a link's path is `.` or `..`, which lead to another path" == result.detail
    for encoded in (value, value.replace(".", "%2e")):
        assert len(address("/loans/x/pay").steps) > len(address(f"/loans/{encoded}/pay").steps)


@pytest.mark.parametrize("pattern", ["/pay/LN-{}/x", "/pay/x?a={}", "/pay/#{}", "?{}=1"])
def test_dots_elsewhere_are_text(tmp_path: Path, pattern: str) -> None:
    """Beside other characters, and behind the path, they are kept."""
    (of,) = load_bodies(tmp_path, [f'<a href="{pattern.replace("{}", SITE)}">x</a>'])

    assert [pattern.replace("{}", "..")] == addresses_of(body_of(of, site_event("..")), "href")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("ines+loans@example.com", "mailto:ines%2Bloans@example.com"),
        ("zoë@bücher.example", "mailto:zo%C3%AB@b%C3%BCcher.example"),
        ("a/b?c=d&e#f%2C@x.example", "mailto:a%2Fb%3Fc%3Dd%26e%23f%252C@x.example"),
        (" ines@example.com ", "mailto:ines@example.com"),
        ("", "mailto:"),
        (None, "mailto:"),
    ],
)
def test_a_mail_link_has_one_recipient(tmp_path: Path, value: str | None, written: str) -> None:
    """An address is written with a bare `@`, and read back as one recipient, without a header."""
    (of,) = load_bodies(tmp_path, [f'<a href="mailto:{SITE}">x</a>'])
    (link,) = addresses_of(body_of(of, site_event(value)), "href")
    parts = urlsplit(link)

    assert written == link
    assert "" == parts.query + parts.fragment
    assert [("", value.strip())] == getaddresses([unquote(parts.path)]) if value else True


@pytest.mark.parametrize(
    "value",
    [
        "a@x.example,copy@evil.example",
        "a@x.example; copy@evil.example",
        "a@x.example copy@evil.example",
        "a@x.example\r\nBcc: copy@evil.example",
        "Ines <copy@evil.example>",
        '"a,b"@x.example',
        "friends:a@x.example",
        "a@x.example@evil.example",
        "a@x.example(copy)",
        "a@x.example\u00a0",
    ],
)
@pytest.mark.parametrize("pattern", ["mailto:{}", "mailto:a@b.example?cc={}", "mailto:?subject=x&amp;TO={}"])
def test_a_value_adds_no_recipient(tmp_path: Path, pattern: str, value: str) -> None:
    """What a mail program would read as more than an address, encoded or not, fails the template."""
    (of,) = load_bodies(tmp_path, [f'<a href="{pattern.replace("{}", SITE)}">x</a>'])
    result = draft_of(of, site_event(value))

    assert isinstance(result, FailedTemplate)
    assert TemplateReason.OTHER is result.reason
    assert f"{SITE} in the address of a mailto: link is not one address" == result.detail


def test_a_part_of_an_address_has_no_at(tmp_path: Path) -> None:
    """Beside a fixed domain a value is no whole address: which of two domains counts is the program's choice."""
    (of,) = load_bodies(tmp_path, [f'<a href="mailto:{SITE}@bank.example">x</a>'])

    assert '<a href="mailto:ines.d%2Ba@bank.example">x</a>' == body_of(of, site_event("ines.d+a")).strip()
    assert isinstance(draft_of(of, site_event("ines@evil.example")), FailedTemplate)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_adds_no_header(tmp_path: Path, value: str) -> None:
    """A value in subject and body adds no header; it is read back whole, but for line ends (CRLF in a body by RFC 6068,
    a blank in a subject)."""
    pattern = f"mailto:help@bank.example?subject=Re: {SITE}&amp;body={SITE}&cc=x@bank.example"
    (of,) = load_bodies(tmp_path, [f'<a href="{pattern}">x</a>'])
    (link,) = addresses_of(body_of(of, site_event(value)), "href")
    parts = urlsplit(link)
    headers = parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)

    assert "help@bank.example" == parts.path
    assert "" == parts.fragment
    assert [
        ("subject", "Re: " + re.sub(r"[\x00-\x1f\x7f\u2028]", " ", value)),
        ("body", re.sub("\r\n|\r|\n", "\r\n", value)),
        ("cc", "x@bank.example"),
    ] == headers


@pytest.mark.parametrize("pattern", ["tel:{}", "tel:+351;ext={}", "sms:{}?body=x", "sms:{},+351"])
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("+351 210-000.000", "+351-210-000.000"),
        ("(030)\u00a0123/456", "(030)-123-456"),
        ("", ""),
        ("+351;ext=9", None),
        ("+351;phone-context=evil.example", None),
        ("112,9", None),
        ("*#06#", None),
        ("+351?body=yes", None),
        ("+351&body=yes", None),
        ("1+2", None),
        ("p1", None),
        ("\t1", None),
        ("\u0661", "1"),
        ("(+351) 912 345 678 ", "+351)-912-345-678"),
        ("+ 351\u2011912\uff0d345", "+-351-912-345"),
        ("\uff0b\uff13\uff15\uff11", "+351"),
        ("\u00b2", None),
        ("\u2460", None),
        ("1\u202e2", None),
        ("+351 + 912", None),
        ("+49 (0)30 123456", "+49-30-123456"),
        ("+49\uff080\uff0930 1", "+4930-1"),
        ("(0)30 123456", "(0)30-123456"),
    ],
)
def test_numbers_to_dial(tmp_path: Path, pattern: str, value: str, written: str | None) -> None:
    """Digits and visual separators (RFC 3966); whatever a dialler could take for more fails the template."""
    (of,) = load_bodies(tmp_path, [f'<a href="{pattern.replace("{}", SITE)}">x</a>'])
    result = draft_of(of, site_event(value))

    if written is None:
        assert isinstance(result, FailedTemplate)
        assert f"{SITE} in a tel: or sms: link is no phone number" == result.detail
    else:
        assert isinstance(result, Draft)
        assert [pattern.replace("{}", written)] == addresses_of(result.rendered.body, "href")


@pytest.mark.parametrize(
    ("placeholder", "expected"),
    [
        ("{TRANSACTION_AMOUNT}", "218.24"),
        ("FORMAT{TRANSACTION_AMOUNT,numericPattern=+#,##0.00}", "+218.24"),
        ("FORMAT_DATE{TRANSACTION_DATE,datePattern=dd/MM/yyyy}", "14/03/2026"),
        ("{OCCURRED_AT}", "2026-03-14T09:26:53Z"),
        ("{CF:LOAN:Insured}", "true"),
        ("{CF:LOAN:Risk Score}", "0.83"),
        ("{RECIPIENT_EMAIL_ADDRESS}", "ines+loans@example.com"),
        ("{RECIPIENT_NAME}", "Ines Duarte"),
    ],
)
def test_a_value_of_each_type_is_read_back(tmp_path: Path, placeholder: str, expected: str) -> None:
    """As text has it, in path, query and fragment; row E of the public reports is the address among them."""
    (of,) = load_bodies(
        tmp_path, [f'<a href="https://pay.example/{placeholder}?mail={placeholder}#{placeholder}">x</a>']
    )
    custom = {"LOAN:Insured": True, "LOAN:Risk Score": {"decimal": "0.83"}}
    html = body_of(of, make_event(client__emailAddress="ines+loans@example.com", customFields=custom))
    (link,) = addresses_of(html, "href")
    read = address(link)

    assert ("https:", "pay.example") == (read.protocol, read.host)
    assert ("", expected) == read.steps
    assert (("mail", expected),) == read.parameters
    assert f"#{expected}" == read.fragment


def test_digits_in_an_address_are_0_to_9(tmp_path: Path) -> None:
    """Whatever the language of the text: systems read an address. The subject of a mail is for people."""
    amount = "FORMAT{TRANSACTION_AMOUNT,numericPattern=0.00}"
    body = f'<a href="https://pay.example/{amount}?a={amount}">{amount}</a><a href="mailto:?subject={amount}">x</a>'
    assert [] == diagnostics(tmp_path, body, default_locale='"fa"')
    (of,) = read_templates(tmp_path, tenant=TENANT, schemas=schemas()).renderable
    first, second = [dict(tag.attributes)["href"] for tag in tags_of(body_of(of, site_event("x"))) if tag.name == "a"]

    assert "https://pay.example/218.24?a=218.24" == first
    assert "mailto:?subject=۲۱۸٫۲۴" == unquote(second)


def test_a_table_is_one_parameter(tmp_path: Path) -> None:
    """Rows and cells are read back as plain text has them, in one parameter."""
    (of,) = load_bodies(tmp_path, ['<a href="https://pay.example/?plan={REPAYMENT_SCHEDULE}&amp;b=2">x</a>'])
    (link,) = addresses_of(body_of(of, site_event("x")), "href")
    (name, plan), second = address(link).parameters

    assert ("plan", ("b", "2")) == (name, second)
    assert 1 < len(plan.split("\t"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<a href="{PASSWORD_URL}">', "https://portal.example/first?for=a&code=b+c"),
        ('<a href=" {PASSWORD_URL}#{RECIPIENT_NAME}">', " https://portal.example/first?for=a&code=b+c#NAME"),
        (
            '<a href="https://track.example/?u={PASSWORD_URL}">',
            "https://track.example/?u=https%3A%2F%2Fportal.example%2Ffirst%3Ffor%3Da%26code%3Db%2Bc",
        ),
        ('<a href="{PASSWORD_URL}/{RECIPIENT_NAME}">', None),
        ('<a href="{PASSWORD_URL}{RECIPIENT_NAME}">', None),
        ('<a href="{PASSWORD_URL}&amp;x={RECIPIENT_NAME}">', None),
        ('<a href="x{PASSWORD_URL}">', None),
        ('<a href="javascript:{PASSWORD_URL}">', None),
        ('<base href="{PASSWORD_URL}">', None),
    ],
)
def test_a_value_may_be_a_whole_address_of_the_bank(tmp_path: Path, body: str, expected: str | None) -> None:
    """{PASSWORD_URL} may be a whole address; a value behind it stands behind a fixed `?`, `#` or path of its own."""
    (tmp_path / "note.toml").write_text(
        template(body).replace("LOAN_REPAYMENT", "PORTAL_ACTIVATED").replace('"LOANS"', '"CLIENT"')
    )
    found = read_templates(tmp_path, tenant=TENANT, schemas=schemas())
    wrong = [diagnostic.code for diagnostic in found.diagnostics if diagnostic.message != "no sample"]
    if expected is None:
        assert wrong
        assert {"T12"} == set(wrong)
        return
    url = "https://portal.example/first?for=a&code=b+c"
    event = make_event(json.loads((SHIPPED / "events" / "PORTAL_ACTIVATED.json").read_text()), passwordUrl=url)
    html = body_of(found.renderable[0], event)

    assert [] == wrong
    assert [expected.replace("NAME", quote(event.fields["client"]["fullName"]))] == addresses_of(html, "href")


@pytest.mark.corpus
@pytest.mark.parametrize(
    "unit",
    [
        '<a href="https://a.example/',
        "<a href='",
        "<a b",
        "<a b=",
        "<a {T}",
        "<a b={T}",
        " content='{T}'",
        " http-equiv=a content='{T}'",
        " to='{T}'",
        "<a href='&#",
        "<!--",
        "<![CDATA[",
        "<title>",
        "<svg><title>",
        "</",
        "<",
        "&",
        "&amp",
        "%2",
        "=",
        "/",
        ",",
        "{T}",
        "/{T}",
        "{T}h",
    ],
)
@pytest.mark.parametrize(
    "begin",
    ["", "<a href='https://a.example/", "<img srcset='", "<a ", "<a href=", "<a href='mailto:", "<meta", "<set"],
)
def test_work_is_linear(begin: str, unit: str) -> None:
    """Many unfinished constructs, with values between them, take a time that grows no faster than the body."""
    families = {"loan_transaction": EventName("LOAN_REPAYMENT")}
    count = size(8_000)
    part, text = (
        parse(begin + unit.replace("{T}", SITE) * repeats, ContentType.HTML, families=families)[0]
        for repeats in (count // 8, count)
    )

    assert grows_linearly(place_placeholders, part, text, factor=24, least_s=0.001)


def test_a_reference_of_thousands_of_digits_is_read(tmp_path: Path) -> None:
    """Python reads no such number; in an encoding it is no reason to end the command either."""
    assert ["T12"] == [
        diagnostic.code for diagnostic in diagnostics(tmp_path, f'<meta charset="&#{"1" * 5000};">{SITE}')
    ]


@pytest.mark.corpus
@pytest.mark.parametrize(
    "pattern", ["tel:{}", "mailto:{}", "mailto:{}@b.example", "mailto:?subject={}", "/p/{}", "?a={}"]
)
@pytest.mark.parametrize("unit", ["(", "1", "( ", "+", "-", ".", "@", "a", "/", "\u0661", "\n"])
def test_a_long_value_in_a_link(tmp_path: Path, pattern: str, unit: str) -> None:
    """Takes a time linear in its length, also where it ends in what no link can have."""
    (of,) = load_bodies(tmp_path, [f'<a href="{pattern.replace("{}", SITE)}">x</a>'])
    event = site_event(unit * (400_000 // len(unit)) + ",")
    start = time.process_time()
    draft_of(of, event)

    assert time.process_time() - start < 2


@pytest.mark.corpus
@pytest.mark.parametrize("unit", ["<", "< ", "</", "<!", "<a ", "<a='", "<a b=c>", "<!-->", "&", "%"])
def test_the_largest_body_is_read_in_seconds(unit: str) -> None:
    """900 KB of it; a scan that copies what is left at each `<` takes minutes on a slow machine."""
    start = time.process_time()
    place_placeholders((unit * (900_000 // len(unit)),))

    assert time.process_time() - start < 10
