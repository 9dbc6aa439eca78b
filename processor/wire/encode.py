"""From values to the bytes and headers of records: outputs, events for producers and tests, dead letters. Pure."""

import io
import json
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final, Literal, TypeVar

from fastavro import schemaless_writer

from processor.domain.event import Fields
from processor.domain.message import (
    DeadLetter,
    FailedTemplate,
)
from processor.domain.outcome import SourceOutcome
from processor.domain.output_topics import OUTPUTS, OutputTopic, OutputValue
from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import EventName, Headers, OutRecord, RecordPosition, TemplateId, Topic
from processor.wire.json_codec import JSON, json_bytes
from processor.wire.output_fields import FIELDS
from processor.wire.schema import ReaderSchema, Schemas

Format = Literal["avro", "json"]
EncodedValue = tuple[bytes, Headers]  #: A record's value, and the headers that say how to read it.

_JSON_HEADERS: Final[Headers] = (("content-type", JSON.encode()),)


EncodeOutput = Callable[[OutputValue], EncodedValue]
"""How a value becomes what is written. Avro is framed by its schema's id; JSON has the header `content-type`.

Times are written as they are given, milliseconds; null fields are absent from JSON.
"""


def output_encoder(schemas: Schemas, *, output_format: Format = "avro", stream_format: Format = "json") -> EncodeOutput:
    """The encoder of one installation; streams have a format of their own."""
    by_type = {
        spec.value: _encoder(
            schemas.outputs[spec.schema], stream_format if output == "stream" else output_format, FIELDS[spec.value]
        )
        for output, spec in OUTPUTS.items()
        if spec.value is not None and spec.schema is not None
    }
    return lambda value: by_type[type(value)](value)


def _encoder(
    schema: ReaderSchema,
    wire_format: Format,
    fields_of: Callable[[Any], Fields],
) -> Callable[[Any], EncodedValue]:
    if wire_format == "json":
        return lambda value: (json_bytes(schema.type, fields_of(value)), _JSON_HEADERS)
    return lambda value: (_avro(schema, fields_of(value)), ())


def _avro(schema: ReaderSchema, fields: Fields) -> bytes:
    made = io.BytesIO()
    made.write(schema.frame)
    schemaless_writer(made, schema.parsed, fields)
    return made.getvalue()


def encode_event(fields: Fields, schemas: Schemas, *, format: Format) -> EncodedValue:  # noqa: A002  the user's word
    """A decoded event as a producer writes it. `decode` of the result gives `fields` again."""
    schema = schemas.by_event[EventName(fields["event"])]
    if format == "json":
        return json_bytes(schema.type, fields), _JSON_HEADERS
    custom = {name: _branch(value) for name, value in fields["customFields"].items()}
    return _avro(schema, {**fields, "customFields": custom}), ()


def _branch(value: Any) -> Any:
    """fastavro takes the first branch that a value could be, and a time could be a date: so these name theirs."""
    match value:
        case datetime():
            return ("long", value)
        case date():
            return ("int", value)
        case _:
            return value


# ---------------------------------------------------------------------------------------------------------------------
# Dead letters

DEAD_LETTER_VERSION: Final = "1"  #: Of the headers below; a reader that meets a higher one knows that some may be new.
_LONGEST_DETAIL: Final = 1_000
_FAILED_LIMIT_BYTES: Final = 32 * 1024
_FIRST: Final = "dl.reason"  # ours begin here, at the last one of this name: before it stands what the source had


def dead_letter_record(letter: DeadLetter, *, topic: OutputTopic, bare: bool = False) -> OutRecord:
    """The source's key, value and headers, untouched, and after them the headers `dl.…` that say what became of it.

    `dl.failed` is JSON, cut to whole entries within 32 KiB; then `dl.failed_count` says how many there were. A record
    that would not fit `topic`, or is asked for `bare`, goes without value and source headers, and `dl.value_bytes` says
    how long the value was; if its key alone is too long, without that too. A source that has been a dead letter (its
    own headers `dl.…` say so) keeps them, as all of its headers, and its attempts are counted on.
    """
    failed, cut = _failed(letter.failed)
    added: Headers = tuple(
        (name, text.encode(errors="backslashreplace"))
        for name, text in (
            (_FIRST, letter.reason.value),
            ("dl.detail", letter.detail[:_LONGEST_DETAIL]),
            ("dl.topic", letter.place.topic),
            ("dl.partition", str(letter.place.partition)),
            ("dl.offset", str(letter.place.offset)),
            ("dl.timestamp", str(letter.timestamp_ms)),
            ("dl.failed", failed),
            ("dl.attempts", str(max(letter.attempts, _attempts_before(letter.headers) + 1))),
            ("dl.version", DEAD_LETTER_VERSION),
            *([("dl.failed_count", str(len(letter.failed)))] if cut else []),
            ("dl.event_id", letter.event_id),
            ("dl.event", letter.event),
            ("dl.set_version", letter.set_version),
            ("dl.occurred_at", None if letter.occurred_at_ms is None else str(letter.occurred_at_ms)),
        )
        if text is not None
    )
    whole = OutRecord(topic.name, letter.place.partition, letter.key, letter.value, (*letter.headers, *added))
    if whole.size_bytes <= topic.limit_bytes and not bare:
        return whole
    added = (*added, ("dl.value_bytes", str(len(letter.value or b"")).encode()))
    light = OutRecord(topic.name, letter.place.partition, letter.key, None, added)
    if light.size_bytes <= topic.limit_bytes:
        return light
    return OutRecord(topic.name, letter.place.partition, None, None, added)


