"""What a registry may respond, and what is no response; a loopback server in its place, which says anything."""

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from processor.domain.record import SchemaId
from processor.errors import AuthorizationError, DeferredSchemaError, UnavailableError, UsageError
from processor.registry.cache import SchemaCache, schemas_by_id
from processor.registry.client import RegistryClient
from processor.registry.subjects import SchemaRegistry, with_registered_ids
from processor.settings import OutputSettings, SchemaRegistrySettings, Settings, load_settings
from processor.wire.schema import RefusedSchemaError, WriterSchema
from processor.wire.wire_format import WireFormat
from tests.support.builders import schemas
from tests.support.http_server import StubRegistry

Json = Any


class CachedRegistry(StubRegistry):
    """With a client of its own for each look-up."""

    def schema_of(self, number: int) -> WriterSchema:
        """The schema of an id, by a new client. Blocks."""
        return look_up(new_cache(self.url), number)


def new_cache(
    url: str, session: requests.Session | None = None, *, refused_id_s: float = 600, served: Sequence[SchemaId] = ()
) -> SchemaCache:
    """The schemas of a registry, none of which was looked up yet."""
    client = RegistryClient(url, session or requests.Session())
    return SchemaCache(client, refused_id_s=refused_id_s, served=served)


def look_up(registry: SchemaCache, number: int) -> WriterSchema:
    """What the next look-up of an id gives or raises. Blocks."""
    while True:
        try:
            return registry.schema_of(SchemaId(number))
        except UnavailableError as unavailable:
            if SchemaId(number) not in registry._lookups:
                raise
            assert "waiting" in str(unavailable) or SchemaId(number) in registry._refusals
        time.sleep(0.01)


