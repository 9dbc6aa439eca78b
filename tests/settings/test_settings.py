"""Settings: what people may set, and the exact texts of the errors when they set it wrong."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from processor.domain.catalogue import EVENTS
from processor.domain.channel import Channel
from processor.domain.record import EventName
from processor.errors import UsageError
from processor.settings import (
    FIXED_TOPICS,
    MASK,
    REMOVED,
    RENAMED,
    RESERVED,
    SECRET_PROPERTY_WORDS,
    InputTopic,
    KafkaSettings,
    Properties,
    SchemaRegistrySettings,
    SettingRow,
    Settings,
    TopicSettings,
    load_settings,
    settings_table,
)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test meets the settings of the machine it runs on."""
    for name in os.environ:
        if name.upper().startswith("PROCESSOR_"):
            monkeypatch.delenv(name)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> "Environment":
    """Sets variables."""
    return Environment(monkeypatch)


class Environment:
    """The variables of the process, for one test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def set(self, **variables: str) -> None:
        """Set PROCESSOR_ and each name to its value."""
        for name, value in variables.items():
            self._monkeypatch.setenv(f"PROCESSOR_{name}", value)

    @contextmanager
    def temporarily(self, **variables: str) -> Iterator[None]:
        """Set variables, by their whole names, for the length of the block."""
        with self._monkeypatch.context() as within:
            for name, value in variables.items():
                within.setenv(name, value)
            yield


def error_text() -> str:
    """What a person reads when settings cannot be loaded."""
    with pytest.raises(UsageError) as caught:
        load_settings()
    return str(caught.value)


def row(variable: str) -> SettingRow:
    """One line of the table."""
    return next(row for row in settings_table() if row.variable == variable)


def test_nothing_set_is_the_defaults() -> None:
    """An empty environment gives the documented defaults."""
    settings = load_settings()

    assert Settings() == settings
    assert ("processor", "banking.events") == (settings.group_id, settings.topic(InputTopic.EVENTS))
    assert (5, 10_000, 8_000_000) == (
        settings.max_batch_wait_ms,
        settings.max_batch_records,
        settings.max_batch_bytes,
    )
    assert (15_000, 60, 1_048_576) == (
        settings.transaction_timeout_ms,
        settings.max_stall_s,
        settings.max_event_bytes,
    )
    assert (10_000, 86_400, 8080, "127.0.0.1") == (
        settings.deduplication.records,
        settings.deduplication.age_s,
        settings.http.port,
        settings.http.host,
    )


def test_keyword_settings_ignore_the_environment(environment: Environment) -> None:
    """A test that builds settings is not changed by the variables of its machine."""
    environment.set(TENANT="elsewhere", HTTP__PORT="1")

    assert (None, 8080) == (Settings().tenant, Settings().http.port)


def test_the_environment_wins_over_the_file(environment: Environment, tmp_path: Path) -> None:
    """Setting by setting; the table shows where each value came from."""
    file = tmp_path / "settings.toml"
    file.write_text(
        'tenant = "filed"\nmax_stall_s = 30\n[http]\nport = 9000\n'
        '[kafka.common]\n"security.protocol" = "SSL"\n"ssl.ca.location" = "/ca"\n'
    )
    environment.set(CONFIG=str(file), TENANT="northbank", KAFKA__COMMON='{"client.rack": "a", "linger.ms": 5}')

    settings = load_settings()

    assert ("northbank", 30, 9000) == (settings.tenant, settings.max_stall_s, settings.http.port)
    assert {"client.rack": "a", "linger.ms": "5"} == settings.kafka.common
    assert ("environment", str(file), "default") == tuple(
        row(f"PROCESSOR_{name}").source for name in ("TENANT", "HTTP__PORT", "GROUP")
    )


def test_an_empty_variable_is_not_set(environment: Environment) -> None:
    """Compose passes `VARIABLE=` for one that is not set."""
    environment.set(INSTANCE_ID="", HTTP__PORT="")

    assert (None, 8080) == (load_settings().instance_id, load_settings().http.port)


def test_a_misspelt_variable_names_the_nearest_right_one(environment: Environment) -> None:
    """A variable that would silently mean nothing is an error; its value, which may be a password, is not shown."""
    environment.set(TENNANT="hunter2", KAFKA_BOOTSTRAP_SERVERS="h:1")

    assert (
        "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS in the environment is not a setting\n"
        "hint: did you mean PROCESSOR_KAFKA__BOOTSTRAP_SERVERS?\n"
        "PROCESSOR_TENNANT in the environment is not a setting\n"
        "hint: did you mean PROCESSOR_TENANT?"
    ) == error_text()


def test_a_variable_like_no_other_points_to_the_list(environment: Environment) -> None:
    """Where nothing is near, the hint says where all are."""
    environment.set(XYZZY="1")

    assert (
        "PROCESSOR_XYZZY in the environment is not a setting\nhint: `processor settings` lists all settings"
        == error_text()
    )


@pytest.mark.parametrize(
    "injected",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_8080_TCP",
        "PORT_8080_TCP_ADDR",
        "KAFKA_SERVICE_HOST",
        "RUN_2_SERVICE_PORT_METRICS",
        "HTTP_PORT_80_TCP_PROTO",
    ],
)
def test_what_kubernetes_injects_is_ignored(environment: Environment, injected: str) -> None:
    """Services named processor… put such variables into every pod of the namespace."""
    environment.set(**{injected: "tcp://10.0.0.1:80"})

    assert Settings() == load_settings()


def test_a_double_underscore_is_never_an_injected_variable(environment: Environment) -> None:
    """Names of Services give single underscores, so this is a misspelling."""
    environment.set(HTP__PORT="1")

    assert (
        "PROCESSOR_HTP__PORT in the environment is not a setting\nhint: did you mean PROCESSOR_HTTP__PORT?"
        == error_text()
    )


def test_every_error_is_reported_at_once(environment: Environment, tmp_path: Path) -> None:
    """Value, place and hint of each, from file and environment alike."""
    file = tmp_path / "settings.toml"
    file.write_text('tennant = "x"\n[http]\nport = 70000\n')
    environment.set(CONFIG=str(file), TIME_ZONE="Berlin", KEY_CHECK="loose")

    assert (
        f"tennant in {file} is not a setting\n"
        "hint: did you mean tenant?\n"
        "PROCESSOR_TIME_ZONE='Berlin' in the environment: is not a time zone of the IANA list, such as Europe/Berlin\n"
        "hint: Time zone of dates and times in rendered texts. Default: UTC\n"
        "PROCESSOR_KEY_CHECK='loose' in the environment: input should be 'warn' or 'strict'\n"
        "hint: A key that is not the event's ordering key: warn, counted and logged; strict, a dead letter. "
        "Default: warn\n"
        f"http.port = 70000 in {file}: input should be less than or equal to 65535\n"
        "hint: Port of /health, /ready and /metrics; 0: a free one, which is printed. Default: 8080"
    ) == error_text()


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("TENANT", "NorthBank", "may have only lower-case letters, digits and '-', at most 63, as in the events"),
        ("INSTANCE_ID", "a b", "may have only letters, digits, '.', '_' and '-'"),
        ("MAX_EVENT_BYTES", "1MB", "input should be a valid integer"),
        ("MAX_REJECTED_RATIO", "0", "input should be greater than 0"),
        ("TRANSACTION_TIMEOUT_MS", "10", "input should be greater than or equal to 1000"),
        ("KAFKA__BOOTSTRAP_SERVERS", "broker", "'broker' is not host:port"),
        ("KAFKA__BOOTSTRAP_SERVERS", "a:1,b:99999", "'b:99999' is not host:port"),
        ("KAFKA__CONSUMER", '{"group.protocol": "new"}', "group.protocol must be one of: classic, consumer"),
        ("SCHEMA_REGISTRY__URL", "registry:8081", "must begin with http:// or https:// and name a host"),
        ("TOPICS__EVENTS", "banking events", "topic events would be 'banking events': a name is letters, digits"),
        ("TOPICS__STATUS", "banking.events", "topics events and status would both be 'banking.events'"),
        ("TOPICS__STREAM", "s.{evnt}", "has {evnt}; there are {tenant} and {event} only"),
        ("TOPICS__STREAM", "s.{event", "has an unmatched brace"),
        ("TOPICS__STREAM", "banking.events", "gives 'banking.events', which is the name of another topic"),
        ("TOPICS__STREAM", "s/{event}", "a stream topic would be 's/loan_repayment'"),
    ],
)
def test_an_invalid_value_is_refused(environment: Environment, variable: str, value: str, why: str) -> None:
    """Each says why, and what to do, before anything connects."""
    environment.set(**{variable: value})

    assert why in error_text()
    assert "\nhint: " in error_text()


@pytest.mark.parametrize("servers", ["kafka:9092", "10.0.0.1:9092, 10.0.0.2:9092", "[::1]:9092", "SSL://kafka:9093"])
def test_brokers_are_host_and_port(servers: str) -> None:
    """Names, addresses of both kinds, several, with a protocol as librdkafka takes it."""
    assert servers == Settings(kafka=KafkaSettings(bootstrap_servers=servers)).bootstrap_servers


@pytest.mark.parametrize("table", ["COMMON", "CONSUMER", "PRODUCER"])
@pytest.mark.parametrize("name", sorted(RESERVED))
def test_properties_that_exactly_once_rests_on_are_reserved(environment: Environment, table: str, name: str) -> None:
    """In every table, with the reason, whatever the value; which is not shown, as the value of any property."""
    environment.set(**{f"KAFKA__{table}": f'{{"{name}": "1"}}'})

    assert (
        f"PROCESSOR_KAFKA__{table}={{'{name}': '{MASK}'}} in the environment: "
        f"{name} is reserved: {RESERVED[name]}\nhint: leave the property out"
    ) == error_text()


@pytest.mark.parametrize("table", ["COMMON", "CONSUMER", "PRODUCER"])
@pytest.mark.parametrize(
    "name",
    [
        *("error_cb", "throttle_cb", "stats_cb", "oauth_cb", "ssl.certificate.verify_cb", "on_delivery", "on_commit"),
        *("test.mock.num.brokers", "test.mock.broker.rtt"),
    ],
)
def test_callbacks_and_mock_brokers_are_refused(environment: Environment, table: str, name: str) -> None:
    """A callback, of which the client raises errors of its own, and brokers that are none."""
    environment.set(**{f"KAFKA__{table}": f'{{"{name}": "1"}}'})

    assert f"{name} is reserved: it " in error_text()
    assert error_text().endswith("hint: leave the property out")


@pytest.mark.parametrize("table", ["COMMON", "CONSUMER"])
def test_a_slow_commit_is_no_missed_poll(environment: Environment, table: str) -> None:
    """max.poll.interval.ms may be set, longer than what a transaction may take."""
    environment.set(**{f"KAFKA__{table}": '{"max.poll.interval.ms": 29999}'})

    assert "max.poll.interval.ms of 29999 is too short: a transaction may take 15000 ms" in error_text()

    environment.set(**{f"KAFKA__{table}": '{"max.poll.interval.ms": 30000}'})

    assert 15_000 == load_settings().transaction_timeout_ms


def test_only_cooperative_sticky_is_accepted() -> None:
    """cooperative-sticky may be written down; any other would stop all members at each rebalance."""
    KafkaSettings(consumer={"partition.assignment.strategy": "cooperative-sticky"})

    with pytest.raises(ValueError, match="only cooperative-sticky"):
        KafkaSettings(consumer={"partition.assignment.strategy": "range"})


def test_other_properties_pass_through_as_text(environment: Environment) -> None:
    """Numbers and truth values of JSON become what librdkafka reads."""
    environment.set(KAFKA__PRODUCER='{"linger.ms": 2.5, "socket.keepalive.enable": true, "compression.type": "zstd"}')

    assert {"linger.ms": "2.5", "socket.keepalive.enable": "true", "compression.type": "zstd"} == (
        load_settings().kafka.producer
    )


@pytest.mark.parametrize("table", ["COMMON", "CONSUMER", "PRODUCER"])
@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ('{"linger.msec": 5}', 'no such configuration property: "linger.msec"'),
        ('{"fetch.wait.max.ms": "soon"}', 'invalid value for configuration property "fetch.wait.max.ms"'),
    ],
)
def test_what_librdkafka_does_not_know_is_refused(
    environment: Environment, table: str, properties: str, why: str
) -> None:
    """A misspelt property or a value of the wrong kind, in the client's own words, before anything connects."""
    environment.set(**{f"KAFKA__{table}": properties})

    assert f"in the environment: {why}" in error_text()


