"""The model of the settings: names, types, defaults and meanings, and the rules that a value has to keep."""

import re
import socket
import ssl
import string
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

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
from processor.domain.output_topics import FIXED_OUTPUTS, OUTPUTS, FixedOutput, OutputName, StreamOutput
from processor.domain.record import TENANT_PATTERN, EventName, Topic
from processor.domain.reference import TABLES, Table
from processor.domain.text import closest_match, did_you_mean
from processor.errors import UsageError
from processor.mapping.options import KeyCheck, MissingRow, Plan, WrittenDecisions
from processor.settings.librdkafka import LibrdkafkaProperties
from processor.settings.secrets import Properties
from processor.wire.wire_format import WireFormat

PREFIX: Final = "PROCESSOR_"

_LEGAL_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")  # org.apache.kafka.common.internals.Topic
MAX_AGE_LIMIT_H: Final = 87_600  # ten years
_MAPPING_TIME_MS: Final = 15_000  # between two polls beside a transaction: mapping, and what a slow broker adds


def _check_servers(servers: str) -> str:
    for server in servers.split(","):
        host, colon, port = re.sub(r"^\w+://", "", server.strip()).rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError(f"{server.strip()!r} is not host:port")
    return servers


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise ValueError("must not carry a user or a password; use PROCESSOR_SCHEMA_REGISTRY__USERNAME and __PASSWORD")
    return url


def _check_certificates(file: Path) -> Path:
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise ValueError("is not a file")
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"holds no certificates that can be read (PEM): {error}") from None
    return file


def _check_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone of the IANA list, such as Europe/Berlin") from None
    return name


def _check_region(code: str) -> str:
    if code not in SUPPORTED_REGIONS:
        near = did_you_mean(closest_match(code.upper(), sorted(SUPPORTED_REGIONS)), before="; ")
        raise ValueError(f"{code!r} is not a region with phone numbers, such as PT{near}")
    return code


def _check_word(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text, re.ASCII):
        raise ValueError("may have only letters, digits, '.', '_' and '-'")
    return text


def _check_group(text: str) -> str:
    if ":" in text:
        raise ValueError("must not contain ':', which separates group, instance and index in a transactional.id")
    return text


def _check_tenant(text: str) -> str:
    if not TENANT_PATTERN.fullmatch(text):
        raise ValueError("may have only lower-case letters, digits and '-', at most 63, as in the events")
    return text


def _check_stream_pattern(pattern: str) -> str:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except ValueError:
        raise ValueError("has an unmatched brace") from None
    if unknown := sorted(set(fields) - {"tenant", "event"}):
        raise ValueError(f"has {{{unknown[0]}}}; there are {{tenant}} and {{event}} only")
    return pattern


def _check_actor_id(text: str) -> str:
    if not re.fullmatch(r"UR(-[0-9]{4}){3}", text):
        raise ValueError("must have the format UR-NNNN-NNNN-NNNN")
    return text


Word = Annotated[str, AfterValidator(_check_word)]
Tenant = Annotated[str, AfterValidator(_check_tenant)]
TopicName = Annotated[str, Field(min_length=1)]


class SettingsTable(BaseModel):
    """A table of settings in the TOML file; what all tables have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(SettingsTable):
    """The connection. The three tables take any librdkafka property but those of `RESERVED`."""

    bootstrap_servers: Annotated[str, AfterValidator(_check_servers)] | None = Field(
        default=None, description="Brokers to connect to first, host:port, separated by commas."
    )
    common: LibrdkafkaProperties = Field(
        default=Properties(), description="librdkafka properties of all clients, as JSON; security belongs here."
    )
    consumer: LibrdkafkaProperties = Field(
        default=Properties(),
        description="librdkafka properties of consumers, as JSON; group.protocol=consumer selects KIP-848.",
    )
    producer: LibrdkafkaProperties = Field(
        default=Properties(), description="librdkafka properties of producers, as JSON."
    )


class SchemaRegistrySettings(SettingsTable):
    """A registry with Confluent's API; without `url` the ids come from the schemas folder."""

    url: Annotated[str, AfterValidator(_check_url)] | None = Field(
        default=None, description="Schema registry with Confluent's API; not set: ids come from the schemas folder."
    )
    username: str | None = Field(default=None, description="User of the schema registry.")
    password: SecretStr | None = Field(default=None, description="Password of the schema registry.")
    ca_file: Annotated[Path, AfterValidator(_check_certificates)] | None = Field(
        default=None, description="Certificates (PEM) that vouch for the schema registry; not set: the public ones."
    )
    refused_id_s: int = Field(
        default=600,
        ge=1,
        description="Seconds for which a schema id is refused, while the registry serves others, before its records "
        "are dead letters UNKNOWN_SCHEMA; until then their partition waits.",
    )


