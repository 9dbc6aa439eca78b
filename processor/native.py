"""The part of the program that is written in C (`_native.pyx`), which runs the programs of plans. It may not be there:
it was not built, or for another Python.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from processor._native import NativeEvent, NativeEvents, NativeOutputs, NativeScan, NativeTemplate, NativeText

    NativeParts = tuple[NativeText, NativeText | None, NativeText | None]
else:
    NativeEvent = NativeEvents = NativeOutputs = NativeParts = NativeScan = NativeTemplate = NativeText = Any


__all__ = [
    "NATIVE",
    "WHY_NOT_NATIVE",
    "NativeEvent",
    "NativeEvents",
    "NativeOutputs",
    "NativePart",
    "NativeParts",
    "NativeScan",
    "NativeTemplate",
    "NativeText",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NativePart:
    """What it has: constructors (their docstrings are in `_native.pyx`), and its names for operations.

    `version` is that of the program that it was built with.
    """

    version: str
    make_scan: Callable[..., NativeScan]
    scan_operations: Mapping[str, int]
    make_text: Callable[..., NativeText]
    text_operations: Mapping[str, int]
    escapes: Mapping[str, int]
    make_outputs: Callable[[list[Any]], NativeOutputs]
    output_sources: Mapping[str, int]
    output_encodings: Mapping[str, int]
    make_template: Callable[[Any], NativeTemplate]
    make_event: Callable[..., NativeEvent]
    make_events: Callable[..., NativeEvents]
    checks: Mapping[str, int]


def _load() -> tuple[NativePart | None, str]:
    try:
        from processor import _native  # noqa: PLC0415  it may not be there
    except ImportError as error:
        return None, str(error)
    part = NativePart(
        version=_native.VERSION,
        make_scan=_native.NativeScan,
        scan_operations=_native.SCAN_OPERATIONS,
        make_text=_native.NativeText,
        text_operations=_native.TEXT_OPERATIONS,
        escapes=_native.ESCAPES,
        make_outputs=_native.NativeOutputs,
        output_sources=_native.OUTPUT_SOURCES,
        output_encodings=_native.OUTPUT_ENCODINGS,
        make_template=_native.NativeTemplate,
        make_event=_native.NativeEvent,
        make_events=_native.NativeEvents,
        checks=_native.CHECKS,
    )
    return part, ""


_LOADED: Final = _load()
NATIVE: Final = _LOADED[0]
WHY_NOT_NATIVE: Final = _LOADED[1]
"""Why NATIVE is None, for people."""
