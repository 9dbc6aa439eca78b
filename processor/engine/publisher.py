"""One transactional producer at a time: what it publishes is committed as a whole with the positions, or not at all.

Non-obvious: after anything but a clear commit nothing is known. A commit that timed out may still be completed by
`init_transactions` of the next producer. So there is one path for aborts, time-outs and fences: a new producer with the
same transactional.id, `init_transactions`, and then the consumer goes to what the group has committed (consumer.py).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processor.background import call_in_thread
from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutFields, OutRecord, Topic
from processor.engine.step import Step, StepHook
from processor.errors import DependencyError, FencedError, UsageError
from processor.kafka.clients import OnFailure
from processor.kafka.errors import (
    RECORD_LEVEL_ERRORS,
    TOPIC_GONE_ERRORS,
    error_of,
    raise_if_unauthorized,
)

log = structlog.get_logger()

CALL_TIMEOUT_S = 1.0
"""No call blocks longer, so that a signal is seen within a second; the deadline is kept over all calls."""

HUNG_CALL_GRACE_S = 5.0
"""A call that is this late will not come back; seen: 15 to 20 s with a broker that hangs, and for ever."""

HUNG_CALL_CHECK_INTERVAL_S = 0.25
POLL_TIMEOUT_S = 0.01
RESET_BACKOFF_S, MAX_RESET_BACKOFF_S = 0.1, 2.0  # between attempts at a new producer

UNKNOWN_PARTITION_GRACE_S = 2.0  # a partition that the topic is seen to lack for so long is not there
MAX_FAILED_DELIVERIES_SHOWN = 5

FENCED_ERRORS: Final[frozenset[int]] = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
)
FENCED_TWICE_WITHIN_S = 60.0


class TransactionResult(StrEnum):
    """How a transaction ended, as far as it is known."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNCERTAIN = "uncertain"  #: The commit was sent, and no response came.
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """The transaction did not clearly commit. `is_record_error`: one record of the batch is the cause.

    `concerns_topics`: a topic is gone, or lacks a partition. `result` is never COMMITTED.
    """

    error: str
    detail: str
    is_record_error: bool
    result: TransactionResult
    concerns_topics: bool = False


