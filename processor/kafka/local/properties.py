"""The settings of a local broker: one node, loopback, small, and quick to notice what tests wait for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"

#: Names and defaults: Apache Kafka 4.3, "Broker Configs" and "Group Configs".
_FIXED: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    # One node.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Small: 50 partitions each are the default, and each is a folder with open files.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "8388608",  # taken from the heap at the start; 128 MB by default
    "log.index.size.max.bytes": "1048576",
    "log.segment.delete.delay.ms": "1000",
    # Groups: no waiting for members that may come; a test may set a short session, so that a killed member is noticed.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "500",
    # Transactions: what a dead producer left open is aborted within a second of its time-out (default: 10 s).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
}


#: A broker that is late with its heartbeat is fenced: its partitions have no leader for a moment, and its coordinator
#: may skip the markers of a transaction (docs/design.md, "Known violations"). One that is not started again is given
#: the time that a busy machine may need; one that is comes back after a kill only when this has passed, so it has
#: Kafka's default.
_STARTED_ONCE: Final[Mapping[str, str]] = {"broker.session.timeout.ms": "90000"}
_STARTED_AGAIN: Final[Mapping[str, str]] = {"broker.session.timeout.ms": "9000"}


def server_properties(*, port: int, controller_port: int, data: Path, is_kept: bool, extra: Mapping[str, str]) -> str:
    """The text of a server.properties. `is_kept`: another start may use the data. `extra` wins over everything."""
    here = {
        "listeners": f"BROKER://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"BROKER://{HOST}:{port}",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "log.dirs": str(data),
    }
    session = _STARTED_AGAIN if is_kept else _STARTED_ONCE
    return "".join(f"{name}={_escape(value)}\n" for name, value in {**_FIXED, **session, **here, **extra}.items())


def _escape(value: str) -> str:
    """As java.util.Properties reads it: a backslash and non-ASCII letters need escapes."""
    return value.replace("\\", "\\\\").encode("ascii", "backslashreplace").decode("ascii")