def test_settings_are_read_without_a_log_in(environment: Environment) -> None:
    """Settings of every kind of log-in are read without a client asking anybody for a token."""
    environment.set(
        KAFKA__COMMON='{"security.protocol": "sasl_ssl", "sasl.mechanisms": "OAUTHBEARER", '
        '"sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.id": "ada", '
        '"sasl.oauthbearer.client.secret": "hunter2", "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:1/t"}'
    )

    assert "sasl_ssl" == load_settings().kafka.common["security.protocol"]


@pytest.mark.parametrize("text", ["{hunter2", '"hunter2"', '["hunter2"]'])
def test_properties_that_are_no_object_are_not_shown(environment: Environment, text: str) -> None:
    """What cannot be taken apart may hold a password anywhere."""
    environment.set(KAFKA__COMMON=text)

    assert (
        f"PROCESSOR_KAFKA__COMMON='{MASK}' in the environment: "
        'must be a JSON object, as in {"security.protocol": "SSL"}\n'
        "hint: librdkafka properties of all clients, as JSON; security belongs here. Default: {}"
    ) == error_text()


def test_channels_and_statuses_of_an_installation(environment: Environment) -> None:
    """Channels that are off, cells of the table, statuses and the audit's actor come from JSON and words."""
    environment.set(
        CHANNELS__DISABLED='["SMS"]',
        CHANNELS__OVERRIDES='{"CLIENT_ACTIVITY": {"EMAIL": true, "SMS": false}}',
        MESSAGE__STATUS_SET="extended",
        MESSAGE__STATUS_MAP='{"OTHER": "Discarded"}',
        MESSAGE__AUDIT_ACTOR__ID="UR-1111-2222-3333",
    )
    settings = load_settings()

    assert (Channel.SMS,) == settings.channels.disabled
    assert {Channel.EMAIL, Channel.WEB_HOOK, Channel.EVENT_STREAM} == settings.channels.of(
        EVENTS[EventName("CLIENT_ACTIVITY")]
    )
    assert EVENTS[EventName("FEE_APPLIED")].channels == settings.channels.of(EVENTS[EventName("FEE_APPLIED")])
    assert ("Discarded", "Failed") == tuple(settings.message.statuses[word] for word in ("OTHER", "SMS_TOO_LONG"))
    assert ("UR-1111-2222-3333", "Processor") == (settings.message.actor.id, settings.message.actor.name)


