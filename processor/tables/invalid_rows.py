"""Rows of reference tables that are invalid: logged for their owners, named in /ready, counted by table."""

from collections.abc import Mapping
from typing import Final

import structlog
from confluent_kafka import Message

from processor.domain.reference import Table
from processor.mapping.reference import ROW_LIMIT_BYTES, row_error
from processor.observability.metrics import REFERENCE_ROWS_INVALID, Metrics
from processor.tables.store import InvalidTableRow, TableRecord, TableStore
from processor.tables.topics import TableTopic

log = structlog.get_logger()

FIRST_LOGGED_ROWS: Final = 20  # are logged one by one: of each table once it is restored, and of those that come later
LOGGED_ROW_INTERVAL: Final = 1_000  # after these, one in so many
MAX_NAMED_ROWS: Final = 5  # of a table in /ready
MAX_KEY_CHARACTERS: Final = 80
TENANT_ROW_CONSEQUENCE: Final = "e-mails and SMS of all who have no nearer row fail"


def table_record(table: Table, partition: int, offset: int, message: Message) -> TableRecord:
    """A record of a table as it is stored, valid or not: an invalid row is not a missing one.

    A value that is too large is cut, and still too large. Without a key the record has an empty one, and is invalid.
    """
    key, value = message.key(), message.value()
    error = _record_error(table, key, value)
    invalid = InvalidTableRow(table, key or b"", partition, offset, error) if error else None
    return TableRecord(table, key or b"", None if value is None else value[: ROW_LIMIT_BYTES + 1], invalid)


def _record_error(table: Table, key: bytes | None, value: bytes | None) -> str:
    """What is wrong with a record of a table, for its producer; empty when nothing is."""
    if key is None:
        return "it has no key"
    if value is None:
        return ""
    try:
        return row_error(table, key.decode(), value)
    except UnicodeDecodeError:
        return "its key is not UTF-8"


class InvalidRows:
    """The invalid rows of the store as people see them. Not thread-safe, but for `reasons`."""

    def __init__(self, store: TableStore, *, tenant: str, metrics: Metrics) -> None:
        self._store = store
        self._tenant = tenant
        self._metrics = metrics
        self._logged_count = 0
        self.reasons: tuple[str, ...] = ()  #: For /ready.

    def log_new(self, row: InvalidTableRow, topics: Mapping[Table, TableTopic]) -> None:
        """Log a row that has just come, unless there are very many."""
        self._logged_count += 1
        if (
            self._logged_count <= FIRST_LOGGED_ROWS
            or self._logged_count % LOGGED_ROW_INTERVAL == 0
            or self._is_tenants_account(row)
        ):
            self._log(row, topics)

    def log_all(self, topics: Mapping[Table, TableTopic]) -> None:
        """Log the rows that are invalid once all is restored; those that were corrected since are not among them."""
        for table, topic in topics.items():
            rows = self._first_rows(table, FIRST_LOGGED_ROWS)
            for row in rows:
                self._log(row, topics)
            if (more := self._store.invalid_count(table) - len(rows)) > 0:
                log.error("more invalid reference rows", topic=topic.name, rows=more)

    def update(self, topics: Mapping[Table, TableTopic]) -> None:
        """Show in /ready and the metrics which rows are invalid now."""
        reasons = []
        for table, topic in topics.items():
            count = self._store.invalid_count(table)
            self._metrics[REFERENCE_ROWS_INVALID].labels(table=table).set(count)
            rows = self._first_rows(table, MAX_NAMED_ROWS)
            for row in rows:
                consequence = f": {TENANT_ROW_CONSEQUENCE}" if self._is_tenants_account(row) else ""
                reasons.append(f"{_position(row, topics)}: the row {_key(row)} cannot be read{consequence}")
            if count > len(rows):
                reasons.append(f"{topic.name}: {count - len(rows)} more rows cannot be read")
        self.reasons = tuple(reasons)

    def _log(self, row: InvalidTableRow, topics: Mapping[Table, TableTopic]) -> None:
        more = {"consequence": TENANT_ROW_CONSEQUENCE} if self._is_tenants_account(row) else {}
        log.error("invalid reference row", position=_position(row, topics), key=_key(row), error=row.error, **more)

    def _first_rows(self, table: Table, limit: int) -> list[InvalidTableRow]:
        return self._store.invalid_rows(table, first=self._tenant, limit=limit)

    def _is_tenants_account(self, row: InvalidTableRow) -> bool:
        return row.table == Table.ACCOUNTS and row.key == self._tenant.encode()


def _position(row: InvalidTableRow, topics: Mapping[Table, TableTopic]) -> str:
    return f"{topics[row.table].name}[{row.partition}]@{row.offset}"


def _key(row: InvalidTableRow) -> str:
    return row.key.decode(errors="replace")[:MAX_KEY_CHARACTERS]
