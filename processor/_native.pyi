"""Types of `_native.pyx`."""

from collections.abc import Callable, Mapping
from typing import Any

from processor.domain.event import SeenEvent
from processor.domain.outcome import PlannedMessages, PlannedRun
from processor.domain.record import SourceRecord

VERSION: str
SCAN_OPERATIONS: Mapping[str, int]
TEXT_OPERATIONS: Mapping[str, int]
ESCAPES: Mapping[str, int]
OUTPUT_SOURCES: Mapping[str, int]
OUTPUT_ENCODINGS: Mapping[str, int]
CHECKS: Mapping[str, int]

def hex_digest_of(data: bytes) -> bytes: ...

class Slots:
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> bytes | None: ...

class NativeScan:
    def __init__(
        self,
        code: list[tuple[int, int, int, int]],
        slot_count: int,
        symbol_tables: list[bytes],
        readers: list[Callable[[bytes, int], int]],
    ) -> None: ...
    def __call__(self, data: bytes, at: int) -> Slots | None: ...

class NativeText:
    def __init__(
        self,
        before: bytes,
        operations: list[Any],
        currencies: Mapping[bytes, int],
        limit: int,
        refused: type[Exception],
    ) -> None: ...
    def __call__(self, slots: Slots) -> str | None: ...

class NativeOutputs:
    def __init__(self, programs: list[Any]) -> None: ...
    def write(
        self,
        slots: Any,
        key: bytes,
        body: str,
        subject: str | None,
        destination: str | None,
        cause: str | None,
        missing: bytes,
        recipient: str | None,
        topic: bytes,
        at: int,
        occurred: int,
        partition: int,
        offset: int,
    ) -> list[bytes]: ...

class NativeTemplate:
    def __init__(self, spec: Any) -> None: ...

class NativeEvent:
    def __init__(self, templates: list[NativeTemplate], key_slots: tuple[int, ...], make_made: Any) -> None: ...

class NativeEvents:
    def __init__(self, scan: NativeScan, spec: Any) -> None: ...
    def write(
        self,
        records: list[SourceRecord],
        first: int,
        run: PlannedRun,
        admit: Callable[[SeenEvent, PlannedMessages], bool],
        limit_bytes: int,
    ) -> None: ...
