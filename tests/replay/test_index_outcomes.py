"""What each kind of output says of the templates that had their outcome."""

from typing import Any

import pytest

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
from processor.replay.index_outcomes import OutcomeIndexer
from processor.replay.outcome_index import MappedWith, OutcomeIndex

AT = 7
EVENT, SET = "LOAN_REPAYMENT", "set-1"
A, B = TemplateId("t-a"), TemplateId("t-b")
OPERATION = "replay-20261129T075501Z-3f2a91c0"
BY_SET = frozenset({MappedWith(SET, EventName(EVENT))})
FOR_ALL = frozenset({MappedWith(None, None)})
REJECTED = frozenset({MappedWith(None, None, is_rejected=True)})


def of_source(operation: str | None, *, offset: int = AT, event: str | None = EVENT) -> dict[str, Any]:
    """The fields that every kind has."""
    source = RecordPosition(Topic("banking.events"), 0, offset)
    return {
        "source": source,
        "time_ms": 1,
        "event_id": "event-id",
        "event": event,
        "set_version": SET,
        "operation": operation,
    }


def status(
    operation: str | None = None, *, template: TemplateId = A, later: bool = False, offset: int = AT
) -> SourceOutcome:
    """A message of `template`."""
    return StatusOutcome(
        **of_source(operation, offset=offset),
        template_id=template,
        encoded_key=EncodedKey("k"),
        state=State.QUEUED,
        later=later,
    )


def decision(
    *reasons: tuple[DecisionReason | None, TemplateId | None], operation: str | None = None, left_out: int = 0
) -> SourceOutcome:
    """A decision with these reasons, each of a template or of the record."""
    skipped = tuple(SkippedReason(reason, "", template) for reason, template in reasons)
    return DecisionOutcome(**of_source(operation), reasons=skipped, reasons_left_out=left_out)


def dead_letter(
    reason: Reason, *failed: TemplateId, operation: str | None = None, is_complete: bool = True
) -> SourceOutcome:
    """A dead letter of the record, or of the templates that failed."""
    templates = tuple(
        FailedTemplate(templateId=template, templateVersion=1, reason=TemplateReason.OTHER, detail="")
        for template in failed
    )
    return DeadLetterOutcome(
        **of_source(operation),
        reason=reason,
        detail="",
        failed=templates,
        is_complete=is_complete,
        attempts=1,
        has_value=True,
    )


def index_of(*outcomes: SourceOutcome) -> tuple[OutcomeIndex, OutcomeIndexer]:
    index = OutcomeIndex(5, 10)
    indexer = OutcomeIndexer(index, {DecisionReason.INACTIVE})
    for outcome in outcomes:
        indexer.add(outcome)
    return index, indexer


INACTIVE, FALSE = DecisionReason.INACTIVE, DecisionReason.CONDITION_FALSE


@pytest.mark.parametrize(
    ("outcome", "mapped_with", "templates"),
    [
        (status(), BY_SET, set()),
        (status(later=True), frozenset(), set()),
        (status(OPERATION), frozenset(), {A}),
        (decision((INACTIVE, A), (FALSE, B)), BY_SET, set()),
        (decision((INACTIVE, A), (FALSE, B), operation=OPERATION), frozenset(), {A, B}),
        (decision((DecisionReason.NO_TEMPLATE, None)), BY_SET, set()),
        (decision((DecisionReason.NO_TEMPLATE, None), operation=OPERATION), BY_SET, set()),
        *[
            (decision((reason, None), operation=operation), FOR_ALL, set())
            for reason in (
                DecisionReason.EMPTY_RECORD,
                DecisionReason.TENANT_DISABLED,
                DecisionReason.DUPLICATE_EVENT,
                None,
            )
            for operation in (None, OPERATION)
        ],
        (dead_letter(Reason.TEMPLATE_FAILED, A), BY_SET, set()),
        (dead_letter(Reason.TEMPLATE_FAILED, A, operation=OPERATION), frozenset(), {A}),
        *[
            (dead_letter(reason, operation=operation), REJECTED, set())
            for reason in (Reason.UNKNOWN_SCHEMA, Reason.OUTPUT_REFUSED, Reason.OTHER)
            for operation in (None, OPERATION)
        ],
    ],
)
def test_what_has_its_outcome(
    outcome: SourceOutcome, mapped_with: frozenset[MappedWith], templates: set[TemplateId]
) -> None:
    """`run` applied all templates of its set; a past operation those that it names; some outcomes are the record's."""
    index, indexer = index_of(outcome)

    assert mapped_with == index.mapped_with(AT)
    assert templates == {template for template in (A, B) if index.has_template(AT, template)}
    assert frozenset() == index.mapped_with(AT + 1)
    assert indexer.shortened == 0
    partly = frozenset({MappedWith(SET, EventName(EVENT), is_partial=True)}) if templates else frozenset()
    assert partly == index.partly_mapped_with(AT)


@pytest.mark.parametrize("operation", [None, OPERATION])
def test_shortened_outputs_leave_their_record_out(operation: str | None) -> None:
    """One that names only some of its templates: the others are unknown, so none is mapped, and that is counted."""
    for outcome in (
        decision((INACTIVE, A), operation=operation, left_out=3),
        dead_letter(Reason.TEMPLATE_FAILED, A, operation=operation, is_complete=False),
    ):
        index, indexer = index_of(outcome)

        assert index.mapped_with(AT) >= FOR_ALL
        assert indexer.shortened == 1


def test_decisions_that_are_named() -> None:
    """Those of a named reason are noted, for their templates alone; a message or a failure since outdoes them."""
    decided = decision((INACTIVE, A), (FALSE, B))

    assert {A} == index_of(decided)[0].decided(AT)
    assert {A} == index_of(decided, status(template=B))[0].decided(AT)
    assert {A} == index_of(decided, status(later=True))[0].decided(AT)
    for later in (status(), status(OPERATION), dead_letter(Reason.TEMPLATE_FAILED, A, operation=OPERATION)):
        assert frozenset() == index_of(decided, later)[0].decided(AT)


def test_outputs_of_other_records_are_ignored() -> None:
    index, _ = index_of(status(offset=4), status(offset=10))

    assert [frozenset()] * 5 == [index.mapped_with(offset) for offset in range(5, 10)]


def test_outputs_that_do_not_say_with_what() -> None:
    """Of a version before they did: the record stands for all templates, so that none is mapped twice."""
    index, _ = index_of(
        StatusOutcome(**of_source(None, event=None), template_id=A, encoded_key=EncodedKey("k"), state=State.QUEUED)
    )

    assert FOR_ALL == index.mapped_with(AT)
