"""Writer schemas by id: from our own folder, else from the registry; what was found once is kept for ever."""

import json
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit
from uuid import UUID

import requests
import structlog

from processor.background import call_in_thread
from processor.domain.record import SchemaGuid, SchemaId
from processor.domain.text import quote
from processor.errors import AuthorizationError, DeferredSchemaError, UnavailableError, UsageError
from processor.settings import MASK, Settings
from processor.wire.reader_schemas import FIRST_LOCAL_ID, Schemas
from processor.wire.schema import RefusedSchemaError, SchemaOf, WriterSchema, describe_schema_id
from processor.wire.schema_parser import parse_writer_schema

log = structlog.get_logger()

TIMEOUT_S = 5.0  # to connect, and between two parts of a response
CALL_TIMEOUT_S = 20.0  # for one schema, with those that it names
UNKNOWN_FOR_S = 30.0
STALE_S = 60.0  # what a look-up found is not used when no record has waited for it for so long
MOST_BETWEEN_LOOKUPS_S = 60.0
MOST_KNOWN = 1_000
MOST_UNKNOWN = 10_000
MOST_LOOKUPS = 1_000
MOST_OTHERS = 3
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MOST_REFERENCES = 50
MOST_WORDS = 200  # characters of the registry's own message
NO_SUCH = frozenset((40401, 40402, 40403))  # subject, version, schema

Wanted = SchemaId | SchemaGuid


def schemas_by_id(settings: Settings, schemas: Schemas) -> SchemaOf:
    """The lookup that mapping asks: our own ids, then, if one is set, the registry. Never blocks."""
    url = settings.schema_registry.url
    if url is None:
        return schemas.local_schema
    registry = Registry(
        url,
        session_of(settings),
        refused_id_s=settings.schema_registry.refused_id_s,
        given=[schema.id for schema in schemas.outputs.values() if schema.id < FIRST_LOCAL_ID],
    )

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


class NoSchemaError(Exception):
    """A look-up of one id gave no schema. `cause` is one of few texts; `words` are the registry's own.

    `reached`: a response came, whatever it was. `others_answered`: right after it the registry gave another schema.
    """

    def __init__(self, cause: str, *, words: str = "", reached: bool = True) -> None:
        super().__init__(f"{cause}: {words}" if words else cause)
        self.cause = cause
        self.reached = reached
        self.others_answered = False


@dataclass(slots=True)
class _Lookup:
    """A look-up of one id, in the background."""

    schema: Future[WriterSchema]
    began_at: float
    wanted_at: float  #: When a record was last waiting for it.


@dataclass(slots=True)
class _Refusal:
    """What the look-ups of an id showed, for which the registry gave no schema."""

    failure: NoSchemaError
    counted_s: float = 0.0  #: For how long it was so while the registry gave others.
    counted_at: float | None = None  #: When the last look-up began; None if the registry gave no others then.


