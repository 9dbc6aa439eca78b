"""Values that are made by the thousand: as a frozen dataclass, but read-only for mypy alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(*, kw_only: bool = False) -> Callable[[type[_Class]], type[_Class]]:
    """A dataclass with slots, equal and hashed by its fields, that mypy takes for a frozen one.

    Not frozen at run time: that costs a call of `object.__setattr__` for each field of each value that is made. For
    values that are made for each event, or for each output that is read back; others are
    `@dataclass(frozen=True, slots=True)`. Only `__post_init__` sets a field, one that is not in `__init__`, under a
    `type: ignore`: unused it fails the lint, so each of them also shows that mypy still refuses what it has to.
    """
    return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)
