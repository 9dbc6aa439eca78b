"""What became of each source offset, read from the outputs of a real run, on a real broker."""

import json
import threading
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final, cast

import pytest
from confluent_kafka import Consumer, Message, Producer
from structlog.testing import capture_logs

from processor.domain.message import State
from processor.domain.outcome import DeadLetterOutcome, DecisionOutcome, SourceOutcome, StatusOutcome
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import Headers, RecordPosition, Topic
from processor.engine import output_scan
from processor.engine.output_scan import FirstRecord, OutcomeReader
from processor.errors import InputError, UnavailableError
from processor.kafka import read_range
from processor.kafka.clients import create_admin
from processor.kafka.read_range import StalledReadError, chunks_back, newest_first, open_reader
from tests.engine.test_output_scan import offsets, open_transaction, put_outputs, window_at_start
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.wire import JSON_HEADERS

pytestmark = pytest.mark.kafka

OPERATION: Final = "replay-20261129T075501Z-3f2a91c0"
OF_OPERATION: Final[Headers] = (*JSON_HEADERS, ("operation", OPERATION.encode()))


def outcome_reader(installation: Installation) -> OutcomeReader:
    """Of partition 0, as it is now."""
    return OutcomeReader(
        installation.settings,
        installation.schemas,
        0,
        schema_of=installation.schemas.local_schema,
        admin=create_admin(installation.settings),
    )


def begin_offsets(installation: Installation) -> dict[Topic, int]:
    """Of all that the three topics hold."""
    return dict.fromkeys((installation.status, installation.decisions, installation.dead_letters), 0)


def all_outcomes(installation: Installation, **options: Any) -> list[SourceOutcome]:
    """All that the outputs say."""
    return list(outcome_reader(installation).outcomes_from(begin_offsets(installation), **options))


def run_mixed(installation: Installation) -> None:
    """At offsets 0 to 4: messages, a repeat, broken bytes, an empty value, another tenant's event."""
    installation.produce_events([repayment(1), repayment(1)])
    installation.produce_values([b"broken", b""])
    installation.produce_events([{**repayment(2), "tenant": "southbank"}])
    installation.run()


def plain(outcome: SourceOutcome) -> tuple[Any, ...]:
    """What an outcome says, without the names that tests do not share."""
    common = (outcome.source.offset, outcome.event_id, outcome.event, outcome.operation)
    match outcome:
        case StatusOutcome():
            return (*common, "status", outcome.template_id, outcome.encoded_key, outcome.state)
        case DecisionOutcome():
            return (*common, "decision", tuple(reason.reason for reason in outcome.reasons), outcome.reasons_left_out)
        case DeadLetterOutcome():
            return (*common, "dead letter", outcome.reason, outcome.failed, outcome.is_complete, outcome.has_value)


def expected_of(installation: Installation) -> list[tuple[Any, ...]]:
    """The same by the records' JSON alone."""
    statuses = [
        (
            status["source"]["offset"],
            status["eventId"],
            status["event"],
            None,
            "status",
            status["templateId"],
            status["encodedKey"],
            State(status["to"]),
        )
        for status in installation.read_statuses()
    ]
    decisions = [
        (
            decision["source"]["offset"],
            decision.get("eventId"),
            decision.get("event"),
            None,
            "decision",
            tuple(DecisionReason(reason["reason"]) for reason in decision["reasons"]),
            0,
        )
        for decision in installation.read_decisions()
    ]
    dead_letters = [
        (
            int(dict(letter.headers() or ())["dl.offset"] or b""),
            None,
            None,
            None,
            "dead letter",
            Reason.BAD_FRAME,
            (),
            True,
            True,
        )
        for letter in installation.read(installation.dead_letters)
    ]
    return [*statuses, *decisions, *dead_letters]