class Registry:
    """A Confluent-API registry, called in the background: a record whose schema is not here yet waits, others go on.

    https://docs.confluent.io/platform/current/schema-registry/develop/api.html . A schema is kept, since an id never
    changes it; that an id is unknown is believed for 30 s, since it may be registered any time.

    Whatever comes back for one id, or nothing at all, is about the records of that id, and never ends the
    process. Such an id is refused when the registry, called again at once, gives something else: a schema that it gave
    before, or, to a process that has none, a list of subjects. Refused for `refused_id_s` of such time, the id counts
    as unknown, until a later look-up finds it. A registry that gives nothing at all (down, an expired token) refuses no
    id: its records wait.
    """

    def __init__(
        self, url: str, session: requests.Session, *, refused_id_s: float = 600, given: Iterable[Wanted] = ()
    ) -> None:
        """`given`: ids that the registry has given before, oldest first."""
        self._url = url.rstrip("/")
        self._session = session
        self._refused_id_s = refused_id_s
        self._known: dict[Wanted, WriterSchema] = {}
        self._given: deque[Wanted] = deque(given, maxlen=MOST_OTHERS + 1)
        self._unknown: dict[Wanted, tuple[float, str]] = {}  # until when it is believed, and the detail of a refusal
        self._lookups: dict[Wanted, _Lookup] = {}
        self._refusals: dict[Wanted, _Refusal] = {}
        self._calls: dict[object, Future[Any]] = {}

    def schema_of(self, wanted: Wanted) -> WriterSchema:
        """The schema of `wanted`. Never blocks.

        KeyError: the registry has none; RefusedSchemaError, a KeyError: it has refused it for too long.
        UnavailableError: try again later; DeferredSchemaError, one of these: it refuses this id and gives others.
        """
        if wanted in self._known:
            return self._known[wanted]
        now = time.monotonic()
        until, detail = self._unknown.get(wanted, (0.0, ""))
        if until > now:
            raise RefusedSchemaError(wanted, detail) if detail else KeyError(wanted)
        lookup = self._lookups.get(wanted)
        if lookup is None or (lookup.schema.done() and now - lookup.wanted_at > STALE_S):
            given = tuple(other for other in self._given if other != wanted)[-MOST_OTHERS:]
            _make_room(self._lookups, MOST_LOOKUPS)
            lookup = _Lookup(call_in_thread(lambda: self._look_up(wanted, given), name="registry"), now, now)
            self._lookups[wanted] = lookup
        lookup.wanted_at = now
        if not lookup.schema.done():
            raise self._deferral(wanted)
        del self._lookups[wanted]
        try:
            schema = lookup.schema.result()
        except KeyError:
            self._refusals.pop(wanted, None)
            self._remember_unknown(wanted, "")
            raise
        except NoSchemaError as failure:
            raise self._count_failure(wanted, failure, at=lookup.began_at) from failure
        log.info("schema fetched", schema=describe_schema_id(wanted))
        self._refusals.pop(wanted, None)
        _make_room(self._known, MOST_KNOWN)
        self._known[wanted] = schema
        self._given.append(wanted)
        return schema

    def _count_failure(self, wanted: Wanted, failure: NoSchemaError, *, at: float) -> Exception:
        """Count a look-up that gave no schema and began `at`; the error that its record gets.

        When it began counts, not now: a slow broker may have kept us, and that says nothing about the registry.
        """
        if wanted not in self._refusals:
            _make_room(self._refusals, MOST_UNKNOWN)
        refusal = self._refusals.setdefault(wanted, _Refusal(failure))
        refusal.failure = failure
        if not failure.others_answered:
            refusal.counted_at = None
        else:
            if refusal.counted_at is not None:  # at most: perhaps no record waited for it meanwhile
                refusal.counted_s += min(at - refusal.counted_at, MOST_BETWEEN_LOOKUPS_S)
            refusal.counted_at = at
            if refusal.counted_s >= self._refused_id_s:
                detail = f"refused for {self._refused_id_s:.0f} s while others were given: {failure}"
                self._remember_unknown(wanted, detail)
                return RefusedSchemaError(wanted, detail)
        return self._deferral(wanted)

    def _deferral(self, wanted: Wanted) -> UnavailableError:
        """Why a record has to wait: its look-up is under way, or the last one gave no schema."""
        refusal = self._refusals.get(wanted)
        if refusal is None:
            return UnavailableError("waiting for the schema registry")
        if refusal.failure.others_answered:
            return DeferredSchemaError(
                f"the schema registry gives others and not {describe_schema_id(wanted)}: {refusal.failure}"
            )
        return UnavailableError(refusal.failure.cause)

    def _remember_unknown(self, wanted: Wanted, detail: str) -> None:
        _make_room(self._unknown, MOST_UNKNOWN)
        self._unknown[wanted] = (time.monotonic() + UNKNOWN_FOR_S, detail)

    # --- in the background: blocks ---

    def _look_up(self, wanted: Wanted, given: Sequence[Wanted]) -> WriterSchema:
        """The schema of `wanted`. KeyError: the registry has none; NoSchemaError for all else that may happen."""
        try:
            schema: WriterSchema = self._call_in_time(wanted, partial(self._fetch, wanted))
        except KeyError:
            raise
        except NoSchemaError as error:
            failure = error
        except Exception as error:  # whatever a response makes a library raise is about this id
            log.exception("schema look-up failed", schema=describe_schema_id(wanted))
            failure = NoSchemaError(f"its answer cannot be read: {type(error).__name__}")
        else:
            return schema
        failure.others_answered = self._gives_others(given)
        raise failure

    def _gives_others(self, given: Sequence[Wanted]) -> bool:
        """Whether the registry gives anything just now: one of the `given` schemas, the newest first.

        Where none was given yet, it has to list subjects: an empty list is what it gives to a user who may see none.
        """
        for other in reversed(given):
            try:
                self._call_in_time(("other", other), partial(self._fetch, other))
            except NoSchemaError as failure:
                if not failure.reached:
                    return False
            except Exception as error:  # as in _look_up
                log.debug("schema not available", schema=describe_schema_id(other), error=repr(error))
            else:
                return True
        if given:
            return False
        try:
            return bool(self._call_in_time("/subjects", self._subjects))
        except Exception as error:  # as in _look_up
            log.debug("subjects not available", error=repr(error))
            return False

    def _call_in_time(self, key: object, call: Callable[[], Any]) -> Any:
        """The result of `call`; NoSchemaError after CALL_TIMEOUT_S. A call that never ends runs once for each key."""
        running = self._calls.get(key)
        if running is None:
            running = self._calls[key] = call_in_thread(call, name="registry-call")
        try:
            return running.result(CALL_TIMEOUT_S)
        except TimeoutError as late:
            raise NoSchemaError(f"no answer within {CALL_TIMEOUT_S:.0f} s", reached=False) from late
        finally:
            if running.done():
                self._calls.pop(key, None)

    def _fetch(self, wanted: Wanted) -> WriterSchema:
        if isinstance(wanted, int) and wanted >= 2**31:
            raise KeyError(wanted)  # no registry gives such an id, and may respond to one as to a wrong path
        path = _path(wanted)
        response = self._request_schema(path)
        kind = response.get("schemaType") or "AVRO"
        if kind != "AVRO":
            return WriterSchema(response["schema"], "", None, f"not an Avro schema, but {quote(str(kind))}")
        found: dict[tuple[str, int], str] = {}
        self._fetch_references(response, found, depth=0)
        return parse_writer_schema(response["schema"], tuple(found.values()))

    def _fetch_references(self, response: dict[str, Any], found: dict[tuple[str, int], str], *, depth: int) -> None:
        """The schemas that a response names, each after those that it names itself, into `found`."""
        references = response.get("references") or []
        if not isinstance(references, list):
            raise NoSchemaError("its `references` are no list")
        for reference in references:
            try:
                at = str(reference["subject"]), int(reference["version"])
            except (TypeError, KeyError, ValueError, OverflowError) as error:
                raise NoSchemaError("it names a schema without a place", words=quote(repr(error), 200)) from error
            if at in found:
                continue
            if depth >= MOST_REFERENCES or len(found) >= MOST_REFERENCES:
                raise NoSchemaError(f"it names over {MOST_REFERENCES} others")
            path = f"/subjects/{percent_encode(at[0], safe='')}/versions/{at[1]}"
            try:
                other = self._request_schema(path)
            except KeyError as error:
                raise NoSchemaError("it names a schema that is not there", words=quote(path, 200)) from error
            self._fetch_references(other, found, depth=depth + 1)
            found[at] = other["schema"]
            if sum(map(len, found.values())) > MAX_ANSWER_BYTES:
                raise NoSchemaError(f"with the schemas that it names it is over {MAX_ANSWER_BYTES} bytes")

    def _request_schema(self, path: str) -> dict[str, Any]:
        """The response {"schema": "…"} to a path. KeyError: the registry says that there is none."""
        try:
            status, body = call(self._session, "GET", self._url + path)
        except UnavailableError as error:
            raise NoSchemaError(str(error), reached=False) from error
        response = _json_of(body)
        if _says_none(status, response):
            raise KeyError(path)
        words = _words(body, response, self._session)
        if status == HTTPStatus.NOT_FOUND and self._subjects() is not None:
            # Some registries have no path for GUIDs. One that answers to what all have is there, and does not know it.
            raise KeyError(path)
        if status != HTTPStatus.OK:
            raise NoSchemaError(f"the schema registry answered with {status}", words=words)
        if response is None:
            raise NoSchemaError("the schema registry answered without JSON", words=words)
        if not isinstance(response, dict) or not isinstance(response.get("schema"), str):
            raise NoSchemaError("the schema registry answered without a schema", words=words)
        return response

    def _subjects(self) -> list[Any] | None:
        """The registry's subjects; None when it does not respond with a list."""
        try:
            status, body = call(self._session, "GET", f"{self._url}/subjects")
        except UnavailableError:
            return None
        response = _json_of(body)
        return response if status == HTTPStatus.OK and isinstance(response, list) else None


