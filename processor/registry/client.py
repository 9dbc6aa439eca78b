"""A schema registry with Confluent's API over HTTP: requests, and what its responses mean. Everything here blocks.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit
from uuid import UUID

import requests

from processor.domain.record import SchemaGuid, SchemaId
from processor.domain.text import quote
from processor.errors import AuthorizationError, FatalError, UnavailableError, UsageError
from processor.settings import MASK, Settings
from processor.wire.schema import WriterSchema
from processor.wire.schema_parser import parse_writer_schema

READ_TIMEOUT_S: Final = 5.0  # to connect, and between two parts of a response
MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024
MAX_REFERENCES: Final = 50
MAX_MESSAGE_CHARACTERS: Final = 200  # of the registry's own message
NOT_FOUND_CODES: Final = frozenset((40401, 40402, 40403))  # subject, version, schema

SchemaKey = SchemaId | SchemaGuid


def _refusal(status: int, _path: str, _body: bytes) -> FatalError:
    return AuthorizationError(
        f"the schema registry refuses us: {status}", hint="check PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD"
    )


def _invalid_request(_status: int, path: str, body: bytes) -> FatalError:
    return UsageError(
        f"the schema registry does not take {path}: {body[:300].decode(errors='replace')}",
        hint="`processor schemas check` says what does not fit",
    )


_STATUS_ERRORS: Final[Mapping[int, Callable[[int, str, bytes], FatalError]]] = {  # status -> why a command ends
    HTTPStatus.UNAUTHORIZED: _refusal,
    HTTPStatus.FORBIDDEN: _refusal,
    HTTPStatus.CONFLICT: _invalid_request,
    HTTPStatus.UNPROCESSABLE_ENTITY: _invalid_request,
}


class NoSchemaError(Exception):
    """A look-up of one id gave no schema. `cause` is one of few texts; `message` is the registry's own.

    `has_response`: a response came, whatever it was. `serves_others`: right after it the registry gave another schema.
    """

    def __init__(self, cause: str, *, message: str = "", has_response: bool = True) -> None:
        super().__init__(f"{cause}: {message}" if message else cause)
        self.cause = cause
        self.has_response = has_response
        self.serves_others = False


def open_session(settings: Settings) -> requests.Session:
    """Connections to the registry of the settings, with its credentials and certificates."""
    registry = settings.schema_registry
    session = requests.Session()
    if registry.username is not None:
        password = registry.password.get_secret_value() if registry.password is not None else ""
        session.auth = (registry.username, password)
    if registry.ca_file is not None:
        session.verify = str(registry.ca_file)
    return session


class RegistryClient:
    """The registry at `url`."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url.rstrip("/")
        self._session = session

    def request(self, method: str, path: str, *, json_body: Any = None) -> Any:
        """The JSON of a response; None when the registry says that there is no such subject, version or schema.

        A 404 in other words is a proxy's or a wrong address's. For commands and the start of `run`: raises
        UnavailableError for no response, or an unusable one, AuthorizationError when it refuses us, UsageError when it
        does not take what was sent.
        """
        status, body = self._send(method, path, json_body=json_body)
        if error := _STATUS_ERRORS.get(status):
            raise error(status, urlsplit(self._url + path).path, body)
        response = _parse_json(body)
        if _is_not_found(status, response):
            return None
        if status != HTTPStatus.OK or response is None:
            raise UnavailableError(_unusable(status))
        return response

    def fetch_schema(self, key: SchemaKey) -> WriterSchema:
        """The schema of an id, with those that it names. KeyError: the registry has none; NoSchemaError for an unusable
        response, or none."""
        if isinstance(key, int) and key >= 2**31:
            raise KeyError(key)  # no registry gives such an id, and may respond to one as to a wrong path
        path = f"/schemas/guids/{UUID(bytes=key)}" if isinstance(key, bytes) else f"/schemas/ids/{key}"
        response = self._fetch(path)
        kind = response.get("schemaType") or "AVRO"
        if kind != "AVRO":
            return WriterSchema(response["schema"], "", None, f"not an Avro schema, but {quote(str(kind))}")
        references: dict[tuple[str, int], str] = {}
        self._fetch_references(response, references, depth=0)
        return parse_writer_schema(response["schema"], tuple(references.values()))

    def list_subjects(self) -> list[Any] | None:
        """The registry's subjects; None when it does not respond with a list."""
        try:
            status, body = self._send("GET", "/subjects")
        except UnavailableError:
            return None
        response = _parse_json(body)
        return response if status == HTTPStatus.OK and isinstance(response, list) else None

    def _fetch_references(self, response: dict[str, Any], found: dict[tuple[str, int], str], *, depth: int) -> None:
        """The schemas that a response names, each after those that it names itself, into `found`."""
        references = response.get("references") or []
        if not isinstance(references, list):
            raise NoSchemaError("its `references` are not a list")
        for reference in references:
            try:
                version = str(reference["subject"]), int(reference["version"])
            except (TypeError, KeyError, ValueError, OverflowError) as error:
                raise NoSchemaError("it names a schema without a place", message=quote(repr(error), 200)) from error
            if version in found:
                continue
            if depth >= MAX_REFERENCES or len(found) >= MAX_REFERENCES:
                raise NoSchemaError(f"it names over {MAX_REFERENCES} others")
            path = f"/subjects/{percent_encode(version[0], safe='')}/versions/{version[1]}"
            try:
                referenced = self._fetch(path)
            except KeyError as error:
                raise NoSchemaError("it names a schema that does not exist", message=quote(path, 200)) from error
            self._fetch_references(referenced, found, depth=depth + 1)
            found[version] = referenced["schema"]
            if sum(map(len, found.values())) > MAX_RESPONSE_BYTES:
                raise NoSchemaError(f"with the schemas that it names it is over {MAX_RESPONSE_BYTES} bytes")

    def _fetch(self, path: str) -> dict[str, Any]:
        """The response {"schema": "…"} to a path. KeyError: the registry says that there is none."""
        try:
            status, body = self._send("GET", path)
        except UnavailableError as error:
            raise NoSchemaError(str(error), has_response=False) from error
        response = _parse_json(body)
        if _is_not_found(status, response):
            raise KeyError(path)
        message = self._message(body, response)
        if status == HTTPStatus.NOT_FOUND and self.list_subjects() is not None:
            # Some registries have no path for GUIDs. One that responds to what all have is there, and does not know it.
            raise KeyError(path)
        if status != HTTPStatus.OK or response is None:
            raise NoSchemaError(_unusable(status), message=message)
        if not isinstance(response, dict) or not isinstance(response.get("schema"), str):
            raise NoSchemaError("the schema registry responded without a schema", message=message)
        return response

    def _send(self, method: str, path: str, *, json_body: Any = None) -> tuple[int, bytes]:
        """Status and body of the response, redirects not followed. UnavailableError: none came, or a huge one."""
        # `verify` by each call: the environment's bundle would win over the session's.
        options: dict[str, Any] = {
            "timeout": READ_TIMEOUT_S,
            "allow_redirects": False,
            "verify": self._session.verify,
        }
        try:
            with self._session.request(method, self._url + path, json=json_body, stream=True, **options) as response:
                return response.status_code, _read_body(response)
        except (requests.RequestException, OSError) as error:
            raise UnavailableError(f"the schema registry did not respond: {type(error).__name__}") from error

    def _message(self, body: bytes, response: Any) -> str:
        """The registry's own message, on one line, cut, without our password."""
        message = response.get("message") if isinstance(response, dict) else None
        text = message if isinstance(message, str) else body[: MAX_MESSAGE_CHARACTERS * 4].decode(errors="replace")
        if isinstance(self._session.auth, tuple) and self._session.auth[1]:
            user, password = self._session.auth
            sent = b64encode(f"{user}:{password}".encode()).decode()
            text = text.replace(sent, MASK).replace(password, MASK)
        return quote(text, MAX_MESSAGE_CHARACTERS) if text.strip() else ""


def _parse_json(body: bytes) -> Any:
    """The JSON of a body; None for what is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_not_found(status: int, response: Any) -> bool:
    """Whether the API says that there is no such subject, version or schema."""
    return (
        status == HTTPStatus.NOT_FOUND and isinstance(response, dict) and response.get("error_code") in NOT_FOUND_CODES
    )


def _unusable(status: int) -> str:
    """What is wrong with a response that has another status than 200, or no JSON."""
    return f"the schema registry responded {'without JSON' if status == HTTPStatus.OK else f'with {status}'}"


def _read_body(response: requests.Response) -> bytes:
    body = b""
    for part in response.iter_content(65_536):
        body += part
        if len(body) > MAX_RESPONSE_BYTES:
            raise UnavailableError(f"the schema registry responds with over {MAX_RESPONSE_BYTES} bytes")
    return body
