"""Records that are verified: where a plan makes something else than the reference, what that makes counts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from processor.domain.message import SkippedTemplate
from processor.domain.outcome import MappingPath, TemplateResult
from processor.domain.reasons import DecisionReason
from processor.domain.record import OutRecord, RecordPosition, TemplateId
from processor.domain.reference import Table
from processor.mapping.context import MappingContext
from processor.mapping.event_plan import EventPlan
from processor.mapping.event_plans import EventPlans
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.mapping.reference import Reference
from processor.mapping.scanned_event import EventScanner, ScannedEvent
from processor.mapping.verify_plan import Sample
from tests.support.builders import make_context, make_email, make_event, make_template, map_record
from tests.support.planned import RecordedReports, avro_record, comparable, processed

ALL = Sample(1.0)
RECORD = avro_record()
NOTE, OTHER = make_template("note"), make_template("other")


def verified_context(
    *templates: Any, sample: Sample | None = ALL, **fields: Any
) -> tuple[MappingContext, RecordedReports]:
    """A context whose planned events are verified, and what is reported of plans."""
    observer = RecordedReports()
    context = make_context(*(templates or (NOTE, OTHER)), plans=EventPlans(observer=observer, sample=sample), **fields)
    return context, observer


def plant(monkeypatch: pytest.MonkeyPatch, change: Callable[[TemplateResult], TemplateResult]) -> None:
    """Make the plan of `other` wrong."""
    right = EventPlan.map_templates

    def wrong(self: EventPlan, *args: Any, **options: Any) -> list[TemplateResult] | None:
        results = right(self, *args, **options) or []
        return [
            change(result) if result.message and result.message.template_id == OTHER.id else result
            for result in results
        ]

    monkeypatch.setattr(EventPlan, "map_templates", wrong)


def with_output(result: TemplateResult, **changes: Any) -> TemplateResult:
    """The result with another first output."""
    first, *others = result.outputs
    return replace(result, outputs=(first._replace(**changes), *others))


SKIPPED = SkippedTemplate(reason=DecisionReason.INACTIVE, detail="secret")
FAULTS: dict[str, tuple[Callable[[TemplateResult], TemplateResult], tuple[str, ...]]] = {
    "value": (lambda result: with_output(result, value=b"secret"), ("value in communications.messages",)),
    "key": (lambda result: with_output(result, key=b"secret"), ("key in communications.messages",)),
    "header": (
        lambda result: with_output(result, headers=(("x", b"secret"),)),
        ("headers in communications.messages",),
    ),
    "partition": (lambda result: with_output(result, partition=9), ("partition in communications.messages",)),
    "topic": (lambda result: with_output(result, topic="secret"), ("topics of outputs",)),
    "lost output": (lambda result: replace(result, outputs=result.outputs[1:]), ("topics of outputs",)),
    "message": (
        lambda result: replace(result, planned=result.planned and replace(result.planned, destination="secret")),
        ("message destination",),
    ),
    "missing": (lambda result: replace(result, missing=("contact",)), ("missing",)),
    "decision": (
        lambda _result: TemplateResult(skipped=SKIPPED),
        ("a decision in place of a message", "topics of outputs"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_plan_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """What the reference makes is published for the whole event; where it is, which template and which part differ is
    reported, and no value."""
    change, parts = FAULTS[fault]
    plant(monkeypatch, change)
    context, observer = verified_context()
    outcome = processed(RECORD, context)

    assert comparable(map_record(RECORD, replace(context, plans=None))) == comparable(outcome)
    assert MappingPath.REFERENCE is outcome.path
    expected = PlanDifference(RECORD.position, make_event().name, (TemplateId("other"),), parts)
    assert ([expected], [PlanRefusal.DIFFERENCE]) == (observer.differences, observer.refusals)
    assert "secret" not in str(observer.differences)


def test_a_wrong_decision_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of the whole record, for which no template's plan runs."""
    right = EventPlan.write_decision

    def wrong(self: EventPlan, *args: Any, **options: Any) -> OutRecord | None:
        decision = right(self, *args, **options)
        return decision and decision._replace(value=b"secret")

    monkeypatch.setattr(EventPlan, "write_decision", wrong)
    context, observer = verified_context()
    first = RecordPosition(RECORD.position.topic, RECORD.position.partition, 1)
    outcome = map_record(RECORD, context, duplicate_of=first)

    assert comparable(map_record(RECORD, replace(context, plans=None), duplicate_of=first)) == comparable(outcome)
    (difference,) = observer.differences
    assert ((), ("value in communications.decisions",)) == (difference.templates, difference.what)


