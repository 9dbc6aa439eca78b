"""The checker: maps one record, and checks what must hold for every outcome.

From the record's bytes to the bytes of its outputs, in Avro and in JSON. The outputs are read back by readers that are
not the processor's: fastavro, Python's JSON parser, expat, lexbor.
"""

import io
import json
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET
from zlib import crc32

from fastavro import schemaless_reader
from selectolax.lexbor import LexborHTMLParser

from processor.domain.channel import Channel, ContentType
from processor.domain.event import SourceEvent
from processor.domain.message import Communicationmessage, State
from processor.domain.outcome import Deferred, Outcome, Processed, Rejected, SourceOutcome
from processor.domain.output_topics import DECISION, MESSAGE, NOTIFICATION, STATUS, STREAM_EVENT
from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import Headers, OutRecord, RecordPosition, SourceRecord, Topic
from processor.domain.template import Template
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.map import map_event
from processor.mapping.rejections import refuse_outputs, reject_for_error
from processor.wire.dead_letter import dead_letter_outcome, read_dead_letter
from processor.wire.output_fields import read_decision, read_message, read_stream_event, source_outcome_reader
from processor.wire.wire_format import WireFormat
from tests.fuzz.corpus import JSON_HEADERS
from tests.fuzz.environment import OUTPUT_FORMATS, Configuration, Environment
from tests.fuzz.extreme import extreme_record
from tests.fuzz.mutated import mutated_record
from tests.fuzz.templates import FOREIGN_MARKUP, GENERATED
from tests.support.output_readers import read_notification, read_status
from tests.support.planned import check_written, comparable, is_planned

EVENTS_TOPIC: Final = Topic("banking.events")
EXTREME, MUTATED = "extreme", "mutated"
KINDS: Final = (EXTREME, MUTATED)

BLOCK_RECORDS: Final = 10_000
"""Records in a row that share one configuration beside the first one, so that a worker keeps the plans of two. In the
first block any of them is drawn, so that a short run meets each."""

