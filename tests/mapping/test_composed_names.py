"""Letters with accents, typed as one character or as two: the same name to a reader, and so to the mapping."""

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.channel import Channel, ContentType, RecipientKind
from processor.domain.event import Event
from processor.domain.record import EventName
from processor.domain.template import Text
from processor.mapping.conditions import holds
from processor.mapping.recipient import recipient_of
from processor.mapping.render import Rendered, render
from processor.mapping.values import Scope
from processor.templates.load import SHIPPED, read_templates
from processor.templates.text import parse
from processor.wire.decode import decode
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    TENANT,
    make_condition,
    make_email,
    make_event,
    make_record,
    make_template,
    schemas,
    templates_directory,
)

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
ONE, TWO = normalize("NFC", "Região"), normalize("NFD", "Região")
FORMS = [(typed, sent) for typed in (ONE, TWO) for sent in (ONE, TWO)]


def rendered_value(name: str, custom: dict[str, Any]) -> str:
    """What a template of `{name}` says of an event with these custom fields."""
    segments, diagnostics = parse(f"{{{name}}}", ContentType.TEXT, families=REPAYMENT)
    assert () == diagnostics
    scope = Scope("loan_transaction", {"customFields": custom}, ZoneInfo("UTC"))
    result = render(Text(None, segments), scope, strict=False, limit_characters=1000)
    assert isinstance(result, Rendered)
    return result.body


def test_the_two_unicode_forms_differ() -> None:
    """Else nothing here could fail."""
    assert ONE != TWO
    assert (6, 7) == (len(ONE), len(TWO))


@pytest.mark.parametrize(("typed", "sent"), FORMS)
@pytest.mark.parametrize("name", ["CF:CLIENT:{}", "CF:{}", "CF:CLIENT:{}:1"])
@pytest.mark.parametrize("key", ["CLIENT:{}", "CLIENT:{}:1"])
def test_custom_fields_in_either_form(typed: str, sent: str, name: str, key: str) -> None:
    """A custom field is found in whichever form template and event have its name; with another name it is not."""
    expected = "" if name.endswith(":1") and not key.endswith(":1") else "Norte"

    assert expected == rendered_value(name.format(typed), {"CLIENT:Outra": "x", key.format(sent): "Norte"})
    assert "" == rendered_value(name.format(typed), {key.format("Regiao"): "Norte"})


def test_two_keys_that_are_one_name() -> None:
    """The composed key wins, then the first in the event's order; a null counts for nothing; entities keep theirs."""
    assert "one" == rendered_value(f"CF:CLIENT:{TWO}", {f"CLIENT:{TWO}": "two", f"CLIENT:{ONE}": "one"})
    assert "two" == rendered_value(f"CF:CLIENT:{ONE}", {f"CLIENT:{TWO}": "two", f"CLIENT:{ONE}": None})
    apart = normalize("NFD", "é")
    assert "first" == rendered_value(
        "CF:CLIENT:éé", {f"CLIENT:{apart}é": "first", f"CLIENT:é{apart}": "second", "CLIENT:ö": "x"}
    )
    assert "loan" == rendered_value(f"CF:{ONE}", {f"CLIENT:{ONE}": "client", f"LOAN:{TWO}": "loan"})


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="{}:"), min_size=1, max_size=12))
def test_any_name_is_found_in_any_form(name: str) -> None:
    """As it was typed, composed or decomposed."""
    if not name.strip() or normalize("NFC", name) != normalize("NFC", name).strip():
        return
    segments, _ = parse(f"{{CF:CLIENT:{name}}}", ContentType.TEXT, families=REPAYMENT)
    for sent in (name, normalize("NFC", name), normalize("NFD", name)):
        if name.isascii() != sent.isascii():  # a sign such as U+212A, which NFC writes as an ASCII letter
            continue
        scope = Scope("loan_transaction", {"customFields": {f"CLIENT:{sent}": "found"}}, ZoneInfo("UTC"))
        result = render(Text(None, segments), scope, strict=False, limit_characters=1000)

        assert Rendered(None, "found") == result


