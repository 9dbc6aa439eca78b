"""The formats of records' values."""

from enum import StrEnum


class WireFormat(StrEnum):
    """How a record's value is written."""

    AVRO = "avro"  #: Framed by the id of its schema.
    JSON = "json"
