"""`processor explain --at`: what became of a record and what it would make today, on a real broker."""

import getpass
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer, TopicPartition

from processor.cli import explain
from processor.domain.message import DeadLetter, FailedTemplate
from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import RecordPosition, TemplateId
from processor.errors import DependencyError, TopicConfigError, UsageError
from processor.kafka import read_range
from processor.mapping.options import KeyCheck
from processor.settings import KafkaSettings, SchemaRegistrySettings, Settings
from processor.wire.dead_letter import dead_letter_record
from tests.cli.commands import run_command
from tests.engine.test_output_scan import open_transaction
from tests.support.builders import SMS_HEAD, make_output_topics
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.terminal import pretend_terminal
from tests.support.wire import JSON_HEADERS

pytestmark = pytest.mark.kafka

OPERATION: Final = "replay-20261129T075501Z-3f2a91c0"
NOTE: Final = SMS_HEAD.replace("version = 1", "version = 7") + 'body = "Paid {TRANSACTION_AMOUNT}"\n'
CONDITIONAL: Final = NOTE + '[[condition]]\nfield = "TRANSACTION_AMOUNT"\noperator = "MORE_THAN"\nvalue = 500\n'
MESSAGES, REPEAT, BROKEN, EMPTY, FOREIGN, SKIPPED, LAST = range(7)


@pytest.fixture(autouse=True)
def _wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No text is folded."""
    pretend_terminal(monkeypatch, 300)


@pytest.fixture(scope="module")
def installation(bootstrap_servers: str) -> Iterator[Installation]:
    """A partition with a record of each kind at MESSAGES to FOREIGN, one that was skipped, and one that waits."""
    made = create_installation(bootstrap_servers, f"test-{secrets.token_hex(4)}.", partitions=2)
    made.produce_events([repayment(1), repayment(1)])
    made.produce_values([b"broken", b""])
    made.produce_events([{**repayment(2), "tenant": "southbank"}])
    made.run()
    made.produce_events([repayment(3)])
    made.set_position(LAST)
    made.produce_events([repayment(4)])
    yield made


def run_at(installation: Installation, at: str, *, changed: Mapping[str, Any] | None = None, **options: Any) -> int:
    """The exit code."""
    settings = installation.settings.model_copy(update=changed or {})
    return run_command(explain.command, settings, at=at, **options)


def by_column(screen: str) -> str:
    """What is printed, the table column by column, without its lines and line ends."""
    lines = screen.splitlines()
    rows = [line.strip("│").split("│") for line in lines if line.startswith("│")]
    cells = [" ".join(column) for column in zip(*rows, strict=True)]
    return " ".join(" ".join((*(line for line in lines if not line.startswith("│")), *cells)).split())


def text_at(
    capsys: pytest.CaptureFixture[str], installation: Installation, offset: int, **options: Any
) -> tuple[int, str]:
    """Exit code and text, for people."""
    capsys.readouterr()
    code = run_at(installation, f"0:{offset}", **options)
    return code, by_column(capsys.readouterr().out)


def json_at(
    capsys: pytest.CaptureFixture[str], installation: Installation, offset: int, **options: Any
) -> tuple[int, dict[str, Any]]:
    """Exit code and the object for machines."""
    capsys.readouterr()
    code = run_at(installation, f"0:{offset}", as_json=True, **options)
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, result


def test_messages_that_were_created(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """Each template's message with state and encodedKey, as the statuses say, and what it would be today."""
    code, result = json_at(capsys, installation, MESSAGES)
    statuses = [status for status in installation.read_statuses() if status["source"]["offset"] == MESSAGES]

    assert 0 == code
    assert len(statuses) > 1
    assert [
        {
            "kind": "STATUS",
            "eventId": repayment(1)["eventId"],
            "event": "LOAN_REPAYMENT",
            "setVersion": installation.templates.digest,
            "operation": None,
            "templateId": status["templateId"],
            "encodedKey": status["encodedKey"],
            "state": status["to"],
        }
        for status in statuses
    ] == result["outcomes"]
    assert {status["templateId"]: status["encodedKey"] for status in statuses} == {
        template["template"]: template["encodedKey"]
        for template in result["today"]["templates"]
        if template["encodedKey"]
    }
    assert ("PRESENT", LAST, True, installation.templates.digest) == (
        result["state"],
        result["groupPosition"],
        result["passed"],
        result["setVersion"],
    )
    assert {"topic": installation.events, "partition": 0, "offset": MESSAGES} == result["position"]


