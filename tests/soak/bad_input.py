"""Bad input of every kind, alone, first, in the middle and last among good events, through the installed command."""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from processor.kafka.local.kafka import local_kafka
from tests.chaos.crew import caught_up, until
from tests.chaos.expected import TEMPLATES, Dead, Record, Sent, Template, good
from tests.chaos.load import Feeder, bad_records, large_records, make_event, noted, of_an_output_schema
from tests.chaos.reader import OnLog, read
from tests.chaos.scenes import Ground, MissedError, Shown, judged
from tests.chaos.site import QUICK_BROKER, ROOT, TEMPLATES_DIR, Site
from tests.chaos.verify import Finding, verify

POSITIONS = ("alone", "first", "middle", "last")
BAD_NUMBER = 90_000  # transactions of bad records; above all good ones, so that the account's order holds


def kinds(account: int, *, value_kept: bool = False) -> dict[str, Record]:
    """One record of every kind of bad input, of an account of its own."""
    event = make_event(account=account, number=BAD_NUMBER)
    return {
        **bad_records(event),
        **large_records(account=account, number=BAD_NUMBER + 1, value_kept=value_kept),
        "incompatible schema": of_an_output_schema(event),
        "failing template": good(make_event(account=account, number=BAD_NUMBER + 2, strict=False)),
    }