def wait_until_refused(registry: SchemaCache, number: int, *, timeout_s: float = 20) -> str:
    """The detail of an id's dead letters, once it is refused; until then it is deferred, each time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            look_up(registry, number)
        except RefusedSchemaError as refusal:
            return refusal.detail
        except DeferredSchemaError:
            continue
    raise AssertionError(f"id {number} is not refused after {timeout_s} s")


SCHEMA = (200, json.dumps({"schema": '{"type": "record", "name": "A", "fields": []}'}).encode())


def references_to(references: Json) -> bytes:
    """A response whose schema names others."""
    return json.dumps({"schema": "{}", "references": references}).encode()


ODD: list[tuple[int, bytes, str]] = [
    (400, b"", "responded with 400"),
    (401, b'{"error_code": 40101, "message": "token expired"}', "responded with 401: 'token expired'"),
    (403, b'{"error_code": 40301, "message": "no access"}', "responded with 403: 'no access'"),
    (403, b"<html>\x00blocked</html>", r"responded with 403: '<html>\x00blocked</html>'"),
    (404, b"404 page not found", "responded with 404"),
    (404, b'{"error_code": 404, "message": "no such path"}', "responded with 404"),
    (409, b"{}", "responded with 409"),
    (422, b"{}", "responded with 422"),
    (429, b"{}", "responded with 429"),
    (500, b"{}", "responded with 500"),
    (502, b"{}", "responded with 502"),
    (302, b"", "responded with 302"),
    (204, b"", "responded with 204"),
    (200, b"", "responded without JSON"),
    (200, b"<html>", "responded without JSON"),
    (200, b"[" * 200_000, "responded without JSON"),
    (200, b"\xff\xfe", "responded without JSON"),
    (200, b"9" * 5_000, "responded without JSON"),
    (200, b"[]", "responded without a schema"),
    (200, b'"x"', "responded without a schema"),
    (200, b"{}", "responded without a schema"),
    (200, b'{"schema": null}', "responded without a schema"),
    (200, b'{"schema": {"type": "string"}}', "responded without a schema"),
    (200, references_to(5), "its `references` are not a list"),
    (200, references_to({"subject": "a", "version": 1}), "its `references` are not a list"),
    (200, references_to([{"subject": "a"}]), "without a place"),
    (200, references_to([{"subject": "a", "version": "x"}]), "without a place"),
    (200, references_to([{"subject": "a", "version": None}]), "without a place"),
    (200, references_to([5]), "without a place"),
    (200, references_to([None]), "without a place"),
    (200, references_to([{"subject": "none", "version": 1}]), "it names a schema that does not exist"),
    (200, references_to([{"subject": "forbidden", "version": 1}]), "responded with 403"),
    (200, references_to([{"subject": "odd", "version": 1}]), "responded without a schema"),
    (
        200,
        references_to([{"subject": "\ud800", "version": 1}]),
        "its response cannot be read: UnicodeEncodeError",
    ),
    (200, b" " * 5_000_000, "with over 4194304 bytes"),
]
REFERRED = {
    "/subjects/forbidden/versions/1": (403, b"{}"),
    "/subjects/odd/versions/1": (200, b'{"schema": 5}'),
}


@pytest.mark.parametrize(("status", "body", "cause"), ODD)
def test_an_odd_response_affects_only_the_records_of_its_id(status: int, body: bytes, cause: str) -> None:
    """Whatever it is: they wait while the registry gives others, and are dead letters after the time that is set."""
    responses = {**REFERRED, "/schemas/ids/7": (status, body), "/schemas/ids/8": SCHEMA}
    with CachedRegistry(responses) as server:
        registry = new_cache(server.url, refused_id_s=0.2)
        assert "A" == look_up(registry, 8).name
        with pytest.raises(DeferredSchemaError) as deferred:
            look_up(registry, 7)
        detail = wait_until_refused(registry, 7)

    assert str(deferred.value).startswith("the schema registry serves other schemas, but not id 7: ")
    assert cause in str(deferred.value)
    assert detail.startswith("refused for 0 s while other schemas were served: ")
    assert cause in detail


@pytest.mark.parametrize(("status", "body", "cause"), ODD)
def test_a_registry_that_serves_nothing_refuses_no_id(status: int, body: bytes, cause: str) -> None:
    """The same response to everything, also for what it gave before: an expired token, a proxy. The records wait."""
    paths = ["/schemas/ids/7", "/schemas/ids/8", "/subjects"]
    with CachedRegistry({**REFERRED, **dict.fromkeys(paths, (status, body))}) as server:
        for served in ((), (SchemaId(8),)):
            registry = new_cache(server.url, refused_id_s=0, served=served)
            for _ in range(2):
                with pytest.raises(UnavailableError, match=re.escape(cause.partition(": '")[0])) as waiting:
                    look_up(registry, 7)
                assert not isinstance(waiting.value, DeferredSchemaError)


def test_a_refused_id_can_be_found_later() -> None:
    """Before and after the time that is set, the first look-up that finds the schema counts."""
    responses = {"/schemas/ids/7": (403, b"{}"), "/schemas/ids/8": SCHEMA, "/schemas/ids/9": (500, b"{}")}
    with CachedRegistry(responses) as server:
        registry = new_cache(server.url, refused_id_s=0.2, served=[SchemaId(8)])
        with pytest.raises(DeferredSchemaError):
            look_up(registry, 7)
        responses["/schemas/ids/7"] = SCHEMA
        assert "A" == look_up(registry, 7).name
        wait_until_refused(registry, 9)
        responses["/schemas/ids/9"] = SCHEMA
        with pytest.raises(RefusedSchemaError):
            registry.schema_of(SchemaId(9))  # believed for a while
        registry._unknown.clear()
        assert "A" == look_up(registry, 9).name


def test_time_without_a_response_for_others_does_not_count() -> None:
    """A registry that is down, or refuses all, for longer than the time that is set refuses no id when it is back."""
    responses = {"/schemas/ids/7": (403, b"{}"), "/schemas/ids/8": SCHEMA}
    with CachedRegistry(responses) as server:
        registry = new_cache(server.url, refused_id_s=0.5, served=[SchemaId(8)])
        with pytest.raises(DeferredSchemaError):
            look_up(registry, 7)
        responses["/schemas/ids/8"] = (401, b"{}")
        with pytest.raises(UnavailableError, match="responded with 403"):
            look_up(registry, 7)
        time.sleep(0.6)
        responses["/schemas/ids/8"] = SCHEMA
        with pytest.raises(DeferredSchemaError):
            look_up(registry, 7)
        wait_until_refused(registry, 7)


def test_a_lookup_counts_from_its_request_not_from_its_use() -> None:
    """A process that is kept by its broker for longer than the time that is set has not seen a refusal for so long."""
    responses = {"/schemas/ids/7": (500, b"{}"), "/schemas/ids/8": SCHEMA}
    with CachedRegistry(responses) as server:
        registry = new_cache(server.url, refused_id_s=0.5, served=[SchemaId(8)])
        with pytest.raises(DeferredSchemaError):
            look_up(registry, 7)
        with pytest.raises(DeferredSchemaError):
            registry.schema_of(SchemaId(7))  # begins the look-up
        time.sleep(0.6)
        with pytest.raises(DeferredSchemaError):
            registry.schema_of(SchemaId(7))
        responses["/schemas/ids/7"] = SCHEMA
        assert "A" == look_up(registry, 7).name


@pytest.mark.parametrize(("subjects", "deferred"), [(b'["a"]', True), (b"[]", False), (b"{}", False)])
def test_a_registry_that_has_served_nothing_yet(subjects: bytes, deferred: bool) -> None:
    """It gives others when it lists subjects; an empty list is what it says to a user who may see none."""
    with CachedRegistry({"/schemas/ids/7": (403, b"{}"), "/subjects": (200, subjects)}) as server:
        registry = new_cache(server.url)
        with pytest.raises(UnavailableError) as waiting:
            look_up(registry, 7)

    assert deferred == isinstance(waiting.value, DeferredSchemaError)


def test_our_own_ids_show_that_a_registry_serves_others() -> None:
    """The outputs' schemas were found at start; a process whose first record is refused knows by them."""
    own = next(iter(schemas().outputs.values()))
    responses = {"/schemas/ids/7": (403, b"{}"), "/schemas/ids/70": SCHEMA, "/subjects": (403, b"{}")}
    with CachedRegistry(responses) as server:
        registered = replace(schemas(), outputs={own.name: replace(own, id=SchemaId(70))})
        settings = Settings(schema_registry=SchemaRegistrySettings(url=server.url))
        schema_of = schemas_by_id(settings, registered)
        deadline = time.monotonic() + 10
        with pytest.raises(DeferredSchemaError):
            while time.monotonic() < deadline:
                with ignore_pending_lookups():
                    schema_of(SchemaId(7))
                time.sleep(0.01)


