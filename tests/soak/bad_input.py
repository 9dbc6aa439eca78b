"""Scenarios of bad input: every kind, alone, first, in the middle and last among valid events; refused outputs; and a
broken template."""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from processor.kafka.local.kafka import local_kafka
from tests.soak.checker import Finding, Kind, check_outputs
from tests.soak.expected import TEMPLATES, DeadLettered, Record, Sent, Template, valid_record
from tests.soak.history import StoredRecord, read
from tests.soak.installation import FAST_TIMEOUTS_BROKER, TEMPLATES_DIR, create_topics
from tests.soak.scenarios import Environment, FaultMissedError, ScenarioResult, drain_and_check
from tests.soak.workers import EVENTUALLY_S, keep_log, wait_until_caught_up
from tests.soak.workload import (
    InputProducer,
    bad_records,
    event_json,
    large_records,
    valid_records,
    with_comment,
    with_large_comment,
    with_output_schema,
)
from tests.support.installation import ROOT, Installation
from tests.support.waiting import becomes_true

PLACEMENTS = ("alone", "first", "middle", "last")
BAD_NUMBER = 90_000  # the first transaction number of bad records, above those of valid ones


def kinds(account: int, *, value_kept: bool = False) -> dict[str, Record]:
    """One record of every kind of bad input, of an account of its own."""
    event = event_json(account=account, number=BAD_NUMBER)
    return {
        **bad_records(event),
        **large_records(account=account, number=BAD_NUMBER + 1, value_kept=value_kept),
        "incompatible schema": with_output_schema(event),
        "failing template": valid_record(event_json(account=account, number=BAD_NUMBER + 2, strict=False)),
    }