def load_templates(site: Site, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """The console script `processor`, as pip has installed it."""
    return subprocess.run(
        (str(Path(sys.executable).with_name("processor")), *arguments),
        env=site.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def poison(ground: Ground, position: str, *, good_count: int) -> Shown:
    """Each kind in a partition of its own, at `position` among `good_count` good events; one `run --until-end`."""
    names = sorted(kinds(0))
    site = replace(ground.plain_site("poison"), partitions=len(names))
    site.create_topics()
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    for partition, name in enumerate(names):
        accounts = range(partition * 10, partition * 10 + 4)
        goods = [
            good(make_event(account=accounts[number % len(accounts)], number=number + 1))
            for number in range(0 if position == "alone" else good_count)
        ]
        at = {"alone": 0, "first": 0, "middle": good_count // 2, "last": good_count}[position]
        bad = kinds(partition * 10 + 9)[name]
        feeder.send([*goods[:at], bad, *goods[at:]], partition=partition)
    done = load_templates(site, "run", "--until-end")
    verdict = verify(site, feeder.committed())
    if done.returncode != 0:
        finding = Finding("EXIT", f"run --until-end ended with {done.returncode}: {done.stderr[-800:]}")
        verdict = replace(verdict, findings=(finding, *verdict.findings))
    return Shown(verdict, facts={"reasons": reasons(site), "kinds": names})


def reasons(site: Site) -> set[str]:
    """The `dl.reason` of all dead letters."""
    return {dict(letter.headers)["dl.reason"].decode() for letter in read(site.servers, (site.dead_letters,))}


def poison_live(ground: Ground) -> Shown:
    """Each kind between two good neighbours while a worker runs; `slowest_ms`: from a neighbour's record to its status
    record."""
    site = ground.site("live", {})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    with ground.worker(site) as worker:
        feeder.send([good(make_event(account=1, number=number)) for number in range(1, 200)])  # warm
        if not caught_up(site, 30):
            raise MissedError(f"not warm: {worker.said[-800:]}")
        for n, bad in enumerate(kinds(9).values()):
            for record in (
                good(make_event(account=2, number=2 * n + 1)),
                bad,
                good(make_event(account=2, number=2 * n + 2)),
            ):
                feeder.send([record], partition=0)
            time.sleep(0.1)
        shown = judged(site, feeder, worker)
    shown.facts = {"slowest_ms": max(_delays(site, feeder.committed()))}
    return shown


def _delays(site: Site, sent: list[Sent]) -> list[int]:
    """Milliseconds from each neighbour's record to its statuses."""
    neighbours = {one.place: one.timestamp_ms for one in sent if b"LN-2" in (one.record.value or b"")}
    statuses = [(record, json.loads(record.value or b"{}")["source"]) for record in read(site.servers, (site.status,))]
    return [
        record.timestamp_ms - neighbours[source["partition"], source["offset"]]
        for record, source in statuses
        if (source["partition"], source["offset"]) in neighbours
    ]


def large_letters(ground: Ground) -> Shown:
    """Where the events' topic takes 3 MB, `topics --create` gives the dead letters' topic room for them: the bytes of a
    2 MB event are kept."""
    site = ground.plain_site("large")
    asked = [NewTopic(site.events, site.partitions, 1, config={"max.message.bytes": "3000000"})]
    admin = AdminClient({"bootstrap.servers": site.servers})
    for future in admin.create_topics(asked).values():
        future.result(30)
    site.create_topics()
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    feeder.send([kinds(9, value_kept=True)["2 MB"], good(make_event(account=1, number=1))])
    with ground.worker(site) as worker:
        return judged(site, feeder, worker)


def strict_keys(ground: Ground) -> Shown:
    """Under PROCESSOR_KEY_CHECK=strict a record whose key is not its event's ordering key is a dead letter."""
    site = ground.site("keys", {"PROCESSOR_KEY_CHECK": "strict"})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    goods = [good(make_event(account=1, number=number)) for number in range(1, 40)]
    value = good(make_event(account=2, number=1)).value
    feeder.send([*goods[:20], Record(b"another", value, Dead("WRONG_KEY")), *goods[20:]], partition=0)
    with ground.worker(site) as worker:
        shown = judged(site, feeder, worker)
    shown.facts = {"reasons": reasons(site)}
    return shown


def sunken_limit(ground: Ground) -> Shown:
    """The limit of a topic sinks under a running worker, so that the broker refuses an output: that template fails for
    that record, all else is published."""
    site = ground.site("sunken", {})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    noise = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(100_000))  # 300 kB that do not compress well
    big = make_event("SAVINGS_DEPOSIT", account=2, number=1, comment=noise)
    return _refused(site, ground, feeder, noted(big), topic=site.messages, config=("max.message.bytes", "60000"))


def refused_record(ground: Ground) -> Shown:
    """The broker refuses an output for another reason (a compacted topic takes no record without a key): its source
    alone becomes a dead letter, OUTPUT_REFUSED."""
    site = ground.site("refused", {})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    keyless = Record(None, None, Dead("OUTPUT_REFUSED"))
    return _refused(site, ground, feeder, keyless, topic=site.decisions, config=("cleanup.policy", "compact"))


def _refused(
    site: Site, ground: Ground, feeder: Feeder, record: Record, *, topic: str, config: tuple[str, str]
) -> Shown:
    goods = [good(make_event(account=1, number=number)) for number in range(1, 50)]
    with ground.worker(site) as worker:
        feeder.send(goods[:30], partition=0)
        if not caught_up(site, 30):
            raise MissedError(f"not warm: {worker.said[-800:]}")
        _alter(site, topic, *config)
        feeder.send([*goods[30:40], record, *goods[40:]], partition=0)
        shown = judged(site, feeder, worker, said=worker.said)
    shown.facts = {**shown.facts, "reasons": reasons(site)}
    return shown


def _alter(site: Site, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": site.servers})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)

    def altered() -> bool:
        asked = ConfigResource(ResourceType.TOPIC, topic)
        return any(answer.result(30)[name].value == value for answer in admin.describe_configs([asked]).values())

    if not until(altered, 10):
        raise MissedError(f"{name} of {topic} is not {value}")
    time.sleep(1)  # what a broker describes, its log obeys a moment later


def without_the_broken_template(ground: Ground, folder: Path) -> tuple[Shown, Shown, Mapping[str, object]]:
    """The same input with all templates, and with all but the one that fails; then what the others published, twice."""
    templates = folder / "templates"
    shutil.copytree(TEMPLATES_DIR, templates)
    (templates / "chaos-loan-strict.toml").unlink()
    strict = {template.id for template in TEMPLATES if template.strict}
    told = [good(make_event(account=n % 7, number=n, strict=n % 3 == 0, email=n % 5 != 0)) for n in range(1, 200)]
    shows: list[Shown] = []
    published: list[dict[tuple[str, str], object]] = []
    now_ms = int(time.time() * 1000)
    for directory in (TEMPLATES_DIR, templates):
        site = replace(ground.plain_site("broken"), templates_dir=directory)
        site.create_topics()
        feeder = Feeder(site.servers, site.events, partitions=site.partitions)
        feeder.send(told, timestamp_ms=now_ms)
        active = [one for one in TEMPLATES if (templates / f"{one.id}.toml").exists() or directory is TEMPLATES_DIR]
        shows.append(_played(ground, site, feeder, active))
        published.append(_others(site, strict))
    first, second = shows
    return first, second, {"first": published[0], "second": published[1]}


def _played(ground: Ground, site: Site, feeder: Feeder, active: list[Template]) -> Shown:
    with ground.worker(site, until_end=True) as worker:
        if worker.wait(60) != 0:
            raise MissedError(worker.said[-800:])
    return Shown(verify(site, feeder.committed(), templates=active))


def _others(site: Site, strict: set[str]) -> dict[tuple[str, str], object]:
    """Messages and stream events of all templates but `strict`, by topic and identity; without the site's own names."""
    statuses = {record.key: json.loads(record.value or b"{}") for record in read(site.servers, (site.status,))}

    def plain(record: OnLog) -> object:
        return json.loads((record.value or b"{}").replace(site.prefix.encode(), b""))

    found: dict[tuple[str, str], object] = {}
    for record in read(site.servers, (site.messages, *site.streams.values())):
        identity = record.key if record.topic == site.messages else json.loads(record.value or b"{}")["metadata"]["eid"]
        if record.topic == site.messages and statuses[record.key]["templateId"] in strict:
            continue
        found[record.topic.removeprefix(site.prefix), str(identity)] = (record.partition, plain(record))
    return found


def main() -> int:
    """Every kind at every position beside 1,000 good events each; 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.poison", description=__doc__)
    parser.add_argument("--good", type=int, default=1_000, help="good events beside each bad record")
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    args = parser.parse_args()
    faulty = 0
    with local_kafka(extra=QUICK_BROKER) as kafka:
        for position in POSITIONS:
            shown = poison(Ground(kafka, args.protocol), position, good_count=args.good)
            faulty += bool(shown.verdict.findings)
            counts = shown.verdict.counts
            print(  # noqa: T201
                f"{position:<7} {len(shown.facts['kinds'])} kinds, {counts['input']} records in, "
                f"{counts['communications.dead-letters']} dead letters, "
                f"{counts['communications.decisions']} decisions, "
                f"reasons: {', '.join(sorted(shown.facts['reasons']))}: {shown.verdict}",
                flush=True,
            )
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
