"""Which dead letter of a source counts, and its state, from what the outputs say."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.message import FailedTemplate, State
from processor.domain.outcome import (
    DeadLetterOutcome,
    DecisionOutcome,
    SkippedReason,
    SourceOutcome,
    StatusOutcome,
)
from processor.domain.reasons import DecisionReason, Reason, TemplateReason
from processor.domain.record import EncodedKey, EventName, RecordPosition, TemplateId, Topic
from processor.engine.output_scan import WrittenOutcome
from processor.replay.dead_letter_groups import DeadLetterFilter, GroupBy, group
from processor.replay.dead_letters import DeadLetterEntry, DeadLetterState, FailedPair, newest_entries, with_states
from tests.support.builders import EVENTS_TOPIC

OPEN, PARKED, DONE = DeadLetterState.OPEN, DeadLetterState.PARKED, DeadLetterState.DONE
TEMPLATES = ("a", "b", "c")
WRITTEN_MS = 1_000


def entry(*failed: str, source: int = 7, **fields: object) -> DeadLetterEntry:
    """A dead letter of a record of the events; without templates: of the record as a whole."""
    made = DeadLetterEntry(
        partition=0,
        offset=source + 100,
        written_ms=WRITTEN_MS,
        source=RecordPosition(EVENTS_TOPIC, 0, source),
        is_of_events=True,
        time_ms=500,
        reason=Reason.TEMPLATE_FAILED if failed else Reason.INVALID_EVENT,
        failed=tuple(FailedPair(TemplateId(name), TemplateReason.OTHER) for name in failed),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def said(source: int) -> tuple[RecordPosition, int, str, str, str, None]:
    """What every outcome has of its source."""
    return (RecordPosition(EVENTS_TOPIC, 0, source), 500, "id", "LOAN_REPAYMENT", "set", None)


def created(template: str, source: int = 7) -> StatusOutcome:
    """A message of a template."""
    return StatusOutcome(
        *said(source), encoded_key=EncodedKey("0" * 32), template_id=TemplateId(template), state=State.QUEUED
    )


def decided(*templates: str | None, source: int = 7) -> DecisionOutcome:
    """A decision that names these; None: it stands for the record."""
    reasons = tuple(
        SkippedReason(
            DecisionReason.CONDITION_FALSE if name else DecisionReason.NO_TEMPLATE,
            "",
            None if name is None else TemplateId(name),
        )
        for name in templates
    )
    return DecisionOutcome(*said(source), reasons=reasons)


def failed_again(template: str, source: int = 7) -> DeadLetterOutcome:
    """A dead letter."""
    failed = FailedTemplate(
        templateId=TemplateId(template), templateVersion=1, reason=TemplateReason.OTHER, detail="wrong"
    )
    return DeadLetterOutcome(
        *said(source),
        reason=Reason.TEMPLATE_FAILED,
        detail="",
        failed=(failed,),
        is_complete=True,
        attempts=1,
        has_value=True,
    )


def state(letter: DeadLetterEntry, *outcomes: SourceOutcome, time_ms: int = WRITTEN_MS + 1) -> DeadLetterState:
    """The state that follows."""
    (result,) = with_states([letter], [WrittenOutcome(time_ms, outcome) for outcome in outcomes])
    assert letter == replace(result, state=letter.state, open_failed=())
    return result.state


@pytest.mark.parametrize(
    ("letter", "outcomes", "expected"),
    [
        (entry("a"), (), OPEN),
        (entry("a"), (created("a"),), DONE),
        (entry("a"), (created("b"),), OPEN),
        (entry("a"), (created("a", source=8),), OPEN),
        (entry("a", "b"), (created("a"),), OPEN),
        (entry("a", "b"), (created("b"), decided("a", "c")), DONE),
        (entry("a", "b"), (decided("a", "b"),), DONE),
        (entry("a", "b"), (decided(None),), DONE),
        (entry("a", "a"), (created("a"),), DONE),
        (entry("a"), (failed_again("a"),), OPEN),
        (entry(), (failed_again("a"),), OPEN),
        (entry(), (), OPEN),
        (entry(), (created("a"),), DONE),
        (entry(), (decided("b"),), DONE),
        (entry(), (decided(None),), DONE),
        (entry(attempts=4), (), OPEN),
        (entry(attempts=5), (), PARKED),
        (entry(attempts=5), (decided(None),), DONE),
        (entry("a", is_complete=False), (created("a"),), OPEN),
        (entry("a", is_complete=False), (created("a"), decided(None)), OPEN),
        (entry("a", is_complete=False, attempts=9), (created("a"),), PARKED),
        (entry("a", is_of_events=False), (created("a"),), OPEN),
        (entry(is_of_events=False, attempts=5), (created("a"),), PARKED),
        (entry(source=7, reason=None, is_of_events=False), (created("a"),), OPEN),
    ],
)
def test_states(letter: DeadLetterEntry, outcomes: Sequence[SourceOutcome], expected: DeadLetterState) -> None:
    """Done when all that it lists has a later outcome; else parked from five attempts on, else open."""
    assert expected == state(letter, *outcomes)


def test_what_came_before_does_not_count() -> None:
    """An outcome of before the dead letter was of another pass over the record; one of its millisecond is later."""
    assert [OPEN, DONE] == [state(entry("a"), created("a"), time_ms=WRITTEN_MS + delta) for delta in (-1, 0)]
    assert [OPEN, DONE] == [state(entry(), decided("a"), time_ms=WRITTEN_MS + delta) for delta in (-1, 0)]


def test_what_only_an_older_dead_letter_lists_stays_open() -> None:
    """Until it has an outcome since it failed; a record that was rejected later has all templates anyway."""
    first, second = entry("a", "b"), replace(entry("b", "c", offset=300), written_ms=WRITTEN_MS + 100)
    (newest,) = newest_entries([first, second])

    def open_after(*outcomes: tuple[int, SourceOutcome]) -> list[str]:
        (letter,) = with_states([newest], [WrittenOutcome(WRITTEN_MS + ms, outcome) for ms, outcome in outcomes])
        assert (letter.state is DONE) == (not letter.open_failed)
        return [failed.template for failed in letter.open_failed]

    assert ["b", "c", "a"] == open_after() == [failed.template for failed in newest.listed]
    assert ["b", "c"] == open_after((50, created("a")), (50, created("b")))
    assert ["b", "c", "a"] == open_after((-1, created("a")))
    assert ["a"] == open_after((101, created("c")), (101, decided("b")))
    assert [] == open_after((101, decided(None)))
    (rejected,) = newest_entries([first, entry(offset=300)])
    assert ((), ()) == (rejected.failed, rejected.older)


def test_what_failed_before_an_operation_rejected_its_record() -> None:
    """It was tried for that alone, so that is what it lacks; not what is of another record at its offset."""
    first, second = entry("a", "b"), replace(entry("b", "c", offset=300), written_ms=WRITTEN_MS + 100)

    (rejected,) = newest_entries([first, second, entry(offset=400, is_of_operation=True)])
    assert (("b", "c", "a"), Reason.INVALID_EVENT) == (names(rejected), rejected.reason)
    assert [OPEN, DONE] == [state(rejected, created("a")), state(rejected, *map(created, "abc"))]
    (twice,) = newest_entries([first, *(entry(offset=offset, is_of_operation=True) for offset in (400, 500))])
    assert ("a", "b") == names(twice)
    (of_another_log,) = newest_entries([first, entry(offset=400, is_of_operation=True, time_ms=501)])
    assert () == names(of_another_log)


def names(letter: DeadLetterEntry) -> tuple[str, ...]:
    """The templates that it lists."""
    return tuple(failed.template for failed in letter.listed)


def test_the_newest_of_a_source_counts() -> None:
    """In the order in which they were written; of two topics or without a source each counts."""
    first, second = entry("a"), entry("b", offset=300)
    other_topic = entry(source=7, offset=301)
    assert other_topic.source is not None
    other_topic = replace(other_topic, source=other_topic.source._replace(topic=Topic("other")), is_of_events=False)
    unreadable = [entry(offset=offset, is_of_events=False, reason=None) for offset in (200, 250)]
    unreadable = [replace(each, source=None) for each in unreadable]

    def newest(*entries: DeadLetterEntry) -> tuple[DeadLetterEntry, ...]:
        return tuple(replace(each, older=()) for each in newest_entries(entries))

    assert (*unreadable, second, other_topic) == newest(first, *unreadable, second, other_topic)
    assert (other_topic, first) == newest(second, other_topic, first)


OUTCOMES = st.one_of(
    st.builds(created, st.sampled_from(TEMPLATES), source=st.integers(6, 9)),
    st.builds(
        lambda names, source: decided(*names, source=source),
        st.lists(st.sampled_from((*TEMPLATES, None)), max_size=3),
        st.integers(6, 9),
    ),
    st.builds(failed_again, st.sampled_from(TEMPLATES), source=st.integers(6, 9)),
)
WRITTEN = st.builds(WrittenOutcome, st.integers(WRITTEN_MS - 2, WRITTEN_MS + 2), OUTCOMES)
LETTERS = st.lists(
    st.builds(
        lambda names, source, complete, attempts: entry(*names, source=source, is_complete=complete, attempts=attempts),
        st.lists(st.sampled_from(TEMPLATES), max_size=3, unique=True),
        st.integers(6, 9),
        st.booleans(),
        st.integers(1, 6),
    ),
    max_size=4,
    unique_by=lambda letter: letter.source,
)


@given(letters=LETTERS, written=st.lists(WRITTEN, max_size=20), seed=st.integers())
def test_the_order_of_reading_does_not_matter(
    letters: list[DeadLetterEntry], written: list[WrittenOutcome], seed: int
) -> None:
    """Whatever topic is read first, and however often an output is read; and each dead letter's state is its own."""
    expected = {letter.source: letter.state for letter in with_states(letters, written)}
    shuffled = written + written[:5]
    random.Random(seed).shuffle(shuffled)

    assert expected == {letter.source: letter.state for letter in with_states(letters[::-1], shuffled)}
    for letter in letters:
        (alone,) = with_states([letter], written)
        assert expected[letter.source] == alone.state


