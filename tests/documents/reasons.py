"""docs/reference/reasons.md."""

import csv
from pathlib import Path
from typing import Final

from processor.domain.advice import ADVICE, TEMPLATE_ADVICE
from processor.domain.channel import CHANNELS
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from tests.documents.markdown import doc_comments, page, table

_FAILURES: Final = Path(__file__).parents[1] / "domain" / "failure-reasons.csv"


def reasons_page() -> str:
    """The closed lists of reasons, with what each means and who acts."""
    advice = {str(reason): row for reason, row in ADVICE.items()}
    template_advice = {str(reason): row for reason, row in TEMPLATE_ADVICE.items()}
    head = ("Reason", "Means", "Who acts", "Worth another try")
    with _FAILURES.open() as file:
        failures = {row["reason"]: row for row in csv.DictReader(file)}
    return page(
        "Reasons",
        "Codes are stable; the detail beside one is for people, and may change.",
        "## Why a record is a dead letter",
        "Header `dl.reason` of `communications.dead-letters`. See [dead letters](../guides/dead-letters.md).",
        table(head, ((f"`{word}`", text, advice[word].who, advice[word].when) for word, text in doc_comments(Reason))),
        "## Why a template failed",
        "In the header `dl.failed` of a dead letter whose reason is `TEMPLATE_FAILED`.",
        table(
            head,
            (
                (f"`{word}`", text, template_advice[word].who, template_advice[word].when)
                for word, text in doc_comments(TemplateReason)
            ),
        ),
        "## Why a message was not created",
        "On `communications.decisions`, in the order in which they are checked.",
        table(("Reason", "Means"), ((f"`{word}`", text) for word, text in doc_comments(DecisionReason))),
        "## Why a message is FAILED",
        f"`failureReason` of a message and of its status: the published list. `run` itself writes {_of_run()}; the "
        "others are for senders.",
        table(
            ("Reason", "Channels", "Arises when"),
            (
                (f"`{word}`", failures[word]["channels"].replace("|", ", "), failures[word]["arises_when"])
                for word in FailureReason
            ),
        ),
    )


def _of_run() -> str:
    """The reasons that a message can have when it is created."""
    missing = [spec.missing_address[0] for spec in CHANNELS.values() if spec.missing_address is not None]
    too_long = [spec.text_limit.failure for spec in CHANNELS.values() if spec.text_limit is not None]
    *first, last = [f"`{reason}`" for reason in (FailureReason.UNDEFINED_DESTINATION, *missing, *too_long)]
    return f"{', '.join(first)} and {last}"
