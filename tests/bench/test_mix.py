"""The mix of the bench is what its page says: so many families, templates, matches, decisions, and dead letters."""

from collections import Counter
from pathlib import Path

import pytest

from processor.domain.catalogue import EVENTS
from processor.domain.channel import Channel
from processor.domain.outcome import Processed, Rejected
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import Topic
from processor.domain.template import TemplateSet
from processor.templates.load import read_templates, require_usable
from tests.bench.mix import form_count, mix_context, mix_events, mix_load, mix_templates
from tests.bench.template_files import write_many
from tests.support.builders import TENANT, map_record, schemas

PARTITIONS = 2
BEGIN_MS = 1_796_000_000_000


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> TemplateSet:
    """Those of the mix."""
    return mix_templates(tmp_path_factory.mktemp("mix"), schemas())


def test_outcomes_are_those_of_the_mix(templates: TemplateSet) -> None:
    """One to six messages of an event, none of 5 %, one dead letter in a thousand; every row that is looked up is
    there, and no template fails."""
    context = mix_context(templates, schemas(), partitions=PARTITIONS)
    load = mix_load(schemas(), partitions=PARTITIONS, begin_ms=BEGIN_MS)
    count = form_count(PARTITIONS)
    outcomes = [map_record(load.source_record(number, Topic("events")), context) for number in range(count)]
    processed = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
    created = Counter(len(outcome.created) for outcome in processed)
    results = [result for outcome in processed for result in outcome.results]

    assert [Reason.INVALID_EVENT] == [outcome.reason for outcome in outcomes if isinstance(outcome, Rejected)]
    assert count <= 1_000
    assert set(range(7)) == created.keys()
    assert 0.045 <= created[0] / count <= 0.055
    assert {DecisionReason.CONDITION_FALSE} == {result.skipped.reason for result in results if result.skipped}
    assert not [result for result in results if result.failed or result.missing]
    assert {template.id for template in templates.templates} == {
        result.created.template_id for result in results if result.created
    }


def test_templates_and_events_are_those_of_the_mix(templates: TemplateSet) -> None:
    """Forty templates for ten families, by four channels, with conditions; a third of names and subjects not ASCII."""
    events = list(mix_events(PARTITIONS))
    names = [
        event["client"]["fullName"] if "client" in event else event["group"]["name"]
        for event in events
        if not {"client", "group"}.isdisjoint(event)
    ]
    subjects = [str(template.text.subject) for template in templates.templates if template.text.subject]

    assert 40 == len(templates.templates)
    assert 10 == len({EVENTS[event].family for template in templates.templates for event in template.events})
    assert {*Channel} - {Channel.TASK} == {template.type for template in templates.templates}
    assert all(template.conditions for template in templates.templates)
    assert 0.3 <= sum(not name.isascii() for name in names) / len(names) <= 0.36
    assert 0.3 <= sum(not subject.isascii() for subject in subjects) / len(subjects) <= 0.45


def test_an_account_stays_in_its_partition_and_families_are_in_all() -> None:
    """The order of an account's events is that of its partition."""
    load = mix_load(schemas(), partitions=PARTITIONS, begin_ms=BEGIN_MS)
    partitions_of: dict[bytes, set[int]] = {}
    for number in range(2 * form_count(PARTITIONS)):
        record = load.source_record(number, Topic("events"))
        partitions_of.setdefault(record.key or b"", set()).add(record.position.partition)
    names = [(event["event"], number % PARTITIONS) for number, event in enumerate(mix_events(PARTITIONS))]

    assert {1} == {len(partitions) for partitions in partitions_of.values()}
    assert 10 * PARTITIONS == len(set(names))
    assert 1 == len({*Counter(names).values()})


def test_what_is_rare_is_in_every_partition() -> None:
    """Events that are skipped, and names that are not ASCII."""
    events = list(enumerate(mix_events(6)))
    skipped = {number % 6 for number, event in events if event.get("transaction", {}).get("amount") == "0"}
    others = Counter(
        number % 6 for number, event in events if not event.get("client", {"fullName": ""})["fullName"].isascii()
    )

    assert {*range(6)} == skipped
    assert max(others.values()) < 1.3 * min(others.values())
    assert {*range(6)} == others.keys()


def test_many_templates_are_for_all_events(tmp_path: Path) -> None:
    """They can be used as they are, by all five channels."""
    write_many(tmp_path, 300)
    templates = require_usable(read_templates(tmp_path, tenant=TENANT, schemas=schemas())).templates

    assert 300 == len(templates)
    assert EVENTS.keys() == {event for template in templates for event in template.events}
    assert {*Channel} == {template.type for template in templates}
