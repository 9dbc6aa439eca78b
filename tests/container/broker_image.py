"""A broker from the image that docker-compose.yml names, by testcontainers, and whether this machine can have one."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]  # docker ships no types
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from processor.kafka.local.jars import KAFKA_VERSION

IMAGE: Final = f"apache/kafka:{KAFKA_VERSION}"
_PORT: Final = 9092
_STARTED_WITHIN_S: Final = 120

# Clients get the address that Docker gave the port, which is known only once the container runs: so it waits for
# that address in a file, and then does what the image does. `read` fails on a line that is not written to its end.
_START: Final = (
    "until read -r KAFKA_ADVERTISED_LISTENERS </tmp/advertised; do sleep 0.1; done 2>/dev/null; "
    "export KAFKA_ADVERTISED_LISTENERS; exec /etc/kafka/docker/run"
)
_ENVIRONMENT: Final = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    # The broker calls itself, too, to end transactions: by a listener whose port is the same inside.
    "KAFKA_LISTENERS": f"CLIENTS://:{_PORT},INSIDE://:19092,CONTROLLER://:9093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CLIENTS:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
}


def why_unavailable() -> str | None:
    """Why no broker can be had from the image here, in one line; None when one can.

    Calls Docker, and pulls the image where it is missing: minutes, the first time. An image that the registry does not
    know is no reason: that is our mistake, and the test shall fail of it.
    """
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            return _why_unavailable()
        finally:
            # docker leaves its socket open without a response; found later, it would be the error of some other test.
            gc.collect()


def _why_unavailable() -> str | None:
    try:
        client = DockerClient().client
    except DockerException as error:
        return f"Docker does not respond ({_one_line(error)})"
    try:
        _pull_if_missing(client, IMAGE)
    except ImageNotFound:
        return None
    except DockerException as error:
        return f"{IMAGE} is not here and cannot be pulled ({_one_line(error)})"
    finally:
        client.close()
    return None


@contextmanager
def container_broker() -> Iterator[str]:
    """A fresh broker in a container, removed at the end; gives its bootstrap servers.

    Blocks until the broker has started, TimeoutError after two minutes. Without Ryuk (testcontainers' own cleaner) a
    test run that is killed leaves the container behind; so it is used, except where its image cannot be had.
    """
    if not testcontainers_config.ryuk_disabled:
        client = DockerClient().client
        try:
            _pull_if_missing(client, testcontainers_config.ryuk_image)
        except DockerException:
            testcontainers_config.ryuk_disabled = True
        finally:
            client.close()
    broker = DockerContainer(IMAGE, env=dict(_ENVIRONMENT)).with_command(["bash", "-c", _START])
    broker.with_exposed_ports(_PORT)
    with broker:
        # By number: as `localhost` a client would try IPv6 first, where Docker may have given another port.
        host = broker.get_container_host_ip().replace("localhost", "127.0.0.1")
        servers = f"{host}:{broker.get_exposed_port(_PORT)}"
        advertised = f"CLIENTS://{servers},INSIDE://localhost:19092\n"
        broker.copy_into_container(advertised.encode(), "/tmp/advertised")  # noqa: S108  a path in the container
        LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_STARTED_WITHIN_S).wait_until_ready(broker)
        yield servers


def _pull_if_missing(client, image: str) -> None:  # type: ignore[no-untyped-def]  # docker ships no types
    """Pull `image` unless it is here. Raises ImageNotFound when it is unknown, else another DockerException."""
    try:
        client.images.get(image)
    except ImageNotFound:
        client.images.pull(image)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
