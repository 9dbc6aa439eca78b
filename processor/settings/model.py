"""Settings: one frozen model, read once from the environment and a TOML file; what is wrong is said all at once.

Nothing is read at import. `Settings(...)` by keyword reads neither environment nor file; `load_settings` reads both.
"""

import os
import re
import socket
import ssl
import string
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from processor.domain.catalogue import EVENTS, EventRow, nearest_event
from processor.domain.channel import Channel
from processor.domain.notification import (
    CATEGORY_ID,
    PROCESSOR,
    Actor,
    NotificationStatus,
    StatusMap,
    StatusSet,
    status_map,
)
from processor.domain.output_topics import OUTPUTS, FixedOutput, OutputName
from processor.domain.record import EventName, Topic
from processor.domain.text import closest_match, did_you_mean
from processor.errors import UsageError
from processor.files import UnfitError, file_text

PREFIX: Final = "PROCESSOR_"
MASK: Final = "**********"

OTHER_VARIABLES: Final[Mapping[str, str]] = {  # read elsewhere than in the model, so no misspelling
    "PROCESSOR_CONFIG": "TOML file with settings; the environment wins over it.",
    "PROCESSOR_KAFKA_HOME": "Folder of Apache Kafka jars that are already there, for `processor kafka` and the demo.",
}

RENAMED: Final[Mapping[str, str]] = {  # former name -> name
    "PROCESSOR_WINDOW__RECORDS": "PROCESSOR_DEDUPLICATION__RECORDS",
    "PROCESSOR_WINDOW__AGE_S": "PROCESSOR_DEDUPLICATION__AGE_S",
    "PROCESSOR_SLOT": "PROCESSOR_INSTANCE_ID",
    "PROCESSOR_MAX_UNREADABLE_SHARE": "PROCESSOR_MAX_REJECTED_RATIO",
    "PROCESSOR_BREAKER": "PROCESSOR_CIRCUIT_BREAKER",
    "PROCESSOR_CHANNELS__OFF": "PROCESSOR_CHANNELS__DISABLED",
    "PROCESSOR_CHANNELS__MATRIX": "PROCESSOR_CHANNELS__OVERRIDES",
    "PROCESSOR_MESSAGE__ON_MISSING": "PROCESSOR_REFERENCE__MISSING_ROW",
}
REMOVED: Final = frozenset(
    f"PROCESSOR_TOPICS__{name}" for name in ("COMMANDS", "FEEDBACK", "LEDGER", "TASKS", "OPERATIONS")
)
"""Former settings that nothing reads."""

# Kubernetes injects these for every Service of the namespace; one named processor-… would look like settings of ours.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_INJECTED: Final = re.compile(r"PROCESSOR_(?:(?:(?!__).)+_)?(?:SERVICE_(?:HOST|PORT.*)|PORT(?:_.*)?)")

_SECRET_WORDS: Final = ("password", "secret", "key", "token", "jaas", "credential", "oauthbearer.config", "kinit.cmd")

_LEGAL_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")  # org.apache.kafka.common.internals.Topic

_OFFSETS: Final = "offsets are committed in the transaction of their outputs, and nowhere else"
_NAMED: Final = "each process has a transactional.id of its own, {group}:{instance}:{index}"
_START: Final = (
    "where a partition starts is decided by `run --start-from`; a position that is gone is never jumped over"
)
_SIZES: Final = (
    "it is computed from the topics' max.message.bytes: librdkafka does not split a batch that a topic refuses"
)

_OBJECT: Final = "it takes a function or an object of the program, which no text can be"
_OWN_LOG: Final = "the client's lines go into the log of the process, at the levels that it needs"

REFUSED: Final[Mapping[str, str]] = {  # librdkafka property -> why it is not the operator's
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
    "transactional.id": _NAMED,
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
_REFUSED_KINDS: Final[Mapping[str, str]] = {  # pattern of a name -> why
    r".*_cb": _OBJECT,
    r"on_.*": _OBJECT,
    r"test\..*": "it is for tests of the client, without real brokers",
}
_BESIDES_TRANSACTION_MS: Final = 15_000  # between two polls: mapping, and what a slow broker adds to a transaction
_ASSIGNMENT: Final = "partition.assignment.strategy"
_ASSIGNMENT_WHY: Final = "only cooperative-sticky: the others take all partitions away at each rebalance"
_PROTOCOLS: Final = ("classic", "consumer")


_LOGS_IN: Final = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.oauthbearer.method",
        "sasl.kerberos.kinit.cmd",
    }
)


