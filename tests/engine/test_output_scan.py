"""The deduplication window after a restart: what a record was when it was processed decides, on a real broker."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from processor.domain.event import SeenEvent
from processor.domain.message import DeadLetter
from processor.domain.output_topics import FixedOutput
from processor.domain.reasons import Reason
from processor.domain.record import Headers, RecordPosition, SchemaGuid, SchemaId
from processor.engine import output_scan, start_offsets
from processor.errors import UnavailableError
from processor.kafka import read_range
from processor.mapping.event_plans import EventPlans
from processor.mapping.options import KeyCheck, WrittenDecisions
from processor.settings import SchemaRegistrySettings
from processor.wire.dead_letter import dead_letter_record
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.schema import WriterSchema
from tests.support.builders import make_output_topics
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.http_server import NO_SCHEMA, LoopbackServer, Response, json_response, responses
from tests.support.installation import Installation, create_installation, start_offset_resolver

pytestmark = pytest.mark.kafka

SCHEMA_ID: Final = 7


def loan_schema(installation: Installation) -> ReaderSchema:
    return next(schema for schema in installation.schemas.families.values() if "LoanTransaction" in schema.name)


def put_with_registered_id(installation: Installation, event: dict[str, Any]) -> None:
    """An event whose schema only a registry knows, as SCHEMA_ID."""
    value, key = installation.encode(event)
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    producer.produce(installation.events, b"\x00" + SCHEMA_ID.to_bytes(4, "big") + value[5:], key, 0)
    assert producer.flush(10) == 0


def with_settings(installation: Installation, **changed: Any) -> Installation:
    """The same installation, started with other settings."""
    return replace(installation, settings=installation.settings.model_copy(update=changed))


def duplicate_offsets(installation: Installation) -> list[int]:
    """Source offsets of the decisions DUPLICATE_EVENT."""
    return [
        decision["source"]["offset"]
        for decision in installation.read_decisions()
        if any(reason["reason"] == "DUPLICATE_EVENT" for reason in decision["reasons"])
    ]


def source_offsets(installation: Installation) -> set[int]:
    """Source offsets that have messages."""
    return {status["source"]["offset"] for status in installation.read_statuses()}


def test_a_dead_letter_does_not_hide_the_repeat(bootstrap_servers: str, topic_prefix: str) -> None:
    """UNKNOWN_SCHEMA, then its schema is registered and the process starts again: the repeat is mapped."""
    registered: dict[str, Response] = {}
    with LoopbackServer(responses(registered)) as loopback:
        installation = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=loopback.url)
        )
        put_with_registered_id(installation, repayment(1))
        installation.run()
        registered[f"/schemas/ids/{SCHEMA_ID}"] = json_response({"schema": loan_schema(installation).text})
        installation.produce_events([repayment(1)])
        installation.run()

    assert [] == duplicate_offsets(installation)
    assert {1} == source_offsets(installation)


def test_a_schema_that_is_gone_makes_no_second_message(bootstrap_servers: str, topic_prefix: str) -> None:
    """Mapped, then its schema id is deleted from the registry and the process starts again: the repeat is none."""
    registered: dict[str, Response] = {}
    with LoopbackServer(responses(registered)) as loopback:
        installation = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=loopback.url)
        )
        registered[f"/schemas/ids/{SCHEMA_ID}"] = json_response({"schema": loan_schema(installation).text})
        put_with_registered_id(installation, repayment(1))
        installation.run()
        registered.clear()
        installation.produce_events([repayment(1)])
        installation.run()

    assert [1] == duplicate_offsets(installation)
    assert {0} == source_offsets(installation)


def test_a_stricter_key_check_makes_no_second_message(bootstrap_servers: str, topic_prefix: str) -> None:
    """Mapped under a wrong key, then the check becomes strict: the repeat is none."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    value, key = installation.encode(repayment(1))
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(installation.events, value, "another", 0)
    assert producer.flush(10) == 0
    installation.run()
    strict = with_settings(installation, key_check=KeyCheck.STRICT)
    strict.produce_events([repayment(1)])
    strict.run()

    assert [1] == duplicate_offsets(installation)
    assert {0} == source_offsets(installation)
    assert key != "another"


