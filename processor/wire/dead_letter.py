"""Dead letters as records: the source as it was, and headers `dl.…` that say what is wrong with it. Pure."""

import json
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from processor.domain.message import DeadLetter, FailedTemplate
from processor.domain.operation import OPERATION_HEADER, OperationId
from processor.domain.outcome import DeadLetterOutcome
from processor.domain.output_topics import OutputTopic
from processor.domain.reasons import DETAIL_LIMIT_CHARACTERS, Reason, TemplateReason
from processor.domain.record import Headers, OutRecord, RecordPosition, TemplateId, Topic

DEAD_LETTER_VERSION: Final = "1"  #: Of the headers below; a reader that meets a higher one knows that some may be new.
_FAILED_LIMIT_BYTES: Final = 32 * 1024
_FIRST_HEADER: Final = "dl.reason"  #: Of a dead letter's own, at the last one of this name; the source's stand before.
_ATTEMPTS_LIMIT_DIGITS: Final = 6

# ---------------------------------------------------------------------------------------------------------------------
# To a record


def dead_letter_record(letter: DeadLetter, *, topic: OutputTopic, drop_value: bool = False) -> OutRecord:
    """The source's key, value and headers, untouched, and after them the headers `dl.…`, at last `operation` where a
    past operation writes it.

    `dl.failed` is JSON, cut to whole entries within 32 KiB; then `dl.failed_count` says how many there were. A record
    over the limit of `topic`, or with `drop_value`, goes without value and source headers, and `dl.value_bytes` says
    how long the value was; if its key alone is too long, without that too. A source that has been a dead letter (its
    own headers `dl.…` say so) keeps them, as all of its headers, and its attempts are counted on.
    """
    added = tuple(_headers(letter))
    operation = () if letter.operation is None else ((OPERATION_HEADER, letter.operation.encode()),)
    partition = letter.position.partition
    complete = OutRecord(topic.name, partition, letter.key, letter.value, (*letter.headers, *added, *operation))
    if complete.size_bytes <= topic.limit_bytes and not drop_value:
        return complete
    added = (*added, ("dl.value_bytes", str(len(letter.value or b"")).encode()), *operation)
    without_value = OutRecord(topic.name, partition, letter.key, None, added)
    if without_value.size_bytes <= topic.limit_bytes:
        return without_value
    return OutRecord(topic.name, partition, None, None, added)


def _headers(letter: DeadLetter) -> Iterable[tuple[str, bytes]]:
    failed, is_complete = _failed_json(letter.failed)
    attempts = max(letter.attempts, _attempts_before(letter.headers) + 1)
    texts: tuple[tuple[str, str | None], ...] = (
        (_FIRST_HEADER, letter.reason.value),
        ("dl.detail", letter.detail[:DETAIL_LIMIT_CHARACTERS]),
        ("dl.topic", letter.position.topic),
        ("dl.partition", str(letter.position.partition)),
        ("dl.offset", str(letter.position.offset)),
        ("dl.timestamp", str(letter.timestamp_ms)),
        ("dl.failed", failed),
        ("dl.attempts", str(attempts)),
        ("dl.version", DEAD_LETTER_VERSION),
        ("dl.failed_count", None if is_complete else str(len(letter.failed))),
        ("dl.event_id", letter.event_id),
        ("dl.event", letter.event),
        ("dl.set_version", letter.set_version),
        ("dl.occurred_at", None if letter.occurred_at_ms is None else str(letter.occurred_at_ms)),
    )
    return ((name, text.encode(errors="backslashreplace")) for name, text in texts if text is not None)


def _failed_json(failed: tuple[FailedTemplate, ...]) -> tuple[str, bool]:
    """The JSON list, and whether all of `failed` are in it."""
    entries: list[str] = []
    length = len("[]")
    for template in failed:
        entry = json.dumps(
            {
                "templateId": template.templateId,
                "templateVersion": template.templateVersion,
                "reason": template.reason,
                "detail": template.detail[:DETAIL_LIMIT_CHARACTERS],
            },
            separators=(",", ":"),
        )
        length += len(entry) + (1 if entries else 0)  # ASCII only, so characters are bytes
        if length > _FAILED_LIMIT_BYTES:
            return f"[{','.join(entries)}]", False
        entries.append(entry)
    return f"[{','.join(entries)}]", True