def _make_room(remembered: dict[Wanted, Any], most: int) -> None:
    """Forget the oldest entry when there are as many as may be remembered."""
    if len(remembered) >= most:
        del remembered[next(iter(remembered))]


def _path(wanted: Wanted) -> str:
    return f"/schemas/guids/{UUID(bytes=wanted)}" if isinstance(wanted, bytes) else f"/schemas/ids/{wanted}"


def _json_of(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _says_none(status: int, response: Any) -> bool:
    """Whether the API says that there is no such subject, version or schema."""
    return status == HTTPStatus.NOT_FOUND and isinstance(response, dict) and response.get("error_code") in NO_SUCH


def _words(body: bytes, response: Any, session: requests.Session) -> str:
    """What the registry said, on one line, cut, without our password."""
    message = response.get("message") if isinstance(response, dict) else None
    words = message if isinstance(message, str) else body[: MOST_WORDS * 4].decode(errors="replace")
    if isinstance(session.auth, tuple) and session.auth[1]:
        user, password = session.auth
        sent = b64encode(f"{user}:{password}".encode()).decode()
        words = words.replace(sent, MASK).replace(password, MASK)
    return quote(words, MOST_WORDS) if words.strip() else ""


def call(session: requests.Session, method: str, url: str, *, json_body: Any = None) -> tuple[int, bytes]:
    """Status and body of the registry's response, redirects not followed. Blocks. UnavailableError: none came."""
    # `verify` by each call: the environment's bundle would win over the session's.
    more: dict[str, Any] = {"timeout": TIMEOUT_S, "allow_redirects": False, "verify": session.verify}
    try:
        with session.request(method, url, json=json_body, stream=True, **more) as response:
            return response.status_code, _bounded(response)
    except (requests.RequestException, OSError) as error:
        raise UnavailableError(f"the schema registry did not answer: {type(error).__name__}") from error


def asked(session: requests.Session, method: str, url: str, *, json_body: Any = None) -> Any:
    """The JSON of a registry's response; None when it says that there is no such subject, version or schema. Blocks.

    A 404 in other words is a proxy's or a wrong address's, and no answer. For commands and the start of `run`: raises
    UnavailableError for what is no answer, AuthorizationError when it refuses us, UsageError when it does not take what
    was sent.
    """
    status, body = call(session, method, url, json_body=json_body)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise AuthorizationError(
            f"the schema registry refuses us: {status}",
            hint="check PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD",
        )
    if status in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
        raise UsageError(
            f"the schema registry does not take {urlsplit(url).path}: {body[:300].decode(errors='replace')}",
            hint="`processor schemas check` says what does not fit",
        )
    response = _json_of(body)
    if _says_none(status, response):
        return None
    if status != HTTPStatus.OK or response is None:
        what = "without JSON" if status == HTTPStatus.OK else f"with {status}"
        raise UnavailableError(f"the schema registry answered {what}")
    return response


def _bounded(response: requests.Response) -> bytes:
    body = b""
    for part in response.iter_content(65_536):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise UnavailableError(f"the schema registry answers with over {MAX_ANSWER_BYTES} bytes")
    return body
