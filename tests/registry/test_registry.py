"""Events written with other versions of a schema, whose ids only a registry knows: a real one, on a real broker."""

import io
import json
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka import Producer
from fastavro import parse_schema, schemaless_writer

from processor.domain.event import Event
from processor.domain.output_topics import FixedOutput
from processor.domain.record import SchemaId
from processor.engine.loop import run
from processor.engine.status import EngineStatus
from processor.errors import UnavailableError
from processor.kafka.clients import headers_of
from processor.observability.http import Readiness
from processor.registry.cache import SchemaCache
from processor.registry.client import RegistryClient
from processor.registry.schema_files import shipped_schemas
from processor.settings import SchemaRegistrySettings
from processor.wire.decode import event_from_json
from tests.support.apicurio import register
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.http_server import StubRegistry, recovering_registry
from tests.support.installation import Installation, create_installation

Json = dict[str, Any]
RECORD = "banking.events.LoanTransactionEvent"
pytestmark = pytest.mark.kafka


def field(schema: Json, *path: str) -> Json:
    """A field of a record's JSON, or of the record that it is of, null or not."""
    name, *rest = path
    found: Json = next(candidate for candidate in schema["fields"] if candidate["name"] == name)
    if not rest:
        return found
    type_ = found["type"][1] if isinstance(found["type"], list) else found["type"]
    return field(type_.get("items", type_), *rest)


def add_field(schema: Json) -> None:
    """A newer writer's, which we do not have."""
    schema["fields"].insert(3, {"name": "loyaltyTier", "type": ["null", "string"], "default": None})


def remove_field(schema: Json) -> None:
    """An older writer's: what it does not write has our default."""
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "correlationId"]


def change_type(schema: Json) -> None:
    """A writer's that does not resolve to our schema."""
    field(schema, "occurredAt")["type"] = "string"


def keep_schema(_: Json) -> None:
    """Our own, by an id of the registry's."""


MAPPED: tuple[Callable[[Json], None], ...] = (keep_schema, add_field, remove_field)


def encode_repayment(installation: Installation, text: str, number: int) -> bytes:
    """A repayment as the writer of schema `text` writes it, without a frame."""
    event = event_from_json(repayment(number), installation.schemas)
    assert isinstance(event, Event), event
    fields = {**event.fields, "loyaltyTier": "gold"}
    if field(json.loads(text), "occurredAt")["type"] == "string":
        fields["occurredAt"] = "2026-03-14T09:26:53Z"
    value = io.BytesIO()
    schemaless_writer(value, parse_schema(json.loads(text)), fields)
    return value.getvalue()


def change_schema(text: str, change: Callable[[Json], None]) -> str:
    """A schema after a change."""
    schema = json.loads(text)
    change(schema)
    return json.dumps(schema)


def ids_of(installation: Installation) -> list[str]:
    """The last digit of each event that a message was made of."""
    return [status["eventId"][-1] for status in installation.read_statuses() if status["type"] == "EMAIL"]


def dead_letters_of(installation: Installation) -> list[tuple[str, str]]:
    """Reason and detail of each dead letter."""
    records = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    headers = [dict(headers_of(record)) for record in records]
    return [((names["dl.reason"] or b"").decode(), (names["dl.detail"] or b"").decode()) for names in headers]


def test_versions_by_id(registry_url: str, bootstrap_servers: str, topic_prefix: str) -> None:
    """Older and newer writers are read by Avro's rules; one that cannot become ours is a dead letter that says why."""
    installation = create_installation(
        bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=registry_url)
    )
    text = installation.schemas.families[RECORD].text
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for number, change in enumerate((*MAPPED, change_type)):
        other = change_schema(text, change)
        schema_id = register(registry_url, f"{topic_prefix}{change.__name__}", other)
        frame = b"\x00" + schema_id.to_bytes(4, "big")
        producer.produce(
            installation.events,
            frame + encode_repayment(installation, other, number),
            repayment()["account"]["encodedKey"],
            0,
        )
    producer.produce(installation.events, b"\x00\x00\x0f\x42\x40" + b"x", "key", 0)
    assert producer.flush(10) == 0
    installation.run()

    assert ["0", "1", "2"] == ids_of(installation)
    (incompatible, detail), (unknown, _) = dead_letters_of(installation)
    assert ("INCOMPATIBLE_SCHEMA", "UNKNOWN_SCHEMA") == (incompatible, unknown)
    assert "occurredAt" in detail


