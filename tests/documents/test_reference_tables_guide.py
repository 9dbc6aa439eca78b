"""The guide for teams that know recipients: its first row has the effect that it shows, and its rows can be read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from processor.domain.outcome import Processed
from processor.domain.reasons import DecisionReason
from processor.domain.reference import Table
from processor.domain.template import Subscription
from processor.kafka.topic_plan import MIN_DELETE_RETENTION_MS
from processor.mapping.reference import ROW_LIMIT_BYTES, InvalidRow, Reference, parse_row
from tests.documents.pages import GUIDES, snippets
from tests.documents.walkthrough import Block, blocks, type_line, typed
from tests.support.builders import make_context, make_email, make_record, make_webhook, map_record
from tests.support.reference_rows import CLIENT

PAGE = GUIDES / "reference-tables.md"
TEXT = PAGE.read_text()
LOCAL_BROKER = "127.0.0.1:9092"
SHOWN_DECISION = snippets(PAGE, "text")[-1].strip()
CATEGORY = "NTC-3300-0041"


def run_producer(block: Block, servers: str, prefix: str, names: dict[str, Any]) -> None:
    """Run the guide's producer, on the tests' broker and topics."""
    script = block.code.replace(LOCAL_BROKER, servers).replace('"reference.', f'"{prefix}reference.')
    exec(script, names)  # noqa: S102  the document's own lines


@pytest.mark.kafka
@pytest.mark.usefixtures("reader_of_a_guide")
def test_a_first_row_has_an_effect(
    bootstrap_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The blocks, run one after the other: the last command prints the decision that is shown."""
    monkeypatch.setenv("PROCESSOR_STATE_DIR", str(tmp_path))
    names: dict[str, Any] = {}
    printed = ""
    for block in blocks(TEXT):
        if block.language == "python":
            run_producer(block, bootstrap_servers, topic_prefix, names)
        elif block.language == "console":
            for step in typed(block):
                code, printed = type_line(step.line, monkeypatch, capsys, kept=["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"])
                assert 0 == code, step.line

    names.clear()  # the producer among them

    assert SHOWN_DECISION in " ".join(printed.split()), printed


def table_section(table: Table) -> str:
    """What the guide says of one table."""
    return TEXT.partition(f"\n### reference.{table}\n")[2].partition("\n##")[0]


def shown_row(table: Table) -> dict[str, Any]:
    """The row that is shown."""
    (block,) = (block for block in blocks(table_section(table)) if block.language == "json")
    row: dict[str, Any] = json.loads(block.code)
    return row


@pytest.mark.parametrize("table", Table)
def test_rows_are_read(table: Table) -> None:
    """The row can be read, has the fields of its table and no others, and needs those that are required."""
    row = shown_row(table)
    fields = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \|", table_section(table), re.MULTILINE))

    assert list(row) == list(fields)
    for name, required in {"": "no", **fields}.items():
        value = json.dumps({field: value for field, value in row.items() if field != name}).encode()
        found = parse_row(table, CATEGORY, value)
        assert (required == "yes") == isinstance(found, InvalidRow), (name, found)


STOPS: dict[str, tuple[Table, str, dict[str, Any], DecisionReason | None]] = {  # table, key, changes of the row
    "blocked": (Table.CONTACTS, CLIENT, {"status": "Blocked"}, DecisionReason.CONTACT_BLOCKED),
    "left": (Table.CONTACTS, CLIENT, {}, DecisionReason.CATEGORY_OPTED_OUT),
    "disabled": (
        Table.ACCOUNTS,
        "northbank",
        {"disabledCategories": [CATEGORY]},
        DecisionReason.CATEGORY_OPTED_OUT,
    ),
    "opted out": (Table.SUBSCRIPTIONS, f"{CLIENT}:a-message", {}, DecisionReason.NOT_SUBSCRIBED),
    "opted in": (Table.SUBSCRIPTIONS, f"{CLIENT}:a-message", {"subscribed": True}, None),
}


@pytest.mark.parametrize("case", STOPS)
@pytest.mark.parametrize("make_message", [make_email, make_webhook])
def test_how_messages_are_stopped(case: str, make_message: Any) -> None:
    """Each way of the guide's table has its decision; that of a contact or account for e-mails, not for webhooks."""
    table, key, changes, reason = STOPS[case]
    value = json.dumps({**shown_row(table), **changes}).encode()
    reference = Reference(rows=lambda asked, row: value if (asked, row) == (table, key) else None)
    subscription = Subscription.OPT_IN if case == "opted in" else Subscription.OPT_OUT
    template = make_message("a-message", category=CATEGORY, subscription=subscription)
    outcome = map_record(make_record(), make_context(template, reference=reference))
    assert isinstance(outcome, Processed)
    (result,) = outcome.results

    counts = table is Table.SUBSCRIPTIONS or make_message is make_email
    assert (reason if counts else None) == (None if result.skipped is None else result.skipped.reason)


def test_limits_are_those_of_the_code() -> None:
    """The longest row, and the shortest time for which a topic keeps deletions."""
    assert f"at most {ROW_LIMIT_BYTES:,} bytes" in TEXT
    assert f"`delete.retention.ms` of {MIN_DELETE_RETENTION_MS:,} or more" in TEXT