# Half of all records are mapped with the first configuration, so that most events have a message.
_FIRST_CONFIGURATION_RATIO: Final = 0.5
_SMS_LIMIT_CHARACTERS: Final = 1600
_RELATED_INTERVAL: Final = 6  # records; each costs about two more calls of mapping
FIRST_TIMESTAMP_MS: Final = (
    1_773_480_413_702  # of record 0; each is a millisecond later, but for those with an odd timestamp
)
_ODD_TIMESTAMPS_MS: Final = (
    0,
    -1,
    -(2**63),
    2**63 - 1,
    253_402_300_799_999,
    253_402_300_800_000,
    FIRST_TIMESTAMP_MS * 1000,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A record and what it is mapped with. `name`, as in `extreme:17`, and the seed give it again."""

    name: str
    record: SourceRecord
    configuration: Configuration
    output_formats: tuple[WireFormat, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation of what must hold for mapping. `rule` is a short word; `text` is for people."""

    rule: str
    case: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`labels` count the outcome of the record; `seconds` and `cpu_seconds` are of the call that took most CPU."""

    findings: tuple[Finding, ...]
    labels: Counter[str]
    seconds: float
    cpu_seconds: float


def make_case(environment: Environment, kind: str, index: int, *, seed: int) -> Case:
    """Record `index` of a kind; the same arguments give the same one, in any order.

    Extreme records are mapped in both output formats; mutated ones, most of which are rejected, in one.
    """
    rng = random.Random(f"{seed}/{kind}/{index}")
    configuration, *others = environment.configurations
    if rng.random() > _FIRST_CONFIGURATION_RATIO:
        block = index // BLOCK_RECORDS
        configuration = others[block % len(others)] if block else rng.choice(others)
    value: bytes | None
    key: bytes | None
    if kind == EXTREME:
        value, headers, ordering_key = extreme_record(environment.corpus, rng)
        key = ordering_key.encode() if rng.random() < 0.97 else b"another"
    else:
        value, headers, key = mutated_record(environment.corpus, rng)
    record = source_record(value, headers, key, rng, number=index)
    if kind == MUTATED and rng.random() < 0.001:
        record = record._replace(headers=(), headers_error="a header's name is not UTF-8")
    output_formats = OUTPUT_FORMATS if kind == EXTREME else (OUTPUT_FORMATS[index % 2],)
    return Case(f"{kind}:{index}", record, configuration, output_formats)


def source_record(
    value: bytes | None, headers: Headers, key: bytes | None, rng: random.Random, *, number: int
) -> SourceRecord:
    """A record at some place, at its number's time or an odd one."""
    position = RecordPosition(EVENTS_TOPIC, rng.choice((0, 3, 11)), rng.choice((0, 17, 2**63 - 1)))
    timestamp_ms = rng.choice(_ODD_TIMESTAMPS_MS) if rng.random() < 0.05 else FIRST_TIMESTAMP_MS + number
    return SourceRecord(position, timestamp_ms, key, value, headers)


def check(case: Case, environment: Environment) -> CheckResult:
    """Map the record in each of its output formats, and once more in the first, and check all outcomes.

    Never raises for what mapping does: an exception is a finding.
    """
    findings: list[Finding] = []
    labels: Counter[str] = Counter()
    seconds = cpu_seconds = 0.0
    first: Outcome | None = None
    for output_format in (*case.output_formats, case.output_formats[0]):
        context = case.configuration.contexts[output_format]
        began, cpu_began = time.perf_counter(), time.thread_time()
        try:
            outcome = map_case(case, context, environment)
        except Exception as error:
            findings.append(Finding("RAISED", case.name, describe_error(error)))
            break
        finally:
            took, cpu_took = time.perf_counter() - began, time.thread_time() - cpu_began
            if cpu_took > cpu_seconds:
                seconds, cpu_seconds = took, cpu_took
        if first is None:
            first = outcome
        elif output_format == case.output_formats[0]:
            findings += _plan_findings(first, case, environment, labels)
            if outcome != first:
                findings.append(Finding("DIFFERENT", case.name, "mapped twice, the outcomes differ"))
            break
        elif not _same_messages(outcome, first):
            findings.append(
                Finding("DIFFERENT", case.name, f"messages differ between {' and '.join(case.output_formats)}")
            )
        try:
            findings += [
                Finding(rule, case.name, text) for rule, text in _violations(outcome, case, context, environment)
            ]
        except Exception as error:
            findings.append(Finding("UNREADABLE", case.name, f"the outputs cannot be checked: {describe_error(error)}"))
    if first is not None:
        labels.update(_outcome_labels(first, environment))
        labels[f"configuration {case.configuration.name}"] += 1
    return CheckResult(tuple(findings), labels, seconds, cpu_seconds)


def _plan_findings(reference: Outcome, case: Case, environment: Environment, labels: Counter[str]) -> Iterator[Finding]:
    """What plans make of the record is what the reference makes of it, by each executor, and at once."""
    for context in case.configuration.planned(case.output_formats[0]):
        try:
            planned = map_case(case, context, environment)
        except Exception as error:
            yield Finding("PLAN", case.name, describe_error(error))
            continue
        labels["planned"] += is_planned(planned)
        if comparable(reference) != comparable(planned):
            yield Finding("PLAN", case.name, "the plan's outcome is not the reference's")
        if not case.configuration.suspended:
            try:
                labels["written at once"] += check_written(case.record, context, reference)
            except AssertionError:
                yield Finding("PLAN", case.name, "what is written at once is not the reference's")


def map_case(case: Case, context: MappingContext, environment: Environment) -> Outcome:
    """Both steps of the engine, one after the other."""
    decoded = decode_record(case.record, context, schema_of=environment.schema_of)
    if not isinstance(decoded, SourceEvent):
        return decoded
    configuration = case.configuration
    return map_event(
        decoded, context, suspended=configuration.suspended, duplicate_of=configuration.duplicate_of(decoded)
    )


def _same_messages(outcome: Outcome, other: Outcome) -> bool:
    """Whether both formats have the same messages; which are too large for their topic depends on the format."""
    if not isinstance(outcome, Processed) or not isinstance(other, Processed):
        return type(outcome) is type(other)
    reasons = {failed.reason for failed in (*outcome.failed, *other.failed)}
    return TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED in reasons or outcome.created == other.created


def describe_error(error: BaseException) -> str:
    """An error with the innermost frames of its traceback, for people."""
    frames = traceback.format_tb(error.__traceback__)
    return f"{type(error).__name__}: {str(error)[:300]}\n{''.join(frames[-4:])}"


# -------------------------------------------------------------------------------------------------------- violations


def _violations(
    outcome: Outcome, case: Case, context: MappingContext, environment: Environment
) -> Iterator[tuple[str, str]]:
    """Violations by an outcome: a rule, and a text for people."""
    match outcome:
        case Deferred():
            return
        case Rejected():
            if len(outcome.outputs) != 1:
                yield "OUTCOME", f"{len(outcome.outputs)} outputs of a rejected record"
        case Processed():
            yield from _processed_violations(outcome, case.configuration, environment)
    if outcome.record != case.record:
        yield "OUTCOME", "the outcome is of another record"
    limits = {topic.name: topic for topic in context.output_topics.outputs}
    for output in outcome.outputs:
        topic = limits[output.topic]
        if size_bytes(output) > topic.limit_bytes:
            yield "LIMIT", f"{size_bytes(output)} bytes for {topic.name}, which takes {topic.limit_bytes}"
        if not 0 <= output.partition < topic.partitions:
            yield "LIMIT", f"partition {output.partition} of {topic.name}, which has {topic.partitions}"
    yield from _output_violations(outcome, context)
    if crc32(case.name.encode()) % _RELATED_INTERVAL == 0:
        yield from _related_violations(outcome, case, context, environment)


def size_bytes(output: OutRecord) -> int:
    """Of key, value and headers, independently of the product."""
    parts = (output.key, output.value, *(part for name, value in output.headers for part in (name.encode(), value)))
    return sum(len(part) for part in parts if part)


def _processed_violations(
    outcome: Processed, configuration: Configuration, environment: Environment
) -> Iterator[tuple[str, str]]:
    template_ids = [created.status.templateId for created in outcome.created]
    template_ids += [failed.templateId for failed in outcome.failed]
    template_ids += [skipped.templateId for skipped in outcome.skipped if skipped.templateId is not None]
    if template_ids:
        if tuple(sorted(template_ids)) not in configuration.template_groups:
            yield "LOST", f"no event has exactly these templates: {sorted(template_ids)}"
    elif not outcome.skipped:
        yield "LOST", "no template, and no decision"
    for skipped in outcome.skipped:
        if len(skipped.detail) > 1_000:
            yield "LIMIT", f"a detail of {len(skipped.detail)} characters"
    for created in outcome.created:
        template = environment.templates[created.status.templateId]
        for text in (*_state_violations(created.message, template), *_body_violations(created.message, template)):
            yield "BODY", f"{template.id}: {text}"


def _state_violations(message: Communicationmessage, template: Template) -> Iterator[str]:
    failed = message.state is State.FAILED
    if failed != (message.failureReason is not None):
        yield f"{message.state} with {message.failureReason}"
    if message.destination is None and not failed:
        yield f"{message.state} without a destination"
    length = len(message.body or "")
    if template.type is Channel.SMS and length > _SMS_LIMIT_CHARACTERS and not failed:
        yield f"an SMS of {length} characters"


def _body_violations(message: Communicationmessage, template: Template) -> Iterator[str]:
    body = message.body or ""
    if message.subject is not None and (len(message.subject) > 255 or len(message.subject.splitlines()) > 1):
        yield f"subject {message.subject[:300]!r}"
    if error := _parse_error(body, template.content_type):
        yield f"no {template.content_type}: {error}"
    if template.content_type is ContentType.HTML and template.id.startswith(GENERATED):
        foreign = LexborHTMLParser(body).css_first(FOREIGN_MARKUP)
        if foreign is not None:
            yield f"an element that no template has: {(foreign.html or '')[:200]!r}"


def _parse_error(body: str, content: ContentType) -> str:
    """Why a body is not a document of its content type; empty when it is."""
    try:
        if content is ContentType.JSON:
            json.loads(body, parse_constant=_reject_constant)
        elif content is ContentType.XML:
            ET.fromstring(body)  # noqa: S314  the product's own, without a document type
    except (ValueError, ET.ParseError, RecursionError) as error:
        return f"{error}: {body[:200]!r}"
    return ""


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _output_violations(outcome: Processed | Rejected, context: MappingContext) -> Iterator[tuple[str, str]]:
    """Outputs that another reader cannot read (raises), or that the product's own reads as another value."""
    output_topics = context.output_topics
    streams = {topic.name for topic in output_topics.streams.values()}
    read: dict[str, list[Any]] = {name: [] for name in (MESSAGE, STATUS, STREAM_EVENT, NOTIFICATION)}
    for output in outcome.outputs:
        if output.topic == output_topics.dead_letters.name:
            yield from _dead_letter_violations(output, outcome)
            continue
        name = STREAM_EVENT if output.topic in streams else {
            output_topics.messages.name: MESSAGE,
            output_topics.status.name: STATUS,
            output_topics.notifications.name: NOTIFICATION,
            output_topics.decisions.name: DECISION,
        }[output.topic]  # fmt: skip
        value = output.value or b""
        _read_with_foreign_reader(value, output.headers, name, context)
        found = _READERS[name](value, output.headers, schemas=context.schemas)
        if name in read:
            read[name].append(found)
    if isinstance(outcome, Processed):
        messages = outcome.created
        written = {
            MESSAGE: [created.message for created in messages],
            STATUS: [created.status for created in messages],
            STREAM_EVENT: [created.stream_event for created in messages if created.stream_event],
        }
        for name, values in written.items():
            if values != read[name]:
                yield "READ_BACK", f"{name} is read as another value"
        expected = sum(bool(created.notification) for created in messages)
        expected += sum(len(result.outputs) for result in outcome.results if result.skipped)
        if expected != len(read[NOTIFICATION]):
            yield "READ_BACK", f"{len(read[NOTIFICATION])} of {NOTIFICATION} for {expected}"


_READERS: Final[dict[str, Callable[..., Any]]] = {
    MESSAGE: read_message,
    STATUS: read_status,
    STREAM_EVENT: read_stream_event,
    NOTIFICATION: read_notification,
    DECISION: read_decision,
}


def _read_with_foreign_reader(value: bytes, headers: Headers, name: str, context: MappingContext) -> None:
    """Read a value with a reader that is not the product's; raises if it cannot."""
    if JSON_HEADERS[0] in headers:
        json.loads(value.decode(), parse_constant=_reject_constant)
        return
    stream = io.BytesIO(value)
    if stream.read(5) != context.schemas.outputs[name].frame:
        raise ValueError(f"no frame of {name}")
    schemaless_reader(stream, context.schemas.outputs[name].parsed, None)
    if stream.read():
        raise ValueError(f"bytes left over after {name}")


def _dead_letter_violations(output: OutRecord, outcome: Processed | Rejected) -> Iterator[tuple[str, str]]:
    """A dead letter has its source's key, value and headers, or says how many bytes it omits."""
    letter = read_dead_letter(key=output.key, value=output.value, headers=output.headers)
    record = outcome.record
    is_complete = "dl.value_bytes" not in {name for name, _ in output.headers}
    if letter.position != record.position or letter.timestamp_ms != record.timestamp_ms:
        yield "DEAD_LETTER", f"of {letter.position} at {letter.timestamp_ms}"
    if is_complete and (letter.key, letter.value, letter.headers) != (record.key, record.value, record.headers):
        yield "DEAD_LETTER", "key, value or headers are not the source's"
    if len(letter.detail) > 1_000 or not letter.detail:
        yield "DEAD_LETTER", f"a detail of {len(letter.detail)} characters"
    reason = outcome.reason if isinstance(outcome, Rejected) else Reason.TEMPLATE_FAILED
    if letter.reason is not reason:
        yield "DEAD_LETTER", f"reason {letter.reason}, not {reason}"


def _related_violations(
    outcome: Processed | Rejected, case: Case, context: MappingContext, environment: Environment
) -> Iterator[tuple[str, str]]:
    """Of the same record after a restart, a refusal by the broker, an error: the event that deduplication remembers,
    the dead letters' limits."""
    decoded = decode_record(case.record, context, schema_of=environment.schema_of)
    event = decoded.event if isinstance(decoded, SourceEvent) else None
    yield from _identity_violations(outcome, decoded, context)
    letters: list[Outcome] = [
        refuse_outputs(decoded, context, detail="the broker refused it", drop_value=dropped)
        for dropped in (False, True)
    ]
    letters.append(reject_for_error(case.record, event, context, ValueError("not shown")))
    for letter in letters:
        if isinstance(letter, Rejected):
            (output,) = letter.outputs
            if size_bytes(output) > context.output_topics.dead_letters.limit_bytes:
                yield "LIMIT", f"a dead letter of {size_bytes(output)} bytes"
            yield from _dead_letter_violations(output, letter)


def _identity_violations(
    outcome: Processed | Rejected, decoded: SourceEvent | Outcome, context: MappingContext
) -> Iterator[tuple[str, str]]:
    """Outputs from which a restart would restore another event than the one that is remembered now."""
    output_topics = context.output_topics
    readers: dict[str, Callable[[bytes, Headers], SourceOutcome]] = {
        output_topics.status.name: source_outcome_reader(STATUS, schemas=context.schemas),
        output_topics.decisions.name: source_outcome_reader(DECISION, schemas=context.schemas),
        output_topics.dead_letters.name: lambda _value, headers: dead_letter_outcome(headers),
    }
    remembered = (
        (decoded.record.position, decoded.event.id, decoded.time_ms) if isinstance(decoded, SourceEvent) else None
    )
    for output in outcome.outputs:
        if output.topic in readers:
            source = readers[output.topic](output.value or b"", output.headers)
            event_id = source.seen_event_id
            restored = None if event_id is None else (source.source, event_id, source.time_ms)
            if restored != remembered:
                yield "IDENTITY", f"{restored} after a restart, {remembered} before it"


# ------------------------------------------------------------------------------------------------------------- labels


def _outcome_labels(outcome: Outcome, environment: Environment) -> Iterator[str]:
    """The outcome of a record, as labels that are counted."""
    match outcome:
        case Deferred():
            yield "deferred"
        case Rejected():
            yield f"dead letter {outcome.reason}"
        case Processed():
            yield "messages created" if outcome.created else "processed, no message"
            for created in outcome.created:
                template = environment.templates[created.status.templateId]
                yield f"{template.type} {created.message.failureReason or created.message.state}"
                yield f"body {template.content_type}"
                yield f"rendered {template.id}"
            for skipped in outcome.skipped:
                yield f"decision {skipped.reason}"
            for failed in outcome.failed:
                yield f"failed {failed.reason}"
                if failed.reason not in (TemplateReason.TEMPLATE_SUSPENDED, TemplateReason.LOOKUP_MISSING):
                    yield f"rendered {failed.templateId}"