@pytest.mark.parametrize("form", ["json", "avro"])
def test_all_outcomes_of_a_run(bootstrap_servers: str, topic_prefix: str, form: str) -> None:
    """Statuses, decisions and dead letters of a real run, in both formats, each with all that it says."""
    plain_json = create_installation(bootstrap_servers, f"{topic_prefix}json.")
    installation = create_installation(bootstrap_servers, f"{topic_prefix}{form}2.", output={"format": form})
    for each in (plain_json, installation):
        run_mixed(each)
    expected = expected_of(plain_json)

    assert expected == [plain(outcome) for outcome in all_outcomes(installation)]
    assert {0: "status", 1: "decision", 2: "dead letter", 3: "decision", 4: "decision"} == {
        outcome[0]: outcome[4] for outcome in reversed(expected)
    }
    assert {installation.templates.digest, None} == {outcome.set_version for outcome in all_outcomes(installation)}
    assert {RecordPosition(installation.events, 0, 0).topic} == {
        outcome.source.topic for outcome in all_outcomes(installation)
    }


def first_status(installation: Installation, **changed: Any) -> bytes:
    """The first status of the installation, of another source."""
    (first, *_) = readable_statuses(installation)
    return json.dumps({**first, **changed}).encode()


def readable_statuses(installation: Installation) -> list[dict[str, Any]]:
    """Those in JSON."""
    values = [record.value() or b"" for record in installation.read(installation.status)]
    return [json.loads(value) for value in values if value.startswith(b"{")]


def at_source(installation: Installation, offset: int) -> dict[str, Any]:
    """A status' source."""
    return {"topic": installation.events, "partition": 0, "offset": offset}


def sources(outcomes: Iterable[SourceOutcome]) -> set[int]:
    return {outcome.source.offset for outcome in outcomes}


@contextmanager
def committing_transaction(installation: Installation, values: Iterable[bytes]) -> Iterator[Producer]:
    """A transaction with statuses, open within the block, which may commit it."""
    properties = {"bootstrap.servers": installation.servers, "transactional.id": f"{installation.events}-committing"}
    producer = Producer(logged({**properties, "linger.ms": 0, "transaction.timeout.ms": 300_000}))
    producer.init_transactions(10)
    producer.begin_transaction()
    for value in values:
        producer.produce(installation.status, value, b"key", 0, headers=list(JSON_HEADERS))
    assert producer.flush(10) == 0
    yield producer


def test_what_transactions_hold(bootstrap_servers: str, topic_prefix: str) -> None:
    """Aborted outputs say nothing. One that is open when the pass begins is waited for, and what it commits is read."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    with open_transaction(
        installation, installation.status, [first_status(installation, source=at_source(installation, 7))], JSON_HEADERS
    ):
        pass
    late = first_status(installation, source=at_source(installation, 8))
    with committing_transaction(installation, [late]) as producer:
        commit = threading.Timer(1.0, producer.commit_transaction, args=(10,))
        commit.start()
        outcomes = all_outcomes(installation)
        commit.join()

    assert {0, 8} == sources(outcomes)


def test_a_transaction_that_nobody_ends(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass ends with the topic, the offset, and for how long it waited; what lies before is given first."""
    monkeypatch.setattr(read_range, "OPEN_TRANSACTION_TIMEOUT_S", 1.0)
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    value = first_status(installation)
    at = outcome_reader(installation).extents()[installation.status].end
    seen = []
    with (
        open_transaction(installation, installation.status, [value], JSON_HEADERS),
        pytest.raises(UnavailableError) as stalled,
    ):
        for outcome in outcome_reader(installation).outcomes_from(begin_offsets(installation)):
            seen.append(outcome)

    assert (
        f"{installation.status}[0]@{at} cannot be read: a transaction is open there, and was not ended for 1 s"
        == str(stalled.value)
    )
    assert {0} == sources(seen)


def test_later_statuses_are_passed_over(bootstrap_servers: str, topic_prefix: str) -> None:
    """One of sequence 2 says nothing of what became of its source."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    before = all_outcomes(installation)
    later = first_status(installation, sequence=2, to="WAITING", **{"from": "QUEUED"})
    put_outputs(installation, installation.status, [later], JSON_HEADERS)

    assert before == all_outcomes(installation)


def test_newer_versions_and_foreign_records(bootstrap_servers: str, topic_prefix: str) -> None:
    """A state that is not known hides nothing. What cannot be read at all is an error that names it, or ignored and
    logged; another partition's is not ours."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    newer = first_status(installation, to="DELIVERED", extra=1, source=at_source(installation, 5))
    foreign = first_status(installation, source={**at_source(installation, 6), "partition": 1})
    put_outputs(installation, installation.status, [newer, foreign], JSON_HEADERS)
    at = outcome_reader(installation).extents()[installation.status].end
    put_outputs(installation, installation.status, [b"{"], JSON_HEADERS)
    with capture_logs() as logs:
        tolerant = all_outcomes(installation, strict=False)
    with pytest.raises(InputError) as refused:
        all_outcomes(installation)

    assert {0, 5} == sources(tolerant)
    assert [None] == [
        outcome.state for outcome in tolerant if outcome.source.offset == 5 and isinstance(outcome, StatusOutcome)
    ]
    assert f"{installation.status}[0]@{at} cannot be read, so" in str(refused.value)
    assert "--start-from" not in str(refused.value)
    assert 1 == len([line for line in logs if line["event"] == "output cannot be read"])


