"""Events of another producer in Avro, and a registry with its schemas, which responds to an id as the number decides.

The schemas are a writer's, not the processor's: written by hand, with the fewest fields that the domain allows. An even
id is one of loans, an odd one of deposits.
"""

import io
import json
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from fastavro import parse_schema, schemaless_writer

from tests.soak.expected import DeadLettered, Headers, Record, Valid, ordering_key
from tests.support.http_server import NO_SCHEMA, LoopbackServer, Response, json_response

REFUSED_ID_S: Final = 1
"""How long a worker retries an id that is refused: well over the time for which any id of `ODD_RESPONSES` is refused,
on a busy machine too, and short beside the run time of a worker that is to be killed."""

GOOD_ID: Final = 10  #: Up to 20: always there.
ODD_ID: Final = 1_000_000  #: × 1 + the index of an odd kind, + any number: odd for a while from the first request on.
REFUSED_ID: Final = 500_000_000  #: From here on: always refused.
LATE_ID: Final = 600_000_000  #: From here on: unknown until `register`.
DELETABLE_ID: Final = 700_000_000  #: From here on: known until `delete`.
LATE_REFUSED_ID: Final = 800_000_000  #: From here on: refused until `register`.
_NO_ID: Final = 900_000_000

REFUSED_RESPONSE: Final = json_response({"error_code": 40301, "message": "User is denied operation READ"}, status=403)
ODD_PERIOD_S: Final = 0.3
ODD_RESPONSES: Final[Mapping[str, Response]] = {
    "refused (403) for a moment": REFUSED_RESPONSE,
    "too many requests (429) for a moment": Response(429, b'{"error_code": 42901, "message": "slow down"}'),
    "broken (500)": Response(500, b'{"error_code": 50001, "message": "Error in the backend datastore"}'),
    "HTML": Response(200, b"<html>Sign in</html>"),
    "references of a wrong type": json_response({"schema": '"string"', "references": 5}),
    "no response": Response(0),
    "slow": Response(503, delay_s=7.0),  # over a worker's timeout
}
"""Kind -> the response from the first request on, for `ODD_PERIOD_S`."""
ODD_KINDS: Final = tuple(ODD_RESPONSES)
REFUSED_KIND: Final = "refused (403) for ever"


def _record(name: str, fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": type_} for field, type_ in fields]}


def _writer(family: str, event: str) -> dict[str, Any]:
    """The schema of a producer that knows one event of a family."""
    money = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}
    holder = [("encodedKey", "string"), ("id", "string")]
    client = [*holder, ("fullName", "string"), ("emailAddress", _optional()), ("mobilePhone", _optional())]
    account = [
        *holder,
        ("kind", _enum("AccountKind", "LOAN", "DEPOSIT")),
        ("name", "string"),
        ("currencyCode", "string"),
    ]
    transaction = [
        *holder,
        ("type", "string"),
        ("amount", money),
        ("date", {"type": "int", "logicalType": "date"}),
        ("comment", _optional()),
    ]
    return _record(
        f"banking.events.{family}",
        [
            ("eventId", {"type": "string", "logicalType": "uuid"}),
            ("event", _enum(f"{family}Type", event)),
            ("occurredAt", {"type": "long", "logicalType": "timestamp-micros"}),
            ("tenant", "string"),
            ("desk", ["null", "int"]),  # the processor's schemas do not have it
            ("account", _record("banking.events.common.Account", account)),
            ("transaction", _record("banking.events.common.Transaction", transaction)),
            ("client", ["null", _record("banking.events.common.Client", client)]),
            ("group", ["null", _record("banking.events.common.Group", [*holder, ("name", "string")])]),
            ("customFields", {"type": "map", "values": "string"}),
        ],
    )


def _enum(name: str, *symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols)}


def _optional(type_: str = "string") -> list[str]:
    return ["null", type_]


_SCHEMAS: Final = (
    _writer("LoanTransactionEvent", "LOAN_REPAYMENT"),
    _writer("DepositTransactionEvent", "SAVINGS_DEPOSIT"),
)
_PARSED: Final = tuple(parse_schema(schema) for schema in _SCHEMAS)
AVRO_EVENTS: Final = ("LOAN_REPAYMENT", "SAVINGS_DEPOSIT")
"""Events that this producer writes in Avro."""


