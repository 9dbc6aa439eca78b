"""Writer schemas by id: from our own folder, else from the registry; what was found once is kept for ever."""

import json
import time
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import requests
import structlog

from processor.engine.background import ask
from processor.errors import NotAllowedError, UsageError
from processor.mapping.lookups import SchemaOf, UnavailableError
from processor.mapping.schemas import Schemas, WriterSchema, writer_schema
from processor.model.records import SchemaGuid, SchemaId
from processor.settings import Settings

log = structlog.get_logger()

TIMEOUT_S = 5.0
UNKNOWN_FOR_S = 30.0
MOST_UNKNOWN = 10_000
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MOST_REFERENCES = 50
NO_SUCH = frozenset((40401, 40402, 40403))  # subject, version, schema

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


class NoSuchPathError(UnavailableError):
    """A 404 that does not say what is missing: a proxy's, a wrong address's, or of a path that this registry lacks."""


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
        if isinstance(wanted, int) and wanted >= 2**31:
            raise KeyError(wanted)  # no registry gives such an id, and asked for one it answers like a wrong path
        path = f"/schemas/guids/{UUID(bytes=wanted)}" if isinstance(wanted, bytes) else f"/schemas/ids/{wanted}"
        try:
            answer = self._asked_once(path)
        except NoSuchPathError:
            # Some registries have no path for GUIDs. One that answers to what all have is there, and does not know it.
            if not isinstance(asked(self._session, "GET", f"{self._url}/subjects"), list):
                raise
            raise KeyError(wanted) from None
        if answer is None:
            raise KeyError(wanted)
        found: dict[tuple[str, int], str] = {}
        self._fetch_references(answer, found, depth=0)
        log.info("schema fetched", path=path)
        return writer_schema(_text(answer, path), tuple(found.values()))

    def _fetch_references(self, answer: Any, found: dict[tuple[str, int], str], *, depth: int) -> None:
        """The schemas that an answer names, each after those that it names itself, into `found`."""
        for named in answer.get("references") or ():
            try:
                at = str(named["subject"]), int(named["version"])
            except (TypeError, KeyError, ValueError) as error:
                raise UnavailableError(f"the schema registry names a schema without a place: {error!r}") from error
            if at in found:
                continue
            if depth >= MOST_REFERENCES or len(found) >= MOST_REFERENCES:
                raise UnavailableError(f"a schema of the registry names over {MOST_REFERENCES} others")
            path = f"/subjects/{quote(at[0], safe='')}/versions/{at[1]}"
            if (other := self._asked_once(path)) is None:
                raise UnavailableError(f"the schema registry names {path} and does not have it")
            self._fetch_references(other, found, depth=depth + 1)
            found[at] = _text(other, path)

    def _asked_once(self, path: str) -> Any:
        answer = asked(self._session, "GET", self._url + path)
        if answer is not None and not isinstance(answer, dict):
            raise UnavailableError(f"the schema registry did not answer {path} as its API says")
        return answer


def _text(answer: dict[str, Any], path: str) -> str:
    """The schema of an answer {"schema": "…"}; one that is no Avro schema says so when a record is read with it."""
    text = answer.get("schema")
    if not isinstance(text, str):
        raise UnavailableError(f"the schema registry did not answer {path} with a schema")
    return text


def asked(session: requests.Session, method: str, url: str, *, json_body: Any = None) -> Any:
    """The JSON of a registry's answer; None when it says that there is no such subject, version or schema. Blocks.

    A 404 in other words is a proxy's or a wrong address's, and no answer: what is unknown becomes a dead letter, and
    a registry that is away must not. Raises UnavailableError for what is no answer, NotAllowedError when it refuses us,
    UsageError when it does not take what it was given.
    """
    # `verify` by each call: the environment's bundle would win over the session's.
    more: dict[str, Any] = {"timeout": TIMEOUT_S, "allow_redirects": False, "verify": session.verify}
    try:
        with session.request(method, url, json=json_body, stream=True, **more) as answer:
            body = _bounded(answer)
    except (requests.RequestException, OSError) as error:
        raise UnavailableError(f"the schema registry did not answer: {type(error).__name__}") from error
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise NotAllowedError(
            f"the schema registry refuses us: {answer.status_code}",
            hint="check PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD",
        )
    if answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
        raise UsageError(
            f"the schema registry does not take {urlsplit(url).path}: {body[:300].decode(errors='replace')}",
            hint="`processor schemas check` says what does not fit",
        )
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if answer.status_code == HTTPStatus.NOT_FOUND and isinstance(told, dict) and told.get("error_code") in NO_SUCH:
        return None
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise NoSuchPathError("the schema registry answered with 404")
    if answer.status_code != HTTPStatus.OK or told is None:
        what = "without JSON" if answer.status_code == HTTPStatus.OK else f"with {answer.status_code}"
        raise UnavailableError(f"the schema registry answered {what}")
    return told


def _bounded(answer: requests.Response) -> bytes:
    body = b""
    for part in answer.iter_content(65_536):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise UnavailableError(f"the schema registry answers with over {MAX_ANSWER_BYTES} bytes")
    return body
