"""One installation on a broker: its topics, its group, and the settings its workers get."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer

from processor.cli.topics import create
from processor.domain.record import EventName
from processor.settings import KafkaSettings, Settings, TopicSettings
from tests.chaos.expected import STREAM_PATTERN, TENANT, table_rows

TEMPLATES_DIR = Path(__file__).parent / "templates"
STREAMS = {"LOAN_REPAYMENT": "loan_repayment", "SAVINGS_DEPOSIT": "savings_deposit"}
PROTOCOLS = ("classic", "consumer")
ROOT = Path(__file__).parents[2]

#: Broker settings that make a death known within seconds: sessions of both protocols, and transactions out of time.
QUICK_BROKER: Mapping[str, str] = {
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "400",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}

#: For a broker that is frozen. One whose session is over when it wakes is fenced, so that its partitions have no leader
#: for a moment, while its transaction coordinator goes on; and the coordinator of Kafka 4.3.0 takes a partition without
#: a leader for a deleted one: it leaves out the marker of an abort, and the next transaction of the producer commits
#: what was aborted. Nothing a client does could prevent that. https://github.com/apache/kafka/pull/3130 (review)
PATIENT_BROKER: Mapping[str, str] = {**QUICK_BROKER, "broker.session.timeout.ms": "90000"}

#: For a broker that is killed and started again: it comes back when its session is over. Until then it plays its old
#: part, coordinator and all, and is fenced at last; so no transaction may be about to end when it is killed, and none
#: may time out just after. A controlled shutdown would leave the partitions without a leader as well (see above).
RESTARTED_BROKER: Mapping[str, str] = {
    **QUICK_BROKER,
    "broker.session.timeout.ms": "3000",
    "controlled.shutdown.enable": "false",
}


#: For a worker of another tenant; the pattern makes it find all topics of its site, so that nothing else gives it away.
WRONG_TENANT: Mapping[str, str] = {
    "PROCESSOR_TENANT": "eastbank",
    "PROCESSOR_TOPICS__STREAM": STREAM_PATTERN.replace("{tenant}", TENANT),
}


@dataclass(frozen=True)
class Site:
    """Names and settings of one installation. `prefix` keeps it apart from all others on the same broker."""

    servers: str
    prefix: str
    protocol: str = "classic"
    partitions: int = 6
    session_timeout_ms: int = 2_000
    transaction_timeout_ms: int = 10_000
    templates_dir: Path = TEMPLATES_DIR
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The consumer group of its workers."""
        return f"{self.prefix}processor"

    @property
    def events(self) -> str:
        """The input."""
        return f"{self.prefix}banking.events"

    @property
    def messages(self) -> str:
        """Topic of births and lives."""
        return f"{self.prefix}communications.messages"

    @property
    def status(self) -> str:
        """Topic of transitions."""
        return f"{self.prefix}communications.status"

    @property
    def decisions(self) -> str:
        """Topic of what made no message."""
        return f"{self.prefix}communications.decisions"

    @property
    def dead_letters(self) -> str:
        """Topic of records that could not be turned."""
        return f"{self.prefix}communications.dead-letters"

    @property
    def notifications(self) -> str:
        """Topic of what a recipient's portal shows."""
        return f"{self.prefix}notifications.messages"

    @property
    def streams(self) -> dict[str, str]:
        """Event name -> its stream's topic."""
        return {
            event: f"{self.prefix}mrn.event.{TENANT}.streamingapi.{stream_name}"
            for event, stream_name in STREAMS.items()
        }

    @property
    def outputs(self) -> tuple[str, ...]:
        """All topics that a worker's transactions write for records of the input."""
        co_partitioned = (self.messages, self.status, self.decisions, self.dead_letters, self.notifications)
        return (*co_partitioned, *self.streams.values())

    def environment(self, *, servers: str | None = None, slot: str = "s") -> dict[str, str]:
        """The whole environment of a worker; no setting of ours leaks in from outside."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
        if home := os.environ.get("PROCESSOR_KAFKA_HOME"):
            outside["PROCESSOR_KAFKA_HOME"] = home
        consumer = {"topic.metadata.refresh.interval.ms": "2000", "group.protocol": self.protocol}
        if self.protocol == "classic":
            consumer["session.timeout.ms"] = str(self.session_timeout_ms)
            consumer["heartbeat.interval.ms"] = str(self.session_timeout_ms // 5)
        return {
            **outside,
            "PROCESSOR_TENANT": TENANT,
            "PROCESSOR_INSTANCE_ID": slot,
            "PROCESSOR_TEMPLATES_DIR": str(self.templates_dir),
            "PROCESSOR_TOPICS__PREFIX": self.prefix,
            "PROCESSOR_OUTPUT__FORMAT": "json",
            "PROCESSOR_CIRCUIT_BREAKER": "off",
            "PROCESSOR_HTTP__PORT": "0",
            "PROCESSOR_LOG__FORMAT": "json",
            "PROCESSOR_TRANSACTION_TIMEOUT_MS": str(self.transaction_timeout_ms),
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": servers or self.servers,
            "PROCESSOR_KAFKA__CONSUMER": json.dumps(consumer),
            **self.more,
        }

    def command(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """`processor ARGUMENTS` with this site's settings, as a person would call it."""
        return subprocess.run(
            (sys.executable, "-m", "processor", *arguments),
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def create_topics(self) -> None:
        """What `processor topics --create --partitions N` does; raises when something differs from the plan."""
        settings = Settings(
            tenant=TENANT,
            kafka=KafkaSettings(bootstrap_servers=self.servers),
            topics=TopicSettings(prefix=self.prefix),
        )
        report = create(settings, stream_events=[EventName(event) for event in STREAMS], partitions=self.partitions)
        if report.differences:
            raise RuntimeError(f"topics differ from the plan: {report.differences}")
        self._fill_tables()

    def _fill_tables(self) -> None:
        """The rows of the reference tables, told before anything else."""
        producer = Producer({"bootstrap.servers": self.servers})
        for topic, key, value in table_rows():
            producer.produce(self.prefix + topic, json.dumps(value), key)
        if left := producer.flush(30):
            raise RuntimeError(f"{left} rows of the reference tables were not taken")


def of_protocols(word: str) -> Sequence[str]:
    """The protocols that `classic`, `consumer` or `both` means."""
    return PROTOCOLS if word == "both" else (word,)
