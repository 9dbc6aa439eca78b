"""A duplicate of an event creates no message; and the checker itself."""

from dataclasses import replace

import pytest

from tests.scenarios.scenario import TIMEOUT_S, scenario
from tests.soak import scenarios
from tests.soak.checker import check_outputs
from tests.soak.expected import DeadLettered, Duplicate, Record, Sent, valid_record
from tests.soak.history import read
from tests.soak.scenarios import Environment, ScenarioResult
from tests.soak.workload import InputProducer, event_json

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(TIMEOUT_S)]


@scenario(scenarios.duplicate_events)
def test_the_same_event_twice(result: ScenarioResult) -> None:
    """In the same batch, in the next, and after a restart, by another process: its messages once, and three
    decisions."""
    assert str(result.check) == "0 findings"
    assert result.check.counts["communications.decisions"] == 3


@scenario(scenarios.duplicate_input)
def test_the_same_input_twice(result: ScenarioResult) -> None:
    """All of the input produced once more creates no second message."""
    assert str(result.check) == "0 findings"
    assert result.observations["messages_before"] == result.check.counts["communications.messages"]


@scenario(scenarios.deduplication_window_edge, "classic")
def test_the_edge_of_the_deduplication_window(result: ScenarioResult) -> None:
    """With a window of 50 records, an event again 50 offsets later is a duplicate, also after a restart that has
    restored the window; 51 offsets later its messages are created again, under the same keys."""
    assert [52] == result.observations["duplicate_offsets"]
    assert result.observations["messages_of_first_event"] == result.observations["messages_created_twice"]
    assert result.observations["messages_created_once"] == 50 * len(result.observations["messages_created_twice"])


@scenario(scenarios.no_fault)
def test_no_fault(result: ScenarioResult) -> None:
    """A mixed workload with duplicates and bad records: all outputs once, in order, none of them aborted, and
    `--until-end` ends with 0."""
    assert str(result.check) == "0 findings"


def test_the_checker_can_fail(environment: Environment) -> None:
    """An output copied to the end of its partition, an unexpected one, a missing one and a duplicate that names another
    first record are all found."""
    installation = environment.installation("checker", {})
    producer = InputProducer(installation)
    producer.send([*scenarios.workload_records(200, seed=9), Record(b"k", b"\xff\xff", DeadLettered("BAD_FRAME"), ())])
    with environment.worker(installation, until_end=True) as worker:
        assert worker.wait(120) == 0
    sent = producer.committed_records()
    assert str(check_outputs(installation, sent)) == "0 findings"

    missing = Sent(valid_record(event_json(account=99)), 0, 99_999, 0)
    assert {"LOST"} == {finding.kind for finding in check_outputs(installation, [*sent, missing]).findings}

    without_bad = [record for record in sent if not isinstance(record.record.expectation, DeadLettered)]
    assert {"UNEXPECTED"} == {finding.kind for finding in check_outputs(installation, without_bad).findings}

    wrong_first = [
        replace(entry, record=replace(entry.record, expectation=replace(entry.record.expectation, first=(0, 99_999))))
        if isinstance(entry.record.expectation, Duplicate)
        else entry
        for entry in sent
    ]
    assert {"CONTENT"} == {finding.kind for finding in check_outputs(installation, wrong_first).findings}

    copied = next(record for record in read(installation.servers, (installation.messages,)) if record.offset == 3)
    copier = InputProducer(installation, topic=installation.messages)
    copier.send([Record(copied.key, copied.value, DeadLettered(""))], partition=copied.partition)
    assert {"DUPLICATED", "OUT_OF_ORDER"} == {finding.kind for finding in check_outputs(installation, sent).findings}
