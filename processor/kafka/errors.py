"""The client's errors: which are retriable, what they mean for people, and which error of the process they become.

Non-obvious: most errors of a call say no more than that no response came. The clearest cause comes by another way, the
client's `error_cb`, so each client has a `Connection` that keeps it.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from processor.errors import AuthorizationError, DependencyError, UnavailableError
from processor.settings import Settings

log = structlog.get_logger()

ERROR_LOG_INTERVAL_S: Final = 10.0  # of the same error of a client

AUTHORIZATION_ERRORS: Final[frozenset[int]] = frozenset(
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
"""Errors that are not retriable: a person has to grant something."""

RETRIABLE_CONSUMER_ERRORS: Final[frozenset[int]] = frozenset(
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
"""Errors after which the consumer recovers by itself; they are logged."""

FETCH_ADVICE: Final[Mapping[int, str]] = {  # error of a fetch -> what may be done about it
    KafkaError._BAD_COMPRESSION: "the batch is damaged, or it unpacks to more than the consumer's "
    "receive.message.max.bytes",
    KafkaError.MSG_SIZE_TOO_LARGE: "the batch is larger than the consumer's receive.message.max.bytes",
    KafkaError._CRIT_SYS_RESOURCE: "there is no memory to unpack the batch",
    KafkaError._BAD_MSG: "the batch is damaged",
    KafkaError.INVALID_MSG: "the batch is damaged on the broker's disk",
}

BROKER_HINT: Final = "check PROCESSOR_KAFKA__BOOTSTRAP_SERVERS; `processor kafka` starts a local one"

NO_CONNECTION_ERRORS: Final[frozenset[int]] = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
    }
)
"""Errors that say no more than that no response came."""

RECORD_LEVEL_ERRORS: Final[frozenset[int]] = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
"""Errors that one record of a batch causes, and every record of the same produce request reports."""

LEADER_MOVED_ERRORS: Final[frozenset[int]] = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
"""Errors of a partition whose leader is another broker, or does not know of it yet: the same request succeeds soon."""

TOPIC_GONE_ERRORS: Final[frozenset[int]] = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
"""Errors of a topic that was deleted, or has fewer partitions than it had: a person has to create or grow it."""


def error_of(exception: KafkaException) -> KafkaError:
    """The KafkaError inside the exception."""
    error: KafkaError = exception.args[0]
    return error


def raise_if_unauthorized(error: KafkaError, *, hint: str) -> None:
    """Raise AuthorizationError when `error` says that we may not; `hint` is what to grant."""
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        hint += "; what is read outside of the group needs READ on the group's name with -reader behind it"
    if error.code() in AUTHORIZATION_ERRORS:
        raise AuthorizationError(f"not allowed: {error.name()}: {error.str()}", hint=hint)


def is_partition_error(message: Message) -> bool:
    """Whether the error `message` is of the fetch of one partition. Errors of the group or of a whole topic have no
    topic or no offset; their partition is 0 (librdkafka 2.16.1 leaves it as it was allocated)."""
    return message.topic() is not None and message.offset() is not None


def fetch_error_text(message: Message) -> str:
    """Why the partition that the error `message` names cannot be read further, with the position. The client retries by
    itself; it may go on behind a damaged batch, so a caller that must not miss a record has to seek."""
    error = message.error()
    assert error is not None
    advice = FETCH_ADVICE.get(error.code())
    position = f"{message.topic()}[{message.partition()}]@{message.offset()}"
    return f"{position} cannot be read: {error.name()}: {error.str()}" + (f"; {advice}" if advice else "")


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
        if self._logs_errors and now - self._logged_at.get(error.code(), -ERROR_LOG_INTERVAL_S) >= ERROR_LOG_INTERVAL_S:
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


class Client(Protocol):
    """A client that keeps the clearest error of its connections."""

    connection: Connection

    def poll(self, timeout: float, /) -> object:
        """Serve the callbacks."""


class NoResponseError(UnavailableError):
    """No broker responds. `str` is the cause that the client gave, `hint` what to check."""

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def no_response(client: Client, error: KafkaError) -> NoResponseError:
    """Why a request failed with `error`, which often says no more than that no response came."""
    client.poll(0)  # serves the callbacks
    cause = client.connection.take_cause()
    if cause is None or error.code() not in NO_CONNECTION_ERRORS:
        return NoResponseError(f"{error.name()}: {error.str()}", hint=BROKER_HINT)
    what, hint = f"{cause.name()}: {cause.str()}", BROKER_HINT
    if cause.code() == KafkaError._AUTHENTICATION:
        hint = "check sasl.mechanism, sasl.username and sasl.password in PROCESSOR_KAFKA__COMMON"
    elif cause.code() == KafkaError._SSL:
        hint = "check ssl.ca.location and security.protocol in PROCESSOR_KAFKA__COMMON"
    elif "PLAINTEXT broker listener" in cause.str() or "SSL" in cause.str():
        hint = "check security.protocol in PROCESSOR_KAFKA__COMMON: the port may be one without TLS"
    elif cause.code() == KafkaError._ALL_BROKERS_DOWN:
        what = f"{cause.name()}: connections are closed without a response"  # the client says: 0/2 brokers are down
        hint = "check security.protocol in PROCESSOR_KAFKA__COMMON: a port for TLS or SASL closes what begins otherwise"
    return NoResponseError(what, hint=hint)


@contextmanager
def translate_broker_errors(client: Client, *, hint: str) -> Iterator[None]:
    """Requests to the broker. Raises NoResponseError when none comes, AuthorizationError with `hint`, what to grant."""
    try:
        yield
    except TimeoutError as late:
        raise no_response(client, KafkaError(KafkaError._TIMED_OUT, "the broker did not respond")) from late
    except KafkaException as exception:
        error = error_of(exception)
        raise_if_unauthorized(error, hint=hint)
        raise no_response(client, error) from exception


@contextmanager
def exit_on_broker_errors(settings: Settings, client: Client, *, hint: str) -> Iterator[None]:
    """The same for a command, which does not retry: DependencyError, with the brokers' addresses, for no response."""
    try:
        with translate_broker_errors(client, hint=hint):
            yield
    except NoResponseError as error:
        raise DependencyError(f"no response from {settings.bootstrap_servers}: {error}", hint=error.hint) from error
