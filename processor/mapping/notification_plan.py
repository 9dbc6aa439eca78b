"""The `Message`s of one template for events of one name, written of planned drafts: equal to `notification.py`, made of
its parts. Pure.

Rows of the reference tables may change at any time, so each draft brings its own. Of those that many recipients share,
category and account, the last ones are kept encoded.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from processor.domain.ids import batch_id, notification_id
from processor.domain.output_topics import NOTIFICATION
from processor.domain.reasons import FailureReason
from processor.domain.record import EventName, Headers, OutRecord
from processor.domain.reference import Account, Category
from processor.domain.template import Template
from processor.errors import InternalError
from processor.mapping.context import MappingContext
from processor.mapping.draft_plan import PlannedDraft
from processor.mapping.notification import account_of, category_of, contact_of, email_of, message_href, owner_of
from processor.mapping.planned_outputs import MessageVariant, notification_plan
from processor.mapping.recipient import KeyField
from processor.mapping.scanned_event import ScannedEvent
from processor.wire.encode import HEADERS
from processor.wire.output_plan import Fill, HoleKind, part_plan
from processor.wire.value_encoders import ENCODERS

_KEPT_ROWS: Final = 8  # for each template, as a row may have 64 KiB

_Variant = tuple[KeyField | None, FailureReason | None, bool]
_EncodePart = Callable[[Any], bytes | None]


class NotificationPlan:
    """The plan of a template's `Message`s, for a channel that has them."""

    def __init__(self, template: Template, event: EventName, context: MappingContext) -> None:
        self._template, self._event, self._context = template, event, context
        self._format = context.encode.output_format
        self._encoders = ENCODERS[self._format]
        self._added = (*context.operation_headers, *HEADERS[self._format])
        self._writers: dict[_Variant, tuple[Fill, tuple[str, ...]]] = {}
        self._encode_user = self._part_encoder("contact.user")
        self._encode_account, self._encode_owner = self._part_encoder("account"), self._part_encoder("audit.created.of")
        self._encode_category = self._part_encoder("category")
        self._account = lru_cache(_KEPT_ROWS)(self._write_account)
        self._category = lru_cache(_KEPT_ROWS)(self._write_category)

    def write(self, draft: PlannedDraft, source: ScannedEvent, *, propagated: Headers) -> OutRecord:
        """The `Message` of a draft that has a recipient. It may be larger than its topic takes."""
        topic, partition = self._context.output_topics.notifications.name, source.record.position.partition
        value = self.write_value(draft, source.id, source.time_ms)
        return OutRecord(topic, partition, draft.key.encode(), value, (*propagated, *self._added))

    def write_value(self, draft: PlannedDraft, event_id: str, time_ms: int) -> bytes:
        """Its value. `event_id` is of the event, `time_ms` when its record counts as written."""
        tenant = self._context.tenant
        data, recipient, name = draft.recipient_data, draft.recipient_key, draft.recipient_name
        template, text = self._template, self._encoders.text
        if data is None or recipient is None or name is None:
            raise InternalError(f"{template.id}: a Message without a recipient")
        write, times = self._writer_of(draft)
        identity = notification_id(draft.key)
        email = email_of(template.type, destination=draft.destination, row=data.contact, email=draft.recipient_email)
        contact = contact_of(data.contact, tenant=tenant, key=recipient, name=name, email=email)
        account, owner = self._account(data.account)
        text_or_null = self._encoders.text_or_null
        values = {
            "id": identity.encode(),
            "href": message_href(identity).encode(),
            "batch.id": batch_id(tenant, event_id, template.id).encode(),
            "contact.id": text(contact.id.encode()),
            "contact.href": text(contact.href.encode()),
            "contact.name": text(contact.name.encode()),
            "contact.email": text_or_null(contact.email),
            "contact.user": self._encode_user(contact.user),
            "account": account,
            "subject": text_or_null(draft.subject),
            "category": self._category(data.category_id, data.category),
            "body": text(draft.body.encode()),
            "audit.created.of": owner,
            **dict.fromkeys(times, self._encoders.time(time_ms)),
        }
        return write(values)

    def _writer_of(self, draft: PlannedDraft) -> tuple[Fill, tuple[str, ...]]:
        """Of `Message`s with the fields that this one has, and the paths of their times: each is that of creation."""
        variant = draft.key_field, draft.failure_reason, draft.suppressed is not None
        writer = self._writers.get(variant)
        if writer is None:
            known = MessageVariant(key_field=variant[0], failure=variant[1])
            args = self._template, self._event, self._context, known, self._format
            plan = notification_plan(*args, discarded=variant[2])
            times = tuple(hole.path for hole in plan.holes if hole.kind is HoleKind.TIME)
            writer = self._writers[variant] = plan.filler(), times
        return writer

    def _write_account(self, row: Account | None) -> tuple[bytes | None, bytes | None]:
        """As `Message`s name it, and as `created` does."""
        account = account_of(row)
        return self._encode_account(account), self._encode_owner(owner_of(account))

    def _write_category(self, identity: str | None, row: Category | None) -> bytes | None:
        return self._encode_category(category_of(identity, row))

    def _part_encoder(self, path: str) -> _EncodePart:
        """What encodes a value at `path`, whose fields are texts that have their names on the wire; None is null."""
        plan = part_plan(self._context.schemas.outputs[NOTIFICATION], path, self._format)
        fill, names, text_or_null = plan.filler(), [hole.path for hole in plan.holes], self._encoders.text_or_null

        def encode(value: Any) -> bytes | None:
            if value is None:
                return None
            return fill({name: text_or_null(getattr(value, name)) for name in names})

        return encode
