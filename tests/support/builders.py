"""Builders of values for tests of templates and mapping: events, records, templates, output topics, contexts."""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from processor.domain.catalogue import EVENTS, Target
from processor.domain.channel import Channel, ContentType, RecipientKind
from processor.domain.event import Event, SourceEvent
from processor.domain.ids import template_key
from processor.domain.message import FailedTemplate, MessageStatus, SkippedTemplate, State
from processor.domain.notification import Attachment
from processor.domain.operation import OperationId
from processor.domain.operation_record import OperationCounts, OperationState, ProgressRecord
from processor.domain.outcome import Outcome
from processor.domain.output_topics import FIXED_OUTPUTS, OUTPUTS, SINGLE, OutputTopic, OutputTopics
from processor.domain.reasons import DecisionReason, TemplateReason
from processor.domain.record import EncodedKey, EventName, Headers, RecordPosition, SourceRecord, TemplateId, Topic
from processor.domain.template import (
    Condition,
    EscapeContext,
    Match,
    Operator,
    Subscription,
    Template,
    TemplateSet,
    Text,
    template_set,
)
from processor.mapping.context import DraftRules, MappingContext, Suspended
from processor.mapping.decode_record import decode_record
from processor.mapping.map import map_event
from processor.registry.schema_files import load_schemas
from processor.templates.compile_conditions import compile_condition
from processor.templates.html_scanner import place_placeholders
from processor.templates.load import SHIPPED, read_templates, require_usable
from processor.templates.text import parse, parse_custom_field
from processor.wire.decode import event_from_json
from processor.wire.encode import OutputEncoder, encode_event
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf
from processor.wire.wire_format import WireFormat

TENANT = "northbank"
EVENTS_TOPIC = Topic("banking.events")

SMS_HEAD = """id = "note"
version = 1
name = "Note"
type = "SMS"
event = "LOAN_REPAYMENT"
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
"""
"""A template file `note.toml`, all but its body."""


@cache
def schemas() -> Schemas:
    """The shipped schemas."""
    return load_schemas()


@cache
def shipped_templates() -> TemplateSet:
    """The shipped templates, their samples checked."""
    return require_usable(read_templates(None, tenant=TENANT, schemas=schemas()))


def sample(name: str) -> dict[str, Any]:
    """A sample event of the shipped templates, in JSON form; a fresh value each time."""
    fields: dict[str, Any] = json.loads((SHIPPED / "samples" / f"{name}.json").read_text())
    return fields