@pytest.mark.parametrize(
    ("variable", "text", "what"),
    [
        ("CHANNELS__DISABLED", '["SMSS"]', "input should be 'EMAIL', 'SMS', 'WEB_HOOK', 'EVENT_STREAM' or 'TASK'"),
        (
            "CHANNELS__OVERRIDES",
            '{"CLIENT_ACTIVTY": {}}',
            "'CLIENT_ACTIVTY' is not an event; did you mean CLIENT_ACTIVITY?",
        ),
        ("CHANNELS__OVERRIDES", '{"CLIENT_ACTIVITY": {"MAIL": true}}', "'MAIL' is not a channel; did you mean EMAIL?"),
        (
            "MESSAGE__STATUS_MAP",
            '{"OTER": "Sent"}',
            "'OTER' is neither a state nor a failureReason; did you mean OTHER?",
        ),
        (
            "MESSAGE__STATUS_MAP",
            '{"OTHER": "Failed"}',
            "'Failed' is not a status of the published set: Queued, Sent, Bou",
        ),
        ("MESSAGE__AUDIT_ACTOR__ID", "UR-1", "must have the format UR-NNNN-NNNN-NNNN"),
        ("MESSAGE__STATUS_SET", "all", "input should be 'published' or 'extended'"),
    ],
)
def test_unknown_values_name_the_nearest(environment: Environment, variable: str, text: str, what: str) -> None:
    """Each is refused with the nearest that there is."""
    environment.set(**{variable: text})

    assert what in error_text()


