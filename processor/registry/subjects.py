"""A schema registry in the foreground, for commands and at start: what is registered, and under which id.

Subjects are full names of records. https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import structlog

from processor.domain.output_topics import STREAM_EVENT
from processor.domain.record import SchemaId
from processor.errors import AuthorizationError, UnavailableError, UsageError
from processor.registry.client import RegistryClient, open_session
from processor.settings import Settings
from processor.wire.reader_schemas import ReaderSchema, Schemas
from processor.wire.schema_parser import parse_writer_schema
from processor.wire.wire_format import WireFormat

log = structlog.get_logger()


class SchemaRegistry:
    """What a schema registry has of each subject, and a way to add to it.

    Every method blocks up to 5 s, and raises UnavailableError without a response, AuthorizationError when the registry
    refuses us.
    """

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    def id_of(self, schema: ReaderSchema) -> SchemaId | None:
        """The registry's id of just this schema; None when it is not registered."""
        with _translate_shape_errors():
            response = self._client.request("POST", f"/subjects/{schema.name}", json_body={"schema": schema.text})
            return None if response is None else _parse_id(response)

    def versions(self, name: str) -> dict[SchemaId, str]:
        """Id -> text, of all versions that are registered for the subject."""
        with _translate_shape_errors():
            numbers = self._client.request("GET", f"/subjects/{name}/versions") or ()
            responses = [self._client.request("GET", f"/subjects/{name}/versions/{number}") for number in numbers]
            return {_parse_id(response): str(response["schema"]) for response in responses if response is not None}

    def register(self, schema: ReaderSchema) -> SchemaId:
        """The id of the schema, registered as a new version if it was not."""
        with _translate_shape_errors():
            response = self._client.request(
                "POST", f"/subjects/{schema.name}/versions", json_body={"schema": schema.text}
            )
            return _parse_id(response)


def _parse_id(response: Any) -> SchemaId:
    number = response.get("id") if isinstance(response, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
        raise UnavailableError(f"the schema registry responded without an id of a schema: {str(response)[:100]}")
    return SchemaId(number)


@contextmanager
def _translate_shape_errors() -> Iterator[None]:
    """A response of another shape than the API has is as none."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"the schema registry did not respond as its API says: {error!r}") from error


def open_registry(settings: Settings) -> SchemaRegistry | None:
    """The registry that is set, if one is."""
    url = settings.schema_registry.url
    return None if url is None else SchemaRegistry(RegistryClient(url, open_session(settings)))


def with_registered_ids(settings: Settings, schemas: Schemas) -> Schemas:
    """Our schemas with the registry's ids, by which consumers find the schemas of what is written as Avro.

    `local` then has all versions of the outputs too, so that what was published is read without a look-up. Without a
    registry, the same. Raises UsageError for a schema that is written and not registered: `run` registers
    nothing.
    """
    registry = open_registry(settings)
    formats = settings.output
    if registry is None:
        return schemas
    if WireFormat.AVRO in (formats.format, formats.stream_format):
        return _with_registered_ids(registry, settings, schemas)
    try:  # nothing of it is written; it may be needed to read what was
        return _with_registered_ids(registry, settings, schemas)
    except (UnavailableError, AuthorizationError, UsageError) as unavailable:
        log.warning("registry ids unavailable", cause=str(unavailable))
        return schemas


def _with_registered_ids(registry: SchemaRegistry, settings: Settings, schemas: Schemas) -> Schemas:
    formats = settings.output
    outputs: dict[str, ReaderSchema] = {}
    missing = []
    for name, schema in schemas.outputs.items():
        registered = registry.id_of(schema)
        if registered is not None:
            schema = replace(schema, id=registered)
        elif (formats.stream_format if name == STREAM_EVENT else formats.format) is WireFormat.AVRO:
            missing.append(name)
        outputs[name] = schema
    if missing:
        raise UsageError(
            f"not registered in the schema registry: {', '.join(missing)}",
            hint="`processor schemas register` shows what it would register, and with --yes does",
        )
    published = {key: text for name in outputs for key, text in registry.versions(name).items()}
    return replace(
        schemas,
        outputs=MappingProxyType(outputs),
        local=MappingProxyType(
            {**schemas.local, **{key: parse_writer_schema(text) for key, text in published.items()}}
        ),
    )
