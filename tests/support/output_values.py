"""Strategies: any value of each output."""

from hypothesis import strategies as st

from processor.domain.channel import Channel
from processor.domain.message import Communicationmessage, Decision, MessageStatus, SkippedTemplate, State, StreamEvent
from processor.domain.notification import (
    Actor,
    Attachment,
    AuditEvent,
    AuditOwner,
    Notification,
    NotificationAccount,
    NotificationCategory,
    NotificationContact,
    NotificationStatus,
    NotificationUser,
)
from processor.domain.reasons import DecisionReason, FailureReason
from processor.domain.record import RecordPosition

# Of each number of bytes that a length may have in Avro: 1, 2 and 3.
_long_texts = st.builds(str.__mul__, st.characters(codec="utf-8"), st.sampled_from((63, 64, 4096, 8191, 8192, 16_384)))
TEXTS = st.text(max_size=20) | _long_texts
OPTIONAL = st.none() | TEXTS
TIMES = st.integers(-62_135_596_800_000, 253_402_300_799_999)
KEYS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
INT32 = st.integers(-(2**31), 2**31 - 1)
POSITIONS = st.builds(RecordPosition, TEXTS, INT32, st.integers(-(2**63), 2**63 - 1))

MESSAGES = st.builds(
    Communicationmessage,
    **dict.fromkeys(
        ("body", "clientKey", "depositAccountKey", "destination", "encodedKey", "event", "failureCause", "groupKey"),
        OPTIONAL,
    ),
    **dict.fromkeys(
        ("loanAccountKey", "referenceId", "repaymentKey", "senderKey", "subject", "templateKey", "userKey"), OPTIONAL
    ),
    **dict.fromkeys(("creationDate", "sendDate"), st.none() | TIMES),
    numRetries=st.none() | INT32,
    failureReason=st.none() | st.sampled_from(FailureReason),
    state=st.none() | st.sampled_from(State),
    type=st.none() | st.sampled_from(Channel),
)
STATUSES = st.builds(
    MessageStatus,
    encodedKey=KEYS,
    **dict.fromkeys(("tenant", "event", "eventId", "templateId", "setVersion"), TEXTS),
    **dict.fromkeys(("waitingReason", "failureCause", "referenceId", "actor", "correlationId"), OPTIONAL),
    **dict.fromkeys(("sequence", "numRetries", "templateVersion"), INT32),
    type=st.sampled_from(Channel),
    from_=st.none() | st.sampled_from(State),
    to=st.sampled_from(State),
    at=TIMES,
    nextAttemptAt=st.none() | TIMES,
    failureReason=st.none() | st.sampled_from(FailureReason),
    final=st.booleans(),
    source=POSITIONS,
    lookupMissing=st.lists(TEXTS, max_size=3).map(tuple),
)
STREAM_EVENTS = st.builds(
    StreamEvent,
    eid=st.uuids().map(str),
    occurred_at=TIMES,
    **dict.fromkeys(("event_type", "content_type", "category", "body", "template_name"), TEXTS),
)
SKIPPED = st.builds(
    SkippedTemplate,
    reason=st.sampled_from(DecisionReason),
    detail=TEXTS,
    templateId=OPTIONAL,
    templateVersion=st.none() | INT32,
    encodedKey=st.none() | KEYS,
)
DECISIONS = st.builds(
    Decision,
    **dict.fromkeys(("eventId", "event", "tenant", "correlationId"), OPTIONAL),
    source=POSITIONS,
    setVersion=TEXTS,
    at=TIMES,
    reasons=st.lists(SKIPPED, max_size=3).map(tuple),
    reasonsLeftOut=INT32,
)


ACTORS = st.builds(Actor, id=TEXTS, name=TEXTS, icon=OPTIONAL)
NOTIFICATIONS = st.builds(
    Notification,
    **dict.fromkeys(("id", "href", "batch", "body"), TEXTS),
    contact=st.builds(
        NotificationContact,
        **dict.fromkeys(("id", "href", "name"), TEXTS),
        email=OPTIONAL,
        user=st.none() | st.builds(NotificationUser, **dict.fromkeys(("id", "href", "name"), TEXTS), email=OPTIONAL),
    ),
    account=st.none()
    | st.builds(
        NotificationAccount,
        id=TEXTS,
        href=TEXTS,
        **dict.fromkeys(("type", "status", "name", "logo"), OPTIONAL),
    ),
    status=st.sampled_from(NotificationStatus),
    subject=OPTIONAL,
    category=st.none()
    | st.builds(NotificationCategory, id=TEXTS, href=TEXTS, name=OPTIONAL, shortDescription=OPTIONAL),
    attachments=st.lists(
        st.builds(
            Attachment,
            **dict.fromkeys(("id", "name", "contentType", "fileName", "href"), TEXTS),
            fileSize=st.integers(0, 2**63 - 1),
        ),
        max_size=2,
    ).map(tuple),
    audit=st.dictionaries(
        TEXTS,
        st.builds(
            AuditEvent,
            at=TIMES,
            by=ACTORS,
            of=st.none() | st.builds(AuditOwner, id=TEXTS, href=TEXTS, name=OPTIONAL, icon=OPTIONAL),
        ),
        max_size=3,
    ),
)