class TransactionalPublisher:
    """Owns the producer of one transactional.id. Not thread-safe."""

    def __init__(
        self,
        make_producer: Callable[[OutputTopics, OnFailure], Producer],
        *,
        transactional_id: str,
        timeout_s: float,
        must_stop: Callable[[], bool],
        on_step: StepHook,
    ) -> None:
        """`make_producer` constructs one for the output topics, which reports failed deliveries to its second argument;
        `must_stop`: a shutdown was requested, and its deadline has passed."""
        self._make_producer = make_producer
        self._transactional_id = transactional_id
        self._timeout_s = timeout_s
        self._must_stop = must_stop
        self._on_step = on_step
        self._producer: Producer | None = None
        self._failed_deliveries: list[tuple[KafkaError, str]] = []
        self._was_ever_ready = False
        self._fenced_at: list[float] = []
        self._began_at: float | None = None  # of a transaction that `publish_ahead` began
        self._failed_ahead: KafkaException | None = None

    def publish_ahead(self, outputs: Iterable[OutFields]) -> None:
        """Begin a transaction, unless one is begun, and produce `outputs`, which the client sends from then on; the
        next `publish` has all others, and reports what fails here. Blocks while the client takes no more."""
        if self._failed_ahead is not None:
            return
        producer = self._ready_producer()
        try:
            deadline = self._begin(producer, self._on_step)
            self._produce_all(producer, outputs, deadline)
        except KafkaException as exception:
            exception.__traceback__ = None  # its frames hold the producer and the batch
            self._failed_ahead = exception

    def publish(
        self,
        outputs: Iterable[OutFields],
        positions: Mapping[tuple[Topic, int], int],
        group_metadata: Any,
        *,
        is_batch: bool = True,
    ) -> NotCommitted | None:
        """Publish `outputs` and commit `positions`, (topic, partition) -> next offset to read, as one, together with
        what `publish_ahead` got since the last call. None: committed.

        `group_metadata` is the consumer's, taken after the last poll; it fences a member that has lost its partitions
        (KIP-447). Without `positions`, as for an operation on the past, it is not used. `is_batch`: records were mapped
        for it, so its steps are steps of the loop. Blocks until the broker responds or the transaction's time is over;
        one deadline for all calls.
        Raises AuthorizationError, and FencedError when fenced twice within a minute.
        """
        producer, on_step = self._ready_producer(), self._on_step if is_batch else _ignore
        began = self._began_at or time.monotonic()
        is_committing = False
        try:
            if self._failed_ahead is not None:
                raise self._failed_ahead
            deadline = self._begin(producer, on_step)
            self._produce_all(producer, outputs, deadline)
            on_step(Step.PRODUCED)
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
            if offsets:
                self._retry_until(
                    deadline, lambda timeout_s: producer.send_offsets_to_transaction(offsets, group_metadata, timeout_s)
                )
            on_step(Step.OFFSETS_SENT)
            on_step(Step.COMMITTING)
            is_committing = True
            self._retry_until(deadline, producer.commit_transaction)
        except KafkaException as exception:
            error = error_of(exception)
            exception.__traceback__ = None
        else:
            self._began_at = None
            on_step(Step.COMMITTED)
            return None
        _raise_if_unauthorized(error, self._transactional_id)
        self._count_fence(error, within_timeout=time.monotonic() - began < self._timeout_s)
        return self._describe_failure(error, is_committing=is_committing)

    def _ready_producer(self) -> Producer:
        assert self._producer is not None, "reset_producer() gives the first producer"
        return self._producer

    def _begin(self, producer: Producer, on_step: StepHook) -> float:
        """Begin a transaction, unless `publish_ahead` has; when its time is over, on the monotonic clock."""
        if self._began_at is None:
            self._failed_deliveries.clear()
            producer.begin_transaction()
            self._began_at = time.monotonic()
            on_step(Step.BEGUN)
        return self._began_at + self._timeout_s

    def reset_producer(self, topics: OutputTopics, *, between_attempts: Callable[[], None]) -> None:
        """Replace the producer; when this returns, no earlier transaction of the id is open or undecided.

        The new one ends what a dead or uncertain producer left: a transaction whose commit had begun is completed,
        any other is aborted. Blocks as long as the broker does not respond, with back-off, calling `between_attempts`
        (the consumer has to be polled); returns early, without a producer, only when it must stop. Raises what
        `between_attempts` raises; UsageError for a time-out that the broker does not allow, DependencyError when the
        first producer of all is refused for good.
        """
        self._discard()
        self._failed_deliveries = failed = list[tuple[KafkaError, str]]()
        backoff_s = RESET_BACKOFF_S
        producer: Producer | None = None
        while not self._must_stop():
            try:
                producer = producer or self._make_producer(topics, lambda error, topic: failed.append((error, topic)))
                self._retry_until(time.monotonic() + 4 * CALL_TIMEOUT_S, producer.init_transactions)
            except KafkaException as exception:
                error = error_of(exception)
                exception.__traceback__ = None
                _raise_if_unauthorized(error, self._transactional_id)
                self._raise_if_hopeless(error)
                log.warning("waiting for the broker", step="init_transactions", error=error.name(), detail=error.str())
                if not error.retriable():
                    producer = None  # it would go on trying: two of one id fence each other
                between_attempts()
                time.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, MAX_RESET_BACKOFF_S)
            else:
                self._producer = producer
                self._was_ever_ready = True
                return

    def _raise_if_hopeless(self, error: KafkaError) -> None:
        if error.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            raise UsageError(
                f"the broker does not allow transactions of {1000 * self._timeout_s:.0f} ms",
                hint="set PROCESSOR_TRANSACTION_TIMEOUT_MS to at most the broker's transaction.max.timeout.ms",
            )
        if error.fatal() and error.code() not in FENCED_ERRORS and not self._was_ever_ready:
            raise DependencyError(
                f"no transactions with this broker: {error.name()}: {error.str()}",
                hint="Apache Kafka 2.5 or later is needed, with a transaction coordinator",
            )

    @property
    def is_ready(self) -> bool:
        """Whether it has a producer: not before the first `reset_producer`, and not when that had to stop."""
        return self._producer is not None

    def close(self) -> None:
        """Drop the producer. A transaction that is still open ends with our next start, or with its time."""
        self._discard()

    def _discard(self) -> None:
        self._began_at = self._failed_ahead = None
        if self._producer is None:
            return
        # In a thread, which then has the last reference: ending a client may wait for a broker that hangs. What is
        # still queued belongs to a transaction that is over.
        last, self._producer = [self._producer], None
        call_in_thread(lambda: _purge(last.pop()), name="discard")

    def _produce_all(self, producer: Producer, outputs: Iterable[OutFields], deadline: float) -> None:
        produce = producer.produce
        for topic, partition, key, value, headers in outputs:
            try:
                if headers:
                    produce(topic, value, key, partition, headers=list(headers))
                else:
                    produce(topic, value, key, partition)
            except (BufferError, KafkaException):
                self._retry_produce(producer, OutRecord(topic, partition, key, value, headers), deadline)

    def _retry_produce(self, producer: Producer, output: OutRecord, deadline: float) -> None:
        """Produce a record that was not taken, once there is room for it, or its topic is seen to have grown."""
        missing_until = math.inf
        while True:
            try:
                producer.produce(
                    output.topic, output.value, output.key, output.partition, headers=list(output.headers) or None
                )
            except BufferError:
                self._poll_until(deadline, producer, KafkaError(KafkaError._QUEUE_FULL))
            except KafkaException as exception:
                if error_of(exception).code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                # The topic has grown: the producer's metadata lags behind the consumer's. Or it has lost partitions.
                missing_until = min(missing_until, time.monotonic() + UNKNOWN_PARTITION_GRACE_S)
                producer.list_topics(output.topic, CALL_TIMEOUT_S)
                text = f"{output.topic} has no partition {output.partition}"
                missing = KafkaError(KafkaError._UNKNOWN_PARTITION, text)
                self._poll_until(min(deadline, missing_until), producer, missing)
            else:
                return

    def _poll_until(self, deadline: float, producer: Producer, error: KafkaError) -> None:
        """Poll once; raise `error` where the deadline has passed."""
        if time.monotonic() > deadline or self._must_stop():
            raise KafkaException(error)
        producer.poll(POLL_TIMEOUT_S)

    def _retry_until(self, deadline: float, call: Callable[[float], None]) -> None:
        """Repeat `call` with a timeout, within the deadline, while librdkafka says that this goes on where it was."""
        while True:
            left_s = deadline - time.monotonic()
            try:
                return self._call_in_thread(call, max(0.001, min(left_s, CALL_TIMEOUT_S)))
            except KafkaException as exception:
                if not error_of(exception).retriable() or left_s <= CALL_TIMEOUT_S or self._must_stop():
                    raise

    def _call_in_thread(self, call: Callable[[float], None], timeout_s: float) -> None:
        """Make the call in a thread, and leave it there when it does not come back.

        librdkafka 2.16.1 may keep `send_offsets_to_transaction` for ever, whatever its time-out, when the connection
        to the group's coordinator broke. The thread keeps the producer alive; its epoch ends with the next one's.
        """
        future = call_in_thread(partial(call, timeout_s), name="transaction")
        hung_at = time.monotonic() + timeout_s + HUNG_CALL_GRACE_S
        try:
            while True:
                try:
                    return future.result(HUNG_CALL_CHECK_INTERVAL_S)
                except TimeoutError:
                    if time.monotonic() > hung_at or self._must_stop():
                        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the call did not come back")) from None
        finally:
            del future  # the exception holds this frame, and the future holds the exception: a cycle

    def _count_fence(self, error: KafkaError, *, within_timeout: bool) -> None:
        """Raise FencedError for the second fence within a minute. A transaction that timed out is fenced as well, so
        only one `within_timeout` says that another process has our id."""
        if error.code() not in FENCED_ERRORS or not within_timeout:
            return
        now = time.monotonic()
        self._fenced_at = [at for at in self._fenced_at if now - at < FENCED_TWICE_WITHIN_S] + [now]
        if len(self._fenced_at) > 1:
            raise FencedError(
                f"fenced twice within a minute: another process uses transactional.id {self._transactional_id!r}",
                hint="give each host its own name, or set PROCESSOR_INSTANCE_ID differently for each",
            )

    def _describe_failure(self, error: KafkaError, *, is_committing: bool) -> NotCommitted:
        codes = {error.code(), *(failed.code() for failed, _ in self._failed_deliveries)}
        return NotCommitted(
            error=error.name(),
            detail="; ".join([error.str(), *_texts(self._failed_deliveries)]),
            is_record_error=not codes.isdisjoint(RECORD_LEVEL_ERRORS),
            result=_result(error, is_committing=is_committing),
            concerns_topics=not codes.isdisjoint(TOPIC_GONE_ERRORS),
        )


def _texts(failed_deliveries: Iterable[tuple[KafkaError, str]]) -> Sequence[str]:
    """For each topic what was wrong there; the first few of them."""
    texts = dict.fromkeys(f"{topic}: {error.name()}: {error.str()}" for error, topic in failed_deliveries)
    return list(texts)[:MAX_FAILED_DELIVERIES_SHOWN]


def _purge(producer: Producer) -> None:
    producer.poll(0)  # its last errors go to the log
    producer.purge(blocking=False)


def _ignore(_step: Step) -> None:
    """For transactions whose steps are not counted."""


def _result(error: KafkaError, *, is_committing: bool) -> TransactionResult:
    if error.code() in FENCED_ERRORS:
        return TransactionResult.FENCED
    if is_committing and not error.txn_requires_abort():
        return TransactionResult.UNCERTAIN
    return TransactionResult.ABORTED


def _raise_if_unauthorized(error: KafkaError, transactional_id: str) -> None:
    raise_if_unauthorized(
        error,
        hint=f"grant WRITE and DESCRIBE on transactional id {transactional_id!r}, WRITE on the output topics, "
        "READ on the group and the events",
    )
