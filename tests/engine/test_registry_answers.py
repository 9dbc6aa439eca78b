"""What a registry may answer, and what is no answer; a loopback server in its place, which says anything."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from processor.engine.registry import Registry
from processor.engine.subjects import Subjects, with_registered_ids
from processor.errors import NotAllowedError, UsageError
from processor.mapping.lookups import UnavailableError
from processor.mapping.schemas import WriterSchema
from processor.model.records import SchemaId
from processor.settings import OutputSettings, SchemaRegistrySettings, Settings, load_settings
from tests.engine.loopback_registry import LoopbackRegistry, Response, responses
from tests.mapping.builders import schemas

Json = Any


class Answers(LoopbackRegistry):
    """A registry whose responses are given by path: status, then what is sent."""

    def __init__(self, answers: Mapping[str, tuple[int, bytes]]) -> None:
        super().__init__(responses({path: Response(*answer) for path, answer in answers.items()}))

    def schema_of(self, number: int) -> WriterSchema:
        """The schema, waited for while the registry is being asked."""
        registry = Registry(self.url, requests.Session())
        while True:
            try:
                return registry.schema_of(SchemaId(number))
            except UnavailableError as unavailable:
                if "waiting" not in str(unavailable):
                    raise
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"404 page not found", "answered with 404"),
        (404, b'{"error_code": 404, "message": "no such path"}', "answered with 404"),
        (502, b"{}", "answered with 502"),
        (200, b"<html>", "answered without JSON"),
        (200, b"[" * 200_000, "answered without JSON"),
        (200, b"[]", "as its API says"),
        (200, b'{"schema": null}', "with a schema"),
        (200, b'{"schema": "x", "references": [{"subject": "a"}]}', "without a place"),
        (200, b'{"schema": "x", "references": [{"subject": "a", "version": 1}]}', "does not have it"),
        (200, b" " * 5_000_000, "with over 4194304 bytes"),
    ],
)
def test_what_is_no_answer(status: int, body: bytes, said: str) -> None:
    """The record waits: a proxy in the place of a registry that is away is not believed that a schema is unknown."""
    with Answers({"/schemas/ids/7": (status, body)}) as answers, pytest.raises(UnavailableError, match=said):
        answers.schema_of(7)


def test_an_unknown_schema_is_believed() -> None:
    with Answers({}) as answers, pytest.raises(KeyError):
        answers.schema_of(7)


def test_a_path_that_a_registry_lacks() -> None:
    """Where it answers to what all registries have, what it was asked for is unknown, and not waited for."""
    page = (404, b"404 page not found")
    with Answers({"/schemas/ids/7": page, "/subjects": (200, b"[]")}) as answers, pytest.raises(KeyError):
        answers.schema_of(7)
    with Answers({"/schemas/ids/7": page, "/subjects": page}) as answers, pytest.raises(UnavailableError, match="404"):
        answers.schema_of(7)


def test_an_id_that_no_registry_gives() -> None:
    """Four bytes of garbage are an id of 2^31 or more, every second time; nobody is asked."""
    with Answers({}) as answers:
        with pytest.raises(KeyError):
            answers.schema_of(2**31)
        assert [] == answers.paths


def test_json_outputs_need_nothing_of_a_registry() -> None:
    """One that refuses us is told in the log, and nothing more."""
    with Answers({f"/subjects/{name}": (403, b"{}") for name in schemas().outputs}) as answers:
        settings = Settings(
            schema_registry=SchemaRegistrySettings(url=answers.url),
            output=OutputSettings(format="json", stream_format="json"),
        )
        assert schemas() == with_registered_ids(settings, schemas())
        with pytest.raises(NotAllowedError):
            with_registered_ids(settings.model_copy(update={"output": OutputSettings(format="avro")}), schemas())


def test_a_schema_that_names_others() -> None:
    """A shared record has a subject of its own, and that may name another one."""

    def named(*subjects: str) -> list[Json]:
        return [{"name": one, "subject": one, "version": 1} for one in subjects]

    def answer(name: str, fields: Json, *subjects: str) -> tuple[int, bytes]:
        text = json.dumps({"type": "record", "name": name, "fields": fields})
        return 200, json.dumps({"schema": text, "references": named(*subjects)}).encode()

    told: Json = [{"name": "who", "type": "Person"}, {"name": "in", "type": "Country"}]
    country: Json = [{"name": "code", "type": "string"}]
    with Answers(
        {
            "/schemas/ids/7": answer("Told", told, "Person", "Country"),
            "/subjects/Person/versions/1": answer("Person", [{"name": "from", "type": "Country"}], "Country"),
            "/subjects/Country/versions/1": answer("Country", country),
        }
    ) as answers:
        schema = answers.schema_of(7)

    assert ("Told", "") == (schema.name, schema.problem)
    assert ["/schemas/ids/7", "/subjects/Person/versions/1", "/subjects/Country/versions/1"] == answers.paths


@pytest.mark.parametrize("body", [b'{"id": "7"}', b'{"id": -1}', b'{"id": 1099511627776}', b'{"id": null}', b"[]"])
def test_an_id_that_is_none(body: bytes) -> None:
    """It would be met at the first record that is written with it."""
    schema = next(iter(schemas().outputs.values()))
    said = "the schema registry answered without an id of a schema"
    with Answers({f"/subjects/{schema.name}": (200, body)}) as answers, pytest.raises(UnavailableError, match=said):
        Subjects(answers.url, requests.Session()).id_of(schema)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_certificates_that_cannot_be_read(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said with the setting's name before anything connects."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY__CA_FILE", str(file))
    with pytest.raises(
        UsageError, match=r"PROCESSOR_SCHEMA_REGISTRY__CA_FILE=.*holds no certificates that can be read"
    ):
        load_settings()