def secret_places() -> list[tuple[str, str]]:
    """Variables with a password in them, as people write them."""
    return [
        ("KAFKA__COMMON", '{"sasl.username": "ada", "sasl.password": "hunter2", "ssl.key.password": "hunter2"}'),
        ("KAFKA__CONSUMER", '{"sasl.oauthbearer.config": "secret=hunter2", "ssl.keystore.password": "hunter2"}'),
        ("KAFKA__PRODUCER", '{"sasl.oauthbearer.client.secret": "hunter2", "ssl.key.pem": "hunter2"}'),
        ("SCHEMA_REGISTRY__PASSWORD", "hunter2"),
    ]


def test_secrets_are_never_shown(environment: Environment) -> None:
    """Not by the table, not by printing, dumping or formatting the settings; only by name can they be read."""
    environment.set(**dict(secret_places()))
    settings = load_settings()

    shown = [
        str(settings_table()),
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
    ]
    shown += [f"{settings.kafka.common}", repr(settings.kafka)]
    assert [] == [text for text in shown if "hunter2" in text]
    assert "hunter2" == settings.kafka.common["sasl.password"]
    assert "ada" in str(row("PROCESSOR_KAFKA__COMMON").value)
    assert MASK == row("PROCESSOR_SCHEMA_REGISTRY__PASSWORD").value


