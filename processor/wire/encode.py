"""From values to what is written: outputs, and events for producers and tests. Pure."""

import io
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final

from fastavro import schemaless_writer

from processor.domain.event import Fields
from processor.domain.output_topics import OUTPUTS, OutputValue, StreamOutput
from processor.domain.record import EventName, Headers
from processor.wire.json_codec import JSON_HEADERS, json_bytes
from processor.wire.output_fields import FIELDS
from processor.wire.reader_schemas import ReaderSchema, Schemas
from processor.wire.wire_format import WireFormat

EncodedValue = tuple[bytes, Headers]  #: A record's value, and the headers that say how to read it.

HEADERS: Final[Mapping[WireFormat, Headers]] = {WireFormat.AVRO: (), WireFormat.JSON: JSON_HEADERS}
"""What the records of a format carry: Avro is framed by its schema's id, JSON has the header `content-type`."""


class OutputEncoder:
    """How the values of one installation become what is written; streams have a format of their own.

    Times are written as they are given, milliseconds; null fields are absent from JSON.
    """

    def __init__(
        self,
        schemas: Schemas,
        *,
        output_format: WireFormat = WireFormat.AVRO,
        stream_format: WireFormat = WireFormat.JSON,
    ) -> None:
        self.output_format: Final = output_format
        self.stream_format: Final = stream_format
        self._encoders = {
            spec.value: _encoder(
                schemas.outputs[spec.schema],
                stream_format if output is StreamOutput.STREAM else output_format,
                FIELDS[spec.value],
            )
            for output, spec in OUTPUTS.items()
            if spec.value is not None and spec.schema is not None
        }

    def __call__(self, value: OutputValue) -> EncodedValue:
        """The record's value, and the headers that say how to read it."""
        return self._encoders[type(value)](value)


def _encoder(
    schema: ReaderSchema, wire_format: WireFormat, fields_of: Callable[[Any], Fields]
) -> Callable[[Any], EncodedValue]:
    if wire_format is WireFormat.JSON:
        return lambda value: (json_bytes(schema.type, fields_of(value)), HEADERS[wire_format])
    frame, parsed = schema.frame, schema.parsed
    return lambda value: (_avro_bytes(frame, parsed, fields_of(value)), HEADERS[wire_format])


def encode_event(fields: Fields, schemas: Schemas, *, format: WireFormat) -> EncodedValue:  # noqa: A002  the user's word
    """A decoded event as a producer writes it. `decode` of the result gives `fields` again."""
    schema = schemas.by_event[EventName(fields["event"])]
    if format is WireFormat.JSON:
        return json_bytes(schema.type, fields), JSON_HEADERS
    custom_fields = {name: _with_branch(value) for name, value in fields["customFields"].items()}
    return _avro_bytes(schema.frame, schema.parsed, {**fields, "customFields": custom_fields}), ()


def _avro_bytes(frame: bytes, parsed: Any, fields: Fields) -> bytes:
    buffer = io.BytesIO()
    buffer.write(frame)
    schemaless_writer(buffer, parsed, fields)
    return buffer.getvalue()


def _with_branch(value: Any) -> Any:
    """A value with the branch of its union, where fastavro, which takes the first that fits, would take another."""
    match value:
        case datetime():
            return ("long", value)
        case date():
            return ("int", value)
        case _:
            return value