def test_other_outcomes(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """A repeat, broken bytes, an empty value and another tenant's event: decision or dead letter, then and today."""
    decided: dict[int, Any] = {}
    for offset in (REPEAT, BROKEN, EMPTY, FOREIGN):
        _, result = json_at(capsys, installation, offset)
        (outcome,) = result["outcomes"]
        reasons = outcome.get("reasons", [outcome])
        decided[offset] = outcome["kind"], [reason["reason"] for reason in reasons], result["today"]["reason"]
    code, text = text_at(capsys, installation, REPEAT)

    assert {
        REPEAT: ("DECISION", ["DUPLICATE_EVENT"], None),
        BROKEN: ("DEAD_LETTER", ["BAD_FRAME"], "BAD_FRAME"),
        EMPTY: ("DECISION", ["EMPTY_RECORD"], "EMPTY_RECORD"),
        FOREIGN: ("DECISION", ["TENANT_DISABLED"], "TENANT_DISABLED"),
    } == decided
    assert (0, True) == (
        code,
        f"skipped, DUPLICATE_EVENT: first seen at {installation.events}" in text,
    )
    code, text = text_at(capsys, installation, BROKEN)
    assert 1 == code
    assert "dead letter, attempt 1 BAD_FRAME: " in text


def test_records_without_an_outcome(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """One that the group has passed is a finding; one that it has not come to is none."""
    code, text = text_at(capsys, installation, SKIPPED)
    assert (1, True) == (code, "no outcome: the group has passed it, so it was skipped" in text)
    assert f"goes on at offset {LAST} in this partition" in text
    code, text = text_at(capsys, installation, LAST)
    assert (0, True) == (code, "no outcome: the group has not come to it" in text)
    code, result = json_at(capsys, installation, LAST)
    assert (0, [], False) == (code, result["outcomes"], result["passed"])


def test_templates_of_today(capsys: pytest.CaptureFixture[str], installation: Installation, tmp_path: Path) -> None:
    """Beside what was published: templates that are gone have nothing today, and new ones had nothing then."""
    (tmp_path / "note.toml").write_text(CONDITIONAL)
    _, result = json_at(capsys, installation, MESSAGES, changed={"templates_dir": tmp_path})
    code, text = text_at(capsys, installation, MESSAGES, changed={"templates_dir": tmp_path})

    assert ["note"] == [template["template"] for template in result["today"]["templates"]]
    assert result["setVersion"] != result["outcomes"][0]["setVersion"]
    assert "CONDITION_FALSE condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is ***" in text
    assert f"template set then {installation.templates.digest}; today {result['setVersion']}" in text
    assert 0 == code


def test_what_is_masked(capsys: pytest.CaptureFixture[str], installation: Installation, tmp_path: Path) -> None:
    """Addresses, values and texts are shown with --unmasked alone, on the screen and in JSON."""
    (tmp_path / "note.toml").write_text(CONDITIONAL)
    (tmp_path / "paid.toml").write_text(NOTE.replace('"note"', '"paid"').replace('"Note"', '"Paid"'))
    for as_json in (False, True):
        shown = {}
        for unmasked in (False, True):
            run_at(
                installation, f"0:{MESSAGES}", changed={"templates_dir": tmp_path}, unmasked=unmasked, as_json=as_json
            )
            shown[unmasked] = by_column(capsys.readouterr().out)
        phone = repayment()["client"]["mobilePhone"]
        for secret in (phone, "Paid 218.24", "the value is 218.24"):
            assert secret in shown[True]
            assert secret not in shown[False]
        assert "QUEUED to ***: ***" in shown[False]
        assert "the value is ***" in shown[False]


def test_unmasked_is_recorded(installation: Installation) -> None:
    """In the partition shown: what was called, by whom, why and where; a masked screen leaves no record."""

    def records() -> list[dict[str, Any]]:
        return [record for record in installation.read_operations() if record["kind"] == "UNMASKED"]

    before = len(records())
    run_at(installation, f"0:{MESSAGES}")
    assert before == len(records())
    run_at(installation, f"0:{MESSAGES}", unmasked=True, by="ada", because="a complaint")
    run_at(installation, f"0:{MESSAGES}", unmasked=True, as_json=True)

    with_reason, without = records()[before:]
    assert {
        "kind": "UNMASKED",
        "command": f"explain --at 0:{MESSAGES}",
        "by": "ada",
        "because": "a complaint",
        "host": socket.gethostname(),
        "at": with_reason["at"],
    } == with_reason
    assert (getpass.getuser(), None) == (without["by"], without.get("because"))


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_is_shown_where_it_cannot_be_recorded(
    capsys: pytest.CaptureFixture[str], installation: Installation, as_json: bool
) -> None:
    """The topic lacks the partition, or is not there: no line on the screen."""
    topics = installation.settings.topics
    single = {"topics": topics.model_copy(update={"operations": topics.template_sets})}
    gone = {"topics": topics.model_copy(update={"operations": "no-operations"})}
    capsys.readouterr()
    with pytest.raises(TopicConfigError, match=r"has no partition 1\nhint: `processor topics`"):
        run_at(installation, "1:0", changed=single, unmasked=True, as_json=as_json)
    with pytest.raises(TopicConfigError, match=r"topics are missing: .*no-operations"):
        run_at(installation, f"0:{MESSAGES}", changed=gone, unmasked=True, as_json=as_json)
    with pytest.raises(UsageError, match="--by and --because make sense with --unmasked alone"):
        run_at(installation, f"0:{MESSAGES}", because="a complaint", as_json=as_json)

    assert "" == capsys.readouterr().out


def test_nothing_is_shown_where_the_broker_does_not_take_the_record(
    capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str
) -> None:
    """For whatever reason, here its size: 3, with the cause, and no line on the screen."""
    small = create_installation(bootstrap_servers, topic_prefix)
    small.produce_events([repayment(1)])
    small.limit(small.operations, 100)
    capsys.readouterr()

    with pytest.raises(DependencyError, match=r"did not take the record .*: MSG_SIZE_TOO_LARGE.*\nhint: nothing is"):
        run_at(small, "0:0", unmasked=True)
    assert "" == capsys.readouterr().out


def test_ids_are_whole_on_a_narrow_screen(
    capsys: pytest.CaptureFixture[str], installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 80 columns encodedKeys can be copied, and no line is wider than the screen."""
    pretend_terminal(monkeypatch, 80)
    run_at(installation, f"0:{MESSAGES}")
    lines = capsys.readouterr().out.splitlines()
    statuses = [status for status in installation.read_statuses() if status["source"]["offset"] == MESSAGES]

    assert {status["encodedKey"] for status in statuses} <= set(" ".join(lines).replace("│", " ").split())
    assert max(map(len, lines)) <= 80


def test_what_an_operation_wrote(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """Its id is shown beside what it wrote."""
    (first, *_) = installation.read_statuses()
    source = {**first["source"], "partition": 1, "offset": 0}
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    value = json.dumps({**first, "source": source, "templateId": "replayed"}).encode()
    producer.produce(installation.status, value, b"k", 1, headers=[*JSON_HEADERS, ("operation", OPERATION.encode())])
    assert producer.flush(10) == 0
    assert 0 == run_at(installation, "1:0", as_json=True)
    result = json.loads(capsys.readouterr().out)

    assert [("replayed", OPERATION)] == [(said["templateId"], said["operation"]) for said in result["outcomes"]]
    assert ("BEYOND_END", None, 0) == (result["state"], result["today"], result["groupPosition"])
    run_at(installation, "1:0")
    text = by_column(capsys.readouterr().out)
    assert f"by {OPERATION}" in text
    assert "there is no such record yet; the next one gets offset 0" in text


def test_places_without_a_record(capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str) -> None:
    """Expired, beyond the end, a marker, behind an open transaction: each is said, and the outputs are still shown."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1), repayment(2)])
    installation.run()
    admin = installation.admin()
    (deleted,) = admin.delete_records([TopicPartition(installation.events, 0, 1)]).values()
    deleted.result(10)
    value, _ = installation.encode(repayment(3))
    with open_transaction(installation, installation.events, [value], ()):
        code, result = json_at(capsys, installation, 2)
        assert ("IN_TRANSACTION", []) == (result["state"], result["outcomes"])
    code, result = json_at(capsys, installation, 0)
    assert (0, "EXPIRED", 1, None) == (code, result["state"], result["firstOffset"], result["today"])
    assert {"STATUS"} == {outcome["kind"] for outcome in result["outcomes"]}
    code, text = text_at(capsys, installation, 0)
    assert f"{installation.events}[0]@0: the record is gone; the partition begins at offset 1" in text
    assert "created QUEUED" in text

    for offset, state in ((2, "NOT_A_RECORD"), (3, "NOT_A_RECORD"), (4, "BEYOND_END")):
        code, result = json_at(capsys, installation, offset)
        assert (1, state, [], 4) == (code, result["state"], result["outcomes"], result["endOffset"])
        code, text = text_at(capsys, installation, offset)
        assert (1, state == "NOT_A_RECORD") == (code, "has passed it" not in text and "has not come" not in text)


def test_a_stalled_output(bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open transaction in an output is named when it is not ended."""
    monkeypatch.setattr(read_range, "OPEN_TRANSACTION_TIMEOUT_S", 1.0)
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    installation.run()
    (value, *_) = [record.value() or b"" for record in installation.read(installation.status)]
    with (
        open_transaction(installation, installation.status, [value], JSON_HEADERS),
        pytest.raises(DependencyError, match=rf"{installation.status}\[0\]@\d+ cannot be read: a transaction is open"),
    ):
        run_at(installation, "0:0")


def test_partitions_and_topics_that_are_not_there(
    installation: Installation, bootstrap_servers: str, topic_prefix: str
) -> None:
    """An unknown partition, topics that are missing, an output without the partition: what to do is said."""
    with pytest.raises(UsageError, match=r"has no partition 2\nhint: it has 2, from 0 on"):
        run_at(installation, "2:0")
    elsewhere = Settings(tenant="northbank", kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))
    elsewhere = elsewhere.model_copy(
        update={"topics": elsewhere.topics.model_copy(update={"prefix": f"{topic_prefix}none."})}
    )
    with pytest.raises(TopicConfigError, match="topics are missing"):
        run_command(explain.command, elsewhere, at="0:0")
    grown = create_installation(bootstrap_servers, topic_prefix)
    grown.grow_topic(grown.events, 2)
    with pytest.raises(TopicConfigError, match=rf"{grown.status} has no partition 1"):
        run_at(grown, "1:0")


def test_no_broker_and_no_registry(bootstrap_servers: str, topic_prefix: str) -> None:
    """Each is an error that names the address."""
    nowhere = Settings(tenant="northbank", kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(DependencyError, match=r"no response from 127\.0\.0\.1:1"):
        run_command(explain.command, nowhere, at="0:0")
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_values([b"\x00\x00\x00\x00\x07abc"])
    registry = SchemaRegistrySettings(url="http://127.0.0.1:1")
    with pytest.raises(DependencyError, match=r"http://127\.0\.0\.1:1"):
        run_at(installation, "0:0", changed={"schema_registry": registry})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "explain needs events or --at"),
        ({"events": ["LOAN_REPAYMENT"], "at": "0:0"}, "explain needs events or --at"),
        ({"events": ["LOAN_REPAYMENT"], "unmasked": True}, "--unmasked makes sense with --at alone"),
        ({"at": "0"}, "--at takes PARTITION:OFFSET, got: '0'"),
        ({"at": "0:-1"}, "--at takes PARTITION:OFFSET"),
        ({"at": "0:99999999999999999999"}, "--at takes PARTITION:OFFSET"),
    ],
)
def test_wrong_command_lines(options: dict[str, Any], what: str) -> None:
    """Nothing is connected."""
    with pytest.raises(UsageError, match=what.replace("(", r"\(")):
        run_command(explain.command, Settings(tenant="northbank"), **options)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen(
    capsys: pytest.CaptureFixture[str], installation: Installation, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """It fits the terminal, and no key is cut."""
    pretend_terminal(monkeypatch, columns)
    run_at(installation, f"0:{MESSAGES}")
    lines = capsys.readouterr().out.splitlines()
    words = set(" ".join(lines).replace("│", " ").split())

    assert max(map(len, lines)) <= columns
    for status in installation.read_statuses():
        if status["source"]["offset"] == MESSAGES:
            assert status["encodedKey"] in words


def test_checks_of_the_key(capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str) -> None:
    """Today's checks of a record's key are made too, as `run` makes them; outputs in Avro are read as well."""
    installation = create_installation(bootstrap_servers, topic_prefix, output={"format": "avro"})
    value, _ = installation.encode(repayment(1))
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for key in ("another", None):
        producer.produce(installation.events, value, key, 0)
    assert producer.flush(10) == 0
    installation.run()
    strict = {"key_check": KeyCheck.STRICT}
    results = [
        json_at(capsys, installation, offset, changed=changed, unmasked=True)
        for offset, changed in ((0, {}), (0, strict), (1, {}))
    ]

    assert [None, "WRONG_KEY", "MISSING_KEY"] == [result["today"]["reason"] for _, result in results]
    assert [0, 1, 1] == [code for code, _ in results]
    assert "'another'" in results[1][1]["today"]["detail"]
    assert [{"STATUS"}, {"STATUS"}, {"DEAD_LETTER"}] == [
        {outcome["kind"] for outcome in result["outcomes"]} for _, result in results
    ]
    assert {"QUEUED", "SENT"} >= {outcome["state"] for outcome in results[0][1]["outcomes"]}
    assert [True, True, False] == [result["wrongKey"] for _, result in results]
    _, text = text_at(capsys, installation, 0)
    assert f"not keyed by its ordering key, {repayment(1)['account']['encodedKey']}" in text
    assert "today the same" in text
    assert "whether the event came before" in text


def put_failures(installation: Installation, source: int) -> None:
    """A decision of before there was a count of reasons left out, a dead letter that had no room, and one of a newer
    version, in partition 1."""
    position = RecordPosition(installation.events, 1, source)
    plain = DeadLetter(
        position=position,
        timestamp_ms=1_773_480_413_702,
        key=b"key",
        value=b"value",
        headers=(),
        reason=Reason.TEMPLATE_FAILED,
        detail="paid: MISSING_VALUE",
        failed=tuple(
            FailedTemplate(
                templateId=TemplateId(f"paid-{number}"),
                templateVersion=1,
                reason=TemplateReason.MISSING_VALUE,
                detail=f"cannot write 'Ines Duarte' {'x' * 900}",
            )
            for number in range(60)
        ),
        event_id="e",
    )
    topic = make_output_topics(dead_letters=1_000_000).dead_letters
    newer = replace(plain, reason=Reason.INVALID_EVENT, failed=(), attempts=2)
    records = [dead_letter_record(plain, topic=topic, drop_value=True).headers]
    records.append(
        tuple(
            (name, (text or b"").replace(b"INVALID_EVENT", b"NEWER"))
            for name, text in dead_letter_record(newer, topic=topic).headers
        )
    )
    (decision, *_) = installation.read_decisions()
    reasons = [
        {
            "templateId": "note",
            "templateVersion": 1,
            "reason": "CONDITION_FALSE",
            "detail": "1: X; the value is 218.24",
        },
        {"templateId": "last", "templateVersion": 1, "reason": "INACTIVE", "detail": "and 25 more templates"},
    ]
    old = {**decision, "source": {"topic": position.topic, "partition": 1, "offset": source}, "reasons": reasons}
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    for headers in records:
        producer.produce(installation.dead_letters, None, b"key", 1, headers=list(headers))
    producer.produce(installation.decisions, json.dumps(old).encode(), b"key", 1, headers=list(JSON_HEADERS))
    assert producer.flush(10) == 0


def test_failures_are_shown_with_their_reasons(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """Each failed template with its reason, what had no room, attempts and the missing value; masked as all is."""
    put_failures(installation, 17)
    capsys.readouterr()
    assert 0 == run_at(installation, "1:17", as_json=True)
    decision, letter, newer = json.loads(capsys.readouterr().out)["outcomes"]
    run_at(installation, "1:17")
    text = by_column(capsys.readouterr().out)

    assert (25, ["CONDITION_FALSE", "INACTIVE"]) == (
        decision["reasonsLeftOut"],
        [reason["reason"] for reason in decision["reasons"]],
    )
    assert "1: X; the value is ***" == decision["reasons"][0]["detail"]
    assert (False, False, 1, "TEMPLATE_FAILED") == (
        letter["failedComplete"],
        letter["hasValue"],
        letter["attempts"],
        letter["reason"],
    )
    assert ("paid-0", "MISSING_VALUE") == (letter["failed"][0]["templateId"], letter["failed"][0]["reason"])
    assert letter["failed"][0]["detail"].startswith("cannot write *** xxx")
    assert ("OTHER", "NEWER: paid: MISSING_VALUE", 2, True, True) == (
        newer["reason"],
        newer["detail"],
        newer["attempts"],
        newer["hasValue"],
        newer["failedComplete"],
    )
    assert "and 25 more reasons, which had no room" in text
    assert "more templates failed, which had no room" in text
    assert "dead letter, attempt 1, without the value TEMPLATE_FAILED: paid: MISSING_VALUE" in text
    assert "failed, MISSING_VALUE: cannot write ***" in text
    assert "dead letter, attempt 2 OTHER: NEWER: paid: MISSING_VALUE" in text
    assert "Ines" not in text