@pytest.mark.parametrize("word", SECRET_PROPERTY_WORDS)
def test_properties_with_a_secret_word_are_masked(word: str) -> None:
    """Wherever it stands in the name, in any case; by the name alone the value can be read."""
    names = (word, f"x.{word}.y", f"X.{word.upper()}")
    properties = Properties(dict.fromkeys(names, "hunter2"))

    assert dict.fromkeys(names, MASK) == properties.masked()
    assert "hunter2" not in f"{properties} {properties!r}"
    assert {"hunter2"} == {properties[name] for name in names}


@pytest.mark.parametrize(("variable", "value"), secret_places()[:3])
def test_secrets_are_not_shown_by_errors_either(environment: Environment, variable: str, value: str) -> None:
    """A table with an error beside its password."""
    environment.set(**{variable: value.replace("}", ', "acks": "1"}')})

    assert "acks is reserved" in error_text()
    assert "hunter2" not in error_text()


def test_a_password_in_an_address_is_refused_and_masked(environment: Environment) -> None:
    """It would be written wherever the address is."""
    environment.set(SCHEMA_REGISTRY__URL="https://ada:hunter2@registry")

    assert error_text().startswith(f"PROCESSOR_SCHEMA_REGISTRY__URL='https://{MASK}@registry' in the environment: ")
    assert "hunter2" not in error_text()


@pytest.mark.parametrize(
    ("content", "why"), [(None, "no such file or directory"), ("tenant = northbank", "is not TOML: Invalid value")]
)
def test_a_file_that_cannot_be_read_is_named(
    environment: Environment, tmp_path: Path, content: str | None, why: str
) -> None:
    """The place is in the error, and the line where there is one."""
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_text(content)
    environment.set(CONFIG=str(file))

    assert str(file) in error_text()
    assert why in error_text()


def test_settings_are_immutable(environment: Environment) -> None:
    """Frozen, at both levels."""
    environment.set(TENANT="northbank")
    settings: Any = load_settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.tenant = "southbank"
    with pytest.raises(ValueError, match="frozen"):
        settings.http.port = 1