def _output_topic(output: OutputName) -> Any:
    """The field of a topic's name, as OUTPUTS describes it."""
    return Field(default=OUTPUTS[output].topic, description=OUTPUTS[output].description)


def _table_topic(table: Table) -> Any:
    """The field of a topic's name, as TABLES describes it."""
    return Field(default=TABLES[table].topic, description=TABLES[table].description)


class TopicSettings(SettingsTable):
    """Names of topics, without the prefix."""

    prefix: str = Field(default="", description="Prefix of the names of all topics below.")
    events: TopicName = Field(default="banking.events", description="Input: domain events.")
    messages: TopicName = _output_topic(FixedOutput.MESSAGES)
    status: TopicName = _output_topic(FixedOutput.STATUS)
    notifications: TopicName = _output_topic(FixedOutput.NOTIFICATIONS)
    stream: Annotated[str, AfterValidator(_check_stream_pattern), Field(min_length=1)] = _output_topic(
        StreamOutput.STREAM
    )
    decisions: TopicName = _output_topic(FixedOutput.DECISIONS)
    dead_letters: TopicName = _output_topic(FixedOutput.DEAD_LETTERS)
    operations: TopicName = _output_topic(FixedOutput.OPERATIONS)
    template_sets: TopicName = _output_topic(FixedOutput.TEMPLATE_SETS)
    contacts: TopicName = _table_topic(Table.CONTACTS)
    categories: TopicName = _table_topic(Table.CATEGORIES)
    accounts: TopicName = _table_topic(Table.ACCOUNTS)
    subscriptions: TopicName = _table_topic(Table.SUBSCRIPTIONS)

    @model_validator(mode="after")
    def _check_names(self) -> "TopicSettings":
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


class InputTopic(StrEnum):
    """The topic of the events, by the name of its setting."""

    EVENTS = "events"


FixedTopic = InputTopic | FixedOutput | Table
"""A topic that does not depend on an event, by the name of its setting."""

FIXED_TOPICS: Final[tuple[FixedTopic, ...]] = (*InputTopic, *FIXED_OUTPUTS, *Table)


class OutputSettings(SettingsTable):
    """Formats of what is published."""

    format: WireFormat = Field(default=WireFormat.AVRO, description="Format of all outputs but the streams.")
    stream_format: WireFormat = Field(default=WireFormat.JSON, description="Format of stream events.")


class ChannelSettings(SettingsTable):
    """Which channels are enabled, and which events may use them."""

    disabled: tuple[Channel, ...] = Field(
        default=(), description='Channels that are switched off, as JSON: ["SMS"]. Their templates create no message.'
    )
    overrides: dict[str, dict[str, bool]] = Field(
        default={},
        description='Per-event channel overrides, as JSON: {"CLIENT_ACTIVITY": {"EMAIL": true}}.',
    )

    @model_validator(mode="after")
    def _check_overrides(self) -> "ChannelSettings":
        for event, cells in self.overrides.items():
            if event not in EVENTS:
                near = nearest_event(event)
                raise ValueError(f"overrides: {event!r} is not an event" + did_you_mean(near, before="; "))
            for channel in cells:
                if channel not in list(Channel):
                    hint = did_you_mean(closest_match(channel.upper(), Channel), before="; ")
                    raise ValueError(f"overrides: {channel!r} is not a channel{hint}")
        return self

    def of(self, row: EventRow) -> frozenset[Channel]:
        """The channels that the messages of an event may use in this installation."""
        cells = self.overrides.get(row.event, {})
        return frozenset(channel for channel in Channel if cells.get(channel, channel in row.channels))


def _max_age(what: str, hours: int) -> Any:
    """The field of a channel's age limit."""
    return Field(
        default=hours,
        ge=1,
        le=MAX_AGE_LIMIT_H,
        description=f"Hours after the event at which {what} is too old to be sent; `processor replay` counts them.",
    )


class EmailSettings(SettingsTable):
    """Mail."""

    max_age_h: int = _max_age("a mail", 96)


class WebhookSettings(SettingsTable):
    """Calls of other systems."""

    max_age_h: int = _max_age("a call", 96)
    allow_http: bool = Field(default=False, description="Whether a webhook's address may be http, without TLS.")


class SmsSettings(SettingsTable):
    """Text messages."""

    max_age_h: int = _max_age("a text message", 24)
    region: Annotated[str, AfterValidator(_check_region)] | None = Field(
        default=None,
        description="Country (ISO 3166, such as PT) of phone numbers that do not begin with +; not set: such a number "
        "may be of any country, and has 4 to 15 digits.",
    )


