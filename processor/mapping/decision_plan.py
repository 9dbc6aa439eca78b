"""The decisions about events of one name, written of their parts: equal to `decisions.py`. Pure."""

from processor.domain.message import SkippedTemplate
from processor.domain.reasons import DecisionReason
from processor.domain.record import EventName, Headers, OutRecord, TemplateId
from processor.mapping.context import MappingContext
from processor.mapping.decisions import reasons_to_write
from processor.mapping.planned_outputs import decision_plan, reason_plan
from processor.mapping.scanned_event import ScannedEvent
from processor.wire.encode import HEADERS
from processor.wire.output_plan import Fill
from processor.wire.value_encoders import ENCODERS

_ReasonKind = tuple[TemplateId | None, int | None, DecisionReason]


class DecisionPlan:
    """The plan of complete decisions."""

    def __init__(self, event: EventName, context: MappingContext) -> None:
        self._context, self._format = context, context.encode.output_format
        self._encoders = ENCODERS[self._format]
        self._added = (*context.operation_headers, *HEADERS[self._format])
        self._write = decision_plan(event, context, self._format).filler()
        self._reasons: dict[_ReasonKind, Fill] = {}

    def write(
        self, source: ScannedEvent, skipped: tuple[SkippedTemplate, ...], *, propagated: Headers
    ) -> OutRecord | None:
        """The decision of an event; None where the installation writes none, or where it has to be shortened."""
        reasons = reasons_to_write(skipped, self._context)
        if not reasons:
            return None
        encoders, position, event_id = self._encoders, source.record.position, source.id.encode()
        value = self._write(
            {
                "eventId": event_id,
                "source.topic": encoders.text(position.topic.encode()),
                "source.partition": encoders.long(position.partition),
                "source.offset": encoders.long(position.offset),
                "correlationId": encoders.text_or_null(source.correlation_id),
                "at": encoders.time(source.time_ms),
                "reasons": encoders.array([self._encode_reason(reason) for reason in reasons]),
            }
        )
        topic = self._context.output_topics.decisions
        decision = OutRecord(topic.name, position.partition, event_id, value, (*propagated, *self._added))
        return decision if decision.size_bytes <= topic.limit_bytes else None

    def _encode_reason(self, skipped: SkippedTemplate) -> bytes:
        kind = skipped.templateId, skipped.templateVersion, skipped.reason
        fill = self._reasons.get(kind)
        if fill is None:
            fill = self._reasons[kind] = reason_plan(skipped, self._context, self._format).filler()
        key = skipped.encodedKey
        return fill(
            {
                "detail": self._encoders.text(skipped.detail.encode()),
                "encodedKey": None if key is None else key.encode(),
            }
        )