def test_the_prefix_stands_before_every_name() -> None:
    """Topics, streams and the group; the group can be named otherwise."""
    settings = Settings(tenant="northbank", topics=TopicSettings(prefix="demo-1."))

    assert all(settings.topic(name).startswith("demo-1.") for name in FIXED_TOPICS)
    assert "demo-1.mrn.event.northbank.streamingapi.loan_repayment" == settings.stream_topic(
        EventName("LOAN_REPAYMENT")
    )
    assert "demo-1.processor" == settings.group_id
    assert "mine" == Settings(group="mine", topics=TopicSettings(prefix="demo-1.")).group_id


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("pt", "'pt' is not a region with phone numbers, such as PT; did you mean PT?"),
        ("PRT", "'PRT' is not a region with phone numbers, such as PT; did you mean "),
        ("351", "'351' is not a region with phone numbers, such as PT"),
        ("001", "'001' is not a region with phone numbers, such as PT"),
        ("ZZ", "'ZZ' is not a region with phone numbers, such as PT"),
    ],
)
def test_the_region_of_phone_numbers(environment: Environment, value: str, text: str) -> None:
    """It is one of libphonenumber's, by its two letters, and there is none unless it is set."""
    assert load_settings().sms.region is None
    environment.set(SMS__REGION="PT\n")
    assert "PT" == load_settings().sms.region
    environment.set(SMS__REGION=value)

    assert f"PROCESSOR_SMS__REGION={value!r} in the environment: {text}" in error_text()


def test_the_instance_id_is_the_host_unless_set() -> None:
    """A StatefulSet's ordinal comes with the host's name."""
    assert os.uname().nodename == Settings().instance_name
    assert "run-0" == Settings(instance_id="run-0").instance_name


def test_a_trailing_line_end_is_removed(environment: Environment, tmp_path: Path) -> None:
    """A mounted secret has one; it is taken off every setting alike, in the file too. Nothing else is no value."""
    variables: dict[str, str] = {
        "TENANT": "northbank",
        "GROUP": "mine",
        "INSTANCE_ID": "a",
        "TIME_ZONE": "Europe/Berlin",
        "DECISIONS": "off",
        "STATE_DIR": "/var/lib/x",
        "MAX_STALL_S": "30",
        "KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2",
        "KAFKA__COMMON": '{"client.rack": "r"}',
        "SCHEMA_REGISTRY__URL": "https://registry.example.com",
        "SCHEMA_REGISTRY__USERNAME": "somebody",
        "SCHEMA_REGISTRY__PASSWORD": "word",
        "TOPICS__PREFIX": "x.",
        "CHANNELS__DISABLED": '["SMS"]',
        "HTTP__PORT": "8081",
    }
    environment.set(**variables)
    plain = load_settings()
    for line_end in ("\n", "\r\n", "\n\n"):
        environment.set(**{name: value + line_end for name, value in variables.items()})
        assert plain == load_settings()
    assert plain.schema_registry.password is not None
    assert "word" == plain.schema_registry.password.get_secret_value()

    file = tmp_path / "settings.toml"
    file.write_text('instance_id = "b\\n"\ngroup = """c\n"""\n')
    environment.set(CONFIG=f"{file}\n", INSTANCE_ID="\n", GROUP="\r\n")
    assert ("b", "c") == (load_settings().instance_id, load_settings().group)
    environment.set(KAFKA_HOME="/opt/kafka\n")
    assert "/opt/kafka" == row("PROCESSOR_KAFKA_HOME").value


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("group", "a\x00b", "holds a control character"),
        ("group", "a\nb", "holds a control character"),
        ("group", "a\x1b[2Jb", "holds a control character"),
        ("templates_dir", "a\x00b", "holds a control character"),
        ("time_zone", "Europe/\x00", "holds a control character"),
        ("topics.prefix", "\u0085", "holds a control character"),
        ("schema_registry.password", "secret\x00word", "holds a control character"),
        ("kafka.common", {"sasl.password": "secret\x00word"}, "holds a control character"),
        ("kafka.common", {"sasl\x00": "secretword"}, "holds a control character"),
        ("channels.disabled", ["SMS\x00"], "holds a control character"),
    ],
)
def test_characters_that_no_setting_has(
    environment: Environment, tmp_path: Path, name: str, value: Any, what: str
) -> None:
    """NUL, escapes for a terminal, line ends within: exit 2, with the setting and without a secret's value."""
    file = tmp_path / "settings.toml"
    file.write_text(f"{name} = {_toml(value)}\n")
    environment.set(CONFIG=str(file))
    text = error_text()

    assert what in text
    assert name in text
    assert "secret" not in text.replace("schema_registry.password", "")
    assert "\x00" not in text
    assert "\x1b" not in text


