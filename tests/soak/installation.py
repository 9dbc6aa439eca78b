"""Installations of the soak: their topics, tables and workers' settings; and settings of brokers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer

from processor.settings import KafkaSettings, Settings, TopicSettings
from processor.templates.load import read_templates, require_usable
from tests.soak.expected import STREAM_PATTERN, TENANT, table_rows
from tests.support.builders import schemas
from tests.support.installation import Installation

TEMPLATES_DIR = Path(__file__).parent / "templates"
PROTOCOLS = ("classic", "consumer")
PARTITIONS = 6

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


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of a worker's session, with the classic protocol, and of its transactions."""

    session_ms: int
    transaction_ms: int


QUICK_TIMEOUTS = Timeouts(session_ms=2_000, transaction_ms=10_000)  # a dead or paused worker is noticed soon
LONG_TIMEOUTS = Timeouts(session_ms=30_000, transaction_ms=60_000)  # a busy machine does not look like a dead worker


def timeout_settings(protocol: str, timeouts: Timeouts) -> dict[str, str]:
    """For a worker's environment."""
    consumer = {"topic.metadata.refresh.interval.ms": "2000", "group.protocol": protocol}
    if protocol == "classic":
        consumer["session.timeout.ms"] = str(timeouts.session_ms)
        consumer["heartbeat.interval.ms"] = str(timeouts.session_ms // 5)
    return {
        "PROCESSOR_TRANSACTION_TIMEOUT_MS": str(timeouts.transaction_ms),
        "PROCESSOR_KAFKA__CONSUMER": json.dumps(consumer),
    }


def soak_installation(
    servers: str,
    prefix: str,
    *,
    protocol: str,
    partitions: int = PARTITIONS,
    timeouts: Timeouts = LONG_TIMEOUTS,
    templates_dir: Path = TEMPLATES_DIR,
) -> Installation:
    """An installation without topics. `prefix` separates it from all others on the same broker."""
    return Installation(
        Settings(tenant=TENANT, kafka=KafkaSettings(bootstrap_servers=servers), topics=TopicSettings(prefix=prefix)),
        schemas(),
        require_usable(read_templates(templates_dir, tenant=TENANT, schemas=schemas())),
        partitions,
        env_overrides={
            "PROCESSOR_TEMPLATES_DIR": str(templates_dir),
            "PROCESSOR_OUTPUT__FORMAT": "json",
            "PROCESSOR_CIRCUIT_BREAKER": "off",
            "PROCESSOR_LOG__FORMAT": "json",
            **timeout_settings(protocol, timeouts),
        },
    )


def create_topics(installation: Installation) -> None:
    """As `processor topics --create` does; then the rows of the reference tables are produced."""
    installation.create_topics()
    producer = Producer({"bootstrap.servers": installation.servers})
    for topic, key, value in table_rows():
        producer.produce(installation.prefix + topic, json.dumps(value), key)
    if remaining := producer.flush(30):
        raise RuntimeError(f"{remaining} rows of the reference tables were not delivered")


def protocols_of(name: str) -> Sequence[str]:
    """The group protocols that `classic`, `consumer` or `both` stands for."""
    return PROTOCOLS if name == "both" else (name,)
