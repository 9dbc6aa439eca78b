"""The deduplication window after a restart: what a record was when it was processed decides, on a real broker."""

import json
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
from processor.domain.reasons import Reason
from processor.domain.record import Headers, RecordPosition, SchemaGuid, SchemaId
from processor.engine import output_scan as published
from processor.engine import start_offsets
from processor.errors import UnavailableError
from processor.settings import SchemaRegistrySettings
from processor.wire.dead_letter import dead_letter_record
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.schema import WriterSchema
from tests.support.builders import make_layout
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.http_server import NO_SCHEMA, LoopbackServer, Response, json_response, responses
from tests.support.installation import Installation, create_installation, start_offset_resolver

pytestmark = pytest.mark.kafka

SCHEMA_ID: Final = 7


def loan_schema(made: Installation) -> ReaderSchema:
    return next(schema for schema in made.schemas.families.values() if "LoanTransaction" in schema.name)


def put_with_registered_id(made: Installation, event: dict[str, Any]) -> None:
    """An event whose schema only a registry knows, as SCHEMA_ID."""
    value, key = made.encode(event)
    producer = Producer(logged({"bootstrap.servers": made.servers}))
    producer.produce(made.events, b"\x00" + SCHEMA_ID.to_bytes(4, "big") + value[5:], key, 0)
    assert producer.flush(10) == 0


def with_settings(made: Installation, **changed: Any) -> Installation:
    """The same installation, started with other settings."""
    return replace(made, settings=made.settings.model_copy(update=changed))


def duplicates(made: Installation) -> list[int]:
    """Source offsets of the decisions DUPLICATE_EVENT."""
    return [
        decision["source"]["offset"]
        for decision in made.read_decisions()
        if any(reason["reason"] == "DUPLICATE_EVENT" for reason in decision["reasons"])
    ]


def sources(made: Installation) -> set[int]:
    """Source offsets that have messages."""
    return {status["source"]["offset"] for status in made.read_statuses()}


def test_a_dead_letter_does_not_hide_the_repeat(bootstrap_servers: str, topic_prefix: str) -> None:
    """UNKNOWN_SCHEMA, then its schema is registered and the process starts again: the repeat is mapped."""
    known: dict[str, Response] = {}
    with LoopbackServer(responses(known)) as loopback:
        made = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=loopback.url)
        )
        put_with_registered_id(made, repayment(1))
        made.run()
        known[f"/schemas/ids/{SCHEMA_ID}"] = json_response({"schema": loan_schema(made).text})
        made.produce_events([repayment(1)])
        made.run()

    assert [] == duplicates(made)
    assert {1} == sources(made)


def test_a_schema_that_is_gone_makes_no_second_message(bootstrap_servers: str, topic_prefix: str) -> None:
    """Mapped, then its schema id is deleted from the registry and the process starts again: the repeat is none."""
    known: dict[str, Response] = {}
    with LoopbackServer(responses(known)) as loopback:
        made = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=loopback.url)
        )
        known[f"/schemas/ids/{SCHEMA_ID}"] = json_response({"schema": loan_schema(made).text})
        put_with_registered_id(made, repayment(1))
        made.run()
        known.clear()
        made.produce_events([repayment(1)])
        made.run()

    assert [1] == duplicates(made)
    assert {0} == sources(made)


def test_a_stricter_key_check_makes_no_second_message(bootstrap_servers: str, topic_prefix: str) -> None:
    """Mapped under a wrong key, then the check becomes strict: the repeat is none."""
    made = create_installation(bootstrap_servers, topic_prefix)
    value, key = made.encode(repayment(1))
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(made.events, value, "another", 0)
    assert producer.flush(10) == 0
    made.run()
    strict = with_settings(made, key_check="strict")
    strict.produce_events([repayment(1)])
    strict.run()

    assert [1] == duplicates(made)
    assert {0} == sources(made)
    assert key != "another"