def _toml(value: Any) -> str:
    """A value as TOML, whatever characters it has."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(
    "name",
    [
        "TENANT",
        "GROUP",
        "INSTANCE_ID",
        "TIME_ZONE",
        "KAFKA__BOOTSTRAP_SERVERS",
        "TOPICS__PREFIX",
        "SCHEMA_REGISTRY__URL",
    ],
)
def test_bytes_that_are_no_text(environment: Environment, name: str) -> None:
    """As a shell in another encoding passes them."""
    environment.set(**{name: os.fsdecode(b"caf\xe9:1")})

    assert f"PROCESSOR_{name}='caf\\udce9:1' in the environment: holds bytes that are not UTF-8" in error_text()


def test_properties_with_bytes_that_are_no_text(environment: Environment) -> None:
    """Also where JSON escapes them; librdkafka would take none of it."""
    for text in (os.fsdecode(b'{"client.rack": "caf\xe9"}'), '{"client.rack": "\\ud800"}'):
        environment.set(KAFKA__COMMON=text)

        assert "holds bytes that are not UTF-8" in error_text()


def test_a_folder_may_be_called_by_any_bytes(environment: Environment) -> None:
    """Systems let paths be so."""
    environment.set(STATE_DIR=os.fsdecode(b"/var/caf\xe9"))

    assert os.fsdecode(b"/var/caf\xe9") == str(load_settings().state_dir)


def test_certificates_within_properties_have_lines(environment: Environment) -> None:
    """ssl.ca.pem is one property of many lines."""
    environment.set(KAFKA__COMMON=json.dumps({"client.rack": "a\n\tb\r\n"}))

    assert "a\n\tb\r\n" == load_settings().kafka.common["client.rack"]


@pytest.mark.timeout(20)
def test_invalid_settings_files(environment: Environment, tmp_path: Path) -> None:
    """A folder, a pipe, a device, gigabytes, nesting and digits without end: exit 2 with its name, no waiting."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10_000_000_000)
    (tmp_path / "deep").write_text("a = " + "[" * 100_000)
    (tmp_path / "digits").write_text("max_stall_s = " + "9" * 10_000)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name in ("", "pipe", "huge", "deep", "digits", "binary", "gone", "/dev/zero"):
        environment.set(CONFIG=str(tmp_path / name))

        assert str(tmp_path / name) in error_text()


def test_a_settings_file_with_a_byte_order_mark(environment: Environment, tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "s.toml").write_bytes(b'\xef\xbb\xbftenant = "northbank"\r\n')
    environment.set(CONFIG=str(tmp_path / "s.toml"))

    assert "northbank" == load_settings().tenant


@pytest.mark.timeout(20)
def test_certificates_in_a_pipe(environment: Environment, tmp_path: Path) -> None:
    """They would be waited for."""
    os.mkfifo(tmp_path / "pipe")
    environment.set(SCHEMA_REGISTRY__CA_FILE=str(tmp_path / "pipe"))

    assert "is not a file" in error_text()


def test_deeply_nested_json(environment: Environment) -> None:
    """JSON that Python cannot read is named like any other that is none."""
    environment.set(KAFKA__COMMON="[" * 100_000)

    assert "PROCESSOR_KAFKA__COMMON" in error_text()


