"""What is missing by the outcomes that there are, compared with sets of pairs that know nothing of bits and tables."""

import json
import random
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest

from processor.domain.reasons import DecisionReason
from processor.domain.record import EventName, TemplateId
from processor.domain.template import TemplateSet, template_set
from processor.errors import InputError
from processor.replay import outcome_index
from processor.replay.missing import MissingTemplates, Scope
from processor.replay.outcome_index import MappedWith, OutcomeIndex
from processor.replay.set_history import SetHistory, set_history
from processor.wire.template_sets import StoredTemplate, template_set_records
from tests.support.builders import make_email, make_output_topics

FIRST, END = 1_000, 1_400
EVENTS = [EventName(name) for name in ("LOAN_REPAYMENT", "FEE_APPLIED", "LOAN_REPAYMENT_REVERSAL")]
NAMES = [TemplateId(name) for name in ("t-a", "t-b", "t-c", "t-d", "t-e")]


def template_events(rng: random.Random) -> dict[TemplateId, list[EventName]]:
    """Some of the templates, each with some of the events."""
    names = rng.sample(NAMES, rng.randint(1, len(NAMES)))
    return {name: rng.sample(EVENTS, rng.randint(1, len(EVENTS))) for name in names}


def set_of(events: Mapping[TemplateId, list[EventName]]) -> TemplateSet:
    return template_set(
        replace(make_email(name, events=names), content=json.dumps({"id": name, "event": names}))
        for name, names in events.items()
    )


@dataclass
class History:
    """What happened to the records of a range, noted twice: in an index, and in plain sets."""

    index: OutcomeIndex
    sets: SetHistory
    event_of: dict[int, EventName] = field(default_factory=dict)
    done: dict[int, set[TemplateId]] = field(default_factory=lambda: defaultdict(set))
    has_run_outcome: set[int] = field(default_factory=set)
    had_by_operations: dict[int, set[TemplateId]] = field(default_factory=dict)
    is_for_all: set[int] = field(default_factory=set)
    decided: dict[int, set[TemplateId]] = field(default_factory=lambda: defaultdict(set))


def random_history(rng: random.Random) -> History:
    events_of_sets = {f"set-{number}": template_events(rng) for number in range(3)}
    sets = SetHistory(
        {
            version: [StoredTemplate(name, 1, json.dumps({"event": names})) for name, names in events.items()]
            for version, events in events_of_sets.items()
        }
    )
    history = History(OutcomeIndex(FIRST, END), sets)
    for offset in range(FIRST, END):
        event = history.event_of[offset] = rng.choice(EVENTS)
        for _ in range(rng.choice((0, 0, 1, 1, 1, 2))):
            version = rng.choice(list(events_of_sets))
            history.has_run_outcome.add(offset)
            if rng.random() < 0.1:
                history.is_for_all.add(offset)
                history.index.add_mapped(offset, MappedWith(version, None))
                continue
            history.index.add_mapped(offset, MappedWith(version, event))
            named = {name for name, names in events_of_sets[version].items() if event in names}
            history.done[offset] |= named
            for name in named:
                if rng.random() < 0.2:
                    history.index.add_decided(offset, name)
                    history.decided[offset].add(name)
        for name in NAMES:
            if rng.random() < 0.1:
                version = rng.choice(list(events_of_sets))
                history.index.add_mapped(offset, MappedWith(version, event, is_partial=True))
                history.index.add_template(offset, name)
                had = {name for name, names in events_of_sets[version].items() if event in names}
                history.had_by_operations.setdefault(offset, set()).update(had)
                history.done[offset].add(name)
            if rng.random() < 0.3:
                history.index.withdraw_decided(offset, name)
                history.decided[offset].discard(name)
    return history


def expected(history: History, today: TemplateSet, scope: Scope, offset: int) -> set[TemplateId]:
    """By the words of the operator's page."""
    named = {template.id for template in today.for_event(history.event_of[offset])}
    if scope.templates is not None:
        named &= scope.templates
    missing = named - history.done[offset]
    if offset in history.is_for_all:
        missing = set()
    elif offset in history.has_run_outcome:
        missing &= scope.include_new
    elif offset in history.had_by_operations:
        missing &= history.had_by_operations[offset] | scope.include_new
    if scope.include_decided:
        missing |= named & history.decided[offset]
    return missing


@pytest.mark.parametrize("seed", range(40))
def test_what_is_missing(seed: int) -> None:
    """For events without any outcome all templates; for those that past operations alone mapped what their sets had and
    they left out; else new ones and decided ones, if they are named; never one that had its outcome."""
    rng = random.Random(seed)
    history, today = random_history(rng), set_of(template_events(rng))
    scope = Scope(
        templates=rng.choice((None, frozenset(rng.sample(NAMES, 3)))),
        include_new=frozenset(rng.sample(NAMES, rng.randint(0, 5))),
        include_decided=frozenset(rng.choice(((), (DecisionReason.INACTIVE,)))),
    )
    missing = MissingTemplates(history.index, today, history.sets, scope)
    for offset in range(FIRST, END):
        wanted = expected(history, today, scope, offset)

        assert wanted == missing.of_event(offset, history.event_of[offset])
        assert missing.may_miss(offset) or not wanted  # an event that is not read can miss nothing