def _attempts_before(headers: Headers) -> int:
    """How often the source says it has been a dead letter already; 0 when it does not say so in a number."""
    text = next((value for name, value in reversed(headers) if name == "dl.attempts"), None) or b""
    return int(text) if text.isdigit() and len(text) <= _ATTEMPTS_LIMIT_DIGITS else 0


# ---------------------------------------------------------------------------------------------------------------------
# And back


def read_dead_letter(*, key: bytes | None, value: bytes | None, headers: Headers) -> DeadLetter:
    """The dead letter of a record of `communications.dead-letters`. `omitted_value_bytes` says whether `value` is the
    source's.

    Reasons of a newer version are OTHER, their word in front of the detail. ValueError when it is not such a record.
    """
    start = _start(headers)
    if start is None:
        raise ValueError(f"not a dead letter: no header {_FIRST_HEADER}")
    try:
        texts = {name: (text or b"").decode() for name, text in headers[start:]}
        reason, detail = _enum_or_other(Reason, texts[_FIRST_HEADER], texts["dl.detail"])
        return DeadLetter(
            position=RecordPosition(Topic(texts["dl.topic"]), int(texts["dl.partition"]), int(texts["dl.offset"])),
            timestamp_ms=int(texts["dl.timestamp"]),
            key=key,
            value=value,
            headers=headers[:start],
            reason=reason,
            detail=detail,
            failed=tuple(map(_failed_template, json.loads(texts["dl.failed"]))),
            attempts=int(texts["dl.attempts"]),
            event_id=texts.get("dl.event_id"),
            event=texts.get("dl.event"),
            set_version=texts.get("dl.set_version"),
            occurred_at_ms=int(texts["dl.occurred_at"]) if "dl.occurred_at" in texts else None,
            operation=OperationId(texts[OPERATION_HEADER]) if OPERATION_HEADER in texts else None,
        )
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"not a dead letter: {type(error).__name__}: {error}") from error


def dead_letter_outcome(headers: Headers) -> DeadLetterOutcome:
    """What a dead letter says of its source. ValueError when it is no dead letter."""
    letter = read_dead_letter(key=None, value=None, headers=headers)
    names = {name for name, _ in headers[len(letter.headers) :]}  # its own, not the source's
    return DeadLetterOutcome(
        letter.position,
        letter.timestamp_ms if letter.occurred_at_ms is None else letter.occurred_at_ms,
        letter.event_id,
        letter.event,
        letter.set_version,
        letter.operation,
        reason=letter.reason,
        detail=letter.detail,
        failed=letter.failed,
        is_complete="dl.failed_count" not in names,
        attempts=letter.attempts,
        has_value="dl.value_bytes" not in names,
    )


def omitted_value_bytes(headers: Headers) -> int | None:
    """The length of the value that a dead letter had to leave out; None: the value is there as it was."""
    start = _start(headers)
    own_headers = () if start is None else headers[start:]
    return next((int(text or b"0") for name, text in own_headers if name == "dl.value_bytes"), None)


def _start(headers: Headers) -> int | None:
    """Where the dead letter's own headers begin; None where there are none."""
    return max((index for index, (name, _) in enumerate(headers) if name == _FIRST_HEADER), default=None)


def _failed_template(entry: dict[str, Any]) -> FailedTemplate:
    reason, detail = _enum_or_other(TemplateReason, entry["reason"], entry["detail"])
    return FailedTemplate(
        templateId=TemplateId(entry["templateId"]),
        templateVersion=entry["templateVersion"],
        reason=reason,
        detail=detail,
    )


_R = TypeVar("_R", Reason, TemplateReason)


def _enum_or_other(enum: type[_R], word: str, detail: str) -> tuple[_R, str]:
    try:
        return enum(word), detail
    except ValueError:
        return enum("OTHER"), f"{word}: {detail}"