def test_what_run_needs_is_named_with_a_hint() -> None:
    """The tenant and the brokers have no default."""
    with pytest.raises(UsageError, match=r"PROCESSOR_TENANT is not set\nhint: name the bank"):
        _ = Settings().required_tenant
    with pytest.raises(UsageError, match=r"PROCESSOR_KAFKA__BOOTSTRAP_SERVERS is not set\nhint: `processor kafka`"):
        _ = Settings().bootstrap_servers


def test_the_table_has_every_setting_with_a_meaning() -> None:
    """Each leaf of the model once, with a sentence; and the variables that are read elsewhere."""
    rows = settings_table()

    assert len(rows) == len({row.variable for row in rows})
    assert {"PROCESSOR_CONFIG", "PROCESSOR_KAFKA_HOME"} == {row.variable for row in rows if not row.name}
    assert all(row.meaning.endswith(".") for row in rows)
    assert "PROCESSOR_TOPICS__DEAD_LETTERS" in {row.variable for row in rows}


def test_a_registry_can_have_a_password() -> None:
    """By keyword and by its secret type."""
    registry = SchemaRegistrySettings.model_validate({"url": "https://registry", "password": "hunter2"})

    assert registry.password is not None
    assert "hunter2" == registry.password.get_secret_value()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KAFKA__COMMON", '{"sasl.pasword": "hunter2"}'),
        ("KAFKA__PRODUCER", '{"acks": "hunter2"}'),
        ("SCHEMA_REGISTRY__URL", "user:hunter2@host"),
        ("SCHEMA_REGISTRY__URL", "https://user:hunter2@host"),
        ("SCHEMA_REGISTRY__PASSWORD", "hunter2"),
    ],
)
def test_no_error_shows_a_secret(environment: Environment, variable: str, value: str) -> None:
    """Also where the name is misspelt, so that it is not known that a secret follows, or a URL has lost its scheme."""
    environment.set(**{variable: value}, HTTP__PORT="none")

    assert "hunter2" not in error_text()


@pytest.mark.parametrize(("former", "current"), RENAMED.items())
def test_a_former_name_is_an_error_that_names_the_new_one(
    environment: Environment, tmp_path: Path, former: str, current: str
) -> None:
    """In the environment in any case, and in a file, also where its table is gone."""
    for name in (former, former.lower()):
        with environment.temporarily(**{name: "1", current: ""}):
            assert f"{name} in the environment was renamed\nhint: it is {current} now" == error_text()

    old, new = (name.removeprefix("PROCESSOR_").lower().replace("__", ".") for name in (former, current))
    (tmp_path / "s.toml").write_text(f"{old} = 1\n")
    environment.set(CONFIG=str(tmp_path / "s.toml"))
    assert f"{old} in {tmp_path / 's.toml'} was renamed\nhint: it is {new} now" == error_text()


@pytest.mark.parametrize("former", sorted(REMOVED))
def test_a_removed_name_is_an_error(environment: Environment, tmp_path: Path, former: str) -> None:
    """A setting that would do nothing is not a setting, in the environment or in a file."""
    with environment.temporarily(**{former: "x"}):
        assert f"{former} in the environment was removed: nothing uses it\nhint: leave it out" == error_text()

    (tmp_path / "s.toml").write_text(
        f'{(name := former.removeprefix("PROCESSOR_").lower().replace("__", "."))} = "x"\n'
    )
    environment.set(CONFIG=str(tmp_path / "s.toml"))
    assert f"{name} in {tmp_path / 's.toml'} was removed: nothing uses it\nhint: leave it out" == error_text()


def test_former_names_are_not_current_names() -> None:
    """The table leads from names that are gone to settings that there are; the changelog has all of them."""
    variables = {row.variable for row in settings_table()}
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()

    assert set(RENAMED.values()) <= variables
    assert not variables & {*RENAMED, *REMOVED}
    assert [] == [name for name in (*RENAMED, *REMOVED) if f"`{name}`" not in changelog]
