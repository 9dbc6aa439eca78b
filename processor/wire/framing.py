"""Confluent's framing: which schema a value was written with, and where its bytes begin. Pure.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from typing import Final

from processor.domain.reasons import Reason
from processor.domain.record import Headers, SchemaGuid, SchemaId
from processor.wire.errors import ContentError

FRAME_BYTES: Final = 5  # magic byte 0, and an id of 4 bytes, big-endian
CONTENT_TYPE_HEADER: Final = "content-type"  #: In any case of its letters.
GUID_HEADER: Final = "__value_schema_id"  #: Of a value without a frame.
_GUID_BYTES: Final = 17  # 0x01, and the schema's GUID


def frame(schema_id: SchemaId) -> bytes:
    """What stands before a value that was written with the schema of this id."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def parse_frame(value: bytes) -> SchemaId:
    """The id in the first FRAME_BYTES of `value`. ContentError BAD_FRAME where there is no frame."""
    if len(value) < FRAME_BYTES:
        raise _bad_frame(f"{len(value)} bytes, a frame alone has {FRAME_BYTES}")
    if value[0] != 0:
        raise _bad_frame(f"magic byte 0x{value[0]:02x}, expected 0x00")
    return SchemaId(int.from_bytes(value[1:FRAME_BYTES], "big"))


def find_schema_id(value: bytes, headers: Headers) -> tuple[SchemaId | SchemaGuid, int]:
    """Which schema `value` was written with, by the last header `__value_schema_id` or else by its frame, and where its
    bytes begin. ContentError BAD_FRAME."""
    for name, guid in reversed(headers):
        if name == GUID_HEADER:
            return _parse_guid(guid), 0
    if value.startswith(b"{"):
        raise _bad_frame(
            "the value begins with { and has no header content-type: application/json, so it is not read as JSON"
        )
    return parse_frame(value), FRAME_BYTES


def _parse_guid(header: bytes | None) -> SchemaGuid:
    if header is None or len(header) != _GUID_BYTES or header[0] != 1:
        actual = "null" if header is None else f"{len(header)} bytes: {header[:_GUID_BYTES].hex()}"
        raise _bad_frame(f"header {GUID_HEADER} is not 0x01 and a GUID's 16 bytes, but {actual}")
    return SchemaGuid(header[1:])


def _bad_frame(what: str) -> ContentError:
    return ContentError(what, Reason.BAD_FRAME)


def overrides_frame(headers: Headers) -> bool:
    """Whether a header says how the value is written, so that its frame does not."""
    return any(name == GUID_HEADER or name.lower() == CONTENT_TYPE_HEADER for name, _ in headers)