def is_secret(name: str) -> bool:
    """Whether the value of a librdkafka property or setting must not be shown. Errs on the side of hiding."""
    return any(word in name.lower() for word in _SECRET_WORDS)


class Properties(dict[str, str]):
    """librdkafka properties as text. Printed, logged or dumped with its secrets masked; read by key it is the truth."""

    def masked(self) -> dict[str, str]:
        """The same, each secret replaced by `MASK`."""
        return {name: MASK if is_secret(name) else value for name, value in self.items()}

    def __repr__(self) -> str:
        return repr(self.masked())

    __str__ = __repr__


def _as_text(properties: object) -> object:
    if not isinstance(properties, Mapping):
        raise ValueError('must be a JSON object, as in {"security.protocol": "SSL"}')  # noqa: TRY004
    return {name: _property_text(name, value) for name, value in properties.items()}


def _property_text(name: str, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise ValueError(f"{name} must be text, a number or true or false")


def _refusal(name: str) -> str | None:
    """Why the property is not for operators to set; None when it is."""
    return REFUSED.get(name) or next(
        (why for pattern, why in _REFUSED_KINDS.items() if re.fullmatch(pattern, name)), None
    )


def _not_refused(properties: dict[str, str]) -> Properties:
    faults = [f"{name} is not yours to set: {why}" for name in properties if (why := _refusal(name))]
    if properties.get(_ASSIGNMENT, "cooperative-sticky") != "cooperative-sticky":
        faults.append(f"{_ASSIGNMENT} is not yours to set: {_ASSIGNMENT_WHY}")
    if properties.get("group.protocol", "classic") not in _PROTOCOLS:
        faults.append(f"group.protocol must be one of: {', '.join(_PROTOCOLS)}")
    if faults:
        raise ValueError("; ".join(faults))
    return Properties(properties)


def _servers(servers: str) -> str:
    for server in servers.split(","):
        host, colon, port = re.sub(r"^\w+://", "", server.strip()).rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError(f"{server.strip()!r} is not host:port")
    return servers


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise ValueError("must not carry a user or a password; use PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD")
    return url


def _certificates(file: Path) -> Path:
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise ValueError("is not a file")
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"holds no certificates that can be read (PEM): {error}") from None
    return file


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone of the IANA list, as in Europe/Berlin") from None
    return name


def _region(code: str) -> str:
    if code not in SUPPORTED_REGIONS:
        near = did_you_mean(closest_match(code.upper(), sorted(SUPPORTED_REGIONS)), before="; ")
        raise ValueError(f"{code!r} is no region with phone numbers, as in PT{near}")
    return code


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text, re.ASCII):
        raise ValueError("must be of letters, digits, '.', '_' and '-'")
    return text


def _group(text: str) -> str:
    if ":" in text:
        raise ValueError("must not have ':', which parts group, instance and index in a transactional.id")
    return text


def _tenant(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text):
        raise ValueError("must be of lower-case letters, digits and '-', at most 63, as in the events")
    return text


def _stream_pattern(pattern: str) -> str:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except ValueError:
        raise ValueError("has a brace without its partner") from None
    if unknown := sorted(set(fields) - {"tenant", "event"}):
        raise ValueError(f"has {{{unknown[0]}}}; there are {{tenant}} and {{event}} only")
    return pattern


def _actor_id(text: str) -> str:
    if not re.fullmatch(r"UR(-[0-9]{4}){3}", text):
        raise ValueError("must be UR- and three times four digits, as in UR-0000-0000-0000")
    return text


