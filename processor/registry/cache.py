"""Writer schemas by id: from our own folder, else from the registry; what was found once is kept for ever."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from processor.background import back_off_s, call_in_thread
from processor.errors import DeferredSchemaError, UnavailableError
from processor.registry.client import NoSchemaError, RegistryClient, SchemaKey, open_session
from processor.settings import Settings
from processor.wire.reader_schemas import FIRST_LOCAL_ID, Schemas
from processor.wire.schema import RefusedSchemaError, SchemaOf, WriterSchema, describe_schema_id

log = structlog.get_logger()

LOOKUP_TIMEOUT_S: Final = 20.0  # for one schema, with those that it names
UNKNOWN_TTL_S: Final = 30.0
LOOKUP_TTL_S: Final = 60.0  # the result of a look-up is dropped when no record has waited for it for so long
MAX_COUNTED_INTERVAL_S: Final = 60.0  # between two look-ups of an id that is refused
MAX_SCHEMAS: Final = 1_000
MAX_UNKNOWN: Final = 10_000
MAX_LOOKUPS: Final = 1_000
MAX_PROBES: Final = 3
WAIT_BACKOFF_S: Final = 0.01
MAX_WAIT_BACKOFF_S: Final = 0.5


def schemas_by_id(settings: Settings, schemas: Schemas) -> SchemaOf:
    """The look-up of decoding: our own ids, then, if one is set, the registry. Never blocks."""
    url = settings.schema_registry.url
    if url is None:
        return schemas.local_schema
    cache = SchemaCache(
        RegistryClient(url, open_session(settings)),
        refused_id_s=settings.schema_registry.refused_id_s,
        served=[schema.id for schema in schemas.outputs.values() if schema.id < FIRST_LOCAL_ID],
    )

    def schema_of(key: SchemaKey) -> WriterSchema:
        try:
            return schemas.local_schema(key)
        except KeyError:
            return cache.schema_of(key)

    return schema_of


def wait_for_schema(schema_of: SchemaOf, key: SchemaKey, *, timeout_s: float) -> WriterSchema:
    """What `schema_of`, which never blocks, gives in the end. Blocks up to `timeout_s` for a registry that has not
    responded yet; not for an id that it refuses. Raises as `schema_of`."""
    deadline, retries = time.monotonic() + timeout_s, 0
    while True:
        try:
            return schema_of(key)
        except DeferredSchemaError:
            raise
        except UnavailableError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(back_off_s(retries, first_s=WAIT_BACKOFF_S, longest_s=MAX_WAIT_BACKOFF_S))
        retries += 1


@dataclass(slots=True)
class _Lookup:
    """A look-up of one id, in the background."""

    schema: Future[WriterSchema]
    started_at: float
    needed_at: float  #: When a record last waited for it.


@dataclass(slots=True)
class _Refusal:
    """What the look-ups of an id gave, for which the registry has no schema."""

    failure: NoSchemaError
    counted_s: float = 0.0  #: For how long it was so while the registry served others.
    counted_at: float | None = None  #: When the last look-up began; None if the registry served no others then.


class SchemaCache:
    """The schemas of a registry, called in the background: a record whose schema is not here yet waits, others go on.

    A schema is kept, since an id never changes it; that an id is unknown holds for 30 s, since it may be registered any
    time.

    Whatever comes back for one id, or nothing at all, is about the records of that id, and never ends the
    process. Such an id is refused when the registry, called again at once, gives something else: a schema that it gave
    before, or, to a process that has none, a list of subjects. Refused for `refused_id_s` of such time, the id counts
    as unknown, until a later look-up finds it. A registry that gives nothing at all (down, an expired token) refuses no
    id: its records wait.
    """

    def __init__(self, client: RegistryClient, *, refused_id_s: float = 600, served: Iterable[SchemaKey] = ()) -> None:
        """`served`: ids whose schemas the registry gave before, oldest first."""
        self._client = client
        self._refused_id_s = refused_id_s
        self._schemas: dict[SchemaKey, WriterSchema] = {}
        self._served: deque[SchemaKey] = deque(served, maxlen=MAX_PROBES + 1)
        self._unknown: dict[SchemaKey, tuple[float, str]] = {}  # until when, and the detail of a refusal
        self._lookups: dict[SchemaKey, _Lookup] = {}
        self._refusals: dict[SchemaKey, _Refusal] = {}
        self._calls: dict[object, Future[Any]] = {}

    def schema_of(self, key: SchemaKey) -> WriterSchema:
        """The schema of `key`. Never blocks.

        KeyError: the registry has none; RefusedSchemaError, a KeyError: it has refused it for too long.
        UnavailableError: try again later; DeferredSchemaError, one of these: it refuses this id and gives others.
        """
        if key in self._schemas:
            return self._schemas[key]
        now = time.monotonic()
        until, detail = self._unknown.get(key, (0.0, ""))
        if until > now:
            raise RefusedSchemaError(key, detail) if detail else KeyError(key)
        lookup = self._lookups.get(key)
        if lookup is None or (lookup.schema.done() and now - lookup.needed_at > LOOKUP_TTL_S):
            probes = tuple(other for other in self._served if other != key)[-MAX_PROBES:]
            _make_room(self._lookups, MAX_LOOKUPS)
            lookup = _Lookup(call_in_thread(lambda: self._look_up(key, probes), name="registry"), now, now)
            self._lookups[key] = lookup
        lookup.needed_at = now
        if not lookup.schema.done():
            raise self._deferral(key)
        del self._lookups[key]
        try:
            schema = lookup.schema.result()
        except KeyError:
            self._refusals.pop(key, None)
            self._remember_unknown(key, "")
            raise
        except NoSchemaError as failure:
            raise self._count_failure(key, failure, at=lookup.started_at) from failure
        log.info("schema fetched", schema=describe_schema_id(key))
        self._refusals.pop(key, None)
        _make_room(self._schemas, MAX_SCHEMAS)
        self._schemas[key] = schema
        self._served.append(key)
        return schema

    def _count_failure(self, key: SchemaKey, failure: NoSchemaError, *, at: float) -> Exception:
        """Count a look-up that gave no schema and began `at`; the error that its record gets.

        When it began counts, not now: a slow broker may have kept us, and that says nothing about the registry.
        """
        if key not in self._refusals:
            _make_room(self._refusals, MAX_UNKNOWN)
        refusal = self._refusals.setdefault(key, _Refusal(failure))
        refusal.failure = failure
        if not failure.serves_others:
            refusal.counted_at = None
        else:
            if refusal.counted_at is not None:  # at most: perhaps no record waited for it meanwhile
                refusal.counted_s += min(at - refusal.counted_at, MAX_COUNTED_INTERVAL_S)
            refusal.counted_at = at
            if refusal.counted_s >= self._refused_id_s:
                detail = f"refused for {self._refused_id_s:.0f} s while other schemas were served: {failure}"
                self._remember_unknown(key, detail)
                return RefusedSchemaError(key, detail)
        return self._deferral(key)

    def _deferral(self, key: SchemaKey) -> UnavailableError:
        """Why a record has to wait: its look-up is under way, or the last one gave no schema."""
        refusal = self._refusals.get(key)
        if refusal is None:
            return UnavailableError("waiting for the schema registry")
        if refusal.failure.serves_others:
            return DeferredSchemaError(
                f"the schema registry serves other schemas, but not {describe_schema_id(key)}: {refusal.failure}"
            )
        return UnavailableError(refusal.failure.cause)

    def _remember_unknown(self, key: SchemaKey, detail: str) -> None:
        _make_room(self._unknown, MAX_UNKNOWN)
        self._unknown[key] = (time.monotonic() + UNKNOWN_TTL_S, detail)

    # --- in the background: blocks ---

    def _look_up(self, key: SchemaKey, probes: Sequence[SchemaKey]) -> WriterSchema:
        """The schema of `key`. KeyError: the registry has none; NoSchemaError for all else that may happen."""
        try:
            schema: WriterSchema = self._call_in_time(key, partial(self._client.fetch_schema, key))
        except KeyError:
            raise
        except NoSchemaError as error:
            failure = error
        except Exception as error:  # whatever a response makes a library raise is about this id
            log.exception("schema look-up failed", schema=describe_schema_id(key))
            failure = NoSchemaError(f"its response cannot be read: {type(error).__name__}")
        else:
            return schema
        failure.serves_others = self._serves_others(probes)
        raise failure

    def _serves_others(self, probes: Sequence[SchemaKey]) -> bool:
        """Whether the registry serves anything just now: one of the schemas `probes`, the newest first.

        Without any it has to list subjects: an empty list is what a user gets who may see none.
        """
        for other in reversed(probes):
            try:
                self._call_in_time(("other", other), partial(self._client.fetch_schema, other))
            except NoSchemaError as failure:
                if not failure.has_response:
                    return False
            except Exception as error:  # as in _look_up
                log.debug("schema not available", schema=describe_schema_id(other), error=repr(error))
            else:
                return True
        if probes:
            return False
        try:
            return bool(self._call_in_time("/subjects", self._client.list_subjects))
        except Exception as error:  # as in _look_up
            log.debug("subjects not available", error=repr(error))
            return False

    def _call_in_time(self, name: object, call: Callable[[], Any]) -> Any:
        """The result of `call`; NoSchemaError after LOOKUP_TIMEOUT_S. One that never ends runs once for each name."""
        running = self._calls.get(name)
        if running is None:
            running = self._calls[name] = call_in_thread(call, name="registry-call")
        try:
            return running.result(LOOKUP_TIMEOUT_S)
        except TimeoutError as late:
            raise NoSchemaError(f"no response within {LOOKUP_TIMEOUT_S:.0f} s", has_response=False) from late
        finally:
            if running.done():
                self._calls.pop(name, None)


def _make_room(entries: dict[SchemaKey, Any], limit: int) -> None:
    """Forget the oldest entry when the limit is reached."""
    if len(entries) >= limit:
        del entries[next(iter(entries))]
