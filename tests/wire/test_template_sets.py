"""Template sets as they are kept: whole, by their digest, in as many records as they need."""

import json
from dataclasses import replace

import pytest

from processor.domain.output_topics import OutputTopic
from processor.domain.record import Topic
from processor.domain.template import Template, template_set
from processor.wire.template_sets import template_set_records
from tests.support.builders import make_email, make_template, make_webhook, shipped_templates

TOPIC = Topic("communications.template-sets")


def test_a_set_in_one_record() -> None:
    """Keyed by its digest; each template with its whole text as canonical JSON."""
    templates = shipped_templates()
    (record,) = template_set_records(templates, OutputTopic(TOPIC, 1, 999_000))
    value = json.loads(record.value or b"")

    assert (TOPIC, 0, templates.digest.encode()) == (record.topic, record.partition, record.key)
    assert (templates.digest, 1, 1) == (value["setVersion"], value["part"], value["parts"])
    assert [(template.id, template.version, template.key) for template in templates.templates] == [
        tuple(template[name] for name in ("id", "version", "templateKey")) for template in value["templates"]
    ]
    assert [template.content for template in templates.templates if '"headers":{"' not in template.content] == [
        template["content"] for template in value["templates"] if '"headers":{"' not in template["content"]
    ]
    contents = {template["id"]: template["content"] for template in value["templates"]}
    assert "Payment received: {ACCOUNT_ID}" in json.loads(contents["loan-repayment-email"]).values()


@pytest.mark.parametrize("limit", [1_000, 1_500, 5_000])
def test_a_set_in_parts(limit: int) -> None:
    """Whole templates in each part, none lost, none over the limit; one that alone is too large keeps its place."""
    templates = template_set([make_template(f"t{number}", body="x" * 50 * number) for number in range(30)])
    records = template_set_records(templates, OutputTopic(TOPIC, 1, limit))
    parts = [json.loads(record.value or b"") for record in records]
    stored = [template for part in parts for template in part["templates"]]

    assert all(record.size_bytes <= limit for record in records)
    assert len(records) > 1
    assert [templates.digest, *(f"{templates.digest}/{n}" for n in range(2, len(records) + 1))] == [
        (record.key or b"").decode() for record in records
    ]
    assert [(n, len(records)) for n in range(1, len(records) + 1)] == [(p["part"], p["parts"]) for p in parts]
    assert [template.id for template in templates.templates] == [template["id"] for template in stored]
    assert all(template["content"] is None or len(template["content"]) < limit for template in stored)
    assert (limit < 1_600) == any(template["content"] is None for template in stored)


def test_the_same_set_is_the_same_records() -> None:
    """In whichever process, and however often."""
    topic = OutputTopic(TOPIC, 1, 999_000)

    assert template_set_records(template_set([make_email()]), topic) == template_set_records(
        template_set([make_email()]), topic
    )


def test_headers_of_a_webhook_are_not_kept() -> None:
    """A token in one would be on the topic for ever; the digest still differs."""

    def webhook(token: str) -> Template:
        content = json.dumps({"id": "hook", "webhook": {"url": "https://a.example/", "headers": {"X-Token": token}}})
        return replace(make_webhook(), content=content)

    (record,) = template_set_records(template_set([webhook("s3cret")]), OutputTopic(TOPIC, 1, 999_000))
    (value,) = json.loads(record.value or b"")["templates"]

    assert {"url": "https://a.example/", "headers": {"X-Token": "***"}} == json.loads(value["content"])["webhook"]
    assert template_set([webhook("a")]).digest != template_set([webhook("b")]).digest
