"""Without a connection each command says what the client said, and what to look at: TLS, log-in, port, name."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from confluent_kafka import Producer
from cryptography.hazmat.primitives import serialization

from processor.engine import mapping_parts
from processor.engine.loop import run
from processor.errors import DependencyError
from processor.kafka import event_producer, topic_admin, topic_state
from processor.kafka.local.kafka import local_kafka
from processor.kafka.local.ports import free_ports
from processor.settings import InputTopic, KafkaSettings, Settings
from tests.support.builders import TENANT
from tests.support.events import repayment
from tests.support.installation import create_installation

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


@dataclass(frozen=True, slots=True)
class SecuredBroker:
    """A broker with three listeners, and the file with the authority of its certificate."""

    plain: int
    sasl: int
    tls: int
    ca: Path


@pytest.fixture(scope="module")
def secured_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """Plaintext for the broker itself; SASL_PLAINTEXT, of which ada's password is `right`; SSL."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # Kafka reads no other form
    (folder / "server.pem").write_bytes(key + b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    plain, controller, sasl, tls = free_ports(4)
    host = "127.0.0.1"
    clients = f"BROKER://{host}:{plain},SASL://{host}:{sasl},TLS://{host}:{tls}"
    extra = {
        "listeners": f"{clients},CONTROLLER://{host}:{controller}",
        "advertised.listeners": clients,
        "controller.quorum.voters": f"1@{host}:{controller}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_ada="right";',
        "listener.name.tls.ssl.keystore.type": "PEM",
        "listener.name.tls.ssl.keystore.location": str(folder / "server.pem"),
    }
    with local_kafka(port=plain, extra=extra):
        yield SecuredBroker(plain, sasl, tls, folder / "ca.pem")


PASSWORD = {
    "security.protocol": "sasl_plaintext",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "ada",
    "sasl.password": "wrong",
}
CASES: Mapping[str, tuple[str, Mapping[str, str], str, str]] = {  # listener, properties, cause, what the hint names
    "password": ("sasl", PASSWORD, "Invalid username or password", "sasl.password"),
    "mechanism": ("sasl", {**PASSWORD, "sasl.mechanism": "SCRAM-SHA-256"}, "Unsupported SASL", "sasl.mechanism"),
    "no authority": ("tls", {"security.protocol": "ssl"}, "certificate verify failed", "ssl.ca.location"),
    "plaintext to TLS": (
        "tls",
        {},
        "_ALL_BROKERS_DOWN: connections are closed without a response",
        "security.protocol",
    ),
    "plaintext to SASL": (
        "sasl",
        {},
        "_ALL_BROKERS_DOWN: connections are closed without a response",
        "security.protocol",
    ),
    "TLS to plaintext": (  # which of the two the client finds first is a matter of milliseconds
        "plain",
        {"security.protocol": "ssl"},
        "(PLAINTEXT broker listener|SSL connection closed by peer)",
        "security.protocol",
    ),
    "nobody": ("", {}, "Connection refused", "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"),
}


def settings_for(secured_broker: SecuredBroker, case: str) -> tuple[Settings, str]:
    """Settings of a case, and a pattern of the text that it has to end with."""
    listener, properties, cause, hint = CASES[case]
    port = getattr(secured_broker, listener) if listener else free_ports(1)[0]
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}", common=dict(properties))
    return Settings(tenant=TENANT, kafka=kafka), rf"(?s)no response from .*{cause}.*\nhint: .*{re.escape(hint)}"


@pytest.fixture(autouse=True)
def _short_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request without a response takes its whole time; on a busy machine a handshake takes a while too."""
    monkeypatch.setattr(topic_admin, "_REQUEST_TIMEOUT_S", 4.0)
    monkeypatch.setattr(topic_state, "CALL_TIMEOUT_S", 4.0)


@pytest.mark.parametrize("case", CASES)
def test_topics_say_why_there_is_no_connection(secured_broker: SecuredBroker, case: str) -> None:
    """The client's own cause, and the property or setting to look at."""
    settings, text = settings_for(secured_broker, case)

    with pytest.raises(DependencyError, match=text) as ended:
        topic_admin.inspect_topics(settings, stream_events=())
    assert 3 == ended.value.exit_code


@pytest.mark.parametrize("case", ["password", "plaintext to TLS"])
def test_other_commands_say_it_too(secured_broker: SecuredBroker, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run`, `topics --create`, and the first requests of `produce` and `demo`."""
    monkeypatch.setattr(mapping_parts, "SERVER_STARTUP_TIMEOUT_S", 2.0)
    settings, text = settings_for(secured_broker, case)

    with pytest.raises(DependencyError, match=text):
        topic_admin.create_topics(settings, stream_events=())
    with pytest.raises(DependencyError, match=text):
        event_producer.batch_limit_bytes(settings, settings.topic(InputTopic.EVENTS))
    with pytest.raises(DependencyError, match=text.replace("no response from ", "no response from .* for 2 s: ")):
        run(settings)


def test_with_the_right_properties_it_connects(secured_broker: SecuredBroker) -> None:
    """The listeners above are no walls: the right password and the right authority are let in."""
    for port, properties in (
        (secured_broker.sasl, {**PASSWORD, "sasl.password": "right"}),
        (secured_broker.tls, {"security.protocol": "ssl", "ssl.ca.location": str(secured_broker.ca)}),
    ):
        kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}", common=properties)

        assert topic_admin.inspect_topics(Settings(tenant=TENANT, kafka=kafka), stream_events=()).differences


def test_no_line_of_the_client_is_among_the_logs(secured_broker: SecuredBroker, topic_prefix: str) -> None:
    """A producer that is fenced is a fatal error to librdkafka, which writes it to stderr by itself unless it is given
    a log: all that comes there is one JSON object a line."""
    installation = create_installation(f"127.0.0.1:{secured_broker.plain}", topic_prefix)
    installation.produce_events([repayment(n) for n in range(3)])
    other = Producer(
        {"bootstrap.servers": installation.servers, "transactional.id": installation.transactional_id, "log_level": 0}
    )
    environment = {
        **installation.env(),
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_MAX_BATCH_RECORDS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "processor", "run"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as running:
        try:
            assert running.stderr is not None
            lines = []
            for line in running.stderr:
                lines.append(line.decode())
                if "partition started" in lines[-1]:
                    other.init_transactions(20)
                    installation.produce_events([repayment(9)])
                if "Fatal error: Local" in lines[-1] or "%0|" in lines[-1]:
                    break
        finally:
            running.terminate()
            lines += [line.decode() for line in running.stderr or ()]

    assert [] == [line for line in lines if not line.startswith("{")]
    fatal = [line for line in map(json.loads, lines) if "Fatal error" in line.get("detail", "")]
    assert {"producer"} == {line["client"] for line in fatal}
    assert {"warning"} == {line["level"] for line in fatal}
