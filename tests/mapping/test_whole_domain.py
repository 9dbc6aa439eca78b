"""The whole domain: every event by the shipped templates, and every output read back by its schema."""

import json

import pytest

from processor.domain.catalogue import EVENTS
from processor.domain.outcome import Processed
from processor.templates.load import SHIPPED
from processor.wire.output_fields import read_message, read_stream_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import make_context, make_event, make_record, map_record, schemas
from tests.support.output_readers import read_notification, read_status

FOLDERS = ("events", "samples")
EXAMPLES = {path.stem: json.loads(path.read_text()) for folder in FOLDERS for path in (SHIPPED / folder).glob("*.json")}


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_event_makes_a_message(name: str, form: WireFormat) -> None:
    """Each event that is shipped makes at least one message and fails no template; what is published is
    what was created, read back from its bytes by its schema. The texts are those that the templates' samples expect."""
    outcome = map_record(make_record(make_event(EXAMPLES[name])), make_context(form=form), frozenset())
    assert isinstance(outcome, Processed)
    read = {"messages": read_message, "status": read_status, "notifications": read_notification}
    by_topic = {"communications.messages": "messages", "communications.status": "status"}
    by_topic["notifications.messages"] = "notifications"
    found = [
        read[by_topic[out.topic]](out.value or b"", out.headers, schemas=schemas())
        for out in outcome.outputs
        if out.topic in by_topic
    ]
    expected = [
        value
        for created in outcome.created
        for value in (created.message, created.status, created.notification)
        if value is not None
    ]
    streamed = [
        read_stream_event(out.value or b"", out.headers, schemas=schemas())
        for out in outcome.outputs
        if "streamingapi" in out.topic
    ]

    assert outcome.created
    assert () == outcome.failed
    assert expected == found
    assert [created.stream_event for created in outcome.created if created.stream_event] == streamed


def test_every_event_is_covered() -> None:
    """No event of the catalogue is left out."""
    assert set(EVENTS) == {example["event"] for example in EXAMPLES.values()}
