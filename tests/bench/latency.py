"""Event to `read_committed` reader, all outputs: `python -m tests.bench.latency --rate 1000 --seconds 60 --runs 5`.

Three processes beside the broker: the engine as the installed command, a loader that sends by schedule, and this one,
which reads every output. An output's latency is the time it was read minus the time its event was to be sent, so a
loader that falls behind does not flatter the figures. Beside each run stands a do-nothing baseline of the same run:
the same bytes through a plain producer and a plain consumer, without a transaction.
"""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition, libversion
from confluent_kafka.admin import NewTopic

from processor.demo.generate import events
from processor.domain.event import Event
from processor.domain.ids import eid
from processor.domain.output_topics import FixedOutput
from processor.domain.record import EncodedKey
from processor.kafka.clients import create_admin
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_state import read_output_topics
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import TENANT
from tests.support.installation import Installation, create_installation
from tests.support.output_readers import read_status
from tests.support.read_to_end import end_of

Encoded = tuple[str, bytes, bytes]  # event id, ordering key, value
ReadRecord = tuple[str, bytes | None, bytes, float]  # topic, key, value, when it was read
BASELINE = "bench.baseline"


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds from the scheduled time of sending."""

    n: int
    p50: float
    p95: float
    p99: float
    maximum: float


def percentiles(latencies: Sequence[float]) -> Latencies:
    """Percentiles of seconds, as milliseconds."""
    ordered = sorted(1000 * latency for latency in latencies)
    cuts = statistics.quantiles(ordered, n=100, method="inclusive")
    return Latencies(len(ordered), *(round(x, 1) for x in (cuts[49], cuts[94], cuts[98], ordered[-1])))


def encode_events(installation: Installation, count: int, *, seed: int) -> list[Encoded]:
    """`count` events in Avro, with their ids and keys."""
    encoded_events = []
    for fields in events(count, seed=seed, tenant=TENANT, accounts=2_000):
        event = event_from_json(fields, installation.schemas)
        assert isinstance(event, Event)
        value, _ = encode_event(event.fields, installation.schemas, format=WireFormat.AVRO)
        encoded_events.append((event.id, event.ordering_key.encode(), value))
    return encoded_events


def produce_at_rate(servers: str, topic: str, batch: list[Encoded], *, rate: float, begin: float) -> None:
    """Send event i at `begin` + i/rate. Runs in a process of its own."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    for i, (_, key, value) in enumerate(batch):
        pause = begin + i / rate - time.time()
        if pause > 0:
            producer.poll(0)
            time.sleep(pause)
        producer.produce(topic, value, key)
    assert producer.flush(30) == 0


