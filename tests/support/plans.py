"""Plans without a scan: the slots of an event are its fields, read as the reference reads them."""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.event import Event, Fields, value_at
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.placeholders import PlaceholderType
from processor.domain.record import EventName
from processor.domain.template import FieldPath
from processor.mapping.draft import Draft
from processor.mapping.draft_plan import PlannedDraft
from processor.mapping.plan_values import Path, ReadText, ReadValue
from processor.mapping.values import currency_of, text_of
from processor.wire.schema import Map
from tests.support.wire import SCHEMAS, events_of, values


@dataclass(frozen=True)
class FieldValues:
    """The values of events by their fields."""

    time_zone: tzinfo = UTC

    def value(self, path: Path) -> ReadValue:
        """As PlanValues has it."""
        return lambda fields: value_at(path, fields)

    def text(self, path: Path, kind: PlaceholderType, currencies: tuple[Path, ...]) -> ReadText:
        """As PlanValues has it."""
        assert kind is not PlaceholderType.TABLE, path
        source = FieldPath(path, kind, currencies)

        def read(fields: Fields) -> str | None:
            value = value_at(path, fields)
            if value is None:
                return None
            return text_of(value, kind, currency=currency_of(source, fields), time_zone=self.time_zone)

        return read

    def leaf(self, _path: Path) -> None:
        """As PlanValues has it."""

    @property
    def native(self) -> None:
        """As PlanValues has it."""


def planned(expected: Draft | SkippedTemplate | FailedTemplate) -> PlannedDraft | SkippedTemplate | None:
    """What a plan that does not refuse gives where the reference gives `expected`; None: it has to refuse."""
    match expected:
        case FailedTemplate():
            return None
        case SkippedTemplate():
            return expected
    if expected.rendered.replaced:
        return None
    recipient, rendered = expected.recipient, expected.rendered
    shown = recipient if expected.recipient_data is not None else None
    return PlannedDraft(
        key=expected.key,
        recipient_key=None if recipient is None else recipient.key,
        key_field=None if recipient is None else recipient.key_field,
        subject=rendered.subject,
        body=rendered.body,
        destination=expected.destination,
        state=expected.state,
        failure_reason=expected.failure_reason,
        failure_cause=expected.failure_cause,
        recipient_data=expected.recipient_data,
        suppressed=expected.suppressed,
        recipient_name=None if shown is None else shown.fields["name"],
        recipient_email=None if shown is None else shown.fields["emailAddress"],
    )


def event_of(fields: Fields) -> Event:
    """The event that has these fields, valid or not."""
    name = EventName(fields["event"])
    return Event(
        id=fields["eventId"],
        name=name,
        family=EVENTS[name].family,
        occurred_at=fields["occurredAt"],
        tenant=fields["tenant"],
        correlation_id=fields["correlationId"],
        ordering_key="",
        fields=fields,
    )


CUSTOM_KEYS: Final = (
    "CLIENT:Segment",
    "CLIENT:Bank Account:2",
    "LOAN:Purpose",
    "LOAN:Risk Score",
    "SAVINGS:Insured",
    "BRANCH:Região",
    "BRANCH:Regi\u0061\u0303o",  # the same name in another form of Unicode
    "USER:Segment",
)
"""Keys of custom fields for which drawn events may have values."""


@st.composite
def any_event(draw: st.DrawFn, family: str) -> Event:
    """Any valid event of a family; many have custom fields by CUSTOM_KEYS."""
    schema = SCHEMAS.families[FAMILIES[family].record]
    fields = dict(draw(events_of(schema)))
    custom = next(field.type for field in schema.type.fields if field.name == "customFields")
    assert isinstance(custom, Map)
    fields["customFields"] = draw(st.dictionaries(st.sampled_from(CUSTOM_KEYS), values(custom.values), max_size=4))
    return event_of(fields)