def avro(event: Mapping[str, Any]) -> bytes:
    """The unframed Avro of an event of `AVRO_EVENTS`, which is given in JSON form."""
    transaction = event["transaction"]
    fields = {
        **event,
        "occurredAt": datetime.fromisoformat(event["occurredAt"].replace("Z", "+00:00")),
        "desk": 7,
        "transaction": {
            **transaction,
            "amount": Decimal(transaction["amount"]),
            "date": date.fromisoformat(transaction["date"]),
        },
    }
    written = io.BytesIO()
    schemaless_writer(written, _PARSED[AVRO_EVENTS.index(event["event"])], fields)
    return written.getvalue()


def id_of(event: Mapping[str, Any], number: int) -> int:
    """`number`, made even or odd to be an id of the event's family."""
    return number - number % 2 + AVRO_EVENTS.index(event["event"])


def framed_record(event: Mapping[str, Any], number: int, *, refused: bool = False, by_guid: bool = False) -> Record:
    """The record of an event whose schema id is `id_of(event, number)`.

    `refused`: it becomes a dead letter, as its schema cannot be read. `by_guid`: a header has the id, as a GUID.
    """
    schema_id = id_of(event, number)
    head = b"\x00" + schema_id.to_bytes(4, "big")
    headers: Headers = ()
    if by_guid:
        head, headers = b"", (("__value_schema_id", b"\x01" + uuid.UUID(int=schema_id).bytes),)
    expectation = DeadLettered("UNKNOWN_SCHEMA") if refused else Valid(event)
    return Record(ordering_key(event).encode(), head + avro(event), expectation, headers)


class Registry(LoopbackServer):
    """The workers' schema registry. `always_available`: it has the schema of every id but the highest, at once."""

    def __init__(self, *, always_available: bool = False) -> None:
        super().__init__(self._respond)
        self._always_available = always_available
        self._changed: set[int] = set()
        self._first_request: dict[int, float] = {}
        self._lock = threading.Lock()
        self.odd_kinds: Counter[str] = Counter()  #: Kind -> ids that were requested while their response was odd.

    @property
    def settings(self) -> dict[str, str]:
        """For a worker's environment."""
        return {
            "PROCESSOR_SCHEMA_REGISTRY__URL": self.url,
            "PROCESSOR_SCHEMA_REGISTRY__REFUSED_ID_S": str(REFUSED_ID_S),
        }

    def register(self, schema_id: int) -> None:
        """From now on the registry has the schema of an id of `LATE_ID` or `LATE_REFUSED_ID`."""
        self._changed.add(schema_id)

    def delete(self, schema_id: int) -> None:
        """From now on the registry does not have the schema of an id of `DELETABLE_ID`."""
        self._changed.add(schema_id)

    def _respond(self, path: str) -> Response:
        if path == "/subjects":
            return json_response(["loans", "deposits"])
        by_guid, by_id = path.removeprefix("/schemas/guids/"), path.removeprefix("/schemas/ids/")
        if by_guid != path:
            return self._of_id(uuid.UUID(by_guid).int)
        return self._of_id(int(by_id)) if by_id.isdigit() else NO_SCHEMA

    def _of_id(self, schema_id: int) -> Response:
        schema = json_response({"schema": json.dumps(_SCHEMAS[schema_id % 2])})
        changed = schema_id in self._changed
        if schema_id >= _NO_ID:
            return NO_SCHEMA
        if self._always_available:
            return schema
        if schema_id >= LATE_REFUSED_ID:
            return schema if changed else REFUSED_RESPONSE
        if schema_id >= DELETABLE_ID:
            return NO_SCHEMA if changed else schema
        if schema_id >= LATE_ID:
            return schema if changed else NO_SCHEMA
        if ODD_ID <= schema_id:
            return self._odd_response(schema_id, schema)
        return schema if GOOD_ID <= schema_id < 2 * GOOD_ID else NO_SCHEMA

    def _odd_response(self, schema_id: int, schema: Response) -> Response:
        kind, (odd_s, response) = REFUSED_KIND, (math.inf, REFUSED_RESPONSE)
        if schema_id < REFUSED_ID:
            kind = ODD_KINDS[schema_id // ODD_ID - 1]
            odd_s, response = ODD_PERIOD_S, ODD_RESPONSES[kind]
        now = time.monotonic()
        with self._lock:
            if schema_id not in self._first_request:
                self._first_request[schema_id] = now
                self.odd_kinds[kind] += 1
            return response if now - self._first_request[schema_id] < odd_s else schema


def odd_id(kind: str, number: int) -> int:
    """An id with an odd response of this kind; another for each even `number`."""
    return ODD_ID * (1 + ODD_KINDS.index(kind)) + number