def test_what_failed_for_its_templates_counts(bootstrap_servers: str, topic_prefix: str) -> None:
    """TEMPLATE_FAILED of a record that made nothing else: the repeat after a restart is a duplicate."""
    made = create_installation(
        bootstrap_servers, topic_prefix, channels={"disabled": ["EVENT_STREAM"]}, decisions="off"
    )
    made.limit(made.settings.topic("messages"), 2_500)
    event = repayment(1, firstName="x" * 3_000)
    made.produce_events([event])
    made.run()
    made.produce_events([event])
    with_settings(made, decisions="all").run()

    (letter,) = made.read(made.settings.topic("dead_letters"))
    headers = dict(letter.headers() or ())
    assert (b"TEMPLATE_FAILED", event["eventId"].encode()) == (headers["dl.reason"], headers["dl.event_id"])
    assert (b"LOAN_REPAYMENT", made.templates.digest.encode()) == (headers["dl.event"], headers["dl.set_version"])
    assert [1] == duplicates(made)


def test_which_dead_letters_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """Those of events whose templates failed or whose outputs were refused; none that the record itself is at fault
    for, also where its event could be read."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(number) for number, _ in enumerate(Reason)])
    made.run(start_from="end")  # nothing was seen of any
    topic = make_layout(dead_letters=1_000_000).dead_letters
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for offset, reason in enumerate(Reason):
        letter = DeadLetter(
            place=RecordPosition(made.events, 0, offset),
            timestamp_ms=1_773_480_413_702,
            key=b"key",
            value=b"value",
            headers=(),
            reason=reason,
            detail="",
            event_id=repayment(offset)["eventId"],
        )
        out = dead_letter_record(letter, topic=topic)
        producer.produce(made.settings.topic("dead_letters"), out.value, out.key, 0, headers=list(out.headers))
    assert producer.flush(10) == 0

    assert [Reason.TEMPLATE_FAILED, Reason.OUTPUT_REFUSED] == [list(Reason)[offset] for offset in offsets(seen(made))]


def test_another_tenants_event_does_not_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """TENANT_DISABLED is no event of ours, whatever its id: one of ours with that id is mapped after a restart."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([{**repayment(1), "tenant": "southbank"}])
    made.run()
    made.produce_events([repayment(1)])
    made.run()

    assert {1} == sources(made)


@pytest.mark.parametrize("decisions", ["off", "unexpected"])
def test_records_without_an_outcome_are_read_from_the_input(
    bootstrap_servers: str, topic_prefix: str, decisions: str
) -> None:
    """Where decisions are not written, an event that made no message counts all the same, also after a restart."""
    made = create_installation(
        bootstrap_servers, topic_prefix, decisions=decisions, channels={"disabled": ["EMAIL", "EVENT_STREAM"]}
    )
    made.produce_events([repayment(1), repayment(2)])
    made.run()
    assert set() == sources(made)
    on = with_settings(made, channels=made.settings.channels.model_copy(update={"disabled": ()}))
    on.produce_events([repayment(1)])
    on.run()

    assert set() == sources(made)
    assert [3] == made.committed()


