"""Writer schemas by id: from our own folder, else from the registry; what was found once is kept for ever."""

import json
import time
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any
from uuid import UUID

import requests
import structlog

from processor.engine.background import ask
from processor.errors import NotAllowedError
from processor.mapping.lookups import SchemaOf, UnavailableError
from processor.mapping.schemas import Schemas, WriterSchema, writer_schema
from processor.model.records import SchemaGuid, SchemaId
from processor.settings import Settings

log = structlog.get_logger()

TIMEOUT_S = 5.0
UNKNOWN_FOR_S = 30.0
MOST_UNKNOWN = 10_000
MAX_ANSWER_BYTES = 4 * 1024 * 1024

Wanted = SchemaId | SchemaGuid


def schemas_by_id(settings: Settings, schemas: Schemas) -> SchemaOf:
    """The lookup that mapping asks: our own ids, then, if one is set, the registry. Never blocks."""
    url = settings.schema_registry.url
    if url is None:
        return schemas.local_schema
    registry = Registry(url, session_of(settings))

    def schema_of(wanted: Wanted) -> WriterSchema:
        try:
            return schemas.local_schema(wanted)
        except KeyError:
            return registry.schema_of(wanted)

    return schema_of


def session_of(settings: Settings) -> requests.Session:
    """Connections to the registry: who we are, and whom we believe."""
    given = settings.schema_registry
    session = requests.Session()
    if given.username is not None:
        session.auth = (given.username, given.password.get_secret_value() if given.password is not None else "")
    if given.ca_file is not None:
        session.verify = str(given.ca_file)
    return session


class Registry:
    """A Confluent-API registry, asked in the background: a record whose schema is not here yet waits, others go on.

    https://docs.confluent.io/platform/current/schema-registry/develop/api.html . A schema is kept for ever, since an id
    never changes it; that an id is unknown is believed for 30 s, since it may be registered any time.
    """

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._known: dict[Wanted, WriterSchema] = {}
        self._unknown: dict[Wanted, float] = {}  # until when it is believed
        self._asked: dict[Wanted, Future[WriterSchema]] = {}

    def schema_of(self, wanted: Wanted) -> WriterSchema:
        """The schema of `wanted`. KeyError: the registry has none. UnavailableError: no answer yet, ask again."""
        if wanted in self._known:
            return self._known[wanted]
        if self._unknown.get(wanted, 0.0) > time.monotonic():
            raise KeyError(wanted)
        asked = self._asked.get(wanted)
        if asked is None:
            self._asked[wanted] = ask(lambda: self._fetch(wanted), name="registry")
        if asked is None or not asked.done():
            raise UnavailableError("waiting for the schema registry")
        del self._asked[wanted]
        try:
            self._known[wanted] = asked.result()
        except KeyError:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[wanted] = time.monotonic() + UNKNOWN_FOR_S
            raise
        return self._known[wanted]

    def _fetch(self, wanted: Wanted) -> WriterSchema:
        path = f"/schemas/guids/{UUID(bytes=wanted)}" if isinstance(wanted, bytes) else f"/schemas/ids/{wanted}"
        try:
            # `verify` by each call: the environment's bundle would win over the session's.
            more: dict[str, Any] = {"timeout": TIMEOUT_S, "allow_redirects": False, "verify": self._session.verify}
            with self._session.get(self._url + path, stream=True, **more) as answer:
                if answer.status_code == HTTPStatus.NOT_FOUND:
                    raise KeyError(wanted)
                if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise NotAllowedError(
                        f"the schema registry refuses us: {answer.status_code}",
                        hint="check PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD",
                    )
                answer.raise_for_status()
                body = b""
                for part in answer.iter_content(65_536):
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise UnavailableError(f"the schema registry answers with over {MAX_ANSWER_BYTES} bytes")
        except requests.RequestException as error:
            raise UnavailableError(f"the schema registry did not answer: {type(error).__name__}") from error
        log.info("schema fetched", path=path)
        return _schema_in(body)


def _schema_in(body: bytes) -> WriterSchema:
    """The schema of an answer {"schema": "…"}; one that is no Avro schema says so when a record is read with it."""
    try:
        text = json.loads(body)["schema"]
    except (ValueError, TypeError, KeyError) as error:
        raise UnavailableError(f"the schema registry did not answer with a schema: {error!r}") from error
    return writer_schema(str(text))