Librdkafka = Annotated[
    dict[str, str], BeforeValidator(_as_text), AfterValidator(_not_refused), PlainSerializer(lambda p: p.masked())
]
Word = Annotated[str, AfterValidator(_word)]
Tenant = Annotated[str, AfterValidator(_tenant)]
TopicName = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    """What is common to the tables of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(_Table):
    """The connection. The three tables take any librdkafka property but those of `REFUSED`."""

    bootstrap_servers: Annotated[str, AfterValidator(_servers)] | None = Field(
        default=None, description="Brokers to ask first, host:port, separated by commas."
    )
    common: Librdkafka = Field(
        default=Properties(), description="librdkafka properties of all clients, as JSON; security belongs here."
    )
    consumer: Librdkafka = Field(
        default=Properties(),
        description="librdkafka properties of consumers, as JSON; group.protocol=consumer chooses KIP-848.",
    )
    producer: Librdkafka = Field(default=Properties(), description="librdkafka properties of producers, as JSON.")


class SchemaRegistrySettings(_Table):
    """A registry with Confluent's API; without `url` the ids come from the schemas folder."""

    url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None, description="Schema registry with Confluent's API; not set: ids come from the schemas folder."
    )
    username: str | None = Field(default=None, description="User of the schema registry.")
    password: SecretStr | None = Field(default=None, description="Password of the schema registry.")
    ca_file: Annotated[Path, AfterValidator(_certificates)] | None = Field(
        default=None, description="Certificates (PEM) that vouch for the schema registry; not set: the public ones."
    )
    refused_id_s: int = Field(
        default=600,
        ge=1,
        description="Seconds for which a schema id is refused, while the registry gives others, before its records are "
        "dead letters UNKNOWN_SCHEMA; until then their partition waits.",
    )


def _output_topic(output: OutputName) -> Any:
    """The field of a topic's name, as OUTPUTS describes it."""
    return Field(default=OUTPUTS[output].topic, description=OUTPUTS[output].description)


class TopicSettings(_Table):
    """Names of topics, without the prefix."""

    prefix: str = Field(default="", description="Put before the name of every topic of ours.")
    events: TopicName = Field(default="banking.events", description="Input: domain events.")
    messages: TopicName = _output_topic("messages")
    status: TopicName = _output_topic("status")
    notifications: TopicName = _output_topic("notifications")
    stream: Annotated[str, AfterValidator(_stream_pattern), Field(min_length=1)] = _output_topic("stream")
    decisions: TopicName = _output_topic("decisions")
    dead_letters: TopicName = _output_topic("dead_letters")
    template_sets: TopicName = _output_topic("template_sets")
    contacts: TopicName = Field(default="reference.contacts", description="Look-up table of contacts.")
    categories: TopicName = Field(default="reference.categories", description="Look-up table of categories.")
    accounts: TopicName = Field(default="reference.accounts", description="Look-up table of accounts.")
    subscriptions: TopicName = Field(default="reference.subscriptions", description="Look-up table of subscriptions.")

    @model_validator(mode="after")
    def _legal_and_different(self) -> "TopicSettings":
        owners: dict[str, str] = {}
        for name in FIXED_TOPICS:
            topic = self.prefix + getattr(self, name)
            if not _LEGAL_TOPIC.fullmatch(topic) or topic in (".", ".."):
                raise ValueError(
                    f"topic {name} would be {topic!r}: a name is letters, digits, '.', '_', '-', up to 249"
                )
            if topic in owners:
                raise ValueError(f"topics {owners[topic]} and {name} would both be {topic!r}")
            owners[topic] = name
        return self


FixedTopic = Literal["events", FixedOutput, "contacts", "categories", "accounts", "subscriptions"]
FIXED_TOPICS: Final[tuple[FixedTopic, ...]] = get_args(FixedTopic)


class OutputSettings(_Table):
    """Wire forms of what is published."""

    format: Literal["avro", "json"] = Field(default="avro", description="Wire form of outputs but the streams.")
    stream_format: Literal["avro", "json"] = Field(default="json", description="Wire form of stream events.")


