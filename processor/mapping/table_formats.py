"""Values that are tables, such as a schedule: their columns, and how a table stands in each kind of document."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from processor.domain.event import value_at
from processor.domain.placeholders import PlaceholderType
from processor.domain.template import EscapeContext
from processor.mapping.escape import one_line
from processor.mapping.values import text_of


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a table's rows. `path` leads through a row; its last step names the column."""

    path: tuple[str, ...]
    type: PlaceholderType

    @property
    def name(self) -> str:
        """The name of the field."""
        return self.path[-1]


def _columns(**types: PlaceholderType) -> tuple[Column, ...]:
    return tuple(Column((name,), kind) for name, kind in types.items())


TABLE_COLUMNS: Final[Mapping[tuple[str, ...], tuple[Column, ...]]] = {  # path of the table -> its columns, in order
    ("schedule",): _columns(
        number=PlaceholderType.INTEGER,
        dueDate=PlaceholderType.DATE,
        principalBalance=PlaceholderType.MONEY,
        interestBalance=PlaceholderType.MONEY,
        feeBalance=PlaceholderType.MONEY,
        penaltyBalance=PlaceholderType.MONEY,
        totalBalance=PlaceholderType.MONEY,
    ),
    ("holds",): (
        *_columns(
            externalReferenceId=PlaceholderType.STRING,
            direction=PlaceholderType.ENUM,
            amount=PlaceholderType.MONEY,
            currencyCode=PlaceholderType.STRING,
        ),
        Column(("card", "token"), PlaceholderType.STRING),
    ),
}

Cells = list[tuple[Column, str | None]]
"""One row: the text of each column, None for a missing value."""

EscapeCell = Callable[[str], str]


def row_cells(row: Mapping[str, Any], columns: tuple[Column, ...], *, currency: str | None, time_zone: tzinfo) -> Cells:
    """The texts of a row. A row with a currency of its own has its money in that one, else in `currency`."""
    own = row.get("currencyCode") or currency
    cells: Cells = []
    for column in columns:
        value = value_at(column.path, row)
        text = None if value is None else text_of(value, column.type, currency=own, time_zone=time_zone)
        cells.append((column, text))
    return cells


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How a table is written: `row` gives each row, joined by `separator`, between `head` and `tail`.

    `escape_whole`: the table is then escaped as any text is where it stands; else its cells were.
    """

    row: Callable[[Cells, EscapeCell], str]
    head: str = ""
    separator: str = ""
    tail: str = ""
    escape_whole: bool = False

    def lines(
        self,
        rows: Iterable[Mapping[str, Any]],
        columns: tuple[Column, ...],
        escape_cell: EscapeCell,
        *,
        currency: str | None,
        time_zone: tzinfo,
    ) -> Iterator[str]:
        """The text of each row; whatever `escape_cell` raises passes through."""
        for row in rows:
            yield self.row(row_cells(row, columns, currency=currency, time_zone=time_zone), escape_cell)

    def join(self, lines: Iterable[str]) -> str:
        """The table of these rows."""
        return f"{self.head}{self.separator.join(lines)}{self.tail}"


def _json_row(cells: Cells, _escape: EscapeCell) -> str:
    """Money is a string, as amounts are in the JSON form of events."""
    fields = {
        column.name: int(text) if text is not None and column.type is PlaceholderType.INTEGER else text
        for column, text in cells
    }
    return json.dumps(fields, ensure_ascii=False)


def _xml_row(cells: Cells, escape: EscapeCell) -> str:
    return (
        "<row>" + "".join(f"<{column.name}>{escape(text or '')}</{column.name}>" for column, text in cells) + "</row>"
    )


def _html_row(cells: Cells, escape: EscapeCell) -> str:
    return "<tr>" + "".join(f"<td>{escape(text or '')}</td>" for _, text in cells) + "</tr>"


def _text_row(cells: Cells, _escape: EscapeCell) -> str:
    """Cells between tabs: a tab or line break within one would make another cell or row of it."""
    return "\t".join(one_line(text or "") for _, text in cells)


_TEXT_TABLE: Final = TableFormat(_text_row, separator="\n", escape_whole=True)

TABLE_FORMATS: Final[Mapping[EscapeContext, TableFormat]] = {
    **dict.fromkeys(EscapeContext, _TEXT_TABLE),
    EscapeContext.JSON_VALUE: TableFormat(_json_row, head="[", separator=", ", tail="]"),
    EscapeContext.JSON_STRING: TableFormat(_json_row, head="[", separator=", ", tail="]", escape_whole=True),
    EscapeContext.XML: TableFormat(_xml_row),
    EscapeContext.HTML: TableFormat(_html_row, head="<table>", tail="</table>"),
}
