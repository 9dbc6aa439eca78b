"""Where a partition starts: every case of the contract, on a real broker."""

import re
import threading
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import OFFSET_END, OFFSET_INVALID, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from structlog.testing import capture_logs

from processor.demo.generate import events
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


def told(count: int, *, seed: int = 1) -> list[dict[str, object]]:
    return list(events(count, seed=seed, tenant=TENANT))


def sources(made: Installation, partition: int = 0) -> set[int]:
    """Source offsets that a status or a decision names."""
    records = [*made.read_statuses(partition), *made.read_decisions(partition)]
    return {record["source"]["offset"] for record in records}


def renamed(made: Installation) -> Installation:
    """The same topics, another group."""
    settings = made.settings.model_copy(update={"group": f"{made.settings.group_id}-renamed"})
    return Installation(settings, made.schemas, made.templates)


def test_a_new_group_starts_at_the_beginning(bootstrap_servers: str, topic_prefix: str) -> None:
    """No position, no outputs: every event is mapped, and the position is the input's end."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(10))
    made.run()

    assert set(range(10)) == sources(made)
    assert [10] == made.committed()


def test_the_chosen_start_is_committed_before_anything_is_mapped(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group that met an empty partition has a position there."""
    made = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    made.run()

    assert [0, 0] == made.committed([0, 1])


def test_a_position_is_where_it_goes_on(bootstrap_servers: str, topic_prefix: str) -> None:
    """A second run maps what came since, and nothing again; `--start-from` does not move a position that exists."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    made.run()
    before = len(made.read_statuses())
    with capture_logs() as logs:
        made.run(start_from="beginning")

    assert before == len(made.read_statuses())
    assert [
        {
            "event": "start-from ignored for positions that the group has",
            "log_level": "warning",
            "start_from": "beginning",
            "partitions": [0],
        }
    ] == [line for line in logs if line["event"].startswith("start-from")]

    made.produce_events(told(5, seed=2))
    made.run()

    assert set(range(10)) == sources(made)


def test_a_position_that_is_gone_stops(bootstrap_servers: str, topic_prefix: str) -> None:
    """Deleted records are never jumped over silently: exit 5, and how many offsets are missing."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(2))
    made.run()
    made.produce_events(told(8, seed=2))
    admin = made.admin()
    (deleted,) = admin.delete_records([TopicPartition(made.events, 0, 6)]).values()
    deleted.result(10)

    with pytest.raises(InputError, match=r"is gone: it is 2, the partition holds offsets 6 to 9; 4 offsets are"):
        made.run()

    made.run(start_from="beginning")

    assert {0, 1, 6, 7, 8, 9} == sources(made)


def test_all_positions_that_are_gone_are_named(bootstrap_servers: str, topic_prefix: str) -> None:
    """Of seven partitions six are refused: one text has five of them and how many more; an empty one and one offset are
    named as such, and the hint is there once. Nothing is committed, for the seventh neither."""
    made = create_installation(bootstrap_servers, topic_prefix, partitions=7)
    for partition in range(6):
        made.produce_events(told(3), partition=partition)
    made.run()
    for partition in range(6):
        made.produce_events(told(4, seed=2), partition=partition)
    ends = {0: 4, 1: 7, **dict.fromkeys(range(2, 6), 5)}
    admin = made.admin()
    for deleted in admin.delete_records([TopicPartition(made.events, *end) for end in ends.items()]).values():
        deleted.result(10)

    with pytest.raises(InputError) as ended:
        made.run()
    *lines, more, hint = str(ended.value).splitlines()
    gone = f"the group's position in {made.events}"
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
    assert [3] * 6 + [0] == made.committed(range(7))