def run_command(
    installation: Installation, *arguments: str, timeout_s: float = 600
) -> subprocess.CompletedProcess[str]:
    """The console script `processor`, as pip has installed it."""
    return subprocess.run(
        (str(Path(sys.executable).with_name("processor")), *arguments),
        env=installation.env(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def bad_input_at(environment: Environment, placement: str, *, valid_count: int) -> ScenarioResult:
    """Each kind in a partition of its own, placed among `valid_count` valid events; one `run --until-end`."""
    kind_names = sorted(kinds(0))
    installation = environment.installation_without_topics("bad-input", partitions=len(kind_names))
    create_topics(installation)
    producer = InputProducer(installation)
    for partition, name in enumerate(kind_names):
        accounts = range(partition * 10, partition * 10 + 4)
        valid = [
            valid_record(event_json(account=accounts[number % len(accounts)], number=number + 1))
            for number in range(0 if placement == "alone" else valid_count)
        ]
        at = {"alone": 0, "first": 0, "middle": valid_count // 2, "last": valid_count}[placement]
        bad = kinds(partition * 10 + 9)[name]
        producer.send([*valid[:at], bad, *valid[at:]], partition=partition)
    done = run_command(installation, "run", "--until-end")
    keep_log(installation, done.stderr)
    check = check_outputs(installation, producer.committed_records())
    if done.returncode != 0:
        finding = Finding(Kind.EXIT, f"run --until-end ended with {done.returncode}: {done.stderr[-800:]}")
        check = replace(check, findings=(finding, *check.findings))
    return ScenarioResult(check, observations={"reasons": reasons(installation), "kinds": kind_names})


def reasons(installation: Installation) -> set[str]:
    """The `dl.reason` of all dead letters."""
    return {
        dict(letter.headers)["dl.reason"].decode()
        for letter in read(installation.servers, (installation.dead_letters,))
    }


def bad_input_live(environment: Environment) -> ScenarioResult:
    """Each kind between two valid neighbours while a worker runs; `slowest_ms`: from a neighbour's record to its
    status record."""
    installation = environment.installation("live", {})
    producer = InputProducer(installation)
    with environment.worker(installation) as worker:
        producer.send(valid_records(1, range(1, 200)))  # warms the worker up
        if not wait_until_caught_up(installation, EVENTUALLY_S):
            raise FaultMissedError(f"the worker does not process: {worker.log_text[-800:]}")
        for n, bad in enumerate(kinds(9).values()):
            for record in (
                valid_record(event_json(account=2, number=2 * n + 1)),
                bad,
                valid_record(event_json(account=2, number=2 * n + 2)),
            ):
                producer.send([record], partition=0)
            time.sleep(0.1)
        result = drain_and_check(installation, producer, worker)
    result.observations = {"slowest_ms": max(_delays_ms(installation, producer.committed_records()))}
    return result


def _delays_ms(installation: Installation, sent: list[Sent]) -> list[int]:
    """Milliseconds from each neighbour's record to its statuses."""
    neighbours = {record.position: record.timestamp_ms for record in sent if b"LN-2" in (record.record.value or b"")}
    statuses = [
        (record, json.loads(record.value or b"{}")["source"])
        for record in read(installation.servers, (installation.status,))
    ]
    return [
        record.timestamp_ms - neighbours[source["partition"], source["offset"]]
        for record, source in statuses
        if (source["partition"], source["offset"]) in neighbours
    ]


def large_dead_letters(environment: Environment) -> ScenarioResult:
    """Where the events' topic accepts 3 MB, `topics --create` gives the dead letters' topic room for them: the bytes of
    a 2 MB event are kept."""
    installation = environment.installation_without_topics("large")
    topics = [NewTopic(installation.events, installation.partitions, 1, config={"max.message.bytes": "3000000"})]
    admin = AdminClient({"bootstrap.servers": installation.servers})
    for future in admin.create_topics(topics).values():
        future.result(30)
    create_topics(installation)
    producer = InputProducer(installation)
    producer.send([kinds(9, value_kept=True)["2 MB"], valid_record(event_json(account=1, number=1))])
    with environment.worker(installation) as worker:
        return drain_and_check(installation, producer, worker)


def strict_key_check(environment: Environment) -> ScenarioResult:
    """Under PROCESSOR_KEY_CHECK=strict a record whose key is not its event's ordering key is a dead letter."""
    installation = environment.installation("keys", {"PROCESSOR_KEY_CHECK": "strict"})
    producer = InputProducer(installation)
    valid = valid_records(1, range(1, 40))
    value = valid_record(event_json(account=2, number=1)).value
    producer.send([*valid[:20], Record(b"another", value, DeadLettered("WRONG_KEY")), *valid[20:]], partition=0)
    with environment.worker(installation) as worker:
        result = drain_and_check(installation, producer, worker)
    result.observations = {"reasons": reasons(installation)}
    return result


def lowered_limit(environment: Environment) -> ScenarioResult:
    """A topic's limit is lowered while a worker runs, so that the broker refuses an output: that template fails for
    that record, all else is published."""
    installation = environment.installation("lowered-limit", {})
    producer = InputProducer(installation)
    noise = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(100_000))  # 300 kB that do not compress well
    big = with_comment(event_json("SAVINGS_DEPOSIT", account=2, number=1), noise)
    change = TopicChange(installation.messages, "max.message.bytes", "60000")
    return _refuse_output(installation, environment, producer, with_large_comment(big), change)


def refused_output(environment: Environment) -> ScenarioResult:
    """The broker refuses an output for another reason (a compacted topic accepts no record without a key): its source
    alone becomes a dead letter, OUTPUT_REFUSED."""
    installation = environment.installation("refused-output", {})
    producer = InputProducer(installation)
    keyless = Record(None, None, DeadLettered("OUTPUT_REFUSED"))
    change = TopicChange(installation.decisions, "cleanup.policy", "compact")
    return _refuse_output(installation, environment, producer, keyless, change)


@dataclass(frozen=True, slots=True)
class TopicChange:
    """A new value for a property of a topic."""

    topic: str
    property: str
    value: str


def _refuse_output(
    installation: Installation,
    environment: Environment,
    producer: InputProducer,
    record: Record,
    change: TopicChange,
) -> ScenarioResult:
    """`record` among valid events, after `change`, which makes the broker refuse an output of it."""
    valid = valid_records(1, range(1, 50))
    with environment.worker(installation) as worker:
        producer.send(valid[:30], partition=0)
        if not wait_until_caught_up(installation, EVENTUALLY_S):
            raise FaultMissedError(f"the worker does not process: {worker.log_text[-800:]}")
        _alter_topic(installation.servers, change)
        producer.send([*valid[30:40], record, *valid[40:]], partition=0)
        result = drain_and_check(installation, producer, worker, log_text=worker.log_text)
    result.observations = {**result.observations, "reasons": reasons(installation)}
    return result


def _alter_topic(servers: str, change: TopicChange) -> None:
    entry = ConfigEntry(change.property, change.value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, change.topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)

    def altered() -> bool:
        (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, change.topic)]).values()
        return bool(described.result(30)[change.property].value == change.value)

    if not becomes_true(altered, EVENTUALLY_S):
        raise FaultMissedError(f"not applied: {change}")
    time.sleep(1)  # the broker's log applies a moment later what the broker describes