class ChannelSettings(_Table):
    """Which channels there are, and what may be told by which."""

    disabled: tuple[Channel, ...] = Field(
        default=(), description='Channels that are switched off, as JSON: ["SMS"]. Their templates make no message.'
    )
    overrides: dict[str, dict[str, bool]] = Field(
        default={},
        description="Cells of the table of events and channels that are other than usual, as JSON: "
        '{"CLIENT_ACTIVITY": {"EMAIL": true}}.',
    )

    @model_validator(mode="after")
    def _known_cells(self) -> "ChannelSettings":
        for event, cells in self.overrides.items():
            if event not in EVENTS:
                near = nearest_event(event)
                raise ValueError(f"overrides: {event!r} is no event" + did_you_mean(near, before="; "))
            for channel in cells:
                if channel not in list(Channel):
                    hint = did_you_mean(closest_match(channel.upper(), Channel), before="; ")
                    raise ValueError(f"overrides: {channel!r} is no channel{hint}")
        return self

    def of(self, row: EventRow) -> frozenset[Channel]:
        """The channels by which an event may be told here."""
        cells = self.overrides.get(row.event, {})
        return frozenset(one for one in Channel if cells.get(one, one in row.channels))


class WebhookSettings(_Table):
    """Calls of other systems."""

    allow_http: bool = Field(default=False, description="Whether a webhook's address may be http, without TLS.")


class SmsSettings(_Table):
    """Text messages."""

    region: Annotated[str, AfterValidator(_region)] | None = Field(
        default=None,
        description="Country (ISO 3166, as in PT) of phone numbers that do not begin with +. Not set: such a number "
        "may be of any country, of 4 to 15 digits.",
    )


class AuditActorSettings(_Table):
    """Who does what a Message's `audit` says, where no person did."""

    id: Annotated[str, AfterValidator(_actor_id)] = Field(
        default=PROCESSOR.id, description="Who writes a Message's audit: id, UR- and three times four digits."
    )
    name: str = Field(default=PROCESSOR.name, min_length=1, description="The same: name.")
    icon: str | None = Field(default=None, description="The same: address of an icon.")


class MessageSettings(_Table):
    """The `Message` that recipients' portals show."""

    status_set: StatusSet = Field(
        default="published", description="Statuses of a Message; extended: Failed too, for what we could not send."
    )
    status_map: dict[str, str] = Field(
        default={},
        description='Other statuses than the usual ones, by state or failureReason, as JSON: {"OTHER": "Discarded"}.',
    )
    audit_actor: AuditActorSettings = Field(default=AuditActorSettings(), description="Who writes its audit.")
    category_by_family: dict[str, str] = Field(
        default={},
        description="Category of a Message whose template names none, by family of events, as JSON: "
        '{"loan_transaction": "NTC-3300-0041"}.',
    )

    @model_validator(mode="after")
    def _known_families(self) -> "MessageSettings":
        families = {row.family for row in EVENTS.values()}
        for family, category in self.category_by_family.items():
            if family not in families:
                hint = did_you_mean(closest_match(family.lower(), families), before="; ")
                raise ValueError(f"category_by_family: {family!r} is no family of events{hint}")
            if not CATEGORY_ID.fullmatch(category):
                raise ValueError(f"category_by_family: {category!r} is no category's id, as in NTC-3300-0041")
        return self

    @model_validator(mode="after")
    def _known_statuses(self) -> "MessageSettings":
        known = status_map(self.status_set)
        allowed = [one for one in NotificationStatus if one != "Failed" or self.status_set == "extended"]
        for word, status in self.status_map.items():
            if word not in known:
                hint = did_you_mean(closest_match(word.upper(), known), before="; ")
                raise ValueError(f"status_map: {word!r} is neither a state nor a failureReason{hint}")
            if status not in allowed:
                raise ValueError(
                    f"status_map: {status!r} is no status of the {self.status_set} set: {', '.join(allowed)}"
                )
        return self

    @property
    def statuses(self) -> StatusMap:
        """The whole table."""
        changes = {word: NotificationStatus(status) for word, status in self.status_map.items()}
        return status_map(self.status_set, changes)

    @property
    def actor(self) -> Actor:
        """Who writes the audit."""
        return Actor(self.audit_actor.id, self.audit_actor.name, self.audit_actor.icon)


class ReferenceSettings(_Table):
    """The reference tables."""

    missing_row: Literal["partial", "fail"] = Field(
        default="partial",
        description="A row missing in a reference table: the Message goes without that part, or the template fails.",
    )
    keys_are_stable: bool = Field(
        default=False,
        description="Says that the producers of reference topics with more than one partition have always kept each "
        "key in one of them, also when partitions were added; without it such a topic is refused.",
    )