def consumer_at_end(servers: str, topics: Sequence[str]) -> Consumer:
    """A `read_committed` consumer at the end of every partition of `topics`."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "bench-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 1,
        }
    )
    metadata = consumer.list_topics(timeout=10).topics
    at = []
    for topic in topics:
        for partition in metadata[topic].partitions:
            at.append(TopicPartition(topic, partition, end_of(consumer, topic, partition)))
    consumer.assign(at)
    consumer.consume(1, 1.0)
    return consumer


def read_until(consumer: Consumer, *, idle_s: float, until: float) -> list[ReadRecord]:
    """All records until none came for `idle_s` after the time `until`."""
    records: list[ReadRecord] = []
    last = time.time()
    while time.time() < until or time.time() - last < idle_s:
        messages = consumer.consume(1, 0.01)
        messages += consumer.consume(1000, 0) if messages else []  # a call for many waits for them
        for message in messages:
            assert message.error() is None, message.error()
            last = time.time()
            records.append((message.topic() or "", message.key(), message.value() or b"", last))
    return records


def event_ids(installation: Installation, read: list[ReadRecord]) -> list[tuple[str, float]]:
    """(event id, when it was read) of each output: statuses and decisions name it, the others share the key."""
    status, decisions = (
        installation.settings.topic(FixedOutput.STATUS),
        installation.settings.topic(FixedOutput.DECISIONS),
    )
    messages, notifications = (
        installation.settings.topic(FixedOutput.MESSAGES),
        installation.settings.topic(FixedOutput.NOTIFICATIONS),
    )
    event_of: dict[str, str] = {}
    for topic, key, value, _ in read:
        if topic == status:
            event_id = read_status(value, (), schemas=installation.schemas).eventId
            encoded_key = EncodedKey((key or b"").decode())
            event_of[encoded_key] = event_of[eid(encoded_key)] = event_id
    arrivals = []
    for topic, key, value, at in read:
        if topic == status:
            arrivals.append((event_of[(key or b"").decode()], at))
        elif topic == decisions:
            arrivals.append(((key or b"").decode(), at))
        elif topic in (messages, notifications):
            arrivals.append((event_of[(key or b"").decode()], at))
        else:
            arrivals.append((event_of[json.loads(value)["metadata"]["eid"]], at))
    return arrivals


def run_once(installation: Installation, *, rate: float, seconds: float, warm_s: float, seed: int) -> dict[str, Any]:
    """Start the engine, warm it up, measure, stop it; then the baseline. Checks that every event had its outputs."""
    output_topics = read_output_topics(
        create_admin(installation.settings), installation.settings, installation.templates
    )
    outputs = set(output_topics.outputs) - {output_topics.operations, output_topics.template_sets}  # of events
    topics = sorted(topic.name for topic in outputs)
    environment = {**installation.env(), "PROCESSOR_LOG__LEVEL": "warning"}
    batch = encode_events(installation, int(rate * (warm_s + seconds)), seed=seed)
    engine = subprocess.Popen([sys.executable, "-m", "processor", "run"], env=environment, stdout=subprocess.DEVNULL)
    try:
        consumer = consumer_at_end(installation.servers, topics)
        time.sleep(6)
        begin = time.time() + 1
        loader = multiprocessing.Process(
            target=produce_at_rate,
            args=(installation.servers, installation.events, batch),
            kwargs={"rate": rate, "begin": begin},
        )
        loader.start()
        read = read_until(consumer, idle_s=3, until=begin + warm_s + seconds)
        loader.join()
        consumer.close()
        cpu_s = _cpu_s(engine.pid)
    finally:
        engine.send_signal(signal.SIGTERM)
        code = engine.wait(30)
    assert code == 0, f"the engine ended with {code}"
    scheduled = {event_id: begin + i / rate for i, (event_id, _, _) in enumerate(batch)}
    arrivals = event_ids(installation, read)
    missing = scheduled.keys() - {event_id for event_id, _ in arrivals}
    assert not missing, f"{len(missing)} events without any output"
    measured = [at - scheduled[event_id] for event_id, at in arrivals if scheduled[event_id] >= begin + warm_s]
    return {
        "outputs": asdict(percentiles(measured)),
        "engine_cpu_share": round(cpu_s / (warm_s + seconds), 3),
        "baseline": asdict(baseline(installation.servers, batch, rate=rate)),
    }


def baseline(servers: str, batch: list[Encoded], *, rate: float) -> Latencies:
    """The same events, producer to consumer, ten seconds of them: what the clients and this machine cost."""
    batch = batch[: int(10 * rate)]
    consumer = consumer_at_end(servers, [BASELINE])
    begin = time.time() + 1
    loader = multiprocessing.Process(
        target=produce_at_rate, args=(servers, BASELINE, batch), kwargs={"rate": rate, "begin": begin}
    )
    loader.start()
    read = read_until(consumer, idle_s=2, until=begin + len(batch) / rate)
    loader.join()
    consumer.close()
    scheduled = {value: begin + i / rate for i, (_, _, value) in enumerate(batch)}
    return percentiles([at - scheduled[value] for _, _, value, at in read])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print one JSON line for each run, then the spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--partitions", type=int, nargs="+", default=[6, 2])
    args = parser.parse_args()
    print(  # noqa: T201
        json.dumps(
            {
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "python": platform.python_version(),
                "librdkafka": libversion()[0],
                "kafka": "4.3.0, local, one node",
                "rate": args.rate,
                "seconds": args.seconds,
                "max_batch_wait_ms": 5,
            }
        )
    )
    with local_kafka() as kafka:
        for partitions in args.partitions:
            runs = []
            for number in range(args.runs):
                prefix = f"bench{partitions}x{number}."
                installation = create_installation(kafka.bootstrap_servers, prefix, partitions=partitions)
                _create_baseline_topic(installation, partitions)
                figure = run_once(installation, rate=args.rate, seconds=args.seconds, warm_s=args.warm, seed=number)
                runs.append(figure)
                print(json.dumps({"partitions": partitions, "run": number, **figure}), flush=True)  # noqa: T201
            spread = {
                name: {
                    "min": min(run["outputs"][name] for run in runs),
                    "median": statistics.median(run["outputs"][name] for run in runs),
                    "max": max(run["outputs"][name] for run in runs),
                }
                for name in ("p50", "p95", "p99")
            }
            print(json.dumps({"partitions": partitions, "runs": len(runs), "spread_ms": spread}), flush=True)  # noqa: T201


def _create_baseline_topic(installation: Installation, partitions: int) -> None:
    admin = installation.admin()
    if BASELINE not in admin.list_topics(timeout=10).topics:
        (created,) = admin.create_topics([NewTopic(BASELINE, partitions, 1)]).values()
        created.result(10)


if __name__ == "__main__":
    main()