def test_a_record_that_cannot_be_decoded_now_defers_the_start(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no outcome was written and the registry does not respond, the start stays unknown: without that event its
    repeat would be mapped."""
    made = create_installation(
        bootstrap_servers, topic_prefix, decisions="off", channels={"disabled": ["EMAIL", "EVENT_STREAM"]}
    )
    made.produce_events([repayment(1)])
    made.run()
    starts = start_offset_resolver(made)

    def unavailable(_: SchemaId | SchemaGuid) -> WriterSchema:
        raise UnavailableError("the registry does not respond")

    monkeypatch.setattr(starts, "_schemas_of_outputs", unavailable)
    monkeypatch.setattr(start_offsets, "REGISTRY_TIMEOUT_S", 0.0)

    with pytest.raises(UnavailableError, match="the registry does not respond"):
        starts.resolve(0)


def test_a_skipped_record_does_not_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """Skipped by `--start-from end`: nobody has seen it, so its repeat is mapped."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(1)])
    made.run(start_from="end")
    made.produce_events([repayment(1)])
    made.run()

    assert {1} == sources(made)


def seen(made: Installation) -> tuple[SeenEvent, ...]:
    """The window that a process would start with now."""
    return start_offset_resolver(made).resolve(0).seen


def offsets(events: Iterable[SeenEvent]) -> list[int]:
    return [event.place.offset for event in events]


@contextmanager
def open_transaction(made: Installation, topic: str, values: Iterable[bytes], headers: Headers) -> Iterator[None]:
    """Somebody's transaction with records in partition 0 of an output, open within the block and aborted then."""
    given = {"bootstrap.servers": made.servers, "transactional.id": f"{made.events}-other", "linger.ms": 0}
    producer = Producer(logged({**given, "transaction.timeout.ms": 300_000}))
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


def test_an_open_transaction_in_an_output_holds_nobody_up(bootstrap_servers: str, topic_prefix: str) -> None:
    """One that nobody ends, as a broker's lost marker leaves it: what is committed behind its begin is in the window
    all the same, and no start waits for it."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(1)])
    made.run()
    status = made.settings.topic("status")
    (first, *_) = made.read(status)
    with open_transaction(made, status, [first.value() or b""], JSON_HEADERS):
        made.produce_events([repayment(2)])
        made.run()
        made.produce_events([repayment(1), repayment(2)])
        began = time.monotonic()
        made.run()
        took_s = time.monotonic() - began

    assert [2, 3] == duplicates(made)
    assert took_s < published.OPEN_TRANSACTION_TIMEOUT_S


def test_what_is_committed_wins_over_what_is_not(bootstrap_servers: str, topic_prefix: str) -> None:
    """A record that became a dead letter for itself, and of which a try before that is still open: it is not in the
    window, so its event may come again."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(1)])
    made.run()
    (status, *_) = made.read_statuses()
    value, _ = made.encode(repayment(2))
    made.produce_values([value])  # its key is not the event's
    strict = with_settings(made, key_check="strict")
    strict.run()
    other = {**status, "eventId": repayment(2)["eventId"], "source": {**status["source"], "offset": 1}}
    with open_transaction(made, made.settings.topic("status"), [json.dumps(other).encode()], JSON_HEADERS):
        window = seen(strict)

    assert [0] == offsets(window)


def emails(made: Installation) -> list[int]:
    """The source offsets of all e-mails' statuses."""
    return [status["source"]["offset"] for status in made.read_statuses() if status["type"] == "EMAIL"]


def test_the_window_is_read_back_piece_by_piece(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the pieces, all events of the window are found, in order, and nothing older."""
    monkeypatch.setattr(published, "FIRST_CHUNK_OFFSETS", 3)
    made = create_installation(bootstrap_servers, topic_prefix, deduplication={"records": 20}, max_batch_records=7)
    made.produce_events([repayment(number % 45) for number in range(50)])
    made.run()

    assert list(range(30, 50)) == offsets(seen(made))


def test_a_position_that_was_set_back_finds_what_was_before(bootstrap_servers: str, topic_prefix: str) -> None:
    """Two passes lie one behind the other in the outputs; the window of the second has what only the first judged."""
    made = create_installation(bootstrap_servers, topic_prefix, deduplication={"records": 10})
    made.produce_events([repayment(number) for number in range(20)])
    made.run()
    made.set_position(12)
    made.run()
    made.set_position(15)

    assert dict.fromkeys(range(12, 20), 2) == {
        offset: count for offset, count in Counter(emails(made)).items() if count > 1
    }
    assert list(range(5, 15)) == offsets(seen(made))


def test_a_foreign_record_among_the_outputs_stops_nobody(bootstrap_servers: str, topic_prefix: str) -> None:
    """It is logged with its place and passed over; the events beside it are in the window."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(1)])
    made.run()
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    nothing = b'{"source": {"offset": -1}, "reasons": []}'  # neither framed nor with the header of JSON
    for topic in (made.settings.topic("status"), made.settings.topic("decisions"), made.settings.topic("dead_letters")):
        producer.produce(topic, nothing, b"key", 0)
    assert producer.flush(10) == 0
    made.produce_events([repayment(1)])
    with capture_logs() as logs:
        made.run()

    assert [1] == duplicates(made)
    assert {-1, 0} == sources(made)
    assert 3 == len([line for line in logs if line["event"] == "output cannot be read"])


def test_statuses_of_a_newer_version_are_read(bootstrap_servers: str, topic_prefix: str) -> None:
    """A state that we do not know, or a field more, hides no event: only what is said of the source is read."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(1)])
    made.run()
    (first, *_) = made.read_statuses()
    newer = json.dumps({**first, "to": "DELIVERED", "extra": 1, "source": {**first["source"], "offset": 5}})
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(made.settings.topic("status"), newer, b"key", 0, headers={"content-type": b"application/json"})
    assert producer.flush(10) == 0
    made.produce_events([repayment(number) for number in range(2, 8)])
    made.run()

    assert 5 in offsets(seen(made))


def put_outputs(made: Installation, topic: str, values: Iterable[bytes], headers: Headers = ()) -> None:
    """Records in partition 0 of an output, as somebody else may write them."""
    producer = Producer(logged({"bootstrap.servers": made.servers}))
    for value in values:
        producer.produce(topic, value, b"key", 0, headers=list(headers) or None)
    assert producer.flush(10) == 0


def test_a_later_status_says_nothing_of_the_window(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told of a message's delivery lies anywhere behind its birth, at a time of its own: it neither ends the
    reading back nor gives its source another time."""
    monkeypatch.setattr(published, "FIRST_CHUNK_OFFSETS", 3)
    made = create_installation(bootstrap_servers, topic_prefix, deduplication={"records": 20})
    made.produce_events([repayment(number) for number in range(30)])
    made.run()
    before = seen(made)
    first, last = made.read_statuses()[0], made.read_statuses()[-1]
    later = [
        json.dumps({**one, "sequence": 2, "at": "2030-01-01T00:00:00.000Z"}).encode() for one in (first, first, last)
    ]
    put_outputs(made, made.settings.topic("status"), later, (("content-type", b"application/json"),))

    assert list(range(10, 30)) == offsets(before)
    assert before == seen(made)


def test_a_dead_letter_of_somebody_else_stops_nobody(bootstrap_servers: str, topic_prefix: str) -> None:
    """Whatever its headers hold, it is passed over."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events([repayment(1)])
    made.run()
    letter = DeadLetter(
        place=RecordPosition(made.events, 0, 0),
        timestamp_ms=1_773_480_413_702,
        key=b"key",
        value=b"value",
        headers=(),
        reason=Reason.TEMPLATE_FAILED,
        detail="",
    )
    out = dead_letter_record(letter, topic=make_layout(dead_letters=1_000_000).dead_letters)
    deep = tuple((name, b"[" * 100_000 if name == "dl.failed" else value) for name, value in out.headers)
    put_outputs(made, made.settings.topic("dead_letters"), [b"value"], deep)
    made.produce_events([repayment(1)])
    made.run()

    assert [1] == duplicates(made)


def test_many_unknown_ids_among_the_outputs_stop_nobody(bootstrap_servers: str, topic_prefix: str) -> None:
    """A producer of other bytes, such as whole numbers, wrote to an output: the registry knows none of the ids."""
    with LoopbackServer(responses({})) as loopback:
        made = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=loopback.url)
        )
        made.produce_events([repayment(1)])
        made.run()
        numbers = [b"\x00" + number.to_bytes(7, "big") for number in range(0, 30_000_000_000, 1_000_000_000)]
        put_outputs(made, made.settings.topic("status"), numbers)
        made.produce_events([repayment(1)])
        made.run()

    assert [1] == duplicates(made)


def test_many_refused_ids_among_the_outputs_stop_nobody(bootstrap_servers: str, topic_prefix: str) -> None:
    """The same where the registry fails for each such id and gives others: no start waits for the time after which the
    records of an id are dead letters."""

    def respond(path: str) -> Response:
        if path == "/subjects":
            return json_response(["another"])
        return Response(500) if path.startswith("/schemas/ids/") else NO_SCHEMA

    with LoopbackServer(respond) as loopback:
        refusing = SchemaRegistrySettings(url=loopback.url, refused_id_s=600)
        made = create_installation(bootstrap_servers, topic_prefix, schema_registry=refusing)
        made.produce_events([repayment(1)])
        made.run()
        numbers = [b"\x00" + number.to_bytes(7, "big") for number in range(0, 8_000_000_000, 1_000_000_000)]
        put_outputs(made, made.settings.topic("status"), numbers)
        made.produce_events([repayment(1)])
        made.run()

    assert [1] == duplicates(made)