class DeduplicationSettings(_Table):
    """How far back an event told twice is noticed, within its partition."""

    records: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description="An event told again within this many records of its partition makes no message; 0: never noticed.",
    )
    age_s: int = Field(default=86_400, ge=0, description="The same, by age of the records, in seconds.")


class HttpSettings(_Table):
    """The port of /health, /ready and /metrics."""

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address that /health, /ready, /metrics listen on."
    )
    port: int = Field(default=8080, ge=0, le=65_535, description="Their port; 0: a free one, which is printed.")


class LogSettings(_Table):
    """The log on stderr."""

    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="Form of the log; auto: console on a terminal, else JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")


class Settings(BaseSettings):
    """One installation. Built by keyword it reads nothing; `load_settings` reads environment and file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    tenant: Tenant | None = Field(default=None, description="The bank this installation serves; run needs it.")
    group: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_group)] | None = Field(
        default=None, description="Consumer group; not set: {prefix}processor."
    )
    instance_id: Word | None = Field(
        default=None,
        description="Stable name of this instance, part of its transactional.id {group}:{instance}:{index}; not set: "
        "the host's name.",
    )
    templates_dir: Path | None = Field(default=None, description="Folder of templates; not set: the shipped ones.")
    schemas_dir: Path | None = Field(default=None, description="Folder of schemas; not set: the shipped ones.")
    state_dir: Path | None = Field(
        default=None,
        description="Folder of the local copies of the reference tables, one for each process, which can be thrown "
        "away; not set: processor in the user's state folder.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="Time zone of dates and times in rendered texts."
    )
    key_check: Literal["warn", "strict"] = Field(
        default="warn", description="A key that is not the event's ordering key: counted and logged, or a dead letter."
    )
    decisions: Literal["all", "unexpected", "off"] = Field(
        default="all",
        description="Which decisions are written; unexpected: those that neither settings nor templates mean.",
    )
    circuit_breaker: Literal["on", "off"] = Field(
        default="on", description="Suspend a template that fails for almost every record."
    )
    max_event_bytes: int = Field(
        default=1_048_576, ge=1_024, le=100_000_000, description="A larger event is a dead letter, EVENT_TOO_LARGE."
    )
    max_rejected_ratio: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="So many unreadable or of another tenant among the first records stop the process, a bad "
        "deployment; 1: never, nor is a high share of another tenant's records degraded later.",
    )
    max_batch_wait_ms: int = Field(
        default=5, ge=0, le=60_000, description="How long a batch may wait for more records, in milliseconds."
    )
    max_batch_records: int = Field(default=10_000, ge=1, le=1_000_000, description="Most records of one transaction.")
    max_batch_bytes: int = Field(
        default=8_000_000,
        ge=1_000,
        le=1_000_000_000,
        description="Bytes of outputs that fill a transaction: it ends with the record that reaches them.",
    )
    transaction_timeout_ms: int = Field(
        default=15_000,
        ge=1_000,
        le=900_000,  # the broker's transaction.max.timeout.ms by default
        description="How long a dead instance may hold up read_committed readers, in milliseconds.",
    )
    max_stall_s: int = Field(
        default=60, ge=1, description="A partition with lag and no progress for so long makes the process unready."
    )
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="The connection to Kafka.")
    schema_registry: SchemaRegistrySettings = Field(default=SchemaRegistrySettings(), description="The registry.")
    topics: TopicSettings = Field(default=TopicSettings(), description="Names of topics.")
    output: OutputSettings = Field(default=OutputSettings(), description="Wire forms.")
    channels: ChannelSettings = Field(default=ChannelSettings(), description="Channels.")
    webhook: WebhookSettings = Field(default=WebhookSettings(), description="Webhooks.")
    sms: SmsSettings = Field(default=SmsSettings(), description="Text messages.")
    message: MessageSettings = Field(default=MessageSettings(), description="Messages of portals.")
    reference: ReferenceSettings = Field(default=ReferenceSettings(), description="Reference tables.")
    deduplication: DeduplicationSettings = Field(default=DeduplicationSettings(), description="Events told twice.")
    http: HttpSettings = Field(default=HttpSettings(), description="Health, readiness, metrics.")
    log: LogSettings = Field(default=LogSettings(), description="The log.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  names are pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords alone, so that a test never meets the environment of its machine."""
        return (init_settings,)

    @model_validator(mode="after")
    def _stream_names_are_legal(self) -> "Settings":
        example = self._stream(EventName("LOAN_REPAYMENT"), tenant=self.tenant or "tenant")
        if not _LEGAL_TOPIC.fullmatch(example):
            raise ValueError(
                f"a stream topic would be {example!r}: a name is letters, digits, '.', '_', '-', up to 249"
            )
        if example in {self.topic(name) for name in FIXED_TOPICS}:
            raise ValueError(f"the stream pattern gives {example!r}, which is the name of another topic")
        return self

    @model_validator(mode="after")
    def _a_transaction_fits_between_polls(self) -> "Settings":
        for table in (self.kafka.common, self.kafka.consumer):
            interval = table.get("max.poll.interval.ms", "")
            if interval.isdecimal() and int(interval) < self.transaction_timeout_ms + _BESIDES_TRANSACTION_MS:
                raise ValueError(
                    f"max.poll.interval.ms of {interval} is too short: a transaction may take "
                    f"{self.transaction_timeout_ms} ms (PROCESSOR_TRANSACTION_TIMEOUT_MS), and mapping "
                    f"{_BESIDES_TRANSACTION_MS} ms; the group would shut out a member that works"
                )
        return self

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.group or f"{self.topics.prefix}processor"

    @property
    def instance_name(self) -> str:
        """The slot: the setting, else the host's name. Raises UsageError for a name that cannot be part of an id."""
        instance_id = self.instance_id or socket.gethostname()
        if ":" in instance_id:
            raise UsageError(
                f"the host's name {instance_id!r} has ':', which parts group, instance and index in a transactional.id",
                hint="set PROCESSOR_INSTANCE_ID to a word for this host",
            )
        return instance_id

    @property
    def required_tenant(self) -> str:
        """The tenant. Raises UsageError when none is set."""
        if self.tenant is None:
            raise UsageError("PROCESSOR_TENANT is not set", hint="name the bank, as in PROCESSOR_TENANT=northbank")
        return self.tenant

    @property
    def bootstrap_servers(self) -> str:
        """The brokers. Raises UsageError when none are set."""
        if self.kafka.bootstrap_servers is None:
            raise UsageError(
                "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS is not set",
                hint="`processor kafka` starts a local broker and prints where it listens",
            )
        return self.kafka.bootstrap_servers

    def topic(self, name: FixedTopic) -> Topic:
        """The real name of a topic, prefix included."""
        return Topic(self.topics.prefix + getattr(self.topics, name))

    def stream_topic(self, event: EventName) -> Topic:
        """The real name of the stream topic of `event`, prefix included. Raises UsageError without a tenant."""
        tenant = self.required_tenant if "{tenant}" in self.topics.stream else ""
        return self._stream(event, tenant=tenant)

    def _stream(self, event: EventName, *, tenant: str) -> Topic:
        return Topic(self.topics.prefix + self.topics.stream.format(tenant=tenant, event=event.lower()))


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `processor settings`. Values are as people see them: masked, None when there is none."""

    variable: str  #: PROCESSOR_KAFKA__BOOTSTRAP_SERVERS
    name: str  #: kafka.bootstrap_servers, its place in a TOML file; empty where it has none
    value: Any
    default: Any
    source: str  #: `environment`, `default` or the file's path
    meaning: str


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One setting: its path in the model."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def variable(self) -> str:
        return _variable(self.path)

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_table(self) -> bool:
        return isinstance(self.field.default, Properties)


def _leaves(model: type[BaseModel] = Settings, above: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, _Table):
            yield from _leaves(type(field.default), (*above, name))
        else:
            yield _Leaf((*above, name), field)


class _Environment(EnvSettingsSource):
    """Text that is not JSON where JSON belongs is passed on as it is, so that the model names setting and place."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The value of JSON text, else the text."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


