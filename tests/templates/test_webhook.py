"""A webhook's settings: rules T14 to T16, as their author reads them, and addresses as they are rendered."""

import json
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.diagnostic import Diagnostic
from processor.domain.reasons import TemplateReason
from processor.domain.record import EventName
from processor.domain.template import EscapeContext, Text
from processor.mapping.render import Rendered, RenderFailure, render
from processor.mapping.values import Scope
from processor.templates.load import read_templates
from processor.templates.policy import TemplatePolicy
from processor.templates.text import parse
from processor.templates.webhook import RESERVED_HEADERS, check_url
from tests.support.builders import TENANT, schemas, templates_directory

URL = "https://hooks.example.com/loans/{ACCOUNT_ID}"
REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}


def toml(*, without: tuple[str, ...] = (), **webhook: Any) -> str:
    """A good WEB_HOOK template; `webhook` in its table, where the first field stands in line 11."""
    fields = {"url": URL, **webhook}
    lines = [f"{name} = {as_toml(value)}" for name, value in fields.items() if name not in without]
    return (
        'id = "note"\nversion = 1\nname = "Note"\ntype = "WEB_HOOK"\nevent = "LOAN_REPAYMENT"\ntarget = "LOANS"\n'
        'subscription = "OPT_OUT"\ncontent_type = "application/json"\nbody = "{ACCOUNT_ID}"\n[webhook]\n'
    ) + "\n".join(lines)


