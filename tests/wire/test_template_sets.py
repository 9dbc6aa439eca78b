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
    told = json.loads(record.value or b"")

    assert (TOPIC, 0, templates.digest.encode()) == (record.topic, record.partition, record.key)
    assert (templates.digest, 1, 1) == (told["setVersion"], told["part"], told["parts"])
    assert [(one.id, one.version, one.key) for one in templates.templates] == [
        tuple(one[name] for name in ("id", "version", "templateKey")) for one in told["templates"]
    ]
    assert [one.content for one in templates.templates if '"headers":{"' not in one.content] == [
        one["content"] for one in told["templates"] if '"headers":{"' not in one["content"]
    ]
    assert (
        "Payment received: {ACCOUNT_ID}"
        in json.loads(next(one["content"] for one in told["templates"] if one["id"] == "loan-repayment-email")).values()
    )


@pytest.mark.parametrize("limit", [1_000, 1_500, 5_000])
def test_a_set_in_parts(limit: int) -> None:
    """Whole templates in each part, none lost, none over the limit; one that alone is too large keeps its place."""
    templates = template_set([make_template(f"t{number}", body="x" * 50 * number) for number in range(30)])
    records = template_set_records(templates, OutputTopic(TOPIC, 1, limit))
    parts = [json.loads(record.value or b"") for record in records]
    told = [one for part in parts for one in part["templates"]]

    assert all(record.size_bytes <= limit for record in records)
    assert len(records) > 1
    assert [templates.digest, *(f"{templates.digest}/{n}" for n in range(2, len(records) + 1))] == [
        (record.key or b"").decode() for record in records
    ]
    assert [(n, len(records)) for n in range(1, len(records) + 1)] == [(p["part"], p["parts"]) for p in parts]
    assert [one.id for one in templates.templates] == [one["id"] for one in told]
    assert all(one["content"] is None or len(one["content"]) < limit for one in told)
    assert (limit < 1_600) == any(one["content"] is None for one in told)


def test_the_same_set_is_the_same_records() -> None:
    """Whoever writes it, and however often."""
    topic = OutputTopic(TOPIC, 1, 999_000)

    assert template_set_records(template_set([make_email()]), topic) == template_set_records(
        template_set([make_email()]), topic
    )


def test_headers_of_a_webhook_are_not_kept() -> None:
    """A token in one would be on the topic for ever; the digest still tells one from the other."""

    def webhook(token: str) -> Template:
        content = json.dumps({"id": "hook", "webhook": {"url": "https://a.example/", "headers": {"X-Token": token}}})
        return replace(make_webhook(), content=content)

    (record,) = template_set_records(template_set([webhook("s3cret")]), OutputTopic(TOPIC, 1, 999_000))
    (told,) = json.loads(record.value or b"")["templates"]

    assert {"url": "https://a.example/", "headers": {"X-Token": "***"}} == json.loads(told["content"])["webhook"]
    assert template_set([webhook("a")]).digest != template_set([webhook("b")]).digest
