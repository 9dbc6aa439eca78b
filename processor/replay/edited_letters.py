"""Dead letters that a person has exported and corrected: read back, and compared with what they were.

What is corrected has to stay the same event: its id, tenant and ordering key may not change where they could be read,
or a correction would be an event that never happened, beside the one that has its place in the log.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from processor.domain.catalogue import EVENTS, ordering_key
from processor.domain.event import Event
from processor.domain.record import EventName, Headers, RecordPosition, SourceRecord, Topic
from processor.errors import InputError, UsageError
from processor.files import UnfitError, file_bytes
from processor.replay.dead_letter_export import BASE64
from processor.replay.dead_letters import StoredDeadLetter
from processor.wire.decode import DecodeFailure, event_from_parsed
from processor.wire.encode import encode_event
from processor.wire.errors import ContentError
from processor.wire.framing import GUID_HEADER
from processor.wire.json_codec import parse_json
from processor.wire.reader_schemas import Schemas
from processor.wire.unknown_fields import UnknownField, unknown_fields
from processor.wire.wire_format import WireFormat

MAX_ERRORS_SHOWN: Final = 20
MAX_CHANGED_FIELDS: Final = 100
_FORMAT_HEADERS: Final = ("content-type", GUID_HEADER)  # they say how the value was written; it is JSON now


@dataclass(frozen=True, slots=True)
class EditedLetter:
    """One line: the record as it is to be read now. `event` is `value` decoded, `parsed` its JSON."""

    line: int
    position: RecordPosition
    key: bytes | None
    headers: Headers
    value: bytes
    event: Event
    parsed: Any

    def of(self, record: SourceRecord) -> SourceRecord:
        """`record` with what was corrected."""
        return SourceRecord(self.position, record.timestamp_ms, self.key, self.value, self.headers, "", record.attempt)


@dataclass(frozen=True, slots=True)
class EditedLetters:
    """The lines of a file. `digest` is of its bytes; `unknown` are fields that no schema has, with their lines."""

    by_position: Mapping[RecordPosition, EditedLetter]
    digest: str
    unknown: Mapping[UnknownField, int]


def read_edited(file: Path, schemas: Schemas) -> EditedLetters:
    """Read a file of exported lines. UsageError for a file that cannot be read, or with lines that are none, or no
    event: the first of them, each with its reason."""
    try:
        data = file_bytes(file)
    except (OSError, UnfitError) as error:
        raise UsageError(f"{file} {getattr(error, 'strerror', None) or error}") from error
    letters: dict[RecordPosition, EditedLetter] = {}
    unknown: dict[UnknownField, int] = {}
    errors: list[str] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            letter = _parse_line(number, line, schemas)
        except ContentError as error:
            errors.append(f"{file}:{number}: {error.detail}")
            continue
        if letter.position in letters:
            errors.append(f"{file}:{number}: {letter.position} stands in line {letters[letter.position].line} already")
        letters[letter.position] = letter
        for field in unknown_fields(letter.parsed, schemas):
            unknown.setdefault(field, number)
    if errors:
        raise UsageError(
            _first_of(errors, "more lines"),
            hint="nothing was written; correct these lines, or leave them out: what is left out stays open",
        )
    if not letters:
        raise UsageError(f"{file} has no lines", hint="`processor dead-letters --export FILE --unmasked` writes them")
    return EditedLetters(letters, blake2b(data, digest_size=16).hexdigest(), unknown)


def compare_edited(edited: EditedLetters, stored: Iterable[tuple[StoredDeadLetter, str | None]]) -> tuple[str, ...]:
    """The names of what was changed, in any of the letters, at most a hundred: paths of fields, `key`, `headers`.

    `stored` are the dead letters at the places of the lines, with their event as JSON where the bytes give one. Raises
    InputError for a line that is another event, or has no dead letter.
    """
    errors: list[str] = []
    changed: dict[str, None] = {}
    found = set[RecordPosition]()
    for letter, original in stored:
        line = edited.by_position[letter.record.position]
        found.add(line.position)
        errors += [f"line {line.line}, {line.position}: {error}" for error in _other_event(line, letter, original)]
        for name in _changed(line, letter, original):
            changed.setdefault(name)
    errors += [
        f"line {line.line}, {line.position}: there is no dead letter of this record"
        for line in edited.by_position.values()
        if line.position not in found
    ]
    if errors:
        raise InputError(
            _first_of(errors, "more"),
            hint="nothing was written; a correction may change all but event id, tenant and ordering key",
        )
    return tuple(changed)[:MAX_CHANGED_FIELDS]


def _first_of(errors: Sequence[str], rest: str) -> str:
    """The first errors, each on its line, and how many more there are, which `rest` names."""
    more = [f"and {len(errors) - MAX_ERRORS_SHOWN} {rest}"] if len(errors) > MAX_ERRORS_SHOWN else []
    return "\n".join([*errors[:MAX_ERRORS_SHOWN], *more])


def _parse_line(number: int, line: bytes, schemas: Schemas) -> EditedLetter:
    """ContentError for what is no line of an export, or holds no event."""
    match parse_json(line):
        case {
            "position": {"topic": str() as topic, "partition": partition, "offset": offset},
            "value": value,
        } as fields:
            if fields.get("valueEncoding") == BASE64 or value is None:
                raise ContentError("value is not corrected yet: an event as a JSON object is wanted")
        case _:
            raise ContentError("not a line of `processor dead-letters --export`: position or value is missing")
    event = event_from_parsed(value, schemas)
    if isinstance(event, DecodeFailure):
        raise ContentError(f"value: {event.reason}: {event.detail}")
    data, format_headers = encode_event(event.fields, schemas, format=WireFormat.JSON)
    headers = tuple(
        (name, text) for name, text in _headers(fields.get("headers")) if name.lower() not in _FORMAT_HEADERS
    )
    position = RecordPosition(Topic(topic), _number(partition), _number(offset))
    return EditedLetter(number, position, _bytes(fields.get("key")), (*headers, *format_headers), data, event, value)


def _number(value: Any) -> int:
    try:
        return int(value.text)
    except (AttributeError, ValueError):
        raise ContentError("position: partition and offset are whole numbers") from None


def _bytes(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case {"base64": str() as text}:
            try:
                return b64decode(text, validate=True)
            except ValueError:
                raise ContentError("not base64") from None
        case _:
            raise ContentError("key and headers are text, or base64 in an object")


def _headers(value: Any) -> Iterator[tuple[str, bytes | None]]:
    for pair in value or ():
        match pair:
            case [str() as name, text]:
                yield name, _bytes(text)
            case _:
                raise ContentError("headers are pairs of a name and a value")


def _other_event(line: EditedLetter, letter: StoredDeadLetter, original: str | None) -> Iterator[str]:
    """What says that a line is another event than the dead letter."""
    fields = _parsed(original)
    event_id = fields.get("eventId")
    if isinstance(event_id, str) and event_id.lower() != line.event.id:
        yield "it has another event id"
    if isinstance(fields.get("tenant"), str) and fields["tenant"] != line.event.tenant:
        yield "it has another tenant"
    key = _ordering_key(fields)
    if key is None and letter.record.key is not None and letter.record.key == line.key:
        key = letter.record.key.decode(errors="replace")
    if key is not None and key != line.event.ordering_key:
        yield f"its ordering key was {key!r}"


def _ordering_key(fields: Mapping[str, Any]) -> str | None:
    """Of an event's JSON; None where it cannot be read."""
    name = fields.get("event")
    if not isinstance(name, str) or name not in EVENTS:
        return None
    try:
        return ordering_key(EventName(name), fields)
    except ValueError:
        return None


def _parsed(original: str | None) -> Mapping[str, Any]:
    value = {} if original is None else parse_json(original.encode())
    return value if isinstance(value, dict) else {}


def _changed(line: EditedLetter, letter: StoredDeadLetter, original: str | None) -> Iterator[str]:
    yield from _different_paths(_parsed(original), line.parsed, "")
    if line.key != letter.record.key:
        yield "key"
    before = [pair for pair in letter.record.headers if pair[0].lower() not in _FORMAT_HEADERS]
    if before != [pair for pair in line.headers if pair[0].lower() not in _FORMAT_HEADERS]:
        yield "headers"


def _different_paths(before: Any, after: Any, path: str) -> Iterator[str]:
    """Paths of what differs, as in `client.encodedKey`; a list counts as a whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            yield from _different_paths(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif before != after:
        yield path
