"""How plans read an event of which no `fields` were made: for each path a function of the event's slots. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, Protocol

from processor.domain.event import value_at
from processor.domain.placeholders import PlaceholderType
from processor.domain.template import CustomField
from processor.mapping.values import custom_field_value, text_of
from processor.native import NativePart
from processor.wire.scan_program import Leaf

Slots = Any
"""What a scan keeps of one event. Opaque: only the functions that the same scan gave can read it."""

Path = tuple[str, ...]

ReadValue = Callable[[Slots], Any]
"""Gives a value as `domain.event.value_at` does: str, Decimal, date, datetime, int, bool, list, dict or None."""

ReadText = Callable[[Slots], str | None]
"""Gives a text as `mapping.values.text_of` writes it, not escaped; None: the value is missing."""

RECIPIENT: Final = "recipient"
"""The first step of a path to what `mapping/recipient.py` derives from an event; no event has such a field."""


class PlanValues(Protocol):
    """The values of one family's events. A path that leads nowhere gives functions that give None.

    A scan has to know what is read of an event, so both are called while a plan is made, never when it runs.
    """

    def value(self, path: Path) -> ReadValue:
        """What `path` leads to. Of a record it is a dict, as the event's fields have it; so are ("customFields",)."""

    def text(self, path: Path, kind: PlaceholderType, currencies: tuple[Path, ...]) -> ReadText:
        """The same as a text of type `kind`, which is no table. `currencies` as in `FieldPath`."""

    def leaf(self, path: Path) -> Leaf | None:
        """Where a scan keeps the value; None: it is not all there is of one slot."""

    @property
    def native(self) -> NativePart | None:
        """What runs in C over the slots; None: nothing does."""


def give_none(_slots: Slots) -> None:
    """Reads what no event has."""


def read_custom_field(field: CustomField, values: PlanValues) -> ReadValue:
    """The value of a custom field, as `mapping.values.custom_value` gives it."""
    read = values.value(("customFields",))
    return lambda slots: custom_field_value(field, read(slots))


def first_of(readers: Sequence[ReadValue]) -> ReadValue:
    """The first value that is there of those that `readers` give; None without one."""
    match readers:
        case []:
            return give_none
        case [read]:
            return read

    def read_first(slots: Slots) -> Any:
        for read in readers:
            value = read(slots)
            if value is not None:
                return value
        return None

    return read_first


@dataclass(frozen=True, slots=True)
class RecipientValues:
    """`values`, and those of the recipient, whose record `record` leads to.

    `fields` has the name in that record of each of the recipient's fields; what it lacks, the recipient lacks.
    """

    values: PlanValues
    record: Path = ()
    fields: Mapping[str, str] = field(default_factory=dict)

    def value(self, path: Path) -> ReadValue:
        """As PlanValues has it."""
        found = self._find(path)
        return give_none if found is None else self.values.value(found)

    def text(self, path: Path, kind: PlaceholderType, currencies: tuple[Path, ...]) -> ReadText:
        """As PlanValues has it."""
        found = self._find(path)
        return give_none if found is None else self.values.text(found, kind, currencies)

    def leaf(self, path: Path) -> Leaf | None:
        """As PlanValues has it."""
        found = self._find(path)
        return None if found is None else self.values.leaf(found)

    @property
    def native(self) -> NativePart | None:
        """As PlanValues has it."""
        return self.values.native

    def _find(self, path: Path) -> Path | None:
        if path[0] != RECIPIENT:
            return path
        _, name, *rest = path
        return (*self.record, self.fields[name], *rest) if name in self.fields else None


@dataclass(frozen=True, slots=True)
class FoundRecipientValues:
    """`values`, and those of a recipient who is found in a list when a plan runs.

    Its slots are pairs: those of `values`, and the recipient's `fields`.
    """

    values: PlanValues
    time_zone: tzinfo

    def value(self, path: Path) -> ReadValue:
        """As PlanValues has it."""
        if path[0] == RECIPIENT:
            rest = path[1:]
            return lambda pair: value_at(rest, pair[1])
        read = self.values.value(path)
        return lambda pair: read(pair[0])

    def text(self, path: Path, kind: PlaceholderType, currencies: tuple[Path, ...]) -> ReadText:
        """As PlanValues has it. No field of a recipient is money."""
        if path[0] != RECIPIENT:
            read = self.values.text(path, kind, currencies)
            return lambda pair: read(pair[0])
        rest, time_zone = path[1:], self.time_zone

        def read_recipient(pair: Slots) -> str | None:
            value = value_at(rest, pair[1])
            return None if value is None else text_of(value, kind, currency=None, time_zone=time_zone)

        return read_recipient

    def leaf(self, _path: Path) -> None:
        """As PlanValues has it."""

    @property
    def native(self) -> None:
        """Nothing: these slots are pairs."""
