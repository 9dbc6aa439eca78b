"""The fields of outputs in Avro, by scan programs, where many were written with the same schema. Pure."""

from collections.abc import Callable
from typing import Any, Final

from processor.wire.errors import ContentError
from processor.wire.framing import FRAME_BYTES
from processor.wire.scan_program import Path, ScanProgram, scan_program
from processor.wire.schema import Record, Type
from processor.wire.slot_values import Scan, Slots, value_reader

VALUES_BEFORE_SCAN: Final = 1_000
"""Values of a writer's schema that `read_avro` reads before a program is made, which takes as long as to read these."""
MAX_SCHEMAS: Final = 8
"""Writers' schemas whose values are counted, and that have a program: as many as there are versions, at most."""

MakeScan = Callable[[ScanProgram], Scan]
"""An executor of scan programs: `plain_scan`, or `native_scan` with its native part."""

_ReadFields = Callable[[bytes], dict[str, Any] | None]


class FieldsScanner:
    """Reads values with a frame: what `read_avro` gives of each, in less time. Not thread-safe."""

    def __init__(self, reader: Record, writer_of: Callable[[bytes], Type], make_scan: MakeScan) -> None:
        """`writer_of` gives the writer's schema of a value; ContentError where it has none."""
        self._reader = reader
        self._writer_of = writer_of
        self._make_scan = make_scan
        self._counts: dict[bytes, int] = {}  # of values, by their frame
        self._readers: dict[bytes, _ReadFields] = {}

    def read(self, value: bytes) -> dict[str, Any] | None:
        """The fields; None, refused: they are to be read by `read_avro`, which says what is wrong where they cannot be.
        Raises what else `writer_of` raises."""
        frame = value[:FRAME_BYTES]
        read = self._readers.get(frame)
        if read is not None:
            return read(value)
        if frame not in self._counts and len(self._counts) >= MAX_SCHEMAS:
            self._counts.clear()  # a topic may hold what names a new schema with each record
        self._counts[frame] = self._counts.get(frame, 0) + 1
        if self._counts[frame] > VALUES_BEFORE_SCAN and len(self._readers) < MAX_SCHEMAS:
            self._readers[frame] = self._make_reader(value)
        return None

    def _make_reader(self, value: bytes) -> _ReadFields:
        try:
            writer = self._writer_of(value)
        except ContentError:
            return _refuse
        try:
            return fields_reader(writer, self._reader, self._make_scan)
        except Exception:  # whatever it is: `read_avro` reads them
            return _refuse


def _refuse(_value: bytes) -> None:
    """Of a schema that has no program."""


def fields_reader(writer: Type, reader: Record, make_scan: MakeScan) -> _ReadFields:
    """What reads values of `writer`, each with a frame, as `reader`; it gives None for what is refused.
    NotPlannedError as `scan_program`."""
    program = scan_program(writer, reader, _paths(reader, ()))
    scan, read_record = make_scan(program), _record_reader(reader, (), program)

    def read(value: bytes) -> dict[str, Any] | None:
        slots = scan(value, FRAME_BYTES)
        return None if slots is None else read_record(slots)

    return read


def _paths(type_: Type, path: Path) -> list[Path]:
    """The paths of all values below records that are never null. A list, a map, or what may be null is one value."""
    if not isinstance(type_, Record):
        return [path]
    return [inner for field in type_.fields for inner in _paths(field.type, (*path, field.name))]


def _record_reader(record: Record, path: Path, program: ScanProgram) -> Callable[[Slots], dict[str, Any]]:
    readers = [(field.name, _reader(field.type, (*path, field.name), program)) for field in record.fields]
    return lambda slots: {name: read(slots) for name, read in readers}


def _reader(type_: Type, path: Path, program: ScanProgram) -> Callable[[Slots], Any]:
    if isinstance(type_, Record):
        return _record_reader(type_, path, program)
    return value_reader(program.places[path])