@dataclass(frozen=True, slots=True)
class _Given:
    """What people wrote: values as found, by the path of the setting, and where each was found."""

    values: Mapping[tuple[str, ...], Any]
    places: Mapping[tuple[str, ...], str]
    faults: tuple[str, ...]

    def nested(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for (*above, last), value in self.values.items():
            table = tree
            for name in above:
                table = table.setdefault(name, {})
            table[last] = value
        return tree


def load_settings() -> Settings:
    """Read environment and the file that PROCESSOR_CONFIG names, the environment first. Blocks for the file only.

    Raises UsageError with every fault found, each with its value (masked), its place and a hint.
    """
    return _settings_of(_given())


def settings_table() -> tuple[SettingRow, ...]:
    """All settings as they stand, in the order of the model. Raises UsageError as `load_settings` does."""
    given = _given()
    settings = _settings_of(given)
    rows = tuple(
        SettingRow(
            leaf.variable,
            leaf.name,
            _shown(leaf, _value_at(settings, leaf.path)),
            _shown(leaf, leaf.field.default),
            given.places.get(leaf.path, "default"),
            leaf.field.description or "",
        )
        for leaf in _leaves()
    )
    others = tuple(
        SettingRow(
            name,
            "",
            value := without_line_end(os.environ.get(name, "")) or None,
            None,
            "environment" if value else "default",
            meaning,
        )
        for name, meaning in OTHER_VARIABLES.items()
    )
    return rows + others


def _settings_of(given: _Given) -> Settings:
    faults = list(given.faults)
    settings: Settings | None = None
    try:
        settings = Settings(**given.nested())
    except ValidationError as error:
        faults += [_fault(given, found["loc"], found["msg"]) for found in error.errors(include_url=False)]
    if settings is not None:
        faults += _refused_by_librdkafka(settings, given)
    if faults or settings is None:
        *first, last = faults
        what, _, hint = last.partition("\nhint: ")
        raise UsageError("\n".join((*first, what)), hint=hint)
    return settings


def _refused_by_librdkafka(settings: Settings, given: _Given) -> Iterator[str]:
    """Properties whose name or value the client does not know: its own words, before anything connects.

    A client without brokers connects to nothing; what could make it log in somewhere is left out.
    """
    for leaf in _leaves():
        properties = _value_at(settings, leaf.path)
        if not leaf.is_table or not properties:
            continue
        from confluent_kafka import KafkaException, Producer  # noqa: PLC0415  most commands need no client

        tried = {name: value for name, value in properties.items() if name not in _LOGS_IN}
        try:
            Producer({**tried, "log_level": 0})
        except KafkaException as error:
            yield _fault(given, leaf.path, error.args[0].str())


def _given() -> _Given:
    """Environment over file. Unknown names are faults; they are not among the values."""
    values: dict[tuple[str, ...], Any] = {}
    places: dict[tuple[str, ...], str] = {}
    faults: list[str] = []
    leaves = {leaf.path: leaf for leaf in _leaves()}

    if file := without_line_end(os.environ.get("PROCESSOR_CONFIG", "")):
        for path, value in _flat(_toml(Path(file)), leaves):
            if path in leaves:
                values[path], places[path] = value, file
            else:
                near = _nearest(".".join(path), [leaf.name for leaf in leaves.values()])
                what = _former(_variable(path), in_file=True) or f"is no setting\nhint: {near}"
                faults.append(f"{'.'.join(path)} in {file} {what}")

    known = [leaf.variable for leaf in leaves.values()]
    faults += _misspelt(known)
    # Compose passes VARIABLE= for one that nobody gave: empty is not set.
    found = {name.upper() for name, value in os.environ.items() if without_line_end(value)}
    parsed = _Environment(Settings)()
    for path, leaf in leaves.items():
        if leaf.variable in found:
            values[path], places[path] = _value_at(parsed, path), "environment"
    for path, value in list(values.items()):
        if isinstance(value, str):
            values[path] = without_line_end(value)
        if what := _unprintable(leaves[path], values[path]):
            faults.append(_fault(_Given(values, places, ()), path, what))
            del values[path]
    return _Given(values, places, tuple(faults))


def without_line_end(text: str) -> str:
    """A setting without the line end that a mounted secret, or a file that was read into a variable, has behind it."""
    return text.rstrip("\r\n")


def _unprintable(leaf: _Leaf, value: object) -> str:
    """Why no setting may have a value, before the setting's own rules are applied; empty when it may."""
    lines = "\n\r\t" if leaf.is_table else ""  # certificates, such as ssl.ca.pem, have lines
    for text in _texts(value):
        for character in text:
            if unicodedata.category(character) == "Cc" and character not in lines:
                return "holds a control character"
            if "\ud800" <= character <= "\udfff" and leaf.field.annotation != Path | None:  # a path may be any bytes
                return "holds bytes that are not UTF-8"
    return ""


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for name, inner in value.items():
                yield from _texts(name)
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file_text(file))
    except (OSError, UnfitError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"PROCESSOR_CONFIG='{file}' in the environment: {why.lower()}",
            hint="name a TOML file that can be read, or leave the variable out",
        ) from error
    except (ValueError, RecursionError) as error:  # Python's own too: a number of thousands of digits
        raise UsageError(
            f"{file}, named by PROCESSOR_CONFIG, is not TOML: {error}", hint="see https://toml.io; text must be quoted"
        ) from error


