"""`processor dead-letters` over what `run` wrote, on a real broker."""

import getpass
import json
import secrets
import stat
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from processor.cli import dead_letters
from processor.domain.reasons import TemplateReason
from processor.domain.record import Headers, RecordPosition, SourceRecord
from processor.engine.output_scan import OutcomeReader
from processor.errors import DependencyError, InputError, TopicConfigError, UsageError
from processor.kafka import read_range
from processor.kafka.clients import create_admin
from processor.replay.dead_letter_groups import GroupBy
from processor.replay.dead_letters import fetch_dead_letters, list_dead_letters, read_dead_letters
from processor.settings import KafkaSettings, Settings
from processor.wire.decode import event_from_json
from tests.cli.commands import run_command
from tests.engine.test_output_scan import open_transaction
from tests.support.builders import SMS_HEAD
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.terminal import pretend_terminal

pytestmark = pytest.mark.kafka

UNKNOWN_SCHEMA, FAILING, GOOD, OVERSIZED, INVALID, SECOND = range(6)
OVERSIZED_BYTES: Final = 3_000_000
STRICT: Final = SMS_HEAD + 'strict = true\nbody = "Hello {CF:CLIENT:NICKNAME}"\n'
PLAIN: Final = SMS_HEAD.replace('"note"', '"paid"').replace('"Note"', '"Paid"') + 'body = "Paid {TRANSACTION_AMOUNT}"\n'
DONE_IT: Final = STRICT.replace("version = 1", "version = 2").replace("strict = true\n", "")


@pytest.fixture(autouse=True)
def _wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No text is folded."""
    pretend_terminal(monkeypatch, 300)


def write_templates(folder: Path, **files: str) -> Path:
    """A folder of these template files alone."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.toml"):
        old.unlink()
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def with_nickname(event: dict[str, Any]) -> dict[str, Any]:
    """The event with what the strict template needs."""
    return {**event, "customFields": {**event["customFields"], "CLIENT:NICKNAME": "Nes"}}


def new_installation(servers: str, prefix: str, folder: Path, **fields: Any) -> Installation:
    """Two templates, one of which fails where a client has no nickname; nothing is a bad deployment."""
    templates = write_templates(folder, note=STRICT, paid=PLAIN)
    return create_installation(servers, prefix, templates_dir=templates, max_rejected_ratio=1, **fields)


def produce_oversized(installation: Installation) -> None:
    """An event larger than any dead letter: a batch of it is small."""
    producer = Producer(
        logged({"bootstrap.servers": installation.servers, "compression.type": "zstd", "message.max.bytes": 9_000_000})
    )
    producer.produce(installation.events, b" " * OVERSIZED_BYTES, "key", 0)
    assert producer.flush(30) == 0


