"""What an outcome says of itself: its outputs and their size, and a created message in a few plain words."""

from collections import Counter

import pytest

from processor.domain import record as module
from processor.domain.outcome import Processed, Rejected
from processor.domain.record import Headers
from tests.support.builders import make_context, make_email, make_record, make_template, map_record


def test_outputs_are_those_of_the_parts_and_their_size() -> None:
    """Of an outcome with messages, a decision and a dead letter; of a rejected record its dead letter's."""
    outcome = map_record(make_record(), make_context(make_email("mail"), make_email("off", active=False)))
    assert isinstance(outcome, Processed)
    failing = map_record(make_record(), make_context(make_template("fails", body="{GROUP_ID}", strict=True)))
    assert isinstance(failing, Processed)
    rejected = map_record(make_record(value=b"broken"), make_context())
    assert isinstance(rejected, Rejected)

    assert outcome.decision is not None
    assert (*outcome.results[0].outputs, outcome.decision) == outcome.outputs
    assert (failing.dead_letter,) == failing.outputs
    outcomes: tuple[Processed | Rejected, ...] = (outcome, failing, rejected)
    for either in outcomes:
        assert sum(output.size_bytes for output in either.outputs) == either.output_bytes > 0


def test_the_size_of_outputs_is_added_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the one time that each is held against its topic's limit; then the outcome has it."""
    computed: Counter[bytes | None] = Counter()
    original = module._size_bytes

    def count(key: bytes | None, value: bytes | None, headers: Headers) -> int:
        computed[value] += 1
        return original(key, value, headers)

    monkeypatch.setattr(module, "_size_bytes", count)
    outcome = map_record(make_record(), make_context(make_email("mail"), make_email("off", active=False)))
    assert isinstance(outcome, Processed)
    sizes = [outcome.output_bytes for _ in range(3)]

    assert {output.value: 2 for output in outcome.outputs} == computed
    assert [sum(output.size_bytes for output in outcome.outputs)] * 3 == sizes


def test_a_created_message_in_plain_words() -> None:
    """What the engine and operations on the past read of it is what its status and its message say."""
    outcome = map_record(make_record(), make_context(make_email("mail"), make_template("stream")))
    assert isinstance(outcome, Processed)
    assert 2 == len(outcome.created)
    for created in outcome.created:
        status = created.status

        assert (status.templateId, status.templateVersion) == (created.template_id, created.template_version)
        assert (status.encodedKey, status.eventId) == (created.encoded_key, created.event_id)
        assert (status.type, status.at) == (created.channel, created.time_ms)
        assert created.message.destination == created.destination
