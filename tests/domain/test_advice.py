"""What to do about a dead letter."""

from processor.domain.advice import ADVICE, TEMPLATE_ADVICE
from processor.domain.reasons import Reason, TemplateReason


def test_every_reason_has_advice() -> None:
    """Each of a record and each of a template, in the order of the lists."""
    assert list(Reason) == list(ADVICE)
    assert list(TemplateReason) == list(TEMPLATE_ADVICE)


def test_advice_reads_as_a_sentence() -> None:
    """`worth another try …` goes on with each, and no end is written twice."""
    for advice in (*ADVICE.values(), *TEMPLATE_ADVICE.values()):
        assert advice.who
        assert advice.when.startswith(("after ", "with ", "only with ", "when "))
        assert not advice.when.endswith(".")