@pytest.fixture(scope="module")
def installation(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Four causes in partition 0, beside an event that every template can say, and one of them in partition 1."""
    folder = tmp_path_factory.mktemp("dead-letters") / "templates"
    made = new_installation(bootstrap_servers, f"test-{secrets.token_hex(4)}.", folder, partitions=2)
    made.produce_values([b"\x00\x00\x00\x00\x07abc"])
    made.produce_events([repayment(1), with_nickname(repayment(2))])
    produce_oversized(made)
    made.produce_values([invalid_event(made, 4)])
    made.produce_events([repayment(5)])
    made.produce_values([b"\x07 no frame"], partition=1)
    made.run()
    yield made


def invalid_event(installation: Installation, number: int) -> bytes:
    """An event in Avro with a key that is none."""
    event = repayment(number)
    value, _ = installation.encode(event)
    key = event["client"]["encodedKey"].encode()
    assert key in value
    return value.replace(key, b"X" * len(key))


def run_letters(installation: Installation, **options: Any) -> int:
    """The exit code."""
    return run_command(dead_letters.command, installation.settings, **options)


def as_json(
    capsys: pytest.CaptureFixture[str], installation: Installation, **options: Any
) -> tuple[int, dict[str, Any]]:
    """Exit code and the object for machines."""
    capsys.readouterr()
    code = run_letters(installation, as_json=True, **options)
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, result


def as_text(capsys: pytest.CaptureFixture[str], installation: Installation, **options: Any) -> tuple[int, str]:
    """Exit code and the screen."""
    capsys.readouterr()
    code = run_letters(installation, **options)
    return code, capsys.readouterr().out


def counts(result: dict[str, Any]) -> dict[str, int]:
    """Group -> number."""
    return {group["key"]: group["total"] for group in result["groups"]}


def test_causes_are_counted(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """By each property; the sum is the number of dead letters, and all are open."""
    expected: dict[GroupBy, dict[str, int]] = {
        GroupBy.REASON: {
            "TEMPLATE_FAILED": 2,
            "BAD_FRAME": 1,
            "EVENT_TOO_LARGE": 1,
            "INVALID_EVENT": 1,
            "UNKNOWN_SCHEMA": 1,
        },
        GroupBy.TEMPLATE: {"(the record)": 4, "note": 2},
        GroupBy.EVENT: {"(not read that far)": 4, "LOAN_REPAYMENT": 2},
        GroupBy.PARTITION: {"0": 5, "1": 1},
        GroupBy.STATE: {"open": 6},
        GroupBy.ATTEMPTS: {"1": 6},
    }
    for by, groups in expected.items():
        code, result = as_json(capsys, installation, group_by=by.value)
        assert (1, groups, list(groups)) == (code, counts(result), list(counts(result))), by
        assert (6, 6, 0, 0) == (result["total"], result["open"], result["parked"], result["done"])
    _, result = as_json(capsys, installation, group_by="day")
    assert 6 == sum(counts(result).values())
    assert all(len(day) == len("2026-03-14") for day in counts(result))


def test_unmasked_views_are_recorded(installation: Installation) -> None:
    """Each in the partitions that it shows: what was called, by whom, and why. What shows nothing leaves no record."""

    def views(partition: int) -> list[tuple[str, str, str | None]]:
        records = [record for record in installation.read_operations(partition) if record["kind"] == "UNMASKED"]
        return [(record["command"], record["by"], record.get("because")) for record in records]

    before = [len(views(partition)) for partition in (0, 1)]
    run_letters(installation)
    run_letters(installation, as_list=True)
    run_letters(installation, as_list=True, state="done", unmasked=True)
    assert before == [len(views(partition)) for partition in (0, 1)]
    run_letters(installation, as_list=True, unmasked=True, by="ada", because="a complaint")
    run_letters(installation, show=f"0:{FAILING}", unmasked=True)
    run_letters(installation, export="-", unmasked=True, partition=[1])

    listed = ("dead-letters --list", "ada", "a complaint")
    assert [listed, (f"dead-letters --show 0:{FAILING}", getpass.getuser(), None)] == views(0)[before[0] :]
    assert [listed, ("dead-letters --export", getpass.getuser(), None)] == views(1)[before[1] :]
    with pytest.raises(UsageError, match="--because make sense with --unmasked alone"):
        run_letters(installation, because="a complaint")


def test_the_screen_says_who_acts(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """A row and a line of advice for each reason, and the totals."""
    code, text = as_text(capsys, installation)

    assert 1 == code
    assert "UNKNOWN_SCHEMA: producer of the event; worth another try after the schema is registered" in text
    assert "dead letters: 6 open" in text
    (row,) = [line for line in text.splitlines() if line.startswith("│ EVENT_TOO_LARGE")]
    assert ["EVENT_TOO_LARGE", "1", f"0:{OVERSIZED}"] == [
        cell.strip() for index, cell in enumerate(row.strip("│").split("│")) if index in (0, 1, 4)
    ]


def test_filters(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """Each by itself and together; a selection without an open one is no finding."""
    for options, total in (
        ({"reason": ["UNKNOWN_SCHEMA"]}, 1),
        ({"reason": ["UNKNOWN_SCHEMA", "BAD_FRAME"]}, 2),
        ({"reason": ["MISSING_VALUE"]}, 2),
        ({"reason": ["MISSING_VALUE"], "template": ["note"]}, 2),
        ({"template": ["paid"]}, 0),
        ({"template": ["note"], "event": ["LOAN_REPAYMENT"]}, 2),
        ({"event": ["SAVINGS_DEPOSIT"]}, 0),
        ({"partition": [1]}, 1),
        ({"partition": [1, 0]}, 6),
        ({"from_": "1h"}, 6),
        ({"to": "1h"}, 0),
        ({"from_": "2026-03-14T09:26:53Z", "to": "2026-03-14T09:26:54Z"}, 0),
        ({"attempts": 2}, 0),
        ({"state": "parked"}, 0),
        ({"state": "done"}, 0),
        ({"state": "open"}, 6),
    ):
        code, result = as_json(capsys, installation, **options)
        assert (total, 1 if total else 0) == (result["total"], code), options
    _, text = as_text(capsys, installation, state="done")
    assert "no dead letters; not shown: 6 open (`--state all`)" in text


def test_each_by_itself(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """The newest first, with its reason, templates and what it holds; how many are not shown is said."""
    code, result = as_json(capsys, installation, as_list=True, partition=[0])
    letters = {letter["position"]["offset"]: letter for letter in result["letters"]}
    _, limited = as_json(capsys, installation, as_list=True, limit=2)
    _, text = as_text(capsys, installation, as_list=True, limit=2)

    assert 1 == code
    assert [SECOND, INVALID, OVERSIZED, FAILING, UNKNOWN_SCHEMA] == list(letters)
    assert [("note", 1, "MISSING_VALUE")] == [
        (failed["templateId"], failed["templateVersion"], failed["reason"]) for failed in letters[FAILING]["failed"]
    ]
    assert (OVERSIZED_BYTES, None) == (
        letters[OVERSIZED]["valueBytesLeftOut"],
        letters[FAILING]["valueBytesLeftOut"],
    )
    assert installation.templates is not None
    assert repayment(1)["eventId"] == letters[FAILING]["eventId"]
    assert (6, 2) == (limited["total"], len(limited["letters"]))
    assert "the newest 2 of 6; `--limit N` shows more" in text


def test_one_is_decoded_as_far_as_possible(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    """Cause, templates with who acts, the record; masked unless it is asked for."""
    phone, amount = repayment()["client"]["mobilePhone"], "218.24"
    code, text = as_text(capsys, installation, show=f"0:{FAILING}")
    assert (1, True) == (code, "note v1" in text)
    assert "MISSING_VALUE" in text
    assert "owner of the template" in text
    assert repayment(1)["eventId"] in text
    assert f"LOAN_REPAYMENT {repayment()['occurredAt']} northbank\n`--unmasked` shows it" in text
    assert phone not in text
    _, text = as_text(capsys, installation, show=f"0:{FAILING}", unmasked=True)
    assert f'"mobilePhone": "{phone}"' in text
    assert amount in text
    _, text = as_text(capsys, installation, show=f"0:{INVALID}", unmasked=True)
    assert f'"encodedKey": "{"X" * 32}"' in text
    _, text = as_text(capsys, installation, show=f"0:{INVALID}")
    assert "X" * 32 not in text
    assert "client.encodedKey" in text
    _, text = as_text(capsys, installation, show=f"0:{UNKNOWN_SCHEMA}")
    assert "8 bytes that are no JSON, and no Avro of a known schema; the first are\n00 00 00 00 07\n" in text
    _, text = as_text(capsys, installation, show=f"0:{UNKNOWN_SCHEMA}", unmasked=True)
    assert "00 00 00 00 07 61 62 63" in text
    _, text = as_text(capsys, installation, show=f"0:{OVERSIZED}")
    assert f"value: {OVERSIZED_BYTES} bytes, for which the dead letter had no room; they lie at " in text
    for unmasked in (False, True):
        _, result = as_json(capsys, installation, show=f"0:{FAILING}", unmasked=unmasked)
        assert repayment(1)["eventId"] == result["value"]["eventId"]
        assert (phone if unmasked else "***") == result["value"]["client"]["mobilePhone"]
        assert "owner of each template that failed" == result["who"]
    with pytest.raises(UsageError, match=rf"the record at 0:{GOOD} is no dead letter(.|\n)*explain --at 0:{GOOD}"):
        run_letters(installation, show=f"0:{GOOD}")


def exported(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_export(capsys: pytest.CaptureFixture[str], installation: Installation, tmp_path: Path) -> None:
    """Lines in order with what a person needs to correct them, in a file of its owner's; the values are as `produce`
    takes them."""
    file = tmp_path / "letters.jsonl"
    code = run_letters(installation, export=str(file), unmasked=True, partition=[0])
    lines = {line["position"]["offset"]: line for line in exported(file)}

    assert (1, 0o600) == (code, stat.S_IMODE(file.stat().st_mode))
    assert "exported 5 of 5 dead letters: 5 open" in capsys.readouterr().err
    assert [UNKNOWN_SCHEMA, FAILING, OVERSIZED, INVALID, SECOND] == list(lines)
    assert {"topic": installation.events, "partition": 0, "offset": FAILING} == lines[FAILING]["position"]
    assert ("TEMPLATE_FAILED", "LOAN_REPAYMENT") == (lines[FAILING]["reason"], lines[FAILING]["event"])
    assert ("AAAAAAdhYmM=", "base64") == (lines[UNKNOWN_SCHEMA]["value"], lines[UNKNOWN_SCHEMA]["valueEncoding"])
    assert (None, OVERSIZED_BYTES) == (lines[OVERSIZED]["value"], lines[OVERSIZED]["valueBytes"])
    assert ("key", []) == (lines[INVALID]["key"], lines[INVALID]["headers"])
    assert "event" not in lines[INVALID]
    assert "client.encodedKey" in lines[INVALID]["detail"]
    value = json.dumps(lines[FAILING]["value"]).encode()
    assert event_from_json(repayment(1), installation.schemas) == event_from_json(value, installation.schemas)
    corrected = lines[INVALID]["value"]
    corrected["client"]["encodedKey"] = repayment()["client"]["encodedKey"]
    assert event_from_json(repayment(4), installation.schemas) == event_from_json(corrected, installation.schemas)
    run_letters(installation, export="-", unmasked=True, partition=[1])
    out = capsys.readouterr()
    assert ["BAD_FRAME"] == [json.loads(line)["reason"] for line in out.out.splitlines()]


def test_exports_overwrite_nothing(installation: Installation, tmp_path: Path) -> None:
    """A file that exists stays, and none is left behind by a command that fails; customers' data is asked for."""
    file = tmp_path / "letters.jsonl"
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists, and is left as it is"):
        run_letters(installation, export=str(file), unmasked=True)
    with pytest.raises(UsageError, match="holds customers' data"):
        run_letters(installation, export=str(tmp_path / "other"))
    with pytest.raises(UsageError, match="has no partition 7"):
        run_letters(installation, export=str(tmp_path / "other"), unmasked=True, partition=[7])
    with pytest.raises(UsageError, match="cannot be created: No such file or directory"):
        run_letters(installation, export=str(tmp_path / "none" / "other"), unmasked=True)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DependencyError, match="No space left on device"):
        patch.setattr("os.fdopen", lambda *_, **__: Path("/dev/full").open("wb"))  # noqa: SIM115  closed by the caller
        run_letters(installation, export=str(tmp_path / "other"), unmasked=True)

    assert ("mine", [file]) == (file.read_text(), list(tmp_path.iterdir()))


