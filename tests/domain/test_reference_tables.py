"""TABLES: a row for each reference table, and what else is made of a row."""

from typing import get_args

import pytest

from processor.domain.reference import TABLES, Row, Table
from processor.kafka.topic_plan import DEFAULT_PARTITIONS, planned_topics
from processor.mapping.reference import parse_row
from processor.settings import FIXED_TOPICS, Settings, TopicSettings

ROWS = {  # a row of each table
    Table.CONTACTS: b'{"id": "CTT-4410-0093-7715", "name": "Ines Duarte"}',
    Table.CATEGORIES: b'{"name": "Loan payments"}',
    Table.ACCOUNTS: b'{"id": "ACC-7031-2205"}',
    Table.SUBSCRIPTIONS: b'{"subscribed": true}',
}


def test_every_table_has_a_row_a_setting_and_a_topic() -> None:
    """The settings are written out for the type checker; none is left out, of the plan of topics neither."""
    roles = {topic.role for topic in planned_topics(Settings(), partitions=DEFAULT_PARTITIONS, stream_events=())}

    assert [*TABLES] == [*Table]
    assert set(Table) <= set(FIXED_TOPICS)
    assert set(Table) <= roles
    assert set(FIXED_TOPICS) == set(TopicSettings.model_fields) - {"prefix", "stream"}
    assert {table: (spec.topic, spec.description) for table, spec in TABLES.items()} == {
        table: (field.default, field.description) for table in Table for field in (TopicSettings.model_fields[table],)
    }
    assert set(get_args(Row)) == {spec.row for spec in TABLES.values()}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_is_read_as_its_table_says(table: Table) -> None:
    """Each table has a parser, and what it gives is of the table's type."""
    assert type(parse_row(table, "NTC-3300-0041", ROWS[table])) is TABLES[table].row
