"""What a template's version stands for: the same text, whichever version of this program wrote it down."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.output_topics import OutputTopic
from processor.domain.record import TemplateId, Topic
from processor.domain.template import Template, template_set
from processor.errors import UsageError
from processor.templates.used_texts import UsedTexts, refuse_changed_texts, text_digest
from processor.wire.template_sets import StoredTemplate, stored_templates, template_set_records
from tests.support.builders import make_email, shipped_templates

DEFAULTS: dict[str, Any] = {  # what a file that does not name them says
    "key": None,
    "recipient": None,
    "recipient_role": None,
    "recipient_field": None,
    "subject": None,
    "content_type": None,
    "webhook": None,
    "category": None,
    "attachment": [],
    "trigger": "AUTOMATIC",
    "trigger_days": None,
    "match": "ALL",
    "condition": [],
    "active": True,
    "strict": False,
    "default_locale": "en",
    "locale": {},
}
CONTENTS = [template.content for template in shipped_templates().templates]
WHOLE = json.dumps(
    {
        "id": "whole",
        "version": 3,
        "name": "All fields",
        "type": "EMAIL",
        "event": ["LOAN_APPROVAL"],
        "target": "LOANS",
        "body": "<p>a</p>",
        "subscription": "OPT_OUT",
        **DEFAULTS,
        "condition": [{"field": "ACCOUNT_ID", "operator": "IN", "values": ["1", "2"]}],
        "webhook": {
            "url": "https://a.example/",
            "request_type": "POST",
            "headers": {"X-Token": "s3cret", "X-From": "us"},
            "authorization": "NO_AUTHORIZATION",
            "username": None,
            "password_env": None,
        },
        "locale": {"pt": {"subject": "S", "body": "B"}},
        "attachment": [
            {
                "id": "ATT-1150-0093-2201",
                "name": "Terms",
                "content_type": "application/pdf",
                "file_size": 1,
                "file_name": "terms.pdf",
                "href": "/terms.pdf",
            }
        ],
    }
)


def changed(content: str, change: Callable[[dict[str, Any]], object]) -> str:
    """`content` after a change, with its fields in another order."""
    file = json.loads(content)
    change(file)
    return json.dumps(dict(reversed(file.items())))


def test_a_field_that_was_not_there_yet_is_its_default() -> None:
    """What a version of this program without the field has written is the text that the same file gives today."""
    tried = set()
    for content in [*CONTENTS, WHOLE]:
        for name, default in DEFAULTS.items():
            if json.loads(content)[name] == default:
                tried.add(name)
                assert text_digest(content) == text_digest(changed(content, lambda file, name=name: file.pop(name)))  # type: ignore[misc]

    assert DEFAULTS.keys() == tried


def test_a_field_that_is_not_there_any_more_does_not_count() -> None:
    """Of a later version, after a way back: at the top, in a webhook, a language and an attachment."""

    def newer(file: dict[str, Any]) -> None:
        for level in (file, file["webhook"], *file["locale"].values(), *file["attachment"]):
            if level is not None:
                level["brand_new"] = ["x"]

    for content in [*CONTENTS, WHOLE]:
        assert text_digest(content) == text_digest(changed(content, newer))


def leaf_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths to all values of a JSON document that are no object and no list."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path
        return
    for step, member in inner:
        yield from leaf_paths(member, (*path, step))


def test_every_other_value_counts() -> None:
    """Each leaf of a file with all fields, but the values of headers; and which headers there are."""
    paths = list(leaf_paths(json.loads(WHOLE)))
    same = []
    for path in paths:

        def other(file: dict[str, Any], path: tuple[str | int, ...] = path) -> None:
            level: Any = file
            for step in path[:-1]:
                level = level[step]
            level[path[-1]] = "other"

        if text_digest(changed(WHOLE, other)) == text_digest(WHOLE):
            same.append(path)

    assert [("webhook", "headers", "X-Token"), ("webhook", "headers", "X-From")] == same
    assert text_digest(WHOLE) != text_digest(changed(WHOLE, lambda file: file["webhook"]["headers"].pop("X-From")))
    assert 35 < len(paths)


def test_a_stored_text_is_read_back_unchanged() -> None:
    """As written to the topic, without the secrets, in as many parts as it takes."""
    templates = template_set([*shipped_templates().templates, replace(make_email("whole"), content=WHOLE)])
    records = template_set_records(templates, OutputTopic(Topic("sets"), 1, 50_000))
    kept = [template for record in records for template in stored_templates(record.value or b"")]

    assert len(records) > 1
    assert "s3cret" not in "".join(template.content or "" for template in kept)
    assert [(template.id, template.version, text_digest(template.content)) for template in templates.templates] == [
        (template.id, template.version, text_digest(template.content or "")) for template in kept
    ]


def test_a_template_may_be_stored_without_its_content() -> None:
    """One that alone is larger than the topic takes."""
    (record,) = template_set_records(
        template_set([make_email("big", body="x" * 2_000)]), OutputTopic(Topic("sets"), 1, 1_500)
    )

    assert (StoredTemplate(TemplateId("big"), 1, None),) == stored_templates(record.value or b"")


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["templates", "id", "version", "content", "webhook", "headers", "locale", "attachment", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=JSONS)
def test_a_foreign_value_is_read_or_a_value_error(value: Any) -> None:
    """Another writer's records stop no process: neither reader raises anything but ValueError."""
    text = json.dumps(value)
    for read in (lambda: text_digest(text), lambda: stored_templates(text.encode())):
        try:
            assert read() is not None
        except ValueError:
            continue


@pytest.mark.parametrize("value", [b"", b"\xff", b"null", b"[]", b"{}", b'{"templates": [{"id": 1}]}', b"[" * 100_000])
def test_a_foreign_value_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError):
        stored_templates(value)


def texts_in_use(*templates: Template) -> UsedTexts:
    """As the topic has them."""
    texts: dict[tuple[TemplateId, int], set[bytes]] = {}
    for template in templates:
        texts.setdefault((template.id, template.version), set()).add(text_digest(template.content))
    return texts


def mail(name: str, body: str, version: int = 1) -> Template:
    """An e-mail whose content says so."""
    content = json.dumps({"id": name, "version": version, "body": body})
    return replace(make_email(name, body=body), version=version, content=content)


def test_which_texts_are_refused() -> None:
    """Another one than all that were used under the version; one of several that were is right, as is a new version."""
    before = texts_in_use(mail("a", "A"), mail("a", "B"), mail("b", "A"), mail("b", "A2", version=2))
    for fitting in (
        [mail("a", "A")],
        [mail("a", "B"), mail("b", "A")],
        [mail("a", "C", version=2)],
        [mail("b", "A", version=3)],
        [mail("c", "C")],
        [],
    ):
        refuse_changed_texts(template_set(fitting), before)

    with pytest.raises(UsageError) as raised:
        refuse_changed_texts(template_set([mail("a", "A"), mail("b", "A", version=2)]), before)
    with pytest.raises(UsageError) as three:
        refuse_changed_texts(template_set([mail("a", "C"), mail("b", "B"), mail("c", "C")]), before)

    assert (
        "b has other content under version 2, which was used before\nhint: raise its version, or undo the change"
        == str(raised.value)
    )
    assert "a has other content under version 1, which was used before; and 1 more" == three.value.what