def _flat(
    table: Mapping[str, Any], leaves: Mapping[tuple[str, ...], _Leaf], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    former = (_path(variable) for variable in (*RENAMED, *REMOVED))
    tables = {path[:depth] for path in (*leaves, *former) for depth in range(1, len(path))}
    for name, value in table.items():
        path = (*above, name)
        if isinstance(value, Mapping) and path in tables:
            yield from _flat(value, leaves, path)
        else:
            yield path, value


def _misspelt(known: list[str]) -> Iterator[str]:
    for name in sorted(os.environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or upper in OTHER_VARIABLES or _INJECTED.fullmatch(upper):
            continue
        what = _former(upper) or f"is no setting\nhint: {_nearest(upper, [*known, *OTHER_VARIABLES])}"
        yield f"{name} in the environment {what}"


def _former(variable: str, *, in_file: bool = False) -> str | None:
    """What became of a former setting, with a hint; None for a name that never was one."""
    if variable in REMOVED:
        return "was removed: nothing uses it\nhint: leave it out"
    if current := RENAMED.get(variable):
        return f"was renamed\nhint: it is {'.'.join(_path(current)) if in_file else current} now"
    return None


def _variable(path: tuple[str, ...]) -> str:
    """The environment variable of a setting."""
    return PREFIX + "__".join(path).upper()


def _path(variable: str) -> tuple[str, ...]:
    """The path of a setting in a TOML file."""
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def _nearest(name: str, known: list[str]) -> str:
    near = closest_match(name.removeprefix(PREFIX), [variable.removeprefix(PREFIX) for variable in known])
    prefix = PREFIX if name.startswith(PREFIX) else ""
    return did_you_mean(near and f"{prefix}{near}", otherwise="`processor settings` lists all settings")


def _fault(given: _Given, loc: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    leaf = next((leaf for leaf in _leaves() if leaf.path == loc[: len(leaf.path)]), None)
    if leaf is None:
        return f"{message}\nhint: see the settings PROCESSOR_{'__'.join(map(str, loc)).upper() or 'TOPICS'}__…"
    place = given.places.get(leaf.path, "environment")
    value = _shown(leaf, given.values.get(leaf.path))
    if isinstance(value, Mapping):
        value = dict.fromkeys(value, MASK)  # a name that is misspelt does not tell whether its value is a secret
    what = (
        f"{leaf.variable}={value!r} in the environment"
        if place == "environment"
        else f"{leaf.name} = {value!r} in {place}"
    )
    default = "" if leaf.field.default is None else f" Default: {_shown(leaf, leaf.field.default)}"
    hint = "leave the property out" if "not yours to set" in message else f"{leaf.field.description}{default}"
    return f"{what}: {message}\nhint: {hint}"


def _shown(leaf: _Leaf, value: Any) -> Any:
    """A value as people may see it."""
    if value is None:
        return None
    if leaf.is_table:
        return Properties(value).masked() if isinstance(value, Mapping) else MASK
    if leaf.field.annotation == SecretStr | None:
        return MASK
    if isinstance(value, str):
        return re.sub(r"[^/@]*@", f"{MASK}@", value)
    return str(value) if isinstance(value, Path) else value


def _value_at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name] if isinstance(tree, Mapping) else getattr(tree, name)
    return tree