def test_a_record_whose_templates_failed_counts(bootstrap_servers: str, topic_prefix: str) -> None:
    """TEMPLATE_FAILED of a record that made nothing else: the repeat after a restart is a duplicate."""
    installation = create_installation(
        bootstrap_servers, topic_prefix, channels={"disabled": ["EVENT_STREAM"]}, decisions="off"
    )
    installation.limit(installation.settings.topic(FixedOutput.MESSAGES), 2_500)
    event = repayment(1, firstName="x" * 3_000)
    installation.produce_events([event])
    installation.run()
    installation.produce_events([event])
    with_settings(installation, decisions=WrittenDecisions.ALL).run()

    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    headers = dict(letter.headers() or ())
    assert (b"TEMPLATE_FAILED", event["eventId"].encode()) == (headers["dl.reason"], headers["dl.event_id"])
    assert (b"LOAN_REPAYMENT", installation.templates.digest.encode()) == (
        headers["dl.event"],
        headers["dl.set_version"],
    )
    assert [1] == duplicate_offsets(installation)


def test_which_dead_letters_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """Those of events whose templates failed or whose outputs were refused; none that the record itself is at fault
    for, also where its event could be read."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(number) for number, _ in enumerate(Reason)])
    installation.run(start_from="end")  # nothing was seen of any
    topic = make_output_topics(dead_letters=1_000_000).dead_letters
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for offset, reason in enumerate(Reason):
        letter = DeadLetter(
            position=RecordPosition(installation.events, 0, offset),
            timestamp_ms=1_773_480_413_702,
            key=b"key",
            value=b"value",
            headers=(),
            reason=reason,
            detail="",
            event_id=repayment(offset)["eventId"],
        )
        out = dead_letter_record(letter, topic=topic)
        producer.produce(
            installation.settings.topic(FixedOutput.DEAD_LETTERS), out.value, out.key, 0, headers=list(out.headers)
        )
    assert producer.flush(10) == 0

    assert [Reason.TEMPLATE_FAILED, Reason.OUTPUT_REFUSED] == [
        list(Reason)[offset] for offset in offsets(window_at_start(installation))
    ]


def test_another_tenants_event_does_not_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """TENANT_DISABLED is no event of ours, whatever its id: one of ours with that id is mapped after a restart."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([{**repayment(1), "tenant": "southbank"}])
    installation.run()
    installation.produce_events([repayment(1)])
    installation.run()

    assert {1} == source_offsets(installation)


@pytest.mark.parametrize("decisions", ["off", "unexpected"])
def test_records_without_an_outcome_are_read_from_the_input(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, decisions: str
) -> None:
    """Where decisions are not written, an event that made no message counts all the same, also after a restart. They
    are read in a thread, by the reference: plans are the loop's."""
    scan, threads = EventPlans.scan, set[threading.Thread]()

    def scan_seen(self: EventPlans, *args: Any, **options: Any) -> Any:
        threads.add(threading.current_thread())
        return scan(self, *args, **options)

    monkeypatch.setattr(EventPlans, "scan", scan_seen)
    installation = create_installation(
        bootstrap_servers, topic_prefix, decisions=decisions, channels={"disabled": ["EMAIL", "EVENT_STREAM"]}
    )
    installation.produce_events([repayment(1), repayment(2)])
    installation.run()
    assert set() == source_offsets(installation)
    on = with_settings(installation, channels=installation.settings.channels.model_copy(update={"disabled": ()}))
    on.produce_events([repayment(1)])
    on.run()

    assert set() == source_offsets(installation)
    assert [3] == installation.committed()
    assert {threading.main_thread()} == threads


def test_a_record_that_cannot_be_decoded_now_defers_the_start(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no outcome was written and the registry does not respond, the start stays unknown: without that event its
    repeat would be mapped."""
    installation = create_installation(
        bootstrap_servers, topic_prefix, decisions="off", channels={"disabled": ["EMAIL", "EVENT_STREAM"]}
    )
    installation.produce_events([repayment(1)])
    installation.run()
    starts = start_offset_resolver(installation)

    def unavailable(_: SchemaId | SchemaGuid) -> WriterSchema:
        raise UnavailableError("the registry does not respond")

    monkeypatch.setattr(starts, "_schemas_of_outputs", unavailable)
    monkeypatch.setattr(start_offsets, "REGISTRY_TIMEOUT_S", 0.0)

    with pytest.raises(UnavailableError, match="the registry does not respond"):
        starts.resolve(0)


def test_a_skipped_record_does_not_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """Skipped by `--start-from end`: nobody has seen it, so its repeat is mapped."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run(start_from="end")
    installation.produce_events([repayment(1)])
    installation.run()

    assert {1} == source_offsets(installation)


def window_at_start(installation: Installation) -> tuple[SeenEvent, ...]:
    """The window that a process would start with now."""
    return start_offset_resolver(installation).resolve(0).seen


def offsets(events: Iterable[SeenEvent]) -> list[int]:
    return [event.offset for event in events]


@contextmanager
def open_transaction(
    installation: Installation, topic: str, values: Iterable[bytes], headers: Headers
) -> Iterator[None]:
    """A foreign producer's transaction in partition 0 of an output, open within the block and aborted then."""
    properties = {
        "bootstrap.servers": installation.servers,
        "transactional.id": f"{installation.events}-other",
        "linger.ms": 0,
    }
    producer = Producer(logged({**properties, "transaction.timeout.ms": 300_000}))
    producer.init_transactions(10)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, b"key", 0, headers=list(headers))
    assert producer.flush(10) == 0
    try:
        yield
    finally:
        producer.abort_transaction(10)