@contextmanager
def ignore_pending_lookups() -> Iterator[None]:
    """Ignore that a look-up is under way."""
    try:
        yield
    except UnavailableError as unavailable:
        if str(unavailable) != "waiting for the schema registry":
            raise


def test_a_schema_of_another_language() -> None:
    """It is given, and cannot become an event: its records are INCOMPATIBLE_SCHEMA at once, whatever it refers to."""
    body = {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF", "references": [{"subject": "a", "version": 1}]}
    with CachedRegistry({"/schemas/ids/7": (200, json.dumps(body).encode())}) as server:
        schema = server.schema_of(7)

    assert (None, "not an Avro schema, but 'PROTOBUF'") == (schema.type, schema.error)


def test_registry_errors_are_truncated_and_hide_the_password() -> None:
    """A gateway that repeats what it was sent does not bring it into logs, `/ready` and dead letters."""
    sent = b64encode(b"ada:hunter2").decode()
    body = json.dumps({"message": f"bad login ada hunter2 (Basic {sent}) " + "x" * 5_000}).encode()
    with CachedRegistry({"/schemas/ids/7": (403, body), "/schemas/ids/8": SCHEMA}) as server:
        session = requests.Session()
        session.auth = ("ada", "hunter2")
        registry = new_cache(server.url, session, served=[SchemaId(8)])
        with pytest.raises(DeferredSchemaError) as deferred:
            look_up(registry, 7)

    assert "403: 'bad login ada ***" in str(deferred.value)
    assert "hunter2" not in str(deferred.value)
    assert sent not in str(deferred.value)
    assert len(str(deferred.value)) < 400


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_response_that_never_ends(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a byte, a header or a body by single bytes: one call goes on, however often the id is looked up."""
    monkeypatch.setattr("processor.registry.cache.LOOKUP_TIMEOUT_S", 0.3)
    ended, calls = threading.Event(), []

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/schemas/ids/8":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(SCHEMA[1])
                return
            calls.append(self.path)
            self.wfile.write(begin)
            while not ended.wait(0.05):
                self.wfile.write(b"x" if begin else b"")

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        registry = new_cache(f"http://127.0.0.1:{server.server_port}", refused_id_s=1, served=[SchemaId(8)])
        detail = wait_until_refused(registry, 7)
    finally:
        ended.set()
        server.shutdown()
        server.server_close()

    assert "no response within" in detail
    assert ["/schemas/ids/7"] == calls


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any four bytes are an id; the oldest is forgotten."""
    for name in ("MAX_SCHEMAS", "MAX_UNKNOWN", "MAX_LOOKUPS"):
        monkeypatch.setattr(f"processor.registry.cache.{name}", 2)
    responses = {
        **{f"/schemas/ids/{number}": SCHEMA for number in range(5)},
        **{f"/schemas/ids/{number}": (403, b"{}") for number in range(10, 15)},
    }
    with CachedRegistry(responses) as server:
        registry = new_cache(server.url)
        for number in range(5):
            look_up(registry, number)
        for number in range(10, 15):
            with pytest.raises(DeferredSchemaError):
                look_up(registry, number)
        for number in range(20, 25):
            with pytest.raises(KeyError):
                look_up(registry, number)
        for number in range(30, 35):
            with pytest.raises(UnavailableError):
                registry.schema_of(SchemaId(number))

    assert [3, 4] == list(registry._schemas)
    assert [13, 14] == list(registry._refusals)
    assert [23, 24] == list(registry._unknown)
    assert [33, 34] == list(registry._lookups)


def test_a_schema_unknown_to_the_registry() -> None:
    with CachedRegistry({}) as registry, pytest.raises(KeyError):
        registry.schema_of(7)


def test_a_path_that_a_registry_lacks() -> None:
    """Where it responds to what all registries have, the schema is unknown, and not waited for."""
    page = (404, b"404 page not found")
    with CachedRegistry({"/schemas/ids/7": page, "/subjects": (200, b"[]")}) as registry, pytest.raises(KeyError):
        registry.schema_of(7)
    with (
        CachedRegistry({"/schemas/ids/7": page, "/subjects": page}) as registry,
        pytest.raises(UnavailableError, match="404"),
    ):
        registry.schema_of(7)


def test_impossible_ids_are_not_requested() -> None:
    """Four bytes of garbage are an id of 2^31 or more, every second time; no request is made."""
    with CachedRegistry({}) as registry:
        with pytest.raises(KeyError):
            registry.schema_of(2**31)
        assert [] == registry.paths


def test_json_outputs_need_nothing_of_a_registry() -> None:
    """One that refuses us is logged, and nothing more."""
    with CachedRegistry({f"/subjects/{name}": (403, b"{}") for name in schemas().outputs}) as registry:
        settings = Settings(
            schema_registry=SchemaRegistrySettings(url=registry.url),
            output=OutputSettings(format=WireFormat.JSON, stream_format=WireFormat.JSON),
        )
        assert schemas() == with_registered_ids(settings, schemas())
        with pytest.raises(AuthorizationError):
            with_registered_ids(
                settings.model_copy(update={"output": OutputSettings(format=WireFormat.AVRO)}), schemas()
            )


def test_a_schema_with_references() -> None:
    """A shared record has a subject of its own, and that may name another one."""

    def references(*subjects: str) -> list[Json]:
        return [{"name": subject, "subject": subject, "version": 1} for subject in subjects]

    def response(name: str, fields: Json, *subjects: str) -> tuple[int, bytes]:
        text = json.dumps({"type": "record", "name": name, "fields": fields})
        return 200, json.dumps({"schema": text, "references": references(*subjects)}).encode()

    fields: Json = [{"name": "who", "type": "Person"}, {"name": "in", "type": "Country"}]
    country: Json = [{"name": "code", "type": "string"}]
    with CachedRegistry(
        {
            "/schemas/ids/7": response("Notice", fields, "Person", "Country"),
            "/subjects/Person/versions/1": response("Person", [{"name": "from", "type": "Country"}], "Country"),
            "/subjects/Country/versions/1": response("Country", country),
        }
    ) as registry:
        schema = registry.schema_of(7)

    assert ("Notice", "") == (schema.name, schema.error)
    assert ["/schemas/ids/7", "/subjects/Person/versions/1", "/subjects/Country/versions/1"] == registry.paths


@pytest.mark.parametrize("body", [b'{"id": "7"}', b'{"id": -1}', b'{"id": 1099511627776}', b'{"id": null}', b"[]"])
def test_an_invalid_id(body: bytes) -> None:
    """It would be met at the first record that is written with it."""
    schema = next(iter(schemas().outputs.values()))
    text = "the schema registry responded without an id of a schema"
    with (
        CachedRegistry({f"/subjects/{schema.name}": (200, body)}) as registry,
        pytest.raises(UnavailableError, match=text),
    ):
        SchemaRegistry(RegistryClient(registry.url, requests.Session())).id_of(schema)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_certificates_that_cannot_be_read(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reported with the setting's name before anything connects."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("PROCESSOR_SCHEMA_REGISTRY__CA_FILE", str(file))
    with pytest.raises(
        UsageError, match=r"PROCESSOR_SCHEMA_REGISTRY__CA_FILE=.*holds no certificates that can be read"
    ):
        load_settings()
