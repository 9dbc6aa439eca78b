"""What the broker does not allow ends the process at once, with a hint: no retry helps, so there is none."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from processor.cli import dead_letters, explain, positions
from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName
from processor.engine import start_offsets as start
from processor.engine.loop import run
from processor.errors import AuthorizationError
from processor.kafka.event_producer import batch_limit_bytes
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics, inspect_topics
from processor.replay.operation import OperationOptions, run_operation
from processor.replay.replay import ReplayCommand
from processor.replay.request import ReplayRequest
from tests.cli.commands import run_command
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(60, func_only=True),
]  # the fault that is looked for here is to wait for ever

GUARDED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "super.users": "User:somebody-else",  # all clients here are ANONYMOUS, and a super user is denied nothing
}


@pytest.fixture(scope="module")
def servers_with_acls() -> Iterator[str]:
    """A broker that looks at every request; all is allowed until a test denies something."""
    with local_kafka(extra=GUARDED) as kafka:
        yield kafka.bootstrap_servers


def deny(installation: Installation, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """From now on this is denied to all. All else stays allowed, though there is an ACL now."""
    rules = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", what, permission)
        for what, permission in ((AclOperation.ALL, AclPermissionType.ALLOW), (operation, AclPermissionType.DENY))
    ]
    admin = installation.admin()
    for created in admin.create_acls(rules).values():
        created.result(10)


def outputs(installation: Installation) -> list[str]:
    """The output topics that a LOAN_REPAYMENT writes to."""
    co_partitioned = [
        installation.settings.topic(FixedOutput.MESSAGES),
        installation.settings.topic(FixedOutput.STATUS),
    ]
    return [*co_partitioned, installation.settings.stream_topic(EventName("LOAN_REPAYMENT"))]


def with_group(installation: Installation, group: str) -> Installation:
    """The same topics, another group."""
    return Installation(
        installation.settings.model_copy(update={"group": group}), installation.schemas, installation.templates
    )


WRITE, READ, DESCRIBE = AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE
TOPIC, GROUP, TRANSACTIONAL_ID = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID

Named = Callable[[Installation], str]
CASES: dict[str, tuple[ResourceType, Named, AclOperation, str]] = {  # the last: what its error or its hint names
    "an output": (TOPIC, lambda installation: outputs(installation)[1], WRITE, "WRITE on the output topics"),
    "a stream": (TOPIC, lambda installation: outputs(installation)[2], WRITE, "WRITE on the output topics"),
    "the group": (GROUP, lambda installation: installation.settings.group_id, READ, "on the group"),
    "the group's positions": (GROUP, lambda installation: installation.settings.group_id, DESCRIBE, "on the group"),
    "the transactional id": (
        TRANSACTIONAL_ID,
        lambda installation: installation.transactional_id,
        WRITE,
        "WRITE and DESCRIBE on transactional id ",
    ),
    "the events": (TOPIC, lambda installation: installation.events, READ, "the events"),
    "a topic's configuration": (
        TOPIC,
        lambda installation: outputs(installation)[0],
        AclOperation.DESCRIBE_CONFIGS,
        "DESCRIBE_CONFIGS",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rights_denied_at_the_start(servers_with_acls: str, topic_prefix: str, case: str) -> None:
    """Each right that is missing ends `run` with 3 and a hint that names it; nothing is published or skipped."""
    kind, name, operation, named = CASES[case]
    installation = create_installation(servers_with_acls, topic_prefix)
    installation.produce_events([repayment()])
    deny(installation, kind, name(installation), operation)

    with pytest.raises(AuthorizationError, match=f"(?s)AUTHORIZATION_FAILED.*\nhint: .*{re.escape(named)}") as ended:
        run(installation.settings)
    assert 3 == ended.value.exit_code
    assert [] == installation.read(installation.settings.topic(FixedOutput.MESSAGES))


POSITIONS_CASES: dict[str, tuple[ResourceType, Named, AclOperation, str]] = {
    "the group": (GROUP, lambda installation: installation.group, READ, "grant READ on group "),
    "the group's members": (GROUP, lambda installation: installation.group, DESCRIBE, "on the group"),
    "the transactional id": (
        TRANSACTIONAL_ID,
        lambda installation: f"{installation.group}:past-0",
        WRITE,
        "WRITE and DESCRIBE on transactional id ",
    ),
    "the operations": (TOPIC, lambda installation: installation.operations, WRITE, "WRITE on the output topics"),
    "the operations' records": (TOPIC, lambda installation: installation.operations, READ, "grant READ and DESCRIBE"),
    "an output": (TOPIC, lambda installation: installation.status, READ, "grant READ on "),
}


@pytest.mark.parametrize("case", POSITIONS_CASES)
def test_rights_that_setting_positions_needs(
    servers_with_acls: str, topic_prefix: str, tmp_path: Path, case: str
) -> None:
    """Each that is missing ends `positions` with 3 and a hint that names it, and the position is as it was."""
    kind, name, operation, named = POSITIONS_CASES[case]
    installation = create_installation(servers_with_acls, topic_prefix)
    installation.produce_events([repayment()])
    installation.run()
    installation.produce_events([repayment(1)])
    deny(installation, kind, name(installation), operation)

    with pytest.raises(AuthorizationError, match=f"(?s)AUTHORIZATION_FAILED.*\nhint: .*{re.escape(named)}") as ended:
        run_command(
            positions.command,
            installation.settings,
            to="end",
            save=tmp_path / "old",
            yes=True,
            by="ada",
            because="a test",
        )
    assert 3 == ended.value.exit_code
    admin = installation.admin()
    for removed in admin.delete_acls([AclBindingFilter(*_ANY_ACL)]).values():
        removed.result(10)
    assert [1] == installation.committed()


UNMASKED: dict[str, tuple[Callable[..., int], dict[str, Any]]] = {
    "explain": (explain.command, {"at": "0:0"}),
    "a dead letter": (dead_letters.command, {"show": "0:1"}),
    "dead letters": (dead_letters.command, {"as_list": True}),
    "an export": (dead_letters.command, {"export": "-"}),
}


@pytest.mark.parametrize("case", UNMASKED)
def test_what_cannot_be_recorded_is_not_shown(
    servers_with_acls: str, topic_prefix: str, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """Who may not write to operations is shown customers' data by no command: 3, and an empty screen. Masked screens
    need no such right."""
    command, options = UNMASKED[case]
    installation = create_installation(servers_with_acls, topic_prefix, max_rejected_ratio=1)
    installation.produce_events([repayment()])
    installation.produce_values([b"broken"])
    installation.run()
    deny(installation, TOPIC, installation.operations, WRITE)
    capsys.readouterr()

    with pytest.raises(AuthorizationError, match=r"TOPIC_AUTHORIZATION_FAILED.*\nhint: grant WRITE on ") as ended:
        run_command(command, installation.settings, unmasked=True, **options)
    assert (3, "") == (ended.value.exit_code, capsys.readouterr().out)
    if case != "an export":
        run_command(command, installation.settings, **options)
        assert "" != capsys.readouterr().out


_ANY_ACL: tuple[Any, ...] = (
    ResourceType.ANY,
    None,
    ResourcePatternType.ANY,
    None,
    None,
    AclOperation.ANY,
    AclPermissionType.ANY,
)


def test_topics_that_may_not_be_seen(servers_with_acls: str, topic_prefix: str) -> None:
    """A broker leaves them out of its list as if there were none: no command then says that they are missing."""
    installation = create_installation(servers_with_acls, topic_prefix)
    hidden = outputs(installation)[1]
    deny(installation, TOPIC, hidden, DESCRIBE)
    deny(installation, TOPIC, installation.events, DESCRIBE)
    admin = installation.admin()
    wait_until(lambda: not {hidden, installation.events} & admin.list_topics(timeout=10).topics.keys())
    text = rf"(?s)not allowed to see .*{re.escape(hidden)}.*\nhint: grant DESCRIBE"

    with pytest.raises(AuthorizationError, match=text):
        run(installation.settings)
    with pytest.raises(AuthorizationError, match=text):
        inspect_topics(installation.settings, stream_events=installation.templates.stream_events())
    with pytest.raises(AuthorizationError, match=text):
        create_topics(installation.settings, stream_events=installation.templates.stream_events())
    with pytest.raises(
        AuthorizationError, match=rf"(?s)not allowed to see {re.escape(installation.events)}\nhint: grant DESCRIBE"
    ):
        batch_limit_bytes(installation.settings, installation.events)


def test_start_from_needs_the_right_to_read_positions(
    servers_with_acls: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--start-from` reads the group's positions before the group is joined; not allowed to, it ends as well."""
    monkeypatch.setattr(start, "POSITION_TIMEOUT_S", 1.0)
    installation = create_installation(servers_with_acls, topic_prefix)
    deny(installation, GROUP, installation.settings.group_id, DESCRIBE)

    with pytest.raises(AuthorizationError, match=r"(?s)GROUP_AUTHORIZATION_FAILED.*\nhint: grant DESCRIBE .*the group"):
        run(installation.settings, start_from="beginning")


