"""The plan of topics is consistent with itself, and a difference is named exactly when a promise would break."""

from collections.abc import Mapping

import pytest

from processor.domain.output_topics import FixedOutput, StreamOutput
from processor.domain.record import EventName, Topic
from processor.domain.reference import TABLES
from processor.errors import UsageError
from processor.kafka.topic_plan import (
    ExistingTopic,
    PlannedTopic,
    Role,
    compare_topics,
    min_dead_letter_bytes,
    planned_topics,
)
from processor.settings import InputTopic, ReferenceSettings, Settings, TopicSettings

REPAYMENT = EventName("LOAN_REPAYMENT")
DEPOSIT = EventName("SAVINGS_DEPOSIT")

PROOFS: tuple[Role, ...] = (
    FixedOutput.MESSAGES,
    FixedOutput.STATUS,
    FixedOutput.DECISIONS,
    FixedOutput.DEAD_LETTERS,
    FixedOutput.OPERATIONS,
)


def plan(
    settings: Settings | None = None,
    *,
    partitions: int = 6,
    streams: tuple[EventName, ...] = (),
    events_bytes: int = 1_048_588,
) -> tuple[PlannedTopic, ...]:
    """The plan of a small bank."""
    settings = settings or Settings(tenant="northbank")
    return planned_topics(settings, partitions=partitions, stream_events=streams, events_bytes=events_bytes)


def as_planned(topics: tuple[PlannedTopic, ...], **changed: Mapping[str, str] | int) -> dict[Topic, ExistingTopic]:
    """The topics as if they had just been created; `changed` gives some, by role, other configuration or partitions."""
    existing = {}
    for topic in topics:
        change = changed.get(topic.role, {})
        partitions = change if isinstance(change, int) else topic.partitions
        config = (
            {"max.message.bytes": "1048588", "delete.retention.ms": "86400000"}
            | topic.config
            | ({} if isinstance(change, int) else dict(change))
        )
        existing[topic.name] = ExistingTopic(topic.name, partitions, config)
    return existing


def differences(topics: tuple[PlannedTopic, ...], existing: Mapping[Topic, ExistingTopic]) -> list[str]:
    """Each difference as a person reads it."""
    return [f"{difference.topic} {difference.what}" for difference in compare_topics(topics, existing)]


def test_what_the_plan_creates_does_not_differ_from_it() -> None:
    """Names, partitions, cleanup policy, retention and limits of the plan agree with each other."""
    topics = plan(streams=(REPAYMENT, DEPOSIT))

    assert [] == differences(topics, as_planned(topics))


def test_proofs_outlive_events_in_the_defaults() -> None:
    """Messages, status, decisions and dead letters are planned to be kept at least as long as events."""
    lives = {topic.role: topic.retention_ms for topic in plan()}

    assert all(lives[InputTopic.EVENTS] <= lives[role] for role in PROOFS)


def test_streams_have_a_topic_for_each_event_in_use() -> None:
    """The pattern gives prefix, tenant and event in lower snake case; few partitions, never more than the events'."""
    settings = Settings(tenant="northbank", topics=TopicSettings(prefix="x."))
    streams = [topic for topic in plan(settings, streams=(REPAYMENT, DEPOSIT)) if topic.role is StreamOutput.STREAM]

    assert [
        ("x.mrn.event.northbank.streamingapi.loan_repayment", 3),
        ("x.mrn.event.northbank.streamingapi.savings_deposit", 3),
    ] == [(topic.name, topic.partitions) for topic in streams]
    assert [1] == [
        topic.partitions for topic in plan(partitions=1, streams=(REPAYMENT,)) if topic.role is StreamOutput.STREAM
    ]


def test_a_pattern_without_event_is_one_topic() -> None:
    """All streams of a tenant share it, and it is planned once."""
    settings = Settings(tenant="northbank", topics=TopicSettings(stream="streams.{tenant}"))

    topics = plan(settings, streams=(REPAYMENT, DEPOSIT))
    assert ["streams.northbank"] == [topic.name for topic in topics if topic.role is StreamOutput.STREAM]


def test_streams_need_a_tenant() -> None:
    """Without one their names are unknown; without streams none is needed."""
    settings = Settings()

    assert [] == [topic for topic in plan(settings) if topic.role is StreamOutput.STREAM]
    with pytest.raises(UsageError, match="PROCESSOR_TENANT is not set"):
        plan(settings, streams=(REPAYMENT,))


@pytest.mark.parametrize(("events_bytes", "max_event_bytes"), [(1_048_588, 1_048_576), (1_000, 3_000_000)])
def test_dead_letters_hold_any_event(events_bytes: int, max_event_bytes: int) -> None:
    """Their limit is 64 KiB above the larger of the events topic's limit and the event's own."""
    settings = Settings(tenant="northbank", max_event_bytes=max_event_bytes)
    needed = max(events_bytes, max_event_bytes) + 65_536

    assert needed == min_dead_letter_bytes(settings, events_bytes=events_bytes)
    (dead_letters,) = [t for t in plan(settings, events_bytes=events_bytes) if t.role is FixedOutput.DEAD_LETTERS]
    assert str(needed) == dead_letters.config["max.message.bytes"]


def test_missing_topics_are_differences() -> None:
    """Where nothing exists, every topic of the plan is missing."""
    topics = plan()

    assert [f"{topic.name} is missing" for topic in topics] == differences(topics, {})


