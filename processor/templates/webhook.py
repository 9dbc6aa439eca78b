"""What a template's `[webhook]` may say: rules T14 to T16, before any event exists. Pure.

The location of each diagnostic has the field that it is about, as in `webhook.url`.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from processor.domain.diagnostic import Diagnostic, Location
from processor.domain.template import Segment
from processor.mapping.escape import holds_control
from processor.templates.rules import RuleCode
from processor.templates.text import first_placeholder


class RequestType(StrEnum):
    """How a webhook is called. Published."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"


class Authorization(StrEnum):
    """How a webhook's sender shows who it is. Published."""

    NONE = "NO_AUTHORIZATION"
    BASIC = "BASIC_AUTHORIZATION"  #: By user and password (RFC 7617).


RESERVED_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "connection", "transfer-encoding", "x-notifications-idempotency-key")
)
"""Headers that the sender sets itself."""

_HOST: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")
_NO_URL_CHARACTER: Final = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%-]")  # RFC 3986, without the quote
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST_ONLY: Final = "a placeholder may stand after the host only, as in https://hooks.example.com/{ACCOUNT_ID}"


def check_url(url: tuple[Segment, ...], *, allow_http: bool) -> Iterator[Diagnostic]:
    """T14: absolute, https, no user info, nothing that is no character of an address, placeholders after the host.

    Scheme and host are fixed text, so no event can send a message to another host.
    """
    head = url[0] if url and isinstance(url[0], str) else ""
    found = _HOST.match(head)
    if found is None:
        has_placeholder = any(not isinstance(segment, str) for segment in url[:2])
        yield _url_error("url is not absolute", _HOST_ONLY if has_placeholder else "as in https://hooks.example.com/")
        return
    scheme, authority = found.groups()
    if scheme.lower() not in ("http", "https"):
        yield _url_error(f"url is {scheme}, not https")
    elif scheme.lower() == "http" and not allow_http:
        yield _url_error(
            "url is http, not https", "PROCESSOR_WEBHOOK__ALLOW_HTTP=true allows it, for tests on one machine"
        )
    if found.end() == len(head) and len(url) > 1:
        yield _url_error(f"{url[1]} stands within the host", _HOST_ONLY)
    elif not _is_host(authority):
        yield _url_error(f"{authority!r} is not a host, with or without a port")
    if "@" in authority:
        hint = "authorization, username and password_env say who sends"
        yield _url_error("url holds a user", hint)
    # Each for itself: what a value stands in is no percent-encoded character, whatever stands behind the value.
    fixed = [piece for piece in url if isinstance(piece, str)]
    if wrong := next(filter(None, map(_NO_URL_CHARACTER.search, fixed)), None):
        brace = wrong.group() in "{}"
        hint = "braces are for placeholders, as in {ACCOUNT_ID}" if brace else "write it percent-encoded"
        yield _url_error(f"url holds {wrong.group()!r}", hint)
    elif wrong := next(filter(None, map(_BAD_ESCAPE.search, fixed)), None):
        yield _url_error(f"url holds {wrong.group()!r}, which is no percent-encoded character", "write % as %25")


def _url_error(message: str, hint: str = "") -> Diagnostic:
    return _error("url", message, hint, RuleCode.WEBHOOK_URL)


def _is_host(authority: str) -> bool:
    try:
        parts = urlsplit(f"//{authority}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_headers(headers: Mapping[str, str]) -> Iterator[Diagnostic]:
    """T15: names are legal, unique without case, not reserved; values are one line of ASCII without placeholders."""
    seen: set[str] = set()
    for name, value in headers.items():
        field, quoted = f"headers.{name}", repr(name[:80])
        if not _HEADER_NAME.fullmatch(name):
            yield _error(field, f"{quoted} is not a header's name", "letters, digits and -", RuleCode.WEBHOOK_HEADER)
        elif name.lower() in RESERVED_HEADERS:
            yield _error(
                field,
                f"header {quoted} is not yours to set",
                "leave it out: the sender sets it",
                RuleCode.WEBHOOK_HEADER,
            )
        elif name.lower() in seen:
            yield _error(
                field, f"header {quoted} is there twice", "names are compared without case", RuleCode.WEBHOOK_HEADER
            )
        seen.add(name.lower())
        if not value.isascii() or holds_control(value):
            yield _error(
                field,
                f"header {quoted} holds a line break, a control character or one outside of ASCII",
                "",
                RuleCode.WEBHOOK_HEADER,
            )
        elif token := first_placeholder(value):
            yield _error(
                field,
                f"header {quoted} holds {token}",
                "headers are the same for all messages",
                RuleCode.WEBHOOK_HEADER,
            )


def check_authorization(
    authorization: str, *, username: str | None, password_env: str | None, headers: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """T16: user and password exactly with BASIC_AUTHORIZATION, which makes the header Authorization itself."""

    def error(field: str, message: str, hint: str = "") -> Diagnostic:
        return _error(field, message, hint, RuleCode.WEBHOOK_AUTHORIZATION)

    scheme = Authorization.BASIC
    is_basic = authorization == scheme
    for name, value in (("username", username), ("password_env", password_env)):
        if is_basic and not value:
            yield error("authorization" if value is None else name, f"authorization {scheme} needs `{name}`")
        elif value is not None and not is_basic:
            yield error(
                name,
                f"`{name}` goes with authorization {scheme} only",
                f'authorization = "{scheme}"',
            )
    if username and (":" in username or holds_control(username)):
        yield error("username", "username holds a colon or a control character")
    if password_env and not _VARIABLE.fullmatch(password_env):
        hint = "a password does not belong in a template: name the environment variable that holds it"
        yield error("password_env", "password_env is not the name of a variable", hint)
    if is_basic and any(name.lower() == "authorization" for name in headers):
        yield error("headers", f"a header Authorization beside authorization {scheme}", "leave it out")


def _error(field: str, message: str, hint: str, code: RuleCode) -> Diagnostic:
    return Diagnostic(message=message, code=code, hint=hint, location=Location(field=f"webhook.{field}"))