@given(letters=LETTERS, written=st.lists(WRITTEN, max_size=20), more=WRITTEN)
def test_what_is_done_stays_done(
    letters: list[DeadLetterEntry], written: list[WrittenOutcome], more: WrittenOutcome
) -> None:
    """No later output takes a state back, as long as there is no newer dead letter."""
    before, after = with_states(letters, written), with_states(letters, [*written, more])

    assert all(later.state is DONE for earlier, later in zip(before, after, strict=True) if earlier.state is DONE)


def test_filters_of_reasons_and_templates() -> None:
    """A code is a record's reason or that of a template; with a template named, that template's."""
    letter = entry("a", "b")
    letter = replace(letter, failed=(letter.failed[0], FailedPair(TemplateId("b"), TemplateReason.MISSING_VALUE)))

    def includes(**fields: object) -> bool:
        return DeadLetterFilter(**fields).includes(letter)  # type: ignore[arg-type]

    assert includes(reasons=frozenset({"TEMPLATE_FAILED"}))
    assert includes(reasons=frozenset({"MISSING_VALUE"}), templates=frozenset({TemplateId("b")}))
    assert not includes(reasons=frozenset({"MISSING_VALUE"}), templates=frozenset({TemplateId("a")}))
    assert not includes(reasons=frozenset({"LOOKUP_MISSING"}))
    assert [True, False] == [includes(from_ms=500 + more) for more in (0, 1)]
    assert [False, True] == [includes(to_ms=500 + more) for more in (0, 1)]
    assert not includes(events=frozenset({EventName("LOAN_REPAYMENT")}))


def test_groups_are_in_order() -> None:
    """Reasons by their number; numbers and days by their value; the newest is the example."""
    letters = [entry(source=offset, attempts=offset, time_ms=offset * 86_400_000) for offset in (10, 9, 2)]
    letters.append(entry("a", "b", source=3, attempts=2))

    assert [("INVALID_EVENT", 3), ("TEMPLATE_FAILED", 1)] == [
        (each.key, each.count) for each in group(letters, GroupBy.REASON)
    ]
    assert ["2", "9", "10"] == [each.key for each in group(letters, GroupBy.ATTEMPTS)]
    assert ["1970-01-01", "1970-01-03", "1970-01-10", "1970-01-11"] == [
        each.key for each in group(letters, GroupBy.DAY)
    ]
    assert [("(the record)", 3), ("a", 1), ("b", 1)] == [
        (each.key, each.count) for each in group(letters, GroupBy.TEMPLATE)
    ]
    assert letters[0] is group(letters, GroupBy.REASON)[0].example
