"""The oracle of operations on the past: which outputs `run`, a replay of skipped events, and one for a new template
must write, by events and templates alone. Pure.

Each has outputs of its own, as the header `operation` says who wrote a record, so each is checked as if there were no
other.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.soak.expected import (
    TEMPLATES,
    Duplicate,
    ExpectedOutputs,
    Position,
    Record,
    Sent,
    Skipped,
    Template,
    Valid,
    expected_outputs,
)

LATER_TEMPLATE = Template("soak-reversal-email", 1, "Soak reversal email", "LOAN_REPAYMENT_REVERSAL", "EMAIL")
"""Of the folder `later_templates`."""


@dataclass(frozen=True, slots=True)
class PastInput:
    """What was sent, and what was done meanwhile.

    `skipped`: offsets of `partition` which `run` never mapped. `later_from`: partition -> the offset from which `run`
    maps with the later template too.
    """

    sent: Sequence[Sent]
    partition: int
    skipped: range
    later_from: Mapping[int, int]

    def is_skipped(self, position: Position) -> bool:
        """Whether `run` left the record out."""
        return position[0] == self.partition and position[1] in self.skipped

    def has_later(self, position: Position) -> bool:
        """Whether `run` maps the record with the later template."""
        return position[1] >= self.later_from[position[0]]


@dataclass(frozen=True, slots=True)
class PastOutputs:
    """All that must be written, by who writes it."""

    run: ExpectedOutputs
    skipped: ExpectedOutputs  #: By the replay of events without an outcome.
    others: ExpectedOutputs  #: By the replay with `--include-new`, once the skipped ones have their outcome.


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """What a dry run must say, in the words of its JSON: `events`, and counts by template, reason, or both."""

    events: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: "ReplayFigures") -> "ReplayFigures":
        return ReplayFigures(
            self.events + other.events,
            self.messages + other.messages,
            self.decisions + other.decisions,
            self.dead_letters + other.dead_letters,
            self.failed + other.failed,
        )


def past_outputs(past: PastInput) -> PastOutputs:
    """What must be written. `past.sent` says of each event that was sent twice that the second is a duplicate, as if
    nothing had been skipped."""
    sent = list(_with_skipped_duplicates(past))
    by_run = [record for record in sent if not past.is_skipped(record.position)]
    before = [record for record in by_run if not past.has_later(record.position)]
    after = [record for record in by_run if past.has_later(record.position)]
    with_later = (*TEMPLATES, LATER_TEMPLATE)
    return PastOutputs(
        run=_merged(expected_outputs(before), expected_outputs(after, templates=with_later)),
        skipped=expected_outputs([record for record in sent if past.is_skipped(record.position)], templates=with_later),
        others=expected_outputs([record for record in before if _is_of_later(record)], templates=(LATER_TEMPLATE,)),
    )


def replay_figures(outputs: ExpectedOutputs) -> ReplayFigures:
    """The figures of a dry run for these."""
    dead_letters = outputs.dead_letters.values()
    positions = {message.position for message in (*outputs.messages.values(), *outputs.discarded.values())}
    return ReplayFigures(
        events=len(positions | outputs.decisions.keys() | outputs.dead_letters.keys()),
        messages=Counter(message.template.id for message in outputs.messages.values()),
        decisions=Counter(reason for _, reasons in outputs.decisions.values() for _, reason in reasons),
        dead_letters=Counter(letter.reason for letter in dead_letters if not letter.failed),
        failed=Counter(failed for letter in dead_letters for failed in letter.failed),
    )


def _with_skipped_duplicates(past: PastInput) -> Iterator[Sent]:
    """An event that was sent twice and skipped once: `run` made its messages, the skipped one is ALREADY_CREATED."""
    elsewhere = {
        first
        for record in past.sent
        if isinstance(record.record.expectation, Duplicate)
        and past.is_skipped(first := record.record.expectation.first)
        and not past.is_skipped(record.position)
    }
    for record in past.sent:
        match record.record.expectation:
            case Duplicate(event, first) if past.is_skipped(record.position) and not past.is_skipped(first):
                yield _expecting(record, Skipped("ALREADY_CREATED", event["eventId"]))
            case Duplicate(event, first) if past.is_skipped(first) and not past.is_skipped(record.position):
                yield _expecting(record, Valid(event))
            case Valid(event) if record.position in elsewhere:
                yield _expecting(record, Skipped("ALREADY_CREATED", event["eventId"]))
            case _:
                yield record


def _expecting(sent: Sent, expectation: Valid | Skipped) -> Sent:
    record = sent.record
    return replace(sent, record=Record(record.key, record.value, expectation, record.headers))


def _is_of_later(sent: Sent) -> bool:
    expectation = sent.record.expectation
    return isinstance(expectation, Valid) and expectation.event["event"] == LATER_TEMPLATE.event


def _merged(*parts: ExpectedOutputs) -> ExpectedOutputs:
    """Of several parts of an input, which share no record."""
    merged = ExpectedOutputs()
    for part in parts:
        merged.messages |= part.messages
        merged.discarded |= part.discarded
        merged.dead_letters |= part.dead_letters
        merged.decisions |= part.decisions
        merged.first_positions |= part.first_positions
    return merged


def sent_again(records: Iterable[Record]) -> list[Record]:
    """Those of `records` that are valid and come once: they may be sent again elsewhere without a doubt which of their
    records is the first."""
    records = list(records)
    ids = Counter(record.expectation.event["eventId"] for record in records if isinstance(record.expectation, Valid))
    return [
        record
        for record in records
        if isinstance(record.expectation, Valid) and ids[record.expectation.event["eventId"]] == 1
    ]
