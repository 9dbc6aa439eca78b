"""Offsets of a partition, as the broker gives them now."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec

from processor.domain.record import Topic
from processor.kafka.clients import Admin
from processor.kafka.errors import translate_broker_errors

REQUEST_TIMEOUT_S: Final = 10.0
_RESPONSE_GRACE_S: Final = 2.0  # for the response to a request that timed out in the client


@dataclass(frozen=True, slots=True)
class Extent:
    """What a partition holds: its first offset, the last stable offset, and the end behind open transactions.

    What lies from `stable` on is hidden from `read_committed`, committed or not.
    """

    first: int
    stable: int
    end: int


def partition_extent(admin: Admin, topic: Topic, partition: int, *, hint: str) -> Extent:
    """Blocks for three requests; raises as `partition_offset`."""
    return Extent(
        partition_offset(admin, topic, partition, OffsetSpec.earliest(), hint=hint),
        partition_offset(admin, topic, partition, OffsetSpec.latest(), hint=hint),
        end_offset(admin, topic, partition, hint=hint),
    )


def end_offset(admin: Admin, topic: Topic, partition: int, *, hint: str) -> int:
    """The high watermark, above what open transactions hold. Blocks; raises as `partition_offset`."""
    latest, isolation = OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED
    return partition_offset(admin, topic, partition, latest, isolation=isolation, hint=hint)


def offset_at_time(admin: Admin, topic: Topic, partition: int, time_ms: int, *, hint: str) -> int:
    """The first offset whose record's time is `time_ms` (UTC) or later; the last stable offset where there is none.

    Blocks; raises as `partition_offset`.
    """
    offset = partition_offset(admin, topic, partition, OffsetSpec.for_timestamp(time_ms), hint=hint)
    return offset if offset >= 0 else partition_offset(admin, topic, partition, OffsetSpec.latest(), hint=hint)


def partition_offset(
    admin: Admin,
    topic: Topic,
    partition: int,
    spec: OffsetSpec,
    *,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    hint: str,
) -> int:
    """Blocks for one request; -1 for a time that no record has. UnavailableError when no response comes,
    AuthorizationError with `hint`, what to grant."""
    request = {TopicPartition(topic, partition): spec}
    (future,) = admin.list_offsets(request, isolation_level=isolation, request_timeout=REQUEST_TIMEOUT_S).values()
    offset: int = response_of(admin, future, hint=hint).offset
    return offset


def response_of(admin: Admin, future: "Future[Any]", *, hint: str) -> Any:
    """What a request of `admin` gives. Blocks; raises as `partition_offset`."""
    with translate_broker_errors(admin, hint=hint):
        return future.result(REQUEST_TIMEOUT_S + _RESPONSE_GRACE_S)
