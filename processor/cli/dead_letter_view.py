"""One dead letter, as a row, on a screen of its own, and as JSON; customers' data masked unless it is asked for."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from processor.domain.text import truncate_line
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.replay.dead_letters import DeadLetterEntry, StoredDeadLetter

_DETAIL_LIMIT_CHARACTERS: Final = 200
_FRAME_BYTES: Final = 5  # of a value: they say with which schema it was written, and are nobody's data
_BYTES_SHOWN: Final = 256
_SHOWN_HEADERS: Final = frozenset(("content-type", "traceparent"))  # what they hold is no customer's data


# ---------------------------------------------------------------------------------------------------------------------
# A line or an object among others


def minute_text(time_ms: int) -> str:
    """A time to the minute, UTC."""
    from processor.wire.json_codec import format_millis

    return format_millis(time_ms)[:16].replace("T", " ")


def place_text(entry: "DeadLetterEntry") -> str:
    """As --show takes it; of another topic's record, or one that cannot be read, where it is instead."""
    if entry.source is None:
        return f"dead letter {entry.partition}:{entry.offset}"
    place = f"{entry.source.partition}:{entry.source.offset}"
    return place if entry.is_of_events else f"{entry.source.topic} {place}"


def entry_as_json(entry: "DeadLetterEntry") -> dict[str, Any]:
    """What is kept of each dead letter."""
    from processor.wire.json_codec import format_millis

    return {
        "position": None if entry.source is None else entry.source._asdict(),
        "deadLetter": {"partition": entry.partition, "offset": entry.offset, "at": format_millis(entry.written_ms)},
        "isOfEvents": entry.is_of_events,
        "at": format_millis(entry.time_ms),
        "state": entry.state.value,
        "attempts": entry.attempts,
        "event": entry.event,
        "setVersion": entry.set_version,
        "valueBytesLeftOut": entry.value_bytes,
    }


def reason_text(stored: "StoredDeadLetter", *, masked: bool) -> str:
    """Reason and detail, cut."""
    from processor.replay.dead_letter_groups import NOT_READABLE

    detail = truncate_line(_detail(stored.reason, stored.detail, masked=masked), _DETAIL_LIMIT_CHARACTERS)
    left_out = stored.entry.value_bytes
    without = "" if left_out is None else f"\nwithout its value of {left_out} bytes"
    return f"{stored.reason or NOT_READABLE}: {detail}{without}"


def _detail(reason: str, detail: str, *, masked: bool) -> str:
    from processor.domain.masking import mask_detail

    return mask_detail(reason, detail) if masked else detail


def stored_as_json(stored: "StoredDeadLetter", *, masked: bool) -> dict[str, Any]:
    """The same with reasons and details, those of its templates too; nothing of the record itself."""
    letter = stored.letter
    failed = [
        {
            "templateId": each.templateId,
            "templateVersion": each.templateVersion,
            "reason": each.reason.value,
            "detail": _detail(each.reason, str(each.detail), masked=masked),
        }
        for each in (letter.failed if letter is not None else ())
    ]
    return {
        **entry_as_json(stored.entry),
        "reason": stored.reason or None,
        "detail": _detail(stored.reason, stored.detail, masked=masked),
        "failed": failed,
        "failedComplete": stored.entry.is_complete,
        "eventId": None if letter is None else letter.event_id,
    }


# ---------------------------------------------------------------------------------------------------------------------
# By itself


def print_one(stored: "StoredDeadLetter", event: str | None, *, masked: bool) -> None:
    """Print all of it; `event` is its value as JSON, None where its bytes give none."""
    from processor.domain.advice import TEMPLATE_ADVICE

    screen = Screen()
    for line in _one_lines(stored, masked=masked):
        screen.line(line)
    texts = (Column(heading, prose=True) for heading in ("why", "who acts", "worth another try"))
    listing = Listing((Column("template"), *texts), separated=True)
    for failed in stored.letter.failed if stored.letter is not None else ():
        detail = truncate_line(_detail(failed.reason, str(failed.detail), masked=masked), _DETAIL_LIMIT_CHARACTERS)
        advice = TEMPLATE_ADVICE[failed.reason]
        name = f"{failed.templateId} v{failed.templateVersion}"
        listing.add(name, f"{failed.reason}: {detail}", advice.who, advice.when)
    screen.listing(listing)
    for line in _value_lines(stored, event, masked=masked):
        screen.line(line, whole="\n" in line)  # JSON can be copied


