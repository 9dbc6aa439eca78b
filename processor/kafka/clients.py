"""The Kafka clients of the engine, and what their errors mean: the one place where librdkafka's settings are chosen."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from processor.domain.record import Headers, RecordPosition, SourceRecord, Topic
from processor.errors import AuthorizationError, DependencyError, UnavailableError, UsageError
from processor.settings import Settings

Properties = dict[str, Any]
T = TypeVar("T")

log = structlog.get_logger()

ERROR_EVERY_S = 10.0
SESSION_MS = 10_000  # of a reader too: what an operator sets beside it was checked against this
SETTLED_MS = 6_000  # heartbeats come every 5 s (group.consumer.heartbeat.interval.ms)

AUTHORIZATION_ERRORS: frozenset[int] = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
    }
)
"""Errors that no waiting mends: a person has to grant something."""

RETRIABLE_CONSUMER_ERRORS: frozenset[int] = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._PARTITION_EOF,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
    }
)
"""Errors that the consumer mends by itself; they are logged."""

RECEIVE_BYTES = 1_000_000_000
"""A batch that unpacks to more stops its partition; up to here a record that is too large becomes a dead letter. It is
allocated for such a batch alone: what is fetched ahead is bounded by `queued.max.messages.kbytes`."""

FETCH_ADVICE: Mapping[int, str] = {  # error of a fetch -> what may be done about it
    KafkaError._BAD_COMPRESSION: "the batch is damaged, or it unpacks to more than the consumer's "
    "receive.message.max.bytes",
    KafkaError.MSG_SIZE_TOO_LARGE: "the batch is larger than the consumer's receive.message.max.bytes",
    KafkaError._CRIT_SYS_RESOURCE: "there is no memory to unpack the batch",
    KafkaError._BAD_MSG: "the batch is damaged",
    KafkaError.INVALID_MSG: "the batch is damaged on the broker's disk",
}

BROKER_HINT = "check PROCESSOR_KAFKA__BOOTSTRAP_SERVERS; `processor kafka` starts a local one"

NO_CONNECTION_ERRORS: frozenset[int] = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
    }
)
"""Errors that say no more than that nobody answered."""

RECORD_LEVEL_ERRORS: frozenset[int] = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
"""Errors that one record of a batch causes, and every record of the same produce request reports."""

TOPIC_GONE: frozenset[int] = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
"""Errors of a topic that was deleted, or has fewer partitions than it had: a person has to create or grow it."""


def error_of(exception: KafkaException) -> KafkaError:
    """The KafkaError inside the exception."""
    error: KafkaError = exception.args[0]
    return error


def raise_if_unauthorized(error: KafkaError, *, hint: str) -> None:
    """Raise AuthorizationError when `error` says that we may not; `hint` is what to grant."""
    if error.code() in AUTHORIZATION_ERRORS:
        raise AuthorizationError(f"not allowed: {error.name()}: {error.str()}", hint=hint)


def is_of_partition(message: Message) -> bool:
    """Whether the error `message` is of the fetch of one partition. Errors of the group or of a whole topic have no
    topic or no offset; their partition is 0 (librdkafka 2.16.1 leaves it as it was allocated)."""
    return message.topic() is not None and message.offset() is not None


def fetch_fault(message: Message) -> str:
    """What keeps the partition that the error `message` names from being read on, with its place. The client tries
    again by itself; it may go on behind a damaged batch, so who must not miss a record has to seek."""
    error = message.error()
    assert error is not None
    advice = FETCH_ADVICE.get(error.code())
    place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
    return f"{place} cannot be read: {error.name()}: {error.str()}" + (f"; {advice}" if advice else "")


class Connection:
    """What librdkafka reports of one client's connections: its `error_cb` and its `logger`, called within `poll` and
    other calls of the client. The client retries by itself; its clearest error is named when a call gets no response.

    The same error is logged once in 10 s: librdkafka reports each attempt, ten and more a second while a broker is
    away. Without `logs_errors` only lines of librdkafka's own log are logged.
    """

    def __init__(self, client: str, *, logs_errors: bool) -> None:
        self._client = client
        self._logs_errors = logs_errors
        self._logged_at: dict[int, float] = {}
        self._cause: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """As `error_cb`."""
        if self._cause is None or _weight(error) >= _weight(self._cause):
            self._cause = error
        now = time.monotonic()
        if self._logs_errors and now - self._logged_at.get(error.code(), -ERROR_EVERY_S) >= ERROR_EVERY_S:
            self._logged_at[error.code()] = now
            log.warning("kafka client error", client=self._client, error=error.name(), detail=error.str())

    def log(self, level: int, template: str, *values: object) -> None:
        """As `logger`: a line that would go to stderr. A warning at most, fatal errors included: calls report those."""
        log.log(min(level, logging.WARNING), "kafka client log", client=self._client, detail=template % values)

    def take_cause(self) -> KafkaError | None:
        """Return and forget the clearest error so far; None when there was none."""
        cause, self._cause = self._cause, None
        return cause


def _weight(error: KafkaError) -> int:
    """How clear an error is: a refused log-in above a broken connection, and that above no connection at all."""
    if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE):
        return 2
    return int(error.code() != KafkaError._ALL_BROKERS_DOWN)


class Admin(AdminClient):
    """An admin client that knows why it has no connection."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.connection = Connection("admin", logs_errors=False)
        given: Properties = {**properties, "error_cb": self.connection, "logger": self.connection}
        super().__init__(given)


