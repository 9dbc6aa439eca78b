"""`processor positions` on a real broker: what a dry run says is what `--yes` does, once the group is stopped."""

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processor.cli import positions, replay
from processor.errors import DependencyError, InputError, OperationUnderWayError, TopicConfigError, UsageError
from processor.kafka import read_range
from processor.kafka.clients import create_admin
from processor.replay import operation_log
from processor.replay import positions as planning
from processor.replay import set_positions as setting
from processor.replay.positions import PositionsRequest, Target, TargetKind, parse_target, plan_positions
from tests.cli.commands import run_command
from tests.engine.test_output_scan import put_outputs
from tests.replay.test_operation_log import progress, put
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.processes import process
from tests.support.waiting import wait_until
from tests.support.wire import JSON_HEADERS

SIGNED: Final[dict[str, Any]] = {"yes": True, "by": "ada", "because": "a damaged batch"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files go that have no other place."""
    monkeypatch.chdir(tmp_path)


def produce(installation: Installation, *numbers: int, partition: int = 0) -> None:
    """Events with these numbers."""
    installation.produce_events([repayment(number) for number in numbers], partition=partition)


@pytest.fixture
def installation(bootstrap_servers: str, topic_prefix: str) -> Installation:
    """Events at offsets 0 to 9 of partition 0; `run` has mapped those up to 5."""
    made = create_installation(bootstrap_servers, topic_prefix)
    produce(made, *range(6))
    made.run()
    produce(made, *range(6, 10))
    return made


def set_to(installation: Installation, to: str | None = None, **options: Any) -> int:
    """The exit code of `processor positions --to TO`."""
    return run_command(positions.command, installation.settings, to=to, **options)


def planned(
    installation: Installation, capsys: pytest.CaptureFixture[str], to: str | None, **options: Any
) -> dict[str, Any]:
    """What `--json` says."""
    capsys.readouterr()
    set_to(installation, to, as_json=True, **options)
    (line,) = capsys.readouterr().out.splitlines()
    said: dict[str, Any] = json.loads(line)
    return said


def source_offsets(installation: Installation, partition: int = 0) -> list[int]:
    """Source offsets of the statuses of one template, in the order in which they were written."""
    statuses = installation.read_statuses(partition)
    return [status["source"]["offset"] for status in statuses if status["templateId"] == statuses[0]["templateId"]]


def kinds(installation: Installation, partition: int = 0) -> list[str]:
    """The kinds of the records on operations about a partition, but for those of `run`."""
    records = installation.read_operations(partition)
    return [
        f"{record['kind']} {record['state']}" if record["kind"] == "PROGRESS" else record["kind"]
        for record in records
        if record["kind"] != "ASSIGNED"
    ]


# ---------------------------------------------------------------------------------------------------------------------
# What it does


@pytest.mark.kafka
def test_forward_and_back(
    bootstrap_servers: str, topic_prefix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Forward by 100: exactly those are skipped. Back with the saved file: they are mapped, and what was published is
    published again under its keys, which has to be asked for."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    produce(installation, *range(50))
    installation.run()
    produce(installation, *range(50, 200))

    capsys.readouterr()
    assert set_to(installation, "150") == 1
    shown = capsys.readouterr().out
    assert re.search(r"^0 +50 +150 +100 skipped +up to 49$", shown, re.MULTILINE), shown
    assert max(map(len, shown.splitlines())) <= 80
    assert [50] == installation.committed()
    assert ([], []) == (kinds(installation), list(tmp_path.iterdir()))

    assert set_to(installation, "150", **SIGNED) == 0
    assert "set 1 of 1 positions: operation positions-" in capsys.readouterr().out
    assert [150] == installation.committed()
    installation.run()
    assert [*range(50), *range(150, 200)] == source_offsets(installation)

    (saved,) = tmp_path.iterdir()
    for options in ({}, SIGNED):
        with pytest.raises(
            InputError, match=r"up to offset 199: going on at 50 would publish them again\nhint: .*--rep"
        ):
            set_to(installation, file=saved, **options)
    assert "\nnothing was changed; `--yes` is refused without `--republish`\n" in capsys.readouterr().out
    assert [200] == installation.committed()
    keys = {status["encodedKey"] for status in installation.read_statuses()}
    assert set_to(installation, file=saved, republish=True, **SIGNED) == 0
    assert [50] == installation.committed()
    installation.run()
    assert [*range(50), *range(150, 200), *range(50, 200)] == source_offsets(installation)
    assert keys < {status["encodedKey"] for status in installation.read_statuses()}
    assert 2 * len(keys) == len({status["encodedKey"] for status in installation.read_statuses()})


@pytest.mark.kafka
def test_what_is_recorded(installation: Installation, tmp_path: Path) -> None:
    """POSITIONS with who and why, before the commit; beside it that somebody is at it, and after the commit that it is
    over. The old positions are in a file of the operation's name that only its owner reads."""
    assert set_to(installation, "8", **SIGNED) == 0

    assigned, moved, begun, ended = installation.read_operations()
    assert "ASSIGNED" == assigned["kind"]
    operation = moved["operation"]
    assert re.fullmatch(r"positions-\d{8}T\d{6}Z-[0-9a-f]{8}", operation)
    assert {
        "kind": "POSITIONS",
        "operation": operation,
        "partition": 0,
        "from": 6,
        "to": 8,
        "by": "ada",
        "because": "a damaged batch",
        "at": moved["at"],
    } == moved
    assert [operation] * 2 == [begun["operation"], ended["operation"]]
    assert [("UNDER_WAY", 6, 8, 6), ("DONE", 6, 8, 8)] == [
        (record["state"], record["first"], record["end"], record["next"]) for record in (begun, ended)
    ]
    (saved,) = tmp_path.iterdir()
    assert f"{operation}.json" == saved.name
    assert 0o600 == saved.stat().st_mode & 0o777
    assert [{"partition": 0, "offset": 6}] == json.loads(saved.read_text())["positions"]


@pytest.mark.kafka
def test_several_partitions_at_once(
    bootstrap_servers: str, topic_prefix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All of them without --partition, those named with it, one that stays left alone; the file has all that were
    selected, and takes them back."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=3)
    for partition in range(3):
        produce(installation, *range(4), partition=partition)
    installation.run()
    for partition in (0, 2):
        produce(installation, *range(4, 6), partition=partition)

    said = planned(installation, capsys, "end")
    assert [(0, 4, 6), (1, 4, 4), (2, 4, 6)] == [(p["partition"], p["from"], p["to"]) for p in said["partitions"]]
    assert set_to(installation, "end", partition=[2, 1, 2], save=tmp_path / "old", **SIGNED) == 0
    assert [4, 4, 6] == installation.committed(range(3))
    assert [0, 0, 3] == [len(kinds(installation, number)) for number in range(3)]
    saved = json.loads((tmp_path / "old").read_text())["positions"]
    assert [{"partition": 1, "offset": 4}, {"partition": 2, "offset": 4}] == saved
    assert set_to(installation, file=tmp_path / "old", **SIGNED) == 0
    assert [4, 4, 4] == installation.committed(range(3))


@pytest.mark.kafka
def test_nothing_to_set(installation: Installation, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 0 with and without --yes, and nothing is written; --save keeps the positions all the same."""
    assert set_to(installation, "6") == 0
    assert "nothing to set" in capsys.readouterr().out
    assert set_to(installation, "6", **SIGNED) == 0
    assert ([], []) == (kinds(installation), list(tmp_path.iterdir()))
    assert set_to(installation, "6", save=tmp_path / "now") == 0
    assert [{"partition": 0, "offset": 6}] == json.loads((tmp_path / "now").read_text())["positions"]


@pytest.mark.kafka
def test_a_dry_run_for_machines(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with all that the screen has."""
    said = planned(installation, capsys, "9")

    assert {
        "group": installation.group,
        "topic": installation.events,
        "done": False,
        "operation": None,
        "saved": None,
        "members": [],
        "underWay": [],
        "partitions": [
            {
                "partition": 0,
                "from": 6,
                "to": 9,
                "firstOffset": 0,
                "endOffset": 10,
                "skipped": 3,
                "repeated": 0,
                "published": 5,
                "republished": 0,
            }
        ],
    } == said
    done = planned(installation, capsys, "9", **SIGNED)
    assert done["done"] is True
    assert f"{done['operation']}.json" == done["saved"]


@pytest.mark.kafka
def test_times_and_edges(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """Beginning and end are those of now; a time is that of the records; of a position that is gone the rest counts."""
    between_ms = int(time.time() * 1000) + 1_000
    time.sleep(1.1)
    produce(installation, *range(10, 13))
    text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(between_ms / 1000))}.{between_ms % 1000:03}Z"

    def to(where: str) -> tuple[int, int, int]:
        (change,) = planned(installation, capsys, where, republish=True, because="a test")["partitions"]
        return change["to"], change["skipped"], change["repeated"]

    assert [(0, 0, 6), (13, 7, 0), (10, 4, 0), (13, 7, 0), (0, 0, 6)] == [
        to(where) for where in ("beginning", "end", text, "0s", "2h")
    ]
    admin = create_admin(installation.settings)
    admin.delete_records([TopicPartition(installation.events, 0, 8)])[TopicPartition(installation.events, 0)].result(10)
    assert [(8, 0, 0), (13, 5, 0)] == [to(where) for where in ("beginning", "end")]
    capsys.readouterr()
    set_to(installation, "10")
    assert "2 are gone, 2 skipped" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------------
# What it refuses: the group


@pytest.mark.kafka
@pytest.mark.process
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_an_active_group_is_refused(
    installation: Installation, capsys: pytest.CaptureFixture[str], tmp_path: Path, protocol: str
) -> None:
    """A dry run names its members and goes on; --yes ends with 4. Once it has stopped it works, and `run` goes on at
    the new position."""
    installation = installation.with_env({"PROCESSOR_KAFKA__CONSUMER": json.dumps({"group.protocol": protocol})})
    with process(installation):
        wait_until(lambda: installation.committed() == [10])
        produce(installation, 10)
        wait_until(lambda: installation.committed() == [11])
        said = planned(installation, capsys, "9", republish=True, because="a test")
        assert [{"client": "processor", "host": "127.0.0.1"}] == said["members"]
        with pytest.raises(
            OperationUnderWayError, match=r"is active.*: processor on 127\.0\.0\.1\nhint: stop"
        ) as ended:
            set_to(installation, "9", republish=True, **SIGNED)
        assert ended.value.exit_code == 4
        assert ([], []) == (kinds(installation), list(tmp_path.iterdir()))

    assert [] == planned(installation, capsys, "9", republish=True, because="a test")["members"]
    assert set_to(installation, "9", republish=True, **SIGNED) == 0
    before = len(source_offsets(installation))
    with process(installation, "--until-end") as (running, _):
        assert 0 == running.wait(30)
    assert [9, 10] == source_offsets(installation)[before:]


@pytest.mark.kafka
@pytest.mark.process
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_becomes_active_meanwhile_is_refused_by_the_broker(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Nobody was seen in the group; the positions stay its members', the records say who tried, and nobody has to wait
    for it."""
    monkeypatch.setattr(planning, "_members", lambda _admin, _settings: ())
    installation = installation.with_env({"PROCESSOR_KAFKA__CONSUMER": json.dumps({"group.protocol": protocol})})
    with process(installation):
        wait_until(lambda: installation.committed() == [10])
        with pytest.raises(OperationUnderWayError, match=r"became active meanwhile.*\nhint: stop every"):
            set_to(installation, "8", republish=True, **SIGNED)
        assert [10] == installation.committed()
    assert ["POSITIONS", "PROGRESS UNDER_WAY", "PROGRESS STOPPED"] == kinds(installation)


@pytest.mark.kafka
def test_a_group_without_positions(bootstrap_servers: str, topic_prefix: str) -> None:
    """There is nothing to set: `run --start-from` decides. A partition that is new to the group is named."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    with pytest.raises(InputError, match=r"has no position in .*\nhint: `processor run --start-from` decides"):
        set_to(installation, "end")
    installation.run()
    for topic in (*installation.outputs[:5], installation.operations, installation.events):
        installation.grow_topic(topic, 4)

    with pytest.raises(InputError, match=r"has no position in partitions 2, 3 of .*\nhint: .*--partition") as refused:
        set_to(installation, "end")
    assert refused.value.exit_code == 5
    assert set_to(installation, "end", partition=[0, 1]) == 0


# ---------------------------------------------------------------------------------------------------------------------
# What it refuses: what was asked for


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"to": "11"}, InputError, r"cannot go on at offset 11: it holds offsets 0 to 9, and the next record gets 10"),
        ({"to": "8", "partition": [1]}, UsageError, r"has no partition 1\nhint: it has 1, from 0 on"),
        ({"to": "3"}, InputError, r"up to offset 5: going on at 3 would publish them again"),
        ({}, UsageError, r"needs one of --to and --file"),
        ({"to": "8", "yes": True}, UsageError, r"--yes needs --because"),
        ({"to": "8", "republish": True}, UsageError, r"--republish needs --because"),
        ({"to": "8", "because": " "}, UsageError, r"--because is empty"),
        ({"to": "8", "because": "x" * 1_001}, UsageError, r"--because has 1001 characters; 1000 are kept"),
        ({"to": "8", "because": "\udc80"}, UsageError, r"--because is not UTF-8"),
        ({"to": "8", "by": "", "yes": True, "because": "x"}, UsageError, r"--by is empty"),
        ({"to": "8", "save": Path("taken")}, UsageError, r"taken exists, and is not overwritten"),
        ({"to": "8", "save": Path("taken"), **SIGNED}, UsageError, r"taken exists, and is not overwritten"),
    ],
)
def test_requests_that_cannot_be_done(
    installation: Installation, tmp_path: Path, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Each is an error that names the value, and nothing is changed."""
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(error, match=text):
        set_to(installation, options.pop("to", None), **options)

    assert ([6], [], "mine") == (installation.committed(), kinds(installation), (tmp_path / "taken").read_text())


@pytest.mark.kafka
def test_files_that_do_not_fit(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Of another group, of other events, without a partition that is named, with a position that is gone by now, or
    with one partition more than there are; and an offset alone is no target for two partitions."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    produce(installation, *range(4))
    installation.run()

    def refused(positions: dict[int, int], *, partition: list[int] | None = None, **changed: str) -> str:
        fields = {"group": installation.group, "topic": installation.events, "savedAt": "now", **changed}
        entries = [{"partition": number, "offset": offset} for number, offset in positions.items()]
        (tmp_path / "old").write_text(json.dumps({**fields, "positions": entries}))
        with pytest.raises((UsageError, InputError)) as ended:
            set_to(installation, file=tmp_path / "old", partition=partition, **SIGNED)
        return str(ended.value)

    assert "the file has positions of group 'other'" in refused({0: 4}, group="other")
    assert "in other.events, and this is" in refused({0: 4}, topic="other.events")
    assert "the file has no position of partition 1" in refused({0: 4}, partition=[1])
    assert "has no partition 2" in refused({0: 4, 2: 0})
    outside = refused({0: 5, 1: 1})
    assert f"{installation.events}[0] cannot go on at offset 5: it holds offsets 0 to 3" in outside
    assert f"{installation.events}[1] cannot go on at offset 1: it is empty, and the next record gets 0" in outside
    with pytest.raises(UsageError, match=r"--to 0 is an offset of one partition, and 2 are selected"):
        set_to(installation, "0")
    assert [4, 0] == installation.committed([0, 1])


@pytest.mark.kafka
def test_topics_that_do_not_fit(bootstrap_servers: str, topic_prefix: str) -> None:
    """An output without the partition, then a topic that is missing: what is wrong with which, and what creates it."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.run()
    installation.grow_topic(installation.events, 2)
    with pytest.raises(TopicConfigError, match=r"has no partition 1\nhint: `processor topics` names"):
        set_to(installation, "end", partition=[1])
    installation.delete_topic(installation.operations)
    with pytest.raises(TopicConfigError, match=rf"topics are missing: {re.escape(installation.operations)}"):
        set_to(installation, "end")


@pytest.mark.kafka
def test_outputs_of_a_topic_that_was_created_again(installation: Installation) -> None:
    """They hold offsets that the events do not have yet: said so, and refused."""
    installation.delete_topic(installation.events)
    installation.create_topic(installation.events, 1)
    wait_until(lambda: installation.committed() == [-1001])
    produce(installation, 1, 2, 3)
    installation.set_position(3)

    with pytest.raises(InputError, match=r"up to offset 5: going on at 1 .*; the topic was created again"):
        set_to(installation, "1")


@pytest.mark.kafka
def test_an_output_that_cannot_be_read(installation: Installation) -> None:
    """Whether its event would be published again is unknown: 5, with its place."""
    put_outputs(installation, installation.status, [b"broken"], JSON_HEADERS)

    with pytest.raises(InputError, match=rf"{re.escape(installation.status)}\[0\]@\d+ cannot be read.*\nhint: a newer"):
        set_to(installation, "8")


# ---------------------------------------------------------------------------------------------------------------------
# Others at the same time, and a kill


def other_operation(installation: Installation) -> Producer:
    """Another operation on the past, in the middle of a transaction."""
    producer = Producer(
        logged({"bootstrap.servers": installation.servers, "transactional.id": f"{installation.group}:past-0"})
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    put(installation, progress(installation, request={"command": "replay"}), producer=producer)
    return producer


@pytest.mark.kafka
def test_another_operation_keeps_it_away(
    installation: Installation, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A dry run says who it is; --yes ends with 4 and has touched nothing; --take-over ends the other and goes on."""
    other = other_operation(installation)
    said = planned(installation, capsys, "8")
    assert [("replay-20261129T075501Z-3f2a91c0", "ops-ada")] == [(o["operation"], o["by"]) for o in said["underWay"]]
    set_to(installation, "8")
    assert "operation replay-20261129T075501Z-3f2a91c0 is under way: by ops-ada" in capsys.readouterr().out
    with pytest.raises(OperationUnderWayError, match=r"replay-.* is under way: by ops-ada on host host-a") as refused:
        set_to(installation, "8", **SIGNED)
    assert refused.value.exit_code == 4
    assert ([6], []) == (installation.committed(), list(tmp_path.iterdir()))

    assert set_to(installation, "8", take_over=True, **SIGNED) == 0
    assert [8] == installation.committed()
    with pytest.raises(KafkaException) as fenced:
        other.commit_transaction(10)
    assert fenced.value.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


def before(step: str, monkeypatch: pytest.MonkeyPatch, event: Callable[[], object]) -> None:
    """Have `event` happen just before a step of setting positions."""
    function = getattr(setting, step)

    def hooked(*arguments: Any, **named: Any) -> Any:
        event()
        return function(*arguments, **named)

    monkeypatch.setattr(setting, step, hooked)


@pytest.mark.kafka
def test_an_operation_that_takes_over_ends_it(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its record is committed: 4, and the positions are as they were."""
    taken: list[Producer] = []
    before("save_positions", monkeypatch, lambda: taken.append(other_operation(installation)))

    with pytest.raises(OperationUnderWayError, match=r"has taken over partition 0; the positions are as they were"):
        set_to(installation, "8", **SIGNED)
    assert [6] == installation.committed()
    taken[0].abort_transaction(10)
    assert [] == kinds(installation)


@pytest.mark.kafka
@pytest.mark.parametrize("step", ["save_positions", "_record", "commit_positions", "_record_end"])
def test_the_same_command_after_a_kill(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    """At each step, also with a file of one's own: nothing is half-done, and what was recorded keeps others away for a
    minute but not the same command."""

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        before(step, patch, kill)
        set_to(installation, "8", save=tmp_path / "old", **SIGNED)
    recorded = step in ("commit_positions", "_record_end")
    assert [8 if step == "_record_end" else 6] == installation.committed()
    assert (["POSITIONS", "PROGRESS UNDER_WAY"] if recorded else []) == kinds(installation)
    if recorded:
        with pytest.raises(OperationUnderWayError, match=r"operation positions-.* is under way: by ada"):
            set_to(installation, "7", **SIGNED)

    assert set_to(installation, "8", save=tmp_path / "old", **SIGNED) == 0
    assert [8] == installation.committed()
    assert [{"partition": 0, "offset": 6}] == json.loads((tmp_path / "old").read_text())["positions"]


@pytest.mark.kafka
def test_what_has_changed_since_the_plan_is_noticed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A position that `run` has moved, or outputs that hold an event from the new position on: 5, nothing changed."""
    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"was 6 when this began, and is 7"):
        before("_take", patch, lambda: installation.set_position(7))
        set_to(installation, "9", **SIGNED)
    installation.set_position(6)

    def publish_again() -> None:
        first = installation.read_statuses()[0]
        first["source"]["offset"] = 8
        put_outputs(installation, installation.status, [json.dumps(first).encode()], JSON_HEADERS)

    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"up to offset 8: going on at 8 would"):
        before("_take", patch, publish_again)
        set_to(installation, "8", **SIGNED)
    assert ([6], [], []) == (installation.committed(), kinds(installation), list(tmp_path.iterdir()))


@pytest.mark.kafka
def test_records_that_take_too_long_end_it(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others take an operation for dead after a minute, so nothing is committed long after the records."""
    monkeypatch.setattr(setting, "MAX_COMMIT_DELAY_S", 0.0)

    with pytest.raises(DependencyError, match=r"took longer than 0 s, and the positions are as they were"):
        set_to(installation, "8", **SIGNED)
    assert [6] == installation.committed()


@pytest.mark.kafka
def test_a_commit_of_which_a_part_is_refused(installation: Installation) -> None:
    """Says which positions are set; here one of a partition that is gone by then."""
    request = PositionsRequest(partitions=None, target=Target("8", TargetKind.OFFSET, 8), republish=False)
    plan = plan_positions(installation.settings, installation.schemas, request)
    (change,) = plan.changes
    gone = replace(plan, changes=(change, replace(change, partition=7)))

    with pytest.raises(DependencyError, match=r"not all committed: .*UNKNOWN_TOPIC_OR_PART.*: 0: \d+\n"):
        setting.commit_positions(installation.settings, gone)


@pytest.mark.kafka
def test_a_replay_between_record_and_commit(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would take the old position for the end of its range, so it ends with 4, even if it takes over. A minute later
    it publishes what was skipped, and `run` the rest: nothing twice."""
    installation = replace(installation, settings=installation.settings.model_copy(update={"state_dir": tmp_path}))

    def run_replay(**options: Any) -> int:
        return run_command(replay.command, installation.settings, **SIGNED, **options)

    def replay_meanwhile() -> None:
        with pytest.raises(OperationUnderWayError, match=r"positions-.* is about to set the group's position"):
            run_replay(take_over=True)

    with monkeypatch.context() as patch:
        before("commit_positions", patch, replay_meanwhile)
        assert set_to(installation, "8", save=tmp_path / "old", **SIGNED) == 0
    assert [8] == installation.committed()
    monkeypatch.setattr(operation_log, "UNDER_WAY_MS", 0)
    assert run_replay() == 0
    assert list(range(8)) == source_offsets(installation)
    installation.run()
    assert list(range(10)) == source_offsets(installation)


class StubbedConsumer:
    """In the place of the client that commits: `commit` gives what is given, or does not come back."""

    def __init__(self, commit: Callable[[], list[Any]]) -> None:
        self._commit = commit

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[Any]:
        assert (1, False) == (len(offsets), asynchronous)
        return self._commit()

    def close(self) -> None:
        """Nothing to do."""


class RefusedPartition(NamedTuple):
    """As the client gives it back."""

    partition: int
    error: KafkaError


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("commit", "cause"),
    [
        (
            lambda: [RefusedPartition(0, KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE))],
            "partition 0: OFFSET_METADATA_TOO_LARGE",
        ),
        (lambda: time.sleep(2), "the broker did not respond"),
    ],
    ids=["an error of a partition", "no response"],
)
def test_a_commit_that_fails_says_where_the_positions_are(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, commit: Callable[[], list[Any]], cause: str
) -> None:
    """Exit code 3, whether the broker refuses a partition or does not respond, and the same command sets them."""
    with monkeypatch.context() as patch:
        patch.setattr(setting, "COMMIT_TIMEOUT_S", 0.2)
        patch.setattr(setting, "standalone_consumer", lambda _settings, **_named: StubbedConsumer(commit))
        with pytest.raises(
            DependencyError, match=rf"committed: {cause}; .* by partition: 0: 6\nhint: the same"
        ) as ended:
            set_to(installation, "8", **SIGNED)
    assert ended.value.exit_code == 3
    assert set_to(installation, "8", **SIGNED) == 0
    assert [8] == installation.committed()


@pytest.mark.kafka
@pytest.mark.process
def test_two_at_once(installation: Installation, tmp_path: Path) -> None:
    """Each is done or ends with 4 or 5, and one at least is done; the position is that of the last that was done."""
    ended: dict[str, Any] = {}

    def call(to: str) -> None:
        options = ("--yes", "--because", "a test", "--save", str(tmp_path / to))
        ended[to] = installation.command("positions", "--to", to, *options)

    threads = [threading.Thread(target=call, args=(to,)) for to in ("7", "8")]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
    codes = {to: result.returncode for to, result in ended.items()}

    assert set(codes.values()) <= {0, 4, 5} and 0 in codes.values(), {to: r.stderr for to, r in ended.items()}
    done = [to for to, code in codes.items() if code == 0]
    assert str(installation.committed()[0]) in done


@pytest.mark.kafka
def test_an_open_transaction_in_the_outputs_is_waited_for(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds may be published yet: 3, with the place, when it does not end."""
    monkeypatch.setattr(read_range, "OPEN_TRANSACTION_TIMEOUT_S", 1.0)
    producer = Producer(
        logged({"bootstrap.servers": installation.servers, "transactional.id": f"{installation.prefix}x"})
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(installation.status, b"{}", b"key", 0)
    assert producer.flush(10) == 0

    with pytest.raises(DependencyError, match=r"a transaction is open there"):
        set_to(installation, "8")
    producer.abort_transaction(10)


# ---------------------------------------------------------------------------------------------------------------------
# What is typed


NOW_MS: Final = 1_796_025_301_000


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("0", Target("0", TargetKind.OFFSET, 0)),
        ("9223372036854775807", Target("9223372036854775807", TargetKind.OFFSET, 2**63 - 1)),
        ("beginning", Target("beginning", TargetKind.BEGINNING)),
        ("end", Target("end", TargetKind.END)),
        ("2h", Target("2h", TargetKind.TIME, NOW_MS - 7_200_000)),
        ("2026-11-30T07:55:01Z", Target("2026-11-30T07:55:01Z", TargetKind.TIME, NOW_MS)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    """Offsets, edges, times and ages."""
    assert target == parse_target(text, now_ms=lambda: NOW_MS)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "start", "2 h", "2026-11-30", "2026-11-30T07:55:01", "９"])
def test_other_targets_are_refused(text: str) -> None:
    """With what there is."""
    with pytest.raises(
        UsageError, match=r"--to takes an offset, beginning, end or a time, got: .*\nhint: a time looks"
    ):
        parse_target(text, now_ms=lambda: NOW_MS)
    with pytest.raises(UsageError, match="above every offset"):
        parse_target("9223372036854775808", now_ms=lambda: NOW_MS)