def test_no_event_with_its_outcome_is_read() -> None:
    """What `run` mapped needs no reading unless the operator names more."""
    sets = SetHistory({"s": [StoredTemplate(NAMES[0], 1, json.dumps({"event": EVENTS}))]})
    index = OutcomeIndex(0, 3)
    index.add_mapped(1, MappedWith("s", EVENTS[0]))
    today = set_of({NAMES[0]: EVENTS, NAMES[1]: EVENTS[:1]})

    assert [True, False, True] == [MissingTemplates(index, today, sets, Scope()).may_miss(at) for at in range(3)]
    named = Scope(include_new=frozenset(NAMES))
    assert [True, True, True] == [MissingTemplates(index, today, sets, named).may_miss(at) for at in range(3)]
    assert {NAMES[1]} == MissingTemplates(index, today, sets, named).of_event(1, EVENTS[0])


def test_an_operation_with_a_set_that_is_not_kept() -> None:
    """Nobody knows what it left out, so nothing of its events is missing."""
    index = OutcomeIndex(0, 2)
    index.add_mapped(0, MappedWith("gone", EVENTS[0], is_partial=True))
    index.add_template(0, NAMES[0])
    missing = MissingTemplates(index, set_of(dict.fromkeys(NAMES, EVENTS)), SetHistory({}), Scope())

    assert [frozenset(), frozenset(NAMES)] == [missing.of_event(offset, EVENTS[0]) for offset in range(2)]


def test_what_lies_outside_is_ignored() -> None:
    """Outcomes of records before the range and behind it change nothing."""
    index = OutcomeIndex(10, 12)
    for offset in (9, 12, 10**9):
        index.add_mapped(offset, MappedWith("s", EVENTS[0]))
        index.add_template(offset, NAMES[0])
        index.add_decided(offset, NAMES[0])
        index.withdraw_decided(offset, NAMES[0])

    assert [False, False] == [index.has_outcome(offset) for offset in (10, 11)]
    assert [] == list(index.kinds())


def test_an_index_tells_its_kinds_apart_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """More kinds of outcomes than two bytes hold are an error with a hint, not an outcome of another kind."""
    monkeypatch.setattr(outcome_index, "_MAX_KINDS", 4)
    index = OutcomeIndex(0, 10)
    for offset in range(3):
        index.add_mapped(offset, MappedWith(f"s{offset}", EVENTS[0]))

    with pytest.raises(InputError, match="more than 3 pairs of template set and event\nhint: take a smaller range"):
        index.add_mapped(3, MappedWith("s3", EVENTS[0]))
    assert [{MappedWith(f"s{offset}", EVENTS[0])} for offset in range(3)] == [index.mapped_with(at) for at in range(3)]


def test_sets_are_read_as_they_are_published() -> None:
    """In one part or in several; a part that is taken away takes its set away; content that was not kept is of all
    events."""
    today = set_of({NAMES[0]: EVENTS[:1], NAMES[1]: EVENTS[1:]})
    for limit in (999_000, 700):
        records = template_set_records(today, make_output_topics(limit=limit).template_sets)
        history = set_history((record.key or b"", record.value) for record in records)

        assert today.digest in history
        assert [{NAMES[0]}, {NAMES[1]}, {NAMES[1]}] == [history.templates(today.digest, event) for event in EVENTS]
    parts = [(record.key or b"", record.value) for record in records]
    assert len(parts) > 1
    assert today.digest not in set_history([*parts, (parts[1][0], None)])
    assert today.digest not in set_history(parts[:1])
    unkept = SetHistory({"s": [StoredTemplate(NAMES[2], 1, None)]})
    assert {NAMES[2]} == unkept.templates("s", EVENTS[0])


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b"[]",
        b'{"setVersion": 1, "parts": 1}',
        b"x",
        b"\xff",
        b'{"setVersion": "s", "parts": 1}',
        b'{"setVersion": "s", "parts": 1, "templates": [{"id": "a", "version": 1, "content": "{}"}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_set(value: bytes) -> None:
    """Any other value is ignored, and costs no other set; the set whose part it replaced is not kept."""
    (record,) = template_set_records(set_of({NAMES[0]: EVENTS}), make_output_topics().template_sets)
    version = (record.key or b"").decode()

    history = set_history([(b"k", value), (record.key or b"", record.value)])

    assert {NAMES[0]} == history.templates(version, EVENTS[0])
    assert "s" not in history
    assert version not in set_history([(record.key or b"", record.value), (record.key or b"", value)])


def test_a_history_keeps_no_texts() -> None:
    """There is a set for each change of a template, ever: what is kept of one does not grow with its texts."""
    text = json.dumps({"event": EVENTS, "body": "x" * 100_000})

    def records() -> Iterator[tuple[bytes, bytes]]:
        for number in range(100):
            template = {"id": NAMES[0], "version": number, "content": text}
            fields = {"setVersion": f"s{number}", "parts": 1, "templates": [template]}
            yield f"s{number}".encode(), json.dumps(fields).encode()

    tracemalloc.start()
    try:
        history = set_history(records())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert {NAMES[0]} == history.templates("s99", EVENTS[0])
    assert peak_bytes < 2_000_000
