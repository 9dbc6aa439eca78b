"""`processor redrive` on the dead letters of real runs: each gets what it lacks, once."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Message, Producer

from processor.cli import dead_letters, redrive, replay
from processor.errors import InputError, UsageError
from processor.replay import partition_redrive
from tests.cli.commands import run_command
from tests.replay.test_anchor import delete_before
from tests.replay.test_dead_letters_command import (
    DONE_IT,
    PLAIN,
    STRICT,
    headers_with,
    invalid_event,
    produce_oversized,
    write_templates,
)
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.terminal import pretend_terminal

pytestmark = pytest.mark.kafka

SMALL_BYTES: Final = 300  # less than a repayment has


@pytest.fixture
def installation(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """Two templates, one of which fails where a client has no nickname; nothing is a bad deployment."""
    pretend_terminal(monkeypatch, 300)
    templates = write_templates(tmp_path / "templates", note=STRICT, paid=PLAIN)
    yield create_installation(
        bootstrap_servers,
        topic_prefix,
        templates_dir=templates,
        state_dir=tmp_path / "state",
        max_rejected_ratio=1,
    )


def with_settings(installation: Installation, **changed: Any) -> Installation:
    """The same topics, other settings."""
    return replace(installation, settings=installation.settings.model_copy(update=changed))


def correct_template(installation: Installation) -> None:
    """The template that failed says what is missing now."""
    assert installation.settings.templates_dir is not None
    write_templates(installation.settings.templates_dir, note=DONE_IT, paid=PLAIN)


def run_redrive(installation: Installation, **options: Any) -> int:
    """The exit code."""
    return run_command(redrive.command, installation.settings, **options)


def redrive_as_json(
    capsys: pytest.CaptureFixture[str], installation: Installation, **options: Any
) -> tuple[int, dict[str, Any]]:
    """Exit code and the one partition's object."""
    capsys.readouterr()
    code = run_redrive(installation, as_json=True, **options)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])  # before it: what the tests log
    (partition,) = result["partitions"]
    return code, {**partition, "operation": result["operation"]}


