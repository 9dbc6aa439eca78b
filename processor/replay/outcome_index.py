"""What became of each source offset of a range, in two bytes an offset: what a replay finds missing is read from it.

A record that `run` mapped had all templates of one set, so its set and its event say which of them had their outcome.
What a past operation adds is for single templates: a bit for each offset and template. What was decided for one of the
reasons that an operator names has a bit too.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from processor.domain.record import EventName, TemplateId
from processor.errors import InputError

_MAX_KINDS: Final = 65_536  # of outcomes that two bytes tell apart, "none" among them


@dataclass(frozen=True, slots=True)
class MappedWith:
    """The template set that a record was mapped with, and its event. `event` is None where the outcome is the record's
    own, whatever templates there are: rejected, empty, of another tenant, a duplicate, or already created.
    `is_partial`: a past operation, which may have applied only some templates of the set. `is_rejected`: the record was
    a dead letter as a whole, and may have been redriven since."""

    set_version: str | None
    event: EventName | None
    is_partial: bool = False
    is_rejected: bool = False


REJECTED: Final = MappedWith(None, None, is_rejected=True)

_Kind = frozenset[MappedWith]
"""With what a record was mapped: once, again after its position was set back, or by past operations."""


class _Bits:
    """A bit for each offset."""

    def __init__(self, count: int) -> None:
        self._bytes = bytearray((count + 7) // 8)

    def set(self, index: int) -> None:
        self._bytes[index >> 3] |= 1 << (index & 7)

    def clear(self, index: int) -> None:
        self._bytes[index >> 3] &= ~(1 << (index & 7)) & 0xFF

    def is_set(self, index: int) -> bool:
        return bool(self._bytes[index >> 3] >> (index & 7) & 1)


class OutcomeIndex:
    """The outcomes of the records at offsets [first, end) of one partition; what lies outside is ignored.

    Needs two bytes for each offset, and an eighth of one for each offset of a template that is added or decided.
    """

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = max(first, end)
        self._kinds: list[_Kind] = [frozenset()]
        self._whole: list[_Kind] = [frozenset()]  # the parts of _kinds that are not partial
        self._numbers: dict[_Kind, int] = {self._kinds[0]: 0}
        self._single: dict[MappedWith, int] = {}
        self._kind_of = array("H", bytes(2 * (self.end - first)))
        self._added: dict[TemplateId, _Bits] = {}
        self._decided: dict[TemplateId, _Bits] = {}
        self._created: dict[TemplateId, _Bits] = {}
        self._reissued: dict[TemplateId, _Bits] = {}

    def add_mapped(self, offset: int, mapped_with: MappedWith) -> None:
        """Note an outcome that the record at `offset` got. InputError for more kinds of outcomes than fit."""
        index = offset - self.first
        if not 0 <= index < len(self._kind_of):
            return
        before = self._kind_of[index]
        number = self._single.get(mapped_with, 0)
        if before and before == number:
            return
        if before or not number:
            number = self._number_of(self._kinds[before] | {mapped_with})
        self._kind_of[index] = number

    def add_template(self, offset: int, template: TemplateId) -> None:
        """Note that a past operation gave the record at `offset` the outcome of one template."""
        self._set(self._added, offset, template)

    def add_created(self, offset: int, template: TemplateId) -> None:
        """Note that `template` created a message of the record. Noted for a reissue alone, which is for these."""
        self._set(self._created, offset, template)

    def add_reissued(self, offset: int, template: TemplateId) -> None:
        """Note that the reissue that goes on has created its message of the record."""
        self._set(self._reissued, offset, template)

    def add_decided(self, offset: int, template: TemplateId) -> None:
        """Note that `template` made no message of the record, for one of the reasons that the operator names.

        To be noted for all records before any `withdraw_decided`.
        """
        self._set(self._decided, offset, template)

    def withdraw_decided(self, offset: int, template: TemplateId) -> None:
        """Note that `template` made a message of the record, or failed: whatever was decided, that stands."""
        index = offset - self.first
        if template in self._decided and 0 <= index < len(self._kind_of):
            self._decided[template].clear(index)

    def mapped_with(self, offset: int) -> frozenset[MappedWith]:
        """What the record at `offset`, which is in the range, was mapped with by `run`; empty when it was not."""
        return self._whole[self._kind_of[offset - self.first]]

    def partly_mapped_with(self, offset: int) -> frozenset[MappedWith]:
        """The same for past operations, each of which may have applied only some of its set's templates."""
        number = self._kind_of[offset - self.first]
        return self._kinds[number] - self._whole[number]

    def has_template(self, offset: int, template: TemplateId) -> bool:
        """Whether a past operation gave the record the outcome of `template`."""
        return self._is_set(self._added, offset, template)

    def decided(self, offset: int) -> frozenset[TemplateId]:
        """The templates whose decision on the record stands, and is one that the operator names."""
        index = offset - self.first
        return frozenset(template for template, bits in self._decided.items() if bits.is_set(index))

    def to_be_reissued(self, offset: int) -> frozenset[TemplateId]:
        """The templates that created a message of the record, and have none of the reissue that goes on."""
        created = {template for template in self._created if self._is_set(self._created, offset, template)}
        return frozenset(template for template in created if not self._is_set(self._reissued, offset, template))

    def has_outcome(self, offset: int) -> bool:
        """Whether `run` or a past operation gave the record any outcome."""
        index = offset - self.first
        return self._kind_of[index] != 0 or any(bits.is_set(index) for bits in self._added.values())

    def kinds(self) -> Iterator[MappedWith]:
        """What any record of the range was mapped with."""
        return iter(frozenset().union(*self._kinds))

    def _number_of(self, kind: _Kind) -> int:
        number = self._numbers.get(kind)
        if number is None:
            number = len(self._kinds)
            if number == _MAX_KINDS:
                raise InputError(
                    f"offsets {self.first} to {self.end - 1} were mapped with more than {_MAX_KINDS - 1} pairs of "
                    "template set and event",
                    hint="take a smaller range",
                )
            self._kinds.append(kind)
            self._whole.append(frozenset(mapped for mapped in kind if not mapped.is_partial))
            self._numbers[kind] = number
            if len(kind) == 1:
                self._single[next(iter(kind))] = number
        return number

    def _set(self, bits: dict[TemplateId, _Bits], offset: int, template: TemplateId) -> None:
        index = offset - self.first
        if 0 <= index < len(self._kind_of):
            bits.setdefault(template, _Bits(len(self._kind_of))).set(index)

    def _is_set(self, bits: dict[TemplateId, _Bits], offset: int, template: TemplateId) -> bool:
        return template in bits and bits[template].is_set(offset - self.first)
