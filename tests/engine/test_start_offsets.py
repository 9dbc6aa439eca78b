"""Where a partition starts: every case, on a real broker."""

import re
import threading
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import OFFSET_END, OFFSET_INVALID, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from structlog.testing import capture_logs

from processor.demo.generate import events as generate_events
from processor.domain.output_topics import FixedOutput
from processor.engine.loop import run
from processor.engine.start_offsets import parse_start_policy
from processor.errors import InputError, UnavailableError, UsageError
from processor.kafka.clients import headers_of
from processor.kafka.topic_admin import grow_topics
from tests.support.builders import TENANT
from tests.support.clients import logged
from tests.support.installation import Installation, create_installation, start_offset_resolver
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka


def events(count: int, *, seed: int = 1) -> list[dict[str, object]]:
    return list(generate_events(count, seed=seed, tenant=TENANT))


def source_offsets(installation: Installation, partition: int = 0) -> set[int]:
    """Source offsets that a status or a decision names."""
    records = [*installation.read_statuses(partition), *installation.read_decisions(partition)]
    return {record["source"]["offset"] for record in records}


def with_new_group(installation: Installation) -> Installation:
    """The same topics, another group."""
    settings = installation.settings.model_copy(update={"group": f"{installation.settings.group_id}-renamed"})
    return Installation(settings, installation.schemas, installation.templates)


def test_a_new_group_starts_at_the_beginning(bootstrap_servers: str, topic_prefix: str) -> None:
    """No position, no outputs: every event is mapped, and the position is the input's end."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(10))
    installation.run()

    assert set(range(10)) == source_offsets(installation)
    assert [10] == installation.committed()


def test_the_start_offset_is_committed_before_anything_is_mapped(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group that met an empty partition has a position there."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    installation.run()

    assert [0, 0] == installation.committed([0, 1])


def test_a_second_run_continues_at_the_committed_position(bootstrap_servers: str, topic_prefix: str) -> None:
    """A second run maps what came since, and nothing again; `--start-from` does not move a position that exists."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    installation.run()
    before = len(installation.read_statuses())
    with capture_logs() as logs:
        installation.run(start_from="beginning")

    assert before == len(installation.read_statuses())
    assert [
        {
            "event": "start-from ignored for positions that the group has",
            "log_level": "warning",
            "start_from": "beginning",
            "partitions": [0],
        }
    ] == [line for line in logs if line["event"].startswith("start-from")]

    installation.produce_events(events(5, seed=2))
    installation.run()

    assert set(range(10)) == source_offsets(installation)


def test_a_position_that_is_gone_stops(bootstrap_servers: str, topic_prefix: str) -> None:
    """Deleted records are never jumped over silently: exit 5, and how many offsets are missing."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(2))
    installation.run()
    installation.produce_events(events(8, seed=2))
    admin = installation.admin()
    (deleted,) = admin.delete_records([TopicPartition(installation.events, 0, 6)]).values()
    deleted.result(10)

    with pytest.raises(InputError, match=r"is gone: it is 2, the partition holds offsets 6 to 9; 4 offsets are"):
        installation.run()

    installation.run(start_from="beginning")

    assert {0, 1, 6, 7, 8, 9} == source_offsets(installation)


def test_all_positions_that_are_gone_are_named(bootstrap_servers: str, topic_prefix: str) -> None:
    """Of seven partitions six are refused: one text has five of them and how many more; an empty one and one offset are
    named as such, and the hint is there once. Nothing is committed, for the seventh neither."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=7)
    for partition in range(6):
        installation.produce_events(events(3), partition=partition)
    installation.run()
    for partition in range(6):
        installation.produce_events(events(4, seed=2), partition=partition)
    ends = {0: 4, 1: 7, **dict.fromkeys(range(2, 6), 5)}
    admin = installation.admin()
    for deleted in admin.delete_records([TopicPartition(installation.events, *end) for end in ends.items()]).values():
        deleted.result(10)

    with pytest.raises(InputError) as ended:
        installation.run()
    *lines, more, hint = str(ended.value).splitlines()
    gone = f"the group's position in {installation.events}"
    assert {
        f"{gone}[0] is gone: it is 3, the partition holds offsets 4 to 6; 1 offset is missing",
        f"{gone}[1] is gone: it is 3, the partition is empty, its next record gets offset 7; 4 offsets are missing",
        *(
            f"{gone}[{n}] is gone: it is 3, the partition holds offsets 5 to 6; 2 offsets are missing"
            for n in range(2, 6)
        ),
    } > set(lines)
    assert 5 == len(set(lines))
    assert "and 1 more partition" == more
    assert hint.startswith("hint: `--start-from beginning`, `end` or a time goes on without them; ")
    assert [3] * 6 + [0] == installation.committed(range(7))