def without_the_broken_template(
    environment: Environment, folder: Path
) -> tuple[ScenarioResult, ScenarioResult, Mapping[str, object]]:
    """The same input with all templates, and with all but the one that fails; and the outputs of the others in both."""
    templates = folder / "templates"
    shutil.copytree(TEMPLATES_DIR, templates)
    (templates / "soak-loan-strict.toml").unlink()
    strict_ids = {template.id for template in TEMPLATES if template.strict}
    records = [
        valid_record(event_json(account=n % 7, number=n, strict=n % 3 == 0, email=n % 5 != 0)) for n in range(1, 200)
    ]
    results: list[ScenarioResult] = []
    published: list[dict[tuple[str, str], object]] = []
    now_ms = int(time.time() * 1000)
    for directory in (TEMPLATES_DIR, templates):
        installation = environment.installation_without_topics("broken", templates_dir=directory)
        create_topics(installation)
        producer = InputProducer(installation)
        producer.send(records, timestamp_ms=now_ms)
        active = [template for template in TEMPLATES if (directory / f"{template.id}.toml").exists()]
        results.append(_run_until_end(environment, installation, producer, active))
        published.append(_outputs_of_others(installation, strict_ids))
    first, second = results
    return first, second, {"first": published[0], "second": published[1]}


def _run_until_end(
    environment: Environment, installation: Installation, producer: InputProducer, active: list[Template]
) -> ScenarioResult:
    with environment.worker(installation, until_end=True) as worker:
        if worker.wait(EVENTUALLY_S) != 0:
            raise FaultMissedError(worker.log_text[-800:])
    return ScenarioResult(check_outputs(installation, producer.committed_records(), templates=active))


def _outputs_of_others(installation: Installation, strict_ids: set[str]) -> dict[tuple[str, str], object]:
    """Messages and stream events of all templates but `strict_ids`, by topic and key or eid; without topics' prefix."""
    statuses = {
        record.key: json.loads(record.value or b"{}") for record in read(installation.servers, (installation.status,))
    }

    def plain(record: StoredRecord) -> object:
        return json.loads((record.value or b"{}").replace(installation.prefix.encode(), b""))

    found: dict[tuple[str, str], object] = {}
    for record in read(installation.servers, (installation.messages, *installation.streams.values())):
        identity = (
            record.key
            if record.topic == installation.messages
            else json.loads(record.value or b"{}")["metadata"]["eid"]
        )
        if record.topic == installation.messages and statuses[record.key]["templateId"] in strict_ids:
            continue
        found[record.topic.removeprefix(installation.prefix), str(identity)] = (record.partition, plain(record))
    return found


def main() -> int:
    """Every kind at every place among 1,000 valid events each; 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.bad_input", description=__doc__)
    parser.add_argument("--valid", type=int, default=1_000, help="valid events beside each bad record")
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    args = parser.parse_args()
    failed_count = 0
    with local_kafka(extra=FAST_TIMEOUTS_BROKER) as kafka:
        for placement in PLACEMENTS:
            result = bad_input_at(Environment(kafka, args.protocol), placement, valid_count=args.valid)
            failed_count += bool(result.check.findings)
            counts = result.check.counts
            print(  # noqa: T201
                f"{placement:<7} {len(result.observations['kinds'])} kinds, {counts['input']} records in, "
                f"{counts['communications.dead-letters']} dead letters, "
                f"{counts['communications.decisions']} decisions, "
                f"reasons: {', '.join(sorted(result.observations['reasons']))}: {result.check}",
                flush=True,
            )
    return 1 if failed_count else 0


if __name__ == "__main__":
    sys.exit(main())