def _failed(failed: tuple[FailedTemplate, ...]) -> tuple[str, bool]:
    """The JSON list, and whether it had to be cut."""
    entries: list[str] = []
    length = len("[]")
    for one in failed:
        entry = json.dumps(
            {
                "templateId": one.templateId,
                "templateVersion": one.templateVersion,
                "reason": one.reason,
                "detail": one.detail[:_LONGEST_DETAIL],
            },
            separators=(",", ":"),
        )
        length += len(entry) + (1 if entries else 0)  # ASCII only, so characters are bytes
        if length > _FAILED_LIMIT_BYTES:
            return f"[{','.join(entries)}]", True
        entries.append(entry)
    return f"[{','.join(entries)}]", False


def _attempts_before(headers: Headers) -> int:
    """How often the source says it has been a dead letter already; 0 when it does not say so in a number."""
    text = next((value for name, value in reversed(headers) if name == "dl.attempts"), None) or b""
    return int(text) if text.isdigit() and len(text) <= 6 else 0


def read_dead_letter(*, key: bytes | None, value: bytes | None, headers: Headers) -> DeadLetter:
    """The dead letter of a record of `communications.dead-letters`; `omitted_value_bytes` is of a value left out.

    Reasons of a newer version are OTHER, their word in front of the detail. ValueError when it is not such a record.
    """
    start = max((place for place, (name, _) in enumerate(headers) if name == _FIRST), default=-1)
    if start < 0:
        raise ValueError(f"not a dead letter: no header {_FIRST}")
    try:
        ours = {name: (given or b"").decode() for name, given in headers[start:]}
        reason, detail = _known(Reason, ours[_FIRST], ours["dl.detail"])
        return DeadLetter(
            place=RecordPosition(Topic(ours["dl.topic"]), int(ours["dl.partition"]), int(ours["dl.offset"])),
            timestamp_ms=int(ours["dl.timestamp"]),
            key=key,
            value=value,
            headers=headers[:start],
            reason=reason,
            detail=detail,
            failed=tuple(_failed_template(one) for one in json.loads(ours["dl.failed"])),
            attempts=int(ours["dl.attempts"]),
            event_id=ours.get("dl.event_id"),
            event=ours.get("dl.event"),
            set_version=ours.get("dl.set_version"),
            occurred_at_ms=int(ours["dl.occurred_at"]) if "dl.occurred_at" in ours else None,
        )
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"not a dead letter: {type(error).__name__}: {error}") from error


_EVENT_WAS_READ: Final = frozenset((Reason.TEMPLATE_FAILED, Reason.OUTPUT_REFUSED))


def dead_letter_outcome(headers: Headers) -> SourceOutcome:
    """What a dead letter says of its source, without an event where the record itself was at fault. ValueError when it
    is no dead letter."""
    letter = read_dead_letter(key=None, value=None, headers=headers)
    time_ms = letter.timestamp_ms if letter.occurred_at_ms is None else letter.occurred_at_ms
    return SourceOutcome(letter.place, time_ms, letter.event_id if letter.reason in _EVENT_WAS_READ else None)


def omitted_value_bytes(headers: Headers) -> int | None:
    """How long the value was of a dead letter that had to leave it out; None: the value is there as it was."""
    start = max((place for place, (name, _) in enumerate(headers) if name == _FIRST), default=len(headers))
    return next((int(given or b"0") for name, given in headers[start:] if name == "dl.value_bytes"), None)


def _failed_template(given: dict[str, Any]) -> FailedTemplate:
    reason, detail = _known(TemplateReason, given["reason"], given["detail"])
    return FailedTemplate(
        templateId=TemplateId(given["templateId"]),
        templateVersion=given["templateVersion"],
        reason=reason,
        detail=detail,
    )


_R = TypeVar("_R", Reason, TemplateReason)


def _known(kind: type[_R], word: str, detail: str) -> tuple[_R, str]:
    try:
        return kind(word), detail
    except ValueError:
        return kind("OTHER"), f"{word}: {detail}"