def test_events_that_may_no_longer_be_read(servers_with_acls: str, topic_prefix: str) -> None:
    """READ of the events withdrawn from a process that has a position and waits for more."""
    installation = create_installation(servers_with_acls, topic_prefix)
    installation.produce_events([repayment()])

    def withdraw(step: str) -> None:
        if step == "committed":
            deny(installation, TOPIC, installation.events, READ)

    with pytest.raises(AuthorizationError, match=r"(?s)AUTHORIZATION_FAILED.*\nhint: grant .*READ on the events topic"):
        run(installation.settings, on_step=withdraw)
    assert 2 == len(installation.read_statuses())


def test_outputs_that_must_not_be_read(servers_with_acls: str, topic_prefix: str) -> None:
    """A group without positions reads in its outputs what was published; not allowed to, it does not try for ever."""
    installation = create_installation(servers_with_acls, topic_prefix)
    installation.produce_events([repayment()])
    installation.run()
    deny(installation, TOPIC, installation.settings.topic(FixedOutput.STATUS), READ)

    with pytest.raises(AuthorizationError, match=r"(?s)AUTHORIZATION_FAILED.*\nhint: grant READ on .*status"):
        run(with_group(installation, f"{topic_prefix}renamed").settings)


def test_positions_that_may_no_longer_be_read(servers_with_acls: str, topic_prefix: str) -> None:
    """After an abort the process goes back to what the group has committed; not allowed to read that, it ends."""
    installation = create_installation(servers_with_acls, topic_prefix)
    installation.produce_events([repayment()])

    def fence(step: str) -> None:
        if step == "begun":
            deny(installation, GROUP, installation.settings.group_id, DESCRIBE)
            other = Producer(
                logged({"bootstrap.servers": servers_with_acls, "transactional.id": installation.transactional_id})
            )
            other.init_transactions(10)

    with pytest.raises(AuthorizationError, match=r"(?s)GROUP_AUTHORIZATION_FAILED.*\nhint: grant .*on the group"):
        run(installation.settings, on_step=fence)


