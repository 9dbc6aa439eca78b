"""Headers of events on their outputs, on a real broker: what is null or no trace on an event stays behind."""

from pathlib import Path

import pytest
from confluent_kafka import Producer

from processor.domain.event import Event
from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName, Headers
from processor.kafka.clients import headers_of
from processor.shipped import sample
from processor.wire.dead_letter import read_dead_letter
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat
from tests.support.clients import logged
from tests.support.installation import create_installation

pytestmark = pytest.mark.kafka

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TEMPLATES = {
    "mail": 'type = "EMAIL"\nrecipient = "CLIENT"\nsubject = "Repaid"\nbody = "<p>{ACCOUNT_ID}</p>"',
    "stream": 'type = "EVENT_STREAM"\ncontent_type = "PLAIN_TEXT"\nbody = "{ACCOUNT_ID}"',
    "off": 'type = "EMAIL"\nactive = false\nrecipient = "CLIENT"\nsubject = "Repaid"\nbody = "<p>{ACCOUNT_ID}</p>"',
    "fails": 'type = "SMS"\nrecipient = "CLIENT"\nstrict = true\nbody = "{GROUP_ID}"',
}
BAD: Headers = (
    ("traceparent", None),
    ("tracestate", None),
    ("correlation-id", None),
    ("traceparent", PARENT),
    ("correlation-id", b"\xff\x00"),
)
GOOD: Headers = (("traceparent", PARENT), ("tracestate", b"a=1"), ("tracestate", b"b=2"), ("correlation-id", b"c-1"))


def test_no_reader_meets_a_null_header(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """All outputs of an event and of an empty record; the dead letter has the event's headers, nulls too."""
    for name, lines in TEMPLATES.items():
        (tmp_path / f"{name}.toml").write_text(
            f'id = "{name}"\nversion = 1\nname = "{name}"\nevent = "LOAN_REPAYMENT"\ntarget = "LOANS"\n'
            f'subscription = "OPT_OUT"\n{lines}\n'
        )
    installation = create_installation(bootstrap_servers, topic_prefix, templates_dir=tmp_path)
    event = event_from_json(sample(EventName("LOAN_REPAYMENT")), installation.schemas)
    assert isinstance(event, Event)
    value, _ = encode_event(event.fields, installation.schemas, format=WireFormat.AVRO)
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    sent: tuple[tuple[bytes | None, Headers], ...] = ((value, BAD), (None, BAD), (None, GOOD))
    for content, headers in sent:
        producer.produce(installation.events, content, event.ordering_key, 0, headers=list(headers))
    assert producer.flush(30) == 0
    installation.run()

    named = installation.settings.topic
    topics = [
        named(FixedOutput.MESSAGES),
        named(FixedOutput.STATUS),
        named(FixedOutput.NOTIFICATIONS),
        installation.settings.stream_topic(event.name),
    ]
    for topic in topics:
        outputs = installation.read(topic)
        assert outputs
        for output in outputs:
            assert [] == [pair for pair in headers_of(output) if pair[0] not in ("content-type", "lineage")]
    *bad, good = [headers_of(decision) for decision in installation.read(named(FixedOutput.DECISIONS))]
    assert [("content-type", b"application/json")] * 2 == [pair for pairs in bad for pair in pairs]
    assert (
        ("traceparent", PARENT),
        ("tracestate", b"a=1,b=2"),
        ("correlation-id", b"c-1"),
        ("content-type", b"application/json"),
    ) == good
    (letter,) = installation.read(named(FixedOutput.DEAD_LETTERS))
    assert BAD == read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter)).headers
