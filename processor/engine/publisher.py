"""One transactional producer at a time: what it publishes is committed as a whole with the positions, or not at all.

Non-obvious: after anything but a clear commit nothing is known. A commit that timed out may still be completed by
`init_transactions` of the next producer. So there is one path for aborts, time-outs and fences: a new producer with the
same transactional.id, `init_transactions`, and then the consumer goes to what the group has committed (consumer.py).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processor.background import call_in_thread
from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutRecord, Topic
from processor.errors import AuthorizationError, DependencyError, FencedError, UsageError
from processor.kafka.clients import AUTHORIZATION_ERRORS, RECORD_LEVEL_ERRORS, TOPIC_GONE, OnFailure, error_of

log = structlog.get_logger()

StepHook = Callable[[str], None]
"""Called with the name of each step of the loop; the soak kills and pauses the process there."""

SLICE_S = 1.0
"""No call blocks longer, so that a signal is seen within a second; the deadline is kept over all slices."""

HANGS_S = 5.0
"""A call that is this late will not come back; seen: 15 to 20 s with a broker that hangs, and for ever."""

LOOK_S = 0.25

METADATA_S = 2.0  # a partition that the topic is seen to lack for so long is not there
MOST_FAILED_DELIVERIES = 5  # that a text names

FENCED: frozenset[int] = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
RIVAL_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """The transaction did not clearly commit. `is_record_error`: one record of the batch is the cause.

    `concerns_topics`: a topic is gone, or lacks a partition. `result` is aborted, uncertain (no answer came) or fenced.
    """

    error: str
    detail: str
    is_record_error: bool
    result: str
    concerns_topics: bool = False


class TransactionalPublisher:
    """Owns the producer of one transactional.id. Not thread-safe."""

    def __init__(
        self,
        make: Callable[[OutputTopics, OnFailure], Producer],
        *,
        transactional_id: str,
        timeout_s: float,
        giving_up: Callable[[], bool],
        step: StepHook,
    ) -> None:
        """`make` gives a producer for a layout, which reports failed deliveries to its second argument; `giving_up`
        says that a stop was asked for and has waited long enough."""
        self._make = make
        self._id = transactional_id
        self._timeout_s = timeout_s
        self._giving_up = giving_up
        self._step = step
        self._producer: Producer | None = None
        self._failed_deliveries: list[tuple[KafkaError, str]] = []
        self._began_once = False
        self._fenced_at: list[float] = []

    def publish(
        self, outputs: Iterable[OutRecord], positions: Mapping[tuple[Topic, int], int], group: Any
    ) -> NotCommitted | None:
        """Publish `outputs` and commit `positions`, (topic, partition) -> next offset to read, as one. None: done.

        `group` is the consumer's group metadata, taken after the last poll; it fences a member that has lost its
        partitions (KIP-447). Blocks until the broker answers or the transaction's time is over; one deadline for all
        calls. Raises DependencyError where no waiting helps, FencedError when fenced twice within a minute.
        """
        producer = self._producer
        assert producer is not None, "renew() gives the first producer"
        began = time.monotonic()
        deadline = began + self._timeout_s
        self._failed_deliveries.clear()
        step = self._step if outputs else _unseen  # positions alone are no batch
        committing = False
        try:
            producer.begin_transaction()
            step("begun")
            for out in outputs:
                self._produce(producer, out, deadline)
            step("produced")
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
            self._until(deadline, lambda left_s: producer.send_offsets_to_transaction(offsets, group, left_s))
            step("offsets_sent")
            step("committing")
            committing = True
            self._until(deadline, producer.commit_transaction)
        except KafkaException as exception:
            error = error_of(exception)
            exception.__traceback__ = None  # its frames hold the producer and the batch
        else:
            step("committed")
            return None
        young = time.monotonic() - began < self._timeout_s
        return self._not_committed(error, young=young, committing=committing)

    def renew(self, layout: OutputTopics, *, meanwhile: Callable[[], None]) -> None:
        """Replace the producer; when this returns, no earlier transaction of the id is open or undecided.

        The new one ends what a dead or uncertain producer left: a transaction whose commit had begun is completed,
        any other is aborted. Blocks as long as the broker does not answer, with back-off, calling `meanwhile` between
        attempts (the consumer has to be polled); returns early, without a producer, only when giving up. Raises what
        `meanwhile` raises; UsageError for a time-out that the broker does not allow, DependencyError when the first
        producer of all is refused for good.
        """
        self._discard()
        self._failed_deliveries = failed = list[tuple[KafkaError, str]]()
        wait_s = 0.1
        producer: Producer | None = None
        while not self._giving_up():
            try:
                producer = producer or self._make(layout, lambda error, topic: failed.append((error, topic)))
                self._until(time.monotonic() + 4 * SLICE_S, producer.init_transactions)
            except KafkaException as exception:
                error = error_of(exception)
                exception.__traceback__ = None
                _refuse_unauthorised(error, self._id)
                self._refuse_hopeless(error)
                log.warning("waiting for the broker", step="init_transactions", error=error.name(), detail=error.str())
                if not error.retriable():
                    producer = None  # else it goes on asking: two of one id would fence each other
                meanwhile()
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, 2.0)
            else:
                self._producer = producer
                self._began_once = True
                return

    def _refuse_hopeless(self, error: KafkaError) -> None:
        if error.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            raise UsageError(
                f"the broker does not allow transactions of {1000 * self._timeout_s:.0f} ms",
                hint="set PROCESSOR_TRANSACTION_TIMEOUT_MS to at most the broker's transaction.max.timeout.ms",
            )
        if error.fatal() and error.code() not in FENCED and not self._began_once:
            raise DependencyError(
                f"no transactions with this broker: {error.name()}: {error.str()}",
                hint="Apache Kafka 2.5 or later is needed, with a transaction coordinator",
            )

    def close(self) -> None:
        """Drop the producer. A transaction that is still open ends with our next start, or with its time."""
        self._discard()

    def _discard(self) -> None:
        if self._producer is None:
            return
        # In a thread, which then has the last reference: ending a client may wait for a broker that hangs. What is
        # still queued belongs to a transaction that is over.
        last, self._producer = [self._producer], None
        call_in_thread(lambda: _discard(last.pop()), name="discard")

    def _produce(self, producer: Producer, out: OutRecord, deadline: float) -> None:
        known_by = math.inf
        while True:
            try:
                producer.produce(out.topic, out.value, out.key, out.partition, headers=list(out.headers) or None)
            except BufferError:
                self._pause(producer, deadline, KafkaError(KafkaError._QUEUE_FULL))
            except KafkaException as exception:
                if error_of(exception).code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                # The topic has grown: the producer's metadata lags behind the consumer's. Or it has lost partitions.
                known_by = min(known_by, time.monotonic() + METADATA_S)
                producer.list_topics(out.topic, SLICE_S)
                lacking = KafkaError(KafkaError._UNKNOWN_PARTITION, f"{out.topic} has no partition {out.partition}")
                self._pause(producer, min(deadline, known_by), lacking)
            else:
                return

    def _pause(self, producer: Producer, deadline: float, error: KafkaError) -> None:
        if time.monotonic() > deadline or self._giving_up():
            raise KafkaException(error)
        producer.poll(0.01)

    def _until(self, deadline: float, call: Callable[[float], None]) -> None:
        """Call again while librdkafka says that this goes on where it was, within the deadline."""
        while True:
            left_s = deadline - time.monotonic()
            try:
                return self._answered(call, max(0.001, min(left_s, SLICE_S)))
            except KafkaException as exception:
                if not error_of(exception).retriable() or left_s <= SLICE_S or self._giving_up():
                    raise

    def _answered(self, call: Callable[[float], None], slice_s: float) -> None:
        """Make the call in a thread, and leave it there when it does not come back.

        librdkafka 2.16.1 may keep `send_offsets_to_transaction` for ever, whatever its time-out, when the connection
        to the group's coordinator broke. The thread keeps the producer alive; its epoch ends with the next one's.
        """
        answer = call_in_thread(partial(call, slice_s), name="transaction")
        gives_up_at = time.monotonic() + slice_s + HANGS_S
        try:
            while True:
                try:
                    return answer.result(LOOK_S)
                except TimeoutError:
                    if time.monotonic() > gives_up_at or self._giving_up():
                        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the call did not come back")) from None
        finally:
            del answer  # the exception holds this frame, and the answer holds the exception: a cycle

    def _not_committed(self, error: KafkaError, *, young: bool, committing: bool) -> NotCommitted:
        _refuse_unauthorised(error, self._id)
        if error.code() in FENCED and young:
            # An old transaction that timed out is fenced as well, so only young ones tell of a rival.
            now = time.monotonic()
            self._fenced_at = [at for at in self._fenced_at if now - at < RIVAL_WINDOW_S] + [now]
            if len(self._fenced_at) > 1:
                raise FencedError(
                    f"fenced twice within a minute: another process uses transactional.id {self._id!r}",
                    hint="give each host its own name, or set PROCESSOR_INSTANCE_ID differently for each",
                )
        codes = {error.code(), *(failed.code() for failed, _ in self._failed_deliveries)}
        return NotCommitted(
            error=error.name(),
            detail="; ".join([error.str(), *_texts(self._failed_deliveries)]),
            is_record_error=not codes.isdisjoint(RECORD_LEVEL_ERRORS),
            result=_result(error, committing=committing),
            concerns_topics=not codes.isdisjoint(TOPIC_GONE),
        )


def _texts(failed_deliveries: Iterable[tuple[KafkaError, str]]) -> Sequence[str]:
    """For each topic what was wrong there; the first few of them."""
    words = dict.fromkeys(f"{topic}: {error.name()}: {error.str()}" for error, topic in failed_deliveries)
    return list(words)[:MOST_FAILED_DELIVERIES]


def _discard(producer: Producer) -> None:
    producer.poll(0)  # its last errors go to the log
    producer.purge(blocking=False)


def _unseen(_step: str) -> None:
    """For transactions that nobody counts the steps of."""


def _result(error: KafkaError, *, committing: bool) -> str:
    if error.code() in FENCED:
        return "fenced"
    return "uncertain" if committing and not error.txn_requires_abort() else "aborted"


def _refuse_unauthorised(error: KafkaError, transactional_id: str) -> None:
    if error.code() in AUTHORIZATION_ERRORS:
        raise AuthorizationError(
            f"not allowed: {error.name()}: {error.str()}",
            hint=f"grant WRITE and DESCRIBE on transactional id {transactional_id!r}, WRITE on the output topics, "
            "READ on the group and the events",
        )
