"""The guide for teams that consume: its consumer reads what `run` writes, and what it says of records is so."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from processor.domain.notification import StatusSet, status_map
from processor.domain.operation_record import OperationRecordKind
from processor.domain.outcome import Processed
from processor.domain.output_topics import OUTPUTS
from processor.wire.wire_format import WireFormat
from tests.documents.pages import GUIDES, ROOT, snippets, typed_lines
from tests.documents.walkthrough import section, type_line
from tests.support.builders import make_context, make_email, make_event, make_record, map_record, shipped_templates
from tests.wire.test_operations import POSITIONS_VALUE, PROGRESS_VALUE, UNMASKED_VALUE, VALUE

PAGE = GUIDES / "consuming.md"
TEXT = PAGE.read_text()
(CONSUMER,) = snippets(PAGE, "python")
SHOWN_STATUS = "f7057037637ada1e806489eb4bfde71d LOAN_REPAYMENT EMAIL QUEUED\n"


@contextmanager
def consumer_lines(script: str, servers: str, folder: Path) -> Iterator[Iterator[str]]:
    """What the script prints, line by line; it is ended with the block."""
    (folder / "schemas").symlink_to(ROOT / "schemas")
    (folder / "read_statuses.py").write_text(script)
    with subprocess.Popen(
        [sys.executable, "read_statuses.py", servers], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield iter(running.stdout)
        finally:
            running.kill()


@pytest.mark.kafka
@pytest.mark.usefixtures("reader_of_a_guide")
@pytest.mark.timeout(120)
def test_a_first_record_is_read(
    bootstrap_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each command ends with 0, and the consumer prints the line that is shown."""
    for line in typed_lines(PAGE):
        code, _ = type_line(line, monkeypatch, capsys, kept=["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"])
        assert 0 == code, line
    script = CONSUMER.replace('"communications.status"', f'"{topic_prefix}communications.status"').replace(
        "status-printer", f"{topic_prefix}printer"
    )
    with consumer_lines(script, bootstrap_servers, tmp_path) as lines:
        found = any(line == SHOWN_STATUS for line in lines)

    assert SHOWN_STATUS in snippets(PAGE, "text")
    assert found


def decode(value: bytes, headers: tuple[tuple[str, bytes | None], ...], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the guide's consumer makes of a record."""
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"__name__": "read_statuses"}
    exec(CONSUMER, names)  # noqa: S102  the document's own lines
    return names["decode"](SimpleNamespace(value=lambda: value, headers=lambda: list(headers) or None))


def outputs_by_topic(form: WireFormat) -> dict[str, Any]:
    """A record of each topic that the shipped templates of a LOAN_REPAYMENT write to, and a decision."""
    templates = [template for template in shipped_templates().templates if "LOAN_REPAYMENT" in template.events]
    context = make_context(*templates, make_email("off", active=False), form=form)
    outcome = map_record(make_record(make_event()), context)
    assert isinstance(outcome, Processed)
    return {output.topic: output for output in outcome.outputs}


@pytest.mark.parametrize("form", WireFormat)
def test_every_output_is_decoded(form: WireFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer's `decode` reads messages, statuses, `Message`s, streams and decisions, in Avro and in JSON."""
    found = {
        topic: set(decode(output.value, output.headers, monkeypatch))
        for topic, output in outputs_by_topic(form).items()
    }

    for topic, field in (
        ("communications.messages", "destination"),
        ("communications.status", "sequence"),
        ("notifications.messages", "contact"),
        ("mrn.event.northbank.streamingapi.loan_repayment", "template_name"),
        ("communications.decisions", "reasons"),
    ):
        assert field in found[topic]


def test_a_record_of_an_earlier_schema_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that was written by a schema of `history/` has no `reasonsLeftOut`."""
    schema = parse_schema(json.loads((ROOT / "schemas" / "history" / "2000000004.avsc").read_text()))
    source = {"topic": "banking.events", "partition": 3, "offset": 17}
    buffer = io.BytesIO(b"\x00" + (2_000_000_004).to_bytes(4, "big"))
    buffer.seek(5)
    schemaless_writer(buffer, schema, {"source": source, "setVersion": "5b", "at": 0, "reasons": []})

    decision = decode(buffer.getvalue(), (), monkeypatch)
    assert (source, False) == (decision["source"], "reasonsLeftOut" in decision)


def test_the_status_that_is_shown() -> None:
    """It has the fields of a status as `run` writes it, and the values that do not depend on when and where."""
    (shown,) = map(json.loads, snippets(PAGE, "json"))
    templates = [template for template in shipped_templates().templates if template.id == "loan-repayment-email"]
    outcome = map_record(make_record(make_event()), make_context(*templates))
    assert isinstance(outcome, Processed)
    (status,) = (json.loads(out.value or b"") for out in outcome.outputs if out.topic == "communications.status")
    depends = {"at": shown["at"], "setVersion": shown["setVersion"], "source": shown["source"]}

    assert list(shown) == list(status)
    assert shown == status | depends
    assert status["source"].keys() == shown["source"].keys()


def test_every_output_topic_is_described() -> None:
    """The list has each topic, by its default name, once."""
    listed = re.findall(r"^- \*\*`([^`]+)`\*\*", section(TEXT, "What each topic is for"), re.MULTILINE)

    assert {spec.topic for spec in OUTPUTS.values()} == set(listed)
    assert len(set(listed)) == len(listed)


def test_kinds_of_operations() -> None:
    """The table has each kind with the fields that are written."""
    rows = re.findall(r"^\| ([A-Z]+) \| [^|]+ \| (.+) \|$", section(TEXT, "Operations"), re.MULTILINE)
    shown = {kind: set(re.findall("`(.+?)`", fields)) for kind, fields in rows}
    written = {value["kind"]: value.keys() - {"kind"} for value in (VALUE, PROGRESS_VALUE, POSITIONS_VALUE)}
    written["UNMASKED"] = UNMASKED_VALUE.keys() - {"kind"} | {"because"}  # which a person may leave out

    assert set(OperationRecordKind) == set(shown)
    assert written == shown


def test_statuses_of_a_message() -> None:
    """A message that is FAILED from the start has the two statuses of the table, by the set that is chosen."""
    reasons = ("MISSING_EMAIL_RECIPIENT_ADDRESS", "MISSING_SMS_RECIPIENT", "SMS_TOO_LONG", "UNDEFINED_DESTINATION")
    shown = re.findall(r"^\| `(\w+)` \|", section(TEXT, "The portal's Message"), re.MULTILINE)

    assert ["Queued", "Discarded", "Failed"] == shown
    assert {"Discarded"} == {status_map(StatusSet.PUBLISHED)[reason] for reason in reasons}
    assert {"Failed"} == {status_map(StatusSet.EXTENDED)[reason] for reason in reasons}
