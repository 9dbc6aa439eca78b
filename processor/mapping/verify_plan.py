"""What a plan made, held against what the reference makes of the same record. Pure.

A difference says which parts differ, in a few fixed words, never what is in them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from processor.domain.event import Event, SourceEvent
from processor.domain.outcome import Processed, TemplateResult
from processor.domain.record import OutRecord, TemplateId
from processor.wire.decode import DecodeFailure

_GOLDEN_RATIO: Final = 0x9E37_79B9_7F4A_7C15  # of 2^64: the multiples of what is near it are spread most evenly
_OFFSETS: Final = 2**64
_EVENT_PARTS: Final = ("id", "name", "tenant", "correlation_id", "ordering_key", "occurred_at_ms")
_MESSAGE_PARTS: Final = (
    *("template_id", "template_version", "channel", "encoded_key", "event_id", "time_ms", "destination", "replaced"),
)
_OUTPUT_PARTS: Final = ("partition", "key", "value", "headers")


@dataclass(frozen=True, slots=True)
class Sample:
    """A `share` (0 to 1) of all offsets, the same ones in each partition and each time; spread evenly, so that none of
    several kinds of events that take turns in a topic is left out."""

    share: float
    _end: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_end", int(self.share * _OFFSETS))

    def includes(self, offset: int) -> bool:
        """Whether the record at `offset` is one of them."""
        return offset * _GOLDEN_RATIO % _OFFSETS < self._end


def event_differences(scanned: SourceEvent, event: Event | DecodeFailure) -> tuple[str, ...]:
    """Which parts of an event that was scanned are others than those that were read."""
    if isinstance(event, DecodeFailure):
        return ("an event in place of a dead letter",)
    return tuple(f"event {part}" for part in _EVENT_PARTS if getattr(scanned, part) != getattr(event, part))


def outcome_differences(planned: Processed, reference: Processed) -> tuple[tuple[TemplateId, ...], tuple[str, ...]]:
    """Of which templates a plan made something else than the reference, and which parts differ."""
    if len(planned.results) != len(reference.results):
        return (), ("number of results",)
    by_template: dict[TemplateId | None, tuple[str, ...]] = {}
    for ours, theirs in zip(planned.results, reference.results, strict=True):
        if parts := tuple(_differing_parts(ours, theirs)):
            by_template[_template_of(theirs)] = parts
    of_record = [
        part
        for name in ("decision", "dead_letter")
        for part in _differing_outputs(_present(getattr(planned, name)), _present(getattr(reference, name)))
    ]
    templates = tuple(template for template in by_template if template is not None)
    return templates, tuple(dict.fromkeys([*chain.from_iterable(by_template.values()), *of_record]))


def _template_of(result: TemplateResult) -> TemplateId | None:
    """None: the result is of the whole record."""
    if result.message is not None:
        return result.message.template_id
    of = result.skipped or result.failed
    return None if of is None else of.templateId


def _present(output: OutRecord | None) -> tuple[OutRecord, ...]:
    return () if output is None else (output,)


def _differing_parts(planned: TemplateResult, reference: TemplateResult) -> Iterator[str]:
    kind, expected = _kind(planned), _kind(reference)
    if kind != expected:
        yield f"a {kind} in place of a {expected}"
        return
    for part in _MESSAGE_PARTS if kind == "message" else ():
        if getattr(planned.message, part) != getattr(reference.message, part):
            yield f"message {part}"
    for part in ("skipped", "failed", "missing"):
        if getattr(planned, part) != getattr(reference, part):
            yield part
    yield from _differing_outputs(planned.outputs, reference.outputs)


def _kind(result: TemplateResult) -> str:
    if result.message is not None:
        return "message"
    return "failure" if result.skipped is None else "decision"


def _differing_outputs(planned: Sequence[OutRecord], reference: Sequence[OutRecord]) -> Iterator[str]:
    if [output.topic for output in planned] != [output.topic for output in reference]:
        yield "topics of outputs"
        return
    for ours, theirs in zip(planned, reference, strict=True):
        for part in _OUTPUT_PARTS:
            if getattr(ours, part) != getattr(theirs, part):
                yield f"{part} in {theirs.topic}"
