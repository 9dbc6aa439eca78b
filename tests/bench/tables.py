"""The reference tables at size: restore, restart, lookups, memory; and a plain reader for comparison.

`python -m tests.bench.tables [--rows 1000000] [--lookups 200000] [--json]`; starts a broker of its own and removes all
it wrote. Each step is a process of its own, so that the memory is its own; times are wall-clock seconds.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer, TopicPartition
from prometheus_client import CollectorRegistry

from processor.domain.reference import Table
from processor.engine.mapping_parts import restore_tables
from processor.engine.status import EngineStatus
from processor.kafka.clients import standalone_consumer
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics
from processor.mapping.reference import Reference
from processor.observability.metrics import Metrics
from processor.observability.signals import Shutdown
from processor.settings import KafkaSettings, Settings
from processor.tables.reader import ReferenceTables

CATEGORIES = 50


def contact_key(number: int) -> str:
    """The encodedKey of a client."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def rows(count: int) -> Iterator[tuple[Table, str, bytes]]:
    """Contacts, some blocked, some opted out of a category; the categories; the account."""
    for number in range(CATEGORIES):
        key = f"NTC-0000-{number:04}"
        yield Table.CATEGORIES, key, json.dumps({"id": key, "name": f"Category {number}"}).encode()
    yield Table.ACCOUNTS, "northbank", json.dumps({"id": "ACC-0000-0001", "name": "Northbank"}).encode()
    for number in range(count):
        row = {
            "id": f"CTT-{number // 10**8:04}-{number // 10**4 % 10**4:04}-{number % 10**4:04}",
            "name": f"Client Number {number}",
            "email": f"client{number}@example.com",
            "user": {"id": f"USR-{number // 10**4 % 10**4:04}-{number % 10**4:04}", "name": f"Client Number {number}"},
            "status": "Blocked" if number % 100 == 0 else "Active",
            "optOuts": [f"NTC-0000-{number % CATEGORIES:04}"] if number % 10 == 0 else [],
        }
        yield Table.CONTACTS, contact_key(number), json.dumps(row).encode()


def settings_of(servers: str, state: Path) -> Settings:
    """One installation."""
    return Settings(tenant="northbank", kafka=KafkaSettings(bootstrap_servers=servers), state_dir=state)


def produce_rows(settings: Settings, count: int) -> None:
    """Put all rows on their topics."""
    producer = Producer(
        {"bootstrap.servers": settings.bootstrap_servers, "linger.ms": 50, "queue.buffering.max.messages": 500_000}
    )
    for table, key, value in rows(count):
        while True:
            try:
                producer.produce(settings.topic(table), value, key)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(120) == 0


def run_step(settings: Settings, *, rows: int, lookups: int, step: str) -> dict[str, Any]:
    """One step in this process: `read` consumes and drops the records, `restore` and `look up` use the product."""
    began = time.perf_counter()
    if step == "read":
        reader = standalone_consumer(settings)
        topic = settings.topic(Table.CONTACTS)
        reader.assign([TopicPartition(topic, 0, 0)])
        count = 0
        while count < rows:
            count += len(reader.consume(1_000, 1.0))
        reader.close()
        return {"seconds": time.perf_counter() - began, **_memory()}
    tables = ReferenceTables(settings, name="bench", metrics=Metrics(CollectorRegistry()))
    restore_tables(tables, Shutdown(), EngineStatus.unobserved().set_starting)
    result: dict[str, Any] = {"seconds": time.perf_counter() - began, "offsetsRead": tables.offsets_read, **_memory()}
    if lookups:
        rng = random.Random(1)
        present = [contact_key(rng.randrange(rows)) for _ in range(lookups)]
        absent = [contact_key(rows + rng.randrange(rows)) for _ in range(lookups)]
        result["rawPerSecond"] = _rate(lambda key: tables.get(Table.CONTACTS, key), present)
        result["absentPerSecond"] = _rate(lambda key: tables.get(Table.CONTACTS, key), absent)
        reference = Reference(rows=tables.get)

        def look_up(key: str) -> None:
            reference.lookup(contact_key=key, account_keys=(key, "northbank"), category="NTC-0000-0007", family="x")

        result["messagesPerSecond"] = _rate(look_up, present)
        result |= _memory()
    began = time.perf_counter()
    tables.close()
    result["closeSeconds"] = time.perf_counter() - began
    return result


def _rate(look_up: Any, keys: list[str]) -> float:
    began = time.perf_counter()
    for key in keys:
        look_up(key)
    return len(keys) / (time.perf_counter() - began)


def _memory() -> dict[str, float]:
    return {"residentMiB": psutil.Process().memory_info().rss / 2**20}


def _step(arguments: argparse.Namespace, servers: str, state: Path, step: str, lookups: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.tables", "--servers", servers, "--state", str(state)]
    command += ["--step", step, "--rows", str(arguments.rows), "--lookups", str(lookups)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=1_800)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Parse, run all steps, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--servers", help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        settings = settings_of(arguments.servers, arguments.state)
        result = run_step(settings, rows=arguments.rows, lookups=arguments.lookups, step=arguments.step)
        sys.stdout.write(json.dumps(result) + "\n")
        return
    with local_kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        settings = settings_of(kafka.bootstrap_servers, state)
        create_topics(settings, stream_events=(), partitions=1)
        produce_rows(settings, arguments.rows)
        steps = {
            "plain reader": _step(arguments, kafka.bootstrap_servers, state, "read", 0),
            "first start": _step(arguments, kafka.bootstrap_servers, state, "restore", 0),
            "restart": _step(arguments, kafka.bootstrap_servers, state, "restore", 0),
            "restart, then lookups": _step(arguments, kafka.bootstrap_servers, state, "look up", arguments.lookups),
        }
        disk = sum(file.stat().st_size for file in state.rglob("*") if file.is_file()) / 2**20
    if arguments.json:
        sys.stdout.write(json.dumps({"rows": arguments.rows, "diskMiB": disk, "steps": steps}) + "\n")
        return
    sys.stdout.write(f"{arguments.rows} contacts, {disk:.0f} MiB on disk\n")
    for name, result in steps.items():
        figures = ", ".join(f"{figure} {value:,.2f}" for figure, value in result.items())
        sys.stdout.write(f"{name}: {figures}\n")


if __name__ == "__main__":
    main()
