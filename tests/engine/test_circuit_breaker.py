"""CircuitBreakers: when a template is suspended, tried again, and resumed."""

from collections.abc import Mapping
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.message import Communicationmessage, FailedTemplate
from processor.domain.outcome import CreatedMessage, Processed, TemplateResult
from processor.domain.reasons import TemplateReason
from processor.domain.record import RecordPosition, SourceRecord, TemplateId, Topic
from processor.engine.circuit_breaker import CircuitBreakers
from tests.support.builders import make_message_status

PLACE = RecordPosition(Topic("banking.events"), 0, 0)
A = TemplateId("a")
MISSING = TemplateReason.MISSING_VALUE
OPEN_A = frozenset({(A, MISSING)})


def created_message(version: int = 1) -> Processed:
    """An outcome in which template A made its message."""
    status = make_message_status(templateId=A, templateVersion=version)
    return outcome(TemplateResult(created=CreatedMessage(Communicationmessage(), status)))


def failed_outcome(reason: TemplateReason = MISSING, version: int = 1) -> Processed:
    """An outcome in which template A failed."""
    return outcome(
        TemplateResult(failed=FailedTemplate(templateId=A, templateVersion=version, reason=reason, detail=""))
    )


def outcome(*results: TemplateResult) -> Processed:
    return Processed(SourceRecord(PLACE, 0, None, None), results)


def after(*outcomes: Processed) -> CircuitBreakers:
    breakers = CircuitBreakers()
    for outcome in outcomes:
        breakers.record(outcome)
    return breakers


def open_circuit_breakers() -> CircuitBreakers:
    return after(*[failed_outcome()] * 100)


def test_a_breaker_never_opens_under_a_hundred_records() -> None:
    """99 failures of 99 leave a template alone; the hundredth suspends it."""
    assert frozenset() == after(*[failed_outcome()] * 99).suspended_now()
    assert OPEN_A == open_circuit_breakers().suspended_now()


def test_95_percent_of_the_last_200() -> None:
    """189 of 200 is under 95 %; 190 is not, and what lies before the last 200 does not count."""
    assert frozenset() == after(*[created_message()] * 11, *[failed_outcome()] * 188).suspended_now()
    assert OPEN_A == after(*[created_message()] * 500, *[failed_outcome()] * 190).suspended_now()


def test_reasons_are_counted_apart() -> None:
    """Half of one reason and half of another open nothing: each may have another cause."""
    mixed = [failed_outcome(), failed_outcome(TemplateReason.OTHER)] * 100

    assert frozenset() == after(*mixed).suspended_now()


def test_every_hundredth_record_is_tried() -> None:
    """99 are skipped, the hundredth is not; a failed probe begins a new hundred."""
    breakers = open_circuit_breakers()
    skipped = failed_outcome(TemplateReason.TEMPLATE_SUSPENDED)
    for _ in range(98):
        breakers.record(skipped)
        assert OPEN_A == breakers.suspended_now()
    breakers.record(skipped)

    assert frozenset() == breakers.suspended_now()

    breakers.record(failed_outcome())

    assert OPEN_A == breakers.suspended_now()


def breakers_after_probes(*probes: Processed) -> CircuitBreakers:
    breakers = open_circuit_breakers()
    for probe in probes:
        for _ in range(99):
            breakers.record(failed_outcome(TemplateReason.TEMPLATE_SUSPENDED))
        breakers.record(probe)
    return breakers


def test_ten_successes_in_a_row_close_it() -> None:
    """Nine and a failure do not; ten do, and then it takes another hundred failures to open it."""
    assert (
        OPEN_A == breakers_after_probes(*[created_message()] * 9, failed_outcome(), created_message()).suspended_now()
    )

    breakers = breakers_after_probes(*[created_message()] * 10)
    for _ in range(99):
        breakers.record(failed_outcome())

    assert frozenset() == breakers.suspended_now()


def test_a_new_version_starts_afresh() -> None:
    """Nothing that an older version did counts for a newer one."""
    breakers = breakers_after_probes(failed_outcome(version=2))

    assert frozenset() == breakers.suspended_now()


def test_a_reload_resumes_changed_templates() -> None:
    """A template of another version, or one that is gone, is no longer suspended; one that stayed as it was is."""
    for versions, still in (({A: 1}, OPEN_A), ({A: 2}, frozenset()), ({}, frozenset())):
        breakers = open_circuit_breakers()
        breakers.reset_changed(versions)

        assert (still, still) == (breakers.suspended_now(), breakers.open_breakers())


def test_an_open_breaker_is_reported_during_its_probe() -> None:
    """The record whose probe is due is not suspended, and an operator still sees the breaker."""
    breakers = open_circuit_breakers()
    skipped = failed_outcome(TemplateReason.TEMPLATE_SUSPENDED)
    for _ in range(99):
        breakers.record(skipped)

    assert (frozenset(), OPEN_A) == (breakers.suspended_now(), breakers.open_breakers())


RUN = st.tuples(st.sampled_from(["message", "missing", "other", "skip"]), st.integers(1, 250))


@given(runs=st.lists(RUN, max_size=8))
def test_a_run_of_messages_counts_as_each_of_them(runs: list[tuple[str, int]]) -> None:
    """Learned at once or one by one: after each run the same templates are suspended and reported."""
    at_once, one_by_one = after(OUTCOMES["message"]), after(OUTCOMES["message"])
    for kind, count in runs:
        if kind == "message":
            at_once.record_messages(A, 1, count)
        for _ in range(count):
            one_by_one.record(OUTCOMES[kind])
            if kind != "message":
                at_once.record(OUTCOMES[kind])

        assert one_by_one.suspended_now() == at_once.suspended_now()
        assert one_by_one.open_breakers() == at_once.open_breakers()


OUTCOMES: Final[Mapping[str, Processed]] = {
    "message": created_message(),
    "missing": failed_outcome(),
    "other": failed_outcome(TemplateReason.OTHER),
    "skip": failed_outcome(TemplateReason.TEMPLATE_SUSPENDED),
}
