"""Planned drafts: of each template and event the reference's draft or decision; refused is what it fails, and little
else."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.demo.generate import events as demo_events
from processor.domain.catalogue import EVENTS, FAMILIES, Target
from processor.domain.channel import Channel, ContentType, RecipientKind
from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.operation import OperationId
from processor.domain.reasons import DecisionReason, TemplateReason
from processor.domain.reference import Table
from processor.domain.template import Subscription, Template, TemplateSet, template_set
from processor.errors import InternalError
from processor.mapping.checks import CHECKS, case_of
from processor.mapping.context import DraftRules
from processor.mapping.draft import TEXT_LIMIT_CHARACTERS, Draft, draft
from processor.mapping.draft_plan import PlanDraft, PlannedDraft, plan_draft
from processor.mapping.options import MissingRow
from processor.mapping.reference import Reference
from processor.shipped import samples
from processor.templates.load import read_templates
from tests.fuzz.templates import write_templates
from tests.support.builders import (
    TENANT,
    make_condition,
    make_email,
    make_event,
    make_sms,
    make_task,
    make_template,
    make_webhook,
    sample,
    schemas,
    shipped_templates,
)
from tests.support.laws import examples, size
from tests.support.plans import FieldValues, any_event, planned

LISBON = DraftRules(time_zone=ZoneInfo("Europe/Lisbon"), sms_region="PT")


class Plans:
    """The plans of a set's templates under some rules, each made when it is first needed."""

    def __init__(self, templates: TemplateSet, rules: DraftRules, *, limit: int = TEXT_LIMIT_CHARACTERS) -> None:
        self.templates = templates
        self.rules = rules
        self.limit = limit
        self._plans: dict[tuple[str, str], PlanDraft] = {}

    def planned(self, template: Template, event: Event) -> PlannedDraft | SkippedTemplate | None:
        """What the plan of `template` gives."""
        key = template.id, event.name
        if key not in self._plans:
            values = FieldValues(self.rules.time_zone)
            self._plans[key] = plan_draft(template, event.name, values, self.rules, limit_characters=self.limit)
        return self._plans[key](event.fields)

    def drafted(self, template: Template, event: Event) -> Draft | SkippedTemplate | FailedTemplate:
        """What the reference gives."""
        return draft(case_of(template, event, self.rules), limit_characters=self.limit)

    def pairs(self, event: Event) -> Iterator[tuple[Any, Any]]:
        """For each template that names the event: what a plan should give, and what it does."""
        for template in self.templates.for_event(event.name):
            yield planned(self.drafted(template, event)), self.planned(template, event)


def assert_equal(plans: Plans, event: Event) -> None:
    """Of each template what the reference gives, or nothing where that fails or replaces characters."""
    for expected, found in plans.pairs(event):
        assert expected == found


# --------------------------------------------------------------------------------------------------- shipped and drawn


@pytest.mark.parametrize("fields", samples(), ids=lambda fields: str(fields["event"]))
def test_shipped_samples_are_planned(fields: dict[str, Any]) -> None:
    """The plan of each shipped template makes of each shipped event what the reference does, and refuses none."""
    plans, event = Plans(shipped_templates(), LISBON), make_event(fields)
    found = list(plans.pairs(event))

    assert found
    assert [expected for expected, _ in found] == [planned for _, planned in found]
    assert None not in [planned for _, planned in found]


def test_events_of_the_demo_are_planned() -> None:
    """Names of other scripts, quotes, markup, missing addresses: none of them is refused."""
    plans = Plans(shipped_templates(), LISBON)
    found = [pair for fields in demo_events(size(3_000)) for pair in plans.pairs(make_event(fields))]

    assert found
    assert [expected for expected, _ in found] == [planned for _, planned in found]
    assert None not in [planned for _, planned in found]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> TemplateSet:
    """Templates of every placeholder, operator, channel and many languages, beside the shipped ones."""
    folder = tmp_path_factory.mktemp("templates")
    write_templates(folder, count=140, seed=1)
    return template_set(read_templates(folder, tenant=TENANT, schemas=schemas()).renderable)