def as_toml(value: Any) -> str:
    """A value as TOML spells it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {json.dumps(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def diagnostics(tmp_path: Path, text: str, *, allow_http: bool = False) -> list[Diagnostic]:
    """What is wrong with one file, the missing sample aside."""
    directory = templates_directory(tmp_path, note=text)
    found = read_templates(
        directory, tenant=TENANT, schemas=schemas(), policy=TemplatePolicy(allow_http=allow_http)
    ).diagnostics
    return [diagnostic for diagnostic in found if diagnostic.message != "no sample"]


def test_a_valid_webhook(tmp_path: Path) -> None:
    """With all that may be said of it, nothing is wrong."""
    text = toml(
        request_type="PATCH",
        headers={"X-Source": "bank", "Accept": "*/*"},
        authorization="BASIC_AUTHORIZATION",
        username="bank",
        password_env="HOOK_PASSWORD",
    )

    assert [] == diagnostics(tmp_path, text)


BASIC: dict[str, Any] = {"authorization": "BASIC_AUTHORIZATION", "username": "a", "password_env": "B"}


@pytest.mark.parametrize(
    ("text", "rule", "what", "line", "hint"),
    [
        (
            toml().partition("[webhook]")[0],
            "T14",
            "[webhook] is missing; type WEB_HOOK needs one",
            4,
            "as in [webhook]",
        ),
        (toml().replace("WEB_HOOK", "EVENT_STREAM"), "", "type EVENT_STREAM has no [webhook]", 10, "leave it out"),
        (toml(without=("url",)), "T14", "field `webhook.url` is missing", 10, ""),
        (toml(url=5), "", "`webhook.url` must be text in quotes", 11, ""),
        (toml(uri="x"), "", "unknown field `webhook.uri`", 12, "did you mean url?"),
        (toml(url="hooks.example.com/x"), "T14", "url is not absolute", 11, "as in https://"),
        (toml(url="/x/{ACCOUNT_ID}"), "T14", "url is not absolute", 11, "a placeholder may stand after the host only"),
        (toml(url="{ACCOUNT_ID}://a.b"), "T14", "url is not absolute", 11, "a placeholder may stand after the host"),
        (toml(url="http://a.example/"), "T14", "url is http, not https", 11, "PROCESSOR_WEBHOOK__ALLOW_HTTP=true"),
        (toml(url="ftp://a.example/"), "T14", "url is ftp, not https", 11, ""),
        (toml(url="https://{ACCOUNT_ID}.example/"), "T14", "{ACCOUNT_ID} stands within the host", 11, "a placeholder"),
        (toml(url="https://a.example{ACCOUNT_ID}/"), "T14", "{ACCOUNT_ID} stands within the host", 11, "a placeh"),
        (toml(url="https://a.example:80{CF:x}/"), "T14", "{CF:x} stands within the host", 11, "a placeholder may"),
        (toml(url="https:///x"), "T14", "'' is not a host", 11, ""),
        (toml(url="https://a.example:x/"), "T14", "'a.example:x' is not a host, with or without a port", 11, ""),
        (toml(url="https://a.example:99999/"), "T14", "'a.example:99999' is not a host", 11, ""),
        (toml(url="https://a:0/"), "T14", "'a:0' is not a host", 11, ""),
        (toml(url="https://[::1/"), "T14", "'[::1' is not a host", 11, ""),
        (toml(url="https://me:pw@a.example/"), "T14", "url holds a user", 11, "authorization, username"),
        (toml(url="https://a.example/a b"), "T14", "url holds ' '", 11, "write it percent-encoded"),
        (toml(url="https://a.example/it's"), "T14", 'url holds "\'"', 11, "write it percent-encoded"),
        (toml(url="https://a.example/\\n"), "T14", "url holds '\\\\'", 11, "write it percent-encoded"),
        (toml(url="https://a.example/{x}"), "T14", "url holds '{'", 11, "braces are for placeholders"),
        (toml(url="https://a.example/x}"), "T14", "url holds '}'", 11, "braces are for placeholders"),
        (toml(url="https://a.example/é"), "T14", "url holds 'é'", 11, "write it percent-encoded"),
        (toml(url="https://a.example/100%"), "T14", "url holds '%', which is no percent-encoded", 11, "write % as %25"),
        (toml(url="https://a.example/%{ACCOUNT_ID}41"), "T14", "url holds '%', which is no percent", 11, "write % as"),
        (toml(url="https://a.example/%2{CF:x}e/"), "T14", "url holds '%2', which is no percent-enc", 11, "write % as"),
        (toml(url="https://a.example/{ACCOUNT_IDD}"), "T13", "unknown placeholder {ACCOUNT_IDD}", 11, "did you mean"),
        (toml(request_type="GET"), "", "unknown request_type 'GET'", 12, "one of: POST, PUT, PATCH"),
        (toml(request_type="PSOT"), "", "unknown request_type 'PSOT'", 12, "did you mean POST?"),
        (toml(headers={"a b": "x"}), "T15", "'a b' is not a header's name", 12, "letters, digits and -"),
        (toml(headers={"Host": "x"}), "T15", "header 'Host' is not yours to set", 12, "leave it out"),
        (toml(headers={"X-A": "x", "x-a": "y"}), "T15", "header 'x-a' is there twice", 12, "names are compared"),
        (toml(headers={"X-A": "a\r\nB: c"}), "T15", "header 'X-A' holds a line break", 12, ""),
        (toml(headers={"X-A": "é"}), "T15", "header 'X-A' holds a line break, a control character or one", 12, ""),
        (toml(headers={"X-A": "{ACCOUNT_ID}"}), "T15", "header 'X-A' holds {ACCOUNT_ID}", 12, "headers are the same"),
        (toml(headers={"X-A": "{CF:x}"}), "T15", "header 'X-A' holds {CF:x}", 12, "headers are the same"),
        (toml(headers={"X-A": 5}), "", "`webhook.headers.X-A` must be text in quotes", 12, ""),
        (toml(headers=5), "", "`webhook.headers` must be a table", 12, ""),
        (toml(authorization="BASIC"), "T16", "unknown authorization 'BASIC'", 12, "one of: NO_AUTHORIZATION, BASIC"),
        (
            toml(authorization="BASIC_AUTHORIZATION"),
            "T16",
            "authorization BASIC_AUTHORIZATION needs `username`",
            12,
            "",
        ),
        (toml(**BASIC | {"password_env": ""}), "T16", "authorization BASIC_AUTHORIZATION needs `password_env`", 14, ""),
        (toml(username="a"), "T16", "`username` goes with authorization BASIC_AUTHORIZATION only", 12, ""),
        (toml(**BASIC | {"username": "a:b"}), "T16", "username holds a colon", 13, ""),
        (
            toml(**BASIC | {"password_env": "s3cret!"}),
            "T16",
            "password_env is not the name of a variable",
            14,
            "a pass",
        ),
        (
            toml(**BASIC, headers={"authorization": "x"}),
            "T16",
            "a header Authorization beside auth",
            15,
            "leave it out",
        ),
    ],
)
def test_mistakes_are_reported_by_their_rule(
    tmp_path: Path, text: str, rule: str, what: str, line: int, hint: str
) -> None:
    """Each mistake has its rule, its line and its words."""
    found = diagnostics(tmp_path, text)

    assert (rule, line) == next(
        ((diagnostic.code, diagnostic.location.line) for diagnostic in found if diagnostic.message.startswith(what)),
        None,
    ), found
    assert next(diagnostic for diagnostic in found if diagnostic.message.startswith(what)).hint.startswith(hint)


def test_http_where_it_is_allowed(tmp_path: Path) -> None:
    """Only the setting lets an address be without TLS."""
    assert [] == diagnostics(tmp_path, toml(url="http://127.0.0.1:8000/hook"), allow_http=True)


def test_reserved_headers(tmp_path: Path) -> None:
    """All that the sender sets are refused, in any case."""
    for name in RESERVED_HEADERS:
        (found,) = diagnostics(tmp_path, toml(headers={name.title(): "x"}))
        assert "T15" == found.code


@given(value=st.text(max_size=30), where=st.sampled_from(["{}", "a/{}/b", "?x={}&y=1", "#{}"]))
def test_no_value_changes_the_structure_of_an_address(value: str, where: str) -> None:
    """Whatever a value holds, scheme, host, and the number of path steps and parameters are the template's."""
    url, diagnostics = parse(
        f"https://a.example/{where.format('{ACCOUNT_NAME}')}", EscapeContext.URL, families=REPAYMENT
    )
    assert not diagnostics
    assert not list(check_url(url, allow_http=False))
    text = Text(None, (), url)
    scope = Scope("loan_transaction", {"account": {"name": value.encode(errors="replace").decode()}}, UTC)
    rendered = render(text, scope, strict=False, limit_characters=1000)

    if not value and where in ("{}", "a/{}/b"):
        assert isinstance(rendered, RenderFailure)
        return
    assert isinstance(rendered, Rendered)
    assert rendered.url is not None
    parts = urlsplit(rendered.url)
    bare = urlsplit(f"https://a.example/{where.format('')}")
    assert (bare.scheme, bare.netloc, bare.path.count("/"), bare.query.count("&")) == (
        parts.scheme,
        parts.netloc,
        parts.path.count("/"),
        parts.query.count("&"),
    )
    assert rendered.url.isascii()
    assert " " not in rendered.url


