"""Events that have their outcome at another offset."""

import pytest

from processor.domain.outcome import SourceOutcome
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import TemplateId
from processor.replay.known_events import KnownAt, find_known, known_among
from tests.engine.test_outcome_reader import outcome_reader
from tests.replay.test_index_outcomes import AT, OPERATION, dead_letter, decision, status
from tests.support.events import repayment
from tests.support.installation import create_installation

EVENT_ID = "event-id"  # of all outcomes here, at offset AT
TEMPLATE = TemplateId("t-a")
ELSEWHERE = AT + 1


@pytest.mark.parametrize(
    ("outcome", "is_known"),
    [
        (status(), True),
        (decision((DecisionReason.NO_TEMPLATE, None)), True),
        (decision((DecisionReason.INACTIVE, TEMPLATE)), True),
        (decision((DecisionReason.DUPLICATE_EVENT, None)), False),
        (decision((DecisionReason.TENANT_DISABLED, None)), False),
        (dead_letter(Reason.TEMPLATE_FAILED, TEMPLATE), True),
        (dead_letter(Reason.OUTPUT_REFUSED), True),
        (dead_letter(Reason.INVALID_EVENT), False),
    ],
)
def test_what_makes_an_event_known(outcome: SourceOutcome, is_known: bool) -> None:
    """What puts it into the deduplication window, but for a decision that it is known elsewhere."""
    assert ({EVENT_ID: KnownAt(AT, 1, None)} if is_known else {}) == known_among([outcome], {EVENT_ID: ELSEWHERE})


def test_an_event_is_not_known_by_its_own_record() -> None:
    """Nor by an event with another id; and a past operation is named."""
    assert {} == known_among([status()], {EVENT_ID: AT})
    assert {} == known_among([status()], {"another": ELSEWHERE})
    assert {EVENT_ID: KnownAt(AT, 1, OPERATION)} == known_among([status(OPERATION), status()], {EVENT_ID: ELSEWHERE})


def test_a_dead_letter_of_a_record_that_was_left() -> None:
    """It was left for the sake of another record of its event, so it is not what that one could be left for. What it
    says of single templates changes nothing."""
    refused, left = dead_letter(Reason.OUTPUT_REFUSED), decision((DecisionReason.ALREADY_CREATED, None))

    assert {} == known_among([refused, left], {EVENT_ID: ELSEWHERE})
    assert {} == known_among([left, refused], {EVENT_ID: ELSEWHERE})
    assert {EVENT_ID: KnownAt(AT, 1, None)} == known_among([left, refused, status()], {EVENT_ID: ELSEWHERE})
    of_template = decision((DecisionReason.ALREADY_CREATED, TEMPLATE))
    assert {EVENT_ID: KnownAt(AT, 1, None)} == known_among([of_template, refused], {EVENT_ID: ELSEWHERE})


@pytest.mark.kafka
def test_known_events_on_a_partition(bootstrap_servers: str, topic_prefix: str) -> None:
    """Wherever the other record lies, before or behind."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    events = [repayment(number) for number in range(5)]
    installation.produce_events(events)
    installation.run()
    ids = [str(event["eventId"]) for event in events]

    known = find_known(outcome_reader(installation), {ids[0]: 90, ids[3]: 0, ids[4]: 4, "of no event": 91})

    assert {ids[0]: (0, None), ids[3]: (3, None)} == {
        event_id: (at.offset, at.operation) for event_id, at in known.items()
    }
    assert {} == find_known(outcome_reader(installation), {})