def test_where_a_pass_begins(bootstrap_servers: str, topic_prefix: str) -> None:
    """From given offsets on; those of a time leave out what was written before it; one that lies behind the last
    record is the end. The first record of each topic is what tells whether the beginning is still there."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    assert {None} == set(outcome_reader(installation).first_records().values())
    installation.produce_events([repayment(1)])
    installation.run()
    (first, *_) = installation.read(installation.status)
    time.sleep(0.05)
    between_ms = int(time.time() * 1000)
    time.sleep(0.05)
    installation.produce_events([repayment(2)])
    installation.run()
    reader = outcome_reader(installation)
    since = reader.offsets_at(between_ms)
    at_end = reader.offsets_at(between_ms + 3_600_000)

    assert FirstRecord(0, first.timestamp()[1]) == reader.first_records()[installation.status]
    assert reader.first_records()[installation.dead_letters] is None
    assert {1} == sources(reader.outcomes_from(since))
    assert [] == list(reader.outcomes_from(at_end))
    assert {topic: extent.end for topic, extent in reader.extents().items()} == at_end
    assert [] == list(reader.outcomes_from({installation.decisions: 0}))


def test_progress_of_a_pass(bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes up to the number of all offsets, never over it and never back."""
    monkeypatch.setattr(output_scan, "PROGRESS_INTERVAL_OFFSETS", 7)
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(number % 30) for number in range(60)])
    installation.run()
    calls: list[tuple[int, int]] = []
    all_outcomes(installation, on_progress=lambda done, total: calls.append((done, total)))
    total = sum(extent.end - extent.first for extent in outcome_reader(installation).extents().values())

    assert {total} == {total for _, total in calls}
    assert sorted(done for done, _ in calls) == [done for done, _ in calls]
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise([(0, total), *calls])]
    assert max(gaps) <= 7 + 10  # transactions' markers are no records
    assert (total, total) == calls[-1]


def test_a_long_pass_keeps_nothing(bootstrap_servers: str, topic_prefix: str) -> None:
    """20,000 outputs are read in the memory of a few."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    values = (first for first in [first_status(installation)] for _ in range(20_000))
    put_outputs(installation, installation.status, values, JSON_HEADERS)
    tracemalloc.start()
    try:
        count = sum(1 for _ in outcome_reader(installation).outcomes_from(begin_offsets(installation)))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count > 20_000
    assert peak_bytes < 3_000_000


def test_all_that_is_said_of_one_record(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `run` said, and what an operation added long after; outputs of older records are not read for it."""
    monkeypatch.setattr(output_scan, "FIRST_CHUNK_OFFSETS", 3)
    installation = create_installation(bootstrap_servers, topic_prefix)
    put_outputs(installation, installation.status, [b"unreadable"])  # at the beginning, so it is not come to
    installation.produce_events([repayment(number) for number in range(30)])
    installation.run(start_from="beginning")
    added = first_status(installation, templateId="newer", source=at_source(installation, 25))
    put_outputs(installation, installation.status, [added], OF_OPERATION)
    with capture_logs() as logs:
        outcomes = list(outcome_reader(installation).outcomes_of(25))

    by_template = {
        str(outcome.template_id): outcome.operation for outcome in outcomes if isinstance(outcome, StatusOutcome)
    }
    assert {25} == sources(outcomes)
    assert OPERATION == by_template.pop("newer")
    assert {None} == set(by_template.values())
    assert by_template.keys() == {
        status["templateId"] for status in readable_statuses(installation) if status["source"]["offset"] == 25
    } - {"newer"}
    assert [] == [line for line in logs if line["event"] == "output cannot be read"]