def test_a_renamed_group_stops(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group without positions does not publish again what its outputs hold; `outputs` goes on after them."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    made.run()
    again = renamed(made)

    with pytest.raises(InputError, match=re.escape("`--start-from outputs`")):
        again.run()

    made.produce_events(told(5, seed=2))
    published = len(made.read_statuses())
    again.run(start_from="outputs")

    assert set(range(10)) == sources(made)
    assert published <= len(made.read_statuses())
    assert len({(s["source"]["offset"], s["encodedKey"]) for s in made.read_statuses()}) == len(made.read_statuses())


def test_end_skips_what_is_there(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--start-from end` maps only what comes after."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    made.run(start_from="end")
    made.produce_events(told(5, seed=2))
    made.run()

    assert set(range(5, 10)) == sources(made)


def test_a_time_starts_at_the_first_record_since(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--start-from TIME` maps what has that timestamp or a later one."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    time.sleep(0.05)
    since = datetime.now(UTC).isoformat()
    made.produce_events(told(5, seed=2))
    made.run(start_from=since)

    assert set(range(5, 10)) == sources(made)


def test_a_grown_partition_starts_at_its_first_offset(bootstrap_servers: str, topic_prefix: str) -> None:
    """The group has positions elsewhere and this partition is new to it: what it held before is mapped."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(3))
    made.run()
    grow_topics(made.settings, partitions=2, stream_events=made.templates.stream_events(), yes=True)
    made.produce_events(told(4, seed=2), partition=1)
    made.run()

    assert set(range(4)) == sources(made, 1)
    assert [3, 4] == made.committed([0, 1])


def test_an_answer_is_not_for_a_partition_that_is_new_to_the_group(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--start-from end` left on the command line skips nothing of a partition that was grown since."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(3))
    made.run(start_from="end")
    grow_topics(made.settings, partitions=2, stream_events=made.templates.stream_events(), yes=True)
    made.produce_events(told(4, seed=2), partition=1)
    made.run(start_from="end")

    assert set() == sources(made)
    assert set(range(4)) == sources(made, 1)


def emptied(made: Installation) -> None:
    """Delete all that the outputs hold."""
    admin = made.admin()
    co_partitioned = [made.settings.topic(name) for name in ("messages", "status", "decisions", "dead_letters")]
    deleted = admin.delete_records([TopicPartition(topic, 0, OFFSET_END) for topic in co_partitioned])
    for future in deleted.values():
        future.result(10)


def test_all_answered_starts_are_committed_at_once(bootstrap_servers: str, topic_prefix: str) -> None:
    """Killed after the first commit of starts, a group that was to skip what is there does not map the rest of it."""
    made = create_installation(bootstrap_servers, topic_prefix, partitions=20)
    for partition in range(20):
        made.produce_events(told(1, seed=partition), partition=partition)

    def die(step: str) -> None:
        if step == "polled" and max(made.committed(range(20))) >= 0:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(made.settings, until_end=True, start_from="end", on_step=die)
    made.run(start_from="end")

    assert [1] * 20 == made.committed(range(20))
    assert [] == [source for partition in range(20) for source in sources(made, partition)]


def test_outputs_in_an_open_transaction_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group without positions waits for what is being written, and then does not publish it again."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    made.run()
    (first, *_) = made.read(made.settings.topic("status"))
    emptied(made)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}other"}))
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(made.settings.topic("status"), first.value(), first.key(), 0, headers=list(headers_of(first)))
    assert producer.flush(10) == 0
    ended = threading.Timer(2, producer.commit_transaction)
    ended.start()

    with pytest.raises(InputError, match=re.escape("its outputs hold events of it")):
        renamed(made).run()
    ended.join()


def test_an_output_that_cannot_be_read_counts(bootstrap_servers: str, topic_prefix: str) -> None:
    """Written by a newer version, perhaps: nobody can say that its event was not published; a person may."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(made.settings.topic("status"), b"\x00\x00\x00\x00\x07new", b"key", 0)
    assert producer.flush(10) == 0

    with pytest.raises(InputError, match=r"(?s)\[0\]@0 cannot be read.*no schema has id 7\nhint: "):
        made.run()
    with pytest.raises(InputError, match="cannot be read"):
        made.run(start_from="outputs")

    made.run(start_from="end")

    assert [5] == made.committed()


def test_a_time_needs_an_offset() -> None:
    """A time without its offset could be any hour: refused before anything connects."""
    with pytest.raises(UsageError, match=r"(?s)got: '2026-03-14'.*hint: a time looks like"):
        parse_start_policy("2026-03-14")


def test_a_topic_without_partitions_is_no_end(bootstrap_servers: str, topic_prefix: str) -> None:
    """A broker may answer for a moment that it knows nothing of the topic. That is waited for: `--until-end` would have
    reached the end of no partitions, and `--start-from` would answer for none."""
    made = create_installation(bootstrap_servers, topic_prefix)
    admin = made.admin()
    (deleted,) = admin.delete_topics([made.events]).values()
    deleted.result(10)
    starts = start_offset_resolver(made, start_policy=parse_start_policy("end"))
    wait_until(lambda: made.events not in admin.list_topics(timeout=10).topics)

    with pytest.raises(UnavailableError, match="UNKNOWN_TOPIC_OR_PART"):
        starts.end_offsets()
    with pytest.raises(UnavailableError, match="UNKNOWN_TOPIC_OR_PART"):
        starts.prepare()


def test_outputs_say_nothing_of_a_topic_that_was_created_again(bootstrap_servers: str, topic_prefix: str) -> None:
    """Its events are other ones at the same offsets: the first refusal names the answer `beginning`, and with `outputs`
    nothing is committed behind its end."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.produce_events(told(5))
    made.run()
    admin = made.admin()
    (deleted,) = admin.delete_topics([made.events]).values()
    deleted.result(10)
    wait_until(lambda: made.events not in admin.list_topics(timeout=10).topics)
    (created,) = admin.create_topics([NewTopic(made.events, 1, 1)]).values()
    created.result(10)
    made.produce_events(told(3, seed=2))

    with pytest.raises(InputError, match=r"hint: `--start-from outputs` .*; `beginning` is right where the topic"):
        made.run()
    with pytest.raises(
        InputError,
        match=r"up to offset 4, and its next record gets offset 3: .*\nhint: `--start-from beginning`",
    ):
        made.run(start_from="outputs")
    assert [OFFSET_INVALID] == made.committed()

    before = len(made.read_statuses())
    made.run(start_from="beginning")
    assert len(made.read_statuses()) > before
