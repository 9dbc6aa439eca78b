"""Kafka clients of tests write no lines of their own to stderr, into the middle of pytest's output."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.waiting import wait_until

_LOG: Final = logging.getLogger("librdkafka")


def logged(properties: Mapping[str, Any]) -> dict[str, Any]:
    """`properties` of a client whose log lines go to logging while it is polled, and nowhere else."""
    return {**properties, "logger": _LOG}


def create_topic(admin: AdminClient, topic: NewTopic) -> None:
    """Create a topic, and wait until the broker shows it: on a busy machine that takes longer than its response."""
    admin.create_topics([topic])[topic.topic].result(10)
    wait_until(lambda: topic.topic in admin.list_topics(timeout=10).topics)