def test_records_that_are_verified_are_not_scanned_ahead() -> None:
    """Else they would not be verified: what is scanned ahead is not read again."""
    for sample, is_scanned in ((ALL, False), (None, True)):
        context, _ = verified_context(sample=sample)
        assert context.plans is not None
        processed(RECORD, context)

        assert [is_scanned] == [scanned is not None for scanned in context.plans.scan_ahead([RECORD], context)]


def test_a_wrong_plan_of_a_record_that_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not found."""
    plant(monkeypatch, lambda result: with_output(result, value=b"wrong"))
    for sample in (None, Sample(1e-9)):
        context, observer = verified_context(sample=sample)

        assert b"wrong" in [output.value for output in processed(RECORD, context).outputs]
        assert ([], []) == (observer.differences, observer.refusals)


def test_a_right_plan_is_published() -> None:
    """Verified or not."""
    context, observer = verified_context()
    outcome = processed(RECORD, context)

    assert MappingPath.PLAIN is outcome.path
    assert all(result.planned for result in outcome.results)
    assert ([], []) == (observer.differences, observer.refusals)


@pytest.mark.parametrize(
    ("attribute", "value", "part"),
    [
        ("id", "00000000-0000-0000-0000-000000000000", "event id"),
        ("record", RECORD._replace(key=b"f" * 32), "event ordering_key"),
        ("name", "LOAN_CREATED", "event name"),
    ],
)
def test_an_event_that_is_scanned_wrongly(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, part: str
) -> None:
    """Is read by the reference."""
    right = EventScanner.scan

    def wrong(self: EventScanner, record: Any) -> ScannedEvent | PlanRefusal:
        scanned = right(self, record)
        setattr(scanned, attribute, value)
        return scanned

    monkeypatch.setattr(EventScanner, "scan", wrong)
    context, observer = verified_context()
    outcome = processed(RECORD, context)
    (difference,) = observer.differences

    assert comparable(map_record(RECORD, replace(context, plans=None))) == comparable(outcome)
    assert (RECORD.position, (), (part,)) == (difference.position, difference.templates, difference.what)
    assert [PlanRefusal.DIFFERENCE] == observer.refusals


def test_an_event_that_is_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is scanned though its bytes are invalid is a dead letter all the same."""
    broken = RECORD._replace(value=(RECORD.value or b"") + b"\x00")
    right = EventScanner.scan
    monkeypatch.setattr(EventScanner, "scan", lambda self, _record: right(self, RECORD))
    context, observer = verified_context()

    assert map_record(broken, replace(context, plans=None)) == map_record(broken, context)
    (difference,) = observer.differences
    assert (("an event in place of a dead letter",), ()) == (difference.what, difference.templates)


def test_rows_that_change_while_a_record_is_verified() -> None:
    """Are no difference: the plan is run once more."""
    names = iter(["Ada", "Ada Byron", "Ada Byron"])

    def row_of(table: Table, _key: str) -> bytes | None:
        return b'{"id": "CTT-4410-0093", "name": "%b"}' % next(names).encode() if table is Table.CONTACTS else None

    context, observer = verified_context(make_email("mail"), reference=Reference(rows=row_of))
    outcome = processed(RECORD, context)

    assert MappingPath.PLAIN is outcome.path
    assert [] == list(names)
    assert any(b"Ada Byron" in (output.value or b"") for output in outcome.outputs)
    assert ([], []) == (observer.differences, observer.refusals)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 1.0])
def test_a_sample_is_a_share_of_the_offsets(share: float) -> None:
    """Evenly spread, also over those of one kind where kinds take turns; the same ones each time."""
    for step in (1, 2, 7, 10, 1_000):
        included = [offset for offset in range(0, 100_000 * step, step) if Sample(share).includes(offset)]

        assert pytest.approx(share * 100_000, rel=0.05, abs=3) == len(included)
    assert [offset for offset in range(1_000) if Sample(share).includes(offset)] == [
        offset for offset in range(1_000) if Sample(share).includes(offset)
    ]
