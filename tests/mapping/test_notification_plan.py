"""Planned `Message`s: whomever they are for, and whatever the reference tables have, the reference's, byte for byte.

Seen to fail with each of these faults: an e-mail's address from its row; account and category of the last event kept
for the next; a plan of other failures, and of drafts that are suppressed; no headers of a past operation; the record's
time where it has none.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES, Target
from processor.domain.channel import RecipientKind
from processor.domain.event import Event
from processor.domain.notification import Actor, Attachment, Notification, StatusSet, status_map
from processor.domain.operation import OperationId, PastOperation
from processor.domain.record import SourceRecord
from processor.domain.reference import Table
from processor.domain.template import Template
from processor.mapping.context import MappingContext
from processor.mapping.reference import Reference
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    TENANT,
    make_context,
    make_email,
    make_event,
    make_output_topics,
    make_sms,
    map_record,
    schemas,
)
from tests.support.executors import native_in_use
from tests.support.laws import examples
from tests.support.output_readers import read_notification
from tests.support.planned import TRACE, avro_record, comparable, is_planned, processed, with_plans, with_plans_alone
from tests.support.wire import SCHEMAS, events_of

pytestmark = pytest.mark.usefixtures("executor")

NTC: Final = "NTC-3300-0041"
OFFICER: Final = {"encodedKey": "8a8e867d5b1a4c0e015b1a5f3c0a0099", "username": "osa", "fullName": "Olga Sá"}
DEPOSIT: Final[dict[str, Any]] = {"events": ["SAVINGS_DEPOSIT"], "target": Target.SAVINGS}

INES: Final = {
    "id": "CTT-4410-0093-7715",
    "name": 'Ines "M." Duarte \U0001f600 100 %b\x7f',
    "email": "ines@elsewhere.example",
    "user": {"id": "USR-5520-1187", "name": "Ines\\Duarte", "email": "ines.duarte@example.com"},
}
NORTHBANK: Final = {
    "id": "ACC-7031-2205",
    "type": "Client",
    "status": "Enabled",
    "name": "Northbank «Retail»",
    "logo": "/accounts/accounts/ACC-7031-2205/logo.png",
}
PAYMENTS: Final = {"id": NTC, "name": "Loan payments", "shortDescription": "Payments received."}

TABLES: Final[Mapping[str, Mapping[Table, Any]]] = {  # the row of each key
    "no rows": {},
    "all": {Table.CONTACTS: INES, Table.ACCOUNTS: NORTHBANK, Table.CATEGORIES: PAYMENTS},
    "least": {
        Table.CONTACTS: {"id": "CTT-1000-2000", "name": "A"},
        Table.ACCOUNTS: {"id": "ACC-1000-2000"},
        Table.CATEGORIES: {},
    },
    "a user without an address": {Table.CONTACTS: INES | {"email": "", "user": {"id": "USR-1000-2000", "name": "B"}}},
    "an account alone": {Table.ACCOUNTS: NORTHBANK | {"logo": None}},
    "an invalid category": {Table.CONTACTS: INES, Table.CATEGORIES: 7},
    "blocked": {Table.CONTACTS: INES | {"status": "Blocked", "blockedReason": "asked"}, Table.CATEGORIES: PAYMENTS},
    "left": {Table.CONTACTS: {"id": "CTT-1000-2000", "name": "A", "optOuts": [NTC]}, Table.ACCOUNTS: NORTHBANK},
}


def tables(rows: Mapping[Table, Any]) -> Reference:
    """Each row for every key."""
    values = {table: json.dumps(row).encode() for table, row in rows.items()}
    return Reference(rows=lambda table, _key: values.get(table))


def notifications(record: SourceRecord, context: MappingContext) -> list[Notification]:
    """The Messages of a record, which plans alone have written, as the reference does."""
    reference, planned = processed(record, context), processed(record, with_plans_alone(context))
    assert comparable(reference) == comparable(planned)
    topic = context.output_topics.notifications.name
    written = [output for output in planned.outputs if output.topic == topic]
    return [read_notification(output.value or b"", output.headers, schemas=schemas()) for output in written]


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("rows", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (make_event(), {}),
        (make_event(correlationId=None), {"recipient": RecipientKind.CREDIT_OFFICER}),
        (make_event(account__creditOfficer=OFFICER), {"recipient": RecipientKind.CREDIT_OFFICER}),
        (make_event(), {"recipient": RecipientKind.CUSTOM_FIELD, "field": "CLIENT:Bank Account:1"}),
        (make_event("savings-deposit"), {**DEPOSIT, "recipient": RecipientKind.GROUP}),
        (make_event("savings-deposit"), {**DEPOSIT, "recipient": RecipientKind.GROUP_ROLE, "role": "treasurer"}),
    ],
    ids=["client", "user", "user without addresses", "address in a field", "group", "member"],
)
def test_each_recipient(event: Event, fields: dict[str, Any], rows: Mapping[Table, Any], form: WireFormat) -> None:
    """Clients, groups, members and users; by e-mail and SMS; of a category or none; known to the tables or not."""
    templates = [
        make_email("mail", **fields),
        make_sms("text", **fields),
        make_email("mail-of-category", category=NTC, **fields),
        make_sms("text-of-category", category=NTC, **fields),
    ]

    context = make_context(*templates, form=form, reference=tables(rows))

    assert 4 == len(notifications(avro_record(event.fields), context))


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("rows", [TABLES["no rows"], TABLES["all"], TABLES["blocked"]], ids=["no", "all", "blocked"])
@pytest.mark.parametrize("status_set", StatusSet)
@pytest.mark.parametrize(
    ("template", "changes"),
    [
        (make_email(category=NTC), {"client__emailAddress": None}),
        (make_email(category=NTC), {"client__emailAddress": "a b"}),
        (make_sms(category=NTC), {"client__mobilePhone": None, "client__emailAddress": None}),
        (make_sms(category=NTC, body="{RECIPIENT_NAME}"), {"client__fullName": "é" * 120, "client__mobilePhone": "12"}),
        (make_sms(category=NTC, body="{RECIPIENT_NAME}" * 20), {"client__fullName": "é" * 120}),
    ],
    ids=["no e-mail address", "no valid e-mail address", "nothing known", "no valid number", "too long"],
)
def test_what_cannot_be_sent(
    template: Template, changes: dict[str, Any], status_set: StatusSet, rows: Mapping[Table, Any], form: WireFormat
) -> None:
    """Beside what can: another status at once, and the address may be missing; a suppressed one is Discarded."""
    context = make_context(template, form=form, reference=tables(rows), statuses=status_map(status_set))
    planned = with_plans(context)
    for fields in (make_event().fields, make_event(**changes).fields, make_event().fields):
        record = avro_record(fields)

        assert 1 == len(notifications(record, context))
        assert comparable(map_record(record, context)) == comparable(map_record(record, planned))


def test_statuses() -> None:
    """Queued, Failed, and Discarded whatever its address."""
    records = [avro_record(), avro_record(make_event(client__emailAddress=None).fields)]
    statuses, seen = status_map(StatusSet.EXTENDED), []
    for rows in (TABLES["all"], TABLES["blocked"]):
        context = make_context(make_email(), form=WireFormat.JSON, reference=tables(rows), statuses=statuses)
        seen += [value for record in records for value in notifications(record, context)]

    assert ["Queued", "Failed", "Discarded", "Discarded"] == [value.status for value in seen]
    assert ["queued", "failed", "discarded", "discarded"] == [list(value.audit)[-1] for value in seen]


@pytest.mark.parametrize("form", WireFormat)
def test_rows_that_change(form: WireFormat) -> None:
    """Each Message has the rows as they are then: of other accounts and categories, more than are kept, and of none;
    of a contact that is blocked and no more."""
    rows: dict[Table, bytes] = {}
    reference = Reference(rows=lambda table, _key: rows.get(table), category_by_family={"loan_transaction": NTC})
    context = make_context(make_email(), form=form, reference=reference)
    planned, record = with_plans_alone(context), avro_record()
    seen = set[bytes | None]()
    for number in [*range(12), 0, 11, 0]:
        rows.clear()
        if number:
            rows[Table.ACCOUNTS] = json.dumps(NORTHBANK | {"name": f"Bank {number}"}).encode()
            rows[Table.CATEGORIES] = json.dumps({"name": f"Payments {number % 3}"}).encode()
            contact = INES | {"name": f"Ines {number}", "status": "Active" if number % 4 else "Blocked"}
            rows[Table.CONTACTS] = json.dumps(contact).encode()
        outcome = processed(record, planned)
        seen.update(output.value for output in outcome.outputs if output.topic == "notifications.messages")

        assert comparable(map_record(record, context)) == comparable(outcome)
    assert 12 == len(seen)


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize(
    "operation",
    [
        PastOperation(id=OperationId("replay-20261129T075501Z-3f2a91c0")),
        PastOperation(id=OperationId("replay-20261129T075501Z-3f2a91c0"), reissue=True, send_late=True),
    ],
)
def test_past_operations(operation: PastOperation, form: WireFormat) -> None:
    """Each Message names its operation behind what is carried on; a reissued one has another id."""
    record = avro_record(headers=TRACE)
    context = make_context(
        make_email(), make_sms(category=NTC), form=form, operation=operation, reference=tables(TABLES["left"])
    )

    assert 2 == len(notifications(record, context))


def test_what_settings_and_templates_say() -> None:
    """The actor with an icon, attachments, texts in several languages, no subject, a record without a time."""
    attached = Attachment("ATT-1150-0093-2201", "Terms", "application/pdf", 20_480, "terms.pdf", "/terms.pdf")
    templates = [
        make_email(attachments=[attached], bodies={"pt": "{RECIPIENT_NAME}, obrigado", "de": "Danke"}),
        make_email("without-subject", subject=None),
        make_sms(attachments=[attached] * 2),
    ]
    record = avro_record()._replace(timestamp_ms=-1)
    for form in WireFormat:
        context = make_context(*templates, form=form, actor=Actor("UR-1111-2222-3333", "Bank", "/i"))

        assert 3 == len(notifications(record, context))


@pytest.mark.parametrize("rows", [TABLES["all"], TABLES["blocked"]], ids=["created", "discarded"])
def test_a_message_that_does_not_fit(rows: Mapping[Table, Any]) -> None:
    """The template fails, by the reference; with a byte more the plan writes it."""
    record, template = avro_record(), make_email()
    context = make_context(template, form=WireFormat.AVRO, reference=tables(rows))
    size = next(out.size_bytes for out in processed(record, context).outputs if out.topic == "notifications.messages")
    fits, too_large = (
        replace(context, output_topics=make_output_topics(notifications=limit)) for limit in (size, size - 1)
    )
    outcome = processed(record, with_plans(too_large))

    assert 1 == len(notifications(record, fits))
    assert comparable(map_record(record, too_large)) == comparable(outcome)
    assert 1 == len(outcome.failed)
    assert not is_planned(outcome)


# ------------------------------------------------------------------------------------------------------ shipped, drawn

ROWS: Final = st.fixed_dictionaries(
    {
        Table.CONTACTS: st.sampled_from([None, *(rows.get(Table.CONTACTS) for rows in TABLES.values())]),
        Table.ACCOUNTS: st.sampled_from([None, NORTHBANK, NORTHBANK | {"disabledCategories": [NTC]}, {"id": "ACC"}]),
        Table.CATEGORIES: st.sampled_from([None, PAYMENTS, {}, PAYMENTS | {"optOutAllowed": False}]),
    }
)
_rows: dict[Table, bytes] = {}


@cache
def _contexts(form: WireFormat, _is_native: bool) -> tuple[MappingContext, MappingContext]:
    """The shipped templates over the rows in `_rows`, without and with plans."""
    families = dict.fromkeys(FAMILIES, NTC)
    reference = Reference(rows=lambda table, _key: _rows.get(table), category_by_family=families)
    context = make_context(form=form, reference=reference)
    return context, with_plans(context)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=examples(10), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_event_and_any_rows(family: str, data: st.DataObject) -> None:
    """By the shipped templates: planned or not, the reference's."""
    fields = {**data.draw(events_of(SCHEMAS.families[FAMILIES[family].record])), "tenant": TENANT}
    _rows.clear()
    _rows.update({table: json.dumps(row).encode() for table, row in data.draw(ROWS).items() if row is not None})
    context, planned = _contexts(data.draw(st.sampled_from(list(WireFormat))), native_in_use() is not None)
    record = avro_record(fields)

    assert comparable(map_record(record, context)) == comparable(map_record(record, planned))