def test_a_template_that_failed_twice_and_then_made_it(
    capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    """The position set back each time: the newest dead letter counts, and once the message is there it is done."""
    installation = new_installation(bootstrap_servers, topic_prefix, tmp_path / "templates")
    installation.produce_events([repayment(1)])
    seen: list[tuple[int, list[tuple[str, int]]]] = []
    for note in (STRICT, STRICT.replace("version = 1", "version = 2"), DONE_IT.replace("version = 2", "version = 3")):
        write_templates(tmp_path / "templates", note=note, paid=PLAIN)
        if seen:
            installation.set_position(0)
        installation.run()
        code, result = as_json(capsys, installation, state="all", as_list=True)
        seen.append((code, [(each["state"], each["deadLetter"]["offset"]) for each in result["letters"]]))
        versions = [failed["templateVersion"] for each in result["letters"] for failed in each["failed"]]
        assert [min(len(seen), 2)] == versions

    first, second = (message.offset() for message in installation.read(installation.dead_letters))
    assert [(1, [("open", first)]), (1, [("open", second)]), (0, [("done", second)])] == seen
    code, result = as_json(capsys, installation)
    assert (0, 0, {"open": 0, "parked": 0, "done": 1}) == (code, result["total"], result["leftOut"])
    code, text = as_text(capsys, installation, show="0:0")
    assert (0, True) == (code, "\ndone, attempt 1; dead letter 0:" in text)


def test_other_ways_to_be_done(
    capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A decision that names the template, one that stands for the record, and for a rejected record anything else; what
    came before the dead letter does not count."""
    installation = new_installation(bootstrap_servers, topic_prefix, tmp_path / "templates")
    good, _ = installation.encode(repayment(3))
    installation.produce_events([repayment(1), repayment(2)])
    installation.produce_values([good[:-1]])
    installation.run()
    states = {}

    def state_after(what: str, **files: str) -> None:
        write_templates(tmp_path / "templates", **files)
        installation.set_position(0)
        installation.run()
        _, result = as_json(capsys, installation, state="all", as_list=True)
        states[what] = {each["position"]["offset"]: each["state"] for each in result["letters"]}

    inactive = STRICT.replace("version = 1", "version = 2\nactive = false")
    state_after("decided", note=inactive, paid=PLAIN)
    state_after("failed again", note=STRICT.replace("version = 1", "version = 3"), paid=PLAIN)
    other = PLAIN.replace("LOAN_REPAYMENT", "LOAN_APPROVAL").replace("version = 1", "version = 2")
    state_after("no template", paid=other.replace("TRANSACTION_AMOUNT", "ACCOUNT_ID"))

    assert {
        "decided": {0: "done", 1: "done", 2: "open"},
        "failed again": {0: "open", 1: "open", 2: "open"},
        "no template": {0: "done", 1: "done", 2: "open"},
    } == states


def test_names_that_are_not_known(installation: Installation) -> None:
    """The nearest right word is named, and what a dead letter has is known though it is installed no more."""
    for options, what in (
        ({"reason": ["UNKOWN_SCHEMA"]}, "did you mean UNKNOWN_SCHEMA?"),
        ({"reason": ["missing_value"]}, "did you mean MISSING_VALUE?"),
        ({"template": ["nota"]}, "did you mean note?"),
        ({"event": ["LOAN_REPAYMENTS"]}, "did you mean LOAN_REPAYMENT?"),
        ({"group_by": "reasons"}, "did you mean reason?"),
        ({"state": "opened"}, "did you mean open?"),
        ({"partition": [2]}, "has no partition 2\nhint: it has 2, from 0 on"),
        ({"show": "0"}, "--show takes PARTITION:OFFSET, got: '0'"),
        ({"show": "0:1", "as_list": True}, "exclude each other"),
        ({"export": "-", "as_json": True}, "leave --json out"),
        ({"unmasked": True}, "--unmasked makes sense with --list, --show or --export"),
        ({"state": "x"}, "one of open, parked, done, all"),
        ({"from_": "yesterday"}, "--from takes a time"),
        ({"from_": "1h", "to": "2h"}, "--from is not before --to"),
    ):
        with pytest.raises(UsageError) as error:
            run_letters(installation, **options)
        assert what in str(error.value)


def test_nothing_to_read(bootstrap_servers: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No broker, no topics, no dead letters."""
    nowhere = Settings(tenant="northbank", kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(DependencyError, match=r"no response from 127\.0\.0\.1:1"):
        run_command(dead_letters.command, nowhere)
    elsewhere = Settings(tenant="northbank", kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))
    elsewhere = elsewhere.model_copy(
        update={"topics": elsewhere.topics.model_copy(update={"prefix": f"{topic_prefix}none."})}
    )
    with pytest.raises(TopicConfigError, match="topics are missing"):
        run_command(dead_letters.command, elsewhere)
    empty = create_installation(bootstrap_servers, topic_prefix)
    code, text = as_text(capsys, empty)
    assert (0, "no dead letters\n") == (code, text)
    code, result = as_json(capsys, empty, as_list=True)
    assert (0, []) == (code, result["letters"])


@pytest.mark.parametrize("topic", ["dead_letters", "status"])
def test_open_transactions_are_waited_for(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    """And named when they are not ended."""
    monkeypatch.setattr(read_range, "OPEN_TRANSACTION_TIMEOUT_S", 1.0)
    installation = new_installation(bootstrap_servers, topic_prefix, tmp_path / "templates")
    installation.produce_events([repayment(1)])
    installation.run()
    name = getattr(installation, topic)
    with (
        open_transaction(installation, name, [b"{}"], ()),
        pytest.raises(DependencyError, match=rf"{name}\[0\]@\d+ cannot be read: a transaction is open there"),
    ):
        run_letters(installation)


def test_what_is_read(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Each pass says how far it is; an output that cannot be read is passed over, or an error where that is wanted."""
    installation = new_installation(bootstrap_servers, topic_prefix, tmp_path / "templates")
    installation.produce_events([repayment(1)])
    installation.run()
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(installation.status, b"no status", b"key", 0)
    assert producer.flush(10) == 0
    steps: list[tuple[int, int]] = []
    (entry,) = list_dead_letters(
        installation.settings, installation.schemas, on_progress=lambda done, total: steps.append((done, total))
    )

    assert ("note", TemplateReason.MISSING_VALUE) == entry.failed[0]
    assert [(0, 2), (2, 2)] == steps[:2]  # the dead letter, and the marker of its transaction
    # Of the outputs since: how many were written in the same millisecond as the dead letter is chance.
    assert len(steps) > 2 and steps[-1][0] == steps[-1][1] > 0
    settings, admin = installation.settings, create_admin(installation.settings)
    outputs = OutcomeReader(settings, installation.schemas, 0, schema_of=installation.schemas.local_schema, admin=admin)
    with pytest.raises(InputError, match=rf"{installation.status}\[0\]@\d+ cannot be read"):
        read_dead_letters(settings, 0, outputs, admin=admin, strict=True)


def test_stored_dead_letters_are_the_records(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Key, value, headers and time of the source as they were, in order; its attempts are counted on, and from five on
    it is parked."""
    installation = new_installation(bootstrap_servers, topic_prefix, tmp_path / "templates")
    headers: Headers = (("dl.reason", b"INVALID_EVENT"), ("dl.attempts", b"4"), ("x", None), ("x", b"\xff"))
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for number in range(3):
        sent: list[tuple[str, str | bytes | None]] = [*headers] if number == 1 else []
        producer.produce(installation.events, b"\x01%d" % number, b"k", 0, headers=sent, timestamp=1_773_480_413_702)
    assert producer.flush(10) == 0
    installation.run()
    entries = list_dead_letters(installation.settings, installation.schemas)
    first, second = fetch_dead_letters(installation.settings, (entries[2], entries[1]))

    assert [("open", 1), ("parked", 5), ("open", 1)] == [(entry.state, entry.attempts) for entry in entries]
    assert (entries[1], entries[2]) == (first.entry, second.entry)
    position = RecordPosition(installation.events, 0, 1)
    assert SourceRecord(position, 1_773_480_413_702, b"k", b"\x011", headers) == first.record
    assert b"\x012" == second.record.value


def test_aborted_dead_letters_are_none(
    capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str
) -> None:
    """What a transaction wrote that did not commit is not there."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    with open_transaction(installation, installation.dead_letters, [b"value"], tuple(headers_with(installation))):
        pass
    put_raw(installation, headers_with(installation, offset=b"18"))
    _, result = as_json(capsys, installation, as_list=True)

    assert (1, [18]) == (result["total"], [letter["position"]["offset"] for letter in result["letters"]])


def put_raw(installation: Installation, headers: Sequence[tuple[str, bytes | None]], *, key: bytes = b"key") -> None:
    """A record on the dead letters' topic, in partition 0, as anybody may write one."""
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    producer.produce(installation.dead_letters, b"value", key, 0, headers=list(headers))
    assert producer.flush(10) == 0


def headers_with(installation: Installation, **changed: bytes | None) -> list[tuple[str, bytes | None]]:
    """The headers of a dead letter, some of them changed; None takes one away."""
    own: dict[str, bytes | None] = {
        "dl.reason": b"INVALID_EVENT",
        "dl.detail": b"wrong",
        "dl.topic": installation.events.encode(),
        "dl.partition": b"0",
        "dl.offset": b"17",
        "dl.timestamp": b"1773480413702",
        "dl.failed": b"[]",
        "dl.attempts": b"1",
        "dl.version": b"1",
    }
    own |= {f"dl.{name}": value for name, value in changed.items()}
    return [(name, value) for name, value in own.items() if value is not None]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_list_holds_one_value_at_a_time(bootstrap_servers: str, topic_prefix: str, as_json: bool) -> None:
    """However many it shows: a hundred of half a megabyte take less than half of that, with all else."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    for offset in range(100):
        headers = headers_with(installation, offset=b"%d" % offset)
        producer.produce(installation.dead_letters, b"x" * 500_000, "key", 0, headers=[*headers])
    assert producer.flush(30) == 0

    tracemalloc.start()
    try:
        assert 1 == run_letters(installation, as_list=True, limit=100, as_json=as_json)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 50 * 500_000


ESCAPES: Final = b"\x1b[31mred\x1b]0;title\x07\x9b2J\x00"


def test_dead_letters_of_other_topics(
    capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str
) -> None:
    """Alone in a partition they are open, and parked by their attempts; no output of the events makes them done."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    for offset, attempts in ((b"1", b"1"), (b"2", b"5")):
        put_raw(
            installation, headers_with(installation, topic=b"communications.commands", offset=offset, attempts=attempts)
        )
    code, result = as_json(capsys, installation, as_list=True)
    _, text = as_text(capsys, installation, show="0:2")

    assert (1, ["parked", "open"]) == (code, [each["state"] for each in result["letters"]])
    assert "communications.commands[0]@2" in text
    assert "no record of this partition of the events" in text


def test_hostile_headers(capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str) -> None:
    """None ends the command: what cannot be read is listed as such, and nothing reaches the terminal."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    failed = [{"templateId": {"a": 1}, "templateVersion": "x", "reason": ["y"], "detail": 7}] * 2000
    unreadable: list[list[tuple[str, bytes | None]]] = [
        [("foreign", b"record")],
        headers_with(installation, failed=b"not JSON"),
        headers_with(installation, failed=b"[" * 20_000),
        headers_with(installation, failed=b'{"a": 1}'),
        headers_with(installation, offset=b"x"),
        headers_with(installation, offset=b"9" * 6_000),
        headers_with(installation, detail=b"\xff"),
        headers_with(installation, topic=None),
        headers_with(installation, value_bytes=b"many"),
    ]
    readable = [
        headers_with(installation, reason=b"NEWER", detail=b"of tomorrow", offset=b"1"),
        headers_with(installation, reason=b"TEMPLATE_FAILED", failed=json.dumps(failed).encode(), offset=b"2"),
        headers_with(installation, attempts=b"9" * 40, offset=b"3"),
        headers_with(installation, timestamp=b"9" * 30, offset=b"4"),
        headers_with(installation, detail=b"to 'ines@example.com' " + ESCAPES.decode("latin-1").encode(), offset=b"5"),
        headers_with(installation, partition=b"7", offset=b"6"),
        headers_with(installation, topic=b"communications.commands", offset=b"7"),
        headers_with(installation, event=ESCAPES.decode("latin-1").encode(), offset=b"8"),
    ]
    for headers in (*unreadable, *readable):
        put_raw(installation, headers, key=ESCAPES)
    code, result = as_json(capsys, installation)
    assert (1, 17) == (code, result["total"])
    assert {"(headers cannot be read)": 9, "INVALID_EVENT": 6, "OTHER": 1, "TEMPLATE_FAILED": 1} == counts(result)
    _, listed = as_json(capsys, installation, as_list=True)
    by_offset = {each["position"]["offset"]: each for each in listed["letters"] if each["position"]}
    assert ("OTHER", "NEWER: of tomorrow") == (by_offset[1]["reason"], by_offset[1]["detail"])
    assert "parked" == by_offset[3]["state"]
    assert [True, False, False] == [by_offset[offset]["isOfEvents"] for offset in (5, 6, 7)]
    assert 9 == sum(each["reason"] is None for each in listed["letters"])
    views: list[dict[str, Any]] = [
        *({"group_by": by.value} for by in GroupBy),
        {"as_list": True},
        *({"show": f"0:{offset}"} for offset in (1, 2, 3, 4, 5, 7, 8)),
        *({"show": f"0:{offset}", "unmasked": True} for offset in (5, 7, 8)),
    ]
    screens = [as_text(capsys, installation, **options)[1] for options in views]
    for screen in screens:
        assert not [character for character in screen if not character.isprintable() and character != "\n"]
    assert all("ines@example.com" not in screen for screen in screens[:-3])


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screens(
    capsys: pytest.CaptureFixture[str], installation: Installation, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """All lines fit the terminal, and no reason is folded where reasons are counted."""
    pretend_terminal(monkeypatch, columns)
    for options in ({}, {"group_by": "template"}, {"as_list": True}, {"show": f"0:{FAILING}"}):
        _, text = as_text(capsys, installation, **options)
        assert max(map(len, text.splitlines())) <= columns
    _, text = as_text(capsys, installation)
    assert "│ TEMPLATE_FAILED " in text


@pytest.mark.parametrize("columns", [80, 120])
def test_all_states_fit_the_screen(
    capsys: pytest.CaptureFixture[str], bootstrap_servers: str, topic_prefix: str, tmp_path: Path, columns: int
) -> None:
    """The longest reason beside a column of each state is not folded."""
    installation = new_installation(bootstrap_servers, topic_prefix, tmp_path / "templates")
    installation.produce_events([repayment(1)])
    installation.run()
    for offset, attempts in ((b"1234567", b"1"), (b"1234568", b"5")):
        put_raw(
            installation, headers_with(installation, reason=b"INCOMPATIBLE_SCHEMA", offset=offset, attempts=attempts)
        )
    write_templates(tmp_path / "templates", note=DONE_IT, paid=PLAIN)
    installation.set_position(0)
    installation.run()
    with pytest.MonkeyPatch.context() as patch:
        pretend_terminal(patch, columns)
        _, text = as_text(capsys, installation, state="all")

    assert max(map(len, text.splitlines())) <= columns
    assert "INCOMPATIBLE_SCHEMA" in text.replace("│", " ").split()
    assert "dead letters: 1 parked, 1 open, 1 done" in text