@pytest.mark.parametrize("wire", [WireFormat.JSON, WireFormat.AVRO])
@pytest.mark.parametrize(("typed", "sent"), FORMS)
def test_custom_fields_of_a_record(typed: str, sent: str, wire: WireFormat) -> None:
    """The same through a record's bytes, as JSON or Avro, for a text, a condition and a recipient."""
    written = make_event(customFields={f"CLIENT:{sent}": "norte@example.com"})
    value, headers = encode_event(written.fields, schemas(), format=wire)
    event = decode(make_record(value=value, headers=headers), schemas=schemas(), schema_of=schemas().local_schema)
    assert isinstance(event, Event), event
    scope = Scope(event.family, event.fields, ZoneInfo("UTC"))
    template = make_email(recipient=RecipientKind.CUSTOM_FIELD, field=f"CLIENT:{typed}")
    text = make_template(body=f"{{CF:CLIENT:{typed}}}", channel=Channel.SMS, recipient=RecipientKind.CLIENT).text
    person = recipient_of(template, event, time_zone=ZoneInfo("UTC"))

    assert person is not None
    assert "norte@example.com" == person.address
    assert holds(make_condition(f"CF:CLIENT:{typed}", "NOT_EMPTY"), scope)
    assert Rendered(None, "norte@example.com") == render(text, scope, strict=True, limit_characters=1000)


@pytest.mark.parametrize(("typed", "sent"), FORMS)
def test_compared_texts_in_either_form(typed: str, sent: str) -> None:
    """What a condition compares is the same in either form as well."""
    event = make_event(account__name=f"{sent} Norte", customFields={"CLIENT:x": sent})
    scope = Scope(event.family, event.fields, ZoneInfo("UTC"))
    for operator in ("EQUALS", "EQUALS_CASE_SENSITIVE", "STARTS_WITH", "STARTS_WITH_CASE_SENSITIVE"):
        assert holds(make_condition("CF:CLIENT:x", operator, typed), scope), operator
    for operator in ("STARTS_WITH", "STARTS_WITH_CASE_SENSITIVE"):
        assert holds(make_condition("ACCOUNT_NAME", operator, typed), scope), operator
    assert holds(make_condition("CF:CLIENT:x", "IN", "a", typed), scope)
    assert not holds(make_condition("CF:CLIENT:x", "DIFFERENT_THAN", typed), scope)
    assert not holds(make_condition("CF:CLIENT:x", "EQUALS", "Regiao"), scope)


@pytest.mark.parametrize(("typed", "sent"), FORMS)
def test_a_role_in_either_form(typed: str, sent: str) -> None:
    """Who holds a group's role is found by the role's name in either form, upper and lower case as one."""
    created = json.loads((SHIPPED / "events" / "GROUP_CREATED.json").read_text())
    created["group"]["members"][1]["role"] = f"{sent} 2"
    template = make_email(
        events=["GROUP_CREATED"], recipient=RecipientKind.GROUP_ROLE, role=f"{typed} 2".upper(), subject="x", body="x"
    )
    person = recipient_of(template, make_event(created), time_zone=ZoneInfo("UTC"))

    assert person is not None
    assert "Graça Reis" == person.fields["name"]


def test_names_of_templates_are_unique_in_either_form(tmp_path: Path) -> None:
    """T01: two names that look the same are the same."""
    one, two = (
        f"""id = "{name}"\nversion = 1\nname = "{form}"\ntype = "SMS"\nevent = "LOAN_REPAYMENT"\ntarget = "LOANS"
        recipient = "CLIENT"\nsubscription = "OPT_OUT"\nbody = "x"\n"""
        for name, form in (("one", ONE), ("two", TWO))
    )
    found = read_templates(
        templates_directory(tmp_path, one=one, two=two), tenant=TENANT, schemas=schemas()
    ).diagnostics

    assert [("two.toml", "T01")] == [
        (diagnostic.location.file, diagnostic.code) for diagnostic in found if diagnostic.is_error
    ]
