"""Offsets of a partition, as the broker gives them now."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from processor.domain.record import Topic
from processor.errors import UnavailableError
from processor.kafka.clients import Admin
from processor.kafka.errors import LEADER_MOVED_ERRORS, error_of, translate_broker_errors

REQUEST_TIMEOUT_S: Final = 10.0
LEADER_TIMEOUT_S: Final = 10.0  # that a partition may be without a leader that knows of it
_LEADER_POLL_S: Final = 0.1
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
    """Blocks for three requests; raises as `partition_offsets`."""
    return Extent(
        partition_offset(admin, topic, partition, OffsetSpec.earliest(), hint=hint),
        partition_offset(admin, topic, partition, OffsetSpec.latest(), hint=hint),
        end_offset(admin, topic, partition, hint=hint),
    )


def end_offset(admin: Admin, topic: Topic, partition: int, *, hint: str) -> int:
    """The high watermark, above what open transactions hold. Blocks; raises as `partition_offsets`."""
    latest, isolation = OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED
    return partition_offset(admin, topic, partition, latest, isolation=isolation, hint=hint)


def offset_at_time(admin: Admin, topic: Topic, partition: int, time_ms: int, *, hint: str) -> int:
    """The first offset whose record's time is `time_ms` (UTC) or later; the last stable offset where there is none.

    Blocks; raises as `partition_offsets`.
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
    """Blocks; -1 for a time that no record has. Raises as `partition_offsets`."""
    wanted = TopicPartition(topic, partition)
    return partition_offsets(admin, {wanted: spec}, isolation=isolation, hint=hint)[wanted]


def partition_offsets(
    admin: Admin,
    specs: Mapping[TopicPartition, OffsetSpec],
    *,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    hint: str,
) -> dict[TopicPartition, int]:
    """The offset of each partition. Blocks for one request, and up to 10 s more while a partition has no leader that
    knows of it, as when a topic was just created or a broker of several goes down: an admin client leaves that to its
    caller. UnavailableError when no response comes, AuthorizationError with `hint`, what to grant."""
    found: dict[TopicPartition, int] = {}
    until = time.monotonic() + LEADER_TIMEOUT_S
    while left := {partition: spec for partition, spec in specs.items() if partition not in found}:
        futures = admin.list_offsets(left, isolation_level=isolation, request_timeout=REQUEST_TIMEOUT_S)
        for partition, future in futures.items():
            try:
                found[partition] = response_of(admin, future, hint=hint).offset
            except UnavailableError as error:
                if not _leader_moved(error) or time.monotonic() > until:
                    raise
        if len(found) < len(specs):
            time.sleep(_LEADER_POLL_S)
    return found


def _leader_moved(error: UnavailableError) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and error_of(cause).code() in LEADER_MOVED_ERRORS


def response_of(admin: Admin, future: "Future[Any]", *, hint: str) -> Any:
    """What a request of `admin` gives. Blocks. UnavailableError when no response comes, AuthorizationError with `hint`,
    what to grant."""
    with translate_broker_errors(admin, hint=hint):
        return future.result(REQUEST_TIMEOUT_S + _RESPONSE_GRACE_S)
