"""librdkafka properties that operators pass on: which are reserved for the program, and which the client refuses."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from processor.settings.secrets import Properties

_OFFSETS: Final = "offsets are committed in the transaction of their outputs, and nowhere else"
_TRANSACTIONAL_ID: Final = "each process has a transactional.id of its own, {group}:{instance}:{index}"
_START: Final = (
    "where a partition starts is decided by `run --start-from`; a position that is gone is never jumped over"
)
_SIZES: Final = (
    "it is computed from the topics' max.message.bytes: librdkafka does not split a batch that a topic refuses"
)
_OBJECT: Final = "it takes a function or an object of the program, which no text can be"
_OWN_LOG: Final = "the client's lines go into the log of the process, at the levels that it needs"

RESERVED: Final[Mapping[str, str]] = {  # property -> why the program alone sets it
    "bootstrap.servers": "use the setting PROCESSOR_KAFKA__BOOTSTRAP_SERVERS",
    "metadata.broker.list": "use the setting PROCESSOR_KAFKA__BOOTSTRAP_SERVERS",
    "group.id": "use the setting PROCESSOR_GROUP",
    "transaction.timeout.ms": "use the setting PROCESSOR_TRANSACTION_TIMEOUT_MS",
    "enable.auto.commit": _OFFSETS,
    "auto.commit.enable": _OFFSETS,
    "enable.auto.offset.store": _OFFSETS,
    "offset.store.method": _OFFSETS,
    "auto.offset.reset": _START,
    "isolation.level": "a record of an aborted transaction would be mapped and could not be taken back",
    "group.instance.id": "a static member keeps its partitions while it is gone, and two of one name fence each other",
    "transactional.id": _TRANSACTIONAL_ID,
    "enable.idempotence": "a retry of the client would publish an output twice",
    "acks": "an output that is not on all in-sync replicas can be lost after its commit",
    "request.required.acks": "an output that is not on all in-sync replicas can be lost after its commit",
    "batch.size": _SIZES,
    "message.max.bytes": _SIZES,
    "message.timeout.ms": "an output has as long as its transaction: PROCESSOR_TRANSACTION_TIMEOUT_MS",
    "delivery.timeout.ms": "an output has as long as its transaction: PROCESSOR_TRANSACTION_TIMEOUT_MS",
    "delivery.report.only.error": "a commit waits for all outputs, and only failures are reported",
    "enable.partition.eof": "what needs the ends of partitions sets it itself; to `run` they would be errors",
    "allow.auto.create.topics": "a topic that is missing would be created with the broker's defaults",
    "group.protocol.type": "there is one, and members with another one cannot join",
    "enabled_events": "errors and statistics would not reach the program",
    "log.queue": _OWN_LOG,
    "internal.termination.signal": "signals stop the process, cleanly",
    "default.topic.config": _OBJECT,
    "default_topic_conf": _OBJECT,
    "logger": _OBJECT,
    "opaque": _OBJECT,
    "interceptors": _OBJECT,
}
_RESERVED_PATTERNS: Final[Mapping[str, str]] = {  # pattern of a property's name -> why
    r".*_cb": _OBJECT,
    r"on_.*": _OBJECT,
    r"test\..*": "it is for tests of the client, without real brokers",
}
_ASSIGNMENT: Final = "partition.assignment.strategy"
_ASSIGNMENT_WHY: Final = "only cooperative-sticky: the others take all partitions away at each rebalance"
_PROTOCOLS: Final = ("classic", "consumer")

_LOGIN_PROPERTIES: Final = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.oauthbearer.method",
        "sasl.kerberos.kinit.cmd",
    }
)


def _parse_properties(properties: object) -> object:
    if not isinstance(properties, Mapping):
        raise ValueError('must be a JSON object, as in {"security.protocol": "SSL"}')  # noqa: TRY004  pydantic's
    return {name: _property_text(name, value) for name, value in properties.items()}


def _property_text(name: str, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise ValueError(f"{name} must be text, a number or true or false")


def _reservation(name: str) -> str | None:
    """Why the program alone sets a property; None when operators may."""
    return RESERVED.get(name) or next(
        (why for pattern, why in _RESERVED_PATTERNS.items() if re.fullmatch(pattern, name)), None
    )


def _check_properties(properties: dict[str, str]) -> Properties:
    errors = [f"{name} is reserved: {why}" for name in properties if (why := _reservation(name))]
    if properties.get(_ASSIGNMENT, "cooperative-sticky") != "cooperative-sticky":
        errors.append(f"{_ASSIGNMENT} is reserved: {_ASSIGNMENT_WHY}")
    if properties.get("group.protocol", "classic") not in _PROTOCOLS:
        errors.append(f"group.protocol must be one of: {', '.join(_PROTOCOLS)}")
    if errors:
        raise ValueError("; ".join(errors))
    return Properties(properties)


LibrdkafkaProperties = Annotated[
    dict[str, str],
    BeforeValidator(_parse_properties),
    AfterValidator(_check_properties),
    PlainSerializer(lambda properties: properties.masked()),
]


def client_error(properties: Mapping[str, str]) -> str | None:
    """Why the client refuses a name or a value among `properties`, in its own words; None when it does not.

    A client without brokers connects to nothing; properties that could make it log in somewhere are left out.
    """
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415  most commands need no client

    checked = {name: value for name, value in properties.items() if name not in _LOGIN_PROPERTIES}
    try:
        Producer({**checked, "log_level": 0})
    except KafkaException as error:
        message: str = error.args[0].str()
        return message
    return None