class AuditActorSettings(SettingsTable):
    """The actor in a Message's `audit` where no person acted."""

    id: Annotated[str, AfterValidator(_check_actor_id)] = Field(
        default=PROCESSOR.id, description="Actor in a Message's audit: id, in the format UR-NNNN-NNNN-NNNN."
    )
    name: str = Field(default=PROCESSOR.name, min_length=1, description="Actor in a Message's audit: name.")
    icon: str | None = Field(default=None, description="Actor in a Message's audit: address of an icon.")


class MessageSettings(SettingsTable):
    """The `Message` that recipients' portals show."""

    status_set: StatusSet = Field(
        default=StatusSet.PUBLISHED,
        description="Statuses of a Message; extended: also Failed, for what could not be sent.",
    )
    status_map: dict[str, str] = Field(
        default={},
        description='Overrides of the status of a Message, by state or failureReason, as JSON: {"OTHER": "Discarded"}.',
    )
    audit_actor: AuditActorSettings = Field(default=AuditActorSettings(), description="Who writes its audit.")
    category_by_family: dict[str, str] = Field(
        default={},
        description="Category of a Message whose template names none, by family of events, as JSON: "
        '{"loan_transaction": "NTC-3300-0041"}.',
    )

    @model_validator(mode="after")
    def _check_families(self) -> "MessageSettings":
        families = {row.family for row in EVENTS.values()}
        for family, category in self.category_by_family.items():
            if family not in families:
                hint = did_you_mean(closest_match(family.lower(), families), before="; ")
                raise ValueError(f"category_by_family: {family!r} is not a family of events{hint}")
            if not CATEGORY_ID.fullmatch(category):
                raise ValueError(f"category_by_family: {category!r} is not a category's id, such as NTC-3300-0041")
        return self

    @model_validator(mode="after")
    def _check_statuses(self) -> "MessageSettings":
        statuses = status_map(self.status_set)
        allowed = [
            status
            for status in NotificationStatus
            if status is not NotificationStatus.FAILED or self.status_set is StatusSet.EXTENDED
        ]
        for cause, status in self.status_map.items():
            if cause not in statuses:
                hint = did_you_mean(closest_match(cause.upper(), statuses), before="; ")
                raise ValueError(f"status_map: {cause!r} is neither a state nor a failureReason{hint}")
            if status not in allowed:
                raise ValueError(
                    f"status_map: {status!r} is not a status of the {self.status_set} set: {', '.join(allowed)}"
                )
        return self

    @property
    def statuses(self) -> StatusMap:
        """The whole table."""
        changes = {cause: NotificationStatus(status) for cause, status in self.status_map.items()}
        return status_map(self.status_set, changes)

    @property
    def actor(self) -> Actor:
        """Who writes the audit."""
        return Actor(self.audit_actor.id, self.audit_actor.name, self.audit_actor.icon)


class ReferenceSettings(SettingsTable):
    """The reference tables."""

    missing_row: MissingRow = Field(
        default=MissingRow.PARTIAL,
        description="Where a row is missing: partial, the Message goes without that part; fail, the template fails.",
    )
    keys_are_stable: bool = Field(
        default=False,
        description="Declares that the producers of reference topics with more than one partition have always kept "
        "each key in one of them, also when partitions were added; without it such a topic is refused.",
    )


class DeduplicationSettings(SettingsTable):
    """How far back a repeated event is found, within its partition."""

    records: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description="An event repeated within this many records of its partition creates no message; 0: off.",
    )
    age_s: int = Field(default=86_400, ge=0, description="The same by the age of the records, in seconds.")


class HttpSettings(SettingsTable):
    """The port of /health, /ready and /metrics."""

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address on which /health, /ready and /metrics are served."
    )
    port: int = Field(
        default=8080,
        ge=0,
        le=65_535,
        description="Port of /health, /ready and /metrics; 0: a free one, which is printed.",
    )


class LogFormat(StrEnum):
    """The format of the log."""

    AUTO = "auto"  #: For people on a terminal, JSON elsewhere.
    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(SettingsTable):
    """The log on stderr."""

    format: LogFormat = Field(
        default=LogFormat.AUTO, description="Format of the log; auto: console on a terminal, else JSON."
    )
    level: LogLevel = Field(default=LogLevel.INFO, description="Lowest level that is logged.")


class Switch(StrEnum):
    """Whether a part of the processor is used."""

    ON = "on"
    OFF = "off"