def _one_lines(stored: "StoredDeadLetter", *, masked: bool) -> Iterator[str]:
    """The record and its dead letter, each fact a line."""
    from processor.domain.advice import ADVICE
    from processor.wire.json_codec import format_millis

    entry, letter = stored.entry, stored.letter
    name = "" if letter is None or letter.event is None else f": {letter.event} {letter.event_id}"
    yield f"{entry.source}, {format_millis(entry.time_ms)}{name}"
    written = f"dead letter {entry.partition}:{entry.offset} of {format_millis(entry.written_ms)}"
    by = "" if letter is None or letter.operation is None else f" by {letter.operation}"
    with_set = "" if entry.set_version is None else f", template set {entry.set_version}"
    yield f"{entry.state}, attempt {entry.attempts}; {written}{by}{with_set}"
    yield f"{stored.reason}: {_detail(stored.reason, stored.detail, masked=masked)}"
    if entry.reason is not None:
        yield f"who acts: {ADVICE[entry.reason].who}; worth another try {ADVICE[entry.reason].when}"
    if not entry.is_complete:
        yield "more templates failed, which had no room, so it is never done"
    if not entry.is_of_events:
        yield "no record of this partition of the events, so their outputs say nothing of it"


def _value_lines(stored: "StoredDeadLetter", event: str | None, *, masked: bool) -> Iterator[str]:
    """Key, headers and value; masked: what they are, and nothing that a customer or a producer wrote."""
    from processor.domain.placeholders import VALUE_MASK
    from processor.wire.event_json import indented_event, masked_event

    record, left_out = stored.record, stored.entry.value_bytes
    yield f"key {_shown_key(record.key, masked=masked)}"
    for name, value in record.headers:
        yield f"header {name}: {_shown_header(name, value, masked=masked)}"
    if left_out is not None:
        yield f"value: {left_out} bytes, for which the dead letter had no room; they lie at {stored.entry.source}"
    elif record.value is None:
        yield "value: null"
    elif event is not None:
        which = " ".join(
            value for value in masked_event(event).values() if isinstance(value, str) and value != VALUE_MASK
        )
        yield f"value: {len(record.value)} bytes of {which or 'no event that is known'}"
        yield "`--unmasked` shows it" if masked else indented_event(event)
    else:
        first = record.value[: _FRAME_BYTES if masked else _BYTES_SHOWN]
        yield f"value: {len(record.value)} bytes that are no JSON, and no Avro of a known schema; the first are"
        yield first.hex(" ")


def _shown_key(key: bytes | None, *, masked: bool) -> str:
    """An encodedKey, as most keys are, is no customer's data."""
    from processor.domain.placeholders import VALUE_MASK
    from processor.domain.record import ENCODED_KEY_PATTERN

    if key is None:
        return "null"
    text = key.decode(errors="backslashreplace")
    return text if not masked or ENCODED_KEY_PATTERN.fullmatch(text) else VALUE_MASK


def _shown_header(name: str, value: bytes | None, *, masked: bool) -> str:
    from processor.domain.placeholders import VALUE_MASK
    from processor.wire.framing import GUID_HEADER

    if value is None:
        return "null"
    if name == GUID_HEADER:
        return value.hex(" ")
    if masked and name.lower() not in _SHOWN_HEADERS:
        return VALUE_MASK
    return truncate_line(value.decode(errors="backslashreplace"), _DETAIL_LIMIT_CHARACTERS)


def one_as_json(stored: "StoredDeadLetter", event: str | None, *, masked: bool) -> str:
    """One line: what --list has of it, what to do, and what --export has of the record."""
    from processor.domain.advice import ADVICE
    from processor.replay.dead_letter_export import with_record
    from processor.wire.event_json import masked_event

    reason = stored.entry.reason
    advice = {} if reason is None else {"who": ADVICE[reason].who, "when": ADVICE[reason].when}
    fields = {**stored_as_json(stored, masked=masked), **advice}
    if masked:
        headers = [[name, _shown_header(name, value, masked=True)] for name, value in stored.record.headers]
        value = None if event is None else masked_event(event)
        return json.dumps(
            {**fields, "key": _shown_key(stored.record.key, masked=True), "headers": headers, "value": value}
        )
    return with_record(fields, stored, event)