ROWS = st.sampled_from(
    [
        None,
        b'{"subscribed": true}',
        b'{"subscribed": false}',
        b'{"id": "CTT-4410-0093-7715", "name": "Ines", "status": "Blocked", "blockedReason": "asked"}',
        b'{"id": "CTT-4410-0093-7715", "name": "Ines", "optOuts": ["NTC-3300-0041"]}',
        b'{"id": "ACC-7031-2205", "disabledCategories": ["NTC-3300-0041"]}',
        b'{"id": "ACC-7031-2205", "name": "Northbank"}',
        b'{"id": "NTC-3300-0041", "optOutAllowed": false}',
        b"{}",
        b"no JSON",
    ]
)
USUAL_ROWS: Mapping[Table, bytes | None] = dict.fromkeys(Table)


@given(
    data=st.data(),
    family=st.sampled_from(sorted(FAMILIES)),
    rows=st.just(USUAL_ROWS) | st.fixed_dictionaries(dict.fromkeys(Table, ROWS)),
    missing_row=st.sampled_from(MissingRow),
    zone=st.sampled_from([UTC, ZoneInfo("Asia/Tokyo")]),
)
@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_any_event_is_planned_as_the_reference_maps_it(
    generated: TemplateSet,
    data: st.DataObject,
    family: str,
    rows: Mapping[Table, bytes | None],
    missing_row: MissingRow,
    zone: ZoneInfo,
) -> None:
    """Any valid event of any family, with any rows of the reference tables, through all templates that name it."""
    reference = Reference(rows=lambda table, _key: rows[table], missing_row=missing_row)
    rules = DraftRules(
        time_zone=zone,
        sms_region=data.draw(st.sampled_from([None, "PT"])),
        disabled_channels=data.draw(st.frozensets(st.sampled_from(Channel), max_size=1)),
        reference=reference,
    )

    assert_equal(Plans(generated, rules), data.draw(any_event(family)))


# ------------------------------------------------------------------------------------------------------------- by hand

DEPOSIT: dict[str, Any] = {"events": ["SAVINGS_DEPOSIT"], "target": Target.SAVINGS}
WHO = (
    "{RECIPIENT_KEY} {RECIPIENT_ID} {RECIPIENT_NAME} {RECIPIENT_FIRST_NAMES} {RECIPIENT_MIDDLE_NAMES} "
    "{RECIPIENT_LAST_NAME} {RECIPIENT_EMAIL_ADDRESS} {RECIPIENT_MOBILE_PHONE} {ID_DOCUMENT_NUMBER} "
    "{ID_DOCUMENT_EXPIRY_DATE}"
)
PASSPORT = {"number": "X1", "type": "Passport", "expiryDate": "2030-01-31"}
OFFICER = {"encodedKey": "8a8e867d5b1a4c0e015b1a5f3c0a0099", "username": "osa", "fullName": "Olga Sá"}


def outcomes(
    template: Template, event: Event, *, limit: int = TEXT_LIMIT_CHARACTERS, **rules: Any
) -> tuple[Draft | SkippedTemplate | FailedTemplate, PlannedDraft | SkippedTemplate | None]:
    """What the reference makes of an event by one template, and what its plan does, which is the same or nothing."""
    plans = Plans(template_set([template]), DraftRules(**rules), limit=limit)
    expected, found = plans.drafted(template, event), plans.planned(template, event)

    assert found is None or planned(expected) == found
    return expected, found


def planned_draft(template: Template, event: Event, **rules: Any) -> PlannedDraft:
    """The draft of a plan, equal to the reference's."""
    _, found = outcomes(template, event, **rules)
    assert isinstance(found, PlannedDraft), found
    return found


