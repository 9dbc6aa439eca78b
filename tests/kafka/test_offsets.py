"""Offsets of partitions whose leader moves while they are asked for, which no broker of ours does when a test wants."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ListOffsetsResultInfo, OffsetSpec

from processor.domain.record import Topic
from processor.errors import UnavailableError
from processor.kafka import offsets
from processor.kafka.clients import Admin
from processor.kafka.errors import LEADER_MOVED_ERRORS, Connection
from processor.kafka.offsets import partition_offset, partition_offsets


class MovingLeaders:
    """An admin client whose partitions respond with these errors, one after the other, then with offset 7."""

    def __init__(self, errors: Mapping[int, list[int]]) -> None:
        self.connection = Connection("a test", logs_errors=False)
        self.requests: list[list[int]] = []
        self._errors = {partition: list(codes) for partition, codes in errors.items()}

    def poll(self, _timeout: float, /) -> int:
        """There are no callbacks."""
        return 0

    def list_offsets(self, specs: Mapping[TopicPartition, OffsetSpec], **_: object) -> Mapping[TopicPartition, Any]:
        """A response for each partition."""
        self.requests.append([at.partition for at in specs])
        return {at: self._response(at.partition) for at in specs}

    def _response(self, partition: int) -> "Future[ListOffsetsResultInfo]":
        future: Future[ListOffsetsResultInfo] = Future()
        if codes := self._errors.get(partition):
            future.set_exception(KafkaException(KafkaError(codes.pop(0))))
        else:
            future.set_result(ListOffsetsResultInfo(7, -1, -1))
        return future


def as_admin(client: MovingLeaders) -> Admin:
    """The part of an admin client that offsets are read with."""
    return cast("Admin", client)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two requests."""
    monkeypatch.setattr(offsets, "_LEADER_POLL_S", 0.0)


@pytest.mark.parametrize("code", sorted(LEADER_MOVED_ERRORS))
def test_a_partition_whose_leader_moves_is_asked_again(code: int) -> None:
    """Alone: the others' offsets are known."""
    admin = MovingLeaders({1: [code, code]})
    specs = {TopicPartition("events", partition): OffsetSpec.latest() for partition in range(3)}

    found = partition_offsets(as_admin(admin), specs, hint="")

    assert dict.fromkeys(specs, 7) == found
    assert [[0, 1, 2], [1], [1]] == admin.requests


def test_a_leader_that_does_not_come_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, with the broker's own words."""
    monkeypatch.setattr(offsets, "LEADER_TIMEOUT_S", 0.0)
    admin = MovingLeaders({0: [KafkaError.NOT_LEADER_FOR_PARTITION] * 100})
    with pytest.raises(UnavailableError, match="NOT_LEADER_FOR_PARTITION"):
        partition_offset(as_admin(admin), Topic("events"), 0, OffsetSpec.latest(), hint="")


def test_other_errors_are_not_retried() -> None:
    """A topic that is gone is a person's to create."""
    admin = MovingLeaders({0: [KafkaError.UNKNOWN_TOPIC_OR_PART]})
    with pytest.raises(UnavailableError, match="UNKNOWN_TOPIC_OR_PART"):
        partition_offset(as_admin(admin), Topic("events"), 0, OffsetSpec.latest(), hint="")
    assert [[0]] == admin.requests


def test_nothing_is_asked_for_no_partition() -> None:
    """The reference tables of an installation may be none."""
    admin = MovingLeaders({})
    assert {} == partition_offsets(as_admin(admin), {}, hint="")
    assert [] == admin.requests
