"""Mutations planted in the engine of a running worker; `tests.soak.mutation_testing` shows that they are detected."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from processor.domain.event import SeenEvent
from processor.engine import loop as engine_run
from processor.engine import publisher as transaction
from processor.engine.consumer import EventConsumer
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.partition import AssignedPartition
from processor.engine.start_offsets import StartOffsetResolver
from processor.engine.step import Step


def _seek_to_batchs_first_offset() -> None:
    first_offsets: dict[AssignedPartition, int] = {}
    publish = engine_run.Loop._publish

    def remember(self: engine_run.Loop, chunk: Any) -> bool:
        first_offsets.clear()
        for done in chunk:
            first_offsets.setdefault(done.partition, done.outcome.record.position.offset)
        return publish(self, chunk)

    def rewind(self: EventConsumer) -> None:
        for partition in self.partitions.values():
            if partition.is_started:
                partition._go_back_to(first_offsets.get(partition, partition.next_offset))
                self._seek(partition)

    engine_run.Loop._publish = remember  # type: ignore[method-assign]
    EventConsumer.rewind = rewind  # type: ignore[method-assign]


def _no_seek() -> None:
    EventConsumer.rewind = lambda self: None  # type: ignore[method-assign]  # noqa: ARG005


def _offsets_outside_the_transaction() -> None:
    def publish(
        self: transaction.TransactionalPublisher,
        outputs: Any,
        positions: Mapping[tuple[str, int], int],
        group: Any,
        **_options: Any,
    ) -> transaction.NotCommitted | None:
        failure = _publish_without_offsets(self, outputs, group)
        if failure is None:
            self._on_step(Step.COMMITTED)
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
            _CONSUMERS[-1].commit(offsets=offsets, asynchronous=False)
        return failure

    _remember_consumers()
    transaction.TransactionalPublisher.publish = publish  # type: ignore[method-assign,assignment]


_CONSUMERS: list[Any] = []


def _remember_consumers() -> None:
    original = EventConsumer.__init__

    def remember(self: EventConsumer, settings: Any, consumer: Any, start_offsets: Any, **more: Any) -> None:
        _CONSUMERS.append(consumer)
        original(self, settings, consumer, start_offsets, **more)

    EventConsumer.__init__ = remember  # type: ignore[method-assign]


def _publish_without_offsets(
    self: transaction.TransactionalPublisher, outputs: Any, group: Any
) -> transaction.NotCommitted | None:
    del group
    producer = self._producer
    if producer is None:
        raise AssertionError("reset_producer() gives the first producer")
    try:
        producer.begin_transaction()
        self._on_step(Step.BEGUN)
        for out in outputs:
            producer.produce(out.topic, out.value, out.key, out.partition, headers=list(out.headers) or None)
            producer.poll(0)
        self._on_step(Step.PRODUCED)
        self._on_step(Step.OFFSETS_SENT)
        self._on_step(Step.COMMITTING)
        producer.commit_transaction(self._timeout_s)
    except KafkaException as exception:
        return transaction.NotCommitted(
            str(exception), "", is_record_error=False, result=transaction.TransactionResult.ABORTED
        )
    return None


def _old_producer_kept() -> None:
    def reset_producer(self: transaction.TransactionalPublisher, *arguments: Any, **options: Any) -> None:
        if self._producer is None:
            original(self, *arguments, **options)
            return
        with contextlib.suppress(KafkaException):  # as if the abort had succeeded
            self._producer.abort_transaction(5)

    original = transaction.TransactionalPublisher.reset_producer
    transaction.TransactionalPublisher.reset_producer = reset_producer  # type: ignore[method-assign]


def _hash_partitioner() -> None:
    def produce_all(self: transaction.TransactionalPublisher, producer: Any, outputs: Any, deadline: float) -> None:
        del self, deadline
        for output in outputs:
            while True:
                try:
                    producer.produce(output.topic, output.value, output.key, headers=list(output.headers) or None)
                except BufferError:
                    producer.poll(0.01)
                else:
                    break

    transaction.TransactionalPublisher._produce_all = produce_all  # type: ignore[method-assign]


def _deduplication_off() -> None:
    DeduplicationWindow.first_seen = lambda self, event: None  # type: ignore[method-assign]  # noqa: ARG005


def _window_by_todays_decoding() -> None:
    def seen(
        self: StartOffsetResolver, outcomes: object, partition: int, *, low: int, end: int
    ) -> tuple[SeenEvent, ...]:
        del outcomes
        first = max(low, end - self._settings.deduplication.records)
        return tuple(self._events_without_outcome(partition, first, end, ()))

    StartOffsetResolver._seen_events = seen  # type: ignore[method-assign]


def _recorded_before_the_commit() -> None:
    def mark_recording(self: AssignedPartition, _position: int, now: float) -> None:
        self.recorded_at = now

    AssignedPartition.mark_recording = mark_recording  # type: ignore[method-assign,assignment]


def _recorded_after_the_commit_alone() -> None:
    def rewind(self: AssignedPartition, committed_offset: int) -> None:
        self.recording = None
        original(self, committed_offset)

    original = AssignedPartition.rewind
    AssignedPartition.rewind = rewind  # type: ignore[method-assign]


MUTATIONS: Mapping[str, Callable[[], None]] = {
    "first-offset": _seek_to_batchs_first_offset,
    "no-seek": _no_seek,
    "offsets-outside": _offsets_outside_the_transaction,
    "old-producer": _old_producer_kept,
    "hash-partitioner": _hash_partitioner,
    "todays-decoding": _window_by_todays_decoding,
    "deduplication-off": _deduplication_off,
    "assigned-lost": _recorded_before_the_commit,
    "assigned-twice": _recorded_after_the_commit_alone,
}
"""By the name that `tests.soak.worker --mutation` takes."""
