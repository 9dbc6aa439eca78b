"""Texts of templates cut into segments: placeholders, their contexts and fields, and what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.channel import ContentType
from processor.domain.record import EventName
from processor.domain.template import (
    CustomFieldPlaceholder,
    EscapeContext,
    NamedPlaceholder,
)
from processor.templates.text import parse

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
DEPOSIT = {"deposit_transaction": EventName("SAVINGS_DEPOSIT")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ["plain"]),
        ("{ACCOUNT_ID}", ["<ACCOUNT_ID>"]),
        ("a {ACCOUNT_ID} b", ["a ", "<ACCOUNT_ID>", " b"]),
        ("{ACCOUNT_ID}{ACCOUNT_NAME}", ["<ACCOUNT_ID>", "<ACCOUNT_NAME>"]),
        ('{"a": {"b": {TOTAL_BALANCE}}}', ['{"a": {"b": ', "<TOTAL_BALANCE>", "}}"]),
        ("{{ACCOUNT_ID}}", ["{{ACCOUNT_ID}}"]),
        ("{ account } {} { ACCOUNTS }", ["{ account } {} { ACCOUNTS }"]),
        ("{CF:Bank Account}", ["<CF:Bank Account>"]),
        ("{CF:CLIENT:Bank Account:12}", ["<CF:CLIENT:Bank Account:12>"]),
        ("{CF:Имя}", ["<CF:Имя>"]),
        ("{", ["{"]),
        ("", []),
    ],
)
def test_text_is_split_at_placeholders(text: str, expected: list[str]) -> None:
    """A placeholder is one brace around a name in capitals; any other brace is text."""
    segments, diagnostics = parse(text, ContentType.TEXT, families=REPAYMENT)

    assert expected == [segment if isinstance(segment, str) else f"<{str(segment)[1:-1]}>" for segment in segments]
    assert [] == [diagnostic for diagnostic in diagnostics if diagnostic.is_error]


@given(st.text(alphabet='{}"\\ACF:_x1\n<', max_size=80))
def test_no_text_is_lost(text: str) -> None:
    """Whatever braces a text has, its segments written one after the other are the text again."""
    for content in ContentType:
        segments, diagnostics = parse(text, content, families=REPAYMENT)
        if not [diagnostic for diagnostic in diagnostics if diagnostic.is_error]:
            assert text == "".join(map(str, segments))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a": "{ACCOUNT_ID}", "b": {ACCOUNT_ID}}', [EscapeContext.JSON_STRING, EscapeContext.JSON_VALUE]),
        ('["\\"{ACCOUNT_ID}", {ACCOUNT_ID}]', [EscapeContext.JSON_STRING, EscapeContext.JSON_VALUE]),
        ('["\\\\", {ACCOUNT_ID}, "\\u0022{ACCOUNT_ID}"]', [EscapeContext.JSON_VALUE, EscapeContext.JSON_STRING]),
    ],
)
def test_context_within_json(body: str, expected: list[EscapeContext]) -> None:
    """A placeholder knows whether it stands between quotes, escaped ones in the text around it notwithstanding."""
    segments, _ = parse(body, ContentType.JSON, families=REPAYMENT)

    assert expected == [segment.context for segment in segments if isinstance(segment, NamedPlaceholder)]


def test_one_name_two_families() -> None:
    """A template for events of two families finds a placeholder where each of them keeps it."""
    families = {"client": EventName("CLIENT_CREATED"), **DEPOSIT}
    (segment,), diagnostics = parse("{ENCODED_KEY}", ContentType.TEXT, families=families)

    assert isinstance(segment, NamedPlaceholder)
    assert () == diagnostics
    assert {"client": ("client", "encodedKey"), "deposit_transaction": ("account", "encodedKey")} == {
        family: source.path for family, source in segment.paths.items()
    }


@pytest.mark.parametrize(
    ("text", "content", "what", "hint"),
    [
        ("{ACCOUNT_IDD}", ContentType.TEXT, "unknown placeholder {ACCOUNT_IDD}", ""),
        ("{PENALTY_AMOUNT}", ContentType.TEXT, "SAVINGS_DEPOSIT has no placeholder {PENALTY_AMOUNT}", ""),
        ("{{ACCOUNT_ID}}", ContentType.TEXT, "double braces are text, not a placeholder", "write {ACCOUNT_ID}"),
        (
            "Dear {ACCOUNT_NAME, welcome",
            ContentType.TEXT,
            "looks like a placeholder and is text",
            "write {ACCOUNT_NAME}",
        ),
        ("{account_id}", ContentType.TEXT, "looks like a placeholder and is text", "write {ACCOUNT_ID}"),
        ("IN_WORDS_INTEGER{TOTAL_BALANCE}", ContentType.TEXT, "IN_WORDS_INTEGER is not supported", ""),
        ("{CF:}", ContentType.TEXT, "a custom field needs a name", "write {CF:FIELD}"),
        ("{CF:CLIENT}", ContentType.TEXT, "names an entity but no field of it", "write {CF:FIELD}"),
        ("{CF:CLIENT:}", ContentType.TEXT, "names an entity but no field of it", "write {CF:FIELD}"),
        ("{CF:CLIENT:a:0}", ContentType.TEXT, "INDEX is a whole number from 1", "write {CF:FIELD}"),
        ("{CF:CLIENT:a:1:2}", ContentType.TEXT, "too many colons", "write {CF:FIELD}"),
        ("{CF:CLINT:a}", ContentType.TEXT, "'CLINT' is not an entity of custom fields", "write {CF:FIELD}"),
        ('"\\{ACCOUNT_ID}"', ContentType.JSON, "a backslash before a placeholder", ""),
        ('"\\u00{ACCOUNT_ID}"', ContentType.JSON, "a backslash before a placeholder", ""),
    ],
)
def test_diagnostics_of_a_text(text: str, content: ContentType, what: str, hint: str) -> None:
    """What is no placeholder though it was meant as one is said, with the right spelling where there is one."""
    families = {**REPAYMENT, **DEPOSIT} if "PENALTY" in text else DEPOSIT
    _, diagnostics = parse(text, content, families=families)

    assert [what] == [diagnostic.message[: len(what)] for diagnostic in diagnostics]
    assert diagnostics[0].hint.startswith(hint)


def test_custom_placeholder_keys() -> None:
    """A custom field without entity and entry is looked for in all entities, each ungrouped first, then entry 1."""
    (placeholder,), _ = parse("{CF:x}", ContentType.TEXT, families=REPAYMENT)

    assert isinstance(placeholder, CustomFieldPlaceholder)
    assert ("TRANSACTION:x", "TRANSACTION:x:1", "LOAN:x", "LOAN:x:1") == placeholder.field.keys[:4]
    assert 18 == len(placeholder.field.keys)
