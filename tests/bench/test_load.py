"""The load of the bench is what its contenders may rely on, and what makes their work count."""

from processor.domain.event import Event
from processor.domain.outcome import Processed
from processor.domain.record import Topic
from processor.wire.encode import OutputEncoder
from processor.wire.wire_format import WireFormat
from tests.bench.load import FORMS, Load, bench_templates, simple_load
from tests.support.builders import make_context, make_source, map_record, schemas

EVENTS_TOPIC = Topic("events")


def load() -> Load:
    """In three partitions, so that the forms are no multiple of them."""
    return simple_load(schemas(), partitions=3, begin_ms=1_796_000_000_000)


def test_every_event_makes_one_message_and_no_decision() -> None:
    """The condition is there and true, the key is the event's, and no two events share an id."""
    context = make_context(
        templates=bench_templates(schemas()), encode=OutputEncoder(schemas(), stream_format=WireFormat.AVRO)
    )
    bench_load = load()
    (template,) = context.templates.templates
    keys = set()
    for number in range(0, 3 * FORMS, 7):
        outcome = map_record(bench_load.source_record(number, EVENTS_TOPIC), context)
        assert isinstance(outcome, Processed)
        assert outcome.decision is None
        assert outcome.wrong_key is None
        (created,) = outcome.created
        keys.add(created.message.encodedKey)

    assert template.conditions
    assert len(range(0, 3 * FORMS, 7)) == len(keys)


def test_events_are_of_the_promised_kind() -> None:
    """About 1.2 KB; a third of the names not ASCII; texts that JSON escapes; an account stays in its partition."""
    bench_load, context = load(), make_context()
    events: list[tuple[int, Event]] = []
    for number in range(2 * FORMS):
        record = bench_load.source_record(number, EVENTS_TOPIC)
        events.append((record.position.partition, make_source(record, context).event))
    names = [event.fields["client"]["fullName"] for _, event in events]
    methods = {event.fields["transaction"]["method"] for _, event in events}

    assert 1_150 <= bench_load.value_bytes() <= 1_300
    assert 0.3 <= sum(not name.isascii() for name in names) / len(names) <= 0.35
    assert {'"', "\\", "\n", "\x01", "\u2028"} <= set("".join(method or "" for method in methods))
    assert None in methods
    partitions_of: dict[str, set[int]] = {}
    for partition, event in events:
        partitions_of.setdefault(event.ordering_key, set()).add(partition)
    assert {1} == {len(partitions) for partitions in partitions_of.values()}
