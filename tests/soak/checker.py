"""The checker: what a `read_committed` reader finds against what must be there, and which records were aborted."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from tests.soak.assignments import OutputTime, assignment_findings, starts_of
from tests.soak.expected import (
    TEMPLATES,
    ExpectedDeadLetter,
    ExpectedMessage,
    ExpectedOutputs,
    Position,
    Sent,
    Template,
    expected_outputs,
)
from tests.soak.history import StoredRecord, end_offsets, group_positions, read
from tests.soak.workers import worker_logs
from tests.support.installation import Installation
from tests.support.read_to_end import partition_counts

EXAMPLES_PER_KIND = 5  # findings of one kind that are shown in full


class Kind(StrEnum):
    """What is wrong: with the outputs, the group's positions, a worker, or the harness itself."""

    LOST = "LOST"
    DUPLICATED = "DUPLICATED"
    UNEXPECTED = "UNEXPECTED"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    PARTITION = "PARTITION"
    CONTENT = "CONTENT"
    BYTES = "BYTES"  #: A dead letter does not have its source's bytes.
    POSITION = "POSITION"  #: The group has not committed the input's end.
    ASSIGNED = "ASSIGNED"  #: A record of that kind is missing, or is not of an assignment that committed.
    OPEN_TRANSACTION = "OPEN_TRANSACTION"
    EXIT = "EXIT"  #: A worker ended by itself, or did not stop cleanly.
    STUCK = "STUCK"  #: A worker did not get to its fault.
    PROGRESS = "PROGRESS"  #: What a past operation says of itself is not what it has written.
    REPORT = "REPORT"  #: A replay reports other figures than those of what is missing.
    STALLED = "STALLED"  #: The group does not reach the input's end.
    HARNESS = "HARNESS"


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation of what must hold."""

    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found in one installation. `aborted`: where the records are that only `read_uncommitted` readers see."""

    findings: tuple[Finding, ...]
    aborted: frozenset[tuple[str, int, int]]
    counts: Mapping[str, int]

    def __str__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        lines = [f"{kind} × {count}" for kind, count in kinds.items()]
        for kind in kinds:
            lines += [str(finding) for finding in self.findings if finding.kind == kind][:EXAMPLES_PER_KIND]
        return "\n".join(lines) or "0 findings"


def check_outputs(
    installation: Installation, sent: Sequence[Sent], *, templates: Sequence[Template] = TEMPLATES
) -> CheckResult:
    """Check all outputs of `installation`, whose input is `sent`. To be called when no worker is left."""
    records = read(installation.servers, installation.outputs)
    stored = read(installation.servers, installation.outputs, isolation="read_uncommitted", values=False)
    counts = Counter(record.topic.removeprefix(installation.prefix) for record in records)
    expected = expected_outputs(sent, templates=templates)
    findings = [
        *_output_findings(installation, expected, records),
        *offset_findings(installation),
        *_assignment_findings(installation, records),
    ]
    if len({record.position for record in sent}) != len(sent):
        findings.append(Finding(Kind.HARNESS, "two records of the input have one position"))
    return CheckResult(
        findings=tuple(findings),
        aborted=frozenset({record.at for record in stored} - {record.at for record in records}),
        counts={"input": len(sent), **counts},
    )


def _output_findings(
    installation: Installation, expected: ExpectedOutputs, records: Sequence[StoredRecord]
) -> Iterator[Finding]:
    by_topic: dict[str, list[StoredRecord]] = {topic: [] for topic in installation.outputs}
    for record in records:
        by_topic[record.topic].append(record)
    lineage = Lineage(installation, expected)
    partitions = partition_counts(installation.servers, installation.outputs)
    for topic, of_topic in by_topic.items():
        yield from topic_findings(lineage, topic, of_topic, partitions=partitions[topic])