def test_a_newer_schema_of_ours_reads_older_writers(
    registry_url: str, bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A field that we renamed is found by its alias, and a number that we widened is read as it was written."""
    folder = tmp_path / "schemas"
    shutil.copytree(shipped_schemas(), folder)
    for name, change in (
        ("banking.events.common.Product", lambda schema: rename(schema, "id", "code")),
        ("banking.events.common.InstallmentDue", lambda schema: field(schema, "number").update(type="long")),
    ):
        path = folder / "events" / f"{name}.avsc"
        path.write_text(change_schema(path.read_text(), change))
    registry_settings = SchemaRegistrySettings(url=registry_url)
    installation = create_installation(
        bootstrap_servers, topic_prefix, schema_registry=registry_settings, schemas_dir=folder
    )
    text = installation.schemas.families[RECORD].text
    schema_id = register(registry_url, f"{topic_prefix}older", text)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    frame = b"\x00" + schema_id.to_bytes(4, "big")
    producer.produce(
        installation.events, frame + encode_repayment(installation, text, 7), repayment()["account"]["encodedKey"], 0
    )
    assert producer.flush(10) == 0
    installation.run()

    assert (["7"], []) == (ids_of(installation), dead_letters_of(installation))


def rename(schema: Json, old: str, new: str) -> None:
    """Give a field another name, and its old one as an alias."""
    renamed = field(schema, old)
    renamed["name"], renamed["aliases"] = new, [old]


def test_versions_by_guid(bootstrap_servers: str, topic_prefix: str) -> None:
    """The same by the header of newer serializers. Apicurio 3.3.3 has no such path (404, tried), so a loopback server
    gives the response that Confluent publishes."""
    responses: dict[str, Any] = {}
    with recovering_registry(responses) as loopback:
        registry_settings = SchemaRegistrySettings(url=loopback)
        installation = create_installation(bootstrap_servers, topic_prefix, schema_registry=registry_settings)
        text = installation.schemas.families[RECORD].text
        producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
        for number, change in enumerate((*MAPPED, change_type)):
            other, guid = change_schema(text, change), uuid.uuid4()
            responses[f"/schemas/guids/{guid}"] = {"schema": other, "guid": str(guid)}
            producer.produce(
                installation.events,
                encode_repayment(installation, other, number),
                repayment()["account"]["encodedKey"],
                0,
                headers=[("__value_schema_id", b"\x01" + guid.bytes)],
            )
        assert producer.flush(10) == 0
        installation.run()

    assert ["0", "1", "2"] == ids_of(installation)
    assert ["INCOMPATIBLE_SCHEMA"] == [reason for reason, _ in dead_letters_of(installation)]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b'{"error_code": 40301, "message": "no access"}'),
        (500, b"<html>"),
        (200, b'{"schema": "{}", "references": 5}'),
    ],
)
def test_an_id_that_a_registry_refuses(status: int, body: bytes, bootstrap_servers: str, topic_prefix: str) -> None:
    """Its record waits, and what is behind it; the other partition goes on, and the process stays ready, degraded.
    After the time that is set it is a dead letter, and its partition goes on too."""
    seen: list[tuple[list[int], Readiness]] = []
    engine_status = EngineStatus.unobserved(max_stall_s=2)
    responses = {"/schemas/ids/7": (status, body)}
    with StubRegistry(responses) as server:
        registry_settings = SchemaRegistrySettings(url=server.url, refused_id_s=4)
        installation = create_installation(
            bootstrap_servers, topic_prefix, partitions=2, schema_registry=registry_settings
        )
        text = installation.schemas.families[RECORD].text
        responses["/schemas/ids/8"] = (200, json.dumps({"schema": text}).encode())
        producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
        key = repayment()["account"]["encodedKey"]
        for number, (partition, schema_id) in enumerate([(0, 8), (0, 7), (0, 8), (1, 8), (1, 8)]):
            frame = b"\x00" + schema_id.to_bytes(4, "big")
            producer.produce(installation.events, frame + encode_repayment(installation, text, number), key, partition)
        assert producer.flush(10) == 0

        def look(step: str) -> None:
            if step == "polled":
                seen.append((installation.committed([0, 1]), engine_status.readiness()))

        run(installation.settings, until_end=True, status=engine_status, on_step=look)

    assert [3, 2] == installation.committed([0, 1])
    assert [["0", "2"], ["3", "4"]] == [
        [status["eventId"][-1] for status in installation.read_statuses(partition) if status["type"] == "EMAIL"]
        for partition in (0, 1)
    ]
    ((reason, detail),) = dead_letters_of(installation)
    assert "UNKNOWN_SCHEMA" == reason
    assert detail.startswith("id 7: refused for 4 s while other schemas were served: ")
    last = [readiness for committed, readiness in seen if committed == [1, 2]][-1]
    assert (last.ready, last.degraded) == (True, True)  # after more than a stall's time
    assert last.reasons[0].startswith(
        "partition 0 waits at 1: the schema registry serves other schemas, but not id 7: "
    )


def test_an_id_that_a_real_registry_does_not_have(registry_url: str) -> None:
    """It says so in the API's words, which are believed."""
    registry = SchemaCache(RegistryClient(registry_url, requests.Session()))
    with pytest.raises(KeyError):
        while True:
            try:
                registry.schema_of(SchemaId(999_999))
            except UnavailableError as unavailable:
                assert "waiting" in str(unavailable), unavailable
            time.sleep(0.05)