JSON_HEADERS: Final[Headers] = (("content-type", b"application/json"),)


def test_an_open_transaction_in_an_output_delays_no_start(bootstrap_servers: str, topic_prefix: str) -> None:
    """One that nobody ends, as a broker's lost marker leaves it: what is committed behind its begin is in the window
    all the same, and no start waits for it."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    status = installation.settings.topic(FixedOutput.STATUS)
    (first, *_) = installation.read(status)
    with open_transaction(installation, status, [first.value() or b""], JSON_HEADERS):
        installation.produce_events([repayment(2)])
        installation.run()
        installation.produce_events([repayment(1), repayment(2)])
        began = time.monotonic()
        installation.run()
        took_s = time.monotonic() - began

    assert [2, 3] == duplicate_offsets(installation)
    assert took_s < read_range.OPEN_TRANSACTION_TIMEOUT_S


def test_a_committed_outcome_wins_over_an_open_one(bootstrap_servers: str, topic_prefix: str) -> None:
    """A record that became a dead letter for itself, and of which a try before that is still open: it is not in the
    window, so its event may come again."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    (status, *_) = installation.read_statuses()
    value, _ = installation.encode(repayment(2))
    installation.produce_values([value])  # its key is not the event's
    strict = with_settings(installation, key_check=KeyCheck.STRICT)
    strict.run()
    other = {**status, "eventId": repayment(2)["eventId"], "source": {**status["source"], "offset": 1}}
    with open_transaction(
        installation, installation.settings.topic(FixedOutput.STATUS), [json.dumps(other).encode()], JSON_HEADERS
    ):
        window = window_at_start(strict)

    assert [0] == offsets(window)


def emails(installation: Installation) -> list[int]:
    """The source offsets of all e-mails' statuses."""
    return [status["source"]["offset"] for status in installation.read_statuses() if status["type"] == "EMAIL"]


