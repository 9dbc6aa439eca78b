"""Where outputs go: topics as they really are, read at start and again when they change. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

from processor.domain.record import EventName, Topic


@dataclass(frozen=True, slots=True)
class OutputTopic:
    """A topic of ours: its real name, its number of partitions, and the most that one record of it may weigh.

    `limit_bytes` holds for key, value and headers together: the smaller of 999,000 and `max.message.bytes` - 1,024
    (dead letters: `max.message.bytes` - 1,024 alone).
    """

    name: Topic
    partitions: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """The output topics of one installation. `streams` has each event that an active EVENT_STREAM template uses."""

    messages: OutputTopic
    status: OutputTopic
    decisions: OutputTopic
    dead_letters: OutputTopic
    notifications: OutputTopic
    template_sets: OutputTopic
    streams: Mapping[EventName, OutputTopic]

    @property
    def co_partitioned(self) -> tuple[OutputTopic, ...]:
        """The topics that need a partition for each partition of the events; streams have fewer and take the rest."""
        return (self.messages, self.status, self.decisions, self.dead_letters, self.notifications)

    @property
    def outputs(self) -> tuple[OutputTopic, ...]:
        """All topics that are written."""
        return (*self.co_partitioned, self.template_sets, *self.streams.values())