@pytest.mark.parametrize("make", [make_email, make_sms])
@pytest.mark.parametrize(
    ("event", "fields", "name"),
    [
        (make_event(client__idDocument=PASSPORT), {}, "Ines Duarte"),
        (make_event("savings-deposit"), {**DEPOSIT, "recipient": RecipientKind.GROUP}, "Vale Verde co-operative"),
        (
            make_event("savings-deposit"),
            {**DEPOSIT, "recipient": RecipientKind.GROUP_ROLE, "role": "tREASURER "},
            "Rui Matos",
        ),
        (make_event(), {"recipient": RecipientKind.CREDIT_OFFICER}, "Marta Vega"),
        (make_event(account__creditOfficer=OFFICER), {"recipient": RecipientKind.CREDIT_OFFICER}, "Olga Sá"),
        (
            make_event("savings-deposit", group__creditOfficer=OFFICER),
            {**DEPOSIT, "recipient": RecipientKind.CREDIT_OFFICER},
            "Olga Sá",
        ),
        (make_event(), {"recipient": RecipientKind.CUSTOM_FIELD, "field": "CLIENT:Bank Account:1"}, "Ines Duarte"),
        (
            make_event("savings-deposit"),
            {**DEPOSIT, "recipient": RecipientKind.CUSTOM_FIELD, "field": "CLIENT:None"},
            "Vale Verde co-operative",
        ),
    ],
)
def test_each_kind_of_recipient(make: Any, event: Event, fields: dict[str, Any], name: str) -> None:
    """Key, name, address and all else that a text shows of clients, groups, members with a role and officers."""
    found = planned_draft(make(body=WHO, **fields), event)

    assert found.recipient_name == name
    assert name in found.body


def test_an_officer_gets_a_task() -> None:
    """By the name to log in with; a channel without a `Message` has no name for one."""
    found = planned_draft(make_task(body=WHO), make_event())

    assert ("mvega", None) == (found.destination, found.recipient_name)


@pytest.mark.parametrize(
    "name", ["loan-repayment", "savings-deposit", "payment-order-passport", "collection-order-group"]
)
@pytest.mark.parametrize("make", [make_template, make_webhook])
def test_nobody_is_addressed(make: Any, name: str) -> None:
    """Streams and webhooks show the holder, client or group, and their key has none."""
    event = make_event(name)
    found = planned_draft(make(events=[event.name], target=EVENTS[event.name].target, body=WHO), event)

    assert (event.fields["client"] or event.fields["group"])["encodedKey"] == found.recipient_key


def test_an_event_without_a_holder() -> None:
    """Its recipient is nobody, and what a text would show of them is missing."""
    event = make_event("payment-order-passport", client=None)
    template = make_template(events=[event.name], target=Target.PAYMENT_ORDER, body=f"<{WHO}>")

    assert planned_draft(template, event).body == "<         >"
    assert outcomes(replace(template, target=Target.CLIENT), event)[1] is not None


SUBSCRIBED = {"subscription": Subscription.OPT_IN}
CHECKED = [
    (DecisionReason.INACTIVE, make_event(), {"active": False}, {}),
    (DecisionReason.CHANNEL_DISABLED, make_event(), {}, {"disabled_channels": frozenset((Channel.EMAIL,))}),
    (DecisionReason.TARGET_MISMATCH, make_event(), {"target": Target.GROUP}, {}),
    (DecisionReason.TARGET_MISMATCH, make_event(), {"target": Target.SAVINGS}, {}),
    (DecisionReason.TARGET_MISMATCH, make_event("savings-deposit"), {**DEPOSIT, "target": Target.CLIENT}, {}),
    (DecisionReason.TARGET_MISMATCH, make_event("savings-deposit"), {**DEPOSIT, "target": Target.LOANS}, {}),
    (DecisionReason.CONDITION_FALSE, make_event(), {"trigger_days": -3}, {}),
    (DecisionReason.CONDITION_FALSE, make_event(), {"conditions": [make_condition("ACCOUNT_ID", "EMPTY")]}, {}),
    (
        DecisionReason.CONDITION_FALSE,
        make_event(),
        {"conditions": [make_condition("RECIPIENT_NAME", "EQUALS", "nobody")]},
        {},
    ),
    (
        DecisionReason.CONDITION_FALSE,
        make_event(),
        {"conditions": [make_condition("RECIPIENT_NAME", "NOT_EMPTY")], "recipient": RecipientKind.GROUP},
        {},
    ),
    (DecisionReason.NO_RECIPIENT, make_event(), {"recipient": RecipientKind.GROUP}, {}),
    (
        DecisionReason.NO_RECIPIENT,
        make_event("savings-deposit"),
        {**DEPOSIT, "recipient": RecipientKind.GROUP_ROLE, "role": "Chair"},
        {},
    ),
    (
        DecisionReason.NO_RECIPIENT,
        make_event(),
        {"conditions": [make_condition("RECIPIENT_NAME", "EMPTY")], "recipient": RecipientKind.GROUP},
        {},
    ),
    (DecisionReason.NOT_SUBSCRIBED, make_event(), SUBSCRIBED, {}),
    (
        DecisionReason.NOT_SUBSCRIBED,
        make_event(),
        {},
        {"reference": Reference(rows=lambda _table, _key: b'{"subscribed": false}')},
    ),
]