def test_the_window_is_read_back_in_chunks(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the chunks, all events of the window are found, in order, and nothing older."""
    monkeypatch.setattr(output_scan, "FIRST_CHUNK_OFFSETS", 3)
    installation = create_installation(
        bootstrap_servers, topic_prefix, deduplication={"records": 20}, max_batch_records=7
    )
    installation.produce_events([repayment(number % 45) for number in range(50)])
    installation.run()

    assert list(range(30, 50)) == offsets(window_at_start(installation))


def test_the_window_after_a_rewind_spans_both_passes(bootstrap_servers: str, topic_prefix: str) -> None:
    """Two passes lie one behind the other in the outputs; the second's window has what only the first processed."""
    installation = create_installation(bootstrap_servers, topic_prefix, deduplication={"records": 10})
    installation.produce_events([repayment(number) for number in range(20)])
    installation.run()
    installation.set_position(12)
    installation.run()
    installation.set_position(15)

    assert dict.fromkeys(range(12, 20), 2) == {
        offset: count for offset, count in Counter(emails(installation)).items() if count > 1
    }
    assert list(range(5, 15)) == offsets(window_at_start(installation))


def test_a_foreign_record_among_the_outputs_is_skipped(bootstrap_servers: str, topic_prefix: str) -> None:
    """It is logged with its position and skipped; the events beside it are in the window."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    nothing = b'{"source": {"offset": -1}, "reasons": []}'  # neither framed nor with the header of JSON
    for topic in (
        installation.settings.topic(FixedOutput.STATUS),
        installation.settings.topic(FixedOutput.DECISIONS),
        installation.settings.topic(FixedOutput.DEAD_LETTERS),
    ):
        producer.produce(topic, nothing, b"key", 0)
    assert producer.flush(10) == 0
    installation.produce_events([repayment(1)])
    with capture_logs() as logs:
        installation.run()

    assert [1] == duplicate_offsets(installation)
    assert {-1, 0} == source_offsets(installation)
    assert 3 == len([line for line in logs if line["event"] == "output cannot be read"])


def test_statuses_of_a_newer_version_are_read(bootstrap_servers: str, topic_prefix: str) -> None:
    """A state that we do not know, or a field more, hides no event: only what is said of the source is read."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    (first, *_) = installation.read_statuses()
    newer = json.dumps({**first, "to": "DELIVERED", "extra": 1, "source": {**first["source"], "offset": 5}})
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(
        installation.settings.topic(FixedOutput.STATUS), newer, b"key", 0, headers={"content-type": b"application/json"}
    )
    assert producer.flush(10) == 0
    installation.produce_events([repayment(number) for number in range(2, 8)])
    installation.run()

    assert 5 in offsets(window_at_start(installation))


def put_outputs(installation: Installation, topic: str, values: Iterable[bytes], headers: Headers = ()) -> None:
    """Records in partition 0 of an output, as somebody else may write them."""
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    for value in values:
        producer.produce(topic, value, b"key", 0, headers=list(headers) or None)
    assert producer.flush(10) == 0


def test_later_statuses_do_not_affect_the_window(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message's delivery statuses lie anywhere behind its creation, at times of their own: they neither end the
    reading back nor give their source another time."""
    monkeypatch.setattr(output_scan, "FIRST_CHUNK_OFFSETS", 3)
    installation = create_installation(bootstrap_servers, topic_prefix, deduplication={"records": 20})
    installation.produce_events([repayment(number) for number in range(30)])
    installation.run()
    before = window_at_start(installation)
    first, last = installation.read_statuses()[0], installation.read_statuses()[-1]
    later = [
        json.dumps({**status, "sequence": 2, "at": "2030-01-01T00:00:00.000Z"}).encode()
        for status in (first, first, last)
    ]
    put_outputs(
        installation, installation.settings.topic(FixedOutput.STATUS), later, (("content-type", b"application/json"),)
    )

    assert list(range(10, 30)) == offsets(before)
    assert before == window_at_start(installation)


def test_a_foreign_dead_letter_is_skipped(bootstrap_servers: str, topic_prefix: str) -> None:
    """Whatever its headers hold, it is skipped."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    letter = DeadLetter(
        position=RecordPosition(installation.events, 0, 0),
        timestamp_ms=1_773_480_413_702,
        key=b"key",
        value=b"value",
        headers=(),
        reason=Reason.TEMPLATE_FAILED,
        detail="",
    )
    out = dead_letter_record(letter, topic=make_output_topics(dead_letters=1_000_000).dead_letters)
    deep = tuple((name, b"[" * 100_000 if name == "dl.failed" else value) for name, value in out.headers)
    put_outputs(installation, installation.settings.topic(FixedOutput.DEAD_LETTERS), [b"value"], deep)
    installation.produce_events([repayment(1)])
    installation.run()

    assert [1] == duplicate_offsets(installation)


def test_many_unknown_ids_among_the_outputs_delay_no_start(bootstrap_servers: str, topic_prefix: str) -> None:
    """A producer of other bytes, such as whole numbers, wrote to an output: the registry knows none of the ids."""
    with LoopbackServer(responses({})) as loopback:
        installation = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=loopback.url)
        )
        installation.produce_events([repayment(1)])
        installation.run()
        numbers = [b"\x00" + number.to_bytes(7, "big") for number in range(0, 30_000_000_000, 1_000_000_000)]
        put_outputs(installation, installation.settings.topic(FixedOutput.STATUS), numbers)
        installation.produce_events([repayment(1)])
        installation.run()

    assert [1] == duplicate_offsets(installation)


def test_many_refused_ids_among_the_outputs_delay_no_start(bootstrap_servers: str, topic_prefix: str) -> None:
    """The same where the registry fails for each such id and gives others: no start waits for the time after which the
    records of an id are dead letters."""

    def respond(path: str) -> Response:
        if path == "/subjects":
            return json_response(["another"])
        return Response(500) if path.startswith("/schemas/ids/") else NO_SCHEMA

    with LoopbackServer(respond) as loopback:
        refusing = SchemaRegistrySettings(url=loopback.url, refused_id_s=600)
        installation = create_installation(bootstrap_servers, topic_prefix, schema_registry=refusing)
        installation.produce_events([repayment(1)])
        installation.run()
        numbers = [b"\x00" + number.to_bytes(7, "big") for number in range(0, 8_000_000_000, 1_000_000_000)]
        put_outputs(installation, installation.settings.topic(FixedOutput.STATUS), numbers)
        installation.produce_events([repayment(1)])
        installation.run()

    assert [1] == duplicate_offsets(installation)