class Settings(BaseSettings):
    """One installation. Built by keyword it reads nothing; `load_settings` reads environment and file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    tenant: Tenant | None = Field(default=None, description="The bank that this installation serves; required by run.")
    group: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_group)] | None = Field(
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
        description="Folder of the local stores of the reference tables, one for each process; they can be deleted. "
        "Not set: processor in the user's state folder.",
    )
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = Field(
        default="UTC", description="Time zone of dates and times in rendered texts."
    )
    key_check: KeyCheck = Field(
        default=KeyCheck.WARN,
        description="A key that is not the event's ordering key: warn, counted and logged; strict, a dead letter.",
    )
    decisions: WrittenDecisions = Field(
        default=WrittenDecisions.ALL,
        description="Which decisions are written: all; unexpected, those that neither settings nor templates intend; "
        "off, none.",
    )
    plan: Plan | None = Field(
        default=None,
        description="How ordinary Avro events are mapped, and outputs read back: native, by plans made of schemas and "
        "templates, which run in C; plain, by the same plans without C; off, each by the reference. All make the same "
        "outputs, each slower than the one before. Not set: the first of them that is there.",
    )
    plan_verify: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The share (0 to 1, say 0.001) of planned events that the reference maps, too, so that a fault of "
        "a plan is found: what it makes is published, and processor_plan_differences_total counts where a plan makes "
        "something else.",
    )
    circuit_breaker: Switch = Field(
        default=Switch.ON, description="Suspend a template that fails for almost every record."
    )
    max_event_bytes: int = Field(
        default=1_048_576, ge=1_024, le=100_000_000, description="A larger event is a dead letter, EVENT_TOO_LARGE."
    )
    max_rejected_ratio: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Stop, as a bad deployment, if at least this share of the first 200 records is rejected or of "
        "another tenant; 1: never, nor does a high share of another tenant's records degrade /ready later.",
    )
    max_batch_wait_ms: int = Field(
        default=5, ge=0, le=60_000, description="How long a batch may wait for more records, in milliseconds."
    )
    max_batch_records: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Maximum records of one transaction."
    )
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
        description="How long a dead instance may hold up read_committed readers, in milliseconds "
        "(transaction.timeout.ms).",
    )
    max_stall_s: int = Field(
        default=60, ge=1, description="Seconds without progress until a partition with lag makes the process unready."
    )
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="The connection to Kafka.")
    schema_registry: SchemaRegistrySettings = Field(default=SchemaRegistrySettings(), description="The registry.")
    topics: TopicSettings = Field(default=TopicSettings(), description="Names of topics.")
    output: OutputSettings = Field(default=OutputSettings(), description="Formats of outputs.")
    channels: ChannelSettings = Field(default=ChannelSettings(), description="Channels.")
    email: EmailSettings = Field(default=EmailSettings(), description="Mail.")
    webhook: WebhookSettings = Field(default=WebhookSettings(), description="Webhooks.")
    sms: SmsSettings = Field(default=SmsSettings(), description="Text messages.")
    message: MessageSettings = Field(default=MessageSettings(), description="Messages of portals.")
    reference: ReferenceSettings = Field(default=ReferenceSettings(), description="Reference tables.")
    deduplication: DeduplicationSettings = Field(default=DeduplicationSettings(), description="Repeated events.")
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
    def _check_stream_names(self) -> "Settings":
        example = self._stream(EventName("LOAN_REPAYMENT"), tenant=self.tenant or "tenant")
        if not _LEGAL_TOPIC.fullmatch(example):
            raise ValueError(
                f"a stream topic would be {example!r}: a name is letters, digits, '.', '_', '-', up to 249"
            )
        if example in {self.topic(name) for name in FIXED_TOPICS}:
            raise ValueError(f"the stream pattern gives {example!r}, which is the name of another topic")
        return self

    @model_validator(mode="after")
    def _check_poll_interval(self) -> "Settings":
        for table in (self.kafka.common, self.kafka.consumer):
            interval = table.get("max.poll.interval.ms", "")
            if interval.isdecimal() and int(interval) < self.transaction_timeout_ms + _MAPPING_TIME_MS:
                raise ValueError(
                    f"max.poll.interval.ms of {interval} is too short: a transaction may take "
                    f"{self.transaction_timeout_ms} ms (PROCESSOR_TRANSACTION_TIMEOUT_MS), and mapping "
                    f"{_MAPPING_TIME_MS} ms; the group would shut out a member that works"
                )
        return self

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.group or f"{self.topics.prefix}processor"

    @property
    def instance_name(self) -> str:
        """The instance id: the setting, else the host's name. UsageError for a name that cannot be part of an id."""
        instance_id = self.instance_id or socket.gethostname()
        if ":" in instance_id:
            raise UsageError(
                f"the host's name {instance_id!r} has ':', which separates the parts of a transactional.id",
                hint="set PROCESSOR_INSTANCE_ID to a name for this host",
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
