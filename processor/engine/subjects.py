"""A schema registry asked by people and at start, in the foreground: what is registered, and under which id.

Subjects are full names of records. https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import requests

from processor.engine.registry import TIMEOUT_S, session_of
from processor.errors import NotAllowedError, UsageError
from processor.mapping.lookups import UnavailableError
from processor.mapping.schemas import OwnSchema, Schemas, writer_schema
from processor.model.records import SchemaId
from processor.settings import Settings


class Subjects:
    """The registry of the settings. Every method blocks up to 5 s and raises UnavailableError when there is no answer,
    NotAllowedError when it refuses us."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url.rstrip("/")
        self._session = session

    def id_of(self, schema: OwnSchema) -> SchemaId | None:
        """The registry's id of just this schema; None when it is not registered."""
        with _told():
            answer = self._ask("POST", f"/subjects/{schema.name}", json={"schema": schema.text})
            return None if answer is None else SchemaId(answer["id"])

    def versions(self, name: str) -> dict[SchemaId, str]:
        """Id -> text, of all versions that are registered for the subject."""
        with _told():
            numbers = self._ask("GET", f"/subjects/{name}/versions") or ()
            answers = [self._ask("GET", f"/subjects/{name}/versions/{number}") for number in numbers]
            return {SchemaId(answer["id"]): str(answer["schema"]) for answer in answers if answer is not None}

    def register(self, schema: OwnSchema) -> SchemaId:
        """The id of the schema, registered as a new version if it was not."""
        with _told():
            answer = self._ask("POST", f"/subjects/{schema.name}/versions", json={"schema": schema.text})
            return SchemaId(answer["id"])

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """The answer's JSON; None for 404."""
        # `verify` by each call: the environment's bundle would win over the session's.
        more |= {"timeout": TIMEOUT_S, "allow_redirects": False, "verify": self._session.verify}
        answer = self._session.request(method, self._url + path, **more)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise NotAllowedError(
                f"the schema registry refuses us: {answer.status_code}",
                hint="check PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD",
            )
        if answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise UsageError(
                f"the schema registry does not take {path}: {answer.text[:300]}",
                hint="`processor schemas check` says what does not fit",
            )
        answer.raise_for_status()
        return answer.json()


@contextmanager
def _told() -> Iterator[None]:
    """What is no answer, or not such a one as the API has, is no answer."""
    try:
        yield
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"the schema registry did not answer: {type(error).__name__}") from error


def subjects(settings: Settings) -> Subjects | None:
    """The registry that is set, if one is."""
    url = settings.schema_registry.url
    return None if url is None else Subjects(url, session_of(settings))


def with_registered_ids(settings: Settings, schemas: Schemas) -> Schemas:
    """Our schemas with the registry's ids for the outputs that are written as Avro: consumers ask it for them.

    `local` then has all versions of the outputs too, so that what was published is read without asking. Without a
    registry, the same. Raises UsageError for a schema that is not registered: `run` registers nothing.
    """
    registry = subjects(settings)
    formats = settings.output
    if registry is None or "avro" not in (formats.format, formats.stream_format):
        return schemas
    found: dict[str, OwnSchema] = {}
    missing = []
    for name, schema in schemas.outputs.items():
        registered = registry.id_of(schema)
        if registered is None:
            missing.append(name)
        else:
            found[name] = replace(schema, id=registered)
    if missing:
        raise UsageError(
            f"not registered in the schema registry: {', '.join(missing)}",
            hint="`processor schemas register` shows what it would register, and with --yes does",
        )
    published = {key: text for name in found for key, text in registry.versions(name).items()}
    return replace(
        schemas,
        outputs=MappingProxyType(found),
        local=MappingProxyType({**schemas.local, **{key: writer_schema(text) for key, text in published.items()}}),
    )