def topic_findings(
    lineage: "Lineage", topic: str, records: Sequence[StoredRecord], *, partitions: int
) -> Iterator[Finding]:
    """What is wrong with all records of one output topic, which has so many partitions."""
    installation, expected = lineage.installation, lineage.expected
    messages = expected.messages
    if topic == installation.messages:
        yield from _check_keys(records, messages, _message_key)
        yield from _check_messages(records, messages)
    elif topic == installation.status:
        yield from _check_keys(records, messages, _message_key)
        yield from _check_statuses(installation, records, messages)
    elif topic == installation.notifications:
        notified = {key: message for key, message in messages.items() if message.template.channel in ("EMAIL", "SMS")}
        notified |= expected.discarded
        yield from _check_keys(records, notified, _message_key)
        yield from _check_notifications(records, notified, discarded=expected.discarded.keys())
    elif topic == installation.dead_letters:
        yield from _check_dead_letters(installation, records, expected)
    elif topic == installation.decisions:
        yield from _check_decisions(installation, records, expected)
    else:
        (event,) = [event for event, stream in installation.streams.items() if stream == topic]
        of_event = {eid: message for eid, message in lineage.streams.items() if message.template.event == event}
        yield from _check_keys(records, of_event, _eid)
        yield from _check_stream_events(records, of_event)
    yield from _check_order_of_sources(records, lineage, partitions)
    yield from _check_order_of_accounts(records, lineage)


def offset_findings(installation: Installation) -> Iterator[Finding]:
    """Open transactions on what is written, and positions of the group that are not the input's end."""
    written = (*installation.outputs, installation.operations)
    stable = end_offsets(installation.servers, written, stable=True)
    for at, end in end_offsets(installation.servers, written).items():
        if stable[at] != end:
            yield Finding(Kind.OPEN_TRANSACTION, f"{at}: readers end at {stable[at]} of {end}")
    positions = group_positions(installation.servers, installation.group, installation.events)
    for (_, partition), end in end_offsets(installation.servers, (installation.events,)).items():
        if positions.get(partition) != end:
            yield Finding(Kind.POSITION, f"partition {partition}: {positions.get(partition)}, the input ends at {end}")


def _assignment_findings(installation: Installation, records: Iterable[StoredRecord]) -> Iterator[Finding]:
    """Of the records ASSIGNED. `records`: the outputs."""
    outputs = [
        OutputTime(*source, record.timestamp_ms)
        for record in records
        if (source := _named_source(installation, record)) is not None
    ]
    for detail in assignment_findings(
        read(installation.servers, (installation.operations,)),
        starts_of(worker_logs(installation)),
        outputs,
        group_positions(installation.servers, installation.group, installation.events),
        decisions=installation.env_overrides.get("PROCESSOR_DECISIONS", "all"),
    ):
        yield Finding(Kind.ASSIGNED, detail)


def _named_source(installation: Installation, record: StoredRecord) -> Position | None:
    """The input position that an output names as its source; None for those that name none."""
    if record.topic == installation.dead_letters:
        return _dead_letter_position(record)
    if record.topic in (installation.decisions, installation.status):
        source = _json(record).get("source", {})
        return (source.get("partition", -1), source.get("offset", -1))
    return None


def _message_key(record: StoredRecord) -> str:
    return (record.key or b"").decode(errors="replace")


def _eid(record: StoredRecord) -> str:
    return str(_json(record).get("metadata", {}).get("eid"))


def _json(record: StoredRecord) -> Mapping[str, Any]:
    return _parse(record.value or b"{}")