def states(capsys: pytest.CaptureFixture[str], installation: Installation) -> Mapping[str, int]:
    """How many dead letters there are in each state."""
    capsys.readouterr()
    run_command(dead_letters.command, installation.settings, state="all", as_json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    return {state: result[state] for state in ("open", "parked", "done") if result[state]}


def created(installation: Installation) -> Counter[tuple[int, str]]:
    """How many messages each offset and template has."""
    return Counter(
        (status["source"]["offset"], status["templateId"])
        for status in installation.read_statuses()
        if status["sequence"] == 1
    )


def own_header(letter: Message, name: str) -> bytes:
    """What a dead letter says of itself."""
    value = dict(letter.headers() or [])[name]
    assert isinstance(value, bytes)
    return value


def test_failed_templates_get_their_message_once(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the template is corrected; what the others had made stays; a second redrive does nothing."""
    installation.produce_events([repayment(number) for number in range(5)])
    installation.run()
    before, positions = created(installation), installation.committed()
    assert {(offset, "paid"): 1 for offset in range(5)} == before

    code, found = redrive_as_json(capsys, installation)
    assert (0, 0, 5) == (code, found["passing"], found["failing"])
    correct_template(installation)
    code, found = redrive_as_json(capsys, installation)
    assert (1, 5, 0) == (code, found["passing"], found["failing"])
    assert before == created(installation)
    code, written = redrive_as_json(capsys, installation, yes=True)

    assert (0, 5, 5) == (code, written["passing"], written["messages"])
    assert before + Counter((offset, "note") for offset in range(5)) == created(installation)
    assert positions == installation.committed()
    assert {"done": 5} == states(capsys, installation)
    code, again = redrive_as_json(capsys, installation, yes=True)
    assert (0, 0) == (code, again["messages"])
    assert 10 == created(installation).total()


def test_rejected_records_are_mapped_from_their_own_bytes(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the events no longer have them; one whose event has an outcome elsewhere is ALREADY_CREATED."""
    correct_template(installation)
    small = with_settings(installation, max_event_bytes=SMALL_BYTES)
    installation.produce_events([repayment(1), repayment(2)])
    small.run()
    installation.produce_events([repayment(2), repayment(3)])
    installation.run()
    installation.delete_topic(installation.events)
    installation.create_topics()
    assert {"open": 2} == states(capsys, installation)

    code, written = redrive_as_json(capsys, installation, yes=True)

    assert (0, 2, {"ALREADY_CREATED": 1}) == (code, written["passing"], written["decisions"])
    assert {(offset, name): 1 for offset in (0, 2, 3) for name in ("note", "paid")} == created(installation)
    (decision,) = installation.read_decisions()
    found = f"{written['operation']} found this event id at {installation.events}[0]@2"
    assert found == decision["reasons"][0]["detail"]
    assert {"done": 2} == states(capsys, installation)


@pytest.mark.parametrize("is_recreated", [False, True])
def test_a_record_that_is_gone_costs_no_other_one_its_messages(
    installation: Installation, capsys: pytest.CaptureFixture[str], is_recreated: bool
) -> None:
    """Its dead letter had no room for its bytes, and they have expired, or the topic was created again and holds
    another event there: it is left, and reported as expired."""
    correct_template(installation)
    produce_oversized(installation)
    installation.produce_events([repayment(1)])
    with_settings(installation, max_event_bytes=SMALL_BYTES).run()
    assert {"open": 2} == states(capsys, installation)
    if is_recreated:
        installation.delete_topic(installation.events)
        installation.create_topics()
        installation.produce_events([repayment(7)])
    else:
        delete_before(installation, installation.events, 2)

    code, written = redrive_as_json(capsys, installation, yes=True)

    assert (0, 1, {"EXPIRED": 1}) == (code, written["passing"], written["left"])
    assert {(1, "paid"): 1, (1, "note"): 1} == created(installation)
    assert {"open": 1, "done": 1} == states(capsys, installation)


def test_what_fails_again_is_counted_on_and_parked(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each attempt is a dead letter; after the fifth it is left alone unless it is asked for."""
    installation.produce_events([repayment(1)])
    installation.run()

    for _ in range(4):
        code, written = redrive_as_json(capsys, installation, yes=True)
        assert (1, 1) == (code, written["failing"])

    attempts = [own_header(letter, "dl.attempts") for letter in installation.read(installation.dead_letters)]
    assert [b"1", b"2", b"3", b"4", b"5"] == attempts
    assert {"parked": 1} == states(capsys, installation)
    correct_template(installation)
    assert (0, 0) == (run_redrive(installation), run_redrive(installation, yes=True))
    assert {"parked": 1} == states(capsys, installation)
    assert (1, 0) == (run_redrive(installation, parked=True), run_redrive(installation, parked=True, yes=True))
    assert {"done": 1} == states(capsys, installation)
    assert {(0, "paid"): 1, (0, "note"): 1} == created(installation)


def test_a_message_that_exists_is_not_made_again(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """A template that had made its message and failed when the position was set back: ALREADY_CREATED."""
    correct_template(installation)
    installation.produce_events([repayment(1)])
    installation.run()
    assert installation.settings.templates_dir is not None
    write_templates(installation.settings.templates_dir, note=STRICT.replace("version = 1", "version = 3"), paid=PLAIN)
    installation.set_position(0)
    installation.run()
    assert {"open": 1} == states(capsys, installation)

    code, written = redrive_as_json(capsys, installation, yes=True)

    assert (0, 0, {"ALREADY_CREATED": 1}) == (code, written["messages"], written["decisions"])
    assert {(0, "note"): 1, (0, "paid"): 2} == created(installation)  # run itself repeated what did not fail
    assert {"done": 1} == states(capsys, installation)


def test_what_run_comes_to_again_is_left(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """The position was set back to before two of three dead letters: they are `run`'s, and both would write to the
    person."""
    installation.produce_events([repayment(number) for number in range(3)])
    installation.run()
    correct_template(installation)
    installation.set_position(1)

    code, written = redrive_as_json(capsys, installation, yes=True)
    assert (0, 1, {"OF_RUN": 2}) == (code, written["messages"], written["left"])
    installation.run()

    notes = {place: count for place, count in created(installation).items() if place[1] == "note"}
    assert {(offset, "note"): 1 for offset in range(3)} == notes
    assert {"done": 3} == states(capsys, installation)


STRICT_AGAIN: Final = STRICT.replace("version = 1", "version = 3")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(STRICT, (1, 2)), (DONE_IT, (1,))], id="fails-then-passes"),
        pytest.param([(DONE_IT, (1, 2)), (STRICT_AGAIN, (1,))], id="passes-then-fails"),
        pytest.param([(STRICT, (1, 2, 1))], id="fails-twice"),
    ],
)
def test_an_event_that_was_sent_twice(
    installation: Installation, capsys: pytest.CaptureFixture[str], steps: Sequence[tuple[str, Sequence[int]]]
) -> None:
    """Beyond the deduplication window, so `run` mapped both of its records: what failed for one of them makes no second
    message of the event. Each step is a template and the events that are mapped with it."""
    deduplication = installation.settings.deduplication.model_copy(update={"records": 1})
    installation = with_settings(installation, deduplication=deduplication)
    assert installation.settings.templates_dir is not None
    for note, numbers in steps:
        write_templates(installation.settings.templates_dir, note=note, paid=PLAIN)
        installation.produce_events([repayment(number) for number in numbers])
        installation.run()
    correct_template(installation)

    code, written = redrive_as_json(capsys, installation, yes=True)

    assert (0, {"ALREADY_CREATED": 1}) == (code, written["decisions"])
    notes = Counter(status["eventId"] for status in installation.read_statuses() if status["templateId"] == "note")
    assert {repayment(1)["eventId"]: 1, repayment(2)["eventId"]: 1} == notes
    assert {"done"} == states(capsys, installation).keys()


def test_a_template_that_came_after_a_redrive(installation: Installation) -> None:
    """Of a record that was rejected and redriven since it is a new one, as of any other; of one that is still rejected
    nothing is missing but by redrive."""
    correct_template(installation)
    installation.produce_events([repayment(1)])
    installation.produce_values([b"no event"])
    with_settings(installation, max_event_bytes=SMALL_BYTES).run()
    assert 1 == run_redrive(installation, yes=True)
    assert installation.settings.templates_dir is not None
    later = PLAIN.replace('"paid"', '"later"').replace('"Paid"', '"Later"')
    write_templates(installation.settings.templates_dir, note=DONE_IT, paid=PLAIN, later=later)

    assert 0 == run_command(replay.command, installation.settings, yes=True)
    assert 0 == run_command(replay.command, installation.settings, include_new=["later"], yes=True)

    assert {(0, "paid"): 1, (0, "note"): 1, (0, "later"): 1} == created(installation)
    assert 0 == run_command(replay.command, installation.settings, include_new=["later"])


def test_a_redrive_that_raises_is_tried_for_what_had_failed(
    installation: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MAPPING_ERROR is about the record, but only one of its templates was tried: what was decided of another one then,
    and a template that came later, make no message."""
    assert installation.settings.templates_dir is not None
    later = PLAIN.replace('"paid"', '"later"').replace('"Paid"', '"Later"')
    write_templates(installation.settings.templates_dir, note=STRICT, paid=PLAIN + "active = false\n")
    installation.produce_events([repayment(1)])
    installation.run()
    paid = PLAIN.replace("version = 1", "version = 2")
    write_templates(installation.settings.templates_dir, note=DONE_IT, paid=paid, later=later)
    with monkeypatch.context() as patch:
        patch.setattr(partition_redrive, "map_event", raise_error)
        code, written = redrive_as_json(capsys, installation, yes=True)
    assert (1, {"MAPPING_ERROR": 1}) == (code, written["deadLetters"])

    assert 0 == run_redrive(installation, yes=True)

    assert {(0, "note"): 1} == created(installation)
    assert {"done": 1} == states(capsys, installation)


def raise_error(*_arguments: Any, **_named: Any) -> Any:
    """As a bug does."""
    raise ValueError("a bug")


def test_a_wrong_tenant_ends_no_dead_letter(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt setting: what failed was this tenant's, and is left; rejected records are refused if nearly all are
    another tenant's."""
    installation.produce_events([repayment(number) for number in range(2)])
    installation.run()
    correct_template(installation)
    misspelt = with_settings(installation, tenant="nothbank")
    code, found = redrive_as_json(capsys, misspelt, yes=True)
    assert (0, {"OTHER_TENANT": 2}) == (code, found["left"])

    installation.produce_events([repayment(number) for number in range(2, 20)])
    with_settings(installation, max_event_bytes=SMALL_BYTES).run()
    assert {"open": 20} == states(capsys, installation)
    careful = with_settings(misspelt, max_rejected_ratio=0.9)
    with pytest.raises(InputError, match="20 of the first 20 records are of another tenant"):
        run_redrive(careful, yes=True)

    assert {"open": 20} == states(capsys, installation)
    assert 0 == run_redrive(installation, yes=True)
    assert {"done": 20} == states(capsys, installation)


def plant_refused(installation: Installation, event: Mapping[str, Any], *, offset: int, age_ms: int) -> None:
    """A dead letter of an event whose outputs the broker refused, as `run` writes it."""
    value, key = installation.encode(event)
    headers = headers_with(
        installation,
        reason=b"OUTPUT_REFUSED",
        offset=b"%d" % offset,
        timestamp=b"%d" % (int(time.time() * 1000) - age_ms),
        event_id=event["eventId"].encode(),
        event=b"LOAN_REPAYMENT",
        set_version=b"any",
    )
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    producer.produce(installation.dead_letters, value, key, 0, headers=[*headers])
    assert producer.flush(30) == 0


def test_two_records_of_an_event_are_not_left_for_each_other(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """The broker refused the outputs of both: the one that is redriven first is left for the other's sake, and that one
    makes the messages then."""
    correct_template(installation)
    plant_refused(installation, repayment(1), offset=0, age_ms=7_200_000)
    plant_refused(installation, repayment(1), offset=2, age_ms=0)

    _, first = redrive_as_json(capsys, installation, to="1h", yes=True)
    assert ({"ALREADY_CREATED": 1}, 0) == (first["decisions"], first["messages"])
    _, second = redrive_as_json(capsys, installation, yes=True)

    assert ({}, 2) == (second["decisions"], second["messages"])
    assert {(2, "paid"): 1, (2, "note"): 1} == created(installation)
    assert {"done": 2} == states(capsys, installation)


def test_the_canary_stops_a_redrive_that_fails(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """After the first 20, most of which fail again; --stop-at allows more. A dry run says that it did not try all, and
    does not end as one that has nothing to do."""
    installation.produce_events([repayment(number) for number in range(30)])
    installation.run()

    assert 1 == run_redrive(installation)
    screen = capsys.readouterr().out
    assert "  stopped: 20 of the last 20 failed again; the others were not tried, --stop-at 1 tries all\n" in screen
    assert "\nnothing of what was tried would pass now; " in screen

    code, written = redrive_as_json(capsys, installation, yes=True)

    assert (1, 20, "20 of the last 20 failed again") == (code, written["failing"], written["stopReason"])
    assert 50 == len(installation.read(installation.dead_letters))
    code, written = redrive_as_json(capsys, installation, yes=True, stop_at=1.0)
    assert (1, 30, None) == (code, written["failing"], written["stopReason"])


def test_a_batch_takes_as_many_bytes_as_one_of_run(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outputs of a hundred large events are not one transaction; the canary is of 20 records all the same."""
    installation.produce_events([repayment(number) for number in range(30)])
    installation.run()

    code, written = redrive_as_json(capsys, with_settings(installation, max_batch_bytes=1), yes=True)

    assert (1, "20 of the last 20 failed again") == (code, written["stopReason"])
    progress = [record for record in installation.read_operations() if record["kind"] == "PROGRESS"]
    assert set(range(21)) == {record["next"] for record in progress}


def test_only_what_is_selected_is_redriven(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """By template: one of two that failed. Whether it fails again or passes, the other stays open. One that there is
    not is refused, with the nearest."""
    assert installation.settings.templates_dir is not None
    other = STRICT.replace('id = "note"', 'id = "other"').replace('name = "Note"', 'name = "Other"')
    write_templates(installation.settings.templates_dir, note=STRICT, other=other, paid=PLAIN)
    installation.produce_events([repayment(1)])
    installation.run()

    with pytest.raises(UsageError, match=r"--template 'nota' is not known\nhint: did you mean note\?"):
        run_redrive(installation, template=["nota"])
    assert 1 == run_redrive(installation, template=["note"], yes=True)
    assert "  1 fails in template note: MISSING_VALUE\n" in capsys.readouterr().out
    letter = installation.read(installation.dead_letters)[-1]
    failed = json.loads(own_header(letter, "dl.failed"))
    assert ["note"] == [each["templateId"] for each in failed]
    assert {"open": 1} == states(capsys, installation)
    write_templates(installation.settings.templates_dir, note=DONE_IT, other=other, paid=PLAIN)
    assert 0 == run_redrive(installation, template=["note"], yes=True)

    assert {(0, "paid"): 1, (0, "note"): 1} == created(installation)
    assert {"open": 1} == states(capsys, installation)
    write_templates(installation.settings.templates_dir, note=DONE_IT, paid=PLAIN)
    code, found = redrive_as_json(capsys, installation)
    assert (0, {"TEMPLATE_GONE": 1}) == (code, found["left"])
    assert 0 == run_redrive(installation, template=["other"])
    with pytest.raises(UsageError, match=r"--template 'othre' is not known(.|\n)*other"):
        run_redrive(installation, template=["othre"], yes=True)


def test_a_letter_that_a_person_has_corrected(
    installation: Installation, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The exported line with a valid key makes the messages; the operation keeps the names of what was changed, and a
    line that became another event is refused."""
    correct_template(installation)
    installation.produce_values([invalid_event(installation, 1), b"no event"])
    installation.run()
    file, key = tmp_path / "letters.jsonl", repayment(1)["client"]["encodedKey"]
    run_command(dead_letters.command, installation.settings, reason=["INVALID_EVENT"], export=str(file), unmasked=True)
    exported = json.loads(file.read_text())
    other = {**exported, "value": {**exported["value"], "eventId": repayment(2)["eventId"]}}
    with pytest.raises(UsageError, match=r"letters.jsonl:1: value: INVALID_EVENT: client.enc(.|\n)*stays open$"):
        run_redrive(installation, edited=file)
    exported["value"]["client"]["encodedKey"] = key
    other["value"]["client"] = exported["value"]["client"]
    file.write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"line 1, .*: it has another event id"):
        run_redrive(installation, edited=file, yes=True)
    file.write_text(json.dumps(exported) + "\n")

    code, found = redrive_as_json(capsys, installation, edited=file)
    assert (1, 1, 0) == (code, found["passing"], found["failing"])
    assert 0 == run_redrive(installation, edited=file, yes=True)

    assert {(0, "note"): 1, (0, "paid"): 1} == created(installation)
    (begun, *_) = [record for record in installation.read_operations() if record["kind"] == "PROGRESS"]
    assert ["client.encodedKey"] == begun["request"]["edited"]["fields"]
    assert key not in json.dumps(begun)
    assert {"open": 1, "done": 1} == states(capsys, installation)
    code, again = redrive_as_json(capsys, installation, edited=file, yes=True)
    assert (0, 0) == (code, again["messages"])
