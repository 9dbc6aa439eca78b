"""An installation of the soak on a broker: its topics, its group, its workers' settings; and settings of brokers."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer

from processor.domain.record import EventName
from processor.kafka.topic_admin import create_topics
from processor.settings import KafkaSettings, Settings, TopicSettings
from tests.soak.expected import STREAM_PATTERN, TENANT, table_rows

TEMPLATES_DIR = Path(__file__).parent / "templates"
STREAMS = {"LOAN_REPAYMENT": "loan_repayment", "SAVINGS_DEPOSIT": "savings_deposit"}
PROTOCOLS = ("classic", "consumer")
ROOT = Path(__file__).parents[2]

#: Broker settings that detect a dead client within seconds: sessions of both protocols, and transaction timeouts.
FAST_TIMEOUTS_BROKER: Mapping[str, str] = {
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "400",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}

#: For a broker that is paused. One whose session has expired when it is resumed is fenced, so that its partitions have
#: no leader for a moment, while its transaction coordinator goes on; and the coordinator of Kafka 4.3.0 takes a
#: partition without a leader for a deleted one: it omits the marker of an abort, and the next transaction of the
#: producer commits what was aborted. No client can prevent that. https://github.com/apache/kafka/pull/3130 (review)
PAUSED_BROKER: Mapping[str, str] = {**FAST_TIMEOUTS_BROKER, "broker.session.timeout.ms": "90000"}

#: For a broker that is killed and started again: it registers again when its old session has expired. Until then it
#: acts as before, as a coordinator too, and is fenced at last; so no transaction may be about to end when it is killed,
#: and none may time out just after. A controlled shutdown would leave the partitions without a leader too (see above).
RESTARTED_BROKER: Mapping[str, str] = {
    **FAST_TIMEOUTS_BROKER,
    "broker.session.timeout.ms": "3000",
    "controlled.shutdown.enable": "false",
}


#: For a worker of another tenant; with the pattern it finds all topics of its installation, so that nothing else fails.
WRONG_TENANT: Mapping[str, str] = {
    "PROCESSOR_TENANT": "eastbank",
    "PROCESSOR_TOPICS__STREAM": STREAM_PATTERN.replace("{tenant}", TENANT),
}


@dataclass(frozen=True)
class Installation:
    """Names and settings of one installation. `prefix` separates it from all others on the same broker."""

    servers: str
    prefix: str
    protocol: str = "classic"
    partitions: int = 6
    session_timeout_ms: int = 2_000
    transaction_timeout_ms: int = 10_000
    templates_dir: Path = TEMPLATES_DIR
    env_overrides: Mapping[str, str] = field(default_factory=dict)

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
        """Topic of messages, as they were created and as they are now."""
        return f"{self.prefix}communications.messages"

    @property
    def status(self) -> str:
        """Topic of transitions."""
        return f"{self.prefix}communications.status"

    @property
    def decisions(self) -> str:
        """Topic of decisions: why a template created no message."""
        return f"{self.prefix}communications.decisions"

    @property
    def dead_letters(self) -> str:
        """Topic of records that could not be processed."""
        return f"{self.prefix}communications.dead-letters"

    @property
    def notifications(self) -> str:
        """Topic of what a recipient's inbox shows."""
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
        """All topics to which a worker's transactions write for records of the input."""
        co_partitioned = (self.messages, self.status, self.decisions, self.dead_letters, self.notifications)
        return (*co_partitioned, *self.streams.values())

    def env(self, *, servers: str | None = None, instance_id: str = "s") -> dict[str, str]:
        """The whole environment of a worker, without any setting of the processor from outside."""
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
            "PROCESSOR_INSTANCE_ID": instance_id,
            "PROCESSOR_TEMPLATES_DIR": str(self.templates_dir),
            "PROCESSOR_TOPICS__PREFIX": self.prefix,
            "PROCESSOR_OUTPUT__FORMAT": "json",
            "PROCESSOR_CIRCUIT_BREAKER": "off",
            "PROCESSOR_HTTP__PORT": "0",
            "PROCESSOR_LOG__FORMAT": "json",
            "PROCESSOR_TRANSACTION_TIMEOUT_MS": str(self.transaction_timeout_ms),
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": servers or self.servers,
            "PROCESSOR_KAFKA__CONSUMER": json.dumps(consumer),
            **self.env_overrides,
        }

    def command(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """`processor ARGUMENTS` with this installation's settings, as a person would call it."""
        return subprocess.run(
            (sys.executable, "-m", "processor", *arguments),
            env=self.env(),
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
        report = create_topics(
            settings, stream_events=[EventName(event) for event in STREAMS], partitions=self.partitions
        )
        if report.differences:
            raise RuntimeError(f"topics differ from the plan: {report.differences}")
        self._fill_tables()

    def _fill_tables(self) -> None:
        """Produce the rows of the reference tables, before anything else."""
        producer = Producer({"bootstrap.servers": self.servers})
        for topic, key, value in table_rows():
            producer.produce(self.prefix + topic, json.dumps(value), key)
        if left := producer.flush(30):
            raise RuntimeError(f"{left} rows of the reference tables were not delivered")


def protocols_of(name: str) -> Sequence[str]:
    """The group protocols that `classic`, `consumer` or `both` stands for."""
    return PROTOCOLS if name == "both" else (name,)
