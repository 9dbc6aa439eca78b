"""The pages that are made from the code are what the code says."""

from pathlib import Path

import pytest

from processor.domain.output_topics import OUTPUTS
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from processor.templates.rules import RULES
from tests.documents.generated import PAGES
from tests.documents.log_events import MEANINGS, log_calls
from tests.documents.pages import REFERENCE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_made_from_the_code(page: Path) -> None:
    """`make docs` would change nothing."""
    assert PAGES[page]() == page.read_text()


def test_each_reference_page_is_made_from_the_code() -> None:
    """None is written by hand beside the others."""
    assert {page for page in PAGES if page.parent == REFERENCE} == set(REFERENCE.iterdir())


def test_each_log_event_has_a_meaning() -> None:
    """And no other text has one."""
    assert {call.event for call in log_calls()} == set(MEANINGS)


def test_closed_lists_are_whole() -> None:
    """Each reason, rule and output topic is on its page."""
    reasons = (REFERENCE / "reasons.md").read_text()
    rules = (REFERENCE / "template-rules.md").read_text()
    topics = (REFERENCE / "topics.md").read_text()

    assert [] == [
        word
        for words in (Reason, TemplateReason, DecisionReason, FailureReason)
        for word in words
        if word not in reasons
    ]
    assert [] == [code for code in RULES if f"## {code}\n" not in rules]
    assert [] == [spec.topic for spec in OUTPUTS.values() if spec.topic not in topics]
