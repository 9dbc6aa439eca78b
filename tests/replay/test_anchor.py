"""Where a pass begins, on the outputs of a real run."""

import time

import pytest
from confluent_kafka import TopicPartition

from processor.errors import InputError
from processor.kafka.clients import create_admin
from processor.replay import anchor
from processor.replay.anchor import Begin, find_begin
from tests.engine.test_outcome_reader import begin_offsets, outcome_reader
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

pytestmark = pytest.mark.kafka


def delete_before(installation: Installation, topic: str, offset: int) -> None:
    """As retention does."""
    admin = create_admin(installation.settings)
    admin.delete_records([TopicPartition(topic, 0, offset)])[TopicPartition(topic, 0)].result(10)


def run_in_two_parts(installation: Installation) -> int:
    """Events 0 to 9, a while later 10 to 19; the time of the second part."""
    installation.produce_events([repayment(number) for number in range(10)])
    installation.run()
    time.sleep(1.5)
    between_ms = int(time.time() * 1000)
    installation.produce_events([repayment(number) for number in range(10, 20)])
    installation.run()
    return between_ms


def test_an_outcome_before_the_range_is_the_anchor(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in as few steps back as it takes, and the pass meets every outcome of the range from there."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    between_ms = run_in_two_parts(installation)
    monkeypatch.setattr(anchor, "MARGIN_MS", 200)
    monkeypatch.setattr(anchor, "FIRST_STEP_MS", 100)
    outputs = outcome_reader(installation)

    begin = find_begin(outputs, 15, time_ms=between_ms + 5_000)

    assert begin.anchor is not None
    assert begin.anchor < 15
    found = {outcome.source.offset for outcome in outputs.outcomes_from(begin.offsets)}
    assert set(range(15, 20)) <= found


def test_nothing_is_missed_when_the_positions_were_set_back(bootstrap_servers: str, topic_prefix: str) -> None:
    """Outcomes of the first pass over the range are met too: none is older than its event."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    run_in_two_parts(installation)
    outputs = outcome_reader(installation)

    begin = find_begin(outputs, 12, time_ms=int(time.time() * 1000))

    offsets = [outcome.source.offset for outcome in outputs.outcomes_from(begin.offsets)]
    assert set(range(12, 20)) <= set(offsets)


def test_the_very_beginning_needs_no_anchor(bootstrap_servers: str, topic_prefix: str) -> None:
    """For a range from the first event on, where the outputs begin at offset 0."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    run_in_two_parts(installation)

    assert Begin(begin_offsets(installation), None) == find_begin(
        outcome_reader(installation), 0, time_ms=int(time.time() * 1000)
    )


def test_outputs_that_expired_prove_nothing(bootstrap_servers: str, topic_prefix: str) -> None:
    """Neither an outcome before the range nor the very beginning: refused, with what can be proven."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    run_in_two_parts(installation)
    delete_before(installation, installation.status, 10)
    outputs = outcome_reader(installation)
    begins = {topic: extent.first for topic, extent in outputs.extents().items()}
    oldest = min(outcome.source.offset for outcome in outputs.outcomes_from(begins))

    with pytest.raises(InputError, match=f"kept too short to prove .*\n?.*--offsets {oldest + 1}:") as refused:
        find_begin(outputs, oldest, time_ms=int(time.time() * 1000))
    assert refused.value.exit_code == 5
    assert find_begin(outputs, oldest + 1, time_ms=int(time.time() * 1000)).anchor == oldest


def test_another_topic_that_expired_proves_nothing(bootstrap_servers: str, topic_prefix: str) -> None:
    """The statuses are all there, and decisions of that time are not: an event without a status may have had one."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1), repayment(1), repayment(2)])
    installation.run()
    now_ms = int(time.time() * 1000)
    outputs = outcome_reader(installation)
    assert find_begin(outputs, 2, time_ms=now_ms).anchor == 0
    delete_before(installation, installation.decisions, 1)

    with pytest.raises(InputError, match=r"decisions holds nothing, and the range's outcomes may be older"):
        find_begin(outputs, 2, time_ms=now_ms)