class Reader(Consumer):
    """A consumer outside of any group, which knows why it has no connection."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.connection = Connection("reader", logs_errors=False)
        super().__init__({**properties, "error_cb": self.connection, "logger": self.connection})


class NoAnswerError(UnavailableError):
    """No broker responds. `str` is the cause that the client gave, `hint` what to check."""

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def no_answer(client: Admin | Reader, error: KafkaError) -> NoAnswerError:
    """Why a request failed with `error`, which often says no more than that nobody responded."""
    client.poll(0)  # serves the callbacks
    cause = client.connection.take_cause()
    if cause is None or error.code() not in NO_CONNECTION_ERRORS:
        return NoAnswerError(f"{error.name()}: {error.str()}", hint=BROKER_HINT)
    what, hint = f"{cause.name()}: {cause.str()}", BROKER_HINT
    if cause.code() == KafkaError._AUTHENTICATION:
        hint = "check sasl.mechanism, sasl.username and sasl.password in PROCESSOR_KAFKA__COMMON"
    elif cause.code() == KafkaError._SSL:
        hint = "check ssl.ca.location and security.protocol in PROCESSOR_KAFKA__COMMON"
    elif "PLAINTEXT broker listener" in cause.str() or "SSL" in cause.str():
        hint = "check security.protocol in PROCESSOR_KAFKA__COMMON: the port may be one without TLS"
    elif cause.code() == KafkaError._ALL_BROKERS_DOWN:
        what = (
            f"{cause.name()}: connections are closed before anything is answered"  # the client's: 0/2 brokers are down
        )
        hint = "check security.protocol in PROCESSOR_KAFKA__COMMON: a port for TLS or SASL closes what begins otherwise"
    return NoAnswerError(what, hint=hint)


def unreachable(settings: Settings, client: Admin | Reader, error: KafkaError) -> DependencyError:
    """The end of a command that got no answer."""
    cause = no_answer(client, error)
    return DependencyError(f"no answer from {settings.bootstrap_servers}: {cause}", hint=cause.hint)


def refuse_hidden(client: Admin, topics: Iterable[Topic], *, within_s: float) -> None:
    """Raise AuthorizationError for those of `topics` that we may not see: a broker leaves them out of its list, as if
    there were none. Blocks for one request, of at most `within_s`. Other errors are ignored."""
    hidden = []
    for name, described in client.describe_topics(TopicCollection([*topics]), request_timeout=within_s).items():
        try:
            described.result(within_s + 2)
        except (KafkaException, TimeoutError) as failure:
            if (
                isinstance(failure, KafkaException)
                and error_of(failure).code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
            ):
                hidden.append(name)
    if hidden:
        raise AuthorizationError(
            f"not allowed to see {', '.join(hidden)}", hint="grant DESCRIBE and DESCRIBE_CONFIGS on our topics"
        )


@contextmanager
def translate_broker_errors(client: Admin | Reader, *, hint: str) -> Iterator[None]:
    """A question to the broker: NoAnswerError when it does not answer, AuthorizationError with `hint` if it refuses."""
    try:
        yield
    except TimeoutError as late:
        raise no_answer(client, KafkaError(KafkaError._TIMED_OUT, "the broker did not answer")) from late
    except KafkaException as exception:
        error = error_of(exception)
        raise_if_unauthorized(error, hint=hint)
        raise no_answer(client, error) from exception


def headers_of(message: Message) -> Headers:
    """The headers of a record that was read. Its values are bytes or null, though the client's type says more.

    ValueError when a name is not UTF-8, as Kafka asks for: confluent-kafka 2.16.1 then returns with an exception set,
    and cannot be asked again for the same record. Only a call from C notices that at once, as SystemError: Python's own
    calls are let through, and the next one that is checked fails, wherever it is (seen with 3.11.2).
    """
    try:
        return cast(Headers, tuple(partial(message.headers)() or ()))
    except (SystemError, UnicodeDecodeError) as error:
        raise ValueError("the name of a header is not UTF-8") from error


def source_record(message: Message) -> SourceRecord:
    """A record of the input as it was read; headers that cannot be read are a fault that mapping judges."""
    fault = ""
    try:
        headers = headers_of(message)
    except ValueError as error:
        headers, fault = (), str(error)
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None, "a record that was read has its place"
    return SourceRecord(
        place=RecordPosition(Topic(message.topic() or ""), partition, offset),
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers,
        headers_error=fault,
    )


def common_properties(settings: Settings) -> Properties:
    """What every client has: servers, and what people passed through.

    librdkafka's own lines are kept to the critical ones: its errors come to `error_cb`. No client creates a topic by
    asking for it: a broker that creates topics by itself gives one with its own defaults.
    """
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "processor",
        "log_level": 2,
        **settings.kafka.common,
        "allow.auto.create.topics": False,  # which a producer does unless it is switched off
    }


def consumer_properties(settings: Settings) -> Properties:
    """The consumer of `run`.

    `fetch.queue.backoff.ms` defaults to a second and costs a factor of three in throughput; the metadata is refreshed
    often, so that a new partition is seen within seconds. The whole group waits for a member that was killed until its
    session ends: 10 s, not the default's 45. `auto.offset.reset=error`: where a partition starts is ours to decide
    (start_offsets.py).
    """
    chosen: Properties = {
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "topic.metadata.refresh.interval.ms": 10_000,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_MS,
        "receive.message.max.bytes": RECEIVE_BYTES,
        **common_properties(settings),
        **settings.kafka.consumer,
        "group.id": settings.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
    }
    if chosen.get("group.protocol") == "consumer":
        for ours in ("partition.assignment.strategy", "session.timeout.ms"):
            del chosen[ours]  # the broker assigns and ends sessions (KIP-848); librdkafka refuses these settings
    return chosen


def producer_properties(
    settings: Settings, *, transactional_id: str, largest_record_bytes: int, smallest_limit_bytes: int
) -> Properties:
    """The producer of one slot. Reports of delivery are asked for failures only: the commit waits for all the others.

    `batch.size` is at most the smallest `max.message.bytes` of our outputs, as librdkafka does not split a batch that
    a topic refuses. `retry.backoff.ms`: a transaction's first request is put off while the markers of the one before
    are written (CONCURRENT_TRANSACTIONS), and librdkafka's 100 ms would be the latency's tail; it doubles with each
    retry. `topic.metadata.propagation.max.ms`: what is sent to a topic that was deleted fails after 2 s, not after the
    whole transaction's time; a new topic that not every broker knows yet is tried again by us.
    """
    return {
        "linger.ms": 1,
        "retry.backoff.ms": 10,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 131_072,
        "topic.metadata.refresh.interval.ms": 10_000,
        "topic.metadata.propagation.max.ms": 2_000,
        **common_properties(settings),
        **settings.kafka.producer,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": settings.transaction_timeout_ms,
        "delivery.report.only.error": True,
        "message.max.bytes": largest_record_bytes,
        "batch.size": min(1_000_000, smallest_limit_bytes),
    }


def admin(settings: Settings) -> Admin:
    """For questions about topics, offsets and groups. Connects on its first question. UsageError as `consumer`."""
    return _made(Admin, common_properties(settings))


def standalone_consumer(
    settings: Settings,
    *,
    group: str | None = None,
    isolation: str = "read_committed",
    more: Mapping[str, Any] | None = None,
) -> Reader:
    """A consumer that joins no group and commits nothing: for looking into topics, and for the positions of `group`."""
    return _made(
        Reader,
        {
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 16_384,  # the starts of eight partitions are found at once
            "receive.message.max.bytes": RECEIVE_BYTES,
            "session.timeout.ms": SESSION_MS,
            **common_properties(settings),
            **settings.kafka.consumer,
            "group.protocol": "classic",
            "group.id": group or f"{settings.group_id}-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            **(more or {}),
        },
    )


OnFailure = Callable[[KafkaError, str], None]
"""Called with why a delivery failed, and the topic."""


def producer(properties: Mapping[str, Any], *, on_failure: OnFailure) -> Producer:
    """A producer whose failed deliveries come to `on_failure`, within poll and commit. UsageError as `consumer`."""

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            on_failure(error, message.topic() or "")

    return plain_producer({**properties, "on_delivery": on_delivery})


def plain_producer(properties: Mapping[str, Any]) -> Producer:
    """A producer whose connection errors and own lines are logged. UsageError as `consumer`."""
    connection = Connection("producer", logs_errors=True)
    return _made(Producer, {**properties, "error_cb": connection, "logger": connection})


class CoordinatorMonitor:
    """What a consumer's statistics tell of its group's coordinator, as they come within `poll`.

    The only news of a KIP-848 member that gets no partition. To ask the broker for the group's members takes an admin
    client, which ends the process (an assertion of librdkafka 2.16.1) while the coordinator is away.
    """

    def __init__(self) -> None:
        self.answers = False  #: The coordinator is there, and has been for some heartbeats.

    def __call__(self, statistics: str) -> None:
        group = json.loads(statistics).get("cgrp", {})
        self.answers = group.get("state") == "up" and group.get("stateage", 0) >= SETTLED_MS


def consumer(properties: Mapping[str, Any], *, coordinator: CoordinatorMonitor | None = None) -> Consumer:
    """The consumer of `run`. Raises UsageError for properties that do not go together."""
    watched = {"statistics.interval.ms": 1_000, "stats_cb": coordinator} if coordinator is not None else {}
    connection = Connection("consumer", logs_errors=True)
    return _made(Consumer, {**properties, **watched, "error_cb": connection, "logger": connection})


def _made(kind: Callable[[Properties], T], properties: Properties) -> T:
    try:
        return kind(properties)
    except KafkaException as exception:
        raise UsageError(
            f"librdkafka refuses the properties of the {kind.__name__.lower()}: {error_of(exception).str()}",
            hint="PROCESSOR_KAFKA__COMMON, __CONSUMER and __PRODUCER pass properties on",
        ) from exception