def test_a_co_partitioned_topic_with_fewer_partitions_is_a_difference() -> None:
    """A message stays in its event's partition, so the co-partitioned topic must have it."""
    topics = plan()

    assert ["communications.status has 4 partitions, fewer than the 6 of banking.events"] == differences(
        topics, as_planned(topics, status=4)
    )


def test_more_than_planned_is_no_difference() -> None:
    """More partitions, longer retention, a larger limit, and any partitions of a stream keep every promise."""
    topics = plan(streams=(REPAYMENT,))
    more = as_planned(
        topics, messages=12, stream=1, status={"retention.ms": "-1"}, dead_letters={"max.message.bytes": "9999999"}
    )

    assert [] == differences(topics, more)


@pytest.mark.parametrize("role", PROOFS)
def test_a_proof_that_expires_before_its_event_is_a_difference(role: str) -> None:
    """An event that outlives the proof of its outcome could not be audited, and a lost group would publish it again."""
    topics = plan()
    (difference,) = compare_topics(topics, as_planned(topics, **{role: {"retention.ms": "86400000"}}))

    assert (
        "keeps records for 1 days, banking.events for 30 days: an event would outlive the proof of what became of it"
    ) == difference.what
    assert f"set retention.ms=2592000000 or more on {difference.topic}" == difference.hint


def test_events_for_ever_need_proofs_for_ever() -> None:
    """-1 is longer than any number."""
    topics = plan()

    assert len(PROOFS) == len(differences(topics, as_planned(topics, events={"retention.ms": "-1"})))


def test_another_cleanup_policy_is_a_difference() -> None:
    """A compacted status topic would lose transitions; the order of the two policies means nothing."""
    topics = plan()

    (difference,) = differences(topics, as_planned(topics, status={"cleanup.policy": "compact"}))
    assert difference.startswith("communications.status has cleanup.policy=compact, not delete: ")
    assert [] == differences(topics, as_planned(topics, messages={"cleanup.policy": "delete, compact"}))


@pytest.mark.parametrize("role", PROOFS)
def test_a_proof_that_is_bounded_by_bytes_is_a_difference(role: str) -> None:
    """Unless the events are bounded by no more bytes; without deletion the bound means nothing."""
    topics = plan()
    changed: dict[str, Mapping[str, str]] = {role: {"retention.bytes": "1000"}}
    (difference,) = differences(topics, as_planned(topics, **changed))
    assert difference.endswith(
        "keeps 1000 bytes of a partition, banking.events any number of: "
        "an event would outlive the proof of what became of it"
    )

    (difference,) = differences(topics, as_planned(topics, events={"retention.bytes": "1001"}, **changed))
    assert "banking.events 1001: " in difference
    assert [] == differences(topics, as_planned(topics, events={"retention.bytes": "1000"}, **changed))
    assert [] == differences(topics, as_planned(topics, template_sets={"retention.bytes": "1"}))


@pytest.mark.parametrize(
    ("role", "policy", "lost"),
    [
        ("events", "compact", ": of an account's events all but the last may be gone before they are read"),
        ("events", "compact,delete", ": of an account's events all but the last may be gone before they are read"),
        ("status", "compact", ": of the records of a key all but the last are lost, and one without a key is refused"),
        ("contacts", "delete", ": what was written last long ago is lost"),
        ("messages", "delete", ""),
    ],
)
def test_losses_of_another_cleanup_policy_are_named(role: str, policy: str, lost: str) -> None:
    """Where nothing is lost, nothing is said of it."""
    topics = plan()
    difference, *_ = differences(topics, as_planned(topics, **{role: {"cleanup.policy": policy}}))
    (planned,) = (topic.cleanup for topic in topics if topic.role == role)

    assert difference.endswith(f"has cleanup.policy={policy}, not {planned}{lost}")


def test_dead_letters_too_small_for_an_event_are_a_difference() -> None:
    """`run` refuses to start on them."""
    topics = plan()

    assert ["communications.dead-letters has max.message.bytes=1048588, not 1114124"] == differences(
        topics, as_planned(topics, dead_letters={"max.message.bytes": "1048588"})
    )


def test_a_reference_table_has_one_partition_and_the_brokers_time() -> None:
    """More would have rows of a key in no order; who keys stably says so. Times are the broker's."""
    topics = plan()
    existing = as_planned(topics, contacts=3, accounts={"message.timestamp.type": "CreateTime"})
    stable = plan(Settings(tenant="northbank", reference=ReferenceSettings(keys_are_stable=True)))
    several, times = differences(topics, existing)

    assert several.startswith("reference.contacts has 3 partitions: where it was grown, an old row of a key may")
    assert "reference.accounts has message.timestamp.type=CreateTime, not LogAppendTime" == times
    assert [times] == differences(stable, existing)
    assert {1} == {topic.partitions for topic in stable if topic.role in TABLES}


def test_a_reference_table_keeps_deletions_for_ten_minutes() -> None:
    """`run` refuses less; what is wrong, with the value and what is enough, is the same in both."""
    topics = plan()
    short, enough = {"delete.retention.ms": "60000"}, {"delete.retention.ms": "600000"}
    (difference,) = compare_topics(topics, as_planned(topics, contacts=short, accounts=enough, template_sets=short))

    assert difference.what.startswith("has delete.retention.ms=60000: a process that was away for a moment")
    assert "set delete.retention.ms=600000 or more on reference.contacts" in difference.hint