@pytest.mark.parametrize(("reason", "event", "fields", "rules"), CHECKED)
def test_a_failed_check_is_the_decision_of_the_reference(
    reason: DecisionReason, event: Event, fields: dict[str, Any], rules: dict[str, Any]
) -> None:
    """With its words, and the message's key where the recipient is known."""
    expected, found = outcomes(make_email(**fields), event, **rules)

    assert isinstance(expected, SkippedTemplate)
    assert (reason, expected) == (expected.reason, found)


def test_each_check_is_tried() -> None:
    """The cases above and below leave none out."""
    suppressions = {DecisionReason.CONTACT_BLOCKED, DecisionReason.CATEGORY_OPTED_OUT}

    assert {check.reason for check in CHECKS} == {reason for reason, *_ in CHECKED} | suppressions


INES = {"id": "CTT-4410-0093-7715", "name": "Ines M. Duarte", "email": "ines@elsewhere.example"}
LEFT = {"disabledCategories": ["NTC-3300-0041"], "id": "ACC-7031-2205"}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({}, None),
        (
            {
                Table.CONTACTS: INES,
                Table.CATEGORIES: {"name": "Loans"},
                Table.ACCOUNTS: {**LEFT, "disabledCategories": []},
            },
            None,
        ),
        ({Table.CONTACTS: {**INES, "status": "Blocked", "blockedReason": "asked"}}, DecisionReason.CONTACT_BLOCKED),
        ({Table.CONTACTS: {**INES, "optOuts": ["NTC-3300-0041"]}}, DecisionReason.CATEGORY_OPTED_OUT),
        ({Table.ACCOUNTS: LEFT}, DecisionReason.CATEGORY_OPTED_OUT),
        ({Table.ACCOUNTS: LEFT, Table.CATEGORIES: {"optOutAllowed": False}}, None),
    ],
)
def test_rows_of_the_reference_tables(rows: Mapping[Table, Any], reason: DecisionReason | None) -> None:
    """What they have of the recipient is the reference's; who is not contacted has a draft that says so."""
    values = {table: json.dumps(row).encode() for table, row in rows.items()}
    reference = Reference(rows=lambda table, _key: values.get(table))
    found = planned_draft(make_email(category="NTC-3300-0041"), make_event(), reference=reference)

    assert reason == (None if found.suppressed is None else found.suppressed.reason)
    assert found.recipient_data is not None
    assert found.recipient_data.missing.keys() == {"contact", "category", "account"} - {
        {Table.CONTACTS: "contact", Table.CATEGORIES: "category", Table.ACCOUNTS: "account"}[table] for table in rows
    }


def test_rows_are_looked_up_when_the_plan_runs() -> None:
    """A holder who opts out is not written to from then on."""
    rows: dict[Table, bytes] = {}
    template, event = make_email(), make_event()
    plans = Plans(template_set([template]), DraftRules(reference=Reference(rows=lambda table, _key: rows.get(table))))
    before = plans.planned(template, event)
    rows[Table.SUBSCRIPTIONS] = b'{"subscribed": false}'
    after = plans.planned(template, event)

    assert isinstance(before, PlannedDraft)
    assert isinstance(after, SkippedTemplate)


@pytest.mark.parametrize(
    ("template", "event", "rules", "reason"),
    [
        (make_email(strict=True, body="{GROUP_NAME}"), make_event(), {}, TemplateReason.MISSING_VALUE),
        (make_webhook(url="https://a.example/{GROUP_NAME}"), make_event(), {}, TemplateReason.MISSING_VALUE),
        (
            make_email(body="<a href='tel:{CLIENT_NAME}'>x</a>", content_type=ContentType.HTML),
            make_event(),
            {},
            TemplateReason.OTHER,
        ),
        (
            make_email(),
            make_event(),
            {"reference": Reference(missing_row=MissingRow.FAIL)},
            TemplateReason.LOOKUP_MISSING,
        ),
        (
            make_email(),
            make_event(),
            {"reference": Reference(rows=lambda _table, _key: b"no JSON")},
            TemplateReason.LOOKUP_MISSING,
        ),
        (
            make_template(body="{ACCOUNT_NAME}" * 20),
            make_event(account__name="x" * 50_000),
            {},
            TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED,
        ),
    ],
)
def test_what_the_reference_fails_is_refused(
    template: Template, event: Event, rules: dict[str, Any], reason: TemplateReason
) -> None:
    """A plan says nothing of a template that fails: the reference does."""
    expected, found = outcomes(template, event, **rules)

    assert isinstance(expected, FailedTemplate)
    assert (reason, None) == (expected.reason, found)