@lru_cache(maxsize=4096)  # several checks go over the records of a topic one after the other
def _parse(value: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(value)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _check_keys(
    records: Iterable[StoredRecord], expected: Mapping[str, ExpectedMessage], key: Callable[[StoredRecord], str]
) -> Iterator[Finding]:
    """Each expected key exactly once, and no other."""
    by_key: dict[str, list[StoredRecord]] = {}
    for record in records:
        by_key.setdefault(key(record), []).append(record)
    for name, of_key in by_key.items():
        at = [record.at for record in of_key]
        if name not in expected:
            yield Finding(Kind.UNEXPECTED, f"{name} at {at}")
        elif len(of_key) > 1:
            yield Finding(Kind.DUPLICATED, f"{name} of {expected[name].position} at {at}")
    for name in expected.keys() - by_key.keys():
        yield Finding(Kind.LOST, f"{name} of {expected[name].position}, template {expected[name].template.id}")


def _iso(timestamp_ms: int) -> str:
    moment = datetime.fromtimestamp(timestamp_ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp_ms % 1000:03}Z"


def _check_fields(record: StoredRecord, actual: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Finding]:
    fields = {name: actual.get(name) for name in expected}
    if expected != fields:
        yield Finding(Kind.CONTENT, f"{record.at}: {fields}, not {expected}")


def _check_body(record: StoredRecord, body: object, message: ExpectedMessage) -> Iterator[Finding]:
    if message.template.channel == "EVENT_STREAM":
        text = json.dumps({"n": message.number, "account": message.account_id})
    else:
        text = f"{message.number} {message.account_id}{' yes' if message.template.strict else ''}"
    if body != text:
        yield Finding(Kind.CONTENT, f"{record.at}: body {body!r} is not of {message}")


def _check_messages(records: Iterable[StoredRecord], messages: Mapping[str, ExpectedMessage]) -> Iterator[Finding]:
    for record in records:
        message = messages.get(_message_key(record))
        if message is None:
            continue
        actual = _json(record)
        expected = {
            "encodedKey": message.encoded_key,
            "type": message.template.channel,
            "event": message.template.event,
            "state": message.state,
            "creationDate": _iso(message.timestamp_ms),
            "numRetries": 0,
            "loanAccountKey": message.account if message.template.event.startswith("LOAN_") else None,
            "depositAccountKey": message.account if message.template.event == "SAVINGS_DEPOSIT" else None,
        }
        yield from _check_fields(record, actual, expected)
        yield from _check_body(record, actual.get("body"), message)


def _check_notifications(
    records: Iterable[StoredRecord], notified: Mapping[str, ExpectedMessage], *, discarded: Collection[str]
) -> Iterator[Finding]:
    for record in records:
        message = notified.get(_message_key(record))
        if message is None:
            continue
        value = _json(record)
        digits = f"{int(message.encoded_key, 16) % 10**16:016}"
        queued = message.state == "QUEUED" and message.encoded_key not in discarded
        expected = {
            "id": "-".join(["MSG", digits[:4], digits[4:8], digits[8:12], digits[12:]]),
            "status": "Queued" if queued else "Discarded",
            "created": _iso(message.timestamp_ms),
            "account": "Northbank",
            "category": "Loans" if message.template.id == "soak-loan-email" else None,
        }
        actual = {
            "id": value.get("id"),
            "status": value.get("status"),
            "created": value["audit"]["created"]["at"],
            "account": value.get("account", {}).get("name"),
            "category": value.get("category", {}).get("name"),
        }
        yield from _check_fields(record, actual, expected)
        yield from _check_body(record, value.get("body"), message)
        if message.contact is not None and value["contact"]["id"] != message.contact:
            yield Finding(Kind.CONTENT, f"{record.at}: contact {value['contact']}, not {message.contact}")


def _check_statuses(
    installation: Installation, records: Iterable[StoredRecord], messages: Mapping[str, ExpectedMessage]
) -> Iterator[Finding]:
    for record in records:
        message = messages.get(_message_key(record))
        if message is None:
            continue
        expected = {
            "encodedKey": message.encoded_key,
            "sequence": 1,
            "to": message.state,
            "from": "QUEUED_FOR_STREAM" if message.template.channel == "EVENT_STREAM" else None,
            "at": _iso(message.timestamp_ms),
            "templateId": message.template.id,
            "templateVersion": message.template.version,
            "lookupMissing": [] if message.template.channel == "EVENT_STREAM" or message.contact else ["contact"],
            "source": {"topic": installation.events, "partition": message.position[0], "offset": message.position[1]},
        }
        yield from _check_fields(record, _json(record), expected)


def _check_stream_events(records: Iterable[StoredRecord], messages: Mapping[str, ExpectedMessage]) -> Iterator[Finding]:
    for record in records:
        message = messages.get(_eid(record))
        if message is None:
            continue
        value = _json(record)
        yield from _check_fields(record, value, {"template_name": message.template.name})
        yield from _check_body(record, value.get("body"), message)
        if record.key != message.ordering_key.encode():
            yield Finding(Kind.CONTENT, f"{record.at}: key {record.key!r}, not the ordering key {message.ordering_key}")


def _dead_letter_position(record: StoredRecord) -> Position:
    headers = dict(record.headers)
    return (int(headers.get("dl.partition", b"-1")), int(headers.get("dl.offset", b"-1")))


def _check_dead_letters(
    installation: Installation, records: Iterable[StoredRecord], expected: ExpectedOutputs
) -> Iterator[Finding]:
    positions: set[Position] = set()
    for record in records:
        position = _dead_letter_position(record)
        if position in positions:
            yield Finding(Kind.DUPLICATED, f"dead letter of {position}")
        positions.add(position)
        if position not in expected.dead_letters:
            yield Finding(Kind.UNEXPECTED, f"dead letter of {position}: {dict(record.headers)}")
            continue
        for kind, text in _dead_letter_mismatches(installation, record, expected.dead_letters[position]):
            yield Finding(kind, f"dead letter of {position}: {text}")
    for position in expected.dead_letters.keys() - positions:
        yield Finding(Kind.LOST, f"dead letter of {position}, {expected.dead_letters[position].reason}")


def _dead_letter_mismatches(
    installation: Installation, record: StoredRecord, expected: ExpectedDeadLetter
) -> Iterator[tuple[Kind, str]]:
    headers, source = dict(record.headers), expected.sent.record
    if headers.get("dl.topic") != installation.events.encode():
        yield Kind.CONTENT, f"dl.topic {headers.get('dl.topic')!r}"
    if headers.get("dl.reason") != expected.reason.encode():
        yield Kind.CONTENT, f"{headers.get('dl.reason')!r}, not {expected.reason}"
    if not headers.get("dl.detail"):
        yield Kind.CONTENT, "no detail"
    entries = json.loads(headers.get("dl.failed") or b"[]")
    if expected.failed != frozenset((entry["templateId"], entry["reason"]) for entry in entries):
        yield Kind.CONTENT, f"failed {entries}, not {set(expected.failed)}"
    if record.key != source.key:
        yield Kind.BYTES, f"key {record.key!r}, not {source.key!r}"
    if not expected.value_kept:
        if headers.get("dl.value_bytes") != str(len(source.value or b"")).encode():
            yield Kind.BYTES, f"dl.value_bytes {headers.get('dl.value_bytes')!r}"
        return
    if record.value != source.value:
        yield Kind.BYTES, "the value is not the source's"
    if tuple(header for header in record.headers if not header[0].startswith("dl.")) != source.headers:
        yield Kind.BYTES, f"headers {record.headers}, not {source.headers}"


def _check_decisions(
    installation: Installation, records: Iterable[StoredRecord], expected: ExpectedOutputs
) -> Iterator[Finding]:
    positions: set[Position] = set()
    for record in records:
        value = _json(record)
        source = value.get("source", {})
        position = (source.get("partition"), source.get("offset"))
        if position in positions:
            yield Finding(Kind.DUPLICATED, f"decision of {position}")
        positions.add(position)
        if position not in expected.decisions:
            yield Finding(Kind.UNEXPECTED, f"decision of {position}: {value}")
            continue
        if source.get("topic") != installation.events:
            yield Finding(Kind.CONTENT, f"decision of {position}: source {source}")
        for text in _decision_mismatches(record, value.get("reasons", ()), position, expected):
            yield Finding(Kind.CONTENT, f"decision of {position}: {text}")
    for position in expected.decisions.keys() - positions:
        yield Finding(Kind.LOST, f"decision of {position}, {set(expected.decisions[position][1])}")


def _decision_mismatches(
    record: StoredRecord, entries: Sequence[Mapping[str, Any]], position: Position, expected: ExpectedOutputs
) -> Iterator[str]:
    event_id, reasons = expected.decisions[position]
    actual = frozenset((entry.get("templateId"), entry.get("reason")) for entry in entries)
    if actual != reasons:
        yield f"{set(actual)}, not {set(reasons)}"
    if position in expected.first_positions:
        partition, offset = expected.first_positions[position]
        details = [str(entry.get("detail")) for entry in entries]
        if not all(detail.endswith(f"[{partition}]@{offset}") for detail in details):
            yield f"{details}, not of {expected.first_positions[position]}"
    if event_id is not None and record.key != event_id.encode():
        yield f"key {record.key!r}, not {event_id}"


class Lineage:
    """Which input record, and which expected message, an output is of."""

    def __init__(self, installation: Installation, expected: ExpectedOutputs) -> None:
        self.installation, self.expected, self.streams = installation, expected, expected.streams
        self._messages = expected.messages | expected.discarded
        self._stream_topics = frozenset(installation.streams.values())
        lanes: dict[tuple[str, str], list[ExpectedMessage]] = {}
        for message in sorted(self._messages.values(), key=lambda message: message.position):
            lanes.setdefault((message.account, message.template.id), []).append(message)
        self.rank = {
            (*lane, message.number): rank for lane, messages in lanes.items() for rank, message in enumerate(messages)
        }
        """(account, template, number) -> which event of the account this is, by the input's order."""

    def message(self, record: StoredRecord) -> ExpectedMessage | None:
        """The expected message that a message, status, notification or stream event is of."""
        if record.topic in (self.installation.messages, self.installation.status, self.installation.notifications):
            return self._messages.get(_message_key(record))
        return self.streams.get(_eid(record)) if record.topic in self._stream_topics else None

    def source(self, record: StoredRecord) -> Position | None:
        """The input position that an output names as its source; for a message or stream event, that of its key."""
        if (named := _named_source(self.installation, record)) is not None:
            return named
        message = self.message(record)
        return None if message is None else message.position


def _check_order_of_sources(records: Iterable[StoredRecord], lineage: Lineage, partitions: int) -> Iterator[Finding]:
    """By lineage: each output of a topic is in its source's partition, in the order of the sources."""
    last: dict[tuple[int, int], Position] = {}
    for record in records:
        source = lineage.source(record)
        if source is None:
            continue
        if record.partition != source[0] % partitions:
            yield Finding(Kind.PARTITION, f"{record.at} is of {source}")
        lane = (record.partition, source[0])
        if lane in last and source < last[lane]:
            yield Finding(Kind.OUT_OF_ORDER, f"{record.at} of {source} comes after one of {last[lane]}")
        last[lane] = source


def _check_order_of_accounts(records: Iterable[StoredRecord], lineage: Lineage) -> Iterator[Finding]:
    """By content: the bodies of one account and template show the account's transactions in their order."""
    last: dict[tuple[str, str], int] = {}
    for record in records:
        message = lineage.message(record)
        number = re.search(r"\d{8}", str(_json(record).get("body", "")))
        if message is None or number is None:
            continue
        lane = (message.account, message.template.id)
        rank = lineage.rank.get((*lane, number[0]), -1)
        if rank <= last.get(lane, -1):
            yield Finding(Kind.OUT_OF_ORDER, f"{record.at} shows {number[0]} of {message.account_id} too late")
        last[lane] = rank
