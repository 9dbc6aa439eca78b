"""The fields of outputs in Avro, by scan programs, where many were written with the same schema. Pure."""

from collections.abc import Callable
from typing import Any, Final

from processor.wire.errors import ContentError
from processor.wire.framing import FRAME_BYTES
from processor.wire.scan_program import NotPlannedError, Path, ScanProgram, scan_program
from processor.wire.schema import Record, Type
from processor.wire.slot_values import Scan, Slots, value_reader

FIRST_SCANNED: Final = 1_000
"""So many values of a writer's schema are refused before its program is made, which takes as long as reading them."""
MAX_SCHEMAS: Final = 8
"""How many writers' schemas have a program. There is one for each version that has written outputs."""

MakeScan = Callable[[ScanProgram], Scan]
"""An executor of scan programs: `plain_scan`, or `native_scan` with its native part."""

_ReadFields = Callable[[bytes], dict[str, Any] | None]


class ScannedFields:
    """Reads values with a frame: what `read_avro` gives of each, in a third of the time. Not thread-safe."""

    def __init__(self, reader: Record, writer_of: Callable[[bytes], Type], make_scan: MakeScan) -> None:
        """`writer_of` gives the writer's schema of a value; ContentError where it has none."""
        self._reader = reader
        self._writer_of = writer_of
        self._make_scan = make_scan
        self._count_of: dict[bytes, int] = {}  # of values, by their frame
        self._read_of: dict[bytes, _ReadFields] = {}

    def read(self, value: bytes) -> dict[str, Any] | None:
        """The fields; None, refused: they are to be read by `read_avro`, which says what is wrong where they cannot be.
        Raises what else `writer_of` raises."""
        frame = value[:FRAME_BYTES]
        read = self._read_of.get(frame)
        if read is not None:
            return read(value)
        count = self._count_of.get(frame, 0)
        if count >= FIRST_SCANNED:
            self._read_of[frame] = self._make_reader(value)
        elif count or len(self._count_of) < MAX_SCHEMAS:
            self._count_of[frame] = count + 1
        return None

    def _make_reader(self, value: bytes) -> _ReadFields:
        try:
            return fields_reader(self._writer_of(value), self._reader, self._make_scan)
        except (NotPlannedError, ContentError):
            return lambda _value: None


def fields_reader(writer: Type, reader: Record, make_scan: MakeScan) -> _ReadFields:
    """What reads values of `writer`, each with a frame, as `reader`; it gives None for what is refused.
    NotPlannedError as `scan_program`."""
    program = scan_program(writer, reader, list(_paths(reader, ())))
    scan, fields = make_scan(program), _record_reader(reader, (), program)

    def read(value: bytes) -> dict[str, Any] | None:
        slots = scan(value, FRAME_BYTES)
        return None if slots is None else fields(slots)

    return read


def _paths(type_: Type, path: Path) -> list[Path]:
    """Of all values in records that are always there; any other value is read as one."""
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