def test_a_replaced_character_is_refused() -> None:
    """The reference counts it."""
    template = make_template(body="<a>{ACCOUNT_NAME}</a>", content_type=ContentType.XML)
    expected, found = outcomes(template, make_event(account__name="a\x01"))

    assert isinstance(expected, Draft)
    assert (1, None) == (expected.rendered.replaced, found)


def test_a_text_without_an_address_is_refused() -> None:
    """A bug of whoever made such a template, which the reference reports."""
    template = make_template(channel=Channel.WEB_HOOK)
    plan = plan_draft(template, make_event().name, FieldValues(), DraftRules(), limit_characters=TEXT_LIMIT_CHARACTERS)

    assert plan(make_event().fields) is None
    with pytest.raises(InternalError):
        draft(case_of(template, make_event(), DraftRules()))


@pytest.mark.parametrize("language", [None, "pt-PT", "PT", "de-AT", "xx", "no language", "x" * 300])
def test_the_text_is_in_the_recipients_language(language: str | None) -> None:
    """The nearest that there is, as the reference chooses it; also for a member who is found in a list."""
    bodies = {"pt": "Ola {RECIPIENT_NAME}", "de": "Hallo {RECIPIENT_NAME}"}
    member = {
        "encodedKey": "8a8e867d5b1a4c0e015b1a5f3c0a0022",
        "id": "C-1",
        "fullName": "Rui Matos",
        "language": language,
    }
    members = [{"role": "Chair", "client": {name: value for name, value in member.items() if value is not None}}]
    to_client, to_chair = (
        make_email(bodies=bodies),
        make_email(bodies=bodies, recipient=RecipientKind.GROUP_ROLE, role="chair", **DEPOSIT),
    )

    assert planned_draft(to_client, make_event(client__language=language)).body
    assert planned_draft(to_chair, make_event("savings-deposit", group__members=members)).body
    assert planned_draft(to_client, make_event(client__language="pt-BR")).body == "Ola Ines Duarte"


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (make_email, {"client__emailAddress": None}),
        (make_email, {"client__emailAddress": "no address"}),
        (make_email, {"client__emailAddress": " ines@example.com "}),
        (make_sms, {"client__mobilePhone": None}),
        (make_sms, {"client__mobilePhone": "910000001"}),
        (make_sms, {"client__mobilePhone": "91000"}),  # of no number in Portugal
        (make_sms, {"client__mobilePhone": "1" * 2_000}),
        (make_sms, {"account__id": "x" * 1_700}),
        (make_task, {"client__creditOfficer__username": "a\u202eb"}),
    ],
)
def test_messages_that_cannot_be_sent(make: Any, changes: dict[str, Any]) -> None:
    """Missing, wrong and odd addresses, and a text that is too long: FAILED for the same reason and cause."""
    planned_draft(make(), make_event(**changes), sms_region="PT")


def test_a_reissue_has_a_key_of_its_own() -> None:
    """The key of a message that an operation reissues is the reference's."""
    template, event, reissue = make_email(), make_event(), OperationId("replay-20261129T075501Z-3f2a91c0")
    plan = plan_draft(
        template, event.name, FieldValues(), DraftRules(), limit_characters=TEXT_LIMIT_CHARACTERS, reissue=reissue
    )
    expected = draft(case_of(template, event, DraftRules(), reissue=reissue))

    assert planned(expected) == plan(event.fields)


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parent.parent.parent / "processor" / "shipped" / "samples").glob("*.json")),
    ids=lambda path: str(path.stem),
)
def test_samples_of_the_templates_are_planned(path: Path) -> None:
    """The odd events by which the shipped templates are checked."""
    assert_equal(Plans(shipped_templates(), LISBON), make_event(sample(path.stem)))