def test_a_url_is_not_a_document() -> None:
    """The address has no document's escapes, whatever the body is."""
    segments, _ = parse("https://a.example/?q={ACCOUNT_NAME}", EscapeContext.URL, families=REPAYMENT)
    scope = Scope("loan_transaction", {"account": {"name": 'Tom & "Ann" <x>/?'}}, UTC)
    rendered = render(Text(None, (), segments), scope, strict=False, limit_characters=100)

    assert "https://a.example/?q=Tom%20%26%20%22Ann%22%20%3Cx%3E%2F%3F" == getattr(rendered, "url", None)


@pytest.mark.parametrize(
    "path",
    [
        "accounts/{ACCOUNT_NAME}/holds",
        "accounts/LN-{CF:x}",
        "{FORMAT}/x",
        "accounts/{ACCOUNT_ID}/{ACCOUNT_NAME}?a={CF:x}",
        "{REPAYMENT_SCHEDULE}",
    ],
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_path_without_its_value_is_another_resource(path: str, value: str | None) -> None:
    """A value that is missing or empty in the path of a webhook's address fails the template, which names it."""
    path = path.replace("{FORMAT}", "FORMAT{TOTAL_BALANCE,numericPattern=0}")
    url, diagnostics = parse(f"https://a.example/{path}", EscapeContext.URL, families=REPAYMENT)
    fields = {
        "account": {"id": "1", "name": value, "totalBalance": None},
        "schedule": [],
        "customFields": {"LOAN:x": value},
    }
    rendered = render(Text(None, (), url), Scope("loan_transaction", fields, UTC), strict=False, limit_characters=1000)

    assert not diagnostics
    assert isinstance(rendered, RenderFailure)
    assert TemplateReason.MISSING_VALUE is rendered.reason
    assert rendered.detail.startswith("no value: ")
    assert "{ACCOUNT_ID}" not in rendered.detail


@pytest.mark.parametrize("value", [None, ""])
def test_a_query_may_lack_its_values(value: str | None) -> None:
    """Behind `?` or `#` a missing or empty value is an empty text, also where a slash follows."""
    url, _ = parse(
        "https://a.example/x?a={ACCOUNT_NAME}/&b={CF:x}#{ACCOUNT_NAME}", EscapeContext.URL, families=REPAYMENT
    )
    fields = {"account": {"name": value}, "customFields": {"LOAN:x": value}}
    rendered = render(Text(None, (), url), Scope("loan_transaction", fields, UTC), strict=False, limit_characters=1000)

    assert "https://a.example/x?a=/&b=#" == getattr(rendered, "url", None)