def changed(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with other values at dotted paths; None removes a field."""
    result = copy.deepcopy(dict(fields))
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = result
        for step in parents:
            node = node.setdefault(step, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return result


def make_event(base: Mapping[str, Any] | str = "loan-repayment", **changes: Any) -> Event:
    """The event of a sample, by name or in JSON form; `changes` by path, `__` for a dot."""
    fields = sample(base) if isinstance(base, str) else base
    event = event_from_json(
        changed(fields, {path.replace("__", "."): value for path, value in changes.items()}), schemas()
    )
    assert isinstance(event, Event), event
    return event


def make_record(
    event: Event | None = None,
    *,
    value: bytes | None = None,
    key: bytes | str | None = "",
    headers: Headers | None = None,
    position: RecordPosition | None = None,
    timestamp_ms: int = 1_773_480_413_702,
) -> SourceRecord:
    """The record of `event` in JSON, with its ordering key; or of any bytes."""
    if event is None and value is None:
        event = make_event()
    form: Headers = ()
    if event is not None:
        value, form = encode_event(event.fields, schemas(), format=WireFormat.JSON)
    if isinstance(key, str):
        key = event.ordering_key.encode() if event else b"key"
    return SourceRecord(
        position or RecordPosition(EVENTS_TOPIC, 3, 17), timestamp_ms, key, value, (*form, *(headers or ()))
    )


def make_condition(
    field: str, operator: str, *operands: str, families: Mapping[str, EventName] | None = None
) -> Condition:
    """A valid condition, as from a file, on events of `families` (loan_transaction)."""
    if operator == "IN":
        operand_texts = {"values": list(operands)}
    else:
        operand_texts = {name: [text] for name, text in zip(("value", "second_value"), operands, strict=False)}
    families = families or {"loan_transaction": EventName("LOAN_REPAYMENT")}
    condition, diagnostics = compile_condition(field, Operator(operator), operand_texts, families=families)
    assert condition is not None, diagnostics
    return condition


def make_template(
    template_id: str = "loan-repayment-note",
    *,
    body: str = "{ACCOUNT_ID}: {TRANSACTION_AMOUNT}",
    subject: str | None = None,
    channel: Channel = Channel.EVENT_STREAM,
    events: Iterable[str] = ("LOAN_REPAYMENT",),
    target: Target = Target.LOANS,
    recipient: RecipientKind | None = None,
    role: str | None = None,
    field: str | None = None,
    content_type: ContentType = ContentType.TEXT,
    subscription: Subscription = Subscription.OPT_OUT,
    active: bool = True,
    strict: bool = False,
    default_locale: str = "en",
    bodies: Mapping[str, str] | None = None,
    match: Match = Match.ALL,
    conditions: Iterable[Condition] = (),
    category: str | None = None,
    attachments: Iterable[Attachment] = (),
    trigger_days: int | None = None,
) -> Template:
    """A valid template, as from a file."""
    names = tuple(EventName(event) for event in events)
    conditions = tuple(conditions)

    def text(body: str) -> Text:
        families = {EVENTS[event].family: event for event in names}
        line, diagnostics = parse(subject, ContentType.TEXT, families=families) if subject is not None else (None, ())
        segments, more = parse(body, content_type, families=families)
        assert not [diagnostic for diagnostic in (*diagnostics, *more) if diagnostic.is_error]
        return Text(line, place_placeholders(segments)[0] if content_type is ContentType.HTML else segments)

    return Template(
        id=TemplateId(template_id),
        key=template_key(TENANT, TemplateId(template_id)),
        version=1,
        name=template_id.replace("-", " "),
        type=channel,
        events=names,
        target=target,
        recipient=recipient,
        recipient_role=role,
        recipient_field=None if field is None else parse_custom_field(field),
        content_type=content_type,
        text=text(body),
        default_locale=default_locale,
        texts={tag: text(variant) for tag, variant in (bodies or {}).items()},
        category=category,
        attachments=tuple(attachments),
        trigger_days=trigger_days,
        match=match,
        conditions=conditions,
        subscription=subscription,
        active=active,
        strict=strict,
        content=json.dumps([template_id, body]),
    )


def make_email(template_id: str = "loan-repayment-mail", **fields: Any) -> Template:
    """A template of type EMAIL to the client."""
    defaults = {
        "channel": Channel.EMAIL,
        "recipient": RecipientKind.CLIENT,
        "subject": "About {ACCOUNT_ID}",
        "content_type": ContentType.HTML,
    }
    return make_template(template_id, **{**defaults, **fields})


def make_sms(template_id: str = "loan-repayment-text", **fields: Any) -> Template:
    """A template of type SMS to the client."""
    return make_template(template_id, **{"channel": Channel.SMS, "recipient": RecipientKind.CLIENT, **fields})


def make_task(template_id: str = "loan-repayment-task", **fields: Any) -> Template:
    """A template of type TASK to the credit officer."""
    return make_template(template_id, **{"channel": Channel.TASK, "recipient": RecipientKind.CREDIT_OFFICER, **fields})


def make_webhook(
    template_id: str = "loan-repayment-hook", *, url: str = "https://a.example/", **fields: Any
) -> Template:
    """A template of type WEB_HOOK."""
    template = make_template(template_id, **{"channel": Channel.WEB_HOOK, **fields})
    families = {EVENTS[event].family: event for event in template.events}
    segments, diagnostics = parse(url, EscapeContext.URL, families=families)
    assert not diagnostics
    return replace(template, text=replace(template.text, url=segments))


def make_message_status(**changed: Any) -> MessageStatus:
    """The status of a message that was created."""
    status = MessageStatus(
        encodedKey=EncodedKey("f7" * 16),
        tenant=TENANT,
        event="LOAN_REPAYMENT",
        type=Channel.EMAIL,
        sequence=1,
        from_=None,
        to=State.QUEUED,
        at=0,
        numRetries=0,
        final=False,
        eventId="7f1d2c52",
        templateId=TemplateId("loan-repayment-email"),
        templateVersion=3,
        setVersion="0" * 32,
        source=RecordPosition(EVENTS_TOPIC, 0, 0),
    )
    return replace(status, **changed)


def make_progress(**changed: Any) -> ProgressRecord:
    """The progress record of a replay that goes on."""
    progress = ProgressRecord(
        operation=OperationId("replay-20261129T075501Z-3f2a91c0"),
        partition=0,
        state=OperationState.UNDER_WAY,
        first_offset=100,
        end_offset=900,
        next_offset=250,
        by="ops-ada",
        because="skipped on Monday",
        host="host-a",
        process_id=4711,
        set_version="beea255df8141d7dae8f2e9d47af7f9c",
        request={"offsets": "100:900", "includeNew": ["loan-repaid"], "rate": 500.5, "to": None},
        counts=OperationCounts(messages=140, decisions=9, dead_letters=1),
        at_ms=1_796_025_301_000,
    )
    return replace(progress, **changed)


def make_output_topics(
    *, limit: int = 999_000, partitions: int = 12, stream_partitions: int = 2, **limits: int
) -> OutputTopics:
    """Topics with their default names; `limits` by field, as in `decisions=600` or `streams=600`."""

    def topic(name: str, field: str, count: int = partitions) -> OutputTopic:
        return OutputTopic(Topic(name), count, limits.get(field, limit))

    return OutputTopics(
        **{name: topic(OUTPUTS[name].topic, name, 1 if name in SINGLE else partitions) for name in FIXED_OUTPUTS},
        streams={
            event: topic(f"mrn.event.{TENANT}.streamingapi.{event.lower()}", "streams", stream_partitions)
            for event in EVENTS
        },
    )


def make_context(*templates: Template, form: WireFormat = WireFormat.JSON, **fields: Any) -> MappingContext:
    """A context with these templates; without any: the shipped ones. All outputs are in `form`, which tests can read in
    JSON, unless `encode` is given."""
    defaults: dict[str, Any] = {
        "tenant": TENANT,
        "schemas": schemas(),
        "templates": template_set(templates) if templates else shipped_templates(),
        "output_topics": make_output_topics(),
        "encode": OutputEncoder(schemas(), output_format=form, stream_format=form),
    }
    rules = {name: fields.pop(name) for name in DRAFT_RULES & fields.keys()}
    return MappingContext(**{**defaults, "draft_rules": DraftRules(**rules), **fields})


DRAFT_RULES = {field.name for field in fields(DraftRules)}


def make_source(record: SourceRecord, context: MappingContext) -> SourceEvent:
    """The event of a record that passes every check before DUPLICATE_EVENT."""
    decoded = decode_record(record, context, schema_of=schemas().local_schema)
    assert isinstance(decoded, SourceEvent), decoded
    return decoded


def map_record(
    record: SourceRecord,
    context: MappingContext,
    suspended: Suspended = frozenset(),
    *,
    schema_of: SchemaOf | None = None,
    duplicate_of: RecordPosition | None = None,
    only: frozenset[TemplateId] | None = None,
) -> Outcome:
    """The outcome of a record: both steps of the engine, one after the other."""
    decoded = decode_record(record, context, schema_of=schema_of or schemas().local_schema)
    if not isinstance(decoded, SourceEvent):
        return decoded
    return map_event(decoded, context, suspended=suspended, duplicate_of=duplicate_of, only=only)


def reasons(results: Iterable[SkippedTemplate | FailedTemplate]) -> list[DecisionReason | TemplateReason]:
    """Why templates made no message, in order."""
    return [result.reason for result in results]


def reasons_and_details(
    results: Iterable[SkippedTemplate | FailedTemplate],
) -> list[tuple[DecisionReason | TemplateReason, str]]:
    """The same with the words that say more."""
    return [(result.reason, result.detail) for result in results]


def templates_directory(tmp_path: Path, **files: str) -> Path:
    """A directory of template files: `name="text"`, `_` in a name is `-`."""
    for name, text in files.items():
        (tmp_path / f"{name.replace('_', '-')}.toml").write_text(text)
    return tmp_path