def test_outputs_of_an_operation_do_not_end_the_window(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay writes of old sources behind all others: the window is read back beyond what it wrote."""
    monkeypatch.setattr(output_scan, "FIRST_CHUNK_OFFSETS", 3)
    installation = create_installation(bootstrap_servers, topic_prefix, deduplication={"records": 20})
    installation.produce_events([repayment(number) for number in range(30)])
    installation.run()
    old = [first_status(installation, source=at_source(installation, 2))] * 3
    put_outputs(installation, installation.status, old, OF_OPERATION)

    assert list(range(10, 30)) == offsets(window_at_start(installation))


def test_the_newest_records_of_any_topic_come_first(bootstrap_servers: str, topic_prefix: str) -> None:
    """With their positions, by a reader of one's own, in any steps; what that one cannot read is named."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    topic = installation.decisions
    put_outputs(installation, topic, [json.dumps(number).encode() for number in range(10)], OF_OPERATION)

    def even(message: Message) -> int | None:
        number = int(message.value() or b"")
        return number if number % 2 == 0 else None

    with open_reader(installation.settings, hint="") as reader:
        found = list(newest_first(reader, topic, 0, begin=1, end=10, read=even))
        first, *_ = newest_first(reader, topic, 0, begin=0, end=10, read=even)

    assert [(RecordPosition(topic, 0, number), number) for number in (8, 6, 4, 2)] == found
    assert (RecordPosition(topic, 0, 8), 8) == first
    put_outputs(installation, topic, [b"x"], OF_OPERATION)
    with (
        open_reader(installation.settings, hint="") as reader,
        pytest.raises(ValueError, match=rf"{topic}\[0\]@10 cannot be read: invalid literal"),
    ):
        list(newest_first(reader, topic, 0, begin=0, end=11, read=even))


@pytest.mark.parametrize(
    ("begin", "end", "chunks"),
    [
        (0, 0, []),
        (5, 3, []),
        (0, 3, [(0, 3)]),
        (0, 10, [(7, 10), (1, 7), (0, 1)]),
        (4, 100, [(97, 100), (91, 97), (79, 91), (55, 79), (7, 55), (4, 7)]),
    ],
)
def test_chunks_back(begin: int, end: int, chunks: list[tuple[int, int]]) -> None:
    """Each twice as long as the one before, all offsets once."""
    assert chunks == list(chunks_back(begin, end, first_offsets=3))


def test_one_reader_goes_from_topic_to_topic_at_once(bootstrap_servers: str, topic_prefix: str) -> None:
    """librdkafka by itself looks for the leaders of another topic once a second."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    topics = (installation.events, installation.status, installation.operations, installation.messages)
    seconds = []
    for _ in range(3):
        with open_reader(installation.settings, hint="") as reader:
            began = time.monotonic()
            for topic in topics:
                assert 1 == len(list(read_range.read_range(reader, topic, 0, 0, 1)))
            seconds.append(time.monotonic() - began)

    assert min(seconds) < 1.5, seconds


class SilentReader:
    """Gives some messages, and then nothing."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)

    def assign(self, _partitions: object) -> None:
        """Any."""

    def assignment(self) -> list[object]:
        """None so far."""
        return []

    def list_topics(self, _topic: str, _timeout_s: float) -> None:
        """Nothing about them."""

    def poll(self, _timeout_s: float) -> Message | None:
        """The next one."""
        return self._messages.pop(0) if self._messages else None

    def consume(self, _count: int, _timeout_s: float) -> list[Message]:
        """Nothing has come since."""
        return []


def test_a_broker_that_gives_nothing_is_no_open_transaction() -> None:
    """What would have come next is named, and the cause is not guessed."""
    reader = cast(Consumer, SilentReader(Message(topic="status", partition=3, offset=5, value=b"x")))
    records = read_range.read_range(reader, Topic("status"), 3, 4, 10)
    assert 5 == next(records).offset()
    with pytest.raises(StalledReadError) as stalled:
        next(records)

    assert "status[3]@6 cannot be read: the broker gave no record for 30 s" == stalled.value.description
    assert "status[3] cannot be read to its end: a transaction is open there" == str(stalled.value)