def test_a_renamed_group_stops(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group without positions does not publish again what its outputs hold; `outputs` goes on after them."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    installation.run()
    again = with_new_group(installation)

    with pytest.raises(InputError, match=re.escape("`--start-from outputs`")):
        again.run()

    installation.produce_events(events(5, seed=2))
    published = len(installation.read_statuses())
    again.run(start_from="outputs")

    assert set(range(10)) == source_offsets(installation)
    assert published <= len(installation.read_statuses())
    assert len({(s["source"]["offset"], s["encodedKey"]) for s in installation.read_statuses()}) == len(
        installation.read_statuses()
    )


def test_end_skips_what_is_there(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--start-from end` maps only what comes after."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    installation.run(start_from="end")
    installation.produce_events(events(5, seed=2))
    installation.run()

    assert set(range(5, 10)) == source_offsets(installation)


def test_a_time_starts_at_the_first_record_since(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--start-from TIME` maps what has that timestamp or a later one."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    time.sleep(0.05)
    since = datetime.now(UTC).isoformat()
    installation.produce_events(events(5, seed=2))
    installation.run(start_from=since)

    assert set(range(5, 10)) == source_offsets(installation)


def test_a_grown_partition_starts_at_its_first_offset(bootstrap_servers: str, topic_prefix: str) -> None:
    """The group has positions elsewhere and this partition is new to it: what it held before is mapped."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(3))
    installation.run()
    grow_topics(installation.settings, partitions=2, stream_events=installation.templates.stream_events(), yes=True)
    installation.produce_events(events(4, seed=2), partition=1)
    installation.run()

    assert set(range(4)) == source_offsets(installation, 1)
    assert [3, 4] == installation.committed([0, 1])


def test_start_from_does_not_apply_to_added_partitions(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--start-from end` left on the command line skips nothing of a partition that was grown since."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(3))
    installation.run(start_from="end")
    grow_topics(installation.settings, partitions=2, stream_events=installation.templates.stream_events(), yes=True)
    installation.produce_events(events(4, seed=2), partition=1)
    installation.run(start_from="end")

    assert set() == source_offsets(installation)
    assert set(range(4)) == source_offsets(installation, 1)


def empty_outputs(installation: Installation) -> None:
    """Delete all that the outputs hold."""
    admin = installation.admin()
    co_partitioned = [
        installation.settings.topic(name)
        for name in (FixedOutput.MESSAGES, FixedOutput.STATUS, FixedOutput.DECISIONS, FixedOutput.DEAD_LETTERS)
    ]
    deleted = admin.delete_records([TopicPartition(topic, 0, OFFSET_END) for topic in co_partitioned])
    for future in deleted.values():
        future.result(10)


def test_all_start_offsets_are_committed_at_once(bootstrap_servers: str, topic_prefix: str) -> None:
    """Killed after the first commit of starts, a group that was to skip what is there does not map the rest of it."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=20)
    for partition in range(20):
        installation.produce_events(events(1, seed=partition), partition=partition)

    def die(step: str) -> None:
        if step == "polled" and max(installation.committed(range(20))) >= 0:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(installation.settings, until_end=True, start_from="end", on_step=die)
    installation.run(start_from="end")

    assert [1] * 20 == installation.committed(range(20))
    assert [] == [source for partition in range(20) for source in source_offsets(installation, partition)]


def test_outputs_in_an_open_transaction_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group without positions waits for what is being written, and then does not publish it again."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    installation.run()
    (first, *_) = installation.read(installation.settings.topic(FixedOutput.STATUS))
    empty_outputs(installation)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}other"}))
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(
        installation.settings.topic(FixedOutput.STATUS), first.value(), first.key(), 0, headers=list(headers_of(first))
    )
    assert producer.flush(10) == 0
    ended = threading.Timer(2, producer.commit_transaction)
    ended.start()

    with pytest.raises(InputError, match=re.escape("its outputs hold events of it")):
        with_new_group(installation).run()
    ended.join()


def test_an_output_that_cannot_be_read_counts(bootstrap_servers: str, topic_prefix: str) -> None:
    """Written by a newer version, perhaps: nobody can say that its event was not published; a person may."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(installation.settings.topic(FixedOutput.STATUS), b"\x00\x00\x00\x00\x07new", b"key", 0)
    assert producer.flush(10) == 0

    with pytest.raises(InputError, match=r"(?s)\[0\]@0 cannot be read.*no schema has id 7\nhint: "):
        installation.run()
    with pytest.raises(InputError, match="cannot be read"):
        installation.run(start_from="outputs")

    installation.run(start_from="end")

    assert [5] == installation.committed()


def test_a_start_time_needs_a_utc_offset() -> None:
    """A time without its offset could be any hour: refused before anything connects."""
    with pytest.raises(UsageError, match=r"(?s)got: '2026-03-14'.*hint: a time looks like"):
        parse_start_policy("2026-03-14")


def test_a_topic_without_partitions_is_waited_for(bootstrap_servers: str, topic_prefix: str) -> None:
    """A broker may respond for a moment that it does not know the topic. That is waited for: `--until-end` would have
    reached the end of no partitions, and `--start-from` would decide for none."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    admin = installation.admin()
    (deleted,) = admin.delete_topics([installation.events]).values()
    deleted.result(10)
    starts = start_offset_resolver(installation, start_policy=parse_start_policy("end"))
    wait_until(lambda: installation.events not in admin.list_topics(timeout=10).topics)

    with pytest.raises(UnavailableError, match="UNKNOWN_TOPIC_OR_PART"):
        starts.end_offsets()
    with pytest.raises(UnavailableError, match="UNKNOWN_TOPIC_OR_PART"):
        starts.prepare()


def test_outputs_are_no_start_for_a_topic_created_again(bootstrap_servers: str, topic_prefix: str) -> None:
    """Its events are other ones at the same offsets: the first refusal names `beginning`, and with `outputs`
    nothing is committed behind its end."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(events(5))
    installation.run()
    admin = installation.admin()
    (deleted,) = admin.delete_topics([installation.events]).values()
    deleted.result(10)
    wait_until(lambda: installation.events not in admin.list_topics(timeout=10).topics)
    (created,) = admin.create_topics([NewTopic(installation.events, 1, 1)]).values()
    created.result(10)
    installation.produce_events(events(3, seed=2))

    with pytest.raises(InputError, match=r"hint: `--start-from outputs` .*; `beginning` is right where the topic"):
        installation.run()
    with pytest.raises(
        InputError,
        match=r"up to offset 4, and its next record gets offset 3: .*\nhint: `--start-from beginning`",
    ):
        installation.run(start_from="outputs")
    assert [OFFSET_INVALID] == installation.committed()

    before = len(installation.read_statuses())
    installation.run(start_from="beginning")
    assert len(installation.read_statuses()) > before