@pytest.mark.parametrize("topic", [FixedOutput.DEAD_LETTERS, FixedOutput.STATUS])
def test_dead_letters_that_must_not_be_read(servers_with_acls: str, topic_prefix: str, topic: FixedOutput) -> None:
    """The command names what to grant, also where it is what became of them that it may not see."""
    installation = create_installation(servers_with_acls, topic_prefix, max_rejected_ratio=1)
    installation.produce_values([b"no frame"])
    installation.produce_events([repayment()])
    installation.run()
    deny(installation, TOPIC, installation.settings.topic(topic), READ)

    with pytest.raises(AuthorizationError, match=r"(?s)AUTHORIZATION_FAILED.*\nhint: grant (DESCRIBE and )?READ on"):
        run_command(dead_letters.command, installation.settings)


REPLAY_CASES: dict[str, tuple[ResourceType, Named, AclOperation, str]] = {
    "operations": (TOPIC, lambda installation: installation.operations, READ, "grant READ and DESCRIBE on "),
    "the statuses": (TOPIC, lambda installation: installation.status, READ, "grant READ on "),
    "the events": (TOPIC, lambda installation: installation.events, READ, "the events"),
    "the group's positions": (GROUP, lambda installation: installation.settings.group_id, DESCRIBE, "on the group"),
    "the transactional id": (
        TRANSACTIONAL_ID,
        lambda installation: f"{installation.group}:past-0",
        WRITE,
        "WRITE and DESCRIBE on transactional id ",
    ),
    "an output": (TOPIC, lambda installation: installation.messages, WRITE, "WRITE on the output topics"),
}


@pytest.mark.parametrize("case", REPLAY_CASES)
def test_rights_denied_to_a_replay(servers_with_acls: str, topic_prefix: str, tmp_path: Path, case: str) -> None:
    """Each right that is missing ends `replay` with 3 and a hint that names it; nothing is published."""
    kind, name, operation, named = REPLAY_CASES[case]
    installation = create_installation(servers_with_acls, topic_prefix, state_dir=tmp_path)
    installation.produce_events([repayment(0)])
    installation.run()
    installation.produce_events([repayment(1)])
    installation.set_position(2)
    before = len(installation.read(installation.messages))
    deny(installation, kind, name(installation), operation)

    with pytest.raises(AuthorizationError, match=f"(?s)AUTHORIZATION_FAILED.*\nhint: .*{re.escape(named)}") as ended:
        run_operation(installation.settings, ReplayCommand(ReplayRequest()), OperationOptions(yes=True, by="ada"))
    assert 3 == ended.value.exit_code
    assert before == len(installation.read(installation.messages))


def test_reading_outside_of_the_group_has_a_group_of_its_own(servers_with_acls: str, topic_prefix: str) -> None:
    """Denied, the hint names it: the group's name with -reader behind it."""
    installation = create_installation(servers_with_acls, topic_prefix)
    deny(installation, GROUP, f"{installation.settings.group_id}-reader", DESCRIBE)

    with pytest.raises(AuthorizationError, match=r"(?s)GROUP_AUTHORIZATION_FAILED.*\nhint: .* with -reader behind it"):
        run(installation.settings, until_end=True)
