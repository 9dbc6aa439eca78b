"""One record through mapping, and whether what came out is what must always come out.

From the record's bytes to the bytes of its outputs, in Avro and in JSON. What leaves mapping is read back here by other
readers than its own: fastavro, Python's JSON parser, expat, lexbor.
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

from processor.domain.message import Channel, State
from processor.domain.outcome import Deferred, Outcome, Processed, Rejected
from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import Headers, OutRecord, RecordPosition, SourceRecord, Topic
from processor.mapping.context import MappingContext
from processor.mapping.map import SMS_LIMIT_CHARACTERS, failed_record, identify, map_record, refused_record
from processor.mapping.template import ContentType
from processor.wire.encode import Format, dead_letter_of
from processor.wire.output_fields import decision_of, message_of, notification_of, status_of, stream_event_of
from processor.wire.schema import DECISION, MESSAGE, NOTIFICATION, STATUS, STREAM_EVENT
from tests.fuzz.corpus import JSON_HEADERS
from tests.fuzz.environment import FORMS, Environment, Installation
from tests.fuzz.extreme import extreme_record
from tests.fuzz.mutated import mutated_record
from tests.fuzz.templates import FOREIGN_MARKUP, GENERATED

EVENTS_TOPIC: Final = Topic("banking.events")
EXTREME, MUTATED = "extreme", "mutated"
KINDS: Final = (EXTREME, MUTATED)

# Half of all records meet the first installation, so that most events are written to somebody.
_OFTEN: Final = 0.5
_NEIGHBOURS_EVERY: Final = 6  # records; each costs about two more mappings
FIRST_TIME_MS: Final = 1_773_480_413_702  # of record 0; each is a millisecond later, but for those with an odd time
_TIMES_MS: Final = (0, -1, -(2**63), 2**63 - 1, 253_402_300_799_999, 253_402_300_800_000, FIRST_TIME_MS * 1000)


@dataclass(frozen=True, slots=True)
class Case:
    """A record and what it is mapped with. `name`, as in `extreme:17`, and the seed make it again."""

    name: str
    record: SourceRecord
    installation: Installation
    forms: tuple[Format, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must never come out of mapping. `rule` is a short word; `text` is for people."""

    rule: str
    case: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seen` counts what became of the record; `seconds` and `cpu_seconds` are of the mapping that took most CPU."""

    findings: tuple[Finding, ...]
    seen: Counter[str]
    seconds: float
    cpu_seconds: float


def make_case(environment: Environment, kind: str, index: int, *, seed: int) -> Case:
    """Record `index` of a kind; the same arguments give the same one, whatever was made before it.

    Extreme records are mapped in both forms; mutated ones, which mostly end before an output is written, in one.
    """
    dice = random.Random(f"{seed}/{kind}/{index}")
    installation = environment.installations[0]
    if dice.random() > _OFTEN:
        installation = dice.choice(environment.installations[1:])
    value: bytes | None
    key: bytes | None
    if kind == EXTREME:
        value, headers, ordering_key = extreme_record(environment.corpus, dice)
        key = ordering_key.encode() if dice.random() < 0.97 else b"another"
    else:
        value, headers, key = mutated_record(environment.corpus, dice)
    faulty = kind == MUTATED and dice.random() < 0.001
    record = SourceRecord(
        RecordPosition(EVENTS_TOPIC, dice.choice((0, 3, 11)), dice.choice((0, 17, 2**63 - 1))),
        dice.choice(_TIMES_MS) if dice.random() < 0.05 else FIRST_TIME_MS + index,
        key,
        value,
        () if faulty else headers,
        "a header's name is not UTF-8" if faulty else "",
    )
    forms = FORMS if kind == EXTREME else (FORMS[index % 2],)
    return Case(f"{kind}:{index}", record, installation, forms)


def check(case: Case, environment: Environment) -> Verdict:
    """Map the record in each of its forms, and once more in the first, and hold all that comes out to what is promised.

    Never raises for what mapping does: an exception is a finding.
    """
    findings: list[Finding] = []
    seen: Counter[str] = Counter()
    seconds = cpu_seconds = 0.0
    first: Outcome | None = None
    for form in (*case.forms, case.forms[0]):
        lookups = case.installation.lookups[form]
        began, cpu_began = time.perf_counter(), time.thread_time()
        try:
            outcome = map_record(case.record, lookups, case.installation.suspended)
        except Exception as error:
            findings.append(Finding("RAISED", case.name, raised(error)))
            break
        finally:
            took, cpu_took = time.perf_counter() - began, time.thread_time() - cpu_began
            if cpu_took > cpu_seconds:
                seconds, cpu_seconds = took, cpu_took
        if first is None:
            first = outcome
        elif form == case.forms[0]:
            if outcome != first:
                findings.append(Finding("DIFFERENT", case.name, "mapped twice, the outcomes differ"))
            break
        elif not _alike(outcome, first):
            findings.append(Finding("DIFFERENT", case.name, f"messages differ between {' and '.join(case.forms)}"))
        try:
            findings += [Finding(rule, case.name, text) for rule, text in _wrong(outcome, case, lookups, environment)]
        except Exception as error:
            findings.append(Finding("UNREADABLE", case.name, f"what came out cannot be checked: {raised(error)}"))
    if first is not None:
        seen.update(_counted(first, environment))
        seen[f"installation {case.installation.name}"] += 1
    return Verdict(tuple(findings), seen, seconds, cpu_seconds)


def _alike(outcome: Outcome, other: Outcome) -> bool:
    """Whether the same messages were made in both forms; what is too large for its topic depends on the form."""
    if not isinstance(outcome, Processed) or not isinstance(other, Processed):
        return type(outcome) is type(other)
    reasons = {failed.reason for failed in (*outcome.failed, *other.failed)}
    return TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED in reasons or outcome.created == other.created


def raised(error: BaseException) -> str:
    """An error with the innermost frames of its traceback, for people."""
    frames = traceback.format_tb(error.__traceback__)
    return f"{type(error).__name__}: {str(error)[:300]}\n{''.join(frames[-4:])}"


# ---------------------------------------------------------------------------------------------------- what is promised


def _wrong(
    outcome: Outcome, case: Case, lookups: MappingContext, environment: Environment
) -> Iterator[tuple[str, str]]:
    """What is wrong with an outcome: a rule, and words for people."""
    match outcome:
        case Deferred():
            return
        case Rejected():
            if len(outcome.outputs) != 1:
                yield "OUTCOME", f"{len(outcome.outputs)} outputs of a record that cannot be read"
        case Processed():
            yield from _wrong_mapped(outcome, case.installation, environment)
    if outcome.record != case.record:
        yield "OUTCOME", "the outcome is of another record"
    limits = {topic.name: topic for topic in lookups.layout.outputs}
    for output in outcome.outputs:
        topic = limits[output.topic]
        if size_bytes(output) > topic.limit_bytes:
            yield "LIMIT", f"{size_bytes(output)} bytes for {topic.name}, which takes {topic.limit_bytes}"
        if not 0 <= output.partition < topic.partitions:
            yield "LIMIT", f"partition {output.partition} of {topic.name}, which has {topic.partitions}"
    yield from _unread(outcome, lookups)
    if crc32(case.name.encode()) % _NEIGHBOURS_EVERY == 0:
        yield from _neighbours(outcome, case, lookups)


def size_bytes(output: OutRecord) -> int:
    """Key, value and headers, counted here."""
    parts = (output.key, output.value, *(part for name, value in output.headers for part in (name.encode(), value)))
    return sum(len(part) for part in parts if part)


def _wrong_mapped(
    outcome: Processed, installation: Installation, environment: Environment
) -> Iterator[tuple[str, str]]:
    ended = [birth.status.templateId for birth in outcome.created]
    ended += [failed.templateId for failed in outcome.failed]
    ended += [skipped.templateId for skipped in outcome.skipped if skipped.templateId is not None]
    if ended:
        if tuple(sorted(ended)) not in installation.named_together:
            yield "LOST", f"no event has just these templates: {sorted(ended)}"
    elif not outcome.skipped:
        yield "LOST", "no template, and no decision"
    for skipped in outcome.skipped:
        if len(skipped.detail) > 1_000:
            yield "LIMIT", f"a detail of {len(skipped.detail)} characters"
    for birth in outcome.created:
        message, template = birth.message, environment.templates[birth.status.templateId]
        body = message.body or ""
        if (message.state is State.FAILED) != (message.failureReason is not None):
            yield "BODY", f"{template.id}: {message.state} with {message.failureReason}"
        if message.destination is None and message.state is not State.FAILED:
            yield "BODY", f"{template.id}: {message.state} without a destination"
        if template.type is Channel.SMS and len(body) > SMS_LIMIT_CHARACTERS and message.state is not State.FAILED:
            yield "BODY", f"{template.id}: an SMS of {len(body)} characters"
        if message.subject is not None and (len(message.subject) > 255 or len(message.subject.splitlines()) > 1):
            yield "BODY", f"{template.id}: subject {message.subject[:300]!r}"
        if problem := _unparsed(body, template.content_type):
            yield "BODY", f"{template.id}: no {template.content_type}: {problem}"
        if template.content_type is ContentType.HTML and template.id.startswith(GENERATED):
            foreign = LexborHTMLParser(body).css_first(FOREIGN_MARKUP)
            if foreign is not None:
                yield "BODY", f"{template.id}: an element that no template has: {(foreign.html or '')[:200]!r}"


def _unparsed(body: str, content: ContentType) -> str:
    """Why a body is not the document that it is meant to be; empty when it is."""
    try:
        if content is ContentType.JSON:
            json.loads(body, parse_constant=_refuse)
        elif content is ContentType.XML:
            ET.fromstring(body)  # noqa: S314  ours, without a document type
    except (ValueError, ET.ParseError, RecursionError) as error:
        return f"{error}: {body[:200]!r}"
    return ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _unread(outcome: Processed | Rejected, lookups: MappingContext) -> Iterator[tuple[str, str]]:
    """Outputs that a foreign reader cannot read, or that our own reads as something else."""
    layout = lookups.layout
    streams = {topic.name for topic in layout.streams.values()}
    read: dict[str, list[Any]] = {name: [] for name in (MESSAGE, STATUS, STREAM_EVENT, NOTIFICATION)}
    for output in outcome.outputs:
        if output.topic == layout.dead_letters.name:
            yield from _wrong_letter(output, outcome)
            continue
        name = STREAM_EVENT if output.topic in streams else {
            layout.messages.name: MESSAGE,
            layout.status.name: STATUS,
            layout.notifications.name: NOTIFICATION,
            layout.decisions.name: DECISION,
        }[output.topic]  # fmt: skip
        value = output.value or b""
        _read_by_others(value, output.headers, name, lookups)
        found = _READERS[name](value, output.headers, schemas=lookups.schemas)
        if name in read:
            read[name].append(found)
    if isinstance(outcome, Processed):
        created = outcome.created
        written = {
            MESSAGE: [birth.message for birth in created],
            STATUS: [birth.status for birth in created],
            STREAM_EVENT: [birth.stream_event for birth in created if birth.stream_event],
        }
        for name, values in written.items():
            if values != read[name]:
                yield "READ", f"{name} is read as something else"
        expected = len([birth for birth in created if birth.notification]) + len(outcome.discarded)
        if expected != len(read[NOTIFICATION]):
            yield "READ", f"{len(read[NOTIFICATION])} of {NOTIFICATION} for {expected}"


_READERS: Final[dict[str, Callable[..., Any]]] = {
    MESSAGE: message_of,
    STATUS: status_of,
    STREAM_EVENT: stream_event_of,
    NOTIFICATION: notification_of,
    DECISION: decision_of,
}


def _read_by_others(value: bytes, headers: Headers, name: str, lookups: MappingContext) -> None:
    """Read a value by a reader that is not ours; it raises what it cannot read."""
    if JSON_HEADERS[0] in headers:
        json.loads(value.decode(), parse_constant=_refuse)
        return
    stream = io.BytesIO(value)
    if stream.read(5) != lookups.schemas.outputs[name].frame:
        raise ValueError(f"no frame of {name}")
    schemaless_reader(stream, lookups.schemas.outputs[name].parsed, None)
    if stream.read():
        raise ValueError(f"bytes left over behind {name}")


def _wrong_letter(output: OutRecord, outcome: Processed | Rejected) -> Iterator[tuple[str, str]]:
    """A dead letter keeps the source: key, value and headers as they were, or it says how many bytes it left out."""
    letter = dead_letter_of(key=output.key, value=output.value, headers=output.headers)
    record = outcome.record
    whole = "dl.value_bytes" not in {name for name, _ in output.headers}
    if letter.place != record.place or letter.timestamp_ms != record.timestamp_ms:
        yield "LETTER", f"of {letter.place} at {letter.timestamp_ms}"
    if whole and (letter.key, letter.value, letter.headers) != (record.key, record.value, record.headers):
        yield "LETTER", "key, value or headers are not the source's"
    if len(letter.detail) > 1_000 or not letter.detail:
        yield "LETTER", f"a detail of {len(letter.detail)} characters"
    reason = outcome.reason if isinstance(outcome, Rejected) else Reason.TEMPLATE_FAILED
    if letter.reason is not reason:
        yield "LETTER", f"reason {letter.reason}, not {reason}"


def _neighbours(outcome: Processed | Rejected, case: Case, lookups: MappingContext) -> Iterator[tuple[str, str]]:
    """What a restart, a broker's refusal and an error make of the record: the same identity, dead letters in limits."""
    known = identify(case.record, lookups)
    if isinstance(outcome, Processed) and known is not None and known != (outcome.identity, outcome.time_ms):
        yield "WINDOW", f"{known} at a restart, {outcome.identity} at {outcome.time_ms} before it"
    letters: list[Outcome] = [
        refused_record(case.record, lookups, detail="the broker refused it", bare=bare) for bare in (False, True)
    ]
    letters.append(failed_record(case.record, lookups, ValueError("not said")))
    for letter in letters:
        if isinstance(letter, Rejected):
            (output,) = letter.outputs
            if size_bytes(output) > lookups.layout.dead_letters.limit_bytes:
                yield "LIMIT", f"a dead letter of {size_bytes(output)} bytes"
            yield from _wrong_letter(output, letter)


# ------------------------------------------------------------------------------------------------------------ counted


def _counted(outcome: Outcome, environment: Environment) -> Iterator[str]:
    """What became of a record, in words that are counted."""
    match outcome:
        case Deferred():
            yield "wait"
        case Rejected():
            yield f"dead letter {outcome.reason}"
        case Processed():
            yield "messages made" if outcome.created else "mapped, no message"
            for birth in outcome.created:
                template = environment.templates[birth.status.templateId]
                yield f"{template.type} {birth.message.failureReason or birth.message.state}"
                yield f"body {template.content_type}"
                yield f"rendered {template.id}"
            for skipped in outcome.skipped:
                yield f"decision {skipped.reason}"
            for failed in outcome.failed:
                yield f"failed {failed.reason}"
                if failed.reason not in (TemplateReason.TEMPLATE_SUSPENDED, TemplateReason.LOOKUP_MISSING):
                    yield f"rendered {failed.templateId}"
